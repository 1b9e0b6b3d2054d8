/* CRC-32C against the vectors of RFC 3720 appendix B.4 and against its definition bit by bit. */
#include "crypto/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static uint32_t by_definition(uint32_t crc, const uint8_t *at, size_t n) {
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78U : crc >> 1;
        }
    }
    return ~crc;
}

static void known_vectors(void **state) {
    (void)state;
    uint8_t bytes[48] = {0};
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283U);
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aaU);
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43U);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794eU);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(0, bytes, 32), 0x113fdb5cU);
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(77, NULL, 0), 77);
}

static void every_length_and_alignment_agrees_with_the_definition(void **state) {
    (void)state;
    static uint8_t bytes[6000];
    uint32_t seed = 12345;
    for (size_t i = 0; i < sizeof bytes; i++) {
        seed = seed * 1664525U + 1013904223U;
        bytes[i] = (uint8_t)(seed >> 24);
    }
    for (size_t n = 0; n < 5000; n += n < 80 ? 1 : 61) {
        for (size_t from = 0; from < 9; from++) {
            uint32_t want = by_definition(seed, bytes + from, n);
            assert_int_equal(crc32c(seed, bytes + from, n), want);
            assert_int_equal(crc32c_portable(seed, bytes + from, n), want);
        }
    }
}

static void pieces_give_the_whole(void **state) {
    (void)state;
    static uint8_t bytes[3000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 31);
    }
    uint32_t whole = crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 7) {
        assert_int_equal(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
        cmocka_unit_test(pieces_give_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
