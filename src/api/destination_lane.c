/* What the worker that owns a destination knows and does: discarding what waits, and the state of
 * the lane for the metrics. The question goes to the owner's mailbox and comes back to the worker
 * that has the call. */
#include "api/destinations.h"

#include "json/write.h"

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
        } else if (!take_discard_types(call, it.value, ask)) {
            return false;
        }
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
    static const char *const names[] = {"before", "types"};
    if (!api_require_json(call) || !api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    const struct model_destination *destination = api_destination_find(call);
    struct owner_ask *ask = destination == NULL ? NULL : owner_ask_new(call, destination);
    if (ask == NULL) {
        return;
    }
    json_tape tape;
    bool ok = api_body_take(call, api_body_or_object(call), names, 2, &tape) &&
              take_discard(call, json_root(&tape), ask, &ask->before_ms);
    json_tape_done(&tape);
    if (ok) {
        call->ask = ask;
        api_audit_then(call, "destination.discard", call->params[0], start_discard);
    }
}

static mr_err write_metrics(struct api_call *call, const struct owner_ask *ask) {
    static const char *const health[] = {
        [LANE_ACTIVE] = "active", [LANE_FAILED] = "failed", [LANE_DISABLED] = "disabled"};
    struct destination_counters counters = api_counters_of(&ask->row);
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    json_out_member_str(&o, "destination_id", call->params[0]);
    destination_write_counters(&counters, &o);
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
