/* Outcome records. See outcome.h.
 *
 * A unit grows with the turn and keeps its memory for the next one. Records are encoded into one
 * buffer; since the buffer may move while it grows, slots remember offsets and get their pointers
 * at the flush. A unit is handed over when it holds enough, so that a turn with very many outcomes
 * stays within the journal's bounds. */
#include "dispatch/outcome.h"

#include "base/mem.h"

#define UNIT_RECORDS_MAX 1024
#define UNIT_BYTES_MAX   ((size_t)4 << 20)

struct outcome_unit {
    struct journal_unit unit; /* first */
    struct outcome_out *out;
    struct outcome_unit *next;
    uint32_t credits;
    uint32_t n;
    struct journal_slot slots[UNIT_RECORDS_MAX];
    size_t offsets[UNIT_RECORDS_MAX];
    mr_buf bytes;
};

void outcome_init(struct outcome_out *out, struct writer *writer, struct mailbox *reply,
                  struct lane_shared *shared, mr_metrics *metrics) {
    *out = (struct outcome_out){
        .writer = writer, .reply = reply, .shared = shared, .metrics = metrics};
}

static void free_unit(struct outcome_unit *unit) {
    if (unit != NULL) {
        mr_buf_done(&unit->bytes);
        mr_free(unit);
    }
}

void outcome_done(struct outcome_out *out) {
    MR_ASSERT(out->n_waiting == 0);
    free_unit(out->open);
    while (out->free != NULL) {
        struct outcome_unit *next = out->free->next;
        free_unit(out->free);
        out->free = next;
    }
    out->open = NULL;
}

/* Lanes number their reasons as records do. */
_Static_assert((int)LANE_REASON_STATUS == (int)RECORD_REASON_STATUS &&
                   (int)LANE_REASON_TIMEOUT == (int)RECORD_REASON_TIMEOUT &&
                   (int)LANE_REASON_NAME == (int)RECORD_REASON_NAME &&
                   (int)LANE_REASON_ADDRESS == (int)RECORD_REASON_ADDRESS_REFUSED &&
                   (int)LANE_REASON_CONNECT == (int)RECORD_REASON_CONNECT &&
                   (int)LANE_REASON_TLS == (int)RECORD_REASON_TLS &&
                   (int)LANE_REASON_REQUEST == (int)RECORD_REASON_REQUEST &&
                   (int)LANE_REASON_RESPONSE == (int)RECORD_REASON_RESPONSE &&
                   (int)LANE_REASON_GONE == (int)RECORD_REASON_GONE &&
                   (int)LANE_REASON_UNREADABLE == (int)RECORD_REASON_UNREADABLE &&
                   (int)LANE_REASON_RESET == (int)RECORD_REASON_RESET &&
                   (int)LANE_REASON_THROTTLED == (int)RECORD_REASON_THROTTLED &&
                   (int)LANE_REASON_REJECTED == (int)RECORD_REASON_REJECTED &&
                   (int)LANE_REASON_STREAM_MISSING == (int)RECORD_REASON_STREAM_MISSING &&
                   (int)LANE_REASON_ACCESS_DENIED == (int)RECORD_REASON_ACCESS_DENIED &&
                   (int)LANE_REASON_KMS == (int)RECORD_REASON_KMS &&
                   (int)LANE_REASON_CREDENTIALS == (int)RECORD_REASON_CREDENTIALS &&
                   (int)LANE_REASON_RECORD_TOO_LARGE == (int)RECORD_REASON_RECORD_TOO_LARGE &&
                   (int)LANE_REASON_INTERNAL == (int)RECORD_REASON_INTERNAL,
               "one numbering of reasons");

/* The unit's way back from the writer. */
static void on_unit_done(struct mail *mail) {
    struct outcome_unit *unit = (struct outcome_unit *)(void *)mail;
    struct outcome_out *out = unit->out;
    out->shared->credits += unit->credits;
    unit->credits = 0;
    unit->n = 0;
    mr_buf_reset(&unit->bytes);
    unit->next = out->free;
    out->free = unit;
    out->n_waiting--;
    if (out->on_durable != NULL) {
        out->on_durable(out->ctx);
    }
}

static struct outcome_unit *open_unit(struct outcome_out *out) {
    if (out->open != NULL) {
        return out->open;
    }
    struct outcome_unit *unit = out->free;
    if (unit != NULL) {
        out->free = unit->next;
    } else {
        unit = MR_NEW(struct outcome_unit);
        MR_ASSERT(unit != NULL);
        mr_buf_init(&unit->bytes, UNIT_BYTES_MAX);
        unit->out = out;
    }
    out->open = unit;
    return unit;
}

void outcome_flush(struct outcome_out *out) {
    struct outcome_unit *unit = out->open;
    if (unit == NULL || unit->n == 0) {
        return;
    }
    out->open = NULL;
    for (uint32_t i = 0; i < unit->n; i++) {
        unit->slots[i].body = unit->bytes.ptr + unit->offsets[i];
    }
    journal_unit_init(&unit->unit, JOURNAL_OUTCOME, unit->slots, unit->n, out->reply, on_unit_done,
                      unit);
    out->n_waiting++;
    writer_post(out->writer, &unit->unit, out->metrics);
}

/* Room for a record of at most size bytes in the open unit. */
static uint8_t *begin_record(struct outcome_out *out, size_t size) {
    struct outcome_unit *unit = open_unit(out);
    if (unit->n == UNIT_RECORDS_MAX || size > unit->bytes.max - unit->bytes.len) {
        outcome_flush(out);
        unit = open_unit(out);
    }
    char *at;
    MR_ASSERT(mr_is_ok(mr_buf_reserve(&unit->bytes, size, &at)));
    return (uint8_t *)at;
}

static void end_record(struct outcome_out *out, enum record_type type, size_t len) {
    struct outcome_unit *unit = out->open;
    unit->offsets[unit->n] = unit->bytes.len;
    unit->slots[unit->n] =
        journal_slot_of((uint8_t)type, 0, mr_str_of(unit->bytes.ptr + unit->bytes.len, len));
    unit->n++;
    mr_buf_commit(&unit->bytes, len);
}

static void add_outcome(struct outcome_out *out, uint32_t destination,
                        const struct lane_record *record) {
    static const uint8_t kinds[] = {[LANE_RECORD_DELIVERED] = RECORD_DELIVERED,
                                    [LANE_RECORD_RETRY] = RECORD_RETRY,
                                    [LANE_RECORD_SPLIT] = RECORD_SPLIT};
    size_t size = RECORD_OUTCOME_BYTES(record->n_positions);
    uint8_t *at = begin_record(out, size);
    bool failed = record->kind != LANE_RECORD_DELIVERED && record->from_attempt;
    const struct record_outcome outcome = {
        .kind = kinds[record->kind],
        .reason = record->reason,
        .flags = (uint8_t)((failed ? RECORD_OUTCOME_FAILED : 0) |
                           (record->kind == LANE_RECORD_SPLIT ? RECORD_OUTCOME_PART : 0)),
        .form = record->form,
        .last_status = record->status,
        .destination = destination,
        .origin = record->origin,
        .attempt = record->attempt,
        .split_at = record->kind == LANE_RECORD_SPLIT ? record->n_first : 0,
        .at_ms = record->now_ms,
        .due_ms = record->kind == LANE_RECORD_DELIVERED ? 0 : record->due_ms,
        .first_ms = record->first_attempt_ms,
        .n_positions = record->n_positions};
    size_t len;
    MR_ASSERT(mr_is_ok(record_outcome_encode(&outcome, record->positions, at, size, &len)));
    end_record(out, RECORD_OUTCOME, len);
}

static void add_dead(struct outcome_out *out, uint32_t destination,
                     const struct lane_record *record,
                     void (*random)(void *ctx, void *bytes, size_t n), void *random_ctx) {
    struct record_dead_item items[LANE_BATCH_MAX];
    MR_ASSERT(record->n_positions <= LANE_BATCH_MAX);
    uint8_t bytes[10];
    random(random_ctx, bytes, sizeof bytes);
    struct record_letter_id id = record_letter_id_make(record->now_ms, bytes);
    for (uint32_t i = 0; i < record->n_positions; i++) {
        items[i] = (struct record_dead_item){record->positions[i], id};
        id = record_letter_id_next(&id);
    }
    size_t size = RECORD_DEAD_BYTES(record->n_positions);
    uint8_t *at = begin_record(out, size);
    const struct record_dead dead = {
        .reason = record->reason,
        .flags = (uint8_t)((record->from_attempt ? RECORD_DEAD_FAILED : 0) |
                           (record->reason == LANE_REASON_UNREADABLE ? RECORD_DEAD_NO_PAYLOAD : 0)),
        .last_status = record->status,
        .destination = destination,
        .origin = record->origin,
        .attempts = record->attempt,
        .first_ms = record->first_attempt_ms,
        .last_ms = record->attempt > 0 ? record->now_ms : 0,
        .n = record->n_positions};
    size_t len;
    MR_ASSERT(mr_is_ok(record_dead_encode(&dead, items, at, size, &len)));
    end_record(out, RECORD_DEAD, len);
}

static void add_discard(struct outcome_out *out, uint32_t destination,
                        const struct lane_record *record) {
    size_t size = RECORD_DISCARD_HEAD_BYTES + RECORD_POSITIONS_BYTES(record->n_positions);
    uint8_t *at = begin_record(out, size);
    const struct record_discard discard = {.destination = destination,
                                           .origin = record->origin,
                                           .before_ms = INT64_MAX,
                                           .n_positions = record->n_positions};
    size_t len;
    MR_ASSERT(mr_is_ok(record_discard_encode(&discard, NULL, record->positions, at, size, &len)));
    end_record(out, RECORD_DISCARD, len);
}

void outcome_add_singles(struct outcome_out *out, uint32_t destination, int64_t now_ms,
                         int64_t until_ms) {
    uint8_t *at = begin_record(out, RECORD_OUTCOME_BYTES(0));
    const struct record_outcome outcome = {
        .kind = RECORD_SINGLES, .destination = destination, .at_ms = now_ms, .due_ms = until_ms};
    size_t len;
    MR_ASSERT(mr_is_ok(record_outcome_encode(&outcome, NULL, at, RECORD_OUTCOME_BYTES(0), &len)));
    end_record(out, RECORD_OUTCOME, len);
}

void outcome_add_callback(struct outcome_out *out, const struct record_callback_outcome *outcome) {
    uint8_t *at = begin_record(out, RECORD_CALLBACK_OUTCOME_BYTES);
    size_t len;
    MR_ASSERT(
        mr_is_ok(record_callback_outcome_encode(outcome, at, RECORD_CALLBACK_OUTCOME_BYTES, &len)));
    end_record(out, RECORD_CALLBACK_OUTCOME, len);
    out->open->credits++;
}

void outcome_add(struct outcome_out *out, uint32_t destination, const struct lane_record *record,
                 void (*random)(void *ctx, void *bytes, size_t n), void *random_ctx) {
    switch ((enum lane_record_kind)record->kind) {
    case LANE_RECORD_DELIVERED:
    case LANE_RECORD_RETRY:
    case LANE_RECORD_SPLIT:
        add_outcome(out, destination, record);
        break;
    case LANE_RECORD_DEAD:
        add_dead(out, destination, record, random, random_ctx);
        break;
    case LANE_RECORD_DISCARDED:
        add_discard(out, destination, record);
        break;
    }
    if (record->from_attempt) {
        out->open->credits++;
    }
}
