/* DEAD, ADD, DISCARD, ERASED, EXPIRE, AUDIT and TOTALS records. See record.h, and record.c for the
 * rules that all forms share. What is left out is zero.
 *
 * DEAD, 40 bytes:    1 reason 2 flags 4 status u16 8 destination 12 origin 16 attempts 20 n u32
 *                    24 first_ms 32 last_ms; then n × {position u64, letter's id 16 bytes}
 * ADD, 40 bytes:     1 kind 2 version u16 4 account 8 destination 12 origin u32 16 progress u64
 *                    24 n u32 28 type's length u16; the type; n × {position u64, accepted_ms,
 *                    size u32, letter's id}
 * DISCARD, 32 bytes: 4 destination 8 origin 12 n_types u32 16 before_ms 24 n u32 28 types' bytes
 *                    u32; types {length u16, characters}; positions
 * ERASED, 8 bytes:   4 n u32; positions
 * EXPIRE, 12 bytes:  1 cause 4 n u32; n ids
 * AUDIT, 48 bytes:   8 number u64 16 hash
 * TOTALS, 24 bytes:  1 flags 4 n u32 8 as_of 16 journal_start; n × {destination u32, varints:
 *                    origin, created, pending, delivered, dead, discarded, skipped,
 *                    failed_attempts, n; positions} */
#include "ledger/record.h"
#include "ledger/record_parts.h"

#define VERSION       1U
#define DEAD_ITEM     24U
#define ADD_ITEM      36U
#define DISCARD_FIXED RECORD_DISCARD_HEAD_BYTES

static mr_err begin(uint8_t *out, size_t size, size_t head, size_t all) {
    if (size < all) {
        return MR_ERR(MR_E_LIMIT);
    }
    memset(out, 0, head);
    out[0] = VERSION;
    return MR_OK;
}

static mr_err check(mr_str body, size_t head) {
    if (body.len < 1) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    if ((uint8_t)body.ptr[0] > VERSION) {
        return MR_ERR(LEDGER_E_NEWER);
    }
    return (uint8_t)body.ptr[0] == VERSION && body.len >= head ? MR_OK : MR_ERR(LEDGER_E_RECORD);
}

/* --- letters' ids -------------------------------------------------------------------------------
 */

struct record_letter_id record_letter_id_make(int64_t wall_ms, const uint8_t random[static 10]) {
    struct record_letter_id id;
    for (size_t i = 0; i < 6; i++) {
        id.bytes[i] = (uint8_t)((uint64_t)wall_ms >> (40 - 8 * i));
    }
    memcpy(id.bytes + 6, random, 10);
    return id;
}

struct record_letter_id record_letter_id_next(const struct record_letter_id *id) {
    struct record_letter_id next = *id;
    for (size_t i = sizeof next.bytes; i-- > 0 && ++next.bytes[i] == 0;) {
    }
    return next;
}

int64_t record_letter_id_ms(const struct record_letter_id *id) {
    uint64_t ms = 0;
    for (size_t i = 0; i < 6; i++) {
        ms = ms << 8 | id->bytes[i];
    }
    return (int64_t)ms;
}

static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz";

void record_ulid_format(const struct record_letter_id *id, const char prefix[static 3],
                        char out[static RECORD_LETTER_TEXT_LEN]) {
    /* Not mr_ulid_format: a stored id may hold a time that no clock shows. */
    uint64_t high = 0;
    uint64_t low = 0;
    for (size_t i = 0; i < 8; i++) {
        high = high << 8 | id->bytes[i];
        low = low << 8 | id->bytes[8 + i];
    }
    for (size_t i = RECORD_LETTER_TEXT_LEN; i-- > 3;) {
        out[i] = base32[low & 31];
        low = low >> 5 | high << 59;
        high >>= 5;
    }
    memcpy(out, prefix, 3);
}

void record_letter_id_format(const struct record_letter_id *id,
                             char out[static RECORD_LETTER_TEXT_LEN]) {
    record_ulid_format(id, "dl_", out);
}

static unsigned base32_value(char c) {
    const char *at = memchr(base32, c, 32);
    return at == NULL ? 32U : (unsigned)(at - base32);
}

mr_err record_ulid_parse(mr_str text, mr_str prefix, struct record_letter_id *ret_id) {
    if (text.len != RECORD_LETTER_TEXT_LEN || !mr_str_starts(text, prefix) ||
        !mr_ulid_is_valid(mr_str_slice(text, 3, text.len))) {
        return MR_ERR(MR_E_INVALID);
    }
    /* 26 characters of 5 bits, the first two bits zero: 128 bits, the highest first. */
    uint64_t high = 0;
    uint64_t low = 0;
    for (size_t i = 3; i < text.len; i++) {
        unsigned value = base32_value(text.ptr[i]);
        if (value > 31) {
            return MR_ERR(MR_E_INVALID);
        }
        high = high << 5 | low >> 59;
        low = low << 5 | value;
    }
    for (size_t i = 0; i < 8; i++) {
        ret_id->bytes[i] = (uint8_t)(high >> (56 - 8 * i));
        ret_id->bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
    return MR_OK;
}

mr_err record_letter_id_parse(mr_str text, struct record_letter_id *ret_id) {
    return record_ulid_parse(text, MR_STR("dl_"), ret_id);
}

/* --- DEAD ---------------------------------------------------------------------------------------
 */

mr_err record_dead_encode(const struct record_dead *dead, const struct record_dead_item *items,
                          uint8_t *out, size_t size, size_t *ret_len) {
    if (dead->reason >= RECORD_REASON_COUNT || dead->n == 0 ||
        (dead->flags & ~(RECORD_DEAD_FAILED | RECORD_DEAD_NO_PAYLOAD)) != 0) {
        return MR_ERR(MR_E_INVALID);
    }
    if (dead->n > RECORD_POSITIONS_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    MR_TRY(begin(out, size, RECORD_DEAD_HEAD_BYTES, RECORD_DEAD_BYTES(dead->n)));
    out[1] = dead->reason;
    out[2] = dead->flags;
    mr_put_u16(out + 4, dead->last_status);
    mr_put_u32(out + 8, dead->destination);
    mr_put_u32(out + 12, dead->origin);
    mr_put_u32(out + 16, dead->attempts);
    mr_put_u32(out + 20, dead->n);
    mr_put_u64(out + 24, (uint64_t)dead->first_ms);
    mr_put_u64(out + 32, (uint64_t)dead->last_ms);
    for (uint32_t i = 0; i < dead->n; i++) {
        uint8_t *at = out + RECORD_DEAD_HEAD_BYTES + (size_t)i * DEAD_ITEM;
        if (items[i].pos == 0) {
            return MR_ERR(MR_E_INVALID);
        }
        mr_put_u64(at, items[i].pos);
        memcpy(at + 8, items[i].id.bytes, RECORD_LETTER_ID_BYTES);
    }
    *ret_len = RECORD_DEAD_BYTES(dead->n);
    return MR_OK;
}

mr_err record_dead_decode(mr_str body, struct record_dead *ret_dead, const uint8_t **ret_items) {
    MR_TRY(check(body, RECORD_DEAD_HEAD_BYTES));
    const char *at = body.ptr;
    struct record_dead dead = {
        .reason = (uint8_t)at[1],
        .flags = (uint8_t)at[2],
        .last_status = mr_get_u16(at + 4),
        .destination = mr_get_u32(at + 8),
        .origin = mr_get_u32(at + 12),
        .attempts = mr_get_u32(at + 16),
        .n = mr_get_u32(at + 20),
        .first_ms = (int64_t)mr_get_u64(at + 24),
        .last_ms = (int64_t)mr_get_u64(at + 32),
    };
    if (at[3] != 0 || mr_get_u16(at + 6) != 0 || dead.reason >= RECORD_REASON_COUNT ||
        (dead.flags & ~(RECORD_DEAD_FAILED | RECORD_DEAD_NO_PAYLOAD)) != 0 || dead.n == 0 ||
        dead.n > RECORD_POSITIONS_MAX || body.len != RECORD_DEAD_BYTES(dead.n)) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    const uint8_t *items = (const uint8_t *)at + RECORD_DEAD_HEAD_BYTES;
    for (uint32_t i = 0; i < dead.n; i++) {
        if (mr_get_u64(items + (size_t)i * DEAD_ITEM) == 0) {
            return MR_ERR(LEDGER_E_RECORD);
        }
    }
    *ret_dead = dead;
    *ret_items = items;
    return MR_OK;
}

struct record_dead_item record_dead_item_at(const uint8_t *items, uint32_t i) {
    const uint8_t *at = items + (size_t)i * DEAD_ITEM;
    struct record_dead_item item = {.pos = mr_get_u64(at)};
    memcpy(item.id.bytes, at + 8, RECORD_LETTER_ID_BYTES);
    return item;
}

/* --- ADD ----------------------------------------------------------------------------------------
 */

mr_err record_add_encode(const struct record_add *add, const struct record_add_item *items,
                         uint8_t *out, size_t size, size_t *ret_len) {
    if (add->kind < RECORD_ADD_REDRIVE || add->kind > RECORD_ADD_REPLAY || add->origin == 0) {
        return MR_ERR(MR_E_INVALID);
    }
    if (add->n > RECORD_POSITIONS_MAX || add->type.len > UINT16_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    MR_TRY(begin(out, size, RECORD_ADD_HEAD_BYTES, RECORD_ADD_BYTES(add->type.len, add->n)));
    out[1] = add->kind;
    mr_put_u16(out + 2, add->version);
    mr_put_u32(out + 4, add->account);
    mr_put_u32(out + 8, add->destination);
    mr_put_u32(out + 12, add->origin);
    mr_put_u64(out + 16, add->progress);
    mr_put_u32(out + 24, add->n);
    mr_put_u16(out + 28, (uint16_t)add->type.len);
    uint8_t *at = out + RECORD_ADD_HEAD_BYTES;
    if (add->type.len > 0) {
        memcpy(at, add->type.ptr, add->type.len);
        at += add->type.len;
    }
    for (uint32_t i = 0; i < add->n; i++) {
        if (items[i].pos == 0) {
            return MR_ERR(MR_E_INVALID);
        }
        mr_put_u64(at, items[i].pos);
        mr_put_u64(at + 8, (uint64_t)items[i].accepted_ms);
        mr_put_u32(at + 16, items[i].size);
        memcpy(at + 20, items[i].letter.bytes, RECORD_LETTER_ID_BYTES);
        at += ADD_ITEM;
    }
    *ret_len = RECORD_ADD_BYTES(add->type.len, add->n);
    return MR_OK;
}

mr_err record_add_decode(mr_str body, struct record_add *ret_add, const uint8_t **ret_items) {
    MR_TRY(check(body, RECORD_ADD_HEAD_BYTES));
    const char *at = body.ptr;
    struct record_add add = {
        .kind = (uint8_t)at[1],
        .version = mr_get_u16(at + 2),
        .account = mr_get_u32(at + 4),
        .destination = mr_get_u32(at + 8),
        .origin = mr_get_u32(at + 12),
        .progress = mr_get_u64(at + 16),
        .n = mr_get_u32(at + 24),
        .type = {at + RECORD_ADD_HEAD_BYTES, mr_get_u16(at + 28)},
    };
    if (mr_get_u16(at + 30) != 0 || mr_get_u64(at + 32) != 0 || add.kind < RECORD_ADD_REDRIVE ||
        add.kind > RECORD_ADD_REPLAY || add.origin == 0 || add.n > RECORD_POSITIONS_MAX ||
        body.len != RECORD_ADD_BYTES(add.type.len, add.n)) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    const uint8_t *items = (const uint8_t *)at + RECORD_ADD_HEAD_BYTES + add.type.len;
    for (uint32_t i = 0; i < add.n; i++) {
        if (mr_get_u64(items + (size_t)i * ADD_ITEM) == 0) {
            return MR_ERR(LEDGER_E_RECORD);
        }
    }
    *ret_add = add;
    *ret_items = items;
    return MR_OK;
}

struct record_add_item record_add_item_at(const uint8_t *items, uint32_t i) {
    const uint8_t *at = items + (size_t)i * ADD_ITEM;
    struct record_add_item item = {.pos = mr_get_u64(at),
                                   .accepted_ms = (int64_t)mr_get_u64(at + 8),
                                   .size = mr_get_u32(at + 16)};
    memcpy(item.letter.bytes, at + 20, RECORD_LETTER_ID_BYTES);
    return item;
}

/* --- DISCARD, ERASED ----------------------------------------------------------------------------
 */

static bool discard_is_valid(const struct record_discard *discard) {
    return discard->n_types <= RECORD_TYPES_MAX && discard->n_positions <= RECORD_POSITIONS_MAX &&
           (discard->n_positions == 0 ||
            (discard->n_types == 0 && discard->before_ms == INT64_MAX));
}

mr_err record_discard_encode(const struct record_discard *discard, const mr_str *types,
                             const uint64_t *positions, uint8_t *out, size_t size,
                             size_t *ret_len) {
    if (!discard_is_valid(discard)) {
        return MR_ERR(MR_E_INVALID);
    }
    size_t types_len = 0;
    for (uint32_t i = 0; i < discard->n_types; i++) {
        if (types[i].len > UINT16_MAX) {
            return MR_ERR(MR_E_LIMIT);
        }
        types_len += 2 + types[i].len;
    }
    MR_TRY(begin(out, size, DISCARD_FIXED,
                 DISCARD_FIXED + types_len + RECORD_POSITIONS_BYTES(discard->n_positions)));
    mr_put_u32(out + 4, discard->destination);
    mr_put_u32(out + 8, discard->origin);
    mr_put_u32(out + 12, discard->n_types);
    mr_put_u64(out + 16, (uint64_t)discard->before_ms);
    mr_put_u32(out + 24, discard->n_positions);
    mr_put_u32(out + 28, (uint32_t)types_len);
    uint8_t *at = out + DISCARD_FIXED;
    for (uint32_t i = 0; i < discard->n_types; i++) {
        mr_put_u16(at, (uint16_t)types[i].len);
        if (types[i].len > 0) {
            memcpy(at + 2, types[i].ptr, types[i].len);
        }
        at += 2 + types[i].len;
    }
    for (uint32_t i = 0; i < discard->n_positions; i++) {
        if (positions[i] == 0) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    at += record_positions_put(at, positions, discard->n_positions);
    *ret_len = (size_t)(at - out);
    return MR_OK;
}

bool record_types_next(mr_str *at, mr_str *ret_type) {
    if (at->len < 2) {
        return false;
    }
    size_t len = mr_get_u16(at->ptr);
    if (at->len < 2 + len) {
        return false;
    }
    *ret_type = (mr_str){at->ptr + 2, len};
    *at = (mr_str){at->ptr + 2 + len, at->len - 2 - len};
    return true;
}

mr_err record_discard_decode(mr_str body, struct record_discard *ret_discard,
                             struct record_positions *ret_positions) {
    MR_TRY(check(body, DISCARD_FIXED));
    const char *at = body.ptr;
    struct record_discard discard = {
        .destination = mr_get_u32(at + 4),
        .origin = mr_get_u32(at + 8),
        .before_ms = (int64_t)mr_get_u64(at + 16),
        .n_types = mr_get_u32(at + 12),
        .types = {at + DISCARD_FIXED, mr_get_u32(at + 28)},
        .n_positions = mr_get_u32(at + 24),
    };
    if (at[1] != 0 || at[2] != 0 || at[3] != 0 || !discard_is_valid(&discard) ||
        discard.types.len > body.len - DISCARD_FIXED) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    mr_str walk = discard.types;
    mr_str type;
    for (uint32_t i = 0; i < discard.n_types; i++) {
        if (!record_types_next(&walk, &type)) {
            return MR_ERR(LEDGER_E_RECORD);
        }
    }
    const uint8_t *list = (const uint8_t *)at + DISCARD_FIXED + discard.types.len;
    const uint8_t *end = (const uint8_t *)at + body.len;
    struct record_positions positions;
    MR_TRY(record_positions_take(&list, end, discard.n_positions, &positions));
    if (walk.len != 0 || list != end) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    *ret_discard = discard;
    *ret_positions = positions;
    return MR_OK;
}

mr_err record_erased_encode(const uint64_t *positions, uint32_t n, uint8_t *out, size_t size,
                            size_t *ret_len) {
    if (n > RECORD_POSITIONS_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (positions[i] == 0) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    MR_TRY(begin(out, size, RECORD_ERASED_HEAD_BYTES,
                 RECORD_ERASED_HEAD_BYTES + RECORD_POSITIONS_BYTES(n)));
    mr_put_u32(out + 4, n);
    *ret_len = RECORD_ERASED_HEAD_BYTES +
               record_positions_put(out + RECORD_ERASED_HEAD_BYTES, positions, n);
    return MR_OK;
}

mr_err record_erased_decode(mr_str body, struct record_positions *ret_positions) {
    MR_TRY(check(body, RECORD_ERASED_HEAD_BYTES));
    const uint8_t *list = (const uint8_t *)body.ptr + RECORD_ERASED_HEAD_BYTES;
    const uint8_t *end = (const uint8_t *)body.ptr + body.len;
    struct record_positions positions;
    MR_TRY(record_positions_take(&list, end, mr_get_u32(body.ptr + 4), &positions));
    if (body.ptr[1] != 0 || body.ptr[2] != 0 || body.ptr[3] != 0 || list != end) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    *ret_positions = positions;
    return MR_OK;
}

/* --- EXPIRE -------------------------------------------------------------------------------------
 */

mr_err record_expire_encode(uint8_t cause, const struct record_letter_id *ids, uint32_t n,
                            uint8_t *out, size_t size, size_t *ret_len) {
    if (cause < RECORD_EXPIRE_AGE || cause > RECORD_EXPIRE_REMOVED) {
        return MR_ERR(MR_E_INVALID);
    }
    if (n > RECORD_EXPIRE_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    MR_TRY(begin(out, size, RECORD_EXPIRE_HEAD_BYTES, RECORD_EXPIRE_BYTES(n)));
    out[1] = cause;
    mr_put_u32(out + 4, n);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(out + RECORD_EXPIRE_BYTES(i), ids[i].bytes, RECORD_LETTER_ID_BYTES);
    }
    *ret_len = RECORD_EXPIRE_BYTES(n);
    return MR_OK;
}

mr_err record_expire_decode(mr_str body, uint8_t *ret_cause, uint32_t *ret_n,
                            const uint8_t **ret_ids) {
    MR_TRY(check(body, RECORD_EXPIRE_HEAD_BYTES));
    const char *at = body.ptr;
    uint8_t cause = (uint8_t)at[1];
    uint32_t n = mr_get_u32(at + 4);
    if (cause < RECORD_EXPIRE_AGE || cause > RECORD_EXPIRE_REMOVED || at[2] != 0 || at[3] != 0 ||
        mr_get_u32(at + 8) != 0 || n > RECORD_EXPIRE_MAX || body.len != RECORD_EXPIRE_BYTES(n)) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    *ret_cause = cause;
    *ret_n = n;
    *ret_ids = (const uint8_t *)at + RECORD_EXPIRE_HEAD_BYTES;
    return MR_OK;
}

struct record_letter_id record_expire_id_at(const uint8_t *ids, uint32_t i) {
    struct record_letter_id id;
    memcpy(id.bytes, ids + (size_t)i * RECORD_LETTER_ID_BYTES, RECORD_LETTER_ID_BYTES);
    return id;
}

/* --- AUDIT --------------------------------------------------------------------------------------
 */

mr_err record_audit_encode(const struct record_audit *audit, uint8_t *out, size_t size,
                           size_t *ret_len) {
    if (audit->number == 0) {
        return MR_ERR(MR_E_INVALID);
    }
    MR_TRY(begin(out, size, RECORD_AUDIT_BYTES, RECORD_AUDIT_BYTES));
    mr_put_u64(out + 8, audit->number);
    memcpy(out + 16, audit->hash, RECORD_AUDIT_HASH_BYTES);
    *ret_len = RECORD_AUDIT_BYTES;
    return MR_OK;
}

mr_err record_audit_decode(mr_str body, struct record_audit *ret_audit) {
    static const char zeros[7];
    MR_TRY(check(body, RECORD_AUDIT_BYTES));
    struct record_audit audit = {.number = mr_get_u64(body.ptr + 8)};
    if (body.len != RECORD_AUDIT_BYTES || memcmp(body.ptr + 1, zeros, sizeof zeros) != 0 ||
        audit.number == 0) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    memcpy(audit.hash, body.ptr + 16, RECORD_AUDIT_HASH_BYTES);
    *ret_audit = audit;
    return MR_OK;
}

/* --- TOTALS -------------------------------------------------------------------------------------
 */

mr_err record_totals_begin(struct record_totals_builder *builder,
                           const struct record_totals *totals, uint8_t *out, size_t size) {
    MR_TRY(begin(out, size, RECORD_TOTALS_HEAD_BYTES, RECORD_TOTALS_HEAD_BYTES));
    out[1] = totals->flags;
    mr_put_u64(out + 8, totals->as_of);
    mr_put_u64(out + 16, totals->journal_start);
    *builder =
        (struct record_totals_builder){.out = out, .size = size, .len = RECORD_TOTALS_HEAD_BYTES};
    return MR_OK;
}

mr_err record_totals_add(struct record_totals_builder *builder, uint32_t destination,
                         uint32_t origin, const struct record_counters *counters,
                         const uint64_t *positions, uint32_t n) {
    if (n > RECORD_POSITIONS_MAX ||
        builder->size - builder->len < RECORD_TOTALS_ENTRY_BYTES + RECORD_POSITIONS_BYTES(n)) {
        return MR_ERR(MR_E_LIMIT);
    }
    uint8_t *at = builder->out + builder->len;
    mr_put_u32(at, destination);
    at += 4;
    const uint64_t numbers[] = {origin,
                                counters->created,
                                counters->pending,
                                counters->delivered,
                                counters->dead,
                                counters->discarded,
                                counters->skipped,
                                counters->failed_attempts,
                                n};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        at += mr_varint_put(at, numbers[i]);
    }
    at += record_positions_put(at, positions, n);
    builder->len = (size_t)(at - builder->out);
    builder->n++;
    return MR_OK;
}

size_t record_totals_end(struct record_totals_builder *builder, bool is_last) {
    mr_put_u32(builder->out + 4, builder->n);
    if (is_last) {
        builder->out[1] |= RECORD_TOTALS_LAST;
    }
    return builder->len;
}

static mr_err take_totals_entry(mr_str *at, struct record_totals_entry *ret_entry) {
    if (at->len < 4) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    const uint8_t *walk = (const uint8_t *)at->ptr + 4;
    const uint8_t *end = (const uint8_t *)at->ptr + at->len;
    uint64_t numbers[9];
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (mr_is_err(mr_varint_get(&walk, end, &numbers[i]))) {
            return MR_ERR(LEDGER_E_RECORD);
        }
    }
    if (numbers[0] > UINT32_MAX || numbers[8] > RECORD_POSITIONS_MAX) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    struct record_totals_entry entry = {
        .destination = mr_get_u32(at->ptr),
        .origin = (uint32_t)numbers[0],
        .counters = {.created = numbers[1],
                     .pending = numbers[2],
                     .delivered = numbers[3],
                     .dead = numbers[4],
                     .discarded = numbers[5],
                     .skipped = numbers[6],
                     .failed_attempts = numbers[7]},
    };
    MR_TRY(record_positions_take(&walk, end, (uint32_t)numbers[8], &entry.pending));
    *at = (mr_str){(const char *)walk, (size_t)(end - walk)};
    *ret_entry = entry;
    return MR_OK;
}

mr_err record_totals_decode(mr_str body, struct record_totals *ret_totals, mr_str *ret_entries) {
    MR_TRY(check(body, RECORD_TOTALS_HEAD_BYTES));
    const char *at = body.ptr;
    struct record_totals totals = {
        .as_of = mr_get_u64(at + 8),
        .journal_start = mr_get_u64(at + 16),
        .flags = (uint8_t)at[1],
        .n = mr_get_u32(at + 4),
    };
    if (at[2] != 0 || at[3] != 0 ||
        (totals.flags & ~(RECORD_TOTALS_FULL | RECORD_TOTALS_LAST | RECORD_TOTALS_WHOLE)) != 0) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    mr_str entries = {at + RECORD_TOTALS_HEAD_BYTES, body.len - RECORD_TOTALS_HEAD_BYTES};
    mr_str walk = entries;
    struct record_totals_entry entry;
    for (uint32_t i = 0; i < totals.n; i++) {
        MR_TRY(take_totals_entry(&walk, &entry));
    }
    if (walk.len != 0) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    *ret_totals = totals;
    *ret_entries = entries;
    return MR_OK;
}

bool record_totals_next(mr_str *at, struct record_totals_entry *ret_entry) {
    return at->len > 0 && mr_is_ok(take_totals_entry(at, ret_entry));
}
