/* The audit log over HTTP: pages of it, an export, and the row that goes before an effect that does
 * not lie in the store. */
#include "api/cursor.h"

#include "base/num.h"
#include "control/audit/log.h"
#include "json/write.h"

#include <stdio.h>

#define EXPORT_BYTES_MAX ((size_t)8 << 20)
#define ASKED_MAX        2048 /* bytes of a call's body that a row tells */

/* ---- the row before an effect ---- */

struct audit_note {
    struct audit_entry entry;
    void (*go_on)(struct api_call *call);
};

mr_str api_audit_asked(struct api_call *call) {
    json_tape tape;
    mr_buf detail;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&detail, AUDIT_DETAIL_MAX);
    mr_err err = json_tape_read(&tape, api_body_or_object(call), NULL);
    if (mr_is_ok(err)) {
        err = mr_buf_str(&detail, MR_STR("{\"asked\":"));
    }
    if (mr_is_ok(err)) {
        err = call->body.len <= ASKED_MAX
                  ? json_minify(json_root(&tape), JSON_UTF8, &detail)
                  : mr_buf_printf(&detail, "{\"bytes\":%zu}", call->body.len);
    }
    if (mr_is_ok(err)) {
        err = mr_buf_byte(&detail, '}');
    }
    mr_str text = mr_is_ok(err) ? mr_arena_str(&call->arena, mr_buf_view(&detail)) : MR_STR_NONE;
    mr_buf_done(&detail);
    json_tape_done(&tape);
    return text;
}

static mr_err add_note(struct control *control, struct api_call *call) {
    return audit_add(control, &call->note->entry);
}

static void on_noted(struct api_call *call) {
    call->note->go_on(call);
}

void api_audit_then(struct api_call *call, const char *action, mr_str object,
                    void (*go_on)(struct api_call *call)) {
    api_audit_told_then(call, action, object, api_audit_asked(call), go_on);
}

void api_audit_told_then(struct api_call *call, const char *action, mr_str object, mr_str detail,
                         void (*go_on)(struct api_call *call)) {
    struct audit_note *note = mr_arena_calloc(&call->arena, 1, sizeof *note);
    if (note == NULL || mr_str_is_absent(detail)) {
        api_refuse_memory(call);
        return;
    }
    note->entry = (struct audit_entry){
        .account = call->account, .action = action, .object = object, .detail = detail};
    note->go_on = go_on;
    call->note = note;
    api_submit(call, add_note, on_noted);
}

/* ---- pages ---- */

struct list_ask {
    struct audit_filter filter;
    struct control_page page;
    struct api_cursor cursor; /* a: the row that the page begins behind */
    mr_str url;
};

static void write_page(const struct api_call *call, const struct audit_found *found, json_out *o) {
    const struct list_ask *ask = call->ask;
    char cursor[API_CURSOR_LEN + 1];
    const struct api_cursor next = {.a = found->last, .page = ask->page.number + 1};
    api_cursor_encode(call->api->store_key, API_CURSOR_AUDIT, call->account, &next, cursor);
    json_out_member_object(o, "meta_data");
    control_page_write_next(&ask->page, found->count, ask->url,
                            found->has_more ? mr_str_c(cursor) : MR_STR_NONE, o);
    json_out_end(o);
}

static mr_err list(struct control *control, struct api_call *call) {
    const struct list_ask *ask = call->ask;
    struct audit_found found;
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    json_out_member_array(&o, "data");
    MR_TRY(audit_list(control, &ask->filter, ask->page, ask->cursor.a, &o, &found,
                      &call->job.refusal));
    json_out_end(&o);
    write_page(call, &found, &o);
    json_out_end(&o);
    return json_out_finish(&o);
}

/* Of judged values; absent: 0. */
static int64_t time_of(mr_str text) {
    mr_wall at;
    return mr_is_ok(mr_time_parse_rfc3339(text, &at)) ? mr_wall_ms(at) : 0;
}

static uint64_t number_of(mr_str text, uint64_t otherwise) {
    uint64_t n;
    return mr_is_ok(mr_u64_parse(text, 0, UINT64_MAX, &n)) ? n : otherwise;
}

static const struct api_param list_params[] = {
    {"actor", API_PARAM_TEXT, .what = "Only what this client or user did"},
    {"action", API_PARAM_TEXT, .what = "Only this action"},
    {"object", API_PARAM_TEXT, .what = "Only what concerns this object"},
    {"from", API_PARAM_TIME, .what = "Only rows from then on"},
    {"to", API_PARAM_TIME, .what = "Only rows before then"},
    {"before", API_PARAM_NUMBER, 1, INT64_MAX, .what = "Only rows with a lower number"},
    API_PARAM_PAGE_SIZE,
    API_PARAM_PAGE_NUMBER,
    API_PARAM_CURSOR,
};
const struct api_doc api_doc_AUDIT_LOG_LIST = {
    .summary = "List rows of the audit log",
    .what = "The newest first. Page numbers reach 100,000 rows, next_page_url all.",
    API_QUERY(list_params),
    .flags = API_DOC_LIST,
    .status = 200,
    .answer = &audit_row_answer};

void api_audit_log_list(struct api_call *call) {
    mr_str values[9];
    bool has_cursor;
    struct list_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    if (!api_query_take(call, values) ||
        !api_cursor_take(call, API_CURSOR_AUDIT, values[6], values[7], values[8], &ask->page,
                         &ask->cursor, &has_cursor)) {
        return;
    }
    ask->filter.from_ms = time_of(values[3]);
    ask->filter.to_ms = time_of(values[4]);
    ask->filter.before = number_of(values[5], 0);
    ask->filter.account = call->account;
    ask->filter.actor = values[0];
    ask->filter.action = values[1];
    ask->filter.object = values[2];
    ask->url = api_list_url(call);
    call->ask = ask;
    api_submit(call, list, NULL);
}

/* ---- export ---- */

struct export_ask {
    bool is_of_all;
    uint64_t after;
    uint64_t rows;
    uint64_t last;
    bool more;
};

static mr_err export_rows(struct control *control, struct api_call *call) {
    struct export_ask *ask = call->ask;
    if (ask->is_of_all && call->home != control_root_account(control)) {
        return refuse(&call->job.refusal, REFUSAL_DENIED,
                      "Only callers of the root account export the rows of all accounts.");
    }
    return audit_export(control, ask->is_of_all ? 0 : call->account, ask->after,
                        (uint32_t)ask->rows, EXPORT_BYTES_MAX, &call->out, &ask->last, &ask->more,
                        &call->job.refusal);
}

/* Where further rows follow, a Link field (RFC 8288) leads to them. */
static void answer_export(struct api_call *call) {
    const struct export_ask *ask = call->ask;
    char link[4400];
    mr_field fields[3] = {{MR_STR("cache-control"), MR_STR("no-store")}};
    size_t n_fields = 1;
    if (ask->more) {
        int n = snprintf(link, sizeof link,
                         "<%.*s%.*s?after=%llu&rows=%llu&account_id=%.*s%s>; rel=\"next\"",
                         MR_FMT(call->api->public_url), MR_FMT(call->path),
                         (unsigned long long)ask->last, (unsigned long long)ask->rows,
                         MR_FMT(call->account_id), ask->is_of_all ? "&accounts=all" : "");
        fields[n_fields++] = (mr_field){MR_STR("link"), mr_str_of(link, (size_t)n)};
    }
    if (call->out.len == 0) { /* no rows: the type all the same */
        fields[n_fields++] = (mr_field){MR_STR("content-type"), MR_STR("application/x-ndjson")};
    }
    api_answer_as(call, MR_STR("application/x-ndjson"), fields, n_fields);
}

static const char *const accounts_names[] = {"all"};
static const struct api_param export_params[] = {
    {"after", API_PARAM_NUMBER, 0, INT64_MAX, .what = "Only rows with a higher number"},
    {"rows", API_PARAM_NUMBER, 1, AUDIT_EXPORT_MAX, .what = "Rows at most; 1000"},
    {"accounts", API_PARAM_ENUM, .names = accounts_names, .n_names = 1,
     .what = "all: of every account; for the root account alone"},
};
const struct api_doc api_doc_AUDIT_LOG_EXPORT = {
    .summary = "Export rows of the audit log",
    .what = "A row a line, with all that its hash is made of. A Link field leads to the next ones.",
    API_QUERY(export_params),
    .status = 200,
    .answer_schema = "{\"type\":\"string\"}",
    .answer_media = "application/x-ndjson"};

void api_audit_log_export(struct api_call *call) {
    mr_str values[3];
    struct export_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    if (!api_query_take(call, values)) {
        return;
    }
    ask->after = number_of(values[0], 0);
    ask->rows = number_of(values[1], AUDIT_EXPORT_ROWS);
    ask->is_of_all = !mr_str_is_absent(values[2]);
    call->ask = ask;
    api_submit(call, export_rows, answer_export);
}
