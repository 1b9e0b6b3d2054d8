/* Base64 out (RFC 4648), see num.h. Bodies for streams are base64 from end to end, so this is on
 * the path of every record: twelve bytes become sixteen digits in a dozen instructions where the
 * machine has SSSE3 (every x86-64 since 2008), twice as many where it has AVX2, one group of three
 * at a time elsewhere and at the end.
 *
 * The vector form: each group of three bytes is spread over four, its six-bit fields are moved to
 * the bottom of their bytes by two multiplications, and the fields become digits by adding what a
 * table of sixteen says for the range they lie in (W. Muła, D. Lemire, "Faster Base64 Encoding and
 * Decoding using AVX2 Instructions", 2018). */
#include "base/num.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#if defined(__x86_64__)
#include <immintrin.h>

/* Whole blocks of twelve; a block is read as sixteen bytes, so four must follow it. Returns the
 * bytes read. */
__attribute__((target("ssse3"))) static size_t encode_12(const uint8_t *from, size_t n, size_t at,
                                                         char *to) {
    const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m128i shift =
        _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                      '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    for (; n - at >= 16; at += 12, to += 16) {
        __m128i in = _mm_loadu_si128((const __m128i *)(const void *)(from + at));
        in = _mm_shuffle_epi8(in, spread);
        __m128i high = _mm_mulhi_epu16(_mm_and_si128(in, _mm_set1_epi32(0x0fc0fc00)),
                                       _mm_set1_epi32(0x04000040));
        __m128i low = _mm_mullo_epi16(_mm_and_si128(in, _mm_set1_epi32(0x003f03f0)),
                                      _mm_set1_epi32(0x01000010));
        __m128i fields = _mm_or_si128(high, low);
        /* 0: a–z, 1–10: digits, 11: +, 12: /, 13: A–Z */
        __m128i range = _mm_subs_epu8(fields, _mm_set1_epi8(51));
        __m128i is_upper = _mm_cmpgt_epi8(_mm_set1_epi8(26), fields);
        range = _mm_or_si128(range, _mm_and_si128(is_upper, _mm_set1_epi8(13)));
        _mm_storeu_si128((__m128i *)(void *)to,
                         _mm_add_epi8(fields, _mm_shuffle_epi8(shift, range)));
    }
    return at;
}

/* The same with two blocks side by side. */
__attribute__((target("avx2"))) static size_t encode_24(const uint8_t *from, size_t n, char *to) {
    const __m256i spread = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    const __m256i shift = _mm256_broadcastsi128_si256(
        _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                      '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0));
    size_t at = 0;
    for (; n - at >= 28; at += 24, to += 32) {
        __m128i first = _mm_loadu_si128((const __m128i *)(const void *)(from + at));
        __m128i second = _mm_loadu_si128((const __m128i *)(const void *)(from + at + 12));
        __m256i in = _mm256_set_m128i(second, first);
        in = _mm256_shuffle_epi8(in, spread);
        __m256i high = _mm256_mulhi_epu16(_mm256_and_si256(in, _mm256_set1_epi32(0x0fc0fc00)),
                                          _mm256_set1_epi32(0x04000040));
        __m256i low = _mm256_mullo_epi16(_mm256_and_si256(in, _mm256_set1_epi32(0x003f03f0)),
                                         _mm256_set1_epi32(0x01000010));
        __m256i fields = _mm256_or_si256(high, low);
        __m256i range = _mm256_subs_epu8(fields, _mm256_set1_epi8(51));
        __m256i is_upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), fields);
        range = _mm256_or_si256(range, _mm256_and_si256(is_upper, _mm256_set1_epi8(13)));
        _mm256_storeu_si256((__m256i *)(void *)to,
                            _mm256_add_epi8(fields, _mm256_shuffle_epi8(shift, range)));
    }
    return at;
}

static size_t encode_blocks(const uint8_t *from, size_t n, char *to) {
    size_t at = __builtin_cpu_supports("avx2") != 0 ? encode_24(from, n, to) : 0;
    return __builtin_cpu_supports("ssse3") != 0 ? encode_12(from, n, at, to + at / 3 * 4) : at;
}
#else

static size_t encode_blocks(const uint8_t *from, size_t n, char *to) {
    (void)from;
    (void)n;
    (void)to;
    return 0;
}
#endif

static char *encode_groups(const uint8_t *from, size_t groups, const char *digits, char *to) {
    for (size_t i = 0; i < groups; i++, from += 3, to += 4) {
        uint32_t group = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        to[0] = digits[group >> 18];
        to[1] = digits[group >> 12 & 63];
        to[2] = digits[group >> 6 & 63];
        to[3] = digits[group & 63];
    }
    return to;
}

static void encode_rest(const uint8_t *from, size_t rest, const char *digits, bool padded,
                        char *to) {
    uint32_t group = (uint32_t)from[0] << 16 | (rest == 2 ? (uint32_t)from[1] << 8 : 0);
    to[0] = digits[group >> 18];
    to[1] = digits[group >> 12 & 63];
    if (rest == 2) {
        to[2] = digits[group >> 6 & 63];
    }
    for (size_t i = rest + 1; padded && i < 4; i++) {
        to[i] = '=';
    }
}

static mr_err encode(mr_str bytes, const char *digits, bool padded, mr_buf *out) {
    size_t full = bytes.len / 3;
    size_t rest = bytes.len % 3;
    if (full > (SIZE_MAX - 4) / 4) {
        return MR_ERR(MR_E_LIMIT);
    }
    size_t size = full * 4 + (rest == 0 ? 0 : padded ? 4 : rest + 1);
    char *to;
    if (size == 0) {
        return MR_OK;
    }
    MR_TRY(mr_buf_reserve(out, size, &to));
    const uint8_t *from = (const uint8_t *)bytes.ptr;
    size_t done = padded ? encode_blocks(from, bytes.len, to) : 0;
    to = encode_groups(from + done, full - done / 3, digits, to + done / 3 * 4);
    if (rest > 0) {
        encode_rest(from + full * 3, rest, digits, padded, to);
    }
    mr_buf_commit(out, size);
    return MR_OK;
}

mr_err mr_base64_encode(mr_str bytes, mr_buf *out) {
    return encode(bytes, alphabet, true, out);
}

mr_err mr_base64url_encode(mr_str bytes, mr_buf *out) {
    return encode(bytes, alphabet_url, false, out);
}
