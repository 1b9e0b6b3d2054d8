/* Who calls, and may they: the one check of tokens and of session cookies.
 *
 *   Authorization field ──▶ token ──▶ client of the snapshot ──┐
 *   none, but a cookie ──▶ session ──▶ user of the snapshot ───┴──▶ scopes against the table
 *
 * A cookie is sent by browsers on their own, also where another site made them send the call. So a
 * call with one must come over HTTPS or loopback, and not from elsewhere: Origin and
 * Sec-Fetch-Site, where sent, must say that it comes from this very origin, and whatever is not a
 * mere look must carry X-CSRF-Token, which only a page that read GET /v1/session has (RFC
 * 6265bis, 8.8; OWASP, "Cross-Site Request Forgery Prevention"; Fetch Metadata). Each of the three
 * suffices; SameSite is the fourth. With an Authorization field none of it is asked: no browser
 * adds that on its own. */
#include "api/caller.h"

#include "base/mem.h"
#include "control/people/sessions.h"
#include "crypto/secret.h"

#include <stdio.h>

#define ORIGIN_MAX    512
#define SEEN_EVERY_MS 60000

const char *api_verdict_text(enum api_verdict verdict) {
    switch (verdict) {
    case API_ALLOWED:
    case API_DENIED:
        break;
    case API_NO_TOKEN:
        return "an access token is required: Authorization: Bearer …";
    case API_SIGNED_OUT:
        return "the session has ended: sign in again";
    case API_FORGED:
        return "a call with a session's cookie must come from this origin, over HTTPS or loopback, "
               "and changes must carry X-CSRF-Token as GET /v1/session gives it";
    case API_SETUP_NEEDED:
        return "the account asks for a second factor: set it up first, with POST /v1/profile/totp";
    }
    return "User is not authorized to access this resource with an explicit deny";
}

/* ---- the way a call came ---- */

void api_client_address(const struct api *api, const struct http_exchange *ex,
                        char out[static OS_ADDR_TEXT_SIZE]) {
    struct proxies_origin origin = proxies_origin_of(&api->proxies, ex);
    os_addr_format_ip(&origin.client, out);
}

bool api_way_is_private(const struct api *api, const struct http_exchange *ex) {
    return ex->is_tls || mr_str_starts(api->public_url, MR_STR("https://")) ||
           proxies_origin_of(&api->proxies, ex).is_local;
}

/* scheme://host[:port] of a URL. */
static mr_str origin_of(mr_str url) {
    size_t at = mr_str_find(url, MR_STR("://"));
    if (at == SIZE_MAX) {
        return url;
    }
    size_t slash = mr_str_find_byte(url, '/', at + 3);
    return slash == SIZE_MAX ? url : mr_str_slice(url, 0, slash);
}

static bool is_own_origin(const struct api *api, const struct http_exchange *ex, mr_str origin) {
    if (mr_str_eq_nocase(origin, origin_of(api->public_url))) {
        return true;
    }
    /* What the client itself took for our address. A page of another site cannot choose it. */
    char own[ORIGIN_MAX];
    int n = snprintf(own, sizeof own, "%s://%.*s", ex->is_tls ? "https" : "http", MR_FMT(ex->host));
    return n > 0 && (size_t)n < sizeof own && ex->host.len > 0 &&
           mr_str_eq_nocase(origin, mr_str_of(own, (size_t)n));
}

bool api_way_is_own(const struct api *api, const struct http_exchange *ex) {
    static const mr_str origin_name = {"origin", 6};
    static const mr_str site_name = {"sec-fetch-site", 14};
    size_t n_origins = mr_fields_count(ex->fields, origin_name);
    size_t n_sites = mr_fields_count(ex->fields, site_name);
    if (n_origins > 1 || n_sites > 1 ||
        (n_origins == 1 && !is_own_origin(api, ex, mr_fields_find(ex->fields, origin_name)))) {
        return false;
    }
    mr_str site = mr_fields_find(ex->fields, site_name);
    return n_sites == 0 || mr_str_eq(site, MR_STR("same-origin")) ||
           mr_str_eq(site, MR_STR("none"));
}

/* ---- cookies ---- */

static bool is_session_cookie(mr_str pair, mr_str *ret_value) {
    static const mr_str name = {SESSION_COOKIE_NAME "=", sizeof SESSION_COOKIE_NAME};
    pair = mr_str_trim(pair);
    if (!mr_str_starts(pair, name)) {
        return false;
    }
    *ret_value = mr_str_slice(pair, name.len, pair.len);
    return true;
}

size_t api_cookie_find(const struct http_exchange *ex, mr_str *ret_value) {
    size_t n = 0;
    for (size_t i = 0; i < ex->fields.len; i++) {
        mr_str rest = ex->fields.ptr[i].value;
        mr_str pair;
        if (!mr_str_eq_nocase(ex->fields.ptr[i].name, MR_STR("cookie"))) {
            continue;
        }
        while (mr_str_split(&rest, ';', &pair)) {
            n += is_session_cookie(pair, ret_value);
        }
    }
    return n;
}

/* Looking changes nothing. */
static bool is_look(const struct http_exchange *ex) {
    return mr_str_eq(ex->method_text, MR_STR("GET")) || mr_str_eq(ex->method_text, MR_STR("HEAD"));
}

static bool has_csrf_token(struct api *api, const struct http_exchange *ex, mr_str cookie) {
    static const mr_str name = {"x-csrf-token", 12};
    char right[SESSION_CSRF_SIZE];
    mr_str given = mr_fields_find(ex->fields, name);
    if (mr_fields_count(ex->fields, name) != 1 || given.len != SESSION_CSRF_SIZE - 1 ||
        mr_is_err(session_csrf_of(api->sink->hasher, cookie, right))) {
        return false;
    }
    bool is_right = crypto_equal(right, given.ptr, given.len);
    crypto_wipe(right, sizeof right);
    return is_right;
}

/* What a user must still reach to set up the second factor that the account asks for. */
static bool is_of_setup(enum auth_route route) {
    return route == AUTH_ROUTE_SESSION_GET || route == AUTH_ROUTE_SESSION_DELETE ||
           route == AUTH_ROUTE_PROFILE_GET || route == AUTH_ROUTE_PROFILE_TOTP ||
           route == AUTH_ROUTE_PROFILE_TOTP_CONFIRM;
}

/* ---- when it was last used ---- */

struct seen_job {
    struct control_job job; /* first */
    uint32_t session;
    int64_t seen_ms;
};

static mr_err run_seen(struct control *control, struct control_job *job) {
    const struct seen_job *seen = (const struct seen_job *)(const void *)job;
    return sessions_seen(control, seen->session, seen->seen_ms, &job->refusal);
}

static void seen_done(struct control_job *job) {
    mr_free(job);
}

/* Told to the store at most once a minute per session, whichever worker is first. */
static void touch(struct api *api, const struct model_session *shared, int64_t now_ms) {
    /* The two times are all of it that ever changes; see model/user.h. */
    struct model_session *session = (struct model_session *)(uintptr_t)shared;
    int64_t before = atomic_load_explicit(&session->seen_ms, memory_order_relaxed);
    while (before < now_ms &&
           !atomic_compare_exchange_weak_explicit(&session->seen_ms, &before, now_ms,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    int64_t stored = atomic_load_explicit(&session->stored_ms, memory_order_relaxed);
    if (now_ms - stored < SEEN_EVERY_MS ||
        !atomic_compare_exchange_strong_explicit(&session->stored_ms, &stored, now_ms,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        return;
    }
    struct seen_job *job = MR_NEW(struct seen_job);
    if (job == NULL) {
        return; /* the next minute's call tells it */
    }
    job->job = (struct control_job){
        .run = run_seen, .done = seen_done, .reply_to = loop_mailbox(api->loop)};
    job->session = session->object.number;
    job->seen_ms = now_ms;
    control_submit(api->control, &job->job);
}

/* ---- the checks ---- */

static bool needs_setup(const struct model_account *account, const struct model_user *user,
                        enum auth_route route) {
    return account->needs_second_factor && !user->has_second_factor && !is_of_setup(route);
}

bool api_may_still_read(void *ctx, const struct tail_caller *caller) {
    const struct api *api = ctx;
    const struct model_account *account;
    const struct model_user *user;
    const struct model_session *session;
    const struct model_client *client;
    mr_wall now = loop_wall(api->loop);
    if (caller->is_user) {
        return mr_is_ok(snapshot_check_session(api->snapshot, mr_str_c(caller->session_id),
                                               mr_wall_ms(now), api->session_idle_ms, &account,
                                               &user, &session)) &&
               !needs_setup(account, user, AUTH_ROUTE_TAIL) &&
               auth_route_allows(AUTH_ROUTE_TAIL, &user->scopes);
    }
    return now.ns / MR_NS_PER_S < caller->claims.expires_s &&
           mr_is_ok(snapshot_check_claims(api->snapshot, &caller->claims, &account, &client));
}

static enum api_verdict check_session(struct api *api, const struct http_exchange *ex,
                                      enum auth_route route, mr_str cookie,
                                      struct api_caller *ret_caller) {
    char id[SESSION_ID_SIZE];
    const struct model_account *account;
    const struct model_user *user;
    const struct model_session *session;
    int64_t now_ms = mr_wall_ms(loop_wall(api->loop));
    *ret_caller = (struct api_caller){.what = ACCESS_BAD_TOKEN, .is_refused = true};
    if (!api_way_is_private(api, ex) || !api_way_is_own(api, ex)) {
        return API_FORGED;
    }
    if (mr_is_err(session_id_of(api->sink->hasher, cookie, id)) ||
        mr_is_err(snapshot_check_session(api->snapshot, mr_str_c(id), now_ms, api->session_idle_ms,
                                         &account, &user, &session))) {
        return API_SIGNED_OUT;
    }
    ret_caller->user = user;
    ret_caller->what = ACCESS_NO_SCOPE;
    if (!is_look(ex) && !has_csrf_token(api, ex, cookie)) {
        return API_FORGED;
    }
    if (needs_setup(account, user, route)) {
        return API_SETUP_NEEDED;
    }
    if (!auth_route_allows(route, &user->scopes)) {
        return API_DENIED;
    }
    touch(api, session, now_ms);
    *ret_caller = (struct api_caller){
        .account = account, .user = user, .session = session, .scopes = &user->scopes};
    return API_ALLOWED;
}

static enum api_verdict check_token(struct api *api, mr_str header, enum auth_route route,
                                    struct api_caller *ret_caller) {
    mr_str token = auth_bearer_text(header);
    *ret_caller = (struct api_caller){.what = ACCESS_BAD_TOKEN, .is_refused = header.len > 0};
    if (mr_str_is_absent(token)) {
        return API_NO_TOKEN;
    }
    const struct auth_claims *claims;
    const struct model_account *account;
    const struct model_client *client;
    int64_t now_s = loop_wall(api->loop).ns / MR_NS_PER_S;
    if (mr_is_err(
            auth_cache_check(api->cache, snapshot_keyring(api->snapshot), token, now_s, &claims))) {
        /* Its form is looked at here alone: what is remembered was a token once. */
        return mr_str_is_absent(auth_bearer_of(header)) ? API_NO_TOKEN : API_DENIED;
    }
    ret_caller->claims = claims;
    ret_caller->what = ACCESS_REVOKED;
    if (mr_is_err(snapshot_check_claims(api->snapshot, claims, &account, &client))) {
        return API_DENIED;
    }
    ret_caller->what = ACCESS_NO_SCOPE;
    if (!auth_route_allows(route, &claims->scopes)) {
        return API_DENIED;
    }
    *ret_caller = (struct api_caller){
        .account = account, .client = client, .claims = claims, .scopes = &claims->scopes};
    return API_ALLOWED;
}

enum api_verdict api_check_caller(struct api *api, const struct http_exchange *ex,
                                  enum auth_route route, struct api_caller *ret_caller) {
    mr_str header = mr_fields_find(ex->fields, MR_STR("authorization"));
    mr_str cookie = MR_STR_NONE;
    if (!mr_str_is_absent(header)) {
        return check_token(api, header, route, ret_caller);
    }
    *ret_caller = (struct api_caller){.what = ACCESS_BAD_TOKEN};
    switch (api_cookie_find(ex, &cookie)) {
    case 0:
        return API_NO_TOKEN;
    case 1:
        return check_session(api, ex, route, cookie, ret_caller);
    default:
        ret_caller->is_refused = true;
        return API_FORGED; /* a second one was slipped in */
    }
}
