/* Signing keys. See keys.h.
 *
 * A row says when its key starts to sign and the longest life of a token that it signed; the rest
 * follows from the order of the rows: a key signs until the next one starts, and verifies as long
 * after that as its longest token lives. So nothing has to happen at the moment of a change, and a
 * restart finds the same state.
 *
 * The longest life is written when a token first exceeds it: four times in a key's life at most,
 * since there are four expiries. The private half of a key that signs no more is wiped from the row
 * when the next one first signs.
 *
 * In memory, `signers` are the private halves that sign now or later, `keyring` the public ones.
 * Both are read from the rows again (signing_keys_load) after every change of these. Workers get
 * the ring with the next snapshot; tokens signed with a key that they do not know yet wait for it,
 * because a job that issues tokens is answered in order (control/jobs.h). */
#include "control/access/key_rows.h"

#include "base/mem.h"

/* ---- rows ---- */

static mr_err read_row(struct query *query, mr_arena *arena, struct key_row *row) {
    *row = (struct key_row){
        .public_der = query_col_text(query, 1, arena),
        .box = query_col_text(query, 2, arena),
        .sign_from_s = query_col_i64(query, 3),
        .longest_s = query_col_i64(query, 4),
        .created_ms = query_col_i64(query, 5),
    };
    return mr_str_to_c(query_col_bytes(query, 0), row->kid, sizeof row->kid) ? MR_OK
                                                                             : MR_ERR(MR_E_INVALID);
}

/* Where each key stands at now. */
static void settle(struct key_rows *keys, int64_t now_s) {
    keys->signing = 0;
    for (size_t i = 0; i < keys->n; i++) {
        struct key_row *row = &keys->rows[i];
        row->verify_until_s =
            i + 1 == keys->n ? INT64_MAX : keys->rows[i + 1].sign_from_s + row->longest_s;
        if (row->sign_from_s <= now_s) {
            keys->signing = i;
        }
    }
}

mr_err key_rows_read(struct control *control, mr_wall now, mr_arena *arena,
                     struct key_rows **ret_keys) {
    struct key_rows *keys = mr_arena_calloc(arena, 1, sizeof *keys);
    if (keys == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    struct query query =
        query_begin(&control->store, "SELECT kid, public_der, private_sealed, sign_from_s,"
                                     " longest_expiry_s, created_ms FROM signing_keys"
                                     " ORDER BY sign_from_s, kid");
    mr_err err = MR_OK;
    while (mr_is_ok(err) && keys->n < KEY_ROWS_MAX && query_row(&query)) {
        err = read_row(&query, arena, &keys->rows[keys->n++]);
    }
    mr_err ended = query_end(&query);
    MR_TRY(mr_is_err(err) ? err : ended);
    settle(keys, now.ns / MR_NS_PER_S);
    *ret_keys = keys;
    return MR_OK;
}

mr_err key_run(struct control *control, const char *sql, mr_str kid) {
    struct query query = query_begin(&control->store, sql);
    query_text(&query, kid);
    return query_run(&query);
}

/* ---- making ---- */

static mr_err insert_key(struct control *control, mr_str kid, mr_str public_der,
                         mr_secret private_der, int64_t sign_from_s, mr_wall now) {
    mr_buf box;
    mr_buf_init(&box, 8192);
    mr_err err = control_seal(control, "signing_keys", kid, "private_sealed",
                              mr_secret_reveal(private_der), &box);
    if (mr_is_ok(err)) {
        struct query query =
            query_begin(&control->store,
                        "INSERT INTO signing_keys(kid, public_der, private_sealed, sign_from_s,"
                        " longest_expiry_s, created_ms) VALUES(?1, ?2, ?3, ?4, 0, ?5)");
        query_text(&query, kid);
        query_blob(&query, public_der);
        query_blob(&query, mr_buf_view(&box));
        query_i64(&query, sign_from_s);
        query_i64(&query, mr_wall_ms(now));
        err = query_run(&query);
    }
    mr_buf_done(&box);
    return err;
}

mr_err key_make(struct control *control, int64_t sign_from_s, mr_wall now,
                char kid[static CRYPTO_ID_SIZE]) {
    crypto_id_make(MR_STR("key_"), now, kid);
    mr_secret private_der = MR_SECRET_NONE;
    mr_buf public_der;
    mr_buf_init(&public_der, 4096);
    mr_err err = auth_key_generate(control->options.slab, &private_der, &public_der);
    if (mr_is_ok(err)) {
        err = insert_key(control, mr_str_c(kid), mr_buf_view(&public_der), private_der, sign_from_s,
                         now);
    }
    mr_secret_unref(&private_der);
    mr_buf_done(&public_der);
    return err;
}

mr_err signing_key_make(struct control *control, mr_wall now) {
    char kid[CRYPTO_ID_SIZE];
    MR_TRY(key_make(control, now.ns / MR_NS_PER_S, now, kid));
    return audit_add(
        control, &(struct audit_entry){.action = "signing-key.create", .object = mr_str_c(kid)});
}

/* ---- loading ---- */

void signing_keys_done(struct control *control) {
    for (size_t i = 0; i < control->n_signers; i++) {
        auth_signer_free(control->signers[i].signer);
    }
    control->n_signers = 0;
    auth_keyring_unref(control->keyring);
    control->keyring = NULL;
}

static mr_err read_signer(struct control *control, const struct key_row *row, bool is_last,
                          struct signing_signer *ret_signer) {
    mr_secret private_der = MR_SECRET_NONE;
    mr_str kid = mr_str_c(row->kid);
    MR_TRY(control_unseal(control, "signing_keys", kid, "private_sealed", row->box, &private_der));
    struct signing_signer signer = {
        .sign_from_s = row->sign_from_s, .longest_s = row->longest_s, .is_last = is_last};
    memcpy(signer.kid, row->kid, sizeof signer.kid);
    mr_err err = auth_signer_new(private_der, kid, &signer.signer);
    mr_secret_unref(&private_der);
    if (mr_is_ok(err)) {
        *ret_signer = signer;
    }
    return err;
}

static mr_err ring_of(struct control *control, const struct key_rows *keys, int64_t now_s,
                      struct auth_keyring **ret_ring) {
    struct auth_key list[SIGNING_KEYS_MAX];
    size_t n = 0;
    /* The newest, where there are too many: rotation sees to it that there are not. */
    for (size_t i = keys->n; i > 0 && n < SIGNING_KEYS_MAX; i--) {
        const struct key_row *row = &keys->rows[i - 1];
        if (row->verify_until_s < now_s) {
            continue;
        }
        list[n] = (struct auth_key){.public_der = row->public_der,
                                    .sign_from_s = row->sign_from_s,
                                    .verify_until_s = row->verify_until_s};
        if (!mr_str_to_c(mr_str_c(row->kid), list[n].kid, sizeof list[n].kid)) {
            return MR_ERR(MR_E_INVALID);
        }
        n++;
    }
    return auth_keyring_new(list, n, mr_str_c(control->issuer), mr_str_c(control->audience),
                            ret_ring);
}

static mr_err load_inner(struct control *control, mr_wall now, mr_arena *arena) {
    struct key_rows *keys;
    struct auth_keyring *ring = NULL;
    struct signing_signer signers[SIGNERS_MAX];
    size_t n = 0;
    MR_TRY(key_rows_read(control, now, arena, &keys));
    mr_err err = ring_of(control, keys, now.ns / MR_NS_PER_S, &ring);
    for (size_t i = keys->signing; i < keys->n && n < SIGNERS_MAX && mr_is_ok(err); i++) {
        if (!mr_str_is_absent(keys->rows[i].box)) {
            err = read_signer(control, &keys->rows[i], i + 1 == keys->n, &signers[n]);
            n += mr_is_ok(err);
        }
    }
    if (mr_is_ok(err) && n == 0) {
        err = MR_ERR(MR_E_INVALID);
    }
    if (mr_is_err(err)) {
        auth_keyring_unref(ring);
        while (n > 0) {
            auth_signer_free(signers[--n].signer);
        }
        return err;
    }
    signing_keys_done(control);
    control->keyring = ring;
    memcpy(control->signers, signers, n * sizeof signers[0]);
    control->n_signers = n;
    control->keys_are_stale = false;
    return MR_OK;
}

mr_err signing_keys_load(struct control *control, mr_wall now) {
    mr_arena arena;
    mr_arena_init(&arena, (size_t)1 << 20);
    mr_err err = load_inner(control, now, &arena);
    mr_arena_done(&arena);
    return err;
}

void signing_keys_advise(struct control *control) {
    /* The oldest signs now: those behind it wait. */
    const struct signing_signer *signer = &control->signers[0];
    int bits = auth_signer_bits(signer->signer);
    if (bits < AUTH_KEY_BITS) {
        mr_warn(control->options.log, "signing_key_weak", mr_kv_c("kid", signer->kid),
                mr_kv_i64("bits", bits), mr_kv_i64("new_keys_have", AUTH_KEY_BITS),
                mr_kv_c("advice", "rotate it: millrace keys rotate"));
    }
}

/* ---- signing ---- */

mr_err signing_key_take(struct control *control, mr_wall now, uint32_t expiry_s,
                        struct auth_signer **ret_signer) {
    int64_t now_s = now.ns / MR_NS_PER_S;
    if (control->keys_are_stale) {
        MR_TRY(signing_keys_load(control, now));
    }
    size_t at = 0;
    while (at + 1 < control->n_signers && control->signers[at + 1].sign_from_s <= now_s) {
        at++;
    }
    const struct signing_signer *signer = &control->signers[at];
    if (at > 0) {
        MR_TRY(key_run(control,
                       "UPDATE signing_keys SET private_sealed = NULL WHERE sign_from_s <"
                       " (SELECT sign_from_s FROM signing_keys WHERE kid = ?1)",
                       mr_str_c(signer->kid)));
        control->keys_are_stale = true; /* the halves in memory go with the next reading */
    }
    if (expiry_s > signer->longest_s) {
        struct query query = query_begin(&control->store, "UPDATE signing_keys SET"
                                                          " longest_expiry_s = ?1 WHERE kid = ?2");
        query_i64(&query, expiry_s);
        query_text(&query, mr_str_c(signer->kid));
        MR_TRY(query_run(&query));
        control->keys_are_stale = true;
        if (!signer->is_last) { /* it verifies longer than workers know */
            MR_TRY(change_mark(control, MODEL_KEYS, 0));
        }
    }
    *ret_signer = signer->signer;
    return MR_OK;
}
