/* The master key: taken, proved, rotated. See master.h.
 *
 * The canary is a known text sealed with the master key. A wrong key is found by it at start, with
 * a message that says so, and not at the first signature that a customer's receiver refuses.
 *
 * Before the new key takes the old one's place, the log of writes is folded into the database and
 * cut to nothing: the transaction is then on disk whatever was synced before (after kill -9 a start
 * may see a commit that was written but not synced), and no box of the old key stays in it. In the
 * database itself secure_delete has overwritten them. */
#include "control/store/master.h"

#include "control/private.h"
#include "control/store/sealed.h"
#include "crypto/master.h"
#include "os/files.h"

#include <errno.h>
#include <stdio.h>

static const struct os_files *files(void) {
    return &os_files_system;
}

/* Fills the message. */
#define SAY(ret_refusal, ...)                                                                      \
    (mr_ignore(refuse((ret_refusal), REFUSAL_UNAVAILABLE, __VA_ARGS__), "the code is the answer"), \
     MR_ERR(CONTROL_E_MASTER_KEY))

static mr_err path_of_key(const struct control *control, char out[static MASTER_PATH_MAX]) {
    const struct control_options *options = &control->options;
    return master_key_path(files(), options->master_key_file, options->credentials_dir,
                           options->dir, out);
}

mr_err master_take(struct control *control, bool may_make, struct refusal *ret_refusal) {
    const struct control_options *options = &control->options;
    char path[MASTER_PATH_MAX];
    MR_TRY(path_of_key(control, path));
    mr_secret key = MR_SECRET_NONE;
    mr_err err = master_key_load(files(), options->slab, path, &key);
    if (mr_err_is(err, MR_E_NOT_FOUND) && may_make) {
        err = master_key_make(files(), options->slab, path, &key);
        if (mr_is_err(err)) {
            return SAY(ret_refusal,
                       "Could not write the master key %s; make its folder writable, or name "
                       "another place with master_key_file.",
                       path);
        }
    }
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        return SAY(ret_refusal,
                   "The master key %s is missing; put it back, or name its place with "
                   "master_key_file. Without it the secrets in %s cannot be read.",
                   path, options->dir);
    }
    if (mr_is_err(err)) {
        return SAY(ret_refusal,
                   "The master key %s cannot be read; it must hold 64 hex digits and be readable "
                   "by this user.",
                   path);
    }
    err = sealer_new(options->slab, mr_secret_reveal(key), &control->sealer);
    mr_secret_unref(&key);
    return err;
}

/* ---- the canary ---- */

/* Whether the sealer is the one of the store; SEAL_E_OTHER_KEY, MR_E_INVALID: neither. */
static mr_err try_canary(struct control *control) {
    mr_secret canary = MR_SECRET_NONE;
    mr_err err = meta_get_sealed(control, "canary", &canary);
    bool is_right = mr_is_ok(err) && mr_secret_eq(canary, MR_STR(MASTER_CANARY));
    mr_secret_unref(&canary);
    if (mr_is_ok(err) || mr_err_is(err, SEAL_E_TAMPERED)) {
        return is_right ? MR_OK : MR_ERR(MR_E_INVALID);
    }
    return err;
}

/* Everything committed lies in the database's file, synced, and the log of writes is empty. */
static mr_err settle(struct control *control) {
    struct query query = query_begin(&control->store, "PRAGMA wal_checkpoint(TRUNCATE)");
    bool is_busy = true;
    while (query_row(&query)) {
        is_busy = query_col_i64(&query, 0) != 0;
    }
    MR_TRY(query_end(&query));
    return is_busy ? MR_ERR(MR_E_BUSY) : MR_OK;
}

/* The same, behind the commit of a rotation from the key at path to the one at next. */
static mr_err settle_rotation(struct control *control, const char *path, const char *next,
                              struct refusal *ret_refusal) {
    return mr_is_ok(settle(control))
               ? MR_OK
               : SAY(ret_refusal,
                     "The master key is rotated, but traces of the old one stay in "
                     "%s/control.db-wal "
                     "as long as another program reads the database: end it and start once. Until "
                     "then keep both %s and %s.",
                     control->options.dir, path, next);
}

static mr_err move_key(struct control *control, const char *next, const char *path,
                       struct refusal *ret_refusal) {
    MR_TRY(settle_rotation(control, path, next, ret_refusal));
    mr_err err = master_key_move(files(), next, path);
    if (mr_is_err(err)) {
        return SAY(ret_refusal,
                   "The master key is rotated, but %s could not take the place of %s: %s. Move it "
                   "there.",
                   next, path, strerror(errno));
    }
    return MR_OK;
}

/* The key beside the present one opens the store: a rotation was cut off behind its commit.
 * SEAL_E_OTHER_KEY where there is none, or it does not. */
static mr_err finish_rotation(struct control *control, struct refusal *ret_refusal) {
    char path[MASTER_PATH_MAX];
    char next[MASTER_PATH_MAX];
    mr_secret key = MR_SECRET_NONE;
    struct sealer *sealer = NULL;
    MR_TRY(path_of_key(control, path));
    if (mr_is_err(master_key_next_path(path, next)) ||
        mr_is_err(master_key_load(files(), control->options.slab, next, &key))) {
        return MR_ERR(SEAL_E_OTHER_KEY);
    }
    mr_err err = sealer_new(control->options.slab, mr_secret_reveal(key), &sealer);
    mr_secret_unref(&key);
    MR_TRY(err);
    struct sealer *old = control->sealer;
    control->sealer = sealer;
    err = try_canary(control);
    if (mr_is_ok(err)) {
        err = move_key(control, next, path, ret_refusal);
    }
    if (mr_is_err(err)) {
        control->sealer = old;
        sealer_free(sealer);
        return err;
    }
    sealer_free(old);
    mr_info(control->options.log, "master_key_rotation_finished", mr_kv_c("file", path));
    return MR_OK;
}

mr_err master_check(struct control *control, struct refusal *ret_refusal) {
    mr_err err = try_canary(control);
    if (mr_err_is(err, SEAL_E_OTHER_KEY)) {
        err = finish_rotation(control, ret_refusal);
    }
    if (mr_err_is(err, SEAL_E_OTHER_KEY)) {
        return SAY(ret_refusal,
                   "The master key is not the one that the data folder %s was made with; name the "
                   "right one with master_key_file (after a rotation with --new-key-file, that "
                   "file).",
                   control->options.dir);
    }
    return err;
}

/* ---- rotation ---- */

/* The file that the operator names: its key, or one that is made there. */
static mr_err take_named(struct control *control, const char *file, mr_secret *ret_key,
                         struct refusal *ret_refusal) {
    mr_err err = master_key_load(files(), control->options.slab, file, ret_key);
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        err = master_key_make(files(), control->options.slab, file, ret_key);
        return mr_is_ok(err) ? err
                             : SAY(ret_refusal, "Could not write the new master key %s: %s.", file,
                                   strerror(errno));
    }
    return mr_is_ok(err) ? err
                         : SAY(ret_refusal,
                               "%s holds no master key (64 hex digits); name a file that has one, "
                               "or none yet.",
                               file);
}

/* A key beside the present one. What lies there is of a rotation that came to nothing: the present
 * key opens the store, so no other one does. */
static mr_err make_beside(struct control *control, const char *path, const char *next,
                          mr_secret *ret_key, struct refusal *ret_refusal) {
    mr_err err = files()->unlink(files()->ctx, next);
    if (mr_is_ok(err) || mr_err_is(err, MR_E_NOT_FOUND)) {
        err = master_key_make(files(), control->options.slab, next, ret_key);
    }
    return mr_is_ok(err) ? err
                         : SAY(ret_refusal,
                               "Could not write the new master key %s beside %s: %s; make its "
                               "folder writable, or name another place with --new-key-file.",
                               next, path, strerror(errno));
}

static mr_err renew(struct control *control, const struct sealer *to, uint32_t *ret_n,
                    struct refusal *ret_refusal) {
    char detail[64];
    MR_TRY(sealed_renew(control, to, ret_n, ret_refusal));
    (void)snprintf(detail, sizeof detail, "{\"values\":%u}", *ret_n);
    return audit_add(
        control, &(struct audit_entry){.action = "master-key.rotate", .detail = mr_str_c(detail)});
}

static mr_err rotate_to(struct control *control, mr_secret key, uint32_t *ret_n,
                        struct refusal *ret_refusal) {
    struct sealer *to = NULL;
    MR_TRY(sealer_new(control->options.slab, mr_secret_reveal(key), &to));
    mr_err err = MR_OK;
    if (memcmp(sealer_key_id(to), sealer_key_id(control->sealer), SEAL_KEY_ID_BYTES) == 0) {
        err = SAY(ret_refusal, "The file names the present master key: name another one.");
    }
    if (mr_is_ok(err)) {
        err = change_begin(control, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = change_end(control, renew(control, to, ret_n, ret_refusal), ret_refusal);
    }
    if (mr_is_err(err)) {
        sealer_free(to);
        return err;
    }
    sealer_free(control->sealer);
    control->sealer = to;
    return MR_OK;
}

mr_err control_rotate_master_key(struct control *control, const char *new_key_file,
                                 struct control_rotated *ret_rotated, struct refusal *ret_refusal) {
    struct control_rotated rotated = {.n_values = 0};
    char next[MASTER_PATH_MAX];
    mr_secret key = MR_SECRET_NONE;
    mr_err err = path_of_key(control, rotated.present);
    if (mr_is_ok(err)) {
        err = master_key_next_path(rotated.present, next);
    }
    if (mr_is_ok(err)) {
        err = new_key_file != NULL ? take_named(control, new_key_file, &key, ret_refusal)
                                   : make_beside(control, rotated.present, next, &key, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = rotate_to(control, key, &rotated.n_values, ret_refusal);
    }
    mr_secret_unref(&key);
    if (mr_is_ok(err)) {
        err = new_key_file != NULL
                  ? settle_rotation(control, rotated.present, new_key_file, ret_refusal)
                  : move_key(control, next, rotated.present, ret_refusal);
    }
    if (mr_is_ok(err)) {
        *ret_rotated = rotated;
    }
    return mr_err_is(err, CONTROL_E_MASTER_KEY) ? err : refuse_error(control, err, ret_refusal);
}
