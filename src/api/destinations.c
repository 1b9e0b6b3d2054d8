/* Destinations over HTTP: the store's part as jobs of the control thread, counters from the keeper,
 * what the lane knows from the worker that owns it. */
#include "api/call.h"

#include "base/mem.h"
#include "control/destinations.h"
#include "crypto/secret.h"
#include "json/write.h"

#include <stdio.h>

/* What a call keeps between its steps. */
struct destination_ask {
    /* of the query */
    mr_str status;
    mr_str kind;
    struct control_page page;
    /* found */
    struct destination_view *views;
    size_t n;
    uint64_t count;
    bool is_list;
    bool was_enabled; /* this change enabled it: tell the gap */
    int64_t disabled_ms;
    struct keeper_query query;
    uint32_t *numbers;
    struct book_destination *rows;
};

static struct destination_ask *ask_new(struct api_call *call) {
    struct destination_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
    }
    call->user = ask;
    return ask;
}

/* ---- counters ---- */

static struct destination_counters counters_of(const struct book_destination *row) {
    return (struct destination_counters){.pending = row->counters.pending,
                                         .delivered = row->counters.delivered,
                                         .dead = row->counters.dead,
                                         .discarded = row->counters.discarded,
                                         .skipped = row->counters.skipped,
                                         .failed_attempts = row->counters.failed_attempts};
}

static void write_gap(const struct destination_ask *ask, json_out *o) {
    const struct book_destination *row = &ask->rows[0];
    if (!ask->was_enabled) {
        return;
    }
    char text[MR_TIME_TEXT_SIZE];
    json_out_member_object(o, "gap");
    int64_t from_ms = row->gap_events > 0 ? row->gap_from_ms : ask->disabled_ms;
    mr_time_format_ms(mr_wall_of_ms(from_ms), text);
    json_out_member_c(o, "from", text);
    mr_time_format_ms(mr_wall_of_ms(row->gap_events > 0 ? row->gap_to_ms : from_ms), text);
    json_out_member_c(o, "to", text);
    json_out_member_u64(o, "events", row->gap_events);
    json_out_end(o);
}

static mr_err write_answer(struct api_call *call) {
    struct destination_ask *ask = call->user;
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    if (ask->is_list) {
        json_out_member_array(&o, "data");
        for (size_t i = 0; i < ask->n; i++) {
            struct destination_counters counters = counters_of(&ask->rows[i]);
            json_out_object(&o);
            destination_write_members(&ask->views[i], &counters, &o);
            json_out_end(&o);
        }
        json_out_end(&o);
        json_out_member_object(&o, "meta_data");
        control_page_write(&ask->page, ask->count, api_list_url(call), &o);
        json_out_end(&o);
    } else {
        struct destination_counters counters = counters_of(&ask->rows[0]);
        destination_write_members(&ask->views[0], &counters, &o);
        write_gap(ask, &o);
    }
    json_out_end(&o);
    return json_out_finish(&o);
}

static void on_counters(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    struct api_call *call = query->user;
    if (mr_is_err(query->result)) {
        api_refuse(call, 503, 20503, "the counters cannot be read at the moment; try again");
    } else if (mr_is_err(write_answer(call))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

/* After the store's job: asks the keeper for counters, then answers. */
static void ask_counters(struct api_call *call) {
    struct destination_ask *ask = call->user;
    ask->numbers = mr_arena_calloc(&call->arena, ask->n + 1, sizeof *ask->numbers);
    ask->rows = mr_arena_calloc(&call->arena, ask->n + 1, sizeof *ask->rows);
    if (ask->numbers == NULL || ask->rows == NULL) {
        api_refuse_memory(call);
        return;
    }
    for (size_t i = 0; i < ask->n; i++) {
        ask->numbers[i] = ask->views[i].number;
    }
    ask->query = (struct keeper_query){.ask = KEEPER_ASK_DESTINATION,
                                       .reply = loop_mailbox(call->api->loop),
                                       .on_done = on_counters,
                                       .user = call,
                                       .destinations = ask->numbers,
                                       .rows = ask->rows,
                                       .n = ask->n};
    api_call_hold(call);
    keeper_ask(call->api->keeper, &ask->query, call->api->metrics);
}

/* ---- the store's part ---- */

static mr_err list(struct control *control, struct api_call *call) {
    struct destination_ask *ask = call->user;
    return destinations_list(control, call->account, ask->status, ask->kind, ask->page,
                             &call->arena, &ask->views, &ask->n, &ask->count, &call->job.refusal);
}

void api_destinations_list(struct api_call *call) {
    static const char *const names[] = {"status", "kind", "page_size", "page_number"};
    mr_str values[4];
    if (!api_query_take(call, names, values, 4)) {
        return;
    }
    struct destination_ask *ask = ask_new(call);
    if (ask == NULL) {
        return;
    }
    ask->is_list = true;
    ask->status = values[0];
    ask->kind = values[1];
    if (api_page_take(call, values[2], values[3], &ask->page)) {
        api_submit(call, list, ask_counters);
    }
}

/* One view in the call's arena. */
static struct destination_view *view_new(struct api_call *call) {
    struct destination_ask *ask = call->user;
    ask->views = mr_arena_calloc(&call->arena, 1, sizeof *ask->views);
    ask->n = 1;
    return ask->views;
}

static mr_err create(struct control *control, struct api_call *call) {
    struct destination_view *view = view_new(call);
    if (view == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(destinations_create(control, call->account, call->body, &call->arena, view,
                               &call->job.refusal));
    call->status = 201;
    control_etag_format(view->version, call->etag);
    char location[512];
    int len = snprintf(location, sizeof location, "%.*s/v1/destinations/%.*s",
                       MR_FMT(mr_str_slice(call->api->public_url, 0, 400)), MR_FMT(view->id));
    call->location = mr_arena_str(&call->arena, mr_str_of(location, (size_t)len));
    const struct destination_counters none = {0};
    return destination_write_json(view, &none, &call->out);
}

void api_destinations_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL, NULL, 0) && ask_new(call) != NULL) {
        api_submit(call, create, NULL);
    }
}

static mr_err get(struct control *control, struct api_call *call) {
    struct destination_view *view = view_new(call);
    if (view == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(destinations_get(control, call->account, call->params[0], &call->arena, view,
                            &call->job.refusal));
    control_etag_format(view->version, call->etag);
    return MR_OK;
}

void api_destination_get(struct api_call *call) {
    if (api_query_take(call, NULL, NULL, 0) && ask_new(call) != NULL) {
        api_submit(call, get, ask_counters);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    struct destination_ask *ask = call->user;
    struct destination_view *view = view_new(call);
    if (view == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    enum model_destination_status before;
    MR_TRY(destinations_patch(control, call->account, call->params[0], call->body,
                              control_etag_parse(call->if_match), &call->arena, view, &before,
                              &ask->disabled_ms, &call->job.refusal));
    ask->was_enabled = before == MODEL_DISABLED && view->status != MODEL_DISABLED;
    control_etag_format(view->version, call->etag);
    return MR_OK;
}

void api_destination_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL, NULL, 0) && ask_new(call) != NULL) {
        api_submit(call, patch, ask_counters);
    }
}

static mr_err delete_destination(struct control *control, struct api_call *call) {
    uint32_t number;
    MR_TRY(destinations_delete(control, call->account, call->params[0],
                               control_etag_parse(call->if_match), &number, &call->job.refusal));
    call->status = 204;
    return MR_OK;
}

void api_destination_delete(struct api_call *call) {
    if (api_query_take(call, NULL, NULL, 0)) {
        api_submit(call, delete_destination, NULL);
    }
}

static mr_err signing_secret(struct control *control, struct api_call *call) {
    mr_str secret;
    mr_str public_key;
    MR_TRY(destinations_signing_secret(control, call->account, call->params[0], call->now,
                                       &call->arena, &secret, &public_key, &call->job.refusal));
    call->status = 201;
    mr_err err = mr_buf_printf(&call->out, "{\"secret\":\"%.*s\",\"public_key\":\"%.*s\"}",
                               MR_FMT(secret), MR_FMT(public_key));
    crypto_wipe((void *)(uintptr_t)secret.ptr, secret.len);
    MR_TRY(err);
    return mr_buf_printf(&call->stored, "{\"public_key\":\"%.*s\"}", MR_FMT(public_key));
}

/* No body, or an object without members. False: refused. */
static bool take_nothing(struct api_call *call) {
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    json_error error;
    bool is_fine = call->body.len == 0;
    if (!is_fine && (mr_is_err(json_tape_read(&tape, call->body, &error)) ||
                     json_kind_of(json_root(&tape)) != JSON_OBJECT)) {
        api_refuse(call, 400, 20400, "the body must be a JSON object");
    } else if (!is_fine && json_count(json_root(&tape)) > 0) {
        api_refuse(call, 400, 20001, "unknown member; none is known here");
    } else {
        is_fine = true;
    }
    json_tape_done(&tape);
    return is_fine;
}

void api_destination_signing_secret(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL, NULL, 0) && take_nothing(call)) {
        api_submit(call, signing_secret, NULL);
    }
}

/* ---- the test event ---- */

/* The destination of the path, by the snapshot; NULL: refused. */
static const struct model_destination *find_destination(struct api_call *call) {
    const struct model_destination *destination =
        snapshot_destination_by_id(call->api->snapshot, call->params[0]);
    if (destination == NULL || destination->account != call->account) {
        api_refuse(call, 404, 20404, "there is no such destination");
        return NULL;
    }
    return destination;
}

/* What became of a test, on its way into the store. */
struct last_test {
    struct control_job job; /* first */
    uint32_t number;
    bool ok;
    size_t len;
    char json[];
};

static mr_err store_test(struct control *control, struct control_job *job) {
    struct last_test *test = (struct last_test *)(void *)job;
    MR_TRY(destinations_set_last_test(control, test->number, mr_str_of(test->json, test->len),
                                      &job->refusal));
    return destinations_set_status(control, test->number, test->ok ? MODEL_ACTIVE : MODEL_FAILED,
                                   MODEL_DISABLED_BY_NOBODY, &job->refusal);
}

static void test_stored(struct control_job *job) {
    mr_free(job);
}

static void keep_test(struct api *api, uint32_t number, bool ok, mr_str summary) {
    struct last_test *test = mr_alloc(sizeof *test + summary.len);
    if (test == NULL || summary.len == 0) {
        mr_free(test);
        return; /* the answer told it; only the list shows the older one */
    }
    *test = (struct last_test){
        .job = {.run = store_test, .done = test_stored, .reply_to = loop_mailbox(api->loop)},
        .number = number,
        .ok = ok,
        .len = summary.len};
    memcpy(test->json, summary.ptr, summary.len);
    control_submit(api->control, &test->job);
}

static void on_tested(void *ctx, bool ok, mr_str json, mr_str summary) {
    struct api_call *call = ctx;
    const uint32_t *number = call->user;
    keep_test(call->api, *number, ok, summary);
    if (json.len == 0 || mr_is_err(mr_buf_str(&call->out, json))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

/* {"event_type"} of the body, or none. False: refused. */
static bool take_test_type(struct api_call *call, const struct catalogue_type **ret_type) {
    *ret_type = NULL;
    if (call->body.len == 0) {
        return true;
    }
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    json_error error;
    bool ok = false;
    if (mr_is_err(json_tape_read(&tape, call->body, &error)) ||
        json_kind_of(json_root(&tape)) != JSON_OBJECT) {
        api_refuse(call, 400, 20400, "the body must be a JSON object");
    } else {
        json_value type = json_find(json_root(&tape), MR_STR("event_type"));
        size_t known = json_is_absent(type) ? 0 : 1;
        mr_str name = MR_STR_NONE;
        if (json_count(json_root(&tape)) != known) {
            api_refuse(call, 400, 20001, "unknown member; only event_type is known here");
        } else if (known == 0) {
            ok = true;
        } else if (mr_is_err(json_string(type, &call->arena, &name))) {
            api_refuse(call, 400, 20400, "event_type must be a string");
        } else {
            *ret_type = catalogue_type_find(snapshot_catalogue(call->api->snapshot), name);
            ok = *ret_type != NULL;
            if (!ok) {
                api_refuse(call, 400, 31003, "event_type is not in the catalogue");
            }
        }
    }
    json_tape_done(&tape);
    return ok;
}

void api_destination_test(struct api_call *call) {
    const struct catalogue_type *type;
    if (!api_require_json(call) || !api_query_take(call, NULL, NULL, 0) ||
        !take_test_type(call, &type)) {
        return;
    }
    const struct model_destination *destination = find_destination(call);
    if (destination == NULL) {
        return;
    }
    struct api *api = call->api;
    int64_t wait_ms = 0;
    if (!test_limits_take(api->test_limits, destination->object.number, loop_now(api->loop),
                          &wait_ms)) {
        struct refusal refusal;
        mr_ignore(refuse(&refusal, REFUSAL_TOO_MANY,
                         "a destination is tested ten times a minute "
                         "at most"),
                  "the refusal is what is wanted");
        refusal.retry_after_s = (int)(wait_ms / 1000) + 1;
        api_refuse_with(call, &refusal);
        return;
    }
    uint32_t *number = mr_arena_calloc(&call->arena, 1, sizeof *number);
    const struct model_account *account = snapshot_account(api->snapshot, call->account);
    if (number == NULL || account == NULL) {
        api_refuse_memory(call);
        return;
    }
    *number = destination->object.number;
    call->user = number;
    const struct test_spec spec = {.env = api->sink,
                                   .loop = api->loop,
                                   .destination =
                                       (struct model_destination *)(uintptr_t)destination,
                                   .secret = account->webhook_secret,
                                   .type = type,
                                   .public_url = api->public_url,
                                   .on_done = on_tested,
                                   .ctx = call};
    api_call_hold(call);
    if (mr_is_err(test_event_start(&spec))) {
        api_refuse_memory(call);
        api_call_release(call);
    }
}

/* ---- what the owning worker knows and does ---- */

/* A question to the worker that owns the destination, and its way back. */
struct owner_ask {
    struct mail mail; /* first */
    struct api_call *call;
    struct shard *shard;
    uint32_t number;
    /* discard */
    uint64_t before;
    mr_str *types;
    size_t n_types;
    uint64_t discarded;
    /* metrics */
    struct lane_stats stats;
    bool has_stats;
    struct book_destination row;
    struct keeper_query query;
};

static void send_to_owner(struct owner_ask *ask, void (*run)(struct mail *mail)) {
    struct api *api = ask->call->api;
    ask->shard = api->shards[shard_owner(ask->number, api->n_workers)];
    ask->mail.run = run;
    mailbox_post(loop_mailbox(ask->shard->options.loop), &ask->mail, api->metrics);
}

static void send_back(struct owner_ask *ask, void (*run)(struct mail *mail)) {
    ask->mail.run = run;
    mailbox_post(loop_mailbox(ask->call->api->loop), &ask->mail, NULL);
}

static void on_discard_answer(struct mail *mail) {
    struct owner_ask *ask = (struct owner_ask *)(void *)mail;
    struct api_call *call = ask->call;
    call->status = 202;
    if (mr_is_err(mr_buf_printf(&call->out, "{\"discarded\":%llu}",
                                (unsigned long long)ask->discarded))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

static void discard_there(struct mail *mail) {
    struct owner_ask *ask = (struct owner_ask *)(void *)mail;
    ask->discarded = shard_discard(ask->shard, ask->number, ask->before, ask->types, ask->n_types);
    send_back(ask, on_discard_answer);
}

static void on_discard_position(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    struct owner_ask *ask = query->user;
    if (mr_is_err(query->result)) {
        api_refuse(ask->call, 503, 20503, "cannot discard at the moment; try again");
        api_call_release(ask->call);
        return;
    }
    ask->before = query->position;
    send_to_owner(ask, discard_there);
}

static bool take_discard_types(struct api_call *call, json_value types, struct owner_ask *ask) {
    size_t n = json_count(types);
    if (json_kind_of(types) != JSON_ARRAY || n == 0 || n > 64) {
        api_refuse(call, 400, 20400, "types must be a list of 1 to 64 event types");
        return false;
    }
    ask->types = mr_arena_calloc(&call->arena, n, sizeof *ask->types);
    if (ask->types == NULL) {
        api_refuse_memory(call);
        return false;
    }
    for (json_iter it = json_iter_of(types); json_next(&it);) {
        if (mr_is_err(json_string(it.value, &call->arena, &ask->types[ask->n_types++]))) {
            api_refuse(call, 400, 20400, "types must be a list of strings");
            return false;
        }
    }
    return true;
}

/* {"before","types"}; *ret_before_ms INT64_MAX where absent. False: refused. */
static bool take_discard(struct api_call *call, json_value body, struct owner_ask *ask,
                         int64_t *ret_before_ms) {
    *ret_before_ms = INT64_MAX;
    if (json_kind_of(body) != JSON_OBJECT) {
        api_refuse(call, 400, 20400, "the body must be a JSON object");
        return false;
    }
    for (json_iter it = json_iter_of(body); json_next(&it);) {
        if (json_string_eq(it.name, MR_STR("before"))) {
            mr_str text;
            mr_wall before;
            if (mr_is_err(json_string(it.value, &call->arena, &text)) ||
                mr_is_err(mr_time_parse_rfc3339(text, &before))) {
                api_refuse(call, 400, 20400, "before must be an RFC 3339 date-time");
                return false;
            }
            *ret_before_ms = mr_wall_ms(before);
        } else if (json_string_eq(it.name, MR_STR("types"))) {
            if (!take_discard_types(call, it.value, ask)) {
                return false;
            }
        } else {
            api_refuse(call, 400, 20001, "unknown member; before and types are known here");
            return false;
        }
    }
    return true;
}

static void start_discard(struct api_call *call, struct owner_ask *ask, int64_t before_ms) {
    api_call_hold(call);
    if (before_ms == INT64_MAX) {
        ask->before = UINT64_MAX;
        send_to_owner(ask, discard_there);
        return;
    }
    ask->query = (struct keeper_query){.ask = KEEPER_ASK_DISCARD_BEFORE,
                                       .reply = loop_mailbox(call->api->loop),
                                       .on_done = on_discard_position,
                                       .user = ask,
                                       .destinations = &ask->number,
                                       .n = 1,
                                       .filter = {.to_ms = before_ms}};
    keeper_ask(call->api->keeper, &ask->query, call->api->metrics);
}

static struct owner_ask *owner_ask_new(struct api_call *call,
                                       const struct model_destination *destination) {
    struct owner_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return NULL;
    }
    ask->call = call;
    ask->number = destination->object.number;
    return ask;
}

void api_destination_discard(struct api_call *call) {
    if (!api_require_json(call) || !api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    const struct model_destination *destination = find_destination(call);
    struct owner_ask *ask = destination == NULL ? NULL : owner_ask_new(call, destination);
    if (ask == NULL) {
        return;
    }
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    json_error error;
    int64_t before_ms;
    bool ok = false;
    if (mr_is_err(json_tape_read(&tape, call->body.len > 0 ? call->body : MR_STR("{}"), &error))) {
        api_refuse(call, 400, 20400, "the body is not JSON: at byte %zu, expected %s", error.offset,
                   error.expected);
    } else {
        ok = take_discard(call, json_root(&tape), ask, &before_ms);
    }
    json_tape_done(&tape);
    if (ok) {
        start_discard(call, ask, before_ms);
    }
}

static mr_err write_metrics(struct api_call *call, const struct owner_ask *ask) {
    static const char *const health[] = {
        [LANE_ACTIVE] = "active", [LANE_FAILED] = "failed", [LANE_DISABLED] = "disabled"};
    struct destination_counters c = counters_of(&ask->row);
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    json_out_member_str(&o, "destination_id", call->params[0]);
    json_out_member_object(&o, "counters");
    json_out_member_u64(&o, "pending", c.pending);
    json_out_member_u64(&o, "delivered", c.delivered);
    json_out_member_u64(&o, "dead", c.dead);
    json_out_member_u64(&o, "discarded", c.discarded);
    json_out_member_u64(&o, "skipped", c.skipped);
    json_out_member_u64(&o, "failed_attempts", c.failed_attempts);
    json_out_end(&o);
    json_out_member_object(&o, "lane");
    json_out_member_c(&o, "health", health[ask->stats.health]);
    json_out_member_bool(&o, "probing", ask->stats.probing);
    json_out_member_bool(&o, "single", ask->stats.single);
    json_out_member_u64(&o, "window", ask->stats.window);
    json_out_member_u64(&o, "in_flight", ask->stats.flying);
    json_out_member_u64(&o, "open_requests", ask->stats.open);
    json_out_member_u64(&o, "waiting", ask->stats.backlog);
    json_out_member_u64(&o, "waiting_bytes", ask->stats.backlog_bytes);
    char text[MR_TIME_TEXT_SIZE];
    if (ask->stats.failing_since_ms > 0) {
        mr_time_format_ms(mr_wall_of_ms(ask->stats.failing_since_ms), text);
        json_out_member_c(&o, "failing_since", text);
    } else {
        json_out_member_null(&o, "failing_since");
    }
    json_out_end(&o);
    json_out_end(&o);
    return json_out_finish(&o);
}

static void on_stats(struct mail *mail) {
    struct owner_ask *ask = (struct owner_ask *)(void *)mail;
    if (mr_is_err(write_metrics(ask->call, ask))) {
        api_refuse_memory(ask->call);
    } else {
        api_answer(ask->call);
    }
    api_call_release(ask->call);
}

static void stats_there(struct mail *mail) {
    struct owner_ask *ask = (struct owner_ask *)(void *)mail;
    ask->has_stats = shard_lane_stats(ask->shard, ask->number, &ask->stats);
    send_back(ask, on_stats);
}

static void on_row(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    struct owner_ask *ask = query->user;
    if (mr_is_err(query->result)) {
        api_refuse(ask->call, 503, 20503, "the counters cannot be read at the moment; try again");
        api_call_release(ask->call);
        return;
    }
    send_to_owner(ask, stats_there);
}

void api_destination_metrics(struct api_call *call) {
    if (!api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    const struct model_destination *destination = find_destination(call);
    struct owner_ask *ask = destination == NULL ? NULL : owner_ask_new(call, destination);
    if (ask == NULL) {
        return;
    }
    ask->query = (struct keeper_query){.ask = KEEPER_ASK_DESTINATION,
                                       .reply = loop_mailbox(call->api->loop),
                                       .on_done = on_row,
                                       .user = ask,
                                       .destinations = &ask->number,
                                       .rows = &ask->row,
                                       .n = 1};
    api_call_hold(call);
    keeper_ask(call->api->keeper, &ask->query, call->api->metrics);
}
