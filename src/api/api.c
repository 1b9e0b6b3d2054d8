/* Routing, rights, and the life of calls.
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

#include <stdio.h>

#define AUTH_CACHE_ENTRIES 4096
#define DENIED_MEMBER      "\"error\":\"Invalid or expired token\""

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
    api_client_address(api, ex, call->address);
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
    api_client_address(api, ex, address);
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
        api_refuse_members(call, 403, api_error_code_of(info->errors, 403),
                           api_verdict_text(verdict),
                           verdict == API_DENIED ? MR_STR(DENIED_MEMBER) : MR_STR_NONE);
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
