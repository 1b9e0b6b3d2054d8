/* The audit log over HTTP: pages of it, an export, and the row that goes before an effect that does
 * not lie in the store. */
#include "api/call.h"

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
    struct audit_note *note = mr_arena_calloc(&call->arena, 1, sizeof *note);
    mr_str detail = api_audit_asked(call);
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
    mr_str url;
};

static mr_err list(struct control *control, struct api_call *call) {
    const struct list_ask *ask = call->ask;
    return audit_list(control, &ask->filter, ask->page, ask->url, &call->out, &call->job.refusal);
}

/* Absent: 0. False: refused. */
static bool take_time(struct api_call *call, const char *name, mr_str text, int64_t *ret_ms) {
    mr_wall at;
    *ret_ms = 0;
    if (mr_str_is_absent(text)) {
        return true;
    }
    if (mr_is_err(mr_time_parse_rfc3339(text, &at))) {
        api_refuse(call, 400, 20400, "%s must be an RFC 3339 date-time", name);
        return false;
    }
    *ret_ms = mr_wall_ms(at);
    return true;
}

static bool take_number(struct api_call *call, const char *name, mr_str text, uint64_t min,
                        uint64_t max, uint64_t *ret_n) {
    if (mr_str_is_absent(text) || mr_is_ok(mr_u64_parse(text, min, max, ret_n))) {
        return true;
    }
    api_refuse(call, 400, 20400, "%s must be a whole number from %llu to %llu", name,
               (unsigned long long)min, (unsigned long long)max);
    return false;
}

void api_audit_log_list(struct api_call *call) {
    static const char *const names[] = {"actor", "action", "object",    "from",
                                        "to",    "before", "page_size", "page_number"};
    mr_str values[8];
    struct list_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    if (!api_query_take(call, names, values, 8) ||
        !take_time(call, "from", values[3], &ask->filter.from_ms) ||
        !take_time(call, "to", values[4], &ask->filter.to_ms) ||
        !take_number(call, "before", values[5], 1, INT64_MAX, &ask->filter.before) ||
        !api_page_take(call, values[6], values[7], &ask->page)) {
        return;
    }
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
    mr_field fields[2] = {{MR_STR("cache-control"), MR_STR("no-store")}};
    if (ask->more) {
        int n = snprintf(link, sizeof link,
                         "<%.*s%.*s?after=%llu&rows=%llu&account_id=%.*s%s>; rel=\"next\"",
                         MR_FMT(call->api->public_url), MR_FMT(call->path),
                         (unsigned long long)ask->last, (unsigned long long)ask->rows,
                         MR_FMT(call->account_id), ask->is_of_all ? "&accounts=all" : "");
        fields[1] = (mr_field){MR_STR("link"), mr_str_of(link, (size_t)n)};
    }
    api_answer_as(call, MR_STR("application/x-ndjson"), fields, ask->more ? 2 : 1);
}

void api_audit_log_export(struct api_call *call) {
    static const char *const names[] = {"after", "rows", "accounts"};
    mr_str values[3];
    struct export_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    ask->rows = AUDIT_EXPORT_ROWS;
    if (!api_query_take(call, names, values, 3) ||
        !take_number(call, "after", values[0], 0, INT64_MAX, &ask->after) ||
        !take_number(call, "rows", values[1], 1, AUDIT_EXPORT_MAX, &ask->rows)) {
        return;
    }
    ask->is_of_all = mr_str_eq(values[2], MR_STR("all"));
    if (!mr_str_is_absent(values[2]) && !ask->is_of_all) {
        api_refuse(call, 400, 20400, "accounts must be all, or absent");
        return;
    }
    call->ask = ask;
    api_submit(call, export_rows, answer_export);
}
