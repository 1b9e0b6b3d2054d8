/* The head of the chain on its way into the journal.
 *
 * A head is handed over after the commit that added its row, so it may lag behind the rows and is
 * never ahead of them: after a crash the log holds every head that the journal names. One record is
 * on its way at a time, and one a second at most is made; what was added meanwhile goes with the
 * next. Before the thread ends it waits for the last one.
 *
 * Failure policy: want of space is waited out, but not at the end; a FAILED journal takes nothing
 * more, which ends this too. The log goes on without it. */
#include "control/private.h"

#include "base/num.h"

#include <stdio.h>

#define EVERY_MS 1000

static bool is_due(const struct audit_tail *tail) {
    return tail->committed.number > 0 &&
           (tail->committed.number != tail->journaled.number ||
            memcmp(tail->committed.hash, tail->journaled.hash, sizeof tail->committed.hash) != 0);
}

bool audit_journal_is_busy(const struct control *control) {
    const struct audit_tail *tail = &control->audit;
    return tail->journal.post != NULL && (tail->is_posted || (!tail->is_given_up && is_due(tail)));
}

static void on_journaled(struct mail *mail) {
    struct journal_unit *unit = (struct journal_unit *)(void *)mail;
    struct control *control = unit->user;
    struct audit_tail *tail = &control->audit;
    tail->is_posted = false;
    if (unit->result == JOURNAL_RESULT_OK) {
        return;
    }
    tail->journaled = (struct record_audit){0}; /* once more */
    bool is_ending = atomic_load_explicit(&control->is_stopping, memory_order_acquire);
    if (unit->result != JOURNAL_RESULT_FULL || is_ending) {
        tail->is_given_up = true;
        mr_warn(control->options.log, "audit_head_not_journaled",
                mr_kv_i64("number", (int64_t)tail->committed.number));
    }
}

static void post(struct control *control) {
    struct audit_tail *tail = &control->audit;
    size_t len = 0;
    mr_err err = record_audit_encode(&tail->committed, tail->body, sizeof tail->body, &len);
    MR_ASSERT(mr_is_ok(err));
    tail->journaled = tail->committed;
    tail->is_posted = true;
    tail->slot = journal_slot_of(RECORD_AUDIT, 0, mr_str_of((const char *)tail->body, len));
    journal_unit_init(&tail->unit, JOURNAL_CONTROL, &tail->slot, 1, &control->mailbox, on_journaled,
                      control);
    tail->journal.post(tail->journal.ctx, &tail->unit);
}

mr_mono audit_journal_step(struct control *control, mr_mono now, bool is_ending) {
    struct audit_tail *tail = &control->audit;
    if (tail->is_posted || !audit_journal_is_busy(control)) {
        return MR_MONO_NEVER;
    }
    if (!is_ending && mr_mono_before(now, tail->next_at)) {
        return tail->next_at;
    }
    tail->next_at = mr_mono_add_ms(now, EVERY_MS);
    post(control);
    return MR_MONO_NEVER; /* its answer wakes us */
}

/* ---- at the start ---- */

static mr_err has_row(struct control *control, const struct record_audit *head, bool *ret_has) {
    struct query query =
        query_begin(&control->store, "SELECT 1 FROM audit WHERE number = ?1 AND hash = ?2");
    query_i64(&query, (int64_t)head->number);
    query_blob(&query, mr_str_of((const char *)head->hash, sizeof head->hash));
    bool has = false;
    while (query_row(&query)) {
        has = true;
    }
    *ret_has = has;
    return query_end(&query);
}

/* The log tells for ever that it was broken. */
static mr_err tell_broken(struct control *control, const struct record_audit *known,
                          const struct record_audit *last) {
    char hex[sizeof known->hash * 2 + 1];
    char detail[256];
    mr_hex_encode(known->hash, sizeof known->hash, hex);
    int n = snprintf(detail, sizeof detail,
                     "{\"journal_number\":%llu,\"journal_hash\":\"%.*s\",\"last_number\":%llu}",
                     (unsigned long long)known->number, (int)(sizeof known->hash * 2), hex,
                     (unsigned long long)last->number);
    mr_error(control->options.log, "audit_log_broken",
             mr_kv_i64("journal_number", (int64_t)known->number),
             mr_kv_i64("last_number", (int64_t)last->number),
             mr_kv_c("what", "rows were cut off or control.db was replaced; millrace check tells"));
    struct refusal refusal;
    MR_TRY(change_begin(control, &refusal));
    return change_end(control,
                      audit_add(control,
                                &(struct audit_entry){
                                    .action = "audit.broken",
                                    .detail = mr_str_of(detail, (size_t)n),
                                }),
                      &refusal);
}

mr_err audit_journal_to(struct control *control, const struct audit_journal *journal,
                        const struct record_audit *known) {
    struct audit_tail *tail = &control->audit;
    struct record_audit last;
    bool has = known->number == 0;
    MR_ASSERT(!control->is_started);
    MR_TRY(audit_last(control, &last));
    if (!has) {
        MR_TRY(has_row(control, known, &has));
    }
    tail->committed = last;
    tail->journaled = *known;
    tail->journal = *journal;
    return has ? MR_OK : tell_broken(control, known, &last);
}
