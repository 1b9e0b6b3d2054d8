/* API clients: made, changed, deleted, and by whom.
 *
 * A caller of these functions has passed the table of routes: it holds the access on API Clients
 * that its call needs. What the table cannot say is judged here, from the row of the object and the
 * job's actor:
 *
 *   an admin client is touched by Owner, Admins and admin clients only
 *   a locked client by Owner and Admins, by its owner, and by an admin client that holds whatever
 *     the locked one may do
 *   rights, and a secret that gives them, go only to callers who hold them themselves
 *
 * KORE's pages name Owner, Admins and the client's owner for locked clients; its API has no call
 * that changes one. An admin client stands for an Admin no further than its own rights go. Whether
 * a client is an admin is what its row says now: a token may be older. */
#include "control/access/parts.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/clock.h"

#include <stdio.h>

#define SECRET_RANDOM_BYTES 32
#define LACKING_TEXT_SIZE   256

static const struct body_place place = {.path = "", .wrong = REFUSAL_CLIENT_MALFORMED};

/* ---- who may ---- */

struct editor {
    bool is_admin;
    bool is_client;
    mr_str email;                   /* of a user; absent: none */
    const struct auth_scopes *held; /* NULL: no bound */
};

static mr_err find_editor(struct control *control, const struct auth_scopes *held, mr_arena *arena,
                          struct editor *ret_editor) {
    const struct control_actor *actor = &control->actor;
    *ret_editor = (struct editor){.is_admin = actor->kind == CONTROL_ACTOR_SYSTEM,
                                  .is_client = actor->kind == CONTROL_ACTOR_CLIENT,
                                  .email = MR_STR_NONE,
                                  .held = held};
    if (actor->kind != CONTROL_ACTOR_USER && !ret_editor->is_client) {
        return MR_OK;
    }
    struct query query = query_begin(
        &control->store, ret_editor->is_client
                             ? "SELECT type, NULL FROM clients WHERE id = ?1"
                             : "SELECT role IN ('owner', 'admin'), email FROM users WHERE id = ?1");
    query_text(&query, actor->id);
    while (query_row(&query)) {
        int64_t first = query_col_i64(&query, 0);
        ret_editor->is_admin = ret_editor->is_client ? first == AUTH_CLIENT_ADMIN : first != 0;
        ret_editor->email = query_col_text(&query, 1, arena);
    }
    return query_end(&query);
}

static mr_err may_be_admin(const struct editor *editor, enum auth_client_type type,
                           struct refusal *ret_refusal) {
    return type != AUTH_CLIENT_ADMIN || editor->is_admin
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_CLIENT_DENIED,
                        "Only the Owner, Admins and admin clients make and change admin clients.");
}

static mr_err may_edit(const struct editor *editor, const struct client_view *view,
                       struct refusal *ret_refusal) {
    MR_TRY(may_be_admin(editor, view->type, ret_refusal));
    bool holds_all = !editor->is_client || editor->held == NULL ||
                     auth_scopes_within(&view->scopes, editor->held);
    if (view->locked != 1 || (editor->is_admin && holds_all) ||
        (editor->email.len > 0 && mr_str_eq_nocase(editor->email, view->client_owner))) {
        return MR_OK;
    }
    return refuse(ret_refusal, REFUSAL_CLIENT_DENIED,
                  "The client is locked: only the Owner, Admins, its owner, and admin clients that "
                  "hold all its rights change it.");
}

/* Names what is not held. */
static mr_err may_give(const struct auth_scopes *scopes, const struct auth_scopes *held,
                       struct refusal *ret_refusal) {
    if (held == NULL || auth_scopes_within(scopes, held)) {
        return MR_OK;
    }
    char lacking[LACKING_TEXT_SIZE];
    size_t n = 0;
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if ((scopes->access[i] & ~held->access[i]) == 0) {
            continue;
        }
        int len = snprintf(lacking + n, sizeof lacking - n, "%s%.*s", n > 0 ? ", " : "",
                           MR_FMT(auth_resource_name((enum auth_resource)i)));
        MR_ASSERT(len > 0 && (size_t)len < sizeof lacking - n);
        n += (size_t)len;
    }
    return refuse(ret_refusal, REFUSAL_CLIENT_DENIED,
                  "Nobody gives rights that they do not hold themselves. You lack some on: %s.",
                  lacking);
}

/* The client, where the caller may change it as it stands. */
static mr_err take_for_change(struct control *control, uint32_t account,
                              const struct auth_scopes *held, mr_str id, uint32_t if_version,
                              mr_arena *arena, struct editor *ret_editor, struct client_view *view,
                              struct refusal *ret_refusal) {
    MR_TRY(client_find(control, account, id, arena, view, ret_refusal));
    MR_TRY(find_editor(control, held, arena, ret_editor));
    MR_TRY(may_edit(ret_editor, view, ret_refusal));
    if (if_version != 0 && if_version != view->version) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION, "The client was changed meanwhile.");
    }
    return MR_OK;
}

/* The row in the audit log, and the client in the next snapshot. */
static mr_err note(struct control *control, uint32_t account, uint32_t number, const char *action,
                   mr_str id, mr_str detail) {
    MR_TRY(change_mark(control, MODEL_CLIENT, number));
    return audit_add(control,
                     &(struct audit_entry){
                         .account = account, .action = action, .object = id, .detail = detail});
}

/* ---- creation ---- */

/* 32 random bytes in base64url. */
static mr_err make_secret(mr_arena *arena, mr_str *ret_secret) {
    uint8_t random[SECRET_RANDOM_BYTES];
    crypto_random(random, sizeof random);
    mr_buf text;
    mr_buf_init(&text, 64);
    mr_err err = mr_base64url_encode(mr_str_of((const char *)random, sizeof random), &text);
    if (mr_is_ok(err)) {
        *ret_secret = mr_arena_str(arena, mr_buf_view(&text));
        err = mr_str_is_absent(*ret_secret) ? MR_ERR(MR_E_NOMEM) : MR_OK;
        crypto_wipe(text.ptr, text.len);
    }
    mr_buf_done(&text);
    crypto_wipe(random, sizeof random);
    return err;
}

static mr_err check_room(struct control *control, uint32_t account, struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM clients WHERE account = ?1");
    query_i64(&query, account);
    int64_t count = 0;
    while (query_row(&query)) {
        count = query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    return count < CLIENTS_PER_ACCOUNT_MAX
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                        "The account has %d API clients, which is the most; delete some first.",
                        CLIENTS_PER_ACCOUNT_MAX);
}

static mr_err create_inner(struct control *control, uint32_t account,
                           const struct client_spec *spec, mr_arena *arena,
                           struct client_view *ret_view, mr_str *ret_secret,
                           struct refusal *ret_refusal) {
    uint32_t number = 0;
    char id[CRYPTO_ID_SIZE];
    uint8_t mac[CRYPTO_SHA256_BYTES];
    mr_str secret = MR_STR_NONE;
    MR_TRY(client_check(spec, ret_refusal));
    MR_TRY(check_room(control, account, ret_refusal));
    MR_TRY(number_take(control, "client", &number));
    crypto_id_make(MR_STR("apiclient_"), os_wall_now(), id);
    MR_TRY(make_secret(arena, &secret));
    MR_TRY(client_secret_mac(control, secret, mac));
    MR_TRY(client_insert(control, account, spec, mr_str_c(id), mac, number));
    MR_TRY(client_find(control, account, mr_str_c(id), arena, ret_view, ret_refusal));
    MR_TRY(change_mark(control, MODEL_CLIENT, number));
    MR_TRY(client_tell(control, account, "client.create", NULL, ret_view, "\"secret_shown\":true"));
    *ret_secret = secret;
    return MR_OK;
}

mr_err clients_create(struct control *control, uint32_t account, const struct client_spec *spec,
                      mr_arena *arena, struct client_view *ret_view, mr_str *ret_secret,
                      struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(
        control, create_inner(control, account, spec, arena, ret_view, ret_secret, ret_refusal),
        ret_refusal);
}

static mr_err create_judged(struct control *control, uint32_t account,
                            const struct auth_scopes *held, json_value body, mr_arena *arena,
                            struct client_view *ret_view, mr_str *ret_secret,
                            struct refusal *ret_refusal) {
    struct client_spec spec;
    struct editor editor;
    mr_str account_id;
    MR_TRY(shape_check(body, &client_shape, SHAPE_CREATE, &place, ret_refusal));
    MR_TRY(client_body_read(body, arena, &spec, &account_id, ret_refusal));
    if (!mr_str_is_absent(account_id)) {
        MR_TRY(client_account_find(control, account, account_id, &account, ret_refusal));
    }
    MR_TRY(client_check(&spec, ret_refusal));
    MR_TRY(find_editor(control, held, arena, &editor));
    MR_TRY(may_be_admin(&editor, spec.type, ret_refusal));
    MR_TRY(may_give(&spec.scopes, held, ret_refusal));
    return create_inner(control, account, &spec, arena, ret_view, ret_secret, ret_refusal);
}

mr_err clients_create_json(struct control *control, uint32_t account,
                           const struct auth_scopes *held, mr_str body, mr_arena *arena,
                           struct client_view *ret_view, mr_str *ret_secret,
                           struct refusal *ret_refusal) {
    json_tape tape;
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = create_judged(control, account, held, json_root(&tape), arena, ret_view, ret_secret,
                            ret_refusal);
    }
    json_tape_done(&tape);
    return change_end(control, err, ret_refusal);
}

/* ---- changes ---- */

static mr_err patch_inner(struct control *control, uint32_t account, const struct auth_scopes *held,
                          mr_str id, mr_str body, uint32_t if_version, mr_arena *arena,
                          struct client_view *view, struct refusal *ret_refusal) {
    struct client_view before;
    struct editor editor;
    bool takes_default = false;
    MR_TRY(take_for_change(control, account, held, id, if_version, arena, &editor, &before,
                           ret_refusal));
    *view = before;
    MR_TRY(client_body_apply(body, arena, view, &takes_default, ret_refusal));
    const struct client_spec after = {.name = view->name,
                                      .client_owner = view->client_owner,
                                      .type = view->type,
                                      .token_expiry_s = view->token_expiry_s,
                                      .scopes = view->scopes};
    MR_TRY(client_check(&after, ret_refusal));
    MR_TRY(may_be_admin(&editor, view->type, ret_refusal));
    if (memcmp(&view->scopes, &before.scopes, sizeof view->scopes) != 0) {
        MR_TRY(may_give(&view->scopes, held, ret_refusal));
    }
    if (takes_default) {
        view->client_owner = MR_STR_NONE;
    }
    MR_TRY(client_update(control, view, before.is_enabled && !view->is_enabled));
    MR_TRY(client_find(control, account, id, arena, view, ret_refusal));
    MR_TRY(change_mark(control, MODEL_CLIENT, view->number));
    return client_tell(control, account, "client.change", &before, view, NULL);
}

mr_err clients_patch(struct control *control, uint32_t account, const struct auth_scopes *held,
                     mr_str client_id, mr_str body, uint32_t if_version, mr_arena *arena,
                     struct client_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      patch_inner(control, account, held, client_id, body, if_version, arena,
                                  ret_view, ret_refusal),
                      ret_refusal);
}

static mr_err delete_inner(struct control *control, uint32_t account,
                           const struct auth_scopes *held, mr_str id, uint32_t if_version,
                           mr_arena *arena, struct refusal *ret_refusal) {
    struct client_view view;
    struct editor editor;
    MR_TRY(take_for_change(control, account, held, id, if_version, arena, &editor, &view,
                           ret_refusal));
    struct query query = query_begin(&control->store, "DELETE FROM clients WHERE number = ?1");
    query_i64(&query, view.number);
    MR_TRY(query_run(&query));
    MR_TRY(change_mark(control, MODEL_CLIENT, view.number));
    return client_tell(control, account, "client.delete", &view, NULL, NULL);
}

mr_err clients_delete(struct control *control, uint32_t account, const struct auth_scopes *held,
                      mr_str client_id, uint32_t if_version, struct refusal *ret_refusal) {
    mr_arena arena;
    MR_TRY(change_begin(control, ret_refusal));
    mr_arena_init(&arena, 65536);
    mr_err err = delete_inner(control, account, held, client_id, if_version, &arena, ret_refusal);
    err = change_end(control, err, ret_refusal);
    mr_arena_done(&arena);
    return err;
}

/* ---- secrets and tokens ---- */

static mr_err put_secret(struct control *control, uint32_t number, mr_str secret,
                         bool ends_tokens) {
    uint8_t mac[CRYPTO_SHA256_BYTES];
    MR_TRY(client_secret_mac(control, secret, mac));
    struct query query = query_begin(
        &control->store, "UPDATE clients SET secret_mac = ?1, generation = generation + ?2,"
                         " version = version + 1, updated_ms = ?3 WHERE number = ?4");
    query_blob(&query, mr_str_of((const char *)mac, sizeof mac));
    query_i64(&query, ends_tokens);
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, number);
    return query_run(&query);
}

static mr_err rotate_inner(struct control *control, uint32_t account,
                           const struct auth_scopes *held, mr_str id, bool ends_tokens,
                           mr_arena *arena, struct client_view *view, mr_str *ret_secret,
                           struct refusal *ret_refusal) {
    struct editor editor;
    mr_str secret = MR_STR_NONE;
    MR_TRY(take_for_change(control, account, held, id, 0, arena, &editor, view, ret_refusal));
    MR_TRY(may_give(&view->scopes, held, ret_refusal));
    MR_TRY(make_secret(arena, &secret));
    MR_TRY(put_secret(control, view->number, secret, ends_tokens));
    MR_TRY(client_find(control, account, id, arena, view, ret_refusal));
    MR_TRY(note(control, account, view->number, "client.rotate-secret", view->client_id,
                ends_tokens ? MR_STR("{\"revoke_tokens\":true,\"secret_shown\":true}")
                            : MR_STR(AUDIT_SECRET_SHOWN)));
    *ret_secret = secret;
    return MR_OK;
}

mr_err clients_rotate_secret(struct control *control, uint32_t account,
                             const struct auth_scopes *held, mr_str client_id, mr_str body,
                             mr_arena *arena, struct client_view *ret_view, mr_str *ret_secret,
                             struct refusal *ret_refusal) {
    json_tape tape;
    bool ends_tokens = false;
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = shape_check(json_root(&tape), &client_rotation_shape, SHAPE_CREATE, &place,
                          ret_refusal);
    }
    if (mr_is_ok(err)) {
        shape_bool(json_root(&tape), "revoke_tokens", &ends_tokens);
        err = rotate_inner(control, account, held, client_id, ends_tokens, arena, ret_view,
                           ret_secret, ret_refusal);
    }
    json_tape_done(&tape);
    return change_end(control, err, ret_refusal);
}

static mr_err revoke_inner(struct control *control, uint32_t account,
                           const struct auth_scopes *held, mr_str id, mr_arena *arena,
                           struct client_view *view, struct refusal *ret_refusal) {
    struct editor editor;
    MR_TRY(take_for_change(control, account, held, id, 0, arena, &editor, view, ret_refusal));
    MR_TRY(client_update(control, view, true));
    MR_TRY(client_find(control, account, id, arena, view, ret_refusal));
    return note(control, account, view->number, "client.revoke-tokens", view->client_id,
                MR_STR_NONE);
}

mr_err clients_revoke_tokens(struct control *control, uint32_t account,
                             const struct auth_scopes *held, mr_str client_id, mr_arena *arena,
                             struct client_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      revoke_inner(control, account, held, client_id, arena, ret_view, ret_refusal),
                      ret_refusal);
}
