/* Callbacks over HTTP: taken into the journal, told by the keeper.
 *
 * Nothing of a callback is an object of the store: its record is one unit for the writer, and the
 * answer leaves when that is durable, like an event's. The worker that has the account's callbacks
 * sees the unit's slab and sends it. */
#include "api/callbacks.h"

#include "crypto/ids.h"
#include "dispatch/callbacks/callbacks.h"
#include "json/write.h"

#include <stdio.h>

#define TEXT_BYTES_MAX ((size_t)4 << 20) /* URLs and references of a page */

static const char *const status_names[BOOK_CALLBACK_STATUSES] = {"pending", "delivered", "failed"};

/* ---- what an answer looks like ---- */

static const struct shape_member attempt_members[] = {
    {"attempt", SHAPE_NUMBER, 0, .what = "1, 2"},
    {"date", .kind = SHAPE_TIME},
    {"status", SHAPE_NUMBER, SHAPE_NULLABLE, .what = "HTTP status; null: there was no answer"},
    {"error", SHAPE_ENUM, SHAPE_NULLABLE, .names = record_reason_names,
     .n_names = RECORD_REASON_COUNT, .what = "Why it failed; null: it did not"},
    {"duration_ms", .kind = SHAPE_NUMBER},
};
static const struct shape attempt_answer = {"CallbackAttempt", attempt_members,
                                            sizeof attempt_members / sizeof attempt_members[0]};
static const struct shape_member answer_members[] = {
    {"id", SHAPE_TEXT, 0, .what = "cb_…"},
    {"status", SHAPE_ENUM, 0, .names = status_names, .n_names = BOOK_CALLBACK_STATUSES,
     .what = "pending until it was delivered or has failed"},
    {"attempts", SHAPE_INNERS, 0, .inner = &attempt_answer},
    {"url", .kind = SHAPE_TEXT},
    {"method", SHAPE_ENUM, 0, .names = api_callback_methods, .n_names = 2},
    {"content_type", SHAPE_ENUM, SHAPE_NULLABLE, .names = api_callback_contents, .n_names = 2,
     .what = "null of a GET, which has no body"},
    {"reference", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"date_created", .kind = SHAPE_TIME},
    {"date_finished", SHAPE_TIME, .flags = SHAPE_NULLABLE},
    {"next_attempt", SHAPE_TIME, SHAPE_NULLABLE,
     .what = "After a first attempt that failed; null where none is planned"},
};
static const struct shape callback_answer = {"Callback", answer_members,
                                             sizeof answer_members / sizeof answer_members[0]};

static void write_time(json_out *o, const char *name, int64_t ms) {
    char text[MR_TIME_TEXT_SIZE];
    if (ms == 0) {
        json_out_member_null(o, name);
        return;
    }
    mr_time_format_ms(mr_wall_of_ms(ms), text);
    json_out_member_c(o, name, text);
}

static void write_attempts(const struct book_callback *callback, json_out *o) {
    json_out_member_array(o, "attempts");
    for (uint8_t i = 0; i < callback->n_attempts; i++) {
        const struct book_callback_attempt *attempt = &callback->attempts[i];
        json_out_object(o);
        json_out_member_u64(o, "attempt", i + 1u);
        write_time(o, "date", attempt->at_ms);
        if (attempt->status != 0) {
            json_out_member_u64(o, "status", attempt->status);
        } else {
            json_out_member_null(o, "status");
        }
        if (attempt->reason != RECORD_REASON_NONE) {
            json_out_member_c(o, "error", record_reason_name(attempt->reason));
        } else {
            json_out_member_null(o, "error");
        }
        json_out_member_u64(o, "duration_ms", attempt->duration_ms);
        json_out_end(o);
    }
    json_out_end(o);
}

static void write_callback(const struct book_callback *callback, json_out *o) {
    const struct record_callback *record = &callback->record;
    char id[RECORD_CALLBACK_TEXT_LEN];
    record_callback_id_format(&record->id, id);
    json_out_object(o);
    json_out_member_str(o, "id", mr_str_of(id, sizeof id));
    json_out_member_c(o, "status", status_names[callback->status]);
    write_attempts(callback, o);
    json_out_member_str(o, "url", record->url);
    json_out_member_c(o, "method", api_callback_methods[record->method]);
    if (record->method == RECORD_CALLBACK_GET) {
        json_out_member_null(o, "content_type");
    } else {
        json_out_member_c(o, "content_type", api_callback_contents[record->content]);
    }
    json_out_member_str(o, "reference",
                        record->reference.len > 0 ? record->reference : MR_STR_NONE);
    write_time(o, "date_created", record->created_ms);
    write_time(o, "date_finished", callback->finished_ms);
    write_time(o, "next_attempt", callback->due_ms);
    json_out_end(o);
}

/* ---- POST ---- */

/* What a call keeps while its record is with the writer. */
struct create_ask {
    struct journal_unit unit; /* first */
    struct journal_slot slot;
    struct book_callback callback;
};

const struct api_doc api_doc_CALLBACKS_CREATE = {
    .summary = "Send a callback",
    .what = "One signed request to a URL, outside event streams. It is stored durably before it is "
            "answered, sent at once, and once more a second later where no connection came about, "
            "no answer came within 15 seconds, or the answer was 408, 423 or 5xx.",
    .media = API_MEDIA_JSON,
    .body = &api_callback_shape,
    .flags = API_DOC_LOCATION,
    .status = 202,
    .answer = &callback_answer,
    API_REFUSALS(413, 429, 503)};

static mr_err write_created(struct api_call *call, const struct book_callback *callback) {
    char location[512];
    char id[RECORD_CALLBACK_TEXT_LEN];
    record_callback_id_format(&callback->record.id, id);
    int len = snprintf(location, sizeof location, "%.*s/v1/callbacks/%.*s",
                       MR_FMT(mr_str_slice(call->api->public_url, 0, 400)), (int)sizeof id, id);
    call->location = mr_arena_str(&call->arena, mr_str_of(location, (size_t)len));
    call->status = 202;
    json_out o;
    json_out_init(&o, &call->out);
    write_callback(callback, &o);
    MR_TRY(json_out_finish(&o));
    return mr_str_is_absent(call->location) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

static void on_commit(struct mail *mail) {
    struct create_ask *ask = (struct create_ask *)(void *)mail;
    struct api_call *call = ask->unit.user;
    struct api *api = call->api;
    bool is_stored = ask->unit.result == JOURNAL_RESULT_OK;
    if (!is_stored) {
        callback_limits_give(api->callback_limits, call->account, ask->slot.len);
    }
    if (is_stored) {
        /* The answer was written before: what is stored is never told as refused. */
        api_answer(call);
    } else if (ask->unit.result == JOURNAL_RESULT_FULL) {
        struct refusal refusal;
        mr_ignore(refuse(&refusal, REFUSAL_JOURNAL,
                         "could not store the callback: the disk is full; send it again later"),
                  "the refusal is what is wanted");
        refusal.retry_after_s = 10;
        api_refuse_with(call, &refusal);
    } else {
        api_refuse(call, 503, 31005,
                   "could not store the callback: the journal failed; send it "
                   "again");
    }
    api_call_release(call);
}

/* Hands the record to the writer. False: refused. */
static bool post_record(struct api_call *call, struct create_ask *ask) {
    struct api *api = call->api;
    const struct record_callback *record = &ask->callback.record;
    size_t size = record_callback_bytes(record);
    uint8_t *bytes = mr_arena_alloc(&call->arena, size);
    size_t len;
    if (bytes == NULL || mr_is_err(record_callback_encode(record, bytes, size, &len)) ||
        mr_is_err(write_created(call, &ask->callback))) {
        api_refuse_memory(call);
        return false;
    }
    if (!callback_limits_take(api->callback_limits, call->account, len)) {
        mr_buf_reset(&call->out);
        api_refuse(call, 429, 20429, "too many callbacks are pending; wait until some are over");
        return false;
    }
    ask->slot = journal_slot_of(RECORD_CALLBACK, 0, mr_str_of((const char *)bytes, len));
    journal_unit_init(&ask->unit, JOURNAL_INGEST, &ask->slot, 1, loop_mailbox(api->loop), on_commit,
                      call);
    ask->unit.reader_mask = UINT64_C(1) << callbacks_owner(call->account, api->n_workers);
    api_call_hold(call);
    writer_post(api->writer, &ask->unit, api->metrics);
    return true;
}

void api_callbacks_create(struct api_call *call) {
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    struct create_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    struct record_callback *record = &ask->callback.record;
    if (!api_callback_take(call, record)) {
        return;
    }
    uint8_t random[10];
    crypto_random(random, sizeof random);
    record->account = call->account;
    record->created_ms = mr_wall_ms(loop_wall(call->api->loop));
    record->id = record_letter_id_make(record->created_ms, random);
    (void)post_record(call, ask);
}

/* ---- GET ---- */

struct callbacks_ask {
    struct keeper_query query;
    struct control_page page;
    bool is_list;
    uint8_t status;
    mr_buf texts;
};

static mr_err write_answer(struct api_call *call) {
    const struct callbacks_ask *ask = call->ask;
    json_out o;
    json_out_init(&o, &call->out);
    if (!ask->is_list) {
        write_callback(&ask->query.callbacks[0], &o);
        control_etag_format(1 + ask->query.callbacks[0].n_attempts, call->etag);
        return json_out_finish(&o);
    }
    json_out_object(&o);
    json_out_member_array(&o, "data");
    for (size_t i = 0; i < ask->query.n_letters; i++) {
        write_callback(&ask->query.callbacks[i], &o);
    }
    json_out_end(&o);
    json_out_member_object(&o, "meta_data");
    uint64_t count = ask->query.n_total > 10000 ? 10001 : ask->query.n_total;
    control_page_write(&ask->page, count, api_list_url(call), &o);
    json_out_end(&o);
    json_out_end(&o);
    return json_out_finish(&o);
}

static void on_told(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    struct api_call *call = query->user;
    struct callbacks_ask *ask = call->ask;
    if (mr_err_is(query->result, MR_E_NOT_FOUND)) {
        api_refuse(call, 404, 20404, "there is no such callback, or it is over for too long");
    } else if (mr_is_err(query->result)) {
        api_refuse(call, 503, 20503, "callbacks cannot be read at the moment; try again");
    } else if (mr_is_err(write_answer(call))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    mr_buf_done(&ask->texts);
    api_call_release(call);
}

/* NULL: refused. */
static struct callbacks_ask *ask_new(struct api_call *call, enum keeper_ask what, size_t n_max) {
    struct callbacks_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    struct book_callback *rows = mr_arena_calloc(&call->arena, n_max, sizeof *rows);
    if (ask == NULL || rows == NULL) {
        api_refuse_memory(call);
        return NULL;
    }
    mr_buf_init(&ask->texts, TEXT_BYTES_MAX);
    ask->query = (struct keeper_query){.ask = what,
                                       .reply = loop_mailbox(call->api->loop),
                                       .on_done = on_told,
                                       .user = call,
                                       .callbacks = rows,
                                       .n_max = n_max,
                                       .type_text = &ask->texts};
    ask->query.callback_filter.account = call->account;
    call->ask = ask;
    return ask;
}

static void ask_keeper(struct api_call *call, struct callbacks_ask *ask) {
    api_call_hold(call);
    keeper_ask(call->api->keeper, &ask->query, call->api->metrics);
}

const struct api_doc api_doc_CALLBACK_GET = {
    .summary = "Read a callback",
    .what = "Pending ones are always there; of those that are over the newest 1,000 of an account, "
            "for 7 days.",
    .flags = API_DOC_ETAG,
    .status = 200,
    .answer = &callback_answer};

void api_callback_get(struct api_call *call) {
    if (!api_query_take(call, NULL)) {
        return;
    }
    struct callbacks_ask *ask = ask_new(call, KEEPER_ASK_CALLBACK, 1);
    if (ask == NULL) {
        return;
    }
    if (mr_is_err(record_callback_id_parse(call->params[0], &ask->query.letter_id))) {
        api_refuse(call, 404, 20404, "there is no such callback, or it is over for too long");
        return;
    }
    ask_keeper(call, ask);
}

static const struct api_param list_params[] = {
    {"status", API_PARAM_ENUM, .names = status_names, .n_names = BOOK_CALLBACK_STATUSES,
     .what = "Only those in this state"},
    {"reference", API_PARAM_TEXT, .what = "Only those with this reference"},
    {"from", API_PARAM_TIME, .what = "Only those made then or later"},
    {"to", API_PARAM_TIME, .what = "Only those made before"},
    API_PARAM_PAGE_SIZE,
    API_PARAM_PAGE_NUMBER,
};
const struct api_doc api_doc_CALLBACKS_LIST = {.summary = "List callbacks",
                                               .what = "The newest first.",
                                               API_QUERY(list_params),
                                               .flags = API_DOC_LIST,
                                               .status = 200,
                                               .answer = &callback_answer};

/* Of judged values; absent: 0. */
static int64_t time_of(mr_str text) {
    mr_wall at;
    bool is_there = !mr_str_is_absent(text) && mr_is_ok(mr_time_parse_rfc3339(text, &at));
    return is_there ? mr_wall_ms(at) : 0;
}

void api_callbacks_list(struct api_call *call) {
    mr_str values[6];
    struct control_page page;
    if (!api_query_take(call, values) || !api_page_take(call, values[4], values[5], &page)) {
        return;
    }
    struct callbacks_ask *ask = ask_new(call, KEEPER_ASK_CALLBACKS, page.size);
    if (ask == NULL) {
        return;
    }
    struct book_callback_filter *filter = &ask->query.callback_filter;
    for (uint8_t i = 0; i < BOOK_CALLBACK_STATUSES; i++) {
        if (mr_str_eq(values[0], mr_str_c(status_names[i]))) {
            ask->status = i;
            filter->status = &ask->status;
        }
    }
    filter->reference = values[1];
    filter->from_ms = time_of(values[2]);
    filter->to_ms = time_of(values[3]);
    ask->page = page;
    ask->is_list = true;
    ask->query.skip = (uint64_t)page.size * (page.number - 1);
    ask_keeper(call, ask);
}
