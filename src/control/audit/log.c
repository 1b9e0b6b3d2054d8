/* See control/audit/log.h.
 *
 * A page begins behind a row, whose number is looked up in the index, which costs the same at any
 * depth; by its number it is found only down to AUDIT_DEPTH_MAX rows. */
#include "control/audit/log.h"

#include "base/num.h"
#include "control/private.h"
#include "json/write.h"

/* The columns of a row, in the order of take_row. */
#define COLUMNS                                                                                    \
    "a.number, a.at_ms, a.account, a.actor_kind, a.actor, a.action, a.object, a.detail, "          \
    "a.address,"                                                                                   \
    " a.request_id, a.hash, c.id"
#define WHERE                                                                                      \
    " WHERE a.account = ?1 AND (?2 IS NULL OR a.actor = ?2)"                                       \
    " AND (?3 IS NULL OR a.action = ?3 OR (substr(?3, -1) = '.'"                                   \
    "      AND substr(a.action, 1, length(?3)) = ?3))"                                             \
    " AND (?4 IS NULL OR a.object = ?4) AND a.at_ms >= ?5 AND a.at_ms < ?6 AND a.number < ?7"

static void bind(struct query *query, const struct audit_filter *filter, uint64_t before) {
    query_i64(query, filter->account);
    query_text(query, filter->actor);
    query_text(query, filter->action);
    query_text(query, filter->object);
    query_i64(query, filter->from_ms);
    query_i64(query, filter->to_ms == 0 ? INT64_MAX : filter->to_ms);
    query_i64(query, before == 0 ? INT64_MAX : (int64_t)before);
}

static void write_date(json_out *out, int64_t at_ms) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(at_ms), date);
    json_out_member_c(out, "date", date);
}

static void write_or_null(json_out *out, const char *name, mr_str text) {
    json_out_member_str(out, name, text.len == 0 ? MR_STR_NONE : text);
}

static void write_hash(json_out *out, const char *name, mr_str hash) {
    char hex[RECORD_AUDIT_HASH_BYTES * 2 + 1];
    uint8_t zeros[RECORD_AUDIT_HASH_BYTES] = {0};
    bool is_whole = hash.len == RECORD_AUDIT_HASH_BYTES;
    mr_hex_encode(is_whole ? hash.ptr : (const char *)zeros, RECORD_AUDIT_HASH_BYTES, hex);
    json_out_member_str(out, name, mr_str_of(hex, RECORD_AUDIT_HASH_BYTES * 2));
}

static const struct shape_member actor_answer_members[] = {
    {"kind", .kind = SHAPE_TEXT},
    {"id", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"address", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
};
static const struct shape actor_answer = {"AuditActor", actor_answer_members,
                                          sizeof actor_answer_members /
                                              sizeof actor_answer_members[0]};
static const struct shape_member audit_row_answer_members[] = {
    {"number", SHAPE_NUMBER, .min = 1},
    {"date", .kind = SHAPE_TIME},
    {"account_id", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"actor", SHAPE_INNER, .inner = &actor_answer},
    {"action", .kind = SHAPE_TEXT},
    {"object", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"detail", .kind = SHAPE_OBJECT},
    {"request_id", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"hash", SHAPE_TEXT, 0, .what = "Hex; each is made of its row and of the hash before"},
};
const struct shape audit_row_answer = {"AuditRow", audit_row_answer_members,
                                       sizeof audit_row_answer_members /
                                           sizeof audit_row_answer_members[0]};

static void write_row(struct query *query, json_out *out) {
    json_out_object(out);
    json_out_member_i64(out, "number", query_col_i64(query, 0));
    write_date(out, query_col_i64(query, 1));
    json_out_member_str(out, "account_id", query_col_bytes(query, 11));
    json_out_member_object(out, "actor");
    json_out_member_str(out, "kind", query_col_bytes(query, 3));
    write_or_null(out, "id", query_col_bytes(query, 4));
    write_or_null(out, "address", query_col_bytes(query, 8));
    json_out_end(out);
    json_out_member_str(out, "action", query_col_bytes(query, 5));
    write_or_null(out, "object", query_col_bytes(query, 6));
    json_out_member_raw(out, "detail", query_col_bytes(query, 7));
    write_or_null(out, "request_id", query_col_bytes(query, 9));
    write_hash(out, "hash", query_col_bytes(query, 10));
    json_out_end(out);
}

static mr_err count(struct control *control, const struct audit_filter *filter,
                    uint64_t *ret_count) {
    struct query query = query_begin(
        &control->store, "SELECT count(*) FROM (SELECT 1 FROM audit a" WHERE " LIMIT ?8)");
    bind(&query, filter, filter->before);
    query_i64(&query, (int64_t)CONTROL_COUNT_MAX + 1);
    while (query_row(&query)) {
        *ret_count = control_count_told((uint64_t)query_col_i64(&query, 0));
    }
    return query_end(&query);
}

static mr_err list_inner(struct control *control, const struct audit_filter *filter,
                         struct control_page page, uint64_t behind, json_out *out,
                         struct audit_found *ret_found, struct refusal *ret_refusal) {
    uint64_t skip = behind > 0 ? 0 : (uint64_t)page.size * (page.number - 1);
    uint64_t before = filter->before;
    if (skip + page.size > AUDIT_DEPTH_MAX) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "Pages by number reach %u rows; go on by next_page_url.", AUDIT_DEPTH_MAX);
    }
    if (behind > 0 && (before == 0 || behind < before)) {
        before = behind;
    }
    *ret_found = (struct audit_found){.count = 0};
    MR_TRY(count(control, filter, &ret_found->count));
    struct query query = query_begin(
        &control->store,
        "SELECT " COLUMNS " FROM audit a LEFT JOIN accounts c ON c.number = a.account" WHERE
        " ORDER BY a.number DESC LIMIT ?8 OFFSET ?9");
    bind(&query, filter, before);
    query_i64(&query, (int64_t)page.size + 1);
    query_i64(&query, (int64_t)skip);
    for (uint32_t n = 0; query_row(&query); n++) {
        if (n == page.size) {
            ret_found->has_more = true;
            break;
        }
        ret_found->last = (uint64_t)query_col_i64(&query, 0);
        write_row(&query, out);
    }
    return query_end(&query);
}

mr_err audit_list(struct control *control, const struct audit_filter *filter,
                  struct control_page page, uint64_t behind, struct json_out *out,
                  struct audit_found *ret_found, struct refusal *ret_refusal) {
    MR_ASSERT(filter->account != 0);
    return refuse_error(control,
                        list_inner(control, filter, page, behind, out, ret_found, ret_refusal),
                        ret_refusal);
}

/* ---- export ---- */

/* All that the hash is made of, texts as texts. */
static mr_err export_row(struct query *query, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_i64(&writer, "number", query_col_i64(query, 0));
    write_date(&writer, query_col_i64(query, 1));
    json_out_member_i64(&writer, "at_ms", query_col_i64(query, 1));
    json_out_member_str(&writer, "account_id", query_col_bytes(query, 11));
    json_out_member_i64(&writer, "account", query_col_i64(query, 2));
    json_out_member_str(&writer, "actor_kind", query_col_bytes(query, 3));
    json_out_member_str(&writer, "actor", query_col_bytes(query, 4));
    json_out_member_str(&writer, "action", query_col_bytes(query, 5));
    json_out_member_str(&writer, "object", query_col_bytes(query, 6));
    json_out_member_str(&writer, "detail", query_col_bytes(query, 7));
    json_out_member_str(&writer, "address", query_col_bytes(query, 8));
    json_out_member_str(&writer, "request_id", query_col_bytes(query, 9));
    write_hash(&writer, "previous_hash", query_col_bytes(query, 12));
    write_hash(&writer, "hash", query_col_bytes(query, 10));
    json_out_end(&writer);
    MR_TRY(json_out_finish(&writer));
    return mr_buf_byte(out, '\n');
}

static mr_err export_inner(struct control *control, uint32_t account, uint64_t after,
                           uint32_t rows_max, size_t bytes_max, mr_buf *out, uint64_t *ret_last,
                           bool *ret_more) {
    struct query query = query_begin(
        &control->store,
        "SELECT " COLUMNS ", coalesce(p.hash, (SELECT b.hash FROM audit_base b"
        " WHERE b.number = a.number - 1)) FROM audit a LEFT JOIN accounts c ON c.number = a.account"
        " LEFT JOIN audit p ON p.number = a.number - 1"
        " WHERE a.number > ?1 AND (?2 = 0 OR a.account = ?2) ORDER BY a.number LIMIT ?3");
    query_i64(&query, (int64_t)after);
    query_i64(&query, account);
    query_i64(&query, (int64_t)rows_max + 1);
    mr_err err = MR_OK;
    *ret_last = 0;
    *ret_more = false;
    for (uint32_t n = 0; mr_is_ok(err) && query_row(&query); n++) {
        if (n == rows_max || (n > 0 && out->len > bytes_max)) {
            *ret_more = true;
            break;
        }
        *ret_last = (uint64_t)query_col_i64(&query, 0);
        err = export_row(&query, out);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

mr_err audit_export(struct control *control, uint32_t account, uint64_t after, uint32_t rows_max,
                    size_t bytes_max, mr_buf *out, uint64_t *ret_last, bool *ret_more,
                    struct refusal *ret_refusal) {
    return refuse_error(
        control,
        export_inner(control, account, after, rows_max, bytes_max, out, ret_last, ret_more),
        ret_refusal);
}
