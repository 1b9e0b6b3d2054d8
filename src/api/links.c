/* The use of links over HTTP, as JSON (/v1/links/{token}) and as pages (/links/{token}).
 *
 *   GET    look ─▶ what the link is for; nothing is used up
 *   POST   look ─▶ judge the body here ─▶ argon2id on its threads ─▶ use ─▶ answered
 *
 * The link is looked at before the password is computed, so that only who has a link can cause that
 * work; it is used up after, in one change. The token stands in the path, which no log line, audit
 * row or kept answer holds. */
#include "api/call.h"
#include "api/caller.h"
#include "api/link_page.h"
#include "api/session.h"

#include "control/people/entry.h"
#include "control/people/passwords.h"
#include "crypto/secret.h"
#include "json/write.h"

#define FORM_MAX ((size_t)64 << 10)

/* What a call to a link carries along. */
struct link_ask {
    struct api_call *call;
    bool is_page;
    bool is_private; /* it came over HTTPS or loopback */
    bool is_own;     /* and from no other site */
    struct entry_view view;
    struct entry_form form;
    mr_str agent;
    struct password_task task;
    struct entry_outcome outcome;
};

static void wipe(mr_str text) {
    if (text.len > 0) {
        crypto_wipe((void *)(uintptr_t)text.ptr, text.len);
    }
}

static struct api_call *call_of(struct control_job *job) {
    return MR_CONTAINER(job, struct api_call, job);
}

static void submit(struct api_call *call,
                   mr_err (*run)(struct control *control, struct control_job *job),
                   void (*done)(struct control_job *job)) {
    call->now = loop_wall(call->api->loop);
    call->job = (struct control_job){.run = run,
                                     .done = done,
                                     .reply_to = loop_mailbox(call->api->loop),
                                     .actor = api_actor(call)};
    api_call_hold(call);
    control_submit(call->api->control, &call->job);
}

/* ---- answers ---- */

static void refuse_call(struct api_call *call, const struct refusal *refusal) {
    const struct link_ask *ask = call->ask;
    if (refusal->status == 0) {
        api_refuse_memory(call);
    } else if (ask->is_page) {
        link_page_problem(call, refusal->status, mr_str_c(refusal->message),
                          refusal->retry_after_s);
    } else {
        api_refuse_with(call, refusal);
    }
}

/* What the body lacks: a page shows the form again. */
static void refuse_form(struct api_call *call, const struct refusal *refusal) {
    const struct link_ask *ask = call->ask;
    if (ask->is_page && refusal->status == 400) {
        link_page_form(call, &ask->view, &ask->form, 400, mr_str_c(refusal->message));
    } else {
        refuse_call(call, refusal);
    }
}

static mr_err write_outcome(const struct entry_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_c(&writer, "kind", link_kind_name(view->kind));
    json_out_member_str(&writer, "account_id", view->account_id);
    json_out_member_str(&writer, "account_name", view->account_name);
    json_out_member_str(&writer, "user_id", view->user.id);
    json_out_member_str(&writer, "email", view->user.email);
    json_out_member_str(&writer, "role", auth_role_name(view->user.role));
    if (view->kind == LINK_PORTAL) {
        json_out_member_str(&writer, "return_url", view->return_url);
    }
    json_out_end(&writer);
    return json_out_finish(&writer);
}

static void answer_done(struct api_call *call) {
    struct link_ask *ask = call->ask;
    const struct entry_view *view = &ask->outcome.view;
    char cookie[API_COOKIE_SIZE] = "";
    mr_str set_cookie = MR_STR_NONE;
    if (ask->outcome.cookie[0] != '\0') {
        api_cookie_format(call->api, ask->outcome.cookie, cookie);
        set_cookie = mr_str_c(cookie);
        crypto_wipe(ask->outcome.cookie, sizeof ask->outcome.cookie);
    }
    if (ask->is_page) {
        link_page_done(call, view, set_cookie);
    } else if (mr_is_err(write_outcome(view, &call->out))) {
        api_refuse_memory(call);
    } else {
        const mr_field fields[] = {{MR_STR("cache-control"), MR_STR("no-store")},
                                   {MR_STR("set-cookie"), set_cookie}};
        call->status = 200;
        api_answer_as(call, MR_STR("application/json"), fields,
                      mr_str_is_absent(set_cookie) ? 1 : 2);
    }
    crypto_wipe(cookie, sizeof cookie);
}

/* ---- using ---- */

static mr_err run_forget(struct control *control, struct control_job *job) {
    (void)job;
    entry_forget_setup_file(control);
    return MR_OK;
}

static void forgotten(struct control_job *job) {
    struct api_call *call = call_of(job);
    answer_done(call);
    api_call_release(call);
}

static mr_err run_use(struct control *control, struct control_job *job) {
    struct api_call *call = call_of(job);
    struct link_ask *ask = call->ask;
    const struct entry_caller caller = {.address = mr_str_c(call->address), .agent = ask->agent};
    return entry_use(control, call->params[0], &ask->form, mr_str_c(ask->task.new_hash), &caller,
                     call->now, &call->arena, &ask->outcome, &job->refusal);
}

static void used(struct control_job *job) {
    struct api_call *call = call_of(job);
    const struct link_ask *ask = call->ask;
    if (mr_is_err(job->err)) {
        refuse_call(call, &job->refusal);
    } else if (ask->view.kind == LINK_SETUP) {
        submit(call, run_forget, forgotten); /* before the answer: who reads it finds no file */
    } else {
        answer_done(call);
    }
    api_call_release(call);
}

static void hashed(struct password_task *task) {
    struct api_call *call = MR_CONTAINER(task, struct link_ask, task)->call;
    if (mr_is_err(task->err)) {
        const struct refusal none = {.status = 0};
        refuse_call(call, &none);
    } else {
        submit(call, run_use, used);
    }
    api_call_release(call);
}

static void hash_password(struct api_call *call) {
    struct link_ask *ask = call->ask;
    bool fits = password_task_set(&ask->task, ask->form.password);
    MR_ASSERT(fits); /* it was judged */
    wipe(ask->form.password);
    ask->form.password = MR_STR_NONE;
    ask->task.is_hashing = true;
    ask->task.done = hashed;
    ask->task.reply_to = loop_mailbox(call->api->loop);
    api_call_hold(call);
    if (!passwords_submit(call->api->passwords, &ask->task, call->api->metrics)) {
        struct refusal refusal;
        mr_ignore(refuse(&refusal, REFUSAL_UNAVAILABLE,
                         "Too many passwords are being computed; try again in a moment."),
                  "told at once");
        crypto_wipe(ask->task.password, sizeof ask->task.password);
        refuse_call(call, &refusal);
        api_call_release(call);
    }
}

/* ---- the body ---- */

static mr_err add_member(struct api_call *call, mr_str pair, json_out *out) {
    size_t at = mr_str_find_byte(pair, '=', 0);
    mr_str name = api_percent_decode(&call->arena, mr_str_slice(pair, 0, at), true);
    mr_str value = at == SIZE_MAX ? MR_STR("")
                                  : api_percent_decode(&call->arena,
                                                       mr_str_slice(pair, at + 1, pair.len), true);
    if (mr_str_is_absent(name) || mr_str_is_absent(value)) {
        return MR_ERR(MR_E_INVALID);
    }
    if (value.len > 0) { /* an empty field is one that was left out */
        json_out_name(out, name);
        json_out_str(out, value);
    }
    wipe(value);
    return MR_OK;
}

/* The form as the JSON that says the same. */
static mr_err form_to_json(struct api_call *call, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    mr_str rest = call->body;
    mr_str pair;
    mr_err err = MR_OK;
    while (mr_is_ok(err) && mr_str_split(&rest, '&', &pair)) {
        err = pair.len > 0 ? add_member(call, pair, &writer) : MR_OK;
    }
    json_out_end(&writer);
    mr_err ended = json_out_finish(&writer);
    return mr_is_err(err) ? err : ended;
}

static mr_err judge_body(struct api_call *call, struct refusal *ret_refusal) {
    struct link_ask *ask = call->ask;
    mr_buf json;
    mr_buf_init(&json, FORM_MAX);
    mr_err err = mr_buf_reserve(&json, FORM_MAX, NULL); /* no copies left behind */
    if (mr_is_ok(err)) {
        err =
            ask->is_page ? form_to_json(call, &json) : mr_buf_str(&json, api_body_or_object(call));
    }
    if (mr_err_is(err, MR_E_INVALID) || mr_err_is(err, MR_E_LIMIT)) {
        err = refuse(ret_refusal, REFUSAL_MALFORMED, "The form cannot be read, or is too long.");
    }
    if (mr_is_ok(err)) {
        err = entry_judge(&ask->view, mr_buf_view(&json), &call->arena, &ask->form, ret_refusal);
    }
    if (json.len > 0) {
        crypto_wipe(json.ptr, json.len);
    }
    mr_buf_done(&json);
    wipe(call->body);
    return err;
}

/* ---- looking ---- */

static mr_err run_look(struct control *control, struct control_job *job) {
    struct api_call *call = call_of(job);
    struct link_ask *ask = call->ask;
    return entry_look(control, call->params[0], call->now, &call->arena, &ask->view, &job->refusal);
}

/* A session is given over HTTPS or loopback only, and to no other site. */
static bool may_sign_in(const struct link_ask *ask, struct refusal *ret_refusal) {
    if (!ask->is_private) {
        mr_ignore(refuse(ret_refusal, REFUSAL_MALFORMED,
                         "Signing in needs HTTPS: open the link by https://, or on this machine "
                         "by http://127.0.0.1."),
                  "told at once");
    } else if (!ask->is_own) {
        mr_ignore(
            refuse(ret_refusal, REFUSAL_DENIED, "Signing in from another site is not allowed."),
            "told at once");
    }
    return ask->is_private && ask->is_own;
}

static void looked_for_use(struct control_job *job) {
    struct api_call *call = call_of(job);
    struct link_ask *ask = call->ask;
    struct refusal refusal = {.status = 0};
    if (mr_is_err(job->err)) {
        wipe(call->body);
        refuse_call(call, &job->refusal);
    } else if (mr_is_err(judge_body(call, &refusal))) {
        wipe(ask->form.password);
        refuse_form(call, &refusal);
    } else if (ask->view.kind != LINK_PORTAL) {
        hash_password(call);
    } else if (may_sign_in(ask, &refusal)) {
        submit(call, run_use, used);
    } else {
        refuse_call(call, &refusal);
    }
    api_call_release(call);
}

static void looked(struct control_job *job) {
    struct api_call *call = call_of(job);
    const struct link_ask *ask = call->ask;
    if (mr_is_err(job->err)) {
        refuse_call(call, &job->refusal);
    } else if (ask->is_page) {
        link_page_form(call, &ask->view, NULL, 200, MR_STR_NONE);
    } else if (mr_is_err(entry_view_write_json(&ask->view, &call->out))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

/* ---- handlers ---- */

static const struct shape_member used_members[] = {
    {"kind", SHAPE_ENUM, 0, .names = link_kind_names, .n_names = LINK_KIND_COUNT},
    {"account_id", .kind = SHAPE_TEXT},
    {"account_name", .kind = SHAPE_TEXT},
    {"user_id", .kind = SHAPE_TEXT},
    {"email", .kind = SHAPE_TEXT},
    {"role", .kind = SHAPE_TEXT},
    {"return_url", SHAPE_TEXT, SHAPE_OPTIONAL | SHAPE_NULLABLE, .what = "Of portal links"},
};
static const struct shape used_answer = {"LinkUsed", used_members,
                                         sizeof used_members / sizeof used_members[0]};
#define PAGE_SCHEMA "{\"type\":\"string\"}"

/* The page's own form: its policy (no-referrer) makes browsers send "Origin: null", so where they
 * tell the site, that alone counts. */
static bool is_own_page(const struct api_call *call) {
    mr_str site = mr_fields_find(call->ex->fields, MR_STR("sec-fetch-site"));
    return mr_str_is_absent(site)
               ? api_way_is_own(call->api, call->ex)
               : mr_str_eq(site, MR_STR("same-origin")) || mr_str_eq(site, MR_STR("none"));
}

/* NULL: answered. */
static struct link_ask *begin(struct api_call *call, bool is_page) {
    struct link_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return NULL;
    }
    call->ask = ask;
    ask->call = call;
    ask->is_page = is_page;
    ask->is_private = api_way_is_private(call->api, call->ex);
    ask->is_own = is_page ? is_own_page(call) : api_way_is_own(call->api, call->ex);
    ask->agent = mr_arena_str(&call->arena, mr_fields_find(call->ex->fields, MR_STR("user-agent")));
    return api_query_take(call, NULL) ? ask : NULL;
}

const struct api_doc api_doc_LINK_GET = {
    .summary = "Look at a link",
    .what = "What it is for, and what its use takes. It is not used up.",
    .status = 200,
    .answer = &link_answer};

void api_link_get(struct api_call *call) {
    if (begin(call, false) != NULL) {
        submit(call, run_look, looked);
    }
}

const struct api_doc api_doc_LINK_USE = {
    .summary = "Use a link",
    .what = "Once. The body is that of its kind: set-up, invite, password reset, portal (none).",
    .media = API_MEDIA_JSON,
    .bodies = entry_shapes,
    .n_bodies = LINK_KIND_COUNT,
    .flags = API_DOC_BODY_OPTIONAL | API_DOC_COOKIE,
    .status = 200,
    .answer = &used_answer,
    API_REFUSALS(403, 409)};

void api_link_use(struct api_call *call) {
    if (api_require_json(call) && begin(call, false) != NULL) {
        submit(call, run_look, looked_for_use);
    }
}

const struct api_doc api_doc_LINK_PAGE = {.summary = "Open a link",
                                          .what = "A page with a form. The link is not used up.",
                                          .flags = API_DOC_PAGE,
                                          .status = 200,
                                          .answer_schema = PAGE_SCHEMA,
                                          .answer_media = "text/html"};

void api_link_page(struct api_call *call) {
    if (begin(call, true) != NULL) {
        submit(call, run_look, looked);
    }
}

const struct api_doc api_doc_LINK_PAGE_USE = {.summary = "Send a link's form",
                                              .what = "An empty field is one that was left out.",
                                              .media = API_MEDIA_FORM,
                                              .bodies = entry_shapes,
                                              .n_bodies = LINK_KIND_COUNT,
                                              .flags = API_DOC_PAGE | API_DOC_COOKIE,
                                              .status = 200,
                                              .answer_schema = PAGE_SCHEMA,
                                              .answer_media = "text/html",
                                              API_REFUSALS(403, 409)};

void api_link_page_use(struct api_call *call) {
    if (begin(call, true) == NULL) {
        return;
    }
    if (!api_is_form(call)) {
        link_page_problem(call, 415, MR_STR("The form must be sent as a form."), 0);
        return;
    }
    submit(call, run_look, looked_for_use);
}
