/* Destinations over HTTP: created, listed, read, changed, deleted. The store's part is a job of the
 * control thread; counters come from the keeper after it. */
#include "api/destinations.h"

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
    call->ask = ask;
    return ask;
}

/* ---- counters ---- */

struct destination_counters api_counters_of(const struct book_destination *row) {
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
    struct destination_ask *ask = call->ask;
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    if (ask->is_list) {
        json_out_member_array(&o, "data");
        for (size_t i = 0; i < ask->n; i++) {
            struct destination_counters counters = api_counters_of(&ask->rows[i]);
            json_out_object(&o);
            destination_write_members(&ask->views[i], &counters, &o);
            json_out_end(&o);
        }
        json_out_end(&o);
        json_out_member_object(&o, "meta_data");
        control_page_write(&ask->page, ask->count, api_list_url(call), &o);
        json_out_end(&o);
    } else {
        struct destination_counters counters = api_counters_of(&ask->rows[0]);
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
    struct destination_ask *ask = call->ask;
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
    struct destination_ask *ask = call->ask;
    return destinations_list(control, call->account, ask->status, ask->kind, ask->page,
                             &call->arena, &ask->views, &ask->n, &ask->count, &call->job.refusal);
}

static const struct api_param list_params[] = {
    {"status", API_PARAM_ENUM, .names = destination_status_names, .n_names = DESTINATION_STATUSES,
     .what = "Only those in this state"},
    {"kind", API_PARAM_ENUM, .names = destination_kind_names, .n_names = DESTINATION_KINDS,
     .what = "Only those of this kind"},
    API_PARAM_PAGE_SIZE,
    API_PARAM_PAGE_NUMBER,
};
const struct api_doc api_doc_DESTINATIONS_LIST = {.summary = "List destinations",
                                                  API_QUERY(list_params),
                                                  .flags = API_DOC_LIST,
                                                  .status = 200,
                                                  .answer = &destination_answer};

void api_destinations_list(struct api_call *call) {
    mr_str values[4];
    if (!api_query_take(call, values)) {
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
    struct destination_ask *ask = call->ask;
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

const struct api_doc api_doc_DESTINATIONS_CREATE = {.summary = "Create a destination",
                                                    .media = API_MEDIA_JSON,
                                                    .body = &destination_shape,
                                                    .flags = API_DOC_ETAG | API_DOC_LOCATION,
                                                    .status = 201,
                                                    .answer = &destination_answer};

void api_destinations_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL) && ask_new(call) != NULL) {
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

const struct api_doc api_doc_DESTINATION_GET = {.summary = "Read a destination",
                                                .flags = API_DOC_ETAG,
                                                .status = 200,
                                                .answer = &destination_answer};

void api_destination_get(struct api_call *call) {
    if (api_query_take(call, NULL) && ask_new(call) != NULL) {
        api_submit(call, get, ask_counters);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    struct destination_ask *ask = call->ask;
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

const struct api_doc api_doc_DESTINATION_PATCH = {
    .summary = "Change a destination",
    .what =
        "A write-only value given as \"[redacted]\" stays as it is. The kind cannot be changed.",
    .media = API_MEDIA_JSON | API_MEDIA_MERGE,
    .body = &destination_shape,
    .use = SHAPE_CHANGE,
    .flags = API_DOC_ETAG,
    .status = 200,
    .answer = &destination_answer};

void api_destination_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL) && ask_new(call) != NULL) {
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

const struct api_doc api_doc_DESTINATION_DELETE = {
    .summary = "Delete a destination",
    .what = "Refused while streaming rules lead to it. What is pending is discarded.",
    .status = 204,
    API_REFUSALS(409)};

void api_destination_delete(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, delete_destination, NULL);
    }
}

/* ---- for the other chapters ---- */

const struct model_destination *api_destination_find(struct api_call *call) {
    const struct model_destination *destination =
        snapshot_destination_by_id(call->api->snapshot, call->params[0]);
    if (destination == NULL || destination->account != call->account) {
        api_refuse(call, 404, 20404, "there is no such destination");
        return NULL;
    }
    return destination;
}
