/* EVENT and OUTCOME records, positions, names. See record.h; the other types are in
 * record_more.c.
 *
 * All numbers are little-endian; the first byte of every body is the form's version, 1. A decoder
 * accepts exactly what an encoder can have written: every reserved byte zero, every length adding
 * up to the body's, so that a change of form is a change of the version byte and nothing else. A
 * larger version is LEDGER_E_NEWER, which is another matter than damage.
 *
 * EVENT, 104 bytes, then targets, then the envelope to the end of the body:
 *     0 version   1 zero      2 n_targets u16        4 account u32     8 accepted_ms i64
 *    16 tag 16 B 32 digest u64 40 envelope bytes u32 44 targets bytes u32
 *    48 schema version u16    50 zero u16, u32       56 six spans {offset u32, length u32}
 * Tag and digest stand at fixed places, for the writer's hook reads nothing else. A target is
 *     destination u32, version u16, u16 {bit 15 skipped, bits 12-14 zero, bits 0-11 n_rules}, rules
 * u32 each. The head comes first and the envelope last, so that an envelope can be rendered behind
 * room for its head and never moves.
 *
 * OUTCOME, 56 bytes, then positions to the end:
 *     0 version 1 kind 2 reason 3 flags 4 status u16 6 zero u16 8 form u32 12 destination u32
 *    16 origin u32 20 attempt u32 24 split_at u32 28 n u32 32 at_ms 40 due_ms 48 first_ms
 *
 * Positions: varints; the first is the position, each further one the zigzag of its distance to the
 * one before. Order is kept, for a request's token is computed from it. */
#include "ledger/record.h"

#include "ledger/record_parts.h"

#define VERSION           1U
#define TARGET_SKIPPED    0x8000U
#define TARGET_RULES_MASK 0x0FFFU

_Static_assert(RECORD_RULES_MAX <= TARGET_RULES_MASK, "the count of rules fits its bits");
_Static_assert(RECORD_EVENT_HEAD_BYTES == 56 + 8 * RECORD_MEMBERS, "the spans end the head");
_Static_assert(RECORD_TARGETS_MAX <= UINT16_MAX, "the count of targets fits");

const char *record_type_name(uint8_t type) {
    static const char *const names[] = {[RECORD_EVENT] = "event",
                                        [RECORD_OUTCOME] = "outcome",
                                        [RECORD_DEAD] = "dead",
                                        [RECORD_ADD] = "add",
                                        [RECORD_DISCARD] = "discard",
                                        [RECORD_ERASED] = "erased",
                                        [RECORD_TOTALS] = "totals",
                                        [RECORD_EXPIRE] = "expire",
                                        [RECORD_AUDIT] = "audit",
                                        [RECORD_CALLBACK] = "callback",
                                        [RECORD_CALLBACK_OUTCOME] = "callback_outcome"};
    bool is_known = type < sizeof names / sizeof names[0] && names[type] != NULL;
    return is_known ? names[type] : "unknown";
}

const char *const record_reason_names[RECORD_REASON_COUNT] = {
    "none",     "status",      "timeout",          "name",     "address_refused", "connect",
    "tls",      "request",     "response",         "gone",     "cancelled",       "unreadable",
    "overflow", "reset",       "throttled",        "rejected", "stream_missing",  "access_denied",
    "kms",      "credentials", "record_too_large", "internal"};

const char *record_reason_name(uint8_t reason) {
    return reason < RECORD_REASON_COUNT ? record_reason_names[reason] : "unknown";
}

mr_err record_reason_parse(mr_str name, uint8_t *ret_reason) {
    for (uint8_t i = 0; i < RECORD_REASON_COUNT; i++) {
        if (mr_str_eq(name, mr_str_c(record_reason_names[i]))) {
            *ret_reason = i;
            return MR_OK;
        }
    }
    return MR_ERR(MR_E_NOT_FOUND);
}

/* The first byte of a body of at least `head` bytes. */
static mr_err check_version(mr_str body, size_t head) {
    if (body.len < 1) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    uint8_t version = (uint8_t)body.ptr[0];
    if (version > VERSION) {
        return MR_ERR(LEDGER_E_NEWER);
    }
    return version == VERSION && body.len >= head ? MR_OK : MR_ERR(LEDGER_E_RECORD);
}

/* --- positions -------------------------------------------------------------------------------- */

size_t record_positions_put(uint8_t *at, const uint64_t *positions, uint32_t n) {
    size_t len = 0;
    uint64_t last = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t distance = positions[i] - last;
        uint64_t coded = i == 0 ? positions[i] : distance << 1 ^ (0U - (distance >> 63));
        len += mr_varint_put(at + len, coded);
        last = positions[i];
    }
    return len;
}

static bool positions_step(struct record_positions *positions, bool is_first, uint64_t *ret_pos) {
    uint64_t coded;
    if (mr_is_err(mr_varint_get(&positions->at, positions->end, &coded))) {
        return false;
    }
    positions->last = is_first ? coded : positions->last + (coded >> 1 ^ (0U - (coded & 1)));
    positions->n--;
    *ret_pos = positions->last;
    return true;
}

bool record_positions_next(struct record_positions *positions, uint64_t *ret_pos) {
    return positions->n > 0 && positions_step(positions, positions->last == 0, ret_pos);
}

mr_err record_positions_take(const uint8_t **at, const uint8_t *end, uint32_t n,
                             struct record_positions *ret_positions) {
    struct record_positions walk = {.n = n, .at = *at, .end = end};
    if (n > RECORD_POSITIONS_MAX) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    while (walk.n > 0) {
        uint64_t pos;
        /* 0 is no position, and is how the walk knows its beginning. */
        if (!positions_step(&walk, walk.last == 0, &pos) || pos == 0) {
            return MR_ERR(LEDGER_E_RECORD);
        }
    }
    *ret_positions = (struct record_positions){.n = n, .at = *at, .end = walk.at};
    *at = walk.at;
    return MR_OK;
}

/* --- EVENT ------------------------------------------------------------------------------------ */

size_t record_event_head_bytes(const struct record_target *targets, uint32_t n_targets) {
    size_t bytes = RECORD_EVENT_HEAD_BYTES;
    for (uint32_t i = 0; i < n_targets; i++) {
        bytes += RECORD_TARGET_BYTES(targets[i].n_rules);
    }
    return bytes;
}

static mr_err check_event_spec(const struct record_event_spec *spec, size_t head, size_t size) {
    if (spec->n_targets > RECORD_TARGETS_MAX || spec->envelope.len > RECORD_ENVELOPE_BYTES_MAX ||
        head > UINT32_MAX || head + spec->envelope.len > size) {
        return MR_ERR(MR_E_LIMIT);
    }
    for (uint32_t i = 0; i < spec->n_targets; i++) {
        if (spec->targets[i].n_rules > RECORD_RULES_MAX) {
            return MR_ERR(MR_E_LIMIT);
        }
    }
    for (size_t i = 0; i < RECORD_MEMBERS; i++) {
        struct record_span span = spec->spans[i];
        bool is_absent = span.offset == 0;
        if (is_absent ? span.len != 0 : (uint64_t)span.offset + span.len > spec->envelope.len) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    return MR_OK;
}

static void put_targets(const struct record_event_spec *spec, uint8_t *at) {
    for (uint32_t i = 0; i < spec->n_targets; i++) {
        const struct record_target *target = &spec->targets[i];
        bool is_skipped = (target->flags & RECORD_TARGET_SKIPPED) != 0;
        mr_put_u32(at, target->destination);
        mr_put_u16(at + 4, target->version);
        mr_put_u16(at + 6, (uint16_t)(target->n_rules | (is_skipped ? TARGET_SKIPPED : 0)));
        at += 8;
        if (target->n_rules > 0) {
            memcpy(at, spec->rules[i], 4 * (size_t)target->n_rules);
            at += 4 * (size_t)target->n_rules;
        }
    }
}

mr_err record_event_encode(const struct record_event_spec *spec, uint8_t *out, size_t size,
                           size_t *ret_len) {
    size_t head = record_event_head_bytes(spec->targets, spec->n_targets);
    MR_TRY(check_event_spec(spec, head, size));
    if (spec->envelope.len > 0 && (const uint8_t *)spec->envelope.ptr != out + head) {
        memmove(out + head, spec->envelope.ptr, spec->envelope.len);
    }
    memset(out, 0, RECORD_EVENT_HEAD_BYTES);
    out[0] = VERSION;
    mr_put_u16(out + 2, (uint16_t)spec->n_targets);
    mr_put_u32(out + 4, spec->account);
    mr_put_u64(out + 8, (uint64_t)spec->accepted_ms);
    mr_put_u64(out + RECORD_EVENT_TAG_AT, spec->tag.lo);
    mr_put_u64(out + RECORD_EVENT_TAG_AT + 8, spec->tag.hi);
    mr_put_u64(out + RECORD_EVENT_DIGEST_AT, spec->digest);
    mr_put_u32(out + 40, (uint32_t)spec->envelope.len);
    mr_put_u32(out + 44, (uint32_t)(head - RECORD_EVENT_HEAD_BYTES));
    mr_put_u16(out + 48, spec->schema_version);
    for (size_t i = 0; i < RECORD_MEMBERS; i++) {
        mr_put_u32(out + 56 + 8 * i, spec->spans[i].offset);
        mr_put_u32(out + 60 + 8 * i, spec->spans[i].len);
    }
    put_targets(spec, out + RECORD_EVENT_HEAD_BYTES);
    *ret_len = head + spec->envelope.len;
    return MR_OK;
}

/* One target off the front of *at; false where it is cut off or its flags are unknown. */
static bool take_target(mr_str *at, struct record_target *ret_target) {
    if (at->len < RECORD_TARGET_BYTES(0)) {
        return false;
    }
    uint16_t word = mr_get_u16(at->ptr + 6);
    uint16_t n_rules = word & TARGET_RULES_MASK;
    size_t bytes = RECORD_TARGET_BYTES(n_rules);
    if (at->len < bytes || (word & ~(TARGET_SKIPPED | TARGET_RULES_MASK)) != 0) {
        return false;
    }
    *ret_target = (struct record_target){
        .destination = mr_get_u32(at->ptr),
        .version = mr_get_u16(at->ptr + 4),
        .flags = (word & TARGET_SKIPPED) != 0 ? RECORD_TARGET_SKIPPED : 0,
        .n_rules = n_rules,
        .rules = (const uint8_t *)at->ptr + 8,
    };
    *at = (mr_str){at->ptr + bytes, at->len - bytes};
    return true;
}

mr_err record_event_decode(mr_str body, struct record_event *ret_event) {
    MR_TRY(check_version(body, RECORD_EVENT_HEAD_BYTES));
    const char *at = body.ptr;
    uint32_t envelope_len = mr_get_u32(at + 40);
    uint32_t targets_len = mr_get_u32(at + 44);
    if (at[1] != 0 || mr_get_u16(at + 50) != 0 || mr_get_u32(at + 52) != 0 ||
        envelope_len > RECORD_ENVELOPE_BYTES_MAX ||
        body.len != (uint64_t)RECORD_EVENT_HEAD_BYTES + targets_len + envelope_len) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    struct record_event event = {
        .account = mr_get_u32(at + 4),
        .accepted_ms = (int64_t)mr_get_u64(at + 8),
        .tag = {mr_get_u64(at + RECORD_EVENT_TAG_AT), mr_get_u64(at + RECORD_EVENT_TAG_AT + 8)},
        .digest = mr_get_u64(at + RECORD_EVENT_DIGEST_AT),
        .schema_version = mr_get_u16(at + 48),
        .envelope = {at + RECORD_EVENT_HEAD_BYTES + targets_len, envelope_len},
        .n_targets = mr_get_u16(at + 2),
        .targets = {at + RECORD_EVENT_HEAD_BYTES, targets_len},
    };
    for (size_t i = 0; i < RECORD_MEMBERS; i++) {
        struct record_span span = {mr_get_u32(at + 56 + 8 * i), mr_get_u32(at + 60 + 8 * i)};
        if ((span.offset == 0 && span.len != 0) ||
            (uint64_t)span.offset + span.len > envelope_len) {
            return MR_ERR(LEDGER_E_RECORD);
        }
        event.spans[i] = span;
    }
    mr_str walk = event.targets;
    struct record_target target;
    for (uint32_t i = 0; i < event.n_targets; i++) {
        if (!take_target(&walk, &target)) {
            return MR_ERR(LEDGER_E_RECORD);
        }
    }
    if (walk.len != 0) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    *ret_event = event;
    return MR_OK;
}

bool record_targets_next(mr_str *at, struct record_target *ret_target) {
    return take_target(at, ret_target);
}

mr_err record_event_target(const struct record_event *event, uint32_t destination,
                           struct record_target *ret_target) {
    mr_str walk = event->targets;
    struct record_target target;
    while (record_targets_next(&walk, &target)) {
        if (target.destination == destination) {
            *ret_target = target;
            return MR_OK;
        }
    }
    return MR_ERR(MR_E_NOT_FOUND);
}

bool record_event_tag(mr_str body, struct siphash_128 *ret_tag, uint64_t *ret_digest) {
    if (body.len < RECORD_EVENT_HEAD_BYTES) {
        return false;
    }
    ret_tag->lo = mr_get_u64(body.ptr + RECORD_EVENT_TAG_AT);
    ret_tag->hi = mr_get_u64(body.ptr + RECORD_EVENT_TAG_AT + 8);
    *ret_digest = mr_get_u64(body.ptr + RECORD_EVENT_DIGEST_AT);
    return true;
}

/* --- OUTCOME ---------------------------------------------------------------------------------- */

static bool outcome_is_valid(const struct record_outcome *o) {
    if (o->kind < RECORD_DELIVERED || o->kind > RECORD_SINGLES ||
        o->reason >= RECORD_REASON_COUNT ||
        (o->flags & ~(RECORD_OUTCOME_FAILED | RECORD_OUTCOME_PART)) != 0) {
        return false;
    }
    if (o->kind == RECORD_SINGLES ? o->n_positions != 0 : o->n_positions == 0) {
        return false;
    }
    return o->kind == RECORD_SPLIT ? o->split_at > 0 && o->split_at < o->n_positions
                                   : o->split_at == 0;
}

mr_err record_outcome_encode(const struct record_outcome *outcome, const uint64_t *positions,
                             uint8_t *out, size_t size, size_t *ret_len) {
    if (!outcome_is_valid(outcome)) {
        return MR_ERR(MR_E_INVALID);
    }
    if (outcome->n_positions > RECORD_POSITIONS_MAX ||
        size < RECORD_OUTCOME_BYTES(outcome->n_positions)) {
        return MR_ERR(MR_E_LIMIT);
    }
    for (uint32_t i = 0; i < outcome->n_positions; i++) {
        if (positions[i] == 0) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    memset(out, 0, RECORD_OUTCOME_HEAD_BYTES);
    out[0] = VERSION;
    out[1] = outcome->kind;
    out[2] = outcome->reason;
    out[3] = outcome->flags;
    mr_put_u16(out + 4, outcome->last_status);
    mr_put_u32(out + 8, outcome->form);
    mr_put_u32(out + 12, outcome->destination);
    mr_put_u32(out + 16, outcome->origin);
    mr_put_u32(out + 20, outcome->attempt);
    mr_put_u32(out + 24, outcome->split_at);
    mr_put_u32(out + 28, outcome->n_positions);
    mr_put_u64(out + 32, (uint64_t)outcome->at_ms);
    mr_put_u64(out + 40, (uint64_t)outcome->due_ms);
    mr_put_u64(out + 48, (uint64_t)outcome->first_ms);
    *ret_len = RECORD_OUTCOME_HEAD_BYTES + record_positions_put(out + RECORD_OUTCOME_HEAD_BYTES,
                                                                positions, outcome->n_positions);
    return MR_OK;
}

mr_err record_outcome_decode(mr_str body, struct record_outcome *ret_outcome,
                             struct record_positions *ret_positions) {
    MR_TRY(check_version(body, RECORD_OUTCOME_HEAD_BYTES));
    const char *at = body.ptr;
    struct record_outcome outcome = {
        .kind = (uint8_t)at[1],
        .reason = (uint8_t)at[2],
        .flags = (uint8_t)at[3],
        .last_status = mr_get_u16(at + 4),
        .form = mr_get_u32(at + 8),
        .destination = mr_get_u32(at + 12),
        .origin = mr_get_u32(at + 16),
        .attempt = mr_get_u32(at + 20),
        .split_at = mr_get_u32(at + 24),
        .n_positions = mr_get_u32(at + 28),
        .at_ms = (int64_t)mr_get_u64(at + 32),
        .due_ms = (int64_t)mr_get_u64(at + 40),
        .first_ms = (int64_t)mr_get_u64(at + 48),
    };
    if (mr_get_u16(at + 6) != 0 || !outcome_is_valid(&outcome)) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    const uint8_t *list = (const uint8_t *)at + RECORD_OUTCOME_HEAD_BYTES;
    const uint8_t *end = (const uint8_t *)at + body.len;
    struct record_positions positions;
    MR_TRY(record_positions_take(&list, end, outcome.n_positions, &positions));
    if (list != end) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    *ret_outcome = outcome;
    *ret_positions = positions;
    return MR_OK;
}
