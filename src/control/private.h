/* Private to control/: the store's owner as its chapters see it. Everything but the mailbox belongs
 * to the control thread (or to the only thread, where none was started). */
#ifndef MR_CONTROL_PRIVATE_H
#define MR_CONTROL_PRIVATE_H

#include "auth/slow.h"
#include "control/audit.h"
#include "control/rules/filters.h"
#include "control/jobs.h"
#include "control/store.h"
#include "crypto/hash.h"
#include "crypto/ids.h"
#include "crypto/seal.h"
#include "journal/unit.h"
#include "ledger/record.h"
#include "os/thread.h"

#define CONTROL_PATH_MAX  CONTROL_PATH_SIZE
#define CONTROL_KEY_BYTES 16

/* What the transaction in progress has changed, and what was committed since the last snapshot. */
struct changes {
    struct control_change *list; /* owned */
    size_t len;
    size_t cap;
};

struct publication;
struct signin;    /* people/signin.h */
struct slow_door; /* auth/slow.h */

/* The end of the audit log, and its way into the journal. */
struct audit_tail {
    struct record_audit last; /* of the open transaction, or of the last one */
    bool is_known;            /* last is read; a rollback forgets it */
    struct record_audit committed;
    /* audit/head.c */
    struct audit_journal journal;  /* post NULL: none */
    struct record_audit journaled; /* durable there, or on its way */
    mr_mono next_at;               /* not before */
    bool is_posted;
    bool is_given_up; /* the journal takes nothing more */
    mr_mono trim_at;  /* audit/retention.c: not before */
    struct journal_unit unit;
    struct journal_slot slot;
    uint8_t body[RECORD_AUDIT_BYTES];
};

/* The private half of a signing key that signs now or later (access/keys.c). */
#define SIGNERS_MAX 4
struct signing_signer {
    struct auth_signer *signer;
    char kid[CRYPTO_ID_SIZE];
    int64_t sign_from_s;
    int64_t longest_s; /* life of a token that it signed */
    bool is_last;      /* no key follows it */
};

struct control {
    struct control_options options; /* pointers of the caller's, but for issuer and audience */
    struct store store;
    struct sealer *sealer;
    struct crypto_hasher *hasher;
    mr_secret pepper;                           /* of client secrets */
    struct signing_signer signers[SIGNERS_MAX]; /* oldest first */
    size_t n_signers;
    bool keys_are_stale; /* the rows of keys have changed: read them before signing */
    struct auth_keyring *keyring;
    struct slow_door *token_door; /* wrong credentials of clients */
    char installation_id[MODEL_ID_SIZE];
    char issuer[512];
    char audience[512];
    uint8_t store_key[CONTROL_KEY_BYTES];
    uint32_t root_account;
    int lock_handle; /* of control.lock; -1: none */

    struct snapshot *snapshot; /* newest; a reference */
    struct changes pending;    /* the tail of the open transaction included */
    size_t committed;          /* of pending: what a commit has made so */
    struct filter_pool filters;
    struct signin *signin;        /* NULL until somebody signs in */
    struct slow_door *reset_door; /* NULL until a password reset is asked for */
    struct control_actor actor;   /* of the job that runs; the program itself between jobs */
    struct audit_tail audit;

    /* jobs.c */
    struct mailbox mailbox; /* any thread */
    os_thread thread;
    _Atomic bool is_stopping; /* any thread */
    bool nobody_adopts;
    struct mail stop_mail;
    struct mail unsubscribe_mail;
    bool is_started;
    struct control_subscriber *subscribers;
    size_t n_subscribers;
    struct control_job *waiting_first; /* changed something; wait for a snapshot */
    struct control_job *waiting_last;
    struct publication *publications; /* sent, not yet adopted by all */
    mr_mono retry_at; /* of a snapshot that could not be built; MR_MONO_NEVER: none */
};

/* ---- changes: build.c ---- */

/* Around every change. begin nests. end commits where err is ok, else rolls back; errors that are
 * not refusals become one (20503 or 20500). */
mr_err change_begin(struct control *control, struct refusal *ret_refusal);
mr_err change_end(struct control *control, mr_err err, struct refusal *ret_refusal);
/* As change_begin, around what only reads. */
mr_err change_begin_reading(struct control *control, struct refusal *ret_refusal);
/* For readers: any other error becomes a refusal. */
mr_err refuse_error(struct control *control, mr_err err, struct refusal *ret_refusal);
/* Inside a change: this object differs in the next snapshot. */
mr_err change_mark(struct control *control, enum model_kind kind, uint32_t number);
/* The same for a destination that was disabled and is so no more: its enabled_epoch rises, also
 * where a snapshot tells of the disabling and the enabling at once. */
mr_err change_mark_enabling(struct control *control, uint32_t number);
/* The next number of a kind, never used before. */
mr_err number_take(struct control *control, const char *kind, uint32_t *ret_number);

/* Builds a snapshot of what was committed. MR_OK where there is nothing to build. On error the old
 * one stays and the list is kept for the next try. *ret_changes (may be NULL) gets the list, which
 * is the caller's (mr_free) then. */
mr_err snapshot_refresh(struct control *control, struct changes *ret_changes);
/* All objects, from nothing. */
mr_err snapshot_load(struct control *control);

/* ---- the audit log: audit/audit.c, audit/head.c ---- */
/* The newest row, the open transaction's included; number 0: none. */
mr_err audit_last(struct control *control, struct record_audit *ret_head);
/* Around transactions: what was added is on disk; something was rolled back. */
static inline void audit_committed(struct control *control) {
    if (control->audit.is_known) {
        control->audit.committed = control->audit.last;
    }
}
static inline void audit_rolled_back(struct control *control) {
    control->audit.is_known = false;
}
/* Hands the newest head to the journal where it is time. Returns when to ask again at the latest.
 */
mr_mono audit_journal_step(struct control *control, mr_mono now, bool is_ending);
/* Removes rows past their retention where it is time. Returns when to ask again. */
mr_mono audit_retention_step(struct control *control, mr_mono now);
/* A pass of it: rows from the beginning on that were added before that time, but not the newest
 * nor one that the journal is still to name. *ret_more: another pass may find more. */
mr_err audit_trim(struct control *control, int64_t before_ms, bool *ret_more);
/* Something is on its way, or should go yet. */
bool audit_journal_is_busy(const struct control *control);

/* ---- sealing: control.c ---- */
mr_err control_seal(struct control *control, const char *table, mr_str row, const char *column,
                    mr_str plain, mr_buf *out);
/* Logs a box that does not open. */
mr_err control_unseal(struct control *control, const char *table, mr_str row, const char *column,
                      mr_str box, mr_secret *ret_value);

/* The value of a sealed row of the table meta, with the sealer as it is. MR_E_NOT_FOUND. */
mr_err meta_get_sealed(struct control *control, const char *key, mr_secret *ret_value);

/* ---- rows as objects of the snapshot: destinations/object.c, rules.c, access/rows.c, people/ ----
 */
/* NULL in *ret_object where the row is gone or a tombstone. */
mr_err destination_load(struct control *control, uint32_t number, struct model_object **ret_object);
mr_err rule_load(struct control *control, uint32_t number, struct model_object **ret_object);
mr_err client_load(struct control *control, uint32_t number, struct model_object **ret_object);
mr_err user_load(struct control *control, uint32_t number, struct model_object **ret_object);
mr_err session_load(struct control *control, uint32_t number, struct model_object **ret_object);

/* ---- the event catalogue: catalogue/load.c ---- */
/* The whole catalogue from what is shipped and the rows; what base (may be NULL) has compiled is
 * shared with it. One reference. */
mr_err catalogue_load(struct control *control, struct catalogue *base,
                      struct catalogue **ret_catalogue);

/* ---- keys: access/keys.c ---- */
/* Makes a signing key that signs from now; inside a change. */
mr_err signing_key_make(struct control *control, mr_wall now);
/* Reads all keys: signers and keyring. */
mr_err signing_keys_load(struct control *control, mr_wall now);
/* One line in the log where a key signs that is weaker than new ones. */
void signing_keys_advise(struct control *control);
void signing_keys_done(struct control *control);

/* ---- jobs.c ---- */
void jobs_init(struct control *control);

#endif
