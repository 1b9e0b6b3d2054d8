/* SipHash-2-4 against the vectors of its reference implementation: key 00..0f, input 00..n-1. */
#include "crypto/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct siphash_key reference_key(void) {
    uint8_t bytes[16];
    for (uint8_t i = 0; i < 16; i++) {
        bytes[i] = i;
    }
    return siphash_key_of(bytes);
}

static void known_vectors_of_64_bits(void **state) {
    (void)state;
    uint8_t in[64];
    for (uint8_t i = 0; i < 64; i++) {
        in[i] = i;
    }
    assert_true(siphash_64(reference_key(), in, 0) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(siphash_64(reference_key(), in, 1) == UINT64_C(0x74f839c593dc67fd));
    assert_true(siphash_64(reference_key(), in, 8) == UINT64_C(0x93f5f5799a932462));
    assert_true(siphash_64(reference_key(), in, 15) == UINT64_C(0xa129ca6149be45e5));
    assert_true(siphash_64(reference_key(), in, 63) == UINT64_C(0x958a324ceb064572));
}

static void known_vectors_of_128_bits(void **state) {
    (void)state;
    uint8_t in[64];
    for (uint8_t i = 0; i < 64; i++) {
        in[i] = i;
    }
    /* a3817f04ba25a8e66df67214c7550293 and da87c1d86b99af44347659119b22fc45 as bytes. */
    struct siphash_128 none = siphash_128(reference_key(), in, 0);
    assert_true(none.lo == UINT64_C(0xe6a825ba047f81a3));
    assert_true(none.hi == UINT64_C(0x930255c71472f66d));
    struct siphash_128 one = siphash_128(reference_key(), in, 1);
    assert_true(one.lo == UINT64_C(0x44af996bd8c187da));
    assert_true(one.hi == UINT64_C(0x45fc229b11597634));
}

static void pieces_give_the_whole(void **state) {
    (void)state;
    uint8_t in[64];
    for (uint8_t i = 0; i < 64; i++) {
        in[i] = (uint8_t)(i * 7);
    }
    for (size_t n = 0; n <= 64; n++) {
        struct siphash_128 whole = siphash_128(reference_key(), in, n);
        for (size_t a = 0; a <= n; a++) {
            for (size_t b = a; b <= n; b += 3) {
                struct siphash hash;
                siphash_init_128(&hash, reference_key());
                siphash_add(&hash, in, a);
                siphash_add(&hash, in + a, b - a);
                siphash_add(&hash, in + b, n - b);
                struct siphash_128 pieces = siphash_end_128(&hash);
                assert_true(pieces.lo == whole.lo && pieces.hi == whole.hi);
            }
        }
    }
}

static void content_hash_depends_on_every_byte_the_length_and_the_key(void **state) {
    (void)state;
    uint8_t in[80] = {0};
    for (size_t n = 0; n < 79; n++) {
        uint64_t whole = siphash_content(reference_key(), in, n);
        assert_true(whole != siphash_content(reference_key(), in, n + 1));
        assert_true(whole != siphash_content((struct siphash_key){1, 2}, in, n));
        for (size_t i = 0; i < n; i++) {
            in[i] = 1;
            assert_true(whole != siphash_content(reference_key(), in, n));
            in[i] = 0;
        }
        assert_true(whole == siphash_content(reference_key(), in, n));
    }
}

static void content_hash_of_128_bits_depends_on_every_bit_in_both_halves(void **state) {
    (void)state;
    uint8_t in[80] = {0};
    for (size_t n = 0; n < 79; n++) {
        struct siphash_128 whole = siphash_content_128(reference_key(), in, n);
        struct siphash_128 longer = siphash_content_128(reference_key(), in, n + 1);
        struct siphash_128 other = siphash_content_128((struct siphash_key){1, 2}, in, n);
        assert_true(whole.lo != longer.lo && whole.hi != longer.hi);
        assert_true(whole.lo != other.lo && whole.hi != other.hi);
        assert_true(whole.lo != whole.hi);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            in[bit / 8] = (uint8_t)(1u << (bit % 8));
            struct siphash_128 changed = siphash_content_128(reference_key(), in, n);
            assert_true(whole.lo != changed.lo && whole.hi != changed.hi);
            in[bit / 8] = 0;
        }
    }
}

/* The words of a token go to two lanes in turn: exchanged words must not go unnoticed. */
static void content_hash_depends_on_the_order_of_words(void **state) {
    (void)state;
    uint64_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct siphash_128 whole = siphash_content_128(reference_key(), in, sizeof in);
    for (size_t a = 0; a < 8; a++) {
        for (size_t b = a + 1; b < 8; b++) {
            uint64_t kept = in[a];
            in[a] = in[b];
            in[b] = kept;
            struct siphash_128 changed = siphash_content_128(reference_key(), in, sizeof in);
            assert_true(whole.lo != changed.lo && whole.hi != changed.hi);
            in[b] = in[a];
            in[a] = kept;
        }
    }
}

/* Stores keep it: what an earlier version computed must come out. */
static void content_hash_is_what_stores_hold(void **state) {
    (void)state;
    static const struct {
        size_t n;
        uint64_t hash;
    } rows[] = {
        {0, UINT64_C(0xe32f43e54e358852)},    {1, UINT64_C(0x72f530544bdabcab)},
        {15, UINT64_C(0x7211885358ae2bb2)},   {16, UINT64_C(0xa1863ee079fcdaaa)},
        {17, UINT64_C(0x3a8f5be21025cf41)},   {31, UINT64_C(0x8273ac9a5be7d809)},
        {32, UINT64_C(0xbf89898ef7380381)},   {1051, UINT64_C(0x1e60396cf0d68b27)},
        {2048, UINT64_C(0x1db6999b8da9d0ec)},
    };
    uint8_t in[2048];
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(siphash_content(reference_key(), in, rows[i].n) == rows[i].hash);
        assert_true(siphash_content_portable(reference_key(), in, rows[i].n) == rows[i].hash);
    }
}

static void content_hash_is_the_same_without_special_instructions(void **state) {
    (void)state;
    uint8_t in[1200];
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof in; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        in[i] = (uint8_t)(seed >> 56);
    }
    for (size_t at = 0; at < 17; at++) {
        for (size_t n = 0; n <= sizeof in - at; n += n < 100 ? 1 : 13) {
            assert_true(siphash_content(reference_key(), in + at, n) ==
                        siphash_content_portable(reference_key(), in + at, n));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_hash_is_what_stores_hold),
        cmocka_unit_test(content_hash_is_the_same_without_special_instructions),
        cmocka_unit_test(content_hash_depends_on_every_byte_the_length_and_the_key),
        cmocka_unit_test(content_hash_of_128_bits_depends_on_every_bit_in_both_halves),
        cmocka_unit_test(content_hash_depends_on_the_order_of_words),
        cmocka_unit_test(known_vectors_of_64_bits),
        cmocka_unit_test(known_vectors_of_128_bits),
        cmocka_unit_test(pieces_give_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
