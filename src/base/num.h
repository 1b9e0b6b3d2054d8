/* Numbers from text with ranges, hex, base64, ULIDs, little-endian storage. */
#ifndef MR_BASE_NUM_H
#define MR_BASE_NUM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/time.h"

/* Decimal digits only (no sign, no space); MR_E_INVALID, or MR_E_RANGE outside [min, max]. */
mr_err mr_u64_parse(mr_str text, uint64_t min, uint64_t max, uint64_t *ret_n);
mr_err mr_i64_parse(mr_str text, int64_t min, int64_t max, int64_t *ret_n);

/* Lower-case; out gets 2·n characters and no NUL. */
void mr_hex_encode(const void *bytes, size_t n, char *out);
/* Either case; text.len must be 2·n. */
mr_err mr_hex_decode(mr_str text, void *out, size_t n);

/* RFC 4648. Standard alphabet with padding, or URL alphabet without. */
mr_err mr_base64_encode(mr_str bytes, mr_buf *out);
mr_err mr_base64url_encode(mr_str bytes, mr_buf *out);
/* Strict: padding exact, no white space, unused bits zero. */
mr_err mr_base64_decode(mr_str text, mr_buf *out);
mr_err mr_base64url_decode(mr_str text, mr_buf *out);

/* 26 characters, Crockford's base 32 in lower case: 48 bits of wall ms, then 80 random bits given
 * by the caller. No NUL. */
#define MR_ULID_LEN 26
void mr_ulid_format(mr_wall now, const uint8_t random[static 10], char out[static MR_ULID_LEN]);
/* True for 26 characters of that alphabet that do not overflow. */
bool mr_ulid_is_valid(mr_str text);

/* Little-endian storage; alignment does not matter. */
static inline void mr_put_u16(void *at, uint16_t n) {
    memcpy(at, &n, 2);
}
static inline void mr_put_u32(void *at, uint32_t n) {
    memcpy(at, &n, 4);
}
static inline void mr_put_u64(void *at, uint64_t n) {
    memcpy(at, &n, 8);
}
static inline uint16_t mr_get_u16(const void *at) {
    uint16_t n;
    memcpy(&n, at, 2);
    return n;
}
static inline uint32_t mr_get_u32(const void *at) {
    uint32_t n;
    memcpy(&n, at, 4);
    return n;
}
static inline uint64_t mr_get_u64(const void *at) {
    uint64_t n;
    memcpy(&n, at, 8);
    return n;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored numbers are little-endian");

/* LEB128, at most 10 bytes. Returns the bytes written. */
size_t mr_varint_put(uint8_t *at, uint64_t n);
/* Reads from [*at, end); advances *at. MR_E_INVALID when cut off or over 64 bits. */
mr_err mr_varint_get(const uint8_t **at, const uint8_t *end, uint64_t *ret_n);

#endif
