/* API clients: creation, tokens that verify, and what ends them. */
#include "support_control.h"

#include "control/clients.h"

#include <stdio.h>
#include <string.h>

#define NOW ((mr_wall){INT64_C(1700000000) * MR_NS_PER_S})

static mr_err issue(struct fixture *f, mr_str id, mr_str secret, struct client_token *token) {
    return clients_issue_token(f->control, id, secret, NOW, &f->arena, token, &f->refusal);
}

/* What a worker would say of this token now. */
static mr_err check(struct fixture *f, mr_str token, int64_t now_s, struct auth_claims *claims) {
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct model_account *account = NULL;
    const struct model_client *client = NULL;
    mr_err err = auth_token_verify(snapshot_keyring(snapshot), token, now_s, claims);
    if (mr_is_ok(err)) {
        err = snapshot_check_claims(snapshot, claims, &account, &client);
    }
    if (mr_is_ok(err)) {
        assert_int_equal(account->object.number, f->account);
        assert_string_equal(client->object.id, claims->client_id);
    }
    snapshot_unref(snapshot);
    return err;
}

static void a_token_carries_the_clients_rights(void **state) {
    struct fixture *f = *state;
    struct client_token token;
    struct auth_claims claims;
    assert_ok(issue(f, mr_str_c(f->made.client_id), mr_str_c(f->made.client_secret), &token));
    assert_int_equal(token.expires_in_s, 3600);
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_string_equal(claims.account_id, f->made.account_id);
    assert_int_equal(claims.client_type, AUTH_CLIENT_ADMIN);
    assert_true(claims.expires_s == INT64_C(1700003600));
    struct auth_scopes all = auth_scopes_all();
    assert_true(auth_scopes_within(&all, &claims.scopes));
    assert_int_equal(check(f, token.access_token, 1700003600, &claims).code, AUTH_E_EXPIRED);
    mr_buf json;
    mr_buf_init(&json, 16384);
    assert_ok(client_token_write_json(&token, &json));
    assert_true(mr_str_find(mr_buf_view(&json),
                            MR_STR("\"expires_in\":3600,\"token_type\":\"Bearer\",\"scope\":"
                                   "\"APIClients Accounts Users AuditLog SuperSIM")) != SIZE_MAX);
    mr_buf_done(&json);
    /* Tokens outlive a restart. */
    fixture_reopen(f);
    assert_ok(check(f, token.access_token, 1700000001, &claims));
}

static void wrong_credentials_are_401(void **state) {
    struct fixture *f = *state;
    struct client_token token;
    mr_str id = mr_str_c(f->made.client_id);
    mr_str secret = mr_str_c(f->made.client_secret);
    assert_refused(f, issue(f, id, MR_STR("wrong"), &token), 20401, "Invalid client");
    assert_refused(f, issue(f, id, MR_STR(""), &token), 20401, "Invalid client");
    assert_refused(f, issue(f, MR_STR("apiclient_none"), secret, &token), 20401, "Invalid client");
    assert_refused(f, issue(f, MR_STR_NONE, MR_STR_NONE, &token), 20401, "Invalid client");
}

static void disabling_and_revoking_end_tokens_at_once(void **state) {
    struct fixture *f = *state;
    struct client_token token;
    struct auth_claims claims;
    mr_str id = mr_str_c(f->made.client_id);
    mr_str secret = mr_str_c(f->made.client_secret);
    assert_ok(issue(f, id, secret, &token));
    assert_ok(clients_revoke_tokens(f->control, f->account, id, &f->refusal));
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_ok(issue(f, id, secret, &token));
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_ok(clients_set_enabled(f->control, f->account, id, false, &f->refusal));
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_refused(f, issue(f, id, secret, &token), 20401, "Invalid client");
    assert_ok(clients_set_enabled(f->control, f->account, id, true, &f->refusal));
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_ok(issue(f, id, secret, &token));
    assert_refused(
        f, clients_revoke_tokens(f->control, f->account, MR_STR("apiclient_x"), &f->refusal), 40404,
        "no such");
}

static void clients_are_made_read_and_listed(void **state) {
    struct fixture *f = *state;
    struct client_view view;
    struct client_view *rows = NULL;
    struct client_token token;
    struct auth_claims claims;
    mr_str secret;
    size_t n = 0;
    uint64_t count = 0;
    struct client_spec spec = {
        .name = MR_STR("Publisher"),
        .locked = 0,
        .token_expiry_s = CLIENT_EXPIRY_DAY,
    };
    spec.scopes.access[AUTH_RES_EVENTS] = AUTH_WRITE;
    assert_ok(
        clients_create(f->control, f->account, &spec, &f->arena, &view, &secret, &f->refusal));
    assert_text(view.client_owner, "ops@example.com");
    assert_ok(issue(f, view.client_id, secret, &token));
    assert_int_equal(token.expires_in_s, 86400);
    assert_text(token.scope, "Events");
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_true(auth_route_allows(AUTH_ROUTE_EVENTS_PUBLISH, &claims.scopes));
    assert_false(auth_route_allows(AUTH_ROUTE_DESTINATIONS_LIST, &claims.scopes));
    assert_ok(clients_list(f->control, f->account, (struct control_page){.size = 1, .number = 2},
                           &f->arena, &rows, &n, &count, &f->refusal));
    assert_int_equal(count, 2);
    assert_int_equal(n, 1);
    assert_true(mr_str_eq(rows[0].client_id, view.client_id));
    assert_ok(clients_get(f->control, f->account, view.client_id, &f->arena, &view, &f->refusal));
    mr_buf json;
    mr_buf_init(&json, 4096);
    view.created_ms = INT64_C(1712315294000);
    assert_ok(client_write_json(&view, &json));
    assert_true(mr_str_find(mr_buf_view(&json),
                            MR_STR("\"client_type\":\"standard\",\"locked\":false,"
                                   "\"date_created\":\"Fri, 05 Apr 2024 11:08:14 GMT\"}")) !=
                SIZE_MAX);
    mr_buf_done(&json);
    assert_refused(
        f, clients_get(f->control, f->account + 1, view.client_id, &f->arena, &view, &f->refusal),
        40404, "no API client");
}

static void bad_clients_are_refused(void **state) {
    struct fixture *f = *state;
    struct client_view view;
    mr_str secret;
    struct client_spec spec = {.name = MR_STR(""), .token_expiry_s = CLIENT_EXPIRY_HOUR};
    assert_refused(
        f, clients_create(f->control, f->account, &spec, &f->arena, &view, &secret, &f->refusal),
        40400, "name");
    spec.name = MR_STR("x");
    spec.token_expiry_s = 7;
    assert_refused(
        f, clients_create(f->control, f->account, &spec, &f->arena, &view, &secret, &f->refusal),
        40400, "expiry");
    spec.token_expiry_s = CLIENT_EXPIRY_HOUR;
    spec.scopes.access[AUTH_RES_ACCOUNTS] = AUTH_READ;
    assert_refused(
        f, clients_create(f->control, f->account, &spec, &f->arena, &view, &secret, &f->refusal),
        40400, "global");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_token_carries_the_clients_rights),
        TEST(wrong_credentials_are_401),
        TEST(disabling_and_revoking_end_tokens_at_once),
        TEST(clients_are_made_read_and_listed),
        TEST(bad_clients_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
