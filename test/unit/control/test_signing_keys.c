/* Signing keys: rotated, retired, revoked; with a clock of the test's own. */
#include "support_control.h"

#include "control/access/keys.h"
#include "control/clients.h"
#include "control/private.h"
#include "os/clock.h"

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
        rotate(f, "{\"now\":true}", now);
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

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_key_is_known_before_it_signs_and_the_old_one_verifies_on),
        TEST(a_key_verifies_as_long_as_its_longest_token),
        TEST(at_once_means_the_next_token),
        TEST(revoking_ends_every_other_token),
        TEST(a_pending_key_gives_way_and_keys_are_bounded),
        TEST(only_admins_rotate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
