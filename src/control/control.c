/* Opening and making the store, and what the resources share.
 *
 *   init   folder ─▶ lock ─▶ database (tables) ─▶ master key ─▶ one transaction: installation,
 *          canary, pepper, root account, owner, admin client, signing key
 *   open   database there? ─▶ lock ─▶ master key ─▶ format ─▶ canary ─▶ keys ─▶ first snapshot
 *
 * A store exists when it has an installation id, and that row is committed together with everything
 * else of init: an init that was cut off leaves tables without it, open says that there is no
 * store, and the next init completes it.
 */
#include "control/control.h"

#include "auth/slow.h"
#include "base/mem.h"
#include "control/clients.h"
#include "control/people/links.h"
#include "control/people/sessions.h"
#include "control/people/signin.h"
#include "control/people/users.h"
#include "control/private.h"
#include "control/store/master.h"
#include "os/clock.h"
#include "os/files.h"
#include "os/narrow.h"

#include <errno.h>
#include <stdio.h>

static const struct os_files *system_files(void) {
    return &os_files_system;
}

static bool path_of(const struct control_options *options, const char *name,
                    char out[static CONTROL_PATH_MAX]) {
    int n = snprintf(out, CONTROL_PATH_MAX, "%s/%s", options->dir, name);
    return n > 0 && n < CONTROL_PATH_MAX;
}

/* Fills the message, returns the error that tells the cases apart. */
#define SAY(err_code, ret_refusal, ...)                                                            \
    (mr_ignore(refuse((ret_refusal), REFUSAL_UNAVAILABLE, __VA_ARGS__), "the code is the answer"), \
     MR_ERR(err_code))

static mr_err say_store(mr_err err, const char *dir, struct refusal *ret_refusal) {
    if (mr_err_is(err, CONTROL_E_NEWER)) {
        return SAY(CONTROL_E_NEWER, ret_refusal,
                   "The data folder %s was written by a newer version; use that version or a later "
                   "one.",
                   dir);
    }
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        return SAY(CONTROL_E_NO_STORE, ret_refusal,
                   "The folder %s holds no data of Millrace; make it with: millrace init --data %s "
                   "--owner EMAIL",
                   dir, dir);
    }
    if (mr_err_is(err, MR_E_NO_SPACE)) {
        return SAY(MR_E_NO_SPACE, ret_refusal, "Could not write to %s: the disk is full.", dir);
    }
    if (mr_err_is(err, MR_E_BUSY)) {
        return SAY(MR_E_BUSY, ret_refusal,
                   "The data folder %s is in use by another process; stop the server first.", dir);
    }
    if (mr_err_is(err, MR_E_NOMEM) || mr_err_is(err, MR_E_LIMIT)) {
        return SAY(MR_E_NOMEM, ret_refusal, "Could not open %s: out of memory.", dir);
    }
    if (mr_err_is(err, CONTROL_E_MASTER_KEY) || mr_err_is(err, CONTROL_E_REFUSED)) {
        return err; /* said already */
    }
    return SAY(MR_E_IO, ret_refusal,
               "Could not read the store %s/control.db: it is damaged or not readable.", dir);
}

/* ---- parts of both ---- */

static mr_err control_alloc(const struct control_options *options, struct control **ret_control) {
    struct control *control = MR_NEW(struct control);
    if (control == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    control->options = *options;
    if (control->options.session_idle_ms == 0) {
        control->options.session_idle_ms = SESSION_IDLE_MS_DEFAULT;
    }
    if (control->options.session_max_days == 0) {
        control->options.session_max_days = SESSION_MAX_DAYS_DEFAULT;
    }
    control->lock_handle = OS_FILE_NONE.handle;
    jobs_init(control);
    mr_err err = crypto_hasher_new(&control->hasher);
    if (mr_is_ok(err)) {
        err = slow_door_new(&control->token_door);
    }
    if (mr_is_err(err)) {
        control_close(control);
        return err;
    }
    *ret_control = control;
    return MR_OK;
}

/* The folder itself is in the way: absent above it, no folder, no rights. */
static mr_err refuse_folder(const struct control *control, struct refusal *ret_refusal) {
    return refuse(ret_refusal, REFUSAL_UNAVAILABLE,
                  "Could not use the data folder %s: %s; name one that may be read and written.",
                  control->options.dir, strerror(errno));
}

static mr_err take_lock(struct control *control, struct refusal *ret_refusal) {
    char path[CONTROL_PATH_MAX];
    if (!path_of(&control->options, "control.lock", path)) {
        return MR_ERR(MR_E_INVALID);
    }
    const struct os_files *files = system_files();
    os_file file;
    mr_err err = files->open(files->ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE, &file);
    if (mr_err_is(err, MR_E_IO)) {
        return refuse_folder(control, ret_refusal);
    }
    MR_TRY(err);
    err = files->lock(files->ctx, file);
    if (mr_is_err(err)) {
        files->close(files->ctx, file);
        return err;
    }
    control->lock_handle = file.handle;
    return MR_OK;
}

/* The whole folder is its owner's alone. SQLite makes a database as wide as the umask lets, and
 * what lies beside it as wide as that: so the empty file is made before. */
static mr_err narrow_folder(struct control *control, const char *path, bool must_exist) {
    const struct os_files *files = system_files();
    size_t narrowed = 0;
    os_file file;
    if (!must_exist) {
        mr_err err = files->open(files->ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE, &file);
        MR_TRY(err);
        files->close(files->ctx, file);
    }
    MR_TRY(os_narrow(control->options.dir, &narrowed));
    if (narrowed > 0) {
        mr_info(control->options.log, "data_folder_narrowed",
                mr_kv_i64("files", (int64_t)narrowed));
    }
    return MR_OK;
}

static mr_err open_database(struct control *control, bool must_exist) {
    char path[CONTROL_PATH_MAX];
    if (!path_of(&control->options, "control.db", path)) {
        return MR_ERR(MR_E_INVALID);
    }
    MR_TRY(narrow_folder(control, path, must_exist));
    return store_open(&control->store, path, must_exist, control->options.page_count_max,
                      control->options.log);
}

/* ---- sealing ---- */

mr_err control_seal(struct control *control, const char *table, mr_str row, const char *column,
                    mr_str plain, mr_buf *out) {
    struct seal_place place = {.table = mr_str_c(table), .row = row, .column = mr_str_c(column)};
    return seal_close(control->sealer, &place, plain, out);
}

mr_err control_unseal(struct control *control, const char *table, mr_str row, const char *column,
                      mr_str box, mr_secret *ret_value) {
    struct seal_place place = {.table = mr_str_c(table), .row = row, .column = mr_str_c(column)};
    mr_err err = seal_open(control->sealer, &place, box, ret_value);
    if (mr_err_is(err, SEAL_E_OTHER_KEY) || mr_err_is(err, SEAL_E_TAMPERED)) {
        mr_error(control->options.log, "sealed_value_damaged", mr_kv_c("table", table),
                 mr_kv_str("row", row), mr_kv_c("column", column),
                 mr_kv_c("reason", mr_err_is(err, SEAL_E_OTHER_KEY) ? "another master key"
                                                                    : "changed or moved"));
    }
    return err;
}

/* ---- the table meta ---- */

static mr_err meta_put(struct control *control, const char *key, mr_str value) {
    struct query query =
        query_begin(&control->store, "INSERT INTO meta(key, value) VALUES(?1, ?2)");
    query_text(&query, mr_str_c(key));
    query_blob(&query, value);
    return query_run(&query);
}

static mr_err meta_put_sealed(struct control *control, const char *key, mr_str value) {
    mr_buf box;
    mr_buf_init(&box, 1024);
    mr_err err = control_seal(control, "meta", mr_str_c(key), "value", value, &box);
    if (mr_is_ok(err)) {
        err = meta_put(control, key, mr_buf_view(&box));
    }
    mr_buf_done(&box);
    return err;
}

/* Appends the value; MR_E_NOT_FOUND. */
static mr_err meta_get(struct control *control, const char *key, mr_buf *out) {
    struct query query = query_begin(&control->store, "SELECT value FROM meta WHERE key = ?1");
    query_text(&query, mr_str_c(key));
    mr_err err = MR_ERR(MR_E_NOT_FOUND);
    while (query_row(&query)) {
        err = mr_buf_str(out, query_col_bytes(&query, 0));
    }
    mr_err ended = query_end(&query);
    return mr_is_err(ended) ? ended : err;
}

mr_err meta_get_sealed(struct control *control, const char *key, mr_secret *ret_value) {
    mr_buf box;
    mr_buf_init(&box, 1024);
    mr_err err = meta_get(control, key, &box);
    if (mr_is_ok(err)) {
        err = control_unseal(control, "meta", mr_str_c(key), "value", mr_buf_view(&box), ret_value);
    }
    mr_buf_done(&box);
    return err;
}

/* MR_E_NOT_FOUND: never initialised. */
static mr_err read_installation(struct control *control) {
    mr_buf id;
    mr_buf_init(&id, MODEL_ID_SIZE);
    mr_err err = meta_get(control, "installation_id", &id);
    if (mr_is_ok(err) && !mr_str_to_c(mr_buf_view(&id), control->installation_id, MODEL_ID_SIZE)) {
        err = MR_ERR(MR_E_INVALID);
    }
    mr_buf_done(&id);
    if (mr_is_err(err)) {
        return err;
    }
    mr_str issuer = control->options.issuer;
    mr_str audience = control->options.audience;
    int n = mr_str_is_absent(issuer)
                ? snprintf(control->issuer, sizeof control->issuer, "urn:millrace:%s",
                           control->installation_id)
                : snprintf(control->issuer, sizeof control->issuer, "%.*s", MR_FMT(issuer));
    if (mr_str_is_absent(audience)) {
        audience = MR_STR("millrace");
    }
    bool fits = n > 0 && (size_t)n < sizeof control->issuer &&
                mr_str_to_c(audience, control->audience, sizeof control->audience);
    return fits ? MR_OK : MR_ERR(MR_E_INVALID);
}

static mr_err read_root(struct control *control) {
    struct query query =
        query_begin(&control->store,
                    "SELECT number FROM accounts WHERE parent IS NULL ORDER BY number LIMIT 1");
    while (query_row(&query)) {
        control->root_account = (uint32_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    return control->root_account == 0 ? MR_ERR(MR_E_INVALID) : MR_OK;
}

static mr_err read_keys(struct control *control) {
    mr_secret key = MR_SECRET_NONE;
    MR_TRY(meta_get_sealed(control, "store_key", &key));
    mr_str bytes = mr_secret_reveal(key);
    mr_err err = bytes.len == CONTROL_KEY_BYTES ? MR_OK : MR_ERR(MR_E_INVALID);
    if (mr_is_ok(err)) {
        memcpy(control->store_key, bytes.ptr, CONTROL_KEY_BYTES);
    }
    mr_secret_unref(&key);
    MR_TRY(err);
    MR_TRY(meta_get_sealed(control, "pepper", &control->pepper));
    return signing_keys_load(control, os_wall_now());
}

/* ---- open ---- */

static mr_err open_steps(struct control *control, struct refusal *ret_refusal) {
    char path[CONTROL_PATH_MAX];
    const struct os_files *files = system_files();
    if (!path_of(&control->options, "control.db", path)) {
        return MR_ERR(MR_E_INVALID);
    }
    os_file file;
    mr_err err = files->open(files->ctx, path, OS_OPEN_READ, &file);
    if (mr_err_is(err, MR_E_IO)) {
        return refuse_folder(control, ret_refusal);
    }
    MR_TRY(err);
    files->close(files->ctx, file);
    MR_TRY(take_lock(control, ret_refusal));
    MR_TRY(open_database(control, true));
    MR_TRY(read_installation(control));
    MR_TRY(master_take(control, false, ret_refusal));
    MR_TRY(master_check(control, ret_refusal));
    MR_TRY(read_root(control));
    MR_TRY(read_keys(control));
    signing_keys_advise(control);
    return snapshot_load(control);
}

mr_err control_open(const struct control_options *options, struct control **ret_control,
                    struct refusal *ret_refusal) {
    struct control *control = NULL;
    mr_err err = control_alloc(options, &control);
    if (mr_is_ok(err)) {
        err = open_steps(control, ret_refusal);
    }
    if (mr_is_err(err)) {
        control_close(control);
        return say_store(err, options->dir, ret_refusal);
    }
    *ret_control = control;
    return MR_OK;
}

void control_close(struct control *control) {
    if (control == NULL) {
        return;
    }
    MR_ASSERT(!control->is_started && control->publications == NULL);
    snapshot_unref(control->snapshot);
    filter_pool_done(&control->filters);
    signin_free(control->signin);
    slow_door_free(control->reset_door);
    signing_keys_done(control);
    slow_door_free(control->token_door);
    mr_secret_unref(&control->pepper);
    sealer_free(control->sealer);
    crypto_hasher_free(control->hasher);
    store_close(&control->store);
    if (control->lock_handle != OS_FILE_NONE.handle) {
        const struct os_files *files = system_files();
        files->close(files->ctx, (os_file){control->lock_handle});
    }
    mr_free(control->pending.list);
    crypto_wipe(control->store_key, sizeof control->store_key);
    mr_free(control);
}

/* ---- init ---- */

static mr_err put_installation(struct control *control, mr_wall now) {
    uint8_t key[CONTROL_KEY_BYTES];
    uint8_t pepper[32];
    crypto_random(key, sizeof key);
    crypto_random(pepper, sizeof pepper);
    crypto_id_make(MR_STR("inst_"), now, control->installation_id);
    mr_err err = meta_put(control, "installation_id", mr_str_c(control->installation_id));
    if (mr_is_ok(err)) {
        err = meta_put_sealed(control, "canary", MR_STR(MASTER_CANARY));
    }
    if (mr_is_ok(err)) {
        err = meta_put_sealed(control, "store_key", mr_str_of((const char *)key, sizeof key));
    }
    if (mr_is_ok(err)) {
        err = meta_put_sealed(control, "pepper", mr_str_of((const char *)pepper, sizeof pepper));
    }
    if (mr_is_ok(err)) {
        err = mr_secret_new(control->options.slab, mr_str_of((const char *)pepper, sizeof pepper),
                            &control->pepper);
    }
    crypto_wipe(pepper, sizeof pepper);
    crypto_wipe(key, sizeof key);
    return err;
}

static mr_err put_owner(struct control *control, mr_str owner) {
    const struct user_spec spec = {
        .email = owner, .name = MR_STR(""), .role = AUTH_ROLE_OWNER, .products = MR_STR_NONE};
    uint32_t user = 0;
    struct refusal refusal;
    return users_insert(control, control->root_account, &spec, USER_ACTIVE, &user, &refusal);
}

/* Nobody knows the token of this first link: whoever shows one makes it anew. */
static mr_err put_setup_link(struct control *control, mr_wall now) {
    char token[LINK_TOKEN_SIZE];
    int64_t expires_ms = 0;
    mr_err err = links_make(control, LINK_SETUP, control->root_account, 0, MR_STR_NONE, now, token,
                            &expires_ms);
    crypto_wipe(token, sizeof token);
    return err;
}

static mr_err put_root(struct control *control, mr_str owner, mr_wall now,
                       struct control_init_result *result) {
    uint32_t number = 0;
    MR_TRY(number_take(control, "account", &number));
    crypto_id_make(MR_STR("acct_"), now, result->account_id);
    struct query query = query_begin(
        &control->store,
        "INSERT INTO accounts(number, id, parent, friendly_name, owner_email, status, validate,"
        " unknown_types, events_per_second, version, created_ms, updated_ms)"
        " VALUES(?1, ?2, NULL, 'Root', ?3, 'ACTIVE', 0, 0, NULL, 1, ?4, ?4)");
    query_i64(&query, number);
    query_text(&query, mr_str_c(result->account_id));
    query_text(&query, mr_str_is_absent(owner) ? MR_STR("") : owner);
    query_i64(&query, mr_wall_ms(now));
    MR_TRY(query_run(&query));
    control->root_account = number;
    return audit_add(control, &(struct audit_entry){.account = number,
                                                    .action = "account.create",
                                                    .object = mr_str_c(result->account_id)});
}

static mr_err put_client(struct control *control, struct control_init_result *result,
                         struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init(&arena, 65536);
    struct client_spec spec = {
        .name = MR_STR("Administrator"),
        .client_owner = MR_STR_NONE,
        .type = AUTH_CLIENT_ADMIN,
        .locked = -1,
        .token_expiry_s = CLIENT_EXPIRY_HOUR,
        .scopes = auth_scopes_all(),
    };
    struct client_view view;
    mr_str secret = MR_STR_NONE;
    mr_err err =
        clients_create(control, control->root_account, &spec, &arena, &view, &secret, ret_refusal);
    if (mr_is_ok(err)) {
        bool fits = mr_str_to_c(view.client_id, result->client_id, sizeof result->client_id) &&
                    mr_str_to_c(secret, result->client_secret, sizeof result->client_secret);
        MR_ASSERT(fits);
    }
    mr_arena_done(&arena);
    return err;
}

static mr_err init_steps(struct control *control, mr_str owner, struct control_init_result *result,
                         struct refusal *ret_refusal) {
    const struct os_files *files = system_files();
    mr_err err = files->mkdir(files->ctx, control->options.dir);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        return refuse(ret_refusal, REFUSAL_UNAVAILABLE,
                      "Could not make the data folder %s: %s; name one in a folder that exists and "
                      "may be written.",
                      control->options.dir, strerror(errno));
    }
    MR_TRY(take_lock(control, ret_refusal));
    MR_TRY(open_database(control, false));
    err = read_installation(control);
    if (mr_is_ok(err)) {
        return SAY(CONTROL_E_EXISTS, ret_refusal,
                   "The folder %s holds data of Millrace already; choose another one.",
                   control->options.dir);
    }
    if (!mr_err_is(err, MR_E_NOT_FOUND)) {
        return err;
    }
    MR_TRY(master_take(control, true, ret_refusal));
    mr_wall now = os_wall_now();
    MR_TRY(change_begin(control, ret_refusal));
    err = put_installation(control, now);
    if (mr_is_ok(err)) {
        err = put_root(control, owner, now, result);
    }
    if (mr_is_ok(err)) {
        err = mr_str_is_absent(owner) ? put_setup_link(control, now) : put_owner(control, owner);
    }
    if (mr_is_ok(err) && !mr_str_is_absent(owner)) {
        err = put_client(control, result, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = signing_key_make(control, now);
    }
    if (mr_is_ok(err)) {
        err = store_commit(&control->store);
    } else {
        store_rollback(&control->store);
    }
    MR_TRY(err);
    return files->sync_dir(files->ctx, control->options.dir);
}

static mr_err init(const struct control_options *options, mr_str owner,
                   struct control_init_result *ret_result, struct refusal *ret_refusal) {
    struct control *control = NULL;
    struct control_init_result result;
    memset(&result, 0, sizeof result);
    mr_err err = control_alloc(options, &control);
    if (mr_is_ok(err)) {
        err = init_steps(control, owner, &result, ret_refusal);
    }
    control_close(control);
    if (mr_is_ok(err)) {
        *ret_result = result;
    } else if (!mr_err_is(err, CONTROL_E_EXISTS)) {
        err = say_store(err, options->dir, ret_refusal);
    }
    crypto_wipe(&result, sizeof result);
    return err;
}

mr_err control_init(const struct control_options *options, mr_str owner_email,
                    struct control_init_result *ret_result, struct refusal *ret_refusal) {
    if (!user_email_is_plausible(owner_email)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The owner must be an e-mail address, like ops@example.com.");
    }
    return init(options, owner_email, ret_result, ret_refusal);
}

mr_err control_init_unowned(const struct control_options *options, struct refusal *ret_refusal) {
    struct control_init_result result; /* without a client it holds no secret */
    return init(options, MR_STR_NONE, &result, ret_refusal);
}

/* ---- small things ---- */

struct snapshot *control_snapshot(struct control *control) {
    if (control->store.depth == 0 && control->publications == NULL && control->n_subscribers == 0) {
        mr_err err = snapshot_refresh(control, NULL);
        if (mr_is_err(err)) {
            mr_warn(control->options.log, "snapshot_postponed", mr_kv_i64("code", err.code));
        }
    }
    return snapshot_ref(control->snapshot);
}

mr_str control_installation_id(const struct control *control) {
    return mr_str_c(control->installation_id);
}

const uint8_t *control_store_key(const struct control *control) {
    return control->store_key;
}

uint32_t control_root_account(const struct control *control) {
    return control->root_account;
}
