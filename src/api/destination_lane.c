/* What the worker that owns a destination knows and does: discarding what waits, and the state of
 * the lane for the metrics. The question goes to the owner's mailbox and comes back to the worker
 * that has the call. */
#include "api/destinations.h"

#include "json/write.h"

#define DISCARD_TYPES_MAX 64

/* A question to the worker that owns the destination, and its way back. */
struct owner_ask {
    struct mail mail; /* first */
    struct api_call *call;
    struct shard *shard;
    uint32_t number;
    /* discard */
    int64_t before_ms; /* INT64_MAX: all */
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

static const struct shape_member discard_members[] = {
    {"before", SHAPE_TIME, 0, .what = "Only what was accepted before; else all"},
    {"types", SHAPE_TEXTS, 0, 1, DISCARD_TYPES_MAX, .what = "Only these event types; else all"},
};
static const struct shape discard_shape = {"Discard", discard_members,
                                           sizeof discard_members / sizeof discard_members[0]};
static const struct shape_member discarded_members[] = {
    {"discarded", SHAPE_NUMBER, 0, .what = "Deliveries that were pending and are no more"},
};
static const struct shape discard_answer = {"Discarded", discarded_members,
                                            sizeof discarded_members / sizeof discarded_members[0]};
const struct api_doc api_doc_DESTINATION_DISCARD = {.summary = "Discard what is pending",
                                                    .media = API_MEDIA_JSON,
                                                    .body = &discard_shape,
                                                    .flags = API_DOC_BODY_OPTIONAL,
                                                    .status = 202,
                                                    .answer = &discard_answer};

/* Of a judged body; *ret_before_ms INT64_MAX where absent. MR_E_NOMEM. */
static mr_err read_discard(struct api_call *call, json_value body, struct owner_ask *ask,
                           int64_t *ret_before_ms) {
    json_value types = shape_value(body, "types");
    mr_str text = MR_STR_NONE;
    mr_wall before;
    *ret_before_ms = INT64_MAX;
    MR_TRY(shape_text(body, "before", &call->arena, &text));
    if (!mr_str_is_absent(text)) {
        MR_TRY(mr_time_parse_rfc3339(text, &before));
        *ret_before_ms = mr_wall_ms(before);
    }
    if (json_is_absent(types)) {
        return MR_OK;
    }
    ask->types = mr_arena_calloc(&call->arena, json_count(types), sizeof *ask->types);
    if (ask->types == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (json_iter it = json_iter_of(types); json_next(&it);) {
        mr_str type;
        MR_TRY(json_string(it.value, &call->arena, &type));
        ask->types[ask->n_types] = mr_arena_str(&call->arena, type);
        if (mr_str_is_absent(ask->types[ask->n_types++])) {
            return MR_ERR(MR_E_NOMEM);
        }
    }
    return MR_OK;
}

static bool take_discard(struct api_call *call, json_value body, struct owner_ask *ask,
                         int64_t *ret_before_ms) {
    if (mr_is_err(read_discard(call, body, ask, ret_before_ms))) {
        api_refuse_memory(call);
        return false;
    }
    return true;
}

static void start_discard(struct api_call *call) {
    struct owner_ask *ask = call->ask;
    api_call_hold(call);
    if (ask->before_ms == INT64_MAX) {
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
                                       .filter = {.to_ms = ask->before_ms}};
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
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    const struct model_destination *destination = api_destination_find(call);
    struct owner_ask *ask = destination == NULL ? NULL : owner_ask_new(call, destination);
    if (ask == NULL) {
        return;
    }
    json_tape tape;
    bool ok = api_body_take(call, api_body_or_object(call), &tape) &&
              take_discard(call, json_root(&tape), ask, &ask->before_ms);
    json_tape_done(&tape);
    if (ok) {
        call->ask = ask;
        api_audit_then(call, "destination.discard", call->params[0], start_discard);
    }
}

static const char *const health_names[] = {
    [LANE_ACTIVE] = "active", [LANE_FAILED] = "failed", [LANE_DISABLED] = "disabled"};

static const struct shape_member lane_members[] = {
    {"health", SHAPE_ENUM, 0, .names = health_names,
     .n_names = sizeof health_names / sizeof health_names[0]},
    {"probing", SHAPE_BOOL, 0, .what = "One request at a time, for all before failed"},
    {"single", SHAPE_BOOL, 0, .what = "Events go singly, for batches were refused"},
    {"window", SHAPE_NUMBER, 0, .what = "Requests that may be under way"},
    {"in_flight", .kind = SHAPE_NUMBER},
    {"open_requests", .kind = SHAPE_NUMBER},
    {"waiting", SHAPE_NUMBER, 0, .what = "Events that wait in memory"},
    {"waiting_bytes", .kind = SHAPE_NUMBER},
    {"failing_since", SHAPE_TIME, .flags = SHAPE_NULLABLE},
};
static const struct shape lane_answer = {"Lane", lane_members,
                                         sizeof lane_members / sizeof lane_members[0]};
static const struct shape_member metrics_members[] = {
    {"destination_id", .kind = SHAPE_TEXT},
    {"counters", SHAPE_INNER, 0, .inner = &destination_counters_answer},
    {"lane", SHAPE_INNER, 0, .inner = &lane_answer},
};
static const struct shape metrics_answer = {"DestinationMetrics", metrics_members,
                                            sizeof metrics_members / sizeof metrics_members[0]};
const struct api_doc api_doc_DESTINATION_METRICS = {
    .summary = "Read counters and the state of sending", .status = 200, .answer = &metrics_answer};

static mr_err write_metrics(struct api_call *call, const struct owner_ask *ask) {
    struct destination_counters counters = api_counters_of(&ask->row);
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    json_out_member_str(&o, "destination_id", call->params[0]);
    destination_write_counters(&counters, &o);
    json_out_member_object(&o, "lane");
    json_out_member_c(&o, "health", health_names[ask->stats.health]);
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
    if (!api_query_take(call, NULL)) {
        return;
    }
    const struct model_destination *destination = api_destination_find(call);
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
