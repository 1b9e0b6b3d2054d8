/* Routing, rights, calls and answers.
 *
 * Every request takes the same way: the route table (auth/rights.h) gives resource and access; the
 * caller's token is checked through the worker's cache and against the snapshot; then the handler
 * runs. Handlers that change or read the store hand a job to the control thread and answer when it
 * comes back; a client that went away meanwhile costs nothing but the job.
 *
 * Everything that is refused, here or in the HTTP engine, has the one JSON shape of errors. */
#include "api/call.h"

#include "api/caller.h"
#include "api/ingest.h"
#include "base/mem.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>

#define AUTH_CACHE_ENTRIES 4096
#define FIELDS_MAX         20
#define EXPOSED            "etag, link, location, retry-after, x-request-id"
#define DENIED_MEMBER      "\"error\":\"Invalid or expired token\""

const struct api_handler api_handlers[AUTH_ROUTE_COUNT] = {
    [AUTH_ROUTE_TOKEN] = {API_TOKEN_BODY_MAX, api_token, API_KEY_IGNORED},
    [AUTH_ROUTE_JWKS] = {0, api_jwks, API_KEY_IGNORED},
    [AUTH_ROUTE_CLIENTS_LIST] = {0, api_clients_list, API_KEY_IGNORED},
    [AUTH_ROUTE_CLIENTS_CREATE] = {API_BODY_MAX, api_clients_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_CLIENT_GET] = {0, api_client_get, API_KEY_IGNORED},
    [AUTH_ROUTE_CLIENT_PATCH] = {API_BODY_MAX, api_client_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_CLIENT_DELETE] = {0, api_client_delete, API_KEY_IGNORED},
    [AUTH_ROUTE_CLIENT_ROTATE_SECRET] = {API_BODY_MAX, api_client_rotate_secret, API_KEY_IN_JOB},
    [AUTH_ROUTE_CLIENT_REVOKE_TOKENS] = {API_BODY_MAX, api_client_revoke_tokens, API_KEY_IN_JOB},
    [AUTH_ROUTE_SIGNING_KEYS_LIST] = {0, api_signing_keys_list, API_KEY_IGNORED},
    [AUTH_ROUTE_SIGNING_KEYS_ROTATE] = {API_BODY_MAX, api_signing_keys_rotate, API_KEY_IN_JOB},
    [AUTH_ROUTE_DESTINATIONS_LIST] = {0, api_destinations_list, API_KEY_IGNORED},
    [AUTH_ROUTE_DESTINATIONS_CREATE] = {API_BODY_MAX, api_destinations_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_DESTINATION_GET] = {0, api_destination_get, API_KEY_IGNORED},
    [AUTH_ROUTE_DESTINATION_PATCH] = {API_BODY_MAX, api_destination_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_DESTINATION_DELETE] = {0, api_destination_delete, API_KEY_IGNORED},
    [AUTH_ROUTE_DESTINATION_TEST] = {API_BODY_MAX, api_destination_test, API_KEY_IGNORED},
    [AUTH_ROUTE_DESTINATION_DISCARD] = {API_BODY_MAX, api_destination_discard, API_KEY_CLAIMED},
    [AUTH_ROUTE_DESTINATION_SIGNING_SECRET] = {API_BODY_MAX, api_destination_signing_secret,
                                               API_KEY_IN_JOB},
    [AUTH_ROUTE_DESTINATION_METRICS] = {0, api_destination_metrics, API_KEY_IGNORED},
    [AUTH_ROUTE_RULES_LIST] = {0, api_rules_list, API_KEY_IGNORED},
    [AUTH_ROUTE_RULES_CREATE] = {API_BODY_MAX, api_rules_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_RULES_PREVIEW] = {API_PREVIEW_BODY_MAX, api_rules_preview, API_KEY_IGNORED},
    [AUTH_ROUTE_RULE_GET] = {0, api_rule_get, API_KEY_IGNORED},
    [AUTH_ROUTE_RULE_PATCH] = {API_BODY_MAX, api_rule_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_RULE_DELETE] = {0, api_rule_delete, API_KEY_IGNORED},
    [AUTH_ROUTE_SECRETS_LIST] = {0, api_secrets_list, API_KEY_IGNORED},
    [AUTH_ROUTE_SECRETS_CREATE] = {API_BODY_MAX, api_secrets_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_SECRET_PATCH] = {API_BODY_MAX, api_secret_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_SCHEMAS_LIST] = {0, api_schemas_list, API_KEY_IGNORED},
    [AUTH_ROUTE_SCHEMAS_CREATE] = {API_BODY_MAX, api_schemas_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_SCHEMA_OVERVIEW] = {0, api_schema_overview, API_KEY_IGNORED},
    [AUTH_ROUTE_SCHEMA_VERSIONS_LIST] = {0, api_schema_versions_list, API_KEY_IGNORED},
    [AUTH_ROUTE_SCHEMA_VERSIONS_CREATE] = {API_BODY_MAX, api_schema_versions_create,
                                           API_KEY_IN_JOB},
    [AUTH_ROUTE_SCHEMA_VERSION_GET] = {0, api_schema_version_get, API_KEY_IGNORED},
    [AUTH_ROUTE_EVENT_TYPES_LIST] = {0, api_event_types_list, API_KEY_IGNORED},
    [AUTH_ROUTE_EVENT_TYPES_CREATE] = {API_BODY_MAX, api_event_types_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_EVENT_TYPE_GET] = {0, api_event_type_get, API_KEY_IGNORED},
    [AUTH_ROUTE_EVENT_TYPE_PATCH] = {API_BODY_MAX, api_event_type_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_ACCOUNTS_LIST] = {0, api_accounts_list, API_KEY_IGNORED},
    [AUTH_ROUTE_ACCOUNTS_CREATE] = {API_BODY_MAX, api_accounts_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_PLATFORM_MAPPINGS] = {0, api_platform_mappings, API_KEY_IGNORED},
    [AUTH_ROUTE_ACCOUNT_GET] = {0, api_account_get, API_KEY_IGNORED},
    [AUTH_ROUTE_ACCOUNT_PATCH] = {API_BODY_MAX, api_account_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_OWNERSHIP_TRANSFER] = {API_BODY_MAX, api_ownership_transfer, API_KEY_IN_JOB},
    [AUTH_ROUTE_USERS_LIST] = {0, api_users_list, API_KEY_IGNORED},
    [AUTH_ROUTE_USER_GET] = {0, api_user_get, API_KEY_IGNORED},
    [AUTH_ROUTE_USER_PATCH] = {API_BODY_MAX, api_user_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_USER_DELETE] = {0, api_user_delete, API_KEY_IGNORED},
    [AUTH_ROUTE_SESSION_CREATE] = {API_SIGNIN_BODY_MAX, api_session_create, API_KEY_IGNORED},
    [AUTH_ROUTE_SESSION_SECOND] = {API_SIGNIN_BODY_MAX, api_session_second, API_KEY_IGNORED},
    [AUTH_ROUTE_SESSION_GET] = {0, api_session_get, API_KEY_IGNORED},
    [AUTH_ROUTE_SESSION_DELETE] = {0, api_session_delete, API_KEY_IGNORED},
    [AUTH_ROUTE_SESSIONS_LIST] = {0, api_sessions_list, API_KEY_IGNORED},
    [AUTH_ROUTE_SESSIONS_DELETE] = {0, api_sessions_delete, API_KEY_IGNORED},
    [AUTH_ROUTE_PROFILE_GET] = {0, api_profile_get, API_KEY_IGNORED},
    [AUTH_ROUTE_PROFILE_PATCH] = {API_BODY_MAX, api_profile_patch, API_KEY_IGNORED},
    [AUTH_ROUTE_PROFILE_PASSWORD] = {API_SIGNIN_BODY_MAX, api_profile_password, API_KEY_IGNORED},
    [AUTH_ROUTE_PROFILE_TOTP] = {API_SIGNIN_BODY_MAX, api_profile_totp, API_KEY_IGNORED},
    [AUTH_ROUTE_PROFILE_TOTP_CONFIRM] = {API_SIGNIN_BODY_MAX, api_profile_totp_confirm,
                                         API_KEY_IGNORED},
    [AUTH_ROUTE_PROFILE_TOTP_REMOVE] = {API_SIGNIN_BODY_MAX, api_profile_totp_remove,
                                        API_KEY_IGNORED},
    [AUTH_ROUTE_PROFILE_RECOVERY_CODES] = {API_SIGNIN_BODY_MAX, api_profile_recovery_codes,
                                           API_KEY_IGNORED},
    [AUTH_ROUTE_DEAD_LETTERS_LIST] = {0, api_dead_letters_list, API_KEY_IGNORED},
    [AUTH_ROUTE_DEAD_LETTER_GET] = {0, api_dead_letter_get, API_KEY_IGNORED},
    [AUTH_ROUTE_DEAD_LETTERS_REDRIVE] = {API_BODY_MAX, api_dead_letters_redrive, API_KEY_CLAIMED},
    [AUTH_ROUTE_CALLBACKS_LIST] = {0, api_callbacks_list, API_KEY_IGNORED},
    [AUTH_ROUTE_CALLBACKS_CREATE] = {API_BODY_MAX, api_callbacks_create, API_KEY_CLAIMED},
    [AUTH_ROUTE_CALLBACK_TEST] = {API_BODY_MAX, api_callback_test, API_KEY_IGNORED},
    [AUTH_ROUTE_CALLBACK_GET] = {0, api_callback_get, API_KEY_IGNORED},
    [AUTH_ROUTE_AUDIT_LOG_LIST] = {0, api_audit_log_list, API_KEY_IGNORED},
    [AUTH_ROUTE_AUDIT_LOG_EXPORT] = {0, api_audit_log_export, API_KEY_IGNORED},
    [AUTH_ROUTE_TAIL] = {0, api_tail, API_KEY_IGNORED},
    [AUTH_ROUTE_USERS_INVITE] = {API_BODY_MAX, api_users_invite, API_KEY_IN_JOB},
    [AUTH_ROUTE_USER_INVITE] = {API_BODY_MAX, api_user_invite, API_KEY_IN_JOB},
    [AUTH_ROUTE_USER_RESET_LINK] = {API_BODY_MAX, api_user_reset_link, API_KEY_IN_JOB},
    [AUTH_ROUTE_PORTAL_LINKS_CREATE] = {API_BODY_MAX, api_portal_links_create, API_KEY_IN_JOB},
    [AUTH_ROUTE_PASSWORD_RESETS] = {API_SIGNIN_BODY_MAX, api_password_resets, API_KEY_IGNORED},
    [AUTH_ROUTE_LINK_GET] = {0, api_link_get, API_KEY_IGNORED},
    [AUTH_ROUTE_LINK_USE] = {API_SIGNIN_BODY_MAX, api_link_use, API_KEY_IGNORED},
    [AUTH_ROUTE_LINK_PAGE] = {0, api_link_page, API_KEY_IGNORED},
    [AUTH_ROUTE_LINK_PAGE_USE] = {API_SIGNIN_BODY_MAX, api_link_page_use, API_KEY_IGNORED},
    [AUTH_ROUTE_PING] = {0, api_ping, API_KEY_IGNORED},
    [AUTH_ROUTE_SCHEMA_GET] = {0, api_schema_get, API_KEY_IGNORED},
    [AUTH_ROUTE_OPENAPI] = {0, api_openapi, API_KEY_IGNORED},
    [AUTH_ROUTE_ERROR_INDEX] = {0, api_error_index, API_KEY_IGNORED},
    [AUTH_ROUTE_ERROR_PAGE] = {0, api_error_page_get, API_KEY_IGNORED},
    [AUTH_ROUTE_HEALTHZ] = {0, api_healthz, API_KEY_IGNORED},
    [AUTH_ROUTE_READYZ] = {0, api_readyz, API_KEY_IGNORED},
    [AUTH_ROUTE_METRICS] = {0, api_metrics, API_KEY_IGNORED},
};

/* ---- answers ---- */

static size_t common_fields(const struct api_call *call, mr_field *fields) {
    size_t n = 0;
    fields[n++] = (mr_field){MR_STR("access-control-allow-origin"), MR_STR("*")};
    fields[n++] = (mr_field){MR_STR("access-control-expose-headers"), MR_STR(EXPOSED)};
    fields[n++] = (mr_field){MR_STR("x-request-id"), mr_str_c(call->request_id)};
    if (call->etag[0] != '\0') {
        fields[n++] = (mr_field){MR_STR("etag"), mr_str_c(call->etag)};
    }
    if (!mr_str_is_absent(call->location)) {
        fields[n++] = (mr_field){MR_STR("location"), call->location};
    }
    return n;
}

void api_answer_as(struct api_call *call, mr_str content_type, const mr_field *extra, size_t n) {
    if (call->ex == NULL) {
        return;
    }
    mr_field fields[FIELDS_MAX];
    size_t n_fields = common_fields(call, fields);
    if (call->out.len > 0) {
        fields[n_fields++] = (mr_field){MR_STR("content-type"), content_type};
    }
    MR_ASSERT(n_fields + n + API_PROTECTION_FIELDS <= FIELDS_MAX);
    for (size_t i = 0; i < n; i++) {
        fields[n_fields++] = extra[i];
    }
    n_fields += api_protect(call, extra, n, fields + n_fields);
    struct http_exchange *ex = call->ex;
    call->ex = NULL;
    ex->user = NULL;
    http_exchange_answer(ex, call->status, fields, n_fields, mr_buf_view(&call->out));
    api_call_release(call);
}

void api_answer(struct api_call *call) {
    if (call->is_claimed) {
        api_key_settle(call);
        return;
    }
    const mr_field no_store = {MR_STR("cache-control"), MR_STR("no-store")};
    api_answer_as(call, MR_STR("application/json"), &no_store, 1);
}

static void refuse_text(struct api_call *call, int status, uint32_t code, mr_str message,
                        mr_str members, int retry_after_s) {
    if (call->is_claimed) {
        api_key_release(call);
    }
    if (call->ex == NULL) {
        return;
    }
    mr_buf_reset(&call->out);
    call->status = status;
    call->etag[0] = '\0';
    call->location = MR_STR_NONE;
    code = api_error_code_in(auth_route_info(call->route)->errors, code);
    if (mr_is_err(
            api_error_write(call->api->public_url, status, code, message, members, &call->out))) {
        mr_buf_reset(&call->out);
    }
    mr_field extra[4];
    size_t n = 0;
    extra[n++] = (mr_field){MR_STR("cache-control"), MR_STR("no-store")};
    char seconds[16];
    if (retry_after_s > 0 || status == 503 || status == 429) {
        int len = snprintf(seconds, sizeof seconds, "%d", retry_after_s > 0 ? retry_after_s : 1);
        extra[n++] = (mr_field){MR_STR("retry-after"), mr_str_of(seconds, (size_t)len)};
    }
    if (status == 401) {
        extra[n++] = (mr_field){MR_STR("www-authenticate"), MR_STR("Bearer")};
    }
    api_answer_as(call, MR_STR("application/json"), extra, n);
}

void api_refuse(struct api_call *call, int status, uint32_t code, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    bool is_cut = n >= (int)sizeof message;
    size_t end = is_cut ? sizeof message - 1 : strlen(message);
    while (is_cut && end > 0 && !mr_str_is_utf8(mr_str_of(message, end))) {
        end--; /* in the middle of a character */
    }
    refuse_text(call, status, code, mr_str_of(message, end), MR_STR_NONE, 0);
}

void api_refuse_with(struct api_call *call, const struct refusal *refusal) {
    /* A copy: giving a claimed key back uses the call's job, in which it may lie. */
    const struct refusal copy = *refusal;
    refuse_text(call, copy.status, (uint32_t)copy.code, mr_str_c(copy.message),
                mr_buf_view(&call->members), copy.retry_after_s);
}

void api_refuse_memory(struct api_call *call) {
    api_refuse(call, 503, 20503, "could not answer: out of memory; try again");
}

/* ---- calls ---- */

void api_call_hold(struct api_call *call) {
    call->holds++;
}

void api_call_release(struct api_call *call) {
    MR_ASSERT(call->holds > 0);
    if (--call->holds > 0) {
        return;
    }
    call->api->calls--;
    mr_buf_done(&call->out);
    mr_buf_done(&call->members);
    mr_buf_done(&call->stored);
    mr_arena_done(&call->arena);
    mr_free(call);
}

/* Held while it runs: what refuses within it, deep down, must not free the call under it. */
static void run_handler(struct api_call *call) {
    api_call_hold(call);
    api_handlers[call->route].run(call);
    api_call_release(call);
}

bool api_body_is_coded(const struct http_exchange *ex) {
    mr_str coding = mr_fields_find(ex->fields, MR_STR("content-encoding"));
    return coding.len > 0 && !mr_str_eq_nocase(coding, MR_STR("identity"));
}

static bool is_visible_ascii(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x21 || text.ptr[i] > 0x7e) {
            return false;
        }
    }
    return text.len > 0;
}

void api_request_id_make(struct api *api, const struct http_exchange *ex,
                         char out[static API_REQUEST_ID_MAX + 1]) {
    mr_str given = mr_fields_find(ex->fields, MR_STR("x-request-id"));
    if (given.len <= API_REQUEST_ID_MAX && is_visible_ascii(given)) {
        MR_ASSERT(mr_str_to_c(given, out, API_REQUEST_ID_MAX + 1));
        return;
    }
    snprintf(out, API_REQUEST_ID_MAX + 1, "req_%llx%08llx",
             (unsigned long long)(loop_wall(api->loop).ns / 1000),
             (unsigned long long)(++api->request_serial & 0xffffffffu));
}

static struct api_call *call_new(struct api *api, struct http_exchange *ex) {
    struct api_call *call = MR_NEW(struct api_call);
    if (call == NULL) {
        return NULL;
    }
    call->api = api;
    call->ex = ex;
    call->holds = 1;
    call->status = 200;
    mr_arena_init_private(&call->arena, API_ARENA_MAX);
    mr_buf_init_private(&call->out, API_ANSWER_MAX);
    mr_buf_init_private(&call->members, API_ANSWER_MAX);
    mr_buf_init_private(&call->stored, API_ANSWER_MAX);
    api_request_id_make(api, ex, call->request_id);
    os_addr_format_ip(&ex->peer, call->address);
    ex->user = call;
    api->calls++;
    return call;
}

/* Copies what the call needs of the request, because it may outlast the exchange. */
static bool call_fill(struct api_call *call, const struct auth_route_match *match) {
    const struct http_exchange *ex = call->ex;
    call->route = match->route;
    bool whole = true;
    const struct {
        mr_str *to;
        mr_str from;
    } copies[] = {
        {&call->path, ex->path},
        {&call->query, ex->query},
        {&call->params[0], match->n_params > 0 ? match->params[0] : MR_STR_NONE},
        {&call->params[1], match->n_params > 1 ? match->params[1] : MR_STR_NONE},
        {&call->content_type, mr_fields_find(ex->fields, MR_STR("content-type"))},
        {&call->if_match, mr_fields_find(ex->fields, MR_STR("if-match"))},
        {&call->idempotency_key, mr_fields_find(ex->fields, MR_STR("idempotency-key"))},
    };
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++) {
        if (!mr_str_is_absent(copies[i].from)) {
            *copies[i].to = mr_arena_str(&call->arena, copies[i].from);
            whole = whole && !mr_str_is_absent(*copies[i].to);
        }
    }
    return whole;
}

/* ---- rights ---- */

/* The account that the call is about. False: refused, the call is answered. */
static bool take_account(struct api_call *call, const struct auth_route_info *info,
                         const struct model_account *home) {
    struct api_account_query query;
    switch (api_account_of_query(call->api->snapshot, home, call->query, &query)) {
    case API_ACCOUNT_UNKNOWN:
        api_note_refused_call(call, ACCESS_NO_RIGHTS);
        api_refuse(call, 404, api_error_code_of(info->errors, 404), "there is no such account");
        return false;
    case API_ACCOUNT_MALFORMED:
        api_refuse(call, 400, api_error_code_of(info->errors, 400),
                   "account_id stands twice in the query, or with a bad percent escape");
        return false;
    case API_ACCOUNT_FOUND:
        break;
    }
    call->account = query.account->object.number;
    call->is_account_named = query.is_named;
    call->account_id = mr_arena_str(&call->arena, mr_str_c(query.account->object.id));
    if (mr_str_is_absent(call->account_id)) {
        api_refuse_memory(call);
        return false;
    }
    return true;
}

void api_note_refused(struct api *api, const struct http_exchange *ex, enum auth_route route,
                      const struct api_caller *caller, mr_str request_id) {
    if (!caller->is_refused) {
        return;
    }
    char address[OS_ADDR_TEXT_SIZE];
    os_addr_format_ip(&ex->peer, address);
    struct control_actor actor = {
        .kind = CONTROL_ACTOR_NOBODY, .address = mr_str_c(address), .request_id = request_id};
    if (caller->claims != NULL) {
        const struct model_account *account =
            snapshot_account_by_id(api->snapshot, mr_str_c(caller->claims->account_id));
        actor.kind = CONTROL_ACTOR_CLIENT;
        actor.id = mr_str_c(caller->claims->client_id);
        actor.account = account == NULL ? 0 : account->object.number;
    } else if (caller->user != NULL) {
        actor.kind = CONTROL_ACTOR_USER;
        actor.id = mr_str_c(caller->user->object.id);
        actor.account = caller->user->account;
    }
    access_note(api->access, &actor, route, caller->what);
}

void api_note_refused_call(struct api_call *call, enum access_what what) {
    const struct control_actor actor = api_actor(call);
    access_note(call->api->access, &actor, call->route, what);
}

/* False: refused, the call is answered. */
static bool check_rights(struct api_call *call) {
    const struct auth_route_info *info = auth_route_info(call->route);
    if (info->resource == AUTH_RES_NONE) {
        return true;
    }
    struct api_caller caller;
    enum api_verdict verdict = api_check_caller(call->api, call->ex, call->route, &caller);
    if (verdict != API_ALLOWED) {
        api_note_refused(call->api, call->ex, call->route, &caller, mr_str_c(call->request_id));
    }
    switch (verdict) {
    case API_NO_TOKEN:
    case API_SIGNED_OUT:
        api_refuse(call, 401, api_error_code_of(info->errors, 401), "%s",
                   api_verdict_text(verdict));
        return false;
    case API_DENIED:
    case API_FORGED:
    case API_SETUP_NEEDED:
        refuse_text(call, 403, api_error_code_of(info->errors, 403),
                    mr_str_c(api_verdict_text(verdict)),
                    verdict == API_DENIED ? MR_STR(DENIED_MEMBER) : MR_STR_NONE, 0);
        return false;
    case API_ALLOWED:
        break;
    }
    call->home = caller.account->object.number;
    call->scopes = *caller.scopes;
    if (caller.user != NULL) {
        call->user = caller.user->object.number;
        call->session_id = mr_arena_str(&call->arena, mr_str_c(caller.session->object.id));
    } else {
        call->client = caller.client->object.number;
    }
    const struct model_object *who =
        caller.user != NULL ? &caller.user->object : &caller.client->object;
    call->caller_id = mr_arena_str(&call->arena, mr_str_c(who->id));
    if (mr_str_is_absent(call->caller_id) ||
        (call->user != 0 && mr_str_is_absent(call->session_id))) {
        api_refuse_memory(call);
        return false;
    }
    return take_account(call, info, caller.account);
}

/* ---- the handler of the HTTP server ---- */

static void answer_options(struct api_call *call, const struct auth_route_match *match) {
    mr_buf methods;
    mr_buf_init(&methods, 256);
    if (mr_is_err(auth_route_methods(call->ex->path, &methods))) {
        mr_buf_reset(&methods);
    }
    call->status = match->errors == AUTH_ERRORS_TOKEN ? 200 : 204;
    const mr_field fields[] = {
        {MR_STR("allow"), mr_buf_view(&methods)},
        {MR_STR("access-control-allow-methods"), mr_buf_view(&methods)},
        /* Any ce-… field may be sent; the * does not stand for authorization (Fetch, 3.2.4). */
        {MR_STR("access-control-allow-headers"), MR_STR("authorization, *")},
        {MR_STR("access-control-max-age"), MR_STR("86400")},
    };
    api_answer_as(call, MR_STR("text/plain"), fields, sizeof fields / sizeof fields[0]);
    mr_buf_done(&methods);
}

static void refuse_route(struct api_call *call, const struct auth_route_match *match) {
    if (!match->path_known) {
        api_refuse(call, 404, api_error_code_of(match->errors, 404),
                   "there is no such address here");
        return;
    }
    mr_buf text;
    mr_buf_init(&text, 256);
    bool whole = mr_is_ok(auth_route_methods(call->ex->path, &text));
    mr_str methods = whole ? mr_arena_str(&call->arena, mr_buf_view(&text)) : MR_STR_NONE;
    mr_buf_done(&text);
    if (mr_is_err(api_error_write(call->api->public_url, 405, api_error_code_of(match->errors, 405),
                                  MR_STR("this method is not one of this address"), MR_STR_NONE,
                                  &call->out))) {
        api_refuse_memory(call);
        return;
    }
    call->status = 405;
    const mr_field allow = {MR_STR("allow"), methods};
    api_answer_as(call, MR_STR("application/json"), &allow, mr_str_is_absent(methods) ? 0 : 1);
}

static void on_head(void *ctx, struct http_exchange *ex) {
    struct api *api = ctx;
    mr_metric_add(api->metrics, MR_METRIC_HTTP_REQUESTS, 1);
    struct auth_route_match match = auth_route_find(ex->method_text, ex->path);
    if (match.found && match.route == AUTH_ROUTE_EVENTS_PUBLISH && !api->metrics_open) {
        ingest_on_head(api->ingest, ex);
        return;
    }
    struct api_call *call = call_new(api, ex);
    if (call == NULL) {
        const mr_field cors = {MR_STR("access-control-allow-origin"), MR_STR("*")};
        http_exchange_answer_and_close(ex, 503, &cors, 1, MR_STR_NONE);
        return;
    }
    bool hidden = api->metrics_open && (!match.found || match.route != AUTH_ROUTE_METRICS);
    if (!hidden && (match.path_known || match.found) &&
        mr_str_eq(ex->method_text, MR_STR("OPTIONS"))) {
        answer_options(call, &match);
        return;
    }
    if (hidden) {
        match.path_known = false;
    }
    if (hidden || !match.found) {
        refuse_route(call, &match);
        return;
    }
    if (!call_fill(call, &match)) {
        api_refuse_memory(call);
        return;
    }
    if (!check_rights(call)) {
        return;
    }
    const struct api_handler *handler = &api_handlers[match.route];
    MR_ASSERT(handler->run != NULL);
    if (handler->body_max > 0 && api_body_is_coded(ex)) {
        api_refuse(call, 415, api_error_code_of(match.errors, 415), "%s", API_BODY_CODED);
    } else if (handler->body_max > 0) {
        http_exchange_want_private_body(ex, handler->body_max);
    } else {
        run_handler(call);
    }
}

static void on_body(void *ctx, struct http_exchange *ex, mr_str body) {
    struct api *api = ctx;
    if (ingest_owns(api->ingest, ex)) {
        ingest_on_body(api->ingest, ex, body);
        return;
    }
    struct api_call *call = ex->user;
    call->body = mr_arena_str(&call->arena, body);
    if (mr_str_is_absent(call->body)) {
        api_refuse_memory(call);
        return;
    }
    if (api_key_rule(call) == API_KEY_CLAIMED) {
        api_key_claim(call);
    } else {
        run_handler(call);
    }
}

static void on_end(void *ctx, struct http_exchange *ex) {
    struct api *api = ctx;
    if (ingest_owns(api->ingest, ex)) {
        ingest_on_end(api->ingest, ex);
        return;
    }
    if (tail_owns(api->tail, ex)) {
        tail_on_end(api->tail, ex);
        return;
    }
    struct api_call *call = ex->user;
    if (call != NULL) {
        call->ex = NULL;
        ex->user = NULL;
        api_call_release(call);
    }
}

static void on_drain(void *ctx, struct http_exchange *ex) {
    struct api *api = ctx;
    if (tail_owns(api->tail, ex)) {
        tail_on_drain(api->tail, ex);
    }
}

static mr_str on_refuse(void *ctx, struct http_exchange *ex, int status, const char *reason,
                        mr_buf *body, mr_field *ret_field) {
    struct api *api = ctx;
    char id[API_REQUEST_ID_MAX + 1];
    api_request_id_make(api, ex, id);
    mr_str copy = mr_arena_str(&ex->arena, mr_str_c(id));
    if (!mr_str_is_absent(copy)) {
        *ret_field = (mr_field){MR_STR("x-request-id"), copy};
    }
    mr_metric_add(api->metrics, MR_METRIC_HTTP_REFUSED, 1);
    mr_ignore(api_error_write(api->public_url, status, api_error_code_of(AUTH_ERRORS_PLAIN, status),
                              mr_str_c(reason), MR_STR_NONE, body),
              "without memory the refusal has no body");
    return MR_STR("application/json");
}

const struct http_handler api_http_handler = {.on_head = on_head,
                                              .on_body = on_body,
                                              .on_end = on_end,
                                              .on_drain = on_drain,
                                              .refuse = on_refuse};

/* ---- jobs ---- */

static struct api_call *call_of_job(struct control_job *job) {
    return MR_CONTAINER(job, struct api_call, job);
}

/* Control thread. */
static mr_err run_job(struct control *control, struct control_job *job) {
    struct api_call *call = call_of_job(job);
    return api_key_rule(call) == API_KEY_IN_JOB ? api_key_work(control, call)
                                                : call->work(control, call);
}

static void job_done(struct control_job *job) {
    struct api_call *call = call_of_job(job);
    if (mr_is_err(job->err)) {
        if (job->refusal.status == 403) {
            api_note_refused_call(call, ACCESS_NO_RIGHTS);
        }
        if (job->refusal.status != 0) {
            api_refuse_with(call, &job->refusal);
        } else {
            api_refuse_memory(call);
        }
    } else if (call->after != NULL && !call->is_repeated) {
        call->after(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

struct control_actor api_actor(const struct api_call *call) {
    return (struct control_actor){
        .kind = call->client != 0 ? CONTROL_ACTOR_CLIENT
                : call->user != 0 ? CONTROL_ACTOR_USER
                                  : CONTROL_ACTOR_NOBODY,
        .account = call->home,
        .id = call->caller_id,
        .address = mr_str_c(call->address),
        .request_id = mr_str_c(call->request_id),
    };
}

static bool is_safe(const struct api_call *call) {
    return mr_str_eq(auth_route_info(call->route)->method, MR_STR("GET"));
}

void api_submit(struct api_call *call,
                mr_err (*work)(struct control *control, struct api_call *call),
                void (*after)(struct api_call *call)) {
    call->work = work;
    call->after = after;
    call->now = loop_wall(call->api->loop);
    call->job = (struct control_job){.run = run_job,
                                     .done = job_done,
                                     .reply_to = loop_mailbox(call->api->loop),
                                     .only_reads = is_safe(call),
                                     .actor = api_actor(call)};
    api_call_hold(call);
    control_submit(call->api->control, &call->job);
}

/* ---- life ---- */

mr_err api_init(struct api *api, struct snapshot *snapshot) {
    api_key_assert_table();
    MR_TRY(auth_cache_new(AUTH_CACHE_ENTRIES, &api->cache));
    mr_err err = access_log_new(api->loop, api->control, &api->access);
    if (mr_is_ok(err)) {
        err = ingest_new(api, &api->ingest);
    }
    if (mr_is_err(err)) {
        access_log_free(api->access);
        auth_cache_free(api->cache);
        api->access = NULL;
        api->cache = NULL;
        return err;
    }
    mr_buf_init(&api->openapi, API_OPENAPI_MAX);
    api->snapshot = snapshot_ref(snapshot);
    return MR_OK;
}

void api_done(struct api *api) {
    ingest_free(api->ingest);
    access_log_free(api->access);
    auth_cache_free(api->cache);
    snapshot_unref(api->snapshot);
    mr_buf_done(&api->openapi);
    api->ingest = NULL;
    api->access = NULL;
    api->cache = NULL;
    api->snapshot = NULL;
}

void api_adopt(struct api *api, struct snapshot *snapshot) {
    struct snapshot *old = api->snapshot;
    api->snapshot = snapshot_ref(snapshot);
    snapshot_unref(old);
    if (!api->metrics_open) {
        tail_recheck(api->tail);
    }
}
