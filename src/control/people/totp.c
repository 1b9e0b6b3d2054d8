/* The second factor. See totp.h.
 *
 * The last step that was taken is kept with the user, and only a later one is taken again, so a
 * code that somebody looked at over a shoulder is worthless once it was used (RFC 6238, 5.2). */
#include "control/people/totp.h"

#include "base/num.h"
#include "control/audit.h"
#include "control/people/sessions.h"
#include "control/people/users.h"
#include "control/private.h"
#include "os/clock.h"

#include <stdio.h>

#define STEPS_AROUND   1
#define BASE32         "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#define RECOVERY_CHARS 15
#define SEED_BOX_MAX   256
#define URL_MAX        2048

mr_err totp_code(mr_str seed, uint64_t step, char ret_code[static TOTP_DIGITS + 1]) {
    uint8_t message[8];
    uint8_t mac[CRYPTO_SHA1_BYTES];
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)(step >> (56 - 8 * i));
    }
    MR_TRY(crypto_hmac_sha1(seed, mr_str_of((const char *)message, sizeof message), mac));
    size_t at = mac[CRYPTO_SHA1_BYTES - 1] & 0x0f;
    uint32_t number = ((uint32_t)(mac[at] & 0x7f) << 24) | ((uint32_t)mac[at + 1] << 16) |
                      ((uint32_t)mac[at + 2] << 8) | mac[at + 3];
    crypto_wipe(mac, sizeof mac);
    for (size_t i = TOTP_DIGITS; i > 0; i--) {
        ret_code[i - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    ret_code[TOTP_DIGITS] = '\0';
    return MR_OK;
}

/* ---- the user's row ---- */

struct factor {
    char id[MODEL_ID_SIZE];
    uint32_t account;
    mr_str email; /* in arena */
    bool is_begun;
    bool is_confirmed;
    bool is_demanded; /* by the account */
    uint64_t step;    /* the last one taken */
    mr_secret seed;
};

static mr_err find_factor(struct control *control, uint32_t user, mr_arena *arena,
                          struct factor *factor) {
    struct query query = query_begin(
        &control->store,
        "SELECT u.id, u.account, u.email, u.totp_sealed, u.totp_confirmed,"
        " a.second_factor, u.totp_step FROM users u JOIN accounts a ON a.number = u.account"
        " WHERE u.number = ?1");
    query_i64(&query, user);
    *factor = (struct factor){.seed = MR_SECRET_NONE};
    mr_err err = MR_ERR(MR_E_NOT_FOUND);
    while (query_row(&query)) {
        mr_str id = query_col_bytes(&query, 0);
        bool fits = mr_str_to_c(id, factor->id, sizeof factor->id);
        MR_ASSERT(fits);
        factor->account = (uint32_t)query_col_i64(&query, 1);
        factor->email = query_col_text(&query, 2, arena);
        factor->is_begun = !query_col_is_null(&query, 3);
        factor->is_confirmed = query_col_i64(&query, 4) != 0;
        factor->is_demanded = query_col_i64(&query, 5) != 0;
        factor->step = (uint64_t)query_col_i64(&query, 6);
        err = factor->is_begun ? control_unseal(control, "users", id, "totp_sealed",
                                                query_col_bytes(&query, 3), &factor->seed)
                               : MR_OK;
    }
    mr_err ended = query_end(&query);
    err = mr_is_err(ended) ? ended : err;
    if (mr_is_err(err)) {
        mr_secret_unref(&factor->seed);
    }
    return err;
}

static mr_err add_audit(struct control *control, const struct factor *factor, const char *action) {
    return audit_add(control, &(struct audit_entry){.account = factor->account,
                                                    .action = action,
                                                    .object = mr_str_c(factor->id)});
}

static mr_err tell(struct control *control, uint32_t user, const char *what, mr_arena *arena,
                   struct refusal *ret_refusal) {
    struct user_view view;
    MR_TRY(users_get_number(control, user, arena, &view, ret_refusal));
    return user_changed_tell(control, &view, what, ret_refusal);
}

/* ---- beginning ---- */

static void base32(const uint8_t *bytes, size_t n_chars, char *out) {
    for (size_t i = 0; i < n_chars; i++) {
        size_t bit = i * 5;
        uint32_t pair = ((uint32_t)bytes[bit / 8] << 8) |
                        (bit / 8 + 1 < (n_chars * 5 + 7) / 8 ? bytes[bit / 8 + 1] : 0u);
        out[i] = BASE32[(pair >> (11 - bit % 8)) & 31];
    }
}

static mr_err put_encoded(mr_str text, mr_buf *out) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        MR_TRY(is_plain ? mr_buf_byte(out, c)
                        : mr_buf_printf(out, "%%%02X", (unsigned)(unsigned char)c));
    }
    return MR_OK;
}

/* The form that authenticator apps read (Google, "Key URI format"). */
static mr_err write_url(const struct factor *factor, mr_str seed, mr_buf *out) {
    MR_TRY(mr_buf_str(out, MR_STR("otpauth://totp/Millrace:")));
    MR_TRY(put_encoded(factor->email, out));
    MR_TRY(mr_buf_printf(out, "?secret=%.*s&issuer=Millrace&algorithm=SHA1&digits=%d&period=%d",
                         MR_FMT(seed), TOTP_DIGITS, TOTP_STEP_S));
    return MR_OK;
}

static mr_err store_seed(struct control *control, uint32_t user, const struct factor *factor,
                         const uint8_t seed[static TOTP_SEED_BYTES]) {
    mr_buf box;
    mr_buf_init(&box, SEED_BOX_MAX);
    mr_err err = control_seal(control, "users", mr_str_c(factor->id), "totp_sealed",
                              mr_str_of((const char *)seed, TOTP_SEED_BYTES), &box);
    if (mr_is_ok(err)) {
        struct query query =
            query_begin(&control->store, "UPDATE users SET totp_sealed = ?1, totp_confirmed = 0,"
                                         " totp_step = 0 WHERE number = ?2");
        query_blob(&query, mr_buf_view(&box));
        query_i64(&query, user);
        err = query_run(&query);
    }
    mr_buf_done(&box);
    return err;
}

static mr_err begin_inner(struct control *control, uint32_t user, mr_arena *arena, mr_str *ret_seed,
                          mr_str *ret_url, struct refusal *ret_refusal) {
    struct factor factor;
    MR_TRY(find_factor(control, user, arena, &factor));
    mr_secret_unref(&factor.seed);
    if (factor.is_confirmed) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "There is a second factor already: remove it first.");
    }
    uint8_t seed[TOTP_SEED_BYTES];
    char text[TOTP_SEED_BYTES * 8 / 5];
    crypto_random(seed, sizeof seed);
    base32(seed, sizeof text, text);
    mr_err err = store_seed(control, user, &factor, seed);
    crypto_wipe(seed, sizeof seed);
    if (mr_is_ok(err)) {
        err = add_audit(control, &factor, "second-factor.begin");
    }
    mr_buf url;
    mr_buf_init_private(&url, URL_MAX);
    if (mr_is_ok(err)) {
        err = write_url(&factor, mr_str_of(text, sizeof text), &url);
    }
    if (mr_is_ok(err)) {
        *ret_seed = mr_arena_str(arena, mr_str_of(text, sizeof text));
        *ret_url = mr_arena_str(arena, mr_buf_view(&url));
        bool is_whole = !mr_str_is_absent(*ret_seed) && !mr_str_is_absent(*ret_url);
        err = is_whole ? MR_OK : MR_ERR(MR_E_NOMEM);
    }
    crypto_wipe(text, sizeof text);
    if (url.len > 0) {
        crypto_wipe(url.ptr, url.len);
    }
    mr_buf_done(&url);
    return err;
}

mr_err totp_begin(struct control *control, uint32_t user, mr_arena *arena, mr_str *ret_seed,
                  mr_str *ret_url, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, begin_inner(control, user, arena, ret_seed, ret_url, ret_refusal),
                      ret_refusal);
}

/* ---- judging ---- */

/* The step whose code it is, of those that were not taken yet; 0: none. */
static mr_err find_step(const struct factor *factor, mr_str code, mr_wall now, uint64_t *ret_step) {
    uint64_t present = (uint64_t)(now.ns / MR_NS_PER_S) / TOTP_STEP_S;
    *ret_step = 0;
    if (code.len != TOTP_DIGITS) {
        return MR_OK;
    }
    for (uint64_t step = present - STEPS_AROUND; step <= present + STEPS_AROUND; step++) {
        char right[TOTP_DIGITS + 1];
        MR_TRY(totp_code(mr_secret_reveal(factor->seed), step, right));
        if (crypto_equal(right, code.ptr, TOTP_DIGITS) && step > factor->step) {
            *ret_step = step;
        }
        crypto_wipe(right, sizeof right);
    }
    return MR_OK;
}

static mr_err take_step(struct control *control, uint32_t user, uint64_t step) {
    struct query query = query_begin(
        &control->store, "UPDATE users SET totp_step = ?1, totp_confirmed = 1 WHERE number = ?2");
    query_i64(&query, (int64_t)step);
    query_i64(&query, user);
    return query_run(&query);
}

/* Of a code as people type it: dashes and spaces left out, capitals. False: not of its form. */
static bool read_recovery(mr_str code, char out[static RECOVERY_CHARS]) {
    size_t n = 0;
    for (size_t i = 0; i < code.len && i < 64; i++) {
        char c = code.ptr[i];
        if (c == '-' || c == ' ') {
            continue;
        }
        c = c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
        if (n == RECOVERY_CHARS || strchr(BASE32, c) == NULL) {
            return false;
        }
        out[n++] = c;
    }
    return n == RECOVERY_CHARS;
}

static mr_err recovery_mac(struct control *control, uint32_t user,
                           const char chars[static RECOVERY_CHARS],
                           uint8_t mac[static CRYPTO_SHA256_BYTES]) {
    char whose[48];
    int n = snprintf(whose, sizeof whose, "millrace recovery code of user %u:", user);
    const mr_str parts[] = {mr_str_of(whose, (size_t)n), mr_str_of(chars, RECOVERY_CHARS)};
    return crypto_hmac_sha256(control->hasher, mr_secret_reveal(control->pepper), parts, 2, mac);
}

static mr_err use_recovery(struct control *control, uint32_t user, const struct factor *factor,
                           mr_str code, bool *ret_is_right) {
    char chars[RECOVERY_CHARS];
    uint8_t mac[CRYPTO_SHA256_BYTES];
    if (!read_recovery(code, chars)) {
        return MR_OK;
    }
    MR_TRY(recovery_mac(control, user, chars, mac));
    struct query query = query_begin(
        &control->store, "DELETE FROM recovery_codes WHERE user = ?1 AND code_hash = ?2");
    query_i64(&query, user);
    query_blob(&query, mr_str_of((const char *)mac, sizeof mac));
    MR_TRY(query_run(&query));
    if (store_changes(&control->store) == 0) {
        return MR_OK;
    }
    *ret_is_right = true;
    return add_audit(control, factor, "second-factor.recovery-code-used");
}

static mr_err judge_inner(struct control *control, uint32_t user, const struct factor *factor,
                          mr_str code, mr_wall now, bool *is_right) {
    uint64_t step = 0;
    MR_TRY(find_step(factor, code, now, &step));
    if (step > 0) {
        *is_right = true;
        return take_step(control, user, step);
    }
    return use_recovery(control, user, factor, code, is_right);
}

mr_err totp_judge(struct control *control, uint32_t user, mr_str code, mr_wall now,
                  bool *ret_is_right) {
    mr_arena arena;
    struct factor factor;
    bool is_right = false;
    mr_arena_init_private(&arena, 65536);
    mr_err err = find_factor(control, user, &arena, &factor);
    if (mr_is_ok(err) && factor.is_confirmed) {
        err = judge_inner(control, user, &factor, code, now, &is_right);
    }
    mr_secret_unref(&factor.seed);
    mr_arena_done(&arena);
    if (mr_is_ok(err)) {
        *ret_is_right = is_right;
    }
    return err;
}

/* ---- recovery codes ---- */

static mr_err delete_codes(struct control *control, uint32_t user) {
    struct query query = query_begin(&control->store, "DELETE FROM recovery_codes WHERE user = ?1");
    query_i64(&query, user);
    return query_run(&query);
}

static mr_err add_code(struct control *control, uint32_t user,
                       char out[static RECOVERY_CODE_SIZE]) {
    uint8_t random[(RECOVERY_CHARS * 5 + 7) / 8];
    uint8_t mac[CRYPTO_SHA256_BYTES];
    char chars[RECOVERY_CHARS];
    crypto_random(random, sizeof random);
    base32(random, RECOVERY_CHARS, chars);
    crypto_wipe(random, sizeof random);
    (void)snprintf(out, RECOVERY_CODE_SIZE, "%.5s-%.5s-%.5s", chars, chars + 5, chars + 10);
    mr_err err = recovery_mac(control, user, chars, mac);
    crypto_wipe(chars, sizeof chars);
    MR_TRY(err);
    struct query query =
        query_begin(&control->store, "INSERT INTO recovery_codes(user, code_hash) VALUES(?1, ?2)");
    query_i64(&query, user);
    query_blob(&query, mr_str_of((const char *)mac, sizeof mac));
    return query_run(&query);
}

static mr_err make_codes(struct control *control, uint32_t user,
                         char codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE]) {
    MR_TRY(delete_codes(control, user));
    for (size_t i = 0; i < RECOVERY_CODES; i++) {
        MR_TRY(add_code(control, user, codes[i]));
    }
    return MR_OK;
}

/* ---- confirming, removing ---- */

static mr_err confirm_inner(struct control *control, uint32_t user, mr_str code, mr_wall now,
                            mr_str except_session, mr_arena *arena,
                            char codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE],
                            struct refusal *ret_refusal) {
    struct factor factor;
    uint64_t step = 0;
    MR_TRY(find_factor(control, user, arena, &factor));
    mr_err err = MR_OK;
    if (factor.is_confirmed || !factor.is_begun) {
        err = refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT, "%s",
                     factor.is_confirmed ? "There is a second factor already."
                                         : "There is nothing to confirm: begin with "
                                           "POST /v1/profile/totp.");
    } else {
        err = find_step(&factor, code, now, &step);
    }
    mr_secret_unref(&factor.seed);
    MR_TRY(err);
    if (step == 0) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The code is not the one that the app shows now; is the clock right?");
    }
    MR_TRY(take_step(control, user, step));
    MR_TRY(make_codes(control, user, codes));
    MR_TRY(change_mark(control, MODEL_USER, user));
    MR_TRY(sessions_end_all(control, user, except_session));
    MR_TRY(add_audit(control, &factor, "second-factor.enable"));
    return tell(control, user, "A second factor was set up for your sign-in.", arena, ret_refusal);
}

mr_err totp_confirm(struct control *control, uint32_t user, mr_str code, mr_wall now,
                    mr_str except_session,
                    char ret_codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE],
                    struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init_private(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(
            control,
            confirm_inner(control, user, code, now, except_session, &arena, ret_codes, ret_refusal),
            ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}

/* The factor of a user who has one; 20409 else. Its seed is not kept. */
static mr_err find_confirmed(struct control *control, uint32_t user, mr_arena *arena,
                             struct factor *factor, struct refusal *ret_refusal) {
    MR_TRY(find_factor(control, user, arena, factor));
    mr_secret_unref(&factor->seed);
    return factor->is_confirmed
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT, "There is no second factor.");
}

mr_err totp_forget(struct control *control, uint32_t user) {
    struct query query =
        query_begin(&control->store, "UPDATE users SET totp_sealed = NULL, totp_confirmed = 0,"
                                     " totp_step = 0 WHERE number = ?1");
    query_i64(&query, user);
    MR_TRY(query_run(&query));
    MR_TRY(delete_codes(control, user));
    return change_mark(control, MODEL_USER, user);
}

static mr_err remove_inner(struct control *control, uint32_t user, mr_arena *arena,
                           struct refusal *ret_refusal) {
    struct factor factor;
    MR_TRY(find_confirmed(control, user, arena, &factor, ret_refusal));
    if (factor.is_demanded) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The account asks all its users for a second factor.");
    }
    MR_TRY(totp_forget(control, user));
    MR_TRY(add_audit(control, &factor, "second-factor.remove"));
    return tell(control, user, "The second factor of your sign-in was removed.", arena,
                ret_refusal);
}

mr_err totp_remove(struct control *control, uint32_t user, struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init_private(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control, remove_inner(control, user, &arena, ret_refusal), ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}

static mr_err renew_inner(struct control *control, uint32_t user, mr_arena *arena,
                          char codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE],
                          struct refusal *ret_refusal) {
    struct factor factor;
    MR_TRY(find_confirmed(control, user, arena, &factor, ret_refusal));
    MR_TRY(make_codes(control, user, codes));
    return add_audit(control, &factor, "second-factor.recovery-codes");
}

mr_err totp_renew_codes(struct control *control, uint32_t user,
                        char ret_codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE],
                        struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init_private(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control, renew_inner(control, user, &arena, ret_codes, ret_refusal),
                         ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}
