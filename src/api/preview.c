/* Trying a streaming rule out: which events would it take, and why not the others?
 *
 *   control thread: judge the draft ─▶ disk reader: given events, or find the last stored ones ─▶
 *   evaluate ─▶ answer
 *
 * The work that waits for the disk or takes long is done by a disk reader, in steps: between two of
 * them the lanes' reads get their turn, and a client that is gone ends it. The draft is compiled
 * into an index of its own, and events go through the very code that ingest uses (route_match over
 * route_content_fill); only where that says no, the reason is looked for. */
#include "api/call.h"
#include "api/stored.h"

#include "control/rules.h"
#include "event/envelope.h"
#include "json/write.h"
#include "ledger/record.h"
#include "route/content.h"
#include "route/route.h"

#define PREVIEWS_MAX     4U                /* of one worker at once */
#define PAYLOADS_MAX     10U               /* matching events that are shown whole */
#define PAYLOADS_BYTES   ((size_t)1 << 20) /* of them together */
#define STEP_EVENTS      64U
#define STEP_FILTER      ROUTE_STEPS_MAX /* filter steps: some 40 ms at worst */
#define STEP_BYTES       ((size_t)4 << 20)
#define EVENT_BYTES_SLOP ((size_t)64 << 10) /* what completing an envelope may add */
#define LIST_BYTES_MAX   (API_ANSWER_MAX / 2 - 65536)
#define TRIAL_RULE       1U

enum reason {
    REASON_TYPE = 0,
    REASON_PRODUCT_GROUP,
    REASON_FILTER,
    REASON_SAMPLING,
    REASON_DISABLED,
    REASON_COUNT,
};
static const char *const reason_names[REASON_COUNT] = {"type", "product_group", "filter",
                                                       "sampling", "disabled"};

struct preview {
    struct payload_task task; /* first */
    struct api_call *call;
    /* set before the reader works */
    struct rule_draft draft;
    mr_str given; /* draft.events */
    struct snapshot *snapshot;
    const struct catalogue *catalogue;
    struct event_catalogue for_events;
    struct event_place place;
    /* reader only, while it works */
    struct event_limits limits;
    struct route_index *index;
    struct event_parser parser;
    struct route_content content;
    struct filter_run *run;
    struct route_result routes;
    struct stored_search search;
    mr_buf record;            /* of the journal */
    struct event_batch batch; /* the given events, in the parser */
    size_t n_evaluated;
    uint64_t n_filter_steps; /* in the present step of the task */
    bool is_found;           /* the stored events are known */
    bool is_started;         /* what the reader makes is there */
    /* what came out */
    mr_buf why; /* of the present event */
    mr_buf matches_json;
    mr_buf misses_json;
    json_out matches;
    json_out misses;
    size_t n_events, n_matched, n_unreadable, n_errors;
    size_t reasons[REASON_COUNT];
    size_t n_payloads, payload_bytes;
    mr_err err;
    struct refusal refusal;
    bool is_done;
};

/* ---- one event ---- */

static bool names_type(const struct rule_draft *draft, mr_str type) {
    for (size_t i = 0; i < draft->n_types; i++) {
        if (mr_str_eq(draft->types[i].type, type)) {
            return true;
        }
    }
    return false;
}

/* Why the index does not take it; the text goes to preview->why. */
static mr_err find_reason(struct preview *preview, const struct event *event, mr_str group,
                          bool is_matched, enum reason *ret_reason) {
    const struct rule_draft *draft = &preview->draft;
    mr_buf *why = &preview->why;
    bool has_star = names_type(draft, MR_STR("*"));
    bool in_group = has_star && mr_str_eq(group, draft->product_group);
    mr_buf_reset(why);
    if (is_matched) {
        *ret_reason = REASON_DISABLED;
        return mr_buf_str(why, MR_STR("The rule is disabled."));
    }
    if (!names_type(draft, event->type) && !has_star) {
        *ret_reason = REASON_TYPE;
        return mr_buf_printf(why, "The rule does not name the type %.*s.", MR_FMT(event->type));
    }
    if (!names_type(draft, event->type) && !in_group) {
        *ret_reason = REASON_PRODUCT_GROUP;
        if (mr_str_is_absent(group)) {
            return mr_buf_str(why, MR_STR("The catalogue does not have the type, so it belongs to "
                                          "no product group."));
        }
        return mr_buf_printf(why, "The type belongs to %.*s; the rule takes the types of %.*s.",
                             MR_FMT(group), MR_FMT(draft->product_group));
    }
    /* The index has one filter at most, and it was not evaluated where its key is not there. */
    const struct route_filter *filter = route_index_filter(preview->index);
    bool failed = false;
    if (filter != NULL &&
        !filter_matches(filter->filter, &preview->content.event, preview->run, &failed)) {
        *ret_reason = REASON_FILTER;
        return filter_why_not(filter->filter, &preview->content.event, preview->run, why);
    }
    *ret_reason = REASON_SAMPLING;
    return mr_buf_printf(why, "One event in %u is taken, by the hash of its id; this one is not.",
                         draft->sampling);
}

static void write_version(json_out *o, const char *name, uint32_t version) {
    if (version == 0) {
        json_out_member_null(o, name);
    } else {
        json_out_member_u64(o, name, version);
    }
}

/* id, source, type and time, as filters saw them. */
static void write_head(const struct preview *preview, json_out *o) {
    static const char *const names[] = {"id", "source", "type", "time"};
    const struct filter_event *event = &preview->content.event;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t k = 0; k < event->n_attributes; k++) {
            if (mr_str_eq(event->attributes[k].name, mr_str_c(names[i]))) {
                json_out_member_str(o, names[i], event->attributes[k].text);
            }
        }
    }
}

static void add_match(struct preview *preview, uint32_t version, mr_str envelope) {
    json_out *o = &preview->matches;
    json_out_object(o);
    write_head(preview, o);
    write_version(o, "schema_version", version);
    write_version(o, "delivered_version", preview->routes.targets[0].version);
    if (preview->n_payloads < PAYLOADS_MAX &&
        preview->payload_bytes + envelope.len <= PAYLOADS_BYTES) {
        json_out_member_raw(o, "event", envelope);
        preview->n_payloads++;
        preview->payload_bytes += envelope.len;
    }
    json_out_end(o);
    preview->n_matched++;
}

static void add_miss(struct preview *preview, enum reason reason) {
    json_out *o = &preview->misses;
    json_out_object(o);
    write_head(preview, o);
    json_out_member_c(o, "reason", reason_names[reason]);
    json_out_member_str(o, "detail", mr_buf_view(&preview->why));
    json_out_end(o);
    preview->reasons[reason]++;
}

static mr_err evaluate(struct preview *preview, const struct event *event,
                       const struct event_resolution *resolution, mr_str envelope) {
    const struct catalogue_type *type = catalogue_type_find(preview->catalogue, event->type);
    const struct route_event route = {.account = preview->call->account,
                                      .version = (uint16_t)resolution->version,
                                      .type = event->type,
                                      .product_group =
                                          type != NULL ? type->product_group : MR_STR_NONE,
                                      .id_hash = route_id_hash(event->id),
                                      .content = &preview->content.event,
                                      .run = preview->run};
    MR_TRY(route_content_fill(&preview->content, event, resolution, &preview->place));
    MR_TRY(route_match(preview->index, &route, &preview->routes));
    preview->n_events++;
    preview->n_errors += preview->routes.n_filter_errors;
    preview->n_filter_steps += preview->routes.n_steps;
    bool is_matched = preview->routes.n_targets > 0;
    if (is_matched && preview->draft.is_enabled) {
        add_match(preview, resolution->version, envelope);
        return MR_OK;
    }
    enum reason reason;
    MR_TRY(find_reason(preview, event, route.product_group, is_matched, &reason));
    add_miss(preview, reason);
    return MR_OK;
}

/* ---- given events ---- */

static mr_err refuse_event(struct preview *preview, const struct event_errors *errors) {
    const struct event_error *first = errors->len > 0 ? &errors->ptr[0] : NULL;
    if (first == NULL) {
        return refuse(&preview->refusal, REFUSAL_ENVELOPE, "events: one of them is no event.");
    }
    return refuse(&preview->refusal,
                  strcmp(first->rule, "dataschema") == 0 ? REFUSAL_SCHEMA : REFUSAL_ENVELOPE,
                  "events: number %u, at \"%.*s\": %.*s", first->index, MR_FMT(first->pointer),
                  MR_FMT(first->message));
}

static mr_err parse(struct preview *preview, const char *media, mr_str body,
                    struct event_batch *ret_batch) {
    const mr_field field = {MR_STR("content-type"), mr_str_c(media)};
    return event_parse(&preview->parser, (mr_fields){&field, 1}, body, ret_batch);
}

/* Whether the step has done what the thread may be held for. */
static bool is_step_full(const struct preview *preview, size_t n, size_t bytes) {
    return n >= STEP_EVENTS || bytes >= STEP_BYTES || preview->n_filter_steps >= STEP_FILTER;
}

static mr_err read_given(struct preview *preview) {
    MR_TRY(parse(preview, "application/cloudevents-batch+json", preview->given, &preview->batch));
    return preview->batch.errors.http_status != 0 ? refuse_event(preview, &preview->batch.errors)
                                                  : MR_OK;
}

static mr_err evaluate_given(struct preview *preview) {
    struct event_batch *batch = &preview->batch;
    size_t bytes = 0;
    for (size_t n = 0; !is_step_full(preview, n, bytes); n++) {
        if (preview->n_evaluated == batch->len) {
            preview->is_done = true;
            return MR_OK;
        }
        struct event_resolution resolution;
        size_t at = preview->n_evaluated++;
        const struct event *event = &batch->ptr[at];
        if (!event_resolve(event, (uint32_t)at, &preview->place, &batch->errors, &resolution)) {
            return refuse_event(preview, &batch->errors);
        }
        bytes += event->content.len;
        MR_TRY(evaluate(preview, event, &resolution, event->content));
    }
    return MR_OK;
}

/* ---- stored events ---- */

/* A stored event is complete: its dataschema stands as it is, its version in the record. */
static mr_err evaluate_stored(struct preview *preview, mr_str body) {
    struct record_event record;
    struct event_batch batch;
    if (mr_is_err(record_event_decode(body, &record))) {
        preview->n_unreadable++;
        return MR_OK;
    }
    MR_TRY(parse(preview, "application/cloudevents+json", record.envelope, &batch));
    if (batch.errors.http_status != 0 || batch.len != 1) {
        preview->n_unreadable++;
        return MR_OK;
    }
    const struct event *event = &batch.ptr[0];
    const struct event_resolution resolution = {
        .form = mr_str_is_absent(event->dataschema) ? EVENT_SCHEMA_NONE : EVENT_SCHEMA_FOREIGN,
        .version = record.schema_version};
    return evaluate(preview, event, &resolution, record.envelope);
}

static mr_err evaluate_some(struct preview *preview) {
    size_t bytes = 0;
    for (size_t n = 0; !is_step_full(preview, n, bytes); n++) {
        if (preview->n_evaluated == preview->search.n) {
            preview->is_done = true;
            return MR_OK;
        }
        struct journal_record record;
        mr_buf_reset(&preview->record);
        mr_err err =
            journal_read(preview->search.journal, preview->search.positions[preview->n_evaluated++],
                         0, OS_READ_WAIT, &preview->record, &record);
        if (mr_err_is(err, MR_E_NOMEM)) {
            return err;
        }
        if (mr_is_err(err)) {
            preview->n_unreadable++;
            continue;
        }
        bytes += record.body.len;
        MR_TRY(evaluate_stored(preview, record.body));
    }
    return MR_OK;
}

/* ---- in a disk reader's thread ---- */

static mr_err make_index(struct preview *preview) {
    const struct rule_draft *draft = &preview->draft;
    struct route_filter *filter = NULL;
    struct filter_fault fault;
    if (!mr_str_is_absent(draft->filter_json)) {
        MR_TRY(route_filter_new(draft->filter_json, &filter, &fault));
    }
    struct route_type *types =
        mr_arena_calloc(&preview->call->arena, draft->n_types, sizeof *types);
    mr_err err = MR_ERR(MR_E_NOMEM);
    if (types != NULL) {
        for (size_t i = 0; i < draft->n_types; i++) {
            types[i] =
                (struct route_type){draft->types[i].type, (uint16_t)draft->types[i].schema_version};
        }
        const struct route_rule rule = {.number = TRIAL_RULE,
                                        .account = preview->call->account,
                                        .destination = 1,
                                        .sampling = draft->sampling,
                                        .enabled = true,
                                        .product_group = draft->product_group,
                                        .types = types,
                                        .n_types = draft->n_types,
                                        .filter = filter};
        err = route_index_new(&rule, 1, &preview->index);
    }
    route_filter_unref(filter);
    return err;
}

static mr_err begin(struct preview *preview) {
    preview->is_started = true;
    preview->limits.event_bytes_max += EVENT_BYTES_SLOP;
    event_parser_init(&preview->parser, &preview->limits);
    route_content_init(&preview->content);
    route_result_init(&preview->routes);
    mr_buf_init(&preview->record, PAYLOAD_SCRATCH_MAX);
    mr_buf_init(&preview->why, LIST_BYTES_MAX);
    mr_buf_init(&preview->matches_json, LIST_BYTES_MAX);
    mr_buf_init(&preview->misses_json, LIST_BYTES_MAX);
    json_out_init(&preview->matches, &preview->matches_json);
    json_out_init(&preview->misses, &preview->misses_json);
    json_out_array(&preview->matches);
    json_out_array(&preview->misses);
    MR_TRY(filter_run_new(&preview->run));
    MR_TRY(make_index(preview));
    if (!mr_str_is_absent(preview->given)) {
        return read_given(preview);
    }
    return stored_search_init(&preview->search, preview->call->api->journal,
                              preview->call->account);
}

static mr_err step(struct preview *preview) {
    if (!preview->is_started) {
        MR_TRY(begin(preview));
    }
    preview->n_filter_steps = 0;
    if (!mr_str_is_absent(preview->given)) {
        return evaluate_given(preview);
    }
    return preview->is_found ? evaluate_some(preview)
                             : stored_search_step(&preview->search, &preview->is_found);
}

static void run_step(struct payload_task *task) {
    struct preview *preview = (struct preview *)(void *)task;
    preview->err = step(preview);
}

/* ---- on the worker ---- */

static const struct shape_member match_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"source", .kind = SHAPE_TEXT},
    {"type", .kind = SHAPE_TEXT},
    {"time", SHAPE_TEXT, .flags = SHAPE_OPTIONAL},
    {"schema_version", SHAPE_NUMBER, .flags = SHAPE_NULLABLE},
    {"delivered_version", SHAPE_NUMBER, .flags = SHAPE_NULLABLE},
    {"event", SHAPE_OBJECT, SHAPE_OPTIONAL, .what = "Of the first ones"},
};
static const struct shape match_answer = {"PreviewMatch", match_members,
                                          sizeof match_members / sizeof match_members[0]};
static const struct shape_member miss_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"source", .kind = SHAPE_TEXT},
    {"type", .kind = SHAPE_TEXT},
    {"time", SHAPE_TEXT, .flags = SHAPE_OPTIONAL},
    {"reason", SHAPE_ENUM, 0, .names = reason_names, .n_names = REASON_COUNT},
    {"detail", .kind = SHAPE_TEXT},
};
static const struct shape miss_answer = {"PreviewMiss", miss_members,
                                         sizeof miss_members / sizeof miss_members[0]};
static const char *const source_names[] = {"stored", "given"};
static const struct shape_member preview_members[] = {
    {"source", SHAPE_ENUM, 0, .names = source_names, .n_names = 2},
    {"is_complete", SHAPE_BOOL, 0, .what = "false: older events were not looked at"},
    {"events", .kind = SHAPE_NUMBER},
    {"matched", .kind = SHAPE_NUMBER},
    {"not_matched", .kind = SHAPE_NUMBER},
    {"unreadable", .kind = SHAPE_NUMBER},
    {"filter_errors", .kind = SHAPE_NUMBER},
    {"reasons", SHAPE_OWN, 0,
     .schema = "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}"},
    {"matches", SHAPE_INNERS, 0, .inner = &match_answer},
    {"misses", SHAPE_INNERS, 0, .inner = &miss_answer},
};
static const struct shape preview_answer = {"Preview", preview_members,
                                            sizeof preview_members / sizeof preview_members[0]};
const struct api_doc api_doc_RULES_PREVIEW = {
    .summary = "Try a streaming rule out",
    .what = "On the given events, else on the last 1,000 stored ones, for which it needs Read.",
    .media = API_MEDIA_JSON,
    .body = &rule_preview_shape,
    .status = 200,
    .answer = &preview_answer,
    API_REFUSALS(429)};

static void write_reasons(const struct preview *preview, json_out *o) {
    json_out_member_object(o, "reasons");
    for (size_t i = 0; i < REASON_COUNT; i++) {
        json_out_member_u64(o, reason_names[i], preview->reasons[i]);
    }
    json_out_end(o);
}

static mr_err write_answer(struct preview *preview, mr_buf *out) {
    bool is_given = !mr_str_is_absent(preview->given);
    json_out o;
    json_out_end(&preview->matches);
    json_out_end(&preview->misses);
    MR_TRY(json_out_finish(&preview->matches));
    MR_TRY(json_out_finish(&preview->misses));
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_member_c(&o, "source", source_names[is_given]);
    json_out_member_bool(&o, "is_complete", is_given || preview->search.is_complete);
    json_out_member_u64(&o, "events", preview->n_events);
    json_out_member_u64(&o, "matched", preview->n_matched);
    json_out_member_u64(&o, "not_matched", preview->n_events - preview->n_matched);
    json_out_member_u64(&o, "unreadable", preview->n_unreadable);
    json_out_member_u64(&o, "filter_errors", preview->n_errors);
    write_reasons(preview, &o);
    json_out_member_raw(&o, "matches", mr_buf_view(&preview->matches_json));
    json_out_member_raw(&o, "misses", mr_buf_view(&preview->misses_json));
    json_out_end(&o);
    return json_out_finish(&o);
}

static void preview_done(struct preview *preview) {
    snapshot_unref(preview->snapshot);
    if (!preview->is_started) {
        return;
    }
    event_parser_done(&preview->parser);
    route_content_done(&preview->content);
    route_result_done(&preview->routes);
    route_index_free(preview->index);
    filter_run_free(preview->run);
    stored_search_done(&preview->search);
    mr_buf_done(&preview->record);
    mr_buf_done(&preview->why);
    mr_buf_done(&preview->matches_json);
    mr_buf_done(&preview->misses_json);
}

/* Ends it with an answer, or with the refusal that preview->err tells of. */
static void finish(struct preview *preview) {
    struct api_call *call = preview->call;
    mr_err err = preview->err;
    if (mr_is_ok(err)) {
        err = write_answer(preview, &call->out);
    }
    call->api->previews--;
    preview_done(preview);
    if (mr_is_ok(err)) {
        api_answer(call);
    } else if (mr_err_is(err, CONTROL_E_REFUSED)) {
        api_refuse_with(call, &preview->refusal);
    } else if (mr_err_is(err, MR_E_NOMEM)) {
        api_refuse_memory(call);
    } else if (mr_err_is(err, MR_E_LIMIT)) {
        api_refuse(call, 413, 20413, "the answer would be too large; send fewer events");
    } else {
        api_refuse(call, 503, 20503, "stored events cannot be read at the moment; try again");
    }
    api_call_release(call);
}

static void on_step(struct payload_task *task) {
    struct preview *preview = (struct preview *)(void *)task;
    if (mr_is_ok(preview->err) && !preview->is_done && preview->call->ex != NULL) {
        payload_task_start(preview->call->api->readers, task);
    } else {
        finish(preview);
    }
}

static void start(struct api_call *call) {
    struct preview *preview = call->ask;
    struct api *api = call->api;
    if (api->previews >= PREVIEWS_MAX) {
        api_refuse(call, 429, 20429, "%u previews are running already; try again", PREVIEWS_MAX);
        return;
    }
    api->previews++;
    preview->snapshot = snapshot_ref(api->snapshot);
    preview->catalogue = snapshot_catalogue(api->snapshot);
    preview->for_events = catalogue_for_events(preview->catalogue);
    preview->limits = api->limits;
    preview->place = (struct event_place){.received = loop_wall(api->loop),
                                          .public_url = api->public_url,
                                          .aliases = api->aliases,
                                          .aliases_len = api->n_aliases,
                                          .catalogue = &preview->for_events};
    preview->task.reply = loop_mailbox(api->loop);
    preview->task.run = run_step;
    preview->task.on_done = on_step;
    api_call_hold(call); /* goes with the task */
    payload_task_start(api->readers, &preview->task);
}

/* Control thread. */
static mr_err judge(struct control *control, struct api_call *call) {
    struct preview *preview = call->ask;
    MR_TRY(rules_draft(control, call->account, call->body, &call->arena, &preview->draft,
                       &call->job.refusal));
    preview->given = preview->draft.events;
    if (mr_str_is_absent(preview->given) &&
        !auth_scopes_allow(&call->scopes, AUTH_RES_EVENT_STREAMS, AUTH_READ)) {
        return refuse(&call->job.refusal, REFUSAL_DENIED,
                      "Without events of its own a preview shows stored ones: that needs Read on "
                      "Event Streams.");
    }
    return MR_OK;
}

void api_rules_preview(struct api_call *call) {
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    struct preview *preview = mr_arena_calloc(&call->arena, 1, sizeof *preview);
    if (preview == NULL) {
        api_refuse_memory(call);
        return;
    }
    preview->call = call;
    call->ask = preview;
    call->status = 200;
    api_submit(call, judge, start);
}
