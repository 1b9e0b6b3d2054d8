/* Signing keys: rotated, retired, revoked; with a clock of the test's own. */
#include "support_control.h"

#include "control/access/keys.h"
#include "control/clients.h"
#include "control/private.h"
#include "os/clock.h"

#include "auth/token.h"
#include "crypto/secret.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

static mr_wall after(mr_wall now, int64_t s) {
    return (mr_wall){now.ns + s * MR_NS_PER_S};
}

static struct signing_key_view rotate(struct fixture *f, const char *body, mr_wall now) {
    struct signing_key_view view;
    assert_ok(signing_keys_rotate(f->control, mr_str_c(body), now, &f->arena, &view, &f->refusal));
    return view;
}

static size_t list(struct fixture *f, mr_wall now, struct signing_key_view **rows) {
    size_t n = 0;
    assert_ok(signing_keys_list(f->control, now, &f->arena, rows, &n, &f->refusal));
    return n;
}

static mr_str token_at(struct fixture *f, mr_wall now) {
    struct client_token token;
    assert_ok(clients_issue_token(f->control, mr_str_c(f->made.client_id),
                                  mr_str_c(f->made.client_secret), now, &f->arena, &token,
                                  &f->refusal));
    return token.access_token;
}

/* What a worker says of a token at now. */
static int check(struct fixture *f, mr_str token, mr_wall now) {
    struct auth_claims claims;
    struct snapshot *snapshot = control_snapshot(f->control);
    mr_err err =
        auth_token_verify(snapshot_keyring(snapshot), token, now.ns / MR_NS_PER_S, &claims);
    snapshot_unref(snapshot);
    return err.code;
}

/* Encoded header: tokens of one key share it. */
static bool same_key(mr_str a, mr_str b) {
    return mr_str_eq(mr_str_slice(a, 0, mr_str_find_byte(a, '.', 0)),
                     mr_str_slice(b, 0, mr_str_find_byte(b, '.', 0)));
}

static void a_new_key_is_known_before_it_signs_and_the_old_one_verifies_on(void **state) {
    struct fixture *f = *state;
    struct signing_key_view *rows = NULL;
    mr_wall now = os_wall_now();
    mr_str old = token_at(f, now);
    struct signing_key_view fresh = rotate(f, "{}", now);
    assert_int_equal(fresh.status, SIGNING_KEY_PENDING);
    assert_int_equal(list(f, now, &rows), 2);
    assert_int_equal(rows[0].status, SIGNING_KEY_SIGNING);
    assert_true(mr_str_eq(rows[1].kid, fresh.kid));
    /* Both are in the ring that workers have. */
    struct snapshot *snapshot = control_snapshot(f->control);
    mr_buf jwks;
    mr_buf_init(&jwks, 8192);
    assert_ok(auth_keyring_write_jwks(snapshot_keyring(snapshot), now.ns / MR_NS_PER_S, &jwks));
    assert_true(mr_str_find(mr_buf_view(&jwks), fresh.kid) != SIZE_MAX);
    assert_true(mr_str_find(mr_buf_view(&jwks), rows[0].kid) != SIZE_MAX);
    mr_buf_done(&jwks);
    snapshot_unref(snapshot);
    /* Until its time the old one signs, then the new one. */
    mr_str still = token_at(f, after(now, SIGNING_KEY_LEAD_S - 1));
    assert_true(same_key(old, still));
    mr_wall turn = after(now, SIGNING_KEY_LEAD_S);
    mr_str changed = token_at(f, turn);
    assert_false(same_key(old, changed));
    assert_int_equal(check(f, changed, turn), 0);
    assert_int_equal(check(f, still, turn), 0);
    /* The old one's tokens live an hour: so long it verifies, and not longer. */
    assert_int_equal(list(f, turn, &rows), 2);
    assert_int_equal(rows[0].status, SIGNING_KEY_RETIRED);
    assert_true(rows[0].verify_until_s == turn.ns / MR_NS_PER_S + 3600);
    assert_int_equal(check(f, still, after(turn, 3598)), 0);
    assert_int_equal(check(f, still, after(turn, 3601)), AUTH_E_KEY);
    assert_int_equal(list(f, after(turn, 3601), &rows), 1);
    /* And the same after a restart. */
    fixture_reopen(f);
    assert_int_equal(check(f, changed, turn), 0);
}

static void a_key_verifies_as_long_as_its_longest_token(void **state) {
    struct fixture *f = *state;
    struct signing_key_view *rows = NULL;
    struct client_view view;
    mr_wall now = os_wall_now();
    mr_str id = mr_str_c(f->made.client_id);
    (void)token_at(f, now);
    rotate(f, "{}", now);
    assert_ok(clients_patch(f->control, f->account, NULL, id,
                            MR_STR("{\"token_expiry\":\"30 days\"}"), 0, &f->arena, &view,
                            &f->refusal));
    mr_str token = token_at(f, after(now, 10)); /* after the rotation, by the old key */
    list(f, now, &rows);
    int64_t turn_s = now.ns / MR_NS_PER_S + SIGNING_KEY_LEAD_S;
    assert_true(rows[0].verify_until_s == turn_s + 2592000);
    assert_int_equal(check(f, token, after(now, 2592000)), 0);
    (void)token_at(f, after(now, SIGNING_KEY_LEAD_S));
    struct query query = query_begin(
        &f->control->store, "SELECT count(*) FROM signing_keys WHERE private_sealed IS NULL");
    assert_true(query_row(&query));
    assert_int_equal(query_col_i64(&query, 0), 1); /* the half that signs no more is gone */
    assert_ok(query_end(&query));
    (void)token_at(f, after(now, SIGNING_KEY_LEAD_S + 1));
}

static void at_once_means_the_next_token(void **state) {
    struct fixture *f = *state;
    mr_wall now = os_wall_now();
    mr_str old = token_at(f, now);
    struct signing_key_view fresh = rotate(f, "{\"now\":true}", now);
    assert_int_equal(fresh.status, SIGNING_KEY_SIGNING);
    mr_str token = token_at(f, now);
    assert_false(same_key(old, token));
    assert_int_equal(check(f, token, now), 0);
    assert_int_equal(check(f, old, now), 0);
}

static void revoking_ends_every_other_token(void **state) {
    struct fixture *f = *state;
    struct signing_key_view *rows = NULL;
    mr_wall now = os_wall_now();
    mr_str old = token_at(f, now);
    rotate(f, "{}", now);
    rotate(f, "{\"revoke\":true}", now);
    assert_int_equal(check(f, old, now), AUTH_E_KEY);
    assert_int_equal(list(f, now, &rows), 1);
    assert_int_equal(check(f, token_at(f, now), now), 0);
    fixture_reopen(f);
    assert_int_equal(check(f, old, now), AUTH_E_KEY);
}

/* A key that signs from now, with the halves of the one that signs before it: to make so many takes
 * long. */
static void add_shared_key(struct fixture *f, int n, mr_wall now) {
    struct control *control = f->control;
    char kid[32];
    (void)snprintf(kid, sizeof kid, "key_shared%02d", n);
    mr_secret private_der = MR_SECRET_NONE;
    mr_buf box;
    mr_buf_init(&box, 8192);
    struct query query =
        query_begin(&control->store, "SELECT kid, private_sealed, public_der FROM signing_keys"
                                     " WHERE private_sealed IS NOT NULL ORDER BY sign_from_s"
                                     " LIMIT 1");
    assert_true(query_row(&query));
    assert_ok(control_unseal(control, "signing_keys", query_col_bytes(&query, 0), "private_sealed",
                             query_col_bytes(&query, 1), &private_der));
    mr_str public_der = query_col_text(&query, 2, &f->arena);
    assert_ok(query_end(&query));
    assert_ok(control_seal(control, "signing_keys", mr_str_c(kid), "private_sealed",
                           mr_secret_reveal(private_der), &box));
    mr_secret_unref(&private_der);
    query = query_begin(&control->store,
                        "INSERT INTO signing_keys(kid, public_der, private_sealed, sign_from_s,"
                        " longest_expiry_s, created_ms) VALUES(?1, ?2, ?3, ?4, 0, ?5)");
    query_text(&query, mr_str_c(kid));
    query_blob(&query, public_der);
    query_blob(&query, mr_buf_view(&box));
    query_i64(&query, now.ns / MR_NS_PER_S);
    query_i64(&query, mr_wall_ms(now));
    assert_ok(query_run(&query));
    mr_buf_done(&box);
    control->keys_are_stale = true;
}

static void a_pending_key_gives_way_and_keys_are_bounded(void **state) {
    struct fixture *f = *state;
    struct signing_key_view *rows = NULL;
    struct signing_key_view view;
    mr_wall now = os_wall_now();
    (void)token_at(f, now);
    rotate(f, "{}", now);
    struct signing_key_view second = rotate(f, "{}", after(now, 10));
    assert_int_equal(list(f, now, &rows), 2);
    assert_true(mr_str_eq(rows[1].kid, second.kid));
    for (int i = 0; i < SIGNING_KEYS_MAX - 1; i++) {
        now = after(now, 2);
        if (i == 0) {
            rotate(f, "{\"now\":true}", now); /* in the place of the one that waits */
        } else {
            add_shared_key(f, i, now);
        }
        (void)token_at(f, now);
    }
    assert_int_equal(list(f, now, &rows), SIGNING_KEYS_MAX);
    assert_refused(
        f, signing_keys_rotate(f->control, MR_STR("{}"), now, &f->arena, &view, &f->refusal), 20409,
        "verify");
    now = after(now, 4000);
    rotate(f, "{}", now); /* their tokens have expired */
    assert_int_equal(list(f, now, &rows), 2);
}

static void only_admins_rotate(void **state) {
    struct fixture *f = *state;
    struct signing_key_view view;
    f->control->actor = (struct control_actor){.kind = CONTROL_ACTOR_USER, .id = MR_STR("user_x")};
    assert_refused(
        f,
        signing_keys_rotate(f->control, MR_STR("{}"), os_wall_now(), &f->arena, &view, &f->refusal),
        40403, "rotate");
    f->control->actor = (struct control_actor){.kind = CONTROL_ACTOR_SYSTEM};
    assert_refused(f,
                   signing_keys_rotate(f->control, MR_STR("{\"Now\":true}"), os_wall_now(),
                                       &f->arena, &view, &f->refusal),
                   20001, "Now");
}

/* A store's key as older versions made them. */
static void put_weak_key(struct fixture *f) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    uint8_t *private_der = NULL;
    uint8_t *public_der = NULL;
    int n_private = i2d_PrivateKey(key, &private_der);
    int n_public = i2d_PUBKEY(key, &public_der);
    assert_true(n_private > 0 && n_public > 0);
    mr_buf box;
    mr_buf_init(&box, 8192);
    assert_ok(control_seal(f->control, "signing_keys", mr_str_c(f->control->signers[0].kid),
                           "private_sealed",
                           mr_str_of((const char *)private_der, (size_t)n_private), &box));
    struct query query = query_begin(
        &f->control->store, "UPDATE signing_keys SET private_sealed = ?1, public_der = ?2");
    query_blob(&query, mr_buf_view(&box));
    query_blob(&query, mr_str_of((const char *)public_der, (size_t)n_public));
    assert_ok(query_run(&query));
    mr_buf_done(&box);
    OPENSSL_free(private_der);
    OPENSSL_free(public_der);
    EVP_PKEY_free(key);
}

static void take_line(void *ctx, mr_str line) {
    mr_buf *lines = (mr_buf *)ctx;
    assert_ok(mr_buf_str(lines, line));
}

static mr_wall log_now(void *ctx) {
    (void)ctx;
    return os_wall_now();
}

static void new_keys_are_strong_and_a_weaker_one_that_signs_is_told(void **state) {
    struct fixture *f = *state;
    mr_buf lines;
    mr_buf_init(&lines, 65536);
    const struct mr_log log = {.write = take_line, .now = log_now, .ctx = &lines};
    f->options.log = &log;
    fixture_reopen(f);
    assert_true(auth_signer_bits(f->control->signers[0].signer) >= 3072);
    assert_int_equal(mr_str_find(mr_buf_view(&lines), MR_STR("signing_key_weak")), SIZE_MAX);

    put_weak_key(f);
    fixture_reopen(f);
    size_t at = mr_str_find(mr_buf_view(&lines), MR_STR("signing_key_weak"));
    assert_int_not_equal(at, SIZE_MAX);
    assert_int_not_equal(mr_str_find(mr_buf_view(&lines), MR_STR("bits=2048")), SIZE_MAX);
    mr_wall now = os_wall_now();
    mr_str old = token_at(f, now);
    assert_int_equal(check(f, old, now), 0);

    (void)rotate(f, "{\"now\":true}", now);
    mr_buf_reset(&lines);
    fixture_reopen(f);
    assert_int_equal(mr_str_find(mr_buf_view(&lines), MR_STR("signing_key_weak")), SIZE_MAX);
    assert_int_equal(check(f, old, now), 0);
    f->options.log = NULL;
    control_close(f->control);
    f->control = NULL;
    mr_buf_done(&lines);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_keys_are_strong_and_a_weaker_one_that_signs_is_told,
                                        fixture_setup, fixture_teardown),
        TEST(a_new_key_is_known_before_it_signs_and_the_old_one_verifies_on),
        TEST(a_key_verifies_as_long_as_its_longest_token),
        TEST(at_once_means_the_next_token),
        TEST(revoking_ends_every_other_token),
        TEST(a_pending_key_gives_way_and_keys_are_bounded),
        TEST(only_admins_rotate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
