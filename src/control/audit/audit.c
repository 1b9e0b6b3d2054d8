/* Rows of the audit log, written. See control/audit.h and, for the form of the chain, chain.h.
 *
 * The last row's hash is kept in memory: reading it for each row would cost a query more. It counts
 * as known from the first row on and until anything is rolled back; then it is read again, because
 * the row that it is of may be gone. */
#include "control/audit.h"

#include "control/audit/chain.h"
#include "control/private.h"
#include "os/clock.h"

static const char *const actor_kinds[] = {"system", "client", "user", "nobody"};

static mr_err read_last(struct control *control) {
    struct audit_tail *tail = &control->audit;
    struct query query =
        query_begin(&control->store, "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1");
    tail->last = (struct record_audit){0};
    mr_err err = MR_OK;
    while (query_row(&query)) {
        mr_str bytes = query_col_bytes(&query, 1);
        tail->last.number = (uint64_t)query_col_i64(&query, 0);
        if (bytes.len == sizeof tail->last.hash) {
            memcpy(tail->last.hash, bytes.ptr, sizeof tail->last.hash);
        } else {
            err = MR_ERR(MR_E_FAILED);
        }
    }
    mr_err ended = query_end(&query);
    tail->is_known = mr_is_ok(ended) && mr_is_ok(err);
    return mr_is_err(ended) ? ended : err;
}

mr_err audit_last(struct control *control, struct record_audit *ret_head) {
    if (!control->audit.is_known) {
        MR_TRY(read_last(control));
    }
    *ret_head = control->audit.last;
    return MR_OK;
}

static mr_str or_empty(mr_str text) {
    return mr_str_is_absent(text) ? MR_STR("") : text;
}

static mr_err insert(struct control *control, const struct audit_row *row, mr_str hash) {
    struct query query = query_begin(
        &control->store,
        "INSERT INTO audit(number, account, actor_kind, actor, action, object, detail, at_ms,"
        " address, request_id, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
    query_i64(&query, row->number);
    query_i64(&query, row->account);
    query_text(&query, row->actor_kind);
    query_text(&query, row->actor);
    query_text(&query, row->action);
    query_text(&query, row->object);
    query_text(&query, row->detail);
    query_i64(&query, row->at_ms);
    query_text(&query, row->address);
    query_text(&query, row->request_id);
    query_blob(&query, hash);
    return query_run(&query);
}

mr_err audit_add(struct control *control, const struct audit_entry *entry) {
    MR_ASSERT(control->store.depth > 0);
    const struct control_actor *actor = &control->actor;
    struct record_audit head;
    if (entry->detail.len > AUDIT_DETAIL_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    MR_TRY(audit_last(control, &head));
    const struct audit_row row = {
        .number = (int64_t)head.number + 1,
        .at_ms = mr_wall_ms(os_wall_now()),
        .account = entry->account != 0 ? entry->account : control->root_account,
        .actor_kind = mr_str_c(actor_kinds[actor->kind]),
        .actor = or_empty(actor->id),
        .action = mr_str_c(entry->action),
        .object = or_empty(entry->object),
        .detail = mr_str_is_absent(entry->detail) ? MR_STR("{}") : entry->detail,
        .address = or_empty(actor->address),
        .request_id = or_empty(actor->request_id),
    };
    MR_TRY(audit_chain(control->hasher, &row, head.hash));
    MR_TRY(insert(control, &row, mr_str_of((const char *)head.hash, sizeof head.hash)));
    head.number++;
    control->audit.last = head;
    return MR_OK;
}
