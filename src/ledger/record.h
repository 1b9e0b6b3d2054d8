/* The records that the ledger keeps in the journal: what they say, and their bytes. Encoders write
 * into the caller's memory; decoders are strict and give views into the body: bytes from a damaged
 * or foreign file are refused, never believed. No state, any thread. Format: see record.c. */
#ifndef MR_LEDGER_RECORD_H
#define MR_LEDGER_RECORD_H

#include "base/err.h"
#include "base/num.h"
#include "base/str.h"
#include "crypto/siphash.h"

enum ledger_err {
    LEDGER_E_RECORD = MR_ERR_CODE(MR_ROOM_LEDGER, 1),  /* bytes that no encoder here wrote */
    LEDGER_E_NEWER = MR_ERR_CODE(MR_ROOM_LEDGER, 2),   /* written by a newer Millrace */
    LEDGER_E_CORRUPT = MR_ERR_CODE(MR_ROOM_LEDGER, 3), /* a file's checksum or structure is wrong */
    LEDGER_E_GAP = MR_ERR_CODE(MR_ROOM_LEDGER, 4),     /* the journal starts behind what is known */
    LEDGER_E_FOREIGN = MR_ERR_CODE(MR_ROOM_LEDGER, 5), /* a file of another store */
};

/* The record type given to the journal. A delivery is (position of its EVENT, destination number,
 * origin); origin 0 = live, else the number of a redrive or replay job. The first record that ends
 * a delivery counts; what later records say of it is ignored. */
enum record_type {
    RECORD_NONE = 0,
    RECORD_EVENT = 1,             /* an event and whom it is owed to */
    RECORD_OUTCOME = 2,           /* what an attempt of a request came to */
    RECORD_DEAD = 3,              /* deliveries become dead letters */
    RECORD_ADD = 4,               /* deliveries made by a redrive or replay job */
    RECORD_DISCARD = 5,           /* pending deliveries are given up by an operator's wish */
    RECORD_ERASED = 6,            /* events whose content was erased */
    RECORD_TOTALS = 7,            /* counters as of a position: a base and a check for recounting */
    RECORD_EXPIRE = 8,            /* dead letters leave the list */
    RECORD_AUDIT = 9,             /* the head of the audit log, which lies elsewhere */
    RECORD_CALLBACK = 16,         /* a callback: one signed request outside event streams */
    RECORD_CALLBACK_OUTCOME = 17, /* what an attempt of one came to */
};
/* "event", "outcome", …; "unknown". */
const char *record_type_name(uint8_t type);

/* Why an attempt failed or a delivery died. Stored; numbers never change. */
enum record_reason {
    RECORD_REASON_NONE = 0,
    RECORD_REASON_STATUS = 1, /* an answer other than 2xx */
    RECORD_REASON_TIMEOUT = 2,
    RECORD_REASON_NAME = 3, /* the name did not resolve */
    RECORD_REASON_ADDRESS_REFUSED = 4,
    RECORD_REASON_CONNECT = 5,
    RECORD_REASON_TLS = 6,
    RECORD_REASON_REQUEST = 7,  /* it could not be built or sent from here */
    RECORD_REASON_RESPONSE = 8, /* the answer was not HTTP */
    RECORD_REASON_GONE = 9,     /* 410 */
    RECORD_REASON_CANCELLED = 10,
    RECORD_REASON_UNREADABLE = 11, /* the stored event is damaged */
    RECORD_REASON_OVERFLOW = 12,   /* the archive is full; the content is gone */
    RECORD_REASON_RESET = 13,      /* the connection died before an answer */
    RECORD_REASON_THROTTLED = 14,
    RECORD_REASON_REJECTED = 15,         /* one record of a batch refused by a stream */
    RECORD_REASON_STREAM_MISSING = 16,   /* there is no such stream */
    RECORD_REASON_ACCESS_DENIED = 17,    /* the role may not write to the stream */
    RECORD_REASON_KMS = 18,              /* the stream's key cannot be used */
    RECORD_REASON_CREDENTIALS = 19,      /* the role cannot be assumed, or no credentials for it */
    RECORD_REASON_RECORD_TOO_LARGE = 20, /* more than a stream takes in one record */
    RECORD_REASON_INTERNAL = 21,         /* the stream's service failed */
    RECORD_REASON_COUNT
};
/* "status", "timeout", … as the API shows them; "unknown". */
extern const char *const record_reason_names[RECORD_REASON_COUNT];
const char *record_reason_name(uint8_t reason);
/* Inverse. MR_E_NOT_FOUND. */
mr_err record_reason_parse(mr_str name, uint8_t *ret_reason);

/* --- EVENT ------------------------------------------------------------------------------------ */

#define RECORD_TARGETS_MAX        65535U
#define RECORD_RULES_MAX          4095U /* of one target */
#define RECORD_ENVELOPE_BYTES_MAX (1024U * 1024)
#define RECORD_TARGET_SKIPPED     1U /* the destination was disabled: counted, not owed */

/* One destination that the event matched. */
struct record_target {
    uint32_t destination;
    uint16_t version; /* schema version to deliver; 0 = the event's own */
    uint8_t flags;    /* RECORD_TARGET_… */
    uint16_t n_rules;
    const uint8_t *rules; /* decoded: n_rules little-endian u32, see record_target_rule */
};

/* A part of the envelope: the characters of a JSON value; of a string those between the quotes, as
 * written (escapes left in). len 0 with offset 0: the member is not there. */
struct record_span {
    uint32_t offset, len;
};
enum record_member {
    RECORD_DATA = 0, /* the value of data or data_base64 */
    RECORD_ID,
    RECORD_TIME,
    RECORD_TYPE_ATTRIBUTE,
    RECORD_SOURCE,
    RECORD_DATASCHEMA,
    RECORD_MEMBERS
};

/* Offsets into an EVENT body that stay: the writer's de-duplication reads them without decoding. */
#define RECORD_EVENT_TAG_AT          16U
#define RECORD_EVENT_DIGEST_AT       32U
#define RECORD_EVENT_HEAD_BYTES      104U
#define RECORD_TARGET_BYTES(n_rules) (8U + 4U * (size_t)(n_rules))

/* A decoded EVENT: views into the body. */
struct record_event {
    uint32_t account;
    int64_t accepted_ms;     /* wall */
    struct siphash_128 tag;  /* of account, source, id */
    uint64_t digest;         /* of the content as the producer sent it, minified */
    uint16_t schema_version; /* of the event itself; 0: none known */
    struct record_span spans[RECORD_MEMBERS];
    mr_str envelope; /* in KORE's member order, minified */
    uint32_t n_targets;
    mr_str targets; /* encoded; walk with record_targets_next */
};

/* What an encoder is given. rules[i] are the rules of targets[i] (its `rules` is not read). */
struct record_event_spec {
    uint32_t account;
    int64_t accepted_ms;
    struct siphash_128 tag;
    uint64_t digest;
    uint16_t schema_version;
    struct record_span spans[RECORD_MEMBERS]; /* relative to the envelope's first byte */
    mr_str envelope; /* may already stand where it belongs: not copied then */
    uint32_t n_targets;
    const struct record_target *targets;
    const uint32_t *const *rules;
};

/* Bytes before the envelope, so that it can be rendered in its place: out + this. */
size_t record_event_head_bytes(const struct record_target *targets, uint32_t n_targets);
/* Writes the record to out (head and targets, then the envelope unless it is there already).
 * MR_E_LIMIT: over a bound above, or more than size; MR_E_INVALID: a span outside the envelope. */
mr_err record_event_encode(const struct record_event_spec *spec, uint8_t *out, size_t size,
                           size_t *ret_len);
/* LEDGER_E_RECORD, LEDGER_E_NEWER. Checks every target too. */
mr_err record_event_decode(mr_str body, struct record_event *ret_event);
/* Walks the targets: set *at to event->targets first; false at the end. */
bool record_targets_next(mr_str *at, struct record_target *ret_target);
/* The target of that destination. MR_E_NOT_FOUND. */
mr_err record_event_target(const struct record_event *event, uint32_t destination,
                           struct record_target *ret_target);
static inline uint32_t record_target_rule(const struct record_target *target, uint32_t i) {
    return mr_get_u32(target->rules + 4 * (size_t)i);
}
static inline mr_str record_event_member(const struct record_event *event, enum record_member m) {
    struct record_span s = event->spans[m];
    return s.offset == 0 ? MR_STR_NONE : (mr_str){event->envelope.ptr + s.offset, s.len};
}
/* The version that a target gets: its own or, at 0, the event's. With the type it is the lane's
 * key. */
static inline uint16_t record_target_version(const struct record_event *event,
                                             const struct record_target *target) {
    return target->version != 0 ? target->version : event->schema_version;
}
/* For the admit hook: an EVENT body's tag and digest. False where the body is too short. */
bool record_event_tag(mr_str body, struct siphash_128 *ret_tag, uint64_t *ret_digest);

/* --- lists of positions ----------------------------------------------------------------------- */

#define RECORD_POSITIONS_MAX 65536U

/* Encoded positions: count known, order kept. Walk with record_positions_next. */
struct record_positions {
    uint32_t n; /* left to read */
    const uint8_t *at, *end;
    uint64_t last;
};
/* False when all are read. Cannot meet bad bytes: the decoder has walked the list. */
bool record_positions_next(struct record_positions *positions, uint64_t *ret_pos);
/* Upper bound of the encoded list. */
#define RECORD_POSITIONS_BYTES(n) (10U * (size_t)(n))

/* --- OUTCOME ---------------------------------------------------------------------------------- */

/* A request is (destination, origin, its positions in their order). */
enum record_outcome_kind {
    RECORD_DELIVERED = 1, /* all of them are delivered */
    RECORD_RETRY = 2,     /* the request stays open: same composition, same token, at due_ms */
    RECORD_SPLIT = 3,     /* open in two parts: the first `split_at` positions, and the rest; both
                             due at due_ms with new tokens and `attempt` spent attempts */
    RECORD_SINGLES = 4,   /* no positions: the lane sends singly until due_ms (wall) */
};
enum record_outcome_flags {
    RECORD_OUTCOME_FAILED = 1 << 0, /* an attempt failed: counts in failed_attempts */
    RECORD_OUTCOME_PART = 1 << 1,   /* the request came out of a split */
};
struct record_outcome {
    uint8_t kind;   /* enum record_outcome_kind */
    uint8_t reason; /* enum record_reason; of a failed attempt */
    uint8_t flags;
    uint16_t last_status; /* HTTP; 0: there was no answer */
    uint32_t
        form; /* method, format, escaping, as the lane has it; kept while the request is open */
    uint32_t destination;
    uint32_t origin;
    uint32_t attempt;  /* attempts spent so far, this one included where it was */
    uint32_t split_at; /* SPLIT: 1 … n − 1; else 0 */
    int64_t at_ms;     /* wall time of this outcome */
    int64_t due_ms;    /* RETRY, SPLIT, SINGLES; else 0 */
    int64_t first_ms;  /* wall time of the request's first attempt */
    uint32_t n_positions;
};
#define RECORD_OUTCOME_HEAD_BYTES 56U
/* Enough for any outcome of n positions. */
#define RECORD_OUTCOME_BYTES(n) (RECORD_OUTCOME_HEAD_BYTES + RECORD_POSITIONS_BYTES(n))
/* MR_E_LIMIT: size too small or too many positions; MR_E_INVALID: the fields contradict. */
mr_err record_outcome_encode(const struct record_outcome *outcome, const uint64_t *positions,
                             uint8_t *out, size_t size, size_t *ret_len);
mr_err record_outcome_decode(mr_str body, struct record_outcome *ret_outcome,
                             struct record_positions *ret_positions);

/* --- DEAD ------------------------------------------------------------------------------------- */

#define RECORD_LETTER_ID_BYTES 16U /* a ULID's 128 bits, so that their bytes order by time */
struct record_letter_id {
    uint8_t bytes[RECORD_LETTER_ID_BYTES]; /* first 6: wall ms, big-endian; then 10 random */
};
/* Of the moment and 10 random bytes. */
struct record_letter_id record_letter_id_make(int64_t wall_ms, const uint8_t random[static 10]);
/* The next one: ids of one record rise with its items, so that lists keep their order. */
struct record_letter_id record_letter_id_next(const struct record_letter_id *id);
/* "dl_" + 26 lower-case characters; no NUL. */
#define RECORD_LETTER_TEXT_LEN 29
void record_letter_id_format(const struct record_letter_id *id,
                             char out[static RECORD_LETTER_TEXT_LEN]);
/* MR_E_INVALID. */
mr_err record_letter_id_parse(mr_str text, struct record_letter_id *ret_id);
int64_t record_letter_id_ms(const struct record_letter_id *id);

enum record_dead_flags {
    RECORD_DEAD_FAILED = 1 << 0,     /* an attempt failed: counts in failed_attempts */
    RECORD_DEAD_NO_PAYLOAD = 1 << 1, /* the content is gone */
};
/* Deliveries of one destination and origin that die for one reason. */
struct record_dead {
    uint8_t reason; /* enum record_reason */
    uint8_t flags;
    uint16_t last_status;
    uint32_t destination, origin;
    uint32_t attempts;         /* spent; 0: never attempted */
    int64_t first_ms, last_ms; /* wall times of the first and last attempt; 0: none */
    uint32_t n;
};
#define RECORD_DEAD_HEAD_BYTES 40U
#define RECORD_DEAD_BYTES(n)   (RECORD_DEAD_HEAD_BYTES + 24U * (size_t)(n))
struct record_dead_item {
    uint64_t pos;
    struct record_letter_id id;
};
mr_err record_dead_encode(const struct record_dead *dead, const struct record_dead_item *items,
                          uint8_t *out, size_t size, size_t *ret_len);
/* *ret_items: encoded items; read with record_dead_item_at(items, i), i < ret_dead->n. */
mr_err record_dead_decode(mr_str body, struct record_dead *ret_dead, const uint8_t **ret_items);
struct record_dead_item record_dead_item_at(const uint8_t *items, uint32_t i);

/* --- ADD -------------------------------------------------------------------------------------- */

enum record_add_kind {
    RECORD_ADD_REDRIVE =
        1, /* each item names the dead letter it came from, which leaves the list */
    RECORD_ADD_REPLAY = 2,
};
/* New deliveries of one destination, one type and version, by job `origin`. */
struct record_add {
    uint8_t kind; /* enum record_add_kind */
    uint16_t version;
    uint32_t account;
    uint32_t destination;
    uint32_t origin;   /* not 0 */
    uint64_t progress; /* replay: position up to which the job has looked; else 0 */
    mr_str type;       /* as in the envelope; ≤ 65535 bytes */
    uint32_t n;
};
struct record_add_item {
    uint64_t pos;
    int64_t accepted_ms;
    uint32_t size;                  /* bytes of the envelope */
    struct record_letter_id letter; /* REDRIVE; else zero */
};
#define RECORD_ADD_HEAD_BYTES 40U
#define RECORD_ADD_BYTES(type_len, n)                                                              \
    (RECORD_ADD_HEAD_BYTES + (size_t)(type_len) + 36U * (size_t)(n))
mr_err record_add_encode(const struct record_add *add, const struct record_add_item *items,
                         uint8_t *out, size_t size, size_t *ret_len);
/* Items as with DEAD. */
mr_err record_add_decode(mr_str body, struct record_add *ret_add, const uint8_t **ret_items);
struct record_add_item record_add_item_at(const uint8_t *items, uint32_t i);

/* --- DISCARD ---------------------------------------------------------------------------------- */

/* Pending deliveries of a destination, as they are at this place of the journal. With positions:
 * those of `origin`; without: all origins, accepted before `before_ms`, of one of the types. */
struct record_discard {
    uint32_t destination;
    uint32_t origin;
    int64_t before_ms; /* INT64_MAX: any */
    uint32_t n_types;  /* 0: any */
    mr_str types;      /* encoded; walk with record_types_next */
    uint32_t n_positions;
};
#define RECORD_DISCARD_HEAD_BYTES 32U
#define RECORD_TYPES_MAX          256U
/* types: n_types strings of ≤ 65535 bytes. */
mr_err record_discard_encode(const struct record_discard *discard, const mr_str *types,
                             const uint64_t *positions, uint8_t *out, size_t size, size_t *ret_len);
mr_err record_discard_decode(mr_str body, struct record_discard *ret_discard,
                             struct record_positions *ret_positions);
bool record_types_next(mr_str *at, mr_str *ret_type);

/* --- ERASED ----------------------------------------------------------------------------------- */

/* Events whose content is gone by an erasure: what is pending of them is discarded. */
#define RECORD_ERASED_HEAD_BYTES 8U
mr_err record_erased_encode(const uint64_t *positions, uint32_t n, uint8_t *out, size_t size,
                            size_t *ret_len);
mr_err record_erased_decode(mr_str body, struct record_positions *ret_positions);

/* --- EXPIRE ----------------------------------------------------------------------------------- */

enum record_expire_cause {
    RECORD_EXPIRE_AGE = 1,
    RECORD_EXPIRE_SPACE = 2,   /* the archive or the list is full */
    RECORD_EXPIRE_REMOVED = 3, /* with its destination */
};
#define RECORD_EXPIRE_HEAD_BYTES 12U
#define RECORD_EXPIRE_BYTES(n)   (RECORD_EXPIRE_HEAD_BYTES + 16U * (size_t)(n))
#define RECORD_EXPIRE_MAX        4096U
mr_err record_expire_encode(uint8_t cause, const struct record_letter_id *ids, uint32_t n,
                            uint8_t *out, size_t size, size_t *ret_len);
mr_err record_expire_decode(mr_str body, uint8_t *ret_cause, uint32_t *ret_n,
                            const uint8_t **ret_ids);
struct record_letter_id record_expire_id_at(const uint8_t *ids, uint32_t i);

/* --- AUDIT ------------------------------------------------------------------------------------ */

/* The newest row of the audit log as of some moment: the log must hold a row of this number with
 * this hash for ever after. */
#define RECORD_AUDIT_HASH_BYTES 32U
#define RECORD_AUDIT_BYTES      (16U + RECORD_AUDIT_HASH_BYTES)
struct record_audit {
    uint64_t number; /* from 1; 0: there is none, which is never written */
    uint8_t hash[RECORD_AUDIT_HASH_BYTES];
};
mr_err record_audit_encode(const struct record_audit *audit, uint8_t *out, size_t size,
                           size_t *ret_len);
mr_err record_audit_decode(mr_str body, struct record_audit *ret_audit);

/* --- CALLBACK ----------------------------------------------------------------------------------
 */

#define RECORD_CALLBACK_URL_MAX       2048U
#define RECORD_CALLBACK_REFERENCE_MAX 256U
#define RECORD_CALLBACK_BODY_MAX      (64U * 1024)
#define RECORD_CALLBACK_HEAD_BYTES    40U
#define RECORD_CALLBACK_BYTES_MAX                                                                  \
    (RECORD_CALLBACK_HEAD_BYTES + RECORD_CALLBACK_URL_MAX + RECORD_CALLBACK_REFERENCE_MAX +        \
     RECORD_CALLBACK_BODY_MAX)
/* Attempts that a callback may have: the first, and one more. */
#define RECORD_CALLBACK_ATTEMPTS_MAX 2U

enum record_callback_method { RECORD_CALLBACK_POST = 0, RECORD_CALLBACK_GET };
enum record_callback_content { RECORD_CALLBACK_FORM = 0, RECORD_CALLBACK_JSON };
struct record_callback {
    uint8_t method;  /* enum record_callback_method */
    uint8_t content; /* enum record_callback_content */
    uint32_t account;
    int64_t created_ms;         /* wall */
    struct record_letter_id id; /* "cb_" */
    mr_str url;                 /* as it was given */
    mr_str reference;           /* empty: none */
    mr_str body;                /* POST: the bytes of the body; GET: what the query gets */
};
/* "cb_" + 26 lower-case characters; no NUL. */
#define RECORD_CALLBACK_TEXT_LEN 29
void record_callback_id_format(const struct record_letter_id *id,
                               char out[static RECORD_CALLBACK_TEXT_LEN]);
/* MR_E_INVALID. */
mr_err record_callback_id_parse(mr_str text, struct record_letter_id *ret_id);
/* Bytes of the record. */
static inline size_t record_callback_bytes(const struct record_callback *callback) {
    return RECORD_CALLBACK_HEAD_BYTES + callback->url.len + callback->reference.len +
           callback->body.len;
}
/* MR_E_LIMIT, MR_E_INVALID. */
mr_err record_callback_encode(const struct record_callback *callback, uint8_t *out, size_t size,
                              size_t *ret_len);
mr_err record_callback_decode(mr_str body, struct record_callback *ret_callback);

enum record_callback_kind {
    RECORD_CALLBACK_DELIVERED = 1,
    RECORD_CALLBACK_RETRY = 2, /* again at due_ms */
    RECORD_CALLBACK_FAILED = 3,
};
/* Names its callback by id and by the position of its record; the first outcome that ends a
 * callback counts, what later records say of it is ignored. */
struct record_callback_outcome {
    uint8_t kind;    /* enum record_callback_kind */
    uint8_t reason;  /* enum record_reason; NONE where it was delivered */
    uint8_t attempt; /* 1 … RECORD_CALLBACK_ATTEMPTS_MAX */
    uint16_t status; /* HTTP; 0: there was no answer */
    uint32_t account;
    uint32_t duration_ms;
    uint64_t pos;
    int64_t at_ms;  /* wall: when the attempt began */
    int64_t due_ms; /* RETRY; else 0 */
    struct record_letter_id id;
};
#define RECORD_CALLBACK_OUTCOME_BYTES 56U
mr_err record_callback_outcome_encode(const struct record_callback_outcome *outcome, uint8_t *out,
                                      size_t size, size_t *ret_len);
mr_err record_callback_outcome_decode(mr_str body, struct record_callback_outcome *ret_outcome);

/* In TOTALS, the callbacks of an account stand as an entry of their own, with this number in the
 * place of a destination's: created = pending + delivered + dead, dead being those that failed.
 * Destinations and accounts are numbered below it. */
#define RECORD_CALLBACKS_OF    UINT32_C(0x80000000)
#define RECORD_IS_CALLBACKS(n) (((n)&RECORD_CALLBACKS_OF) != 0)

/* --- TOTALS ----------------------------------------------------------------------------------- */

/* created = pending + delivered + dead + discarded, always. */
struct record_counters {
    uint64_t created, pending, delivered, dead, discarded;
    uint64_t skipped;         /* matched while the destination was disabled */
    uint64_t failed_attempts; /* requests' attempts without success */
};
enum record_totals_flags {
    RECORD_TOTALS_FULL = 1 << 0,  /* lists every pending delivery: a base to recount from */
    RECORD_TOTALS_LAST = 1 << 1,  /* the last record of the set with this as_of */
    RECORD_TOTALS_WHOLE = 1 << 2, /* at as_of the journal still began with the store's beginning */
};
/* Counters at `as_of`: all records below it are counted, none from it on. A set of records, sharing
 * as_of, in one unit or more; each destination's entry stands in one record, its list of pending
 * ones may go on in the next (same destination, counters repeated). */
struct record_totals {
    uint64_t as_of;
    uint64_t journal_start; /* oldest position kept at that time */
    uint8_t flags;
    uint32_t n; /* entries */
};
struct record_totals_entry {
    uint32_t destination;
    uint32_t origin; /* of the list */
    struct record_counters counters;
    struct record_positions pending; /* FULL only */
};
#define RECORD_TOTALS_HEAD_BYTES  24U
#define RECORD_TOTALS_ENTRY_BYTES (4U + 10U * 8U) /* at most, without the list */
/* Building: begin, entries, end. A record being built in caller's memory. */
struct record_totals_builder {
    uint8_t *out;
    size_t size, len;
    uint32_t n;
};
mr_err record_totals_begin(struct record_totals_builder *builder,
                           const struct record_totals *totals, uint8_t *out, size_t size);
/* MR_E_LIMIT: does not fit; nothing was added. positions: ascending or not, n may be 0. */
mr_err record_totals_add(struct record_totals_builder *builder, uint32_t destination,
                         uint32_t origin, const struct record_counters *counters,
                         const uint64_t *positions, uint32_t n);
/* Returns the record's length. `is_last` sets RECORD_TOTALS_LAST. */
size_t record_totals_end(struct record_totals_builder *builder, bool is_last);
/* Walk the entries with record_totals_next from *ret_entries. */
mr_err record_totals_decode(mr_str body, struct record_totals *ret_totals, mr_str *ret_entries);
bool record_totals_next(mr_str *at, struct record_totals_entry *ret_entry);

#endif
