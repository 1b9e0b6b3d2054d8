/* The state that requests are judged by, as one immutable tree: accounts, API clients,
 * destinations, rules, token keys, the event catalogue. Workers hold a reference and swap it when
 * told; reading takes no lock. A new snapshot shares with the old one all but the objects that
 * changed and the pages that name them, so one change costs the same beside ten destinations and
 * beside ten thousand. */
#ifndef MR_MODEL_SNAPSHOT_H
#define MR_MODEL_SNAPSHOT_H

#include "auth/token.h"
#include "model/account.h"
#include "model/catalogue.h"
#include "model/destination.h"
#include "model/rule.h"
#include "model/user.h"

struct snapshot;

/* Any thread. */
struct snapshot *snapshot_ref(struct snapshot *snapshot);
/* NULL is fine; the last one frees what no other snapshot shares. */
void snapshot_unref(struct snapshot *snapshot);

/* Rises by one with every publication, from 1. */
uint64_t snapshot_version(const struct snapshot *snapshot);
struct auth_keyring *snapshot_keyring(const struct snapshot *snapshot);
/* Valid as long as the snapshot. NULL where none was set: nothing is in it. */
struct catalogue *snapshot_catalogue(const struct snapshot *snapshot);

/* All look-ups: NULL where there is none; the object is valid as long as the snapshot (take a
 * reference of its own to keep it longer). By number: an array access. By id: a hash, then a search
 * in its bucket. An absent destination number means deleted: what is owed to it is discarded. */
const struct model_account *snapshot_account(const struct snapshot *snapshot, uint32_t number);
const struct model_account *snapshot_account_by_id(const struct snapshot *snapshot, mr_str id);
/* Is account this ancestor's, or one below it? False where either is absent. */
bool snapshot_account_is_within(const struct snapshot *snapshot,
                                const struct model_account *account, uint32_t ancestor);
const struct model_client *snapshot_client_by_id(const struct snapshot *snapshot, mr_str id);
const struct model_user *snapshot_user(const struct snapshot *snapshot, uint32_t number);
const struct model_session *snapshot_session_by_id(const struct snapshot *snapshot, mr_str id);
const struct model_destination *snapshot_destination(const struct snapshot *snapshot,
                                                     uint32_t number);
const struct model_destination *snapshot_destination_by_id(const struct snapshot *snapshot,
                                                           mr_str id);
const struct model_rule *snapshot_rule(const struct snapshot *snapshot, uint32_t number);

/* Objects of a kind, and the first one with a number ≥ from (NULL: no more): iteration in order of
 * numbers. */
size_t snapshot_count(const struct snapshot *snapshot, enum model_kind kind);
const struct model_object *snapshot_next(const struct snapshot *snapshot, enum model_kind kind,
                                         uint32_t from);

/* Does the client behind these claims still stand behind them? MR_OK with its account and client,
 * or AUTH_E_REVOKED: gone, disabled, of another generation or account. */
mr_err snapshot_check_claims(const struct snapshot *snapshot, const struct auth_claims *claims,
                             const struct model_account **ret_account,
                             const struct model_client **ret_client);

/* Does the session of this id still stand at now_ms, for a user who may sign in, with at most
 * idle_ms since it was last used? MR_OK with the three, or AUTH_E_REVOKED. */
mr_err snapshot_check_session(const struct snapshot *snapshot, mr_str id, int64_t now_ms,
                              int64_t idle_ms, const struct model_account **ret_account,
                              const struct model_user **ret_user,
                              const struct model_session **ret_session);

/* Building: begin from a snapshot (NULL: from nothing), put and remove, finish. One thread. The
 * builder takes the caller's reference of an object, also where it fails. */
struct snapshot_builder;
mr_err snapshot_build(struct snapshot *base, struct snapshot_builder **ret_builder);
/* Adds it or takes the place of the one of that number. MR_E_NOMEM; MR_E_EXISTS where another
 * number has that id. */
mr_err snapshot_put(struct snapshot_builder *builder, struct model_object *object);
/* Harmless where it is absent. */
mr_err snapshot_remove(struct snapshot_builder *builder, enum model_kind kind, uint32_t number);
/* What is built so far, for look-ups; valid until the next put or remove. */
const struct snapshot *snapshot_of_builder(const struct snapshot_builder *builder);
/* Takes its own reference of keyring. */
void snapshot_set_keyring(struct snapshot_builder *builder, struct auth_keyring *keyring);
/* Takes its own reference; without it the new snapshot has base's. */
void snapshot_set_catalogue(struct snapshot_builder *builder, struct catalogue *catalogue);
/* Frees the builder; the new snapshot has one reference. */
struct snapshot *snapshot_finish(struct snapshot_builder *builder);
/* Frees the builder and its work. NULL is fine. */
void snapshot_abandon(struct snapshot_builder *builder);

#endif
