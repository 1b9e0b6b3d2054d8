/* API clients: creation, tokens that verify, and what ends them. */
#include "support_control.h"

#include "control/access/keys.h"
#include "control/clients.h"
#include "control/private.h"

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

static mr_err patch(struct fixture *f, mr_str id, const char *body, struct client_view *view) {
    return clients_patch(f->control, f->account, NULL, id, mr_str_c(body), 0, &f->arena, view,
                         &f->refusal);
}

static mr_err create(struct fixture *f, const struct auth_scopes *held, const char *body,
                     struct client_view *view, mr_str *secret) {
    return clients_create_json(f->control, f->account, held, mr_str_c(body), &f->arena, view,
                               secret, &f->refusal);
}

static mr_err revoke(struct fixture *f, mr_str id) {
    struct client_view view;
    return clients_revoke_tokens(f->control, f->account, NULL, id, &f->arena, &view, &f->refusal);
}

/* From now on a user of that role acts; NULL: the program itself. */
static void act_as(struct fixture *f, const char *role, const char *email) {
    static const struct control_actor nobody = {.kind = CONTROL_ACTOR_SYSTEM};
    f->control->actor = nobody;
    if (role == NULL) {
        return;
    }
    assert_ok(change_begin(f->control, &f->refusal));
    struct query query = query_begin(&f->control->store, "UPDATE users SET role = 'admin'");
    assert_ok(query_run(&query)); /* there is one owner at a time */
    query = query_begin(&f->control->store,
                        "INSERT INTO users(number, id, account, email, role, status,"
                        " created_ms) VALUES(77, 'user_77', ?1, ?2, ?3, 'ACTIVE', 0)"
                        " ON CONFLICT(number) DO UPDATE SET email = ?2, role = ?3");
    query_i64(&query, f->account);
    query_text(&query, mr_str_c(email));
    query_text(&query, mr_str_c(role));
    assert_ok(change_end(f->control, query_run(&query), &f->refusal));
    f->control->actor = (struct control_actor){
        .kind = CONTROL_ACTOR_USER, .account = f->account, .id = MR_STR("user_77")};
}

static void disabling_and_revoking_end_tokens_at_once(void **state) {
    struct fixture *f = *state;
    struct client_token token;
    struct client_view view;
    struct auth_claims claims;
    mr_str id = mr_str_c(f->made.client_id);
    mr_str secret = mr_str_c(f->made.client_secret);
    assert_ok(issue(f, id, secret, &token));
    assert_ok(revoke(f, id));
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_ok(issue(f, id, secret, &token));
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_ok(patch(f, id, "{\"enabled\":false}", &view));
    assert_false(view.is_enabled);
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_refused(f, issue(f, id, secret, &token), 20401, "Invalid client");
    assert_ok(patch(f, id, "{\"enabled\":true}", &view));
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_ok(issue(f, id, secret, &token));
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_ok(clients_delete(f->control, f->account, NULL, id, 0, &f->refusal));
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_refused(f, issue(f, id, secret, &token), 20401, "Invalid client");
    assert_refused(f, revoke(f, MR_STR("apiclient_x")), 40404, "no API client");
    assert_refused(f, clients_delete(f->control, f->account, NULL, id, 0, &f->refusal), 40404,
                   "no API client");
}

static void a_new_secret_ends_the_old_one_and_tokens_only_where_asked(void **state) {
    struct fixture *f = *state;
    struct client_token token;
    struct client_view view;
    struct auth_claims claims;
    mr_str id = mr_str_c(f->made.client_id);
    mr_str old = mr_str_c(f->made.client_secret);
    mr_str fresh;
    assert_ok(issue(f, id, old, &token));
    assert_ok(clients_rotate_secret(f->control, f->account, NULL, id, MR_STR("{}"), &f->arena,
                                    &view, &fresh, &f->refusal));
    assert_int_equal(fresh.len, 43);
    assert_int_equal(strspn(fresh.ptr, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_-"),
                     43);
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_refused(f, issue(f, id, old, &token), 20401, "Invalid client");
    assert_ok(issue(f, id, fresh, &token));
    assert_ok(clients_rotate_secret(f->control, f->account, NULL, id,
                                    MR_STR("{\"revoke_tokens\":true}"), &f->arena, &view, &fresh,
                                    &f->refusal));
    assert_int_equal(check(f, token.access_token, 1700000000, &claims).code, AUTH_E_REVOKED);
    assert_false(folder_holds(f, fresh));
    assert_refused(f,
                   clients_rotate_secret(f->control, f->account, NULL, id, MR_STR("{\"x\":1}"),
                                         &f->arena, &view, &fresh, &f->refusal),
                   20001, "x");
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
    const struct control_page second = {.size = 1, .number = 2};
    assert_ok(create(f, NULL,
                     "{\"name\":\"Publisher\",\"locked\":false,\"token_expiry\":\"1 day\","
                     "\"scopes\":{\"products\":[{\"resourceName\":\"Events\",\"access\":"
                     "[\"Write\"]}]}}",
                     &view, &secret));
    assert_text(view.client_owner, "ops@example.com");
    assert_ok(issue(f, view.client_id, secret, &token));
    assert_int_equal(token.expires_in_s, 86400);
    assert_text(token.scope, "Events");
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_true(auth_route_allows(AUTH_ROUTE_EVENTS_PUBLISH, &claims.scopes));
    assert_false(auth_route_allows(AUTH_ROUTE_DESTINATIONS_LIST, &claims.scopes));
    assert_ok(clients_list(f->control, f->account, MR_STR_NONE, second, &f->arena, &rows, &n,
                           &count, &f->refusal));
    assert_int_equal(count, 2);
    assert_int_equal(n, 1);
    assert_true(mr_str_eq(rows[0].client_id, view.client_id));
    assert_ok(clients_list(f->control, f->account, MR_STR("standard"), second, &f->arena, &rows, &n,
                           &count, &f->refusal));
    assert_int_equal(count, 1);
    assert_int_equal(n, 0);
    assert_refused(f,
                   clients_list(f->control, f->account, MR_STR("Admin"), second, &f->arena, &rows,
                                &n, &count, &f->refusal),
                   40400, "client_type");
    assert_ok(clients_get(f->control, f->account, view.client_id, &f->arena, &view, &f->refusal));
    mr_buf json;
    mr_buf_init(&json, 4096);
    view.created_ms = INT64_C(1712315294000);
    assert_ok(client_write_json(&view, &json));
    assert_true(mr_str_find(mr_buf_view(&json),
                            MR_STR("\"client_type\":\"standard\",\"locked\":false,"
                                   "\"date_created\":\"Fri, 05 Apr 2024 11:08:14 GMT\","
                                   "\"enabled\":true,\"token_expiry\":\"1 day\"")) != SIZE_MAX);
    mr_buf_reset(&json);
    assert_ok(client_created_write_json(&view, secret, &json));
    assert_true(mr_str_find(mr_buf_view(&json),
                            MR_STR("\"date_created\":\"2024-04-05T11:08:14.000Z\"")) != SIZE_MAX);
    mr_buf_done(&json);
    assert_refused(
        f, clients_get(f->control, f->account + 1, view.client_id, &f->arena, &view, &f->refusal),
        40404, "no API client");
}

static void bad_clients_are_refused(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *body;
        int code;
        const char *part;
    } cases[] = {
        {"", 20400, ""},
        {"[]", 20400, "object"},
        {"{\"Name\":\"x\",\"locked\":true,\"scopes\":{}}", 20001, "Name"},
        {"{\"locked\":true,\"scopes\":{}}", 20002, "name"},
        {"{\"name\":\"x\",\"scopes\":{}}", 20002, "locked"},
        {"{\"name\":\"x\",\"locked\":true}", 20002, "scopes"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":null}", 20002, "scopes"},
        {"{\"name\":\"\",\"locked\":true,\"scopes\":{}}", 40400, "name"},
        {"{\"name\":\"a\\nb\",\"locked\":true,\"scopes\":{}}", 40400, "name"},
        {"{\"name\":1,\"locked\":true,\"scopes\":{}}", 40400, "name"},
        {"{\"name\":\"x\",\"locked\":\"true\",\"scopes\":{}}", 40400, "locked"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":[]}", 40400, "scopes"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{\"Products\":[]}}", 20001, "scopes.Products"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{\"products\":[\"supersim\"]}}", 40400,
         "unknown product"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{\"products\":null}}", 40400, "products"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{\"globalResources\":[{\"resourceName\":"
         "\"Accounts\",\"access\":[\"Read\"]}]}}",
         40400, "global"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{\"globalResources\":[{\"resourceName\":"
         "\"accounts\",\"access\":[\"Read\"]}]}}",
         40400, "resourceName"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{\"globalResources\":[{\"resourceName\":"
         "\"Accounts\",\"access\":[\"read\"]}]}}",
         40400, "access"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{},\"client_type\":\"Admin\"}", 40400,
         "client_type"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{},\"token_expiry\":\"2 hours\"}", 40400,
         "token_expiry"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{},\"token_expiry\":3600}", 40400,
         "token_expiry"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{},\"client_owner\":\"nobody\"}", 40400,
         "client_owner"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{},\"account_id\":\"acct_x\"}", 40404,
         "account"},
        {"{\"name\":\"x\",\"locked\":true,\"scopes\":{},\"enabled\":true}", 20001, "enabled"},
    };
    struct client_view view;
    mr_str secret;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(f, create(f, NULL, cases[i].body, &view, &secret), cases[i].code,
                       cases[i].part);
    }
    struct client_view *rows = NULL;
    size_t n = 0;
    uint64_t count = 0;
    assert_ok(clients_list(f->control, f->account, MR_STR_NONE,
                           (struct control_page){.size = 10, .number = 1}, &f->arena, &rows, &n,
                           &count, &f->refusal));
    assert_int_equal(count, 1);
}

static void a_patch_merges_and_binds_new_tokens_only(void **state) {
    struct fixture *f = *state;
    struct client_view view;
    struct client_token token;
    struct auth_claims claims;
    mr_str secret;
    assert_ok(create(f, NULL,
                     "{\"name\":\"x\",\"locked\":null,\"client_type\":\"admin\",\"scopes\":{"
                     "\"globalResources\":[{\"resourceName\":\"Users\",\"access\":[\"Read\"]}],"
                     "\"products\":[\"Events\"]},\"client_owner\":\"dev@example.com\"}",
                     &view, &secret));
    assert_int_equal(view.locked, -1);
    assert_ok(issue(f, view.client_id, secret, &token));
    mr_str id = view.client_id;
    assert_ok(patch(f, id,
                    "{\"scopes\":{\"products\":[\"Webhooks\"]},\"token_expiry\":\"30 days\","
                    "\"locked\":true}",
                    &view));
    assert_int_equal(view.scopes.access[AUTH_RES_USERS], AUTH_READ); /* not named: stays */
    assert_int_equal(view.scopes.access[AUTH_RES_EVENTS], 0);
    assert_int_equal(view.scopes.access[AUTH_RES_WEBHOOKS], AUTH_ALL);
    assert_int_equal(view.locked, 1);
    assert_text(view.client_owner, "dev@example.com");
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_int_equal(claims.scopes.access[AUTH_RES_EVENTS], AUTH_ALL);
    assert_ok(issue(f, id, secret, &token));
    assert_int_equal(token.expires_in_s, 2592000);
    assert_ok(check(f, token.access_token, 1700000000, &claims));
    assert_int_equal(claims.scopes.access[AUTH_RES_EVENTS], 0);
    assert_ok(patch(f, id, "{\"client_owner\":null,\"token_expiry\":null,\"locked\":null}", &view));
    assert_text(view.client_owner, "ops@example.com");
    assert_int_equal(view.token_expiry_s, 3600);
    assert_int_equal(view.locked, -1);
    assert_refused(f, patch(f, id, "{\"client_type\":\"standard\"}", &view), 40400, "global");
    assert_ok(patch(f, id, "{\"client_type\":\"standard\",\"scopes\":{\"globalResources\":null}}",
                    &view));
    static const char *const nulls[] = {"{\"name\":null}", "{\"scopes\":null}",
                                        "{\"enabled\":null}", "{\"client_type\":null}"};
    for (size_t i = 0; i < 4; i++) {
        assert_refused(f, patch(f, id, nulls[i], &view), 40400, "cannot be null");
    }
    assert_refused(f, patch(f, id, "{\"account_id\":\"a\"}", &view), 20001, "account_id");
    assert_refused(f,
                   clients_patch(f->control, f->account, NULL, id, MR_STR("{}"), 1, &f->arena,
                                 &view, &f->refusal),
                   20412, "meanwhile");
}

static void nobody_gives_more_than_they_hold(void **state) {
    struct fixture *f = *state;
    struct client_view view;
    mr_str secret;
    struct auth_scopes held = {{0}};
    held.access[AUTH_RES_API_CLIENTS] = AUTH_ALL;
    held.access[AUTH_RES_EVENTS] = AUTH_READ;
    assert_refused(f,
                   create(f, &held,
                          "{\"name\":\"x\",\"locked\":false,\"scopes\":{\"products\":["
                          "\"Events\",\"SuperSIM\"]}}",
                          &view, &secret),
                   40403, "SuperSIM, Events, Event Streams, Webhooks");
    assert_ok(create(f, &held,
                     "{\"name\":\"x\",\"locked\":false,\"scopes\":{\"products\":[{"
                     "\"resourceName\":\"Events\",\"access\":[\"Read\"]}]}}",
                     &view, &secret));
    mr_str id = view.client_id;
    assert_refused(f,
                   clients_patch(f->control, f->account, &held, id,
                                 MR_STR("{\"scopes\":{\"products\":[\"Events\"]}}"), 0, &f->arena,
                                 &view, &f->refusal),
                   40403, "Events");
    /* The secret of a mightier client would be its rights. */
    mr_str root = mr_str_c(f->made.client_id);
    assert_refused(f,
                   clients_rotate_secret(f->control, f->account, &held, root, MR_STR("{}"),
                                         &f->arena, &view, &secret, &f->refusal),
                   40403, "hold");
    assert_ok(clients_patch(f->control, f->account, &held, root, MR_STR("{\"name\":\"n\"}"), 0,
                            &f->arena, &view, &f->refusal));
}

static void locked_and_admin_clients_are_for_their_editors(void **state) {
    struct fixture *f = *state;
    struct client_view view;
    mr_str secret;
    mr_str fresh;
    assert_ok(create(f, NULL,
                     "{\"name\":\"x\",\"locked\":true,\"scopes\":{},\"client_owner\":"
                     "\"Dev@example.com\"}",
                     &view, &secret));
    mr_str id = view.client_id;
    act_as(f, "developer", "other@example.com");
    assert_refused(f, patch(f, id, "{\"locked\":false}", &view), 40403, "locked");
    assert_refused(f, revoke(f, id), 40403, "locked");
    assert_refused(f, clients_delete(f->control, f->account, NULL, id, 0, &f->refusal), 40403,
                   "locked");
    assert_refused(f,
                   clients_rotate_secret(f->control, f->account, NULL, id, MR_STR("{}"), &f->arena,
                                         &view, &fresh, &f->refusal),
                   40403, "locked");
    act_as(f, "developer", "dev@example.com"); /* its owner */
    assert_ok(patch(f, id, "{\"name\":\"mine\"}", &view));
    act_as(f, "admin", "other@example.com");
    assert_ok(patch(f, id, "{\"locked\":false}", &view));
    act_as(f, "developer", "other@example.com");
    assert_ok(patch(f, id, "{\"name\":\"open\"}", &view));
    /* Admin clients. */
    assert_refused(f, patch(f, id, "{\"client_type\":\"admin\"}", &view), 40403, "admin clients");
    assert_refused(f,
                   create(f, NULL,
                          "{\"name\":\"x\",\"locked\":null,\"client_type\":\"admin\","
                          "\"scopes\":{}}",
                          &view, &secret),
                   40403, "admin clients");
    mr_str root = mr_str_c(f->made.client_id);
    assert_refused(f, patch(f, root, "{\"name\":\"x\"}", &view), 40403, "admin clients");
    assert_refused(f, revoke(f, root), 40403, "admin clients");
    act_as(f, "owner", "other@example.com");
    assert_ok(patch(f, id, "{\"client_type\":\"admin\"}", &view));
    act_as(f, NULL, NULL);
}

static void an_account_has_room_for_so_many_clients(void **state) {
    struct fixture *f = *state;
    struct client_view view;
    mr_str secret;
    assert_ok(change_begin(f->control, &f->refusal));
    struct query query = query_begin(
        &f->control->store,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)"
        " INSERT INTO clients SELECT 1000 + i, 'apiclient_' || i, account, name, owner, type,"
        " locked, enabled, generation, token_expiry_s, scopes, secret_mac, version, created_ms,"
        " updated_ms FROM clients, n");
    query_i64(&query, CLIENTS_PER_ACCOUNT_MAX - 2); /* init's is there */
    assert_ok(change_end(f->control, query_run(&query), &f->refusal));
    assert_ok(create(f, NULL, "{\"name\":\"x\",\"locked\":null,\"scopes\":{}}", &view, &secret));
    assert_refused(
        f, create(f, NULL, "{\"name\":\"x\",\"locked\":null,\"scopes\":{}}", &view, &secret), 20409,
        "the most");
    assert_ok(clients_delete(f->control, f->account, NULL, view.client_id, 0, &f->refusal));
    assert_ok(create(f, NULL, "{\"name\":\"x\",\"locked\":null,\"scopes\":{}}", &view, &secret));
}

static void wrong_secrets_are_slowed_and_the_right_one_waits_too(void **state) {
    struct fixture *f = *state;
    struct client_token token;
    mr_str id = mr_str_c(f->made.client_id);
    mr_str secret = mr_str_c(f->made.client_secret);
    f->control->actor.address = MR_STR("192.0.2.1");
    for (int i = 0; i < 5; i++) {
        assert_refused(f, issue(f, id, MR_STR("wrong"), &token), 20401, "Invalid client");
    }
    assert_refused(f, issue(f, id, secret, &token), 20429, "Retry-After");
    assert_int_equal(f->refusal.retry_after_s, 1);
    f->control->actor.address = MR_STR("192.0.2.2");
    assert_ok(issue(f, id, secret, &token));
    f->control->actor = (struct control_actor){.kind = CONTROL_ACTOR_SYSTEM};
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_token_carries_the_clients_rights),
        TEST(wrong_credentials_are_401),
        TEST(disabling_and_revoking_end_tokens_at_once),
        TEST(a_new_secret_ends_the_old_one_and_tokens_only_where_asked),
        TEST(clients_are_made_read_and_listed),
        TEST(bad_clients_are_refused),
        TEST(a_patch_merges_and_binds_new_tokens_only),
        TEST(nobody_gives_more_than_they_hold),
        TEST(locked_and_admin_clients_are_for_their_editors),
        TEST(an_account_has_room_for_so_many_clients),
        TEST(wrong_secrets_are_slowed_and_the_right_one_waits_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
