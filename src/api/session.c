/* Sessions over HTTP: signing in and out, what a signed-in user may do, the list of own sessions.
 *
 *   POST /v1/session ─▶ store: who it may be ─▶ argon2id, elsewhere ─▶ store: session or ticket
 *   POST /v1/session/second-factor ─▶ store: session
 *
 * An answer that opens a session leaves when every worker knows it; one that ends it, when none
 * does any more. */
#include "api/session.h"

#include "api/caller.h"
#include "crypto/secret.h"
#include "json/write.h"

#include <stdio.h>

/* ---- bodies ---- */

void api_text_wipe(mr_str *value) {
    if (value->len > 0) {
        crypto_wipe((void *)(uintptr_t)value->ptr, value->len);
    }
    *value = MR_STR_NONE;
}

bool api_texts_take(struct api_call *call, mr_str *values) {
    const struct shape *shape = api_doc_of(call->route)->body;
    json_tape tape;
    for (size_t i = 0; i < shape->n; i++) {
        values[i] = MR_STR_NONE;
    }
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return false;
    }
    bool is_judged = api_body_take(call, call->body, &tape);
    mr_err err = MR_OK;
    for (size_t i = 0; i < shape->n && is_judged && mr_is_ok(err); i++) {
        err = shape_text(json_root(&tape), shape->members[i].name, &call->arena, &values[i]);
    }
    json_tape_done(&tape);
    api_text_wipe(&call->body);
    if (mr_is_err(err)) {
        api_refuse_memory(call);
    }
    return is_judged && mr_is_ok(err);
}

/* ---- passwords ---- */

static mr_err give_up_work(struct control *control, struct api_call *call) {
    struct api_password *password = call->ask; /* first in it */
    password->give_up(control, call);
    return refuse(&call->job.refusal, REFUSAL_UNAVAILABLE,
                  "Too many passwords wait to be checked; try again.");
}

static void refuse_uncomputed(struct api_call *call, const struct api_password *password) {
    if (password->give_up != NULL) {
        MR_ASSERT(call->ask == password);
        api_submit(call, give_up_work, NULL);
    } else {
        api_refuse(call, 503, 20503, "too many passwords wait to be checked; try again");
    }
}

static void computed(struct password_task *task) {
    struct api_password *password = MR_CONTAINER(task, struct api_password, task);
    struct api_call *call = password->call;
    if (mr_is_err(task->err)) {
        refuse_uncomputed(call, password);
    } else {
        password->then(call);
    }
    api_call_release(call);
}

void api_password_compute(struct api_call *call, struct api_password *password,
                          void (*then)(struct api_call *call)) {
    password->call = call;
    password->then = then;
    password->task.done = computed;
    password->task.reply_to = loop_mailbox(call->api->loop);
    api_call_hold(call);
    if (!passwords_submit(call->api->passwords, &password->task, call->api->metrics)) {
        crypto_wipe(password->task.password, sizeof password->task.password);
        refuse_uncomputed(call, password);
        api_call_release(call);
    }
}

/* ---- answers ---- */

static const struct shape_member account_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"friendly_name", .kind = SHAPE_TEXT},
};
static const struct shape account_answer_short = {
    "SessionAccount", account_members, sizeof account_members / sizeof account_members[0]};
static const struct shape_member session_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"csrf_token", SHAPE_TEXT, SHAPE_SECRET,
     .what = "For the field X-CSRF-Token of calls that change something"},
    {"date_expires", .kind = SHAPE_TIME},
    {"second_factor_needed", SHAPE_BOOL, 0, .what = "The account asks for one, and there is none"},
    {"user", SHAPE_INNER, .inner = &user_answer},
    {"account", SHAPE_INNER, .inner = &account_answer_short},
    {"scopes", SHAPE_INNER, .inner = &scopes_answer, .what = "What the user may do"},
};
static const struct shape session_answer = {"Session", session_members,
                                            sizeof session_members / sizeof session_members[0]};
static const struct shape_member ticket_members[] = {
    {"second_factor", SHAPE_BOOL, 0, .what = "true: the code is asked for"},
    {"ticket", SHAPE_TEXT, .flags = SHAPE_SECRET},
    {"expires_in", SHAPE_NUMBER, 0, .what = "Seconds"},
};
static const struct shape ticket_answer = {"SessionTicket", ticket_members,
                                           sizeof ticket_members / sizeof ticket_members[0]};

static mr_err write_members(struct api_call *call, const struct user_view *view,
                            const struct model_session *session, const char *csrf, mr_buf *parts,
                            mr_buf *out) {
    const struct snapshot *snapshot = call->api->snapshot;
    const struct model_user *user = snapshot_user(snapshot, session->user);
    const struct model_account *account =
        user == NULL ? NULL : snapshot_account(snapshot, user->account);
    if (account == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    char expires[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(session->expires_ms), expires);
    MR_TRY(user_write_json(view, parts));
    size_t user_len = parts->len;
    MR_TRY(auth_scopes_write(&user->scopes, parts));
    mr_str both = mr_buf_view(parts);
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_c(&writer, "id", session->object.id);
    json_out_member_c(&writer, "csrf_token", csrf);
    json_out_member_c(&writer, "date_expires", expires);
    json_out_member_bool(&writer, "second_factor_needed",
                         account->needs_second_factor && !user->has_second_factor);
    json_out_member_raw(&writer, "user", mr_str_slice(both, 0, user_len));
    json_out_member_object(&writer, "account");
    json_out_member_c(&writer, "id", account->object.id);
    json_out_member_str(&writer, "friendly_name", account->friendly_name);
    json_out_end(&writer);
    json_out_member_raw(&writer, "scopes", mr_str_slice(both, user_len, both.len));
    json_out_end(&writer);
    return json_out_finish(&writer);
}

mr_err api_session_write(struct api_call *call, const struct user_view *view, mr_str session_id,
                         mr_str cookie, mr_buf *out) {
    char csrf[SESSION_CSRF_SIZE];
    const struct model_session *session = snapshot_session_by_id(call->api->snapshot, session_id);
    if (session == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    MR_TRY(session_csrf_of(call->api->sink->hasher, cookie, csrf));
    mr_buf parts;
    mr_buf_init(&parts, 65536);
    mr_err err = write_members(call, view, session, csrf, &parts, out);
    mr_buf_done(&parts);
    return err;
}

static void answer_with(struct api_call *call, const char *cookie) {
    const mr_field fields[] = {{MR_STR("cache-control"), MR_STR("no-store")},
                               {MR_STR("set-cookie"), mr_str_c(cookie)}};
    api_answer_as(call, MR_STR("application/json"), fields, 2);
}

void api_cookie_format(const struct api *api, const char *value, char out[static API_COOKIE_SIZE]) {
    (void)snprintf(out, API_COOKIE_SIZE,
                   SESSION_COOKIE_NAME "=%s; Path=/; Max-Age=%lld; Secure; HttpOnly; "
                                       "SameSite=Strict",
                   value, (long long)api->session_max_s);
}

void api_answer_with_cookie(struct api_call *call, struct signin_outcome *outcome) {
    char cookie[API_COOKIE_SIZE];
    api_cookie_format(call->api, outcome->cookie, cookie);
    answer_with(call, cookie);
    crypto_wipe(cookie, sizeof cookie);
    crypto_wipe(outcome, sizeof *outcome);
}

bool api_may_sign_in(struct api_call *call) {
    if (!api_way_is_private(call->api, call->ex)) {
        api_refuse(call, 400, 20400,
                   "signing in needs HTTPS: open the portal by https:// (tls_cert_file, or a proxy "
                   "and public_url), or on this machine by http://127.0.0.1");
        return false;
    }
    if (!api_way_is_own(call->api, call->ex)) {
        api_refuse(call, 403, 20006, "signing in from another site is not allowed");
        return false;
    }
    return true;
}

/* ---- signing in ---- */

struct signin_ask {
    struct api_password password; /* first */
    mr_str email;
    mr_str account_id;
    mr_str ticket;
    mr_str code;
    mr_str agent;
    struct signin_candidates candidates;
    struct signin_outcome outcome;
    struct user_view view;
};

static struct signin_ask *ask_new(struct api_call *call) {
    struct signin_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return NULL;
    }
    mr_str agent = mr_fields_find(call->ex->fields, MR_STR("user-agent"));
    ask->agent = mr_str_is_absent(agent) ? MR_STR("") : mr_arena_str(&call->arena, agent);
    call->ask = ask;
    return ask;
}

static struct signin_caller caller_of(const struct api_call *call, const struct signin_ask *ask) {
    return (struct signin_caller){
        .address = mr_str_c(call->address), .agent = ask->agent, .now = call->now};
}

/* The work's last step where somebody is signed in. */
static mr_err find_signed_in(struct control *control, struct api_call *call,
                             struct signin_ask *ask) {
    return ask->outcome.kind == SIGNIN_DONE
               ? users_get_number(control, ask->outcome.user, &call->arena, &ask->view,
                                  &call->job.refusal)
               : MR_OK;
}

static void answer_session(struct api_call *call, struct signin_ask *ask) {
    call->status = 201;
    if (mr_is_err(api_session_write(call, &ask->view, mr_str_c(ask->outcome.session_id),
                                    mr_str_c(ask->outcome.cookie), &call->out))) {
        crypto_wipe(&ask->outcome, sizeof ask->outcome);
        api_refuse(call, 503, 20503, "the session ended at once; try again");
        return;
    }
    api_answer_with_cookie(call, &ask->outcome);
}

static void answer_ticket(struct api_call *call, struct signin_ask *ask) {
    json_out writer;
    json_out_init(&writer, &call->out);
    json_out_object(&writer);
    json_out_member_bool(&writer, "second_factor", true);
    json_out_member_c(&writer, "ticket", ask->outcome.ticket);
    json_out_member_u64(&writer, "expires_in", SIGNIN_TICKET_S);
    json_out_end(&writer);
    mr_err err = json_out_finish(&writer);
    crypto_wipe(&ask->outcome, sizeof ask->outcome);
    if (mr_is_err(err)) {
        api_refuse_memory(call);
        return;
    }
    call->status = 200;
    api_answer(call);
}

static void finished(struct api_call *call) {
    struct signin_ask *ask = call->ask;
    switch (ask->outcome.kind) {
    case SIGNIN_WRONG:
        api_refuse(call, 401, 20401, "%s",
                   mr_str_is_absent(ask->email)
                       ? "the code is wrong, or the ticket has been used or is too old"
                       : "e-mail or password are wrong, or the user may not sign in; with several "
                         "accounts give the id of the one that is meant (account_id)");
        return;
    case SIGNIN_TICKET:
        answer_ticket(call, ask);
        return;
    case SIGNIN_DONE:
        answer_session(call, ask);
        return;
    }
}

static mr_err finish_work(struct control *control, struct api_call *call) {
    struct signin_ask *ask = call->ask;
    const struct signin_caller caller = caller_of(call, ask);
    MR_TRY(signin_finish(control, ask->email, &ask->candidates, ask->password.task.matched,
                         mr_str_c(ask->password.task.new_hash), &caller, &ask->outcome,
                         &call->job.refusal));
    return find_signed_in(control, call, ask);
}

static void verified(struct api_call *call) {
    api_submit(call, finish_work, finished);
}

static mr_err begin_work(struct control *control, struct api_call *call) {
    struct signin_ask *ask = call->ask;
    return signin_begin(control, ask->email, ask->account_id, mr_str_c(call->address), &call->arena,
                        &ask->candidates, &call->job.refusal);
}

static void give_up(struct control *control, struct api_call *call) {
    const struct signin_ask *ask = call->ask;
    signin_give_up(control, ask->email, mr_str_c(call->address));
}

static void begun(struct api_call *call) {
    struct signin_ask *ask = call->ask;
    ask->password.task.hashes = &ask->candidates.hash;
    ask->password.task.n_hashes = ask->candidates.n;
    ask->password.give_up = give_up;
    api_password_compute(call, &ask->password, verified);
}

const struct api_doc api_doc_SESSION_CREATE = {
    .summary = "Sign in",
    .what = "Over HTTPS or on this machine. Where the user has a second factor the answer is a "
            "ticket for POST /v1/session/second-factor. Without account_id the account is meant "
            "that had the e-mail first.",
    .media = API_MEDIA_JSON,
    .body = &signin_shape,
    .flags = API_DOC_COOKIE,
    .status = 201,
    .answer = &session_answer,
    .other_status = 200,
    .other_answer = &ticket_answer,
    API_REFUSALS(401, 403, 429)};

void api_session_create(struct api_call *call) {
    mr_str values[3];
    struct signin_ask *ask = NULL;
    if (!api_may_sign_in(call) || !api_texts_take(call, values)) {
        return;
    }
    ask = ask_new(call);
    if (ask != NULL) {
        ask->email = values[0];
        ask->account_id = values[2];
        /* The shape holds it to as many bytes as any password can have. */
        bool fits = password_task_set(&ask->password.task, values[1]);
        MR_ASSERT(fits);
        api_submit(call, begin_work, begun);
    }
    api_text_wipe(&values[1]);
}

static mr_err second_work(struct control *control, struct api_call *call) {
    struct signin_ask *ask = call->ask;
    const struct signin_caller caller = caller_of(call, ask);
    mr_err err =
        signin_second(control, ask->ticket, ask->code, &caller, &ask->outcome, &call->job.refusal);
    api_text_wipe(&ask->ticket);
    api_text_wipe(&ask->code);
    MR_TRY(err);
    return find_signed_in(control, call, ask);
}

const struct api_doc api_doc_SESSION_SECOND = {.summary = "Sign in with the second factor",
                                               .media = API_MEDIA_JSON,
                                               .body = &second_factor_shape,
                                               .flags = API_DOC_COOKIE,
                                               .status = 201,
                                               .answer = &session_answer,
                                               API_REFUSALS(401, 403, 429)};

void api_session_second(struct api_call *call) {
    mr_str values[2];
    if (!api_may_sign_in(call) || !api_texts_take(call, values)) {
        return;
    }
    struct signin_ask *ask = ask_new(call);
    if (ask != NULL) {
        ask->ticket = values[0];
        ask->code = values[1];
        api_submit(call, second_work, finished);
    }
}

/* ---- the present session ---- */

struct session_ask {
    struct user_view view;
    mr_str cookie;
    struct control_page page;
};

static struct session_ask *session_ask_new(struct api_call *call) {
    struct session_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
    }
    call->ask = ask;
    return ask;
}

static mr_err get_work(struct control *control, struct api_call *call) {
    struct session_ask *ask = call->ask;
    return users_get_number(control, call->user, &call->arena, &ask->view, &call->job.refusal);
}

static void got(struct api_call *call) {
    struct session_ask *ask = call->ask;
    mr_err err = api_session_write(call, &ask->view, call->session_id, ask->cookie, &call->out);
    api_text_wipe(&ask->cookie);
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        api_refuse(call, 401, 20401, "%s", api_verdict_text(API_SIGNED_OUT));
    } else if (mr_is_err(err)) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
}

const struct api_doc api_doc_SESSION_GET = {
    .summary = "Read the present session", .status = 200, .answer = &session_answer};

void api_session_get(struct api_call *call) {
    mr_str cookie = MR_STR_NONE;
    if (!api_query_take(call, NULL)) {
        return;
    }
    struct session_ask *ask = session_ask_new(call);
    if (ask == NULL) {
        return;
    }
    (void)api_cookie_find(call->ex, &cookie);
    ask->cookie = mr_arena_str(&call->arena, cookie);
    if (mr_str_is_absent(ask->cookie)) {
        api_refuse_memory(call);
        return;
    }
    api_submit(call, get_work, got);
}

static mr_err end_work(struct control *control, struct api_call *call) {
    call->status = 204;
    return sessions_end(control, call->user, call->session_id, &call->job.refusal);
}

static void ended(struct api_call *call) {
    answer_with(call, SESSION_COOKIE_NAME "=; Path=/; Max-Age=0; Secure; HttpOnly; "
                                          "SameSite=Strict");
}

const struct api_doc api_doc_SESSION_DELETE = {
    .summary = "Sign out", .flags = API_DOC_UNVERSIONED | API_DOC_COOKIE, .status = 204};

void api_session_delete(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, end_work, ended);
    }
}

/* ---- own sessions ---- */

static mr_err list_work(struct control *control, struct api_call *call) {
    const struct session_ask *ask = call->ask;
    struct session_view *rows;
    size_t n;
    uint64_t count = 0;
    MR_TRY(sessions_list(control, call->user, call->now, ask->page, &call->arena, &rows, &n, &count,
                         &call->job.refusal));
    return session_list_write_json(rows, n, call->session_id, &ask->page, count, api_list_url(call),
                                   &call->out);
}

static const struct api_param list_params[] = {API_PARAM_PAGE_SIZE, API_PARAM_PAGE_NUMBER};
const struct api_doc api_doc_SESSIONS_LIST = {.summary = "List your sessions",
                                              API_QUERY(list_params),
                                              .flags = API_DOC_LIST,
                                              .status = 200,
                                              .answer = &own_session_answer};

void api_sessions_list(struct api_call *call) {
    mr_str values[2];
    struct session_ask *ask = session_ask_new(call);
    if (ask != NULL && api_query_take(call, values) &&
        api_page_take(call, values[0], values[1], &ask->page)) {
        api_submit(call, list_work, NULL);
    }
}

static mr_err revoke_work(struct control *control, struct api_call *call) {
    call->status = 204;
    return sessions_end(control, call->user, call->params[0], &call->job.refusal);
}

const struct api_doc api_doc_SESSIONS_DELETE = {
    .summary = "End one of your sessions", .flags = API_DOC_UNVERSIONED, .status = 204};

void api_sessions_delete(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, revoke_work, NULL);
    }
}
