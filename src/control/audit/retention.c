/* Old rows of the audit log leave it from its beginning, where a retention is set.
 *
 * The number and hash of the last row that left are the base that the chain goes on from. They lie
 * in the table audit_base, and in a row of the log, "audit.trim", that is added in the transaction
 * that removes: so the chain itself, and with it every later head in the journal, vouches for the
 * base, and rows that somebody else cut off at the beginning are found by `millrace check`.
 *
 * Only what lies before the first row that is young enough leaves, so that a clock that stepped
 * removes too little rather than too much; never the newest row, nor one that the journal is still
 * to name. The database refuses to remove any other row (store.c, audit_rows_stay). A pass takes a
 * bounded number of rows, so that no call waits for long. */
#include "control/audit/chain.h"
#include "control/private.h"

#include "base/num.h"
#include "os/clock.h"

#include <stdio.h>

#define EVERY_MS  (INT64_C(24) * 3600 * 1000)
#define RETRY_MS  INT64_C(60000)
#define PASS_ROWS 10000

size_t audit_trim_detail(const struct record_audit *base, char out[static AUDIT_TRIM_SIZE]) {
    char hex[sizeof base->hash * 2];
    mr_hex_encode(base->hash, sizeof base->hash, hex);
    int n = snprintf(out, AUDIT_TRIM_SIZE, "{\"removed_to\":%llu,\"hash\":\"%.*s\"}",
                     (unsigned long long)base->number, (int)sizeof hex, hex);
    return (size_t)n;
}

/* The last row that may leave; number 0: none. */
static mr_err find_base(struct control *control, int64_t before_ms, uint64_t limit,
                        struct record_audit *ret_base, bool *ret_is_full) {
    struct record_audit base = {0};
    uint32_t n = 0;
    bool is_old = true;
    struct query query =
        query_begin(&control->store, "SELECT number, at_ms, hash FROM audit WHERE number < ?1"
                                     " ORDER BY number LIMIT ?2");
    query_i64(&query, (int64_t)limit);
    query_i64(&query, PASS_ROWS);
    while (is_old && query_row(&query)) {
        mr_str hash = query_col_bytes(&query, 2);
        is_old = query_col_i64(&query, 1) < before_ms && hash.len == sizeof base.hash;
        if (is_old) {
            base.number = (uint64_t)query_col_i64(&query, 0);
            memcpy(base.hash, hash.ptr, sizeof base.hash);
            n++;
        }
    }
    *ret_base = base;
    *ret_is_full = n == PASS_ROWS;
    return query_end(&query);
}

static mr_err remove_to(struct control *control, const struct record_audit *base) {
    char detail[AUDIT_TRIM_SIZE];
    size_t len = audit_trim_detail(base, detail);
    MR_TRY(audit_add(control, &(struct audit_entry){.action = AUDIT_TRIM_ACTION,
                                                    .detail = mr_str_of(detail, len)}));
    struct query query =
        query_begin(&control->store, "INSERT INTO audit_base(only, number, hash) VALUES(1, ?1, ?2)"
                                     " ON CONFLICT(only) DO UPDATE SET number = ?1, hash = ?2");
    query_i64(&query, (int64_t)base->number);
    query_blob(&query, mr_str_of((const char *)base->hash, sizeof base->hash));
    MR_TRY(query_run(&query));
    query = query_begin(&control->store, "DELETE FROM audit WHERE number <= ?1");
    query_i64(&query, (int64_t)base->number);
    return query_run(&query);
}

mr_err audit_trim(struct control *control, int64_t before_ms, bool *ret_more) {
    struct record_audit last;
    struct record_audit base = {0};
    struct refusal refusal;
    *ret_more = false;
    MR_TRY(change_begin(control, &refusal));
    mr_err err = audit_last(control, &last);
    uint64_t limit = last.number;
    if (control->audit.journal.post != NULL && control->audit.journaled.number < limit) {
        limit = control->audit.journaled.number;
    }
    if (mr_is_ok(err)) {
        err = find_base(control, before_ms, limit, &base, ret_more);
    }
    if (mr_is_ok(err) && base.number > 0) {
        err = remove_to(control, &base);
    }
    return change_end(control, err, &refusal);
}

mr_mono audit_retention_step(struct control *control, mr_mono now) {
    struct audit_tail *tail = &control->audit;
    int64_t keep_ms = control->options.audit_retention_ms;
    if (keep_ms == 0) {
        return MR_MONO_NEVER;
    }
    if (mr_mono_before(now, tail->trim_at)) {
        return tail->trim_at;
    }
    bool has_more = false;
    mr_err err = audit_trim(control, mr_wall_ms(os_wall_now()) - keep_ms, &has_more);
    if (mr_is_err(err)) {
        mr_warn(control->options.log, "audit_log_not_trimmed", mr_kv_i64("code", err.code));
    }
    tail->trim_at = mr_mono_add_ms(now, mr_is_err(err) ? RETRY_MS : has_more ? 1 : EVERY_MS);
    return tail->trim_at;
}
