/* Dead letters over HTTP: found by the keeper, their events read by the disk readers, ids of rules
 * and destinations told by the store. Redrive makes new deliveries of them through the keeper. */
#include "api/cursor.h"

#include "base/num.h"
#include "control/destinations.h"
#include "control/rules.h"
#include "event/envelope.h"
#include "json/write.h"

#define PAYLOAD_BYTES_MAX ((size_t)24 << 20)
#define TYPES_BYTES_MAX   ((size_t)1 << 20)
#define IDS_MAX           1000

/* What a call keeps between its steps. */
struct letters_ask {
    struct control_page page;
    bool is_list;
    uint32_t destination; /* of the filter; 0: none */
    struct keeper_query query;
    struct book_letter *letters;
    struct payload_load load;
    struct record_letter_id *ids;
    /* per letter: ids of destination and rules */
    mr_str *destination_ids;
    mr_str **rule_ids;
    uint32_t *n_rules;
    mr_err ids_err; /* of reading these */
};

static struct letters_ask *ask_new(struct api_call *call, size_t n_max) {
    struct letters_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask != NULL) {
        ask->letters = mr_arena_calloc(&call->arena, n_max, sizeof *ask->letters);
    }
    if (ask == NULL || ask->letters == NULL) {
        api_refuse_memory(call);
        return NULL;
    }
    call->ask = ask;
    ask->query = (struct keeper_query){.reply = loop_mailbox(call->api->loop),
                                       .user = call,
                                       .letters = ask->letters,
                                       .n_max = n_max};
    return ask;
}

/* ---- filters ---- */

/* The values of destination_id, reason, type, from, to, judged. False: refused. */
static bool take_filter(struct api_call *call, const mr_str values[static 5],
                        struct letters_ask *ask) {
    struct book_letter_filter *filter = &ask->query.filter;
    filter->account = &call->account;
    if (!mr_str_is_absent(values[0])) {
        const struct model_destination *destination =
            snapshot_destination_by_id(call->api->snapshot, values[0]);
        if (destination == NULL || destination->account != call->account) {
            api_refuse(call, 404, 20404, "there is no such destination");
            return false;
        }
        ask->destination = destination->object.number;
        filter->destination = &ask->destination;
    }
    mr_ignore(record_reason_parse(values[1], &filter->reason), "absent: of any reason");
    filter->type = values[2];
    int64_t *const times[] = {&filter->from_ms, &filter->to_ms};
    for (size_t i = 0; i < 2; i++) {
        mr_wall at;
        if (!mr_str_is_absent(values[3 + i]) &&
            mr_is_ok(mr_time_parse_rfc3339(values[3 + i], &at))) {
            *times[i] = mr_wall_ms(at);
        }
    }
    return true;
}

/* ---- writing ---- */

static const struct shape_member letter_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"destination_id", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"rules", SHAPE_TEXTS, 0, .what = "Streaming rules that led there"},
    {"event", SHAPE_OWN, 0,
     .schema = "{\"type\":[\"object\",\"null\"],\"description\":\"null: its content is gone\"}"},
    {"reason", SHAPE_ENUM, 0, .names = record_reason_names, .n_names = RECORD_REASON_COUNT},
    {"last_status", SHAPE_NUMBER, SHAPE_NULLABLE, .what = "HTTP status of the last attempt"},
    {"attempts", .kind = SHAPE_NUMBER},
    {"first_attempt", SHAPE_TIME, .flags = SHAPE_NULLABLE},
    {"last_attempt", SHAPE_TIME, .flags = SHAPE_NULLABLE},
    {"date_created", SHAPE_TIME, .flags = SHAPE_NULLABLE},
};
static const struct shape letter_answer = {"DeadLetter", letter_members,
                                           sizeof letter_members / sizeof letter_members[0]};

static void write_time(json_out *o, const char *name, int64_t ms) {
    char text[MR_TIME_TEXT_SIZE];
    if (ms == 0) {
        json_out_member_null(o, name);
        return;
    }
    mr_time_format_ms(mr_wall_of_ms(ms), text);
    json_out_member_c(o, name, text);
}

static mr_str event_of(const struct letters_ask *ask, size_t i) {
    const struct payload_item *item = &ask->load.items[i];
    if (!ask->letters[i].has_payload || mr_is_err(item->err)) {
        return MR_STR_NONE;
    }
    return payload_envelope(mr_str_of(ask->load.bytes.ptr + item->offset, item->len));
}

static void write_letter(const struct letters_ask *ask, size_t i, json_out *o) {
    const struct book_letter *letter = &ask->letters[i];
    char id[RECORD_LETTER_TEXT_LEN];
    record_letter_id_format(&letter->id, id);
    json_out_object(o);
    json_out_member_str(o, "id", mr_str_of(id, sizeof id));
    json_out_member_str(o, "destination_id", ask->destination_ids[i]);
    json_out_member_array(o, "rules");
    for (uint32_t r = 0; r < ask->n_rules[i]; r++) {
        if (!mr_str_is_absent(ask->rule_ids[i][r])) {
            json_out_str(o, ask->rule_ids[i][r]);
        }
    }
    json_out_end(o);
    json_out_member_raw(o, "event", event_of(ask, i));
    json_out_member_c(o, "reason", record_reason_name(letter->reason));
    if (letter->last_status != 0) {
        json_out_member_u64(o, "last_status", letter->last_status);
    } else {
        json_out_member_null(o, "last_status");
    }
    json_out_member_u64(o, "attempts", letter->attempts);
    write_time(o, "first_attempt", letter->first_ms);
    write_time(o, "last_attempt", letter->last_ms);
    write_time(o, "date_created", record_letter_id_ms(&letter->id));
    json_out_end(o);
}

/* A letter's id as the numbers of a cursor, and back. */
static struct api_cursor cursor_of(const struct record_letter_id *id) {
    return (struct api_cursor){.a = mr_get_u64(id->bytes), .b = mr_get_u64(id->bytes + 8)};
}

static struct record_letter_id id_of(const struct api_cursor *cursor) {
    struct record_letter_id id;
    mr_put_u64(id.bytes, cursor->a);
    mr_put_u64(id.bytes + 8, cursor->b);
    return id;
}

static void write_page(struct api_call *call, json_out *o) {
    const struct letters_ask *ask = call->ask;
    char cursor[API_CURSOR_LEN + 1] = "";
    if (ask->query.has_more && ask->query.n_letters > 0) {
        struct api_cursor next = cursor_of(&ask->letters[ask->query.n_letters - 1].id);
        next.page = ask->page.number + 1;
        api_cursor_encode(call->api->store_key, API_CURSOR_LETTERS, call->account, &next, cursor);
    }
    json_out_member_object(o, "meta_data");
    control_page_write_next(&ask->page, control_count_told(ask->query.n_total), api_list_url(call),
                            mr_str_c(cursor), o);
    json_out_end(o);
}

static mr_err write_answer(struct api_call *call) {
    const struct letters_ask *ask = call->ask;
    json_out o;
    json_out_init(&o, &call->out);
    if (!ask->is_list) {
        write_letter(ask, 0, &o);
        control_etag_format(1, call->etag); /* it never changes */
        return json_out_finish(&o);
    }
    json_out_object(&o);
    json_out_member_array(&o, "data");
    for (size_t i = 0; i < ask->query.n_letters; i++) {
        write_letter(ask, i, &o);
    }
    json_out_end(&o);
    write_page(call, &o);
    json_out_end(&o);
    return json_out_finish(&o);
}

/* ---- the way of a question: keeper, readers, store ---- */

/* Control thread: ids for the numbers that letters and records hold. */
static mr_err read_ids(struct control *control, struct api_call *call) {
    struct letters_ask *ask = call->ask;
    for (size_t i = 0; i < ask->query.n_letters; i++) {
        MR_TRY(destinations_id_of(control, ask->letters[i].destination, &call->arena,
                                  &ask->destination_ids[i], &call->job.refusal));
        const struct payload_item *item = &ask->load.items[i];
        struct record_event event;
        struct record_target target;
        if (mr_is_err(item->err) ||
            mr_is_err(record_event_decode(mr_str_of(ask->load.bytes.ptr + item->offset, item->len),
                                          &event)) ||
            mr_is_err(record_event_target(&event, ask->letters[i].destination, &target)) ||
            target.n_rules == 0) {
            continue;
        }
        uint32_t *numbers = mr_arena_calloc(&call->arena, target.n_rules, sizeof *numbers);
        ask->rule_ids[i] = mr_arena_calloc(&call->arena, target.n_rules, sizeof(mr_str));
        if (numbers == NULL || ask->rule_ids[i] == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        for (uint32_t r = 0; r < target.n_rules; r++) {
            numbers[r] = record_target_rule(&target, r);
        }
        ask->n_rules[i] = target.n_rules;
        MR_TRY(rules_ids_of(control, numbers, target.n_rules, &call->arena, ask->rule_ids[i],
                            &call->job.refusal));
    }
    return MR_OK;
}

/* Control thread. on_ids has the payloads to free, so it must come also after a failure. */
static mr_err find_ids(struct control *control, struct api_call *call) {
    struct letters_ask *ask = call->ask;
    ask->ids_err = read_ids(control, call);
    return MR_OK;
}

static void on_ids(struct api_call *call) {
    struct letters_ask *ask = call->ask;
    if (mr_is_err(ask->ids_err) && call->job.refusal.status != 0) {
        api_refuse_with(call, &call->job.refusal);
    } else if (mr_is_err(ask->ids_err) || mr_is_err(write_answer(call))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    mr_buf_done(&ask->load.bytes);
}

static void on_loaded(struct payload_load *load) {
    struct api_call *call = load->user;
    struct letters_ask *ask = call->ask;
    if (call->ex == NULL) {
        mr_buf_done(&ask->load.bytes);
    } else {
        api_submit(call, find_ids, on_ids);
    }
    api_call_release(call);
}

static void on_letters(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    struct api_call *call = query->user;
    struct letters_ask *ask = call->ask;
    size_t n = query->n_letters;
    if (mr_is_err(query->result)) {
        if (mr_err_is(query->result, MR_E_NOT_FOUND)) {
            api_refuse(call, 404, 20404, "there is no such dead letter");
        } else {
            api_refuse(call, 503, 20503, "dead letters cannot be read at the moment; try again");
        }
        api_call_release(call);
        return;
    }
    if (!ask->is_list && ask->letters[0].account != call->account) {
        api_refuse(call, 404, 20404, "there is no such dead letter");
        api_call_release(call);
        return;
    }
    ask->destination_ids = mr_arena_calloc(&call->arena, n + 1, sizeof(mr_str));
    ask->rule_ids = mr_arena_calloc(&call->arena, n + 1, sizeof(mr_str *));
    ask->n_rules = mr_arena_calloc(&call->arena, n + 1, sizeof(uint32_t));
    ask->load.items = mr_arena_calloc(&call->arena, n + 1, sizeof(struct payload_item));
    if (ask->destination_ids == NULL || ask->rule_ids == NULL || ask->n_rules == NULL ||
        ask->load.items == NULL) {
        api_refuse_memory(call);
        api_call_release(call);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ask->load.items[i].pos = ask->letters[i].pos;
    }
    ask->load.n = n;
    mr_buf_init(&ask->load.bytes, PAYLOAD_BYTES_MAX);
    ask->load.reply = loop_mailbox(call->api->loop);
    ask->load.on_done = on_loaded;
    ask->load.user = call;
    payload_load_start(call->api->readers, &ask->load); /* the hold goes with it */
}

static const struct api_param list_params[] = {
    {"destination_id", API_PARAM_TEXT, .what = "Only those of this destination"},
    {"reason", API_PARAM_ENUM, .names = record_reason_names, .n_names = RECORD_REASON_COUNT,
     .what = "Only those with this reason"},
    {"type", API_PARAM_TEXT, .what = "Only those of this event type"},
    {"from", API_PARAM_TIME, .what = "Only those made then or later"},
    {"to", API_PARAM_TIME, .what = "Only those made before"},
    API_PARAM_PAGE_SIZE,
    API_PARAM_PAGE_NUMBER,
    API_PARAM_CURSOR,
};
const struct api_doc api_doc_DEAD_LETTERS_LIST = {.summary = "List dead letters",
                                                  .what = "The newest first.",
                                                  API_QUERY(list_params),
                                                  .flags = API_DOC_LIST,
                                                  .status = 200,
                                                  .answer = &letter_answer};

void api_dead_letters_list(struct api_call *call) {
    mr_str values[8];
    struct control_page page;
    struct api_cursor cursor;
    bool has_cursor;
    if (!api_query_take(call, values) ||
        !api_cursor_take(call, API_CURSOR_LETTERS, values[5], values[6], values[7], &page, &cursor,
                         &has_cursor)) {
        return;
    }
    struct letters_ask *ask = ask_new(call, page.size);
    if (ask == NULL || !take_filter(call, values, ask)) {
        return;
    }
    ask->page = page;
    ask->is_list = true;
    ask->query.ask = KEEPER_ASK_LETTERS;
    ask->query.on_done = on_letters;
    ask->query.is_behind = has_cursor;
    ask->query.letter_id = id_of(&cursor);
    ask->query.skip = has_cursor ? 0 : (uint64_t)page.size * (page.number - 1);
    api_call_hold(call);
    keeper_ask(call->api->keeper, &ask->query, call->api->metrics);
}

const struct api_doc api_doc_DEAD_LETTER_GET = {.summary = "Read a dead letter",
                                                .flags = API_DOC_ETAG,
                                                .status = 200,
                                                .answer = &letter_answer};

void api_dead_letter_get(struct api_call *call) {
    if (!api_query_take(call, NULL)) {
        return;
    }
    struct letters_ask *ask = ask_new(call, 1);
    if (ask == NULL) {
        return;
    }
    if (mr_is_err(record_letter_id_parse(call->params[0], &ask->query.letter_id))) {
        api_refuse(call, 404, 20404, "there is no such dead letter");
        return;
    }
    ask->query.ask = KEEPER_ASK_LETTER;
    ask->query.on_done = on_letters;
    api_call_hold(call);
    keeper_ask(call->api->keeper, &ask->query, call->api->metrics);
}

/* ---- redrive ---- */

static void on_redriven(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    struct api_call *call = query->user;
    call->status = 202;
    if (mr_err_is(query->result, MR_E_NOT_FOUND)) {
        api_refuse(call, 404, 20404, "one of the ids is no dead letter of this account");
    } else if (mr_is_err(query->result)) {
        api_refuse(call, 503, 31005, "the journal takes no records at the moment; try again");
    } else if (mr_is_err(mr_buf_printf(&call->out, "{\"redriven\":%llu%s}",
                                       (unsigned long long)query->redriven,
                                       query->dry_run ? ",\"dry_run\":true" : ""))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

static const struct shape_member redrive_members[] = {
    {"destination_id", SHAPE_TEXT, 0, 1, 64, .what = "Only those of this destination"},
    {"reason", SHAPE_ENUM, 0, .names = record_reason_names, .n_names = RECORD_REASON_COUNT,
     .what = "Only those with this reason"},
    {"type", SHAPE_TEXT, 0, 1, 512, .what = "Only those of this event type"},
    {"from", SHAPE_TIME, 0, .what = "Only those made then or later"},
    {"to", SHAPE_TIME, 0, .what = "Only those made before"},
    {"ids", SHAPE_TEXTS, 0, 1, IDS_MAX, .what = "Exactly these, in place of filters"},
    {"dry_run", SHAPE_BOOL, 0, .what = "Only count them"},
};
static const struct shape redrive_shape = {"Redrive", redrive_members,
                                           sizeof redrive_members / sizeof redrive_members[0]};
static const struct shape_member redriven_members[] = {
    {"redriven", SHAPE_NUMBER, 0, .what = "New deliveries"},
    {"dry_run", SHAPE_BOOL, .flags = SHAPE_OPTIONAL},
};
static const struct shape redriven_answer = {"Redriven", redriven_members,
                                             sizeof redriven_members / sizeof redriven_members[0]};
const struct api_doc api_doc_DEAD_LETTERS_REDRIVE = {
    .summary = "Deliver dead letters again",
    .what = "Those that the filters name, all without any; or those of ids. A letter stays dead, "
            "its new delivery counts as created.",
    .media = API_MEDIA_JSON,
    .body = &redrive_shape,
    .status = 202,
    .answer = &redriven_answer};

static bool take_ids(struct api_call *call, json_value ids, struct letters_ask *ask) {
    ask->ids = mr_arena_calloc(&call->arena, json_count(ids) + 1, sizeof *ask->ids);
    if (ask->ids == NULL) {
        api_refuse_memory(call);
        return false;
    }
    for (json_iter it = json_iter_of(ids); json_next(&it);) {
        mr_str text;
        if (mr_is_err(json_string(it.value, &call->arena, &text)) ||
            mr_is_err(record_letter_id_parse(text, &ask->ids[ask->query.n_ids]))) {
            api_refuse(call, 400, 20400, "ids holds something that is no dead letter id");
            return false;
        }
        ask->query.n_ids++;
    }
    ask->query.letter_ids = ask->ids;
    return true;
}

/* Reads the judged body into the question. False: refused. */
static bool take_redrive(struct api_call *call, json_value body, struct letters_ask *ask) {
    mr_str values[5] = {{NULL, 0}};
    bool filtered = false;
    for (size_t i = 0; i < 5; i++) {
        if (mr_is_err(shape_text(body, redrive_members[i].name, &call->arena, &values[i]))) {
            api_refuse_memory(call);
            return false;
        }
        filtered = filtered || !mr_str_is_absent(values[i]);
    }
    shape_bool(body, "dry_run", &ask->query.dry_run);
    json_value ids = shape_value(body, "ids");
    if (!json_is_absent(ids) && !take_ids(call, ids, ask)) {
        return false;
    }
    if (filtered && ask->query.n_ids > 0) {
        api_refuse(call, 400, 20004, "give either ids or filters, not both");
        return false;
    }
    return take_filter(call, values, ask);
}

static void start_redrive(struct api_call *call) {
    struct letters_ask *ask = call->ask;
    api_call_hold(call);
    keeper_ask(call->api->keeper, &ask->query, call->api->metrics);
}

void api_dead_letters_redrive(struct api_call *call) {
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    struct letters_ask *ask = ask_new(call, 1);
    if (ask == NULL) {
        return;
    }
    json_tape tape;
    bool ok = api_body_take(call, call->body, &tape) && take_redrive(call, json_root(&tape), ask);
    json_tape_done(&tape);
    if (!ok) {
        return;
    }
    ask->query.ask = KEEPER_ASK_REDRIVE;
    ask->query.on_done = on_redriven;
    if (ask->query.dry_run) {
        start_redrive(call); /* changes nothing */
    } else {
        api_audit_then(call, "dead-letter.redrive", MR_STR_NONE, start_redrive);
    }
}
