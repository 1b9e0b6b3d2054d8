/* Numbers, hex, base64, ULIDs, varints. */
#include "base/mem.h"
#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void u64_refuses_what_is_no_number_in_range(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t min, max;
        uint32_t code;
    } rows[] = {
        {"", 0, 9, MR_E_INVALID},
        {" 1", 0, 9, MR_E_INVALID},
        {"1 ", 0, 9, MR_E_INVALID},
        {"+1", 0, 9, MR_E_INVALID},
        {"-1", 0, 9, MR_E_INVALID},
        {"0x1", 0, 9, MR_E_INVALID},
        {"1a", 0, 9, MR_E_INVALID},
        {"99999999999999999999999x", 0, 9, MR_E_INVALID},
        {"10", 0, 9, MR_E_RANGE},
        {"1", 2, 9, MR_E_RANGE},
        {"18446744073709551616", 0, UINT64_MAX, MR_E_RANGE},
        {"99999999999999999999999", 0, UINT64_MAX, MR_E_RANGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t n = 77;
        mr_err err = mr_u64_parse(mr_str_c(rows[i].text), rows[i].min, rows[i].max, &n);
        assert_int_equal(err.code, rows[i].code);
        assert_int_equal(n, 77);
    }
    uint64_t n;
    assert_true(mr_is_err(mr_u64_parse(MR_STR_NONE, 0, 9, &n)));
}

static void u64_and_i64_take_their_limits(void **state) {
    (void)state;
    uint64_t u;
    int64_t i;
    assert_true(mr_is_ok(mr_u64_parse(MR_STR("18446744073709551615"), 0, UINT64_MAX, &u)));
    assert_true(u == UINT64_MAX);
    assert_true(mr_is_ok(mr_u64_parse(MR_STR("007"), 7, 7, &u)));
    assert_true(mr_is_ok(mr_i64_parse(MR_STR("-9223372036854775808"), INT64_MIN, 0, &i)));
    assert_true(i == INT64_MIN);
    assert_true(mr_is_ok(mr_i64_parse(MR_STR("9223372036854775807"), 0, INT64_MAX, &i)));
    assert_true(i == INT64_MAX);
    assert_int_equal(mr_i64_parse(MR_STR("9223372036854775808"), 0, INT64_MAX, &i).code,
                     MR_E_RANGE);
    assert_int_equal(mr_i64_parse(MR_STR("-9223372036854775809"), INT64_MIN, 0, &i).code,
                     MR_E_RANGE);
    assert_int_equal(mr_i64_parse(MR_STR("--1"), INT64_MIN, 0, &i).code, MR_E_INVALID);
    assert_int_equal(mr_i64_parse(MR_STR("-"), INT64_MIN, 0, &i).code, MR_E_INVALID);
    assert_int_equal(mr_i64_parse(MR_STR("-6"), -5, 5, &i).code, MR_E_RANGE);
}

static void hex_refuses_odd_lengths_and_other_digits(void **state) {
    (void)state;
    uint8_t out[4] = {9, 9, 9, 9};
    assert_true(mr_is_err(mr_hex_decode(MR_STR("0"), out, 1)));
    assert_true(mr_is_err(mr_hex_decode(MR_STR("000"), out, 1)));
    assert_true(mr_is_err(mr_hex_decode(MR_STR("0g"), out, 1)));
    assert_true(mr_is_err(mr_hex_decode(MR_STR("00:0"), out, 2)));
    assert_int_equal(out[0], 9);
    assert_true(mr_is_ok(mr_hex_decode(MR_STR("00fFA9"), out, 3)));
    assert_memory_equal(out, "\x00\xff\xa9", 3);
    char text[6];
    mr_hex_encode(out, 3, text);
    assert_memory_equal(text, "00ffa9", 6);
}

static const struct {
    const char *bytes, *padded, *url;
} base64_rows[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xfe", "+//+", "-__-"},
};

static void base64_refuses_every_second_spelling(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "Zg",   "Zg=",  "Zg===", "Zh==",     "Zm9=",    "Z",    "Zm9v\n",   " Zm9v", "Zm9-",
        "====", "=AAA", "A===",  "Zg==Zg==", "Zm9vYg=", "Zm=v", "Zm9v====", "Zm 8="};
    mr_buf out;
    mr_buf_init(&out, 100);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(mr_base64_decode(mr_str_c(wrong[i]), &out).code, MR_E_INVALID);
        assert_int_equal(out.len, 0);
    }
    assert_true(mr_is_err(mr_base64url_decode(MR_STR("Zg=="), &out)));
    assert_true(mr_is_err(mr_base64url_decode(MR_STR("+//+"), &out)));
    assert_true(mr_is_err(mr_base64url_decode(MR_STR("Zh"), &out)));
    assert_true(mr_is_err(mr_base64url_decode(MR_STR("A"), &out)));
    mr_buf_done(&out);
}

/* The vector form against the plain one: every length around its blocks, every byte. */
static void base64_of_blocks_is_that_of_groups(void **state) {
    (void)state;
    char bytes[300];
    mr_buf fast;
    mr_buf plain;
    mr_buf_init(&fast, 1000);
    mr_buf_init(&plain, 1000);
    uint64_t seed = 1;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        for (size_t i = 0; i < len; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            bytes[i] = (char)(len == 256 ? i : seed >> 56);
        }
        mr_buf_reset(&fast);
        mr_buf_reset(&plain);
        char *copy = mr_alloc(len == 0 ? 1 : len); /* so that a read beyond it is seen */
        memcpy(copy, bytes, len);
        assert_true(mr_is_ok(mr_base64_encode(mr_str_of(copy, len), &fast)));
        mr_free(copy);
        assert_true(mr_is_ok(mr_base64url_encode(mr_str_of(bytes, len), &plain)));
        assert_true(fast.len >= plain.len && fast.len == (len + 2) / 3 * 4);
        for (size_t i = 0; i < fast.len; i++) {
            char want = i >= plain.len        ? '='
                        : plain.ptr[i] == '-' ? '+'
                        : plain.ptr[i] == '_' ? '/'
                                              : plain.ptr[i];
            assert_int_equal(fast.ptr[i], want);
        }
    }
    mr_buf_done(&fast);
    mr_buf_done(&plain);
}

static void base64_round_trips(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof base64_rows / sizeof base64_rows[0]; i++) {
        mr_str bytes = mr_str_c(base64_rows[i].bytes);
        mr_buf out;
        mr_buf_init(&out, 100);
        assert_true(mr_is_ok(mr_base64_encode(bytes, &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(base64_rows[i].padded)));
        mr_buf_reset(&out);
        assert_true(mr_is_ok(mr_base64url_encode(bytes, &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(base64_rows[i].url)));
        mr_buf_reset(&out);
        assert_true(mr_is_ok(mr_base64_decode(mr_str_c(base64_rows[i].padded), &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), bytes));
        assert_true(mr_is_ok(mr_base64url_decode(mr_str_c(base64_rows[i].url), &out)));
        assert_int_equal(out.len, 2 * bytes.len);
        mr_buf_done(&out);
    }
}

static void ulid_has_the_time_and_the_random_bits(void **state) {
    (void)state;
    static const uint8_t ones[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    static const uint8_t mixed[10] = {0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0};
    char out[MR_ULID_LEN];
    /* The specification's example: 1469918176385 ms is 01ARYZ6S41. */
    mr_ulid_format(mr_wall_of_ms(INT64_C(1469918176385)), ones, out);
    assert_memory_equal(out, "01aryz6s41zzzzzzzzzzzzzzzz", MR_ULID_LEN);
    mr_ulid_format(mr_wall_of_ms(0), mixed, out);
    assert_memory_equal(out,
                        "00000000000000000"
                        "1"
                        "g0000000",
                        MR_ULID_LEN);
    assert_true(mr_ulid_is_valid(mr_str_of(out, MR_ULID_LEN)));
}

static void ulid_is_valid_refuses_other_letters_lengths_and_overflow(void **state) {
    (void)state;
    assert_true(mr_ulid_is_valid(MR_STR("7zzzzzzzzzzzzzzzzzzzzzzzzz")));
    assert_false(mr_ulid_is_valid(MR_STR("8zzzzzzzzzzzzzzzzzzzzzzzzz")));
    assert_false(mr_ulid_is_valid(MR_STR("01aryz6s41zzzzzzzzzzzzzzz")));
    assert_false(mr_ulid_is_valid(MR_STR("01aryz6s41zzzzzzzzzzzzzzzzz")));
    assert_false(mr_ulid_is_valid(MR_STR("01aryz6s41zzzzzzzzzzzzzzzu")));
    assert_false(mr_ulid_is_valid(MR_STR("01ARYZ6S41ZZZZZZZZZZZZZZZZ")));
    assert_false(mr_ulid_is_valid(MR_STR_NONE));
}

static void varint_refuses_cut_off_and_too_long(void **state) {
    (void)state;
    static const uint8_t cut[] = {0x80, 0x80};
    static const uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                     0x80, 0x80, 0x80, 0x80, 0x01};
    uint64_t n = 5;
    const uint8_t *at = cut;
    assert_true(mr_is_err(mr_varint_get(&at, cut + sizeof cut, &n)));
    assert_true(at == cut && n == 5);
    at = wide;
    assert_true(mr_is_err(mr_varint_get(&at, wide + sizeof wide, &n)));
    at = eleven;
    assert_true(mr_is_err(mr_varint_get(&at, eleven + sizeof eleven, &n)));
    assert_true(mr_is_err(mr_varint_get(&at, at, &n)));
}

static void varint_round_trips(void **state) {
    (void)state;
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t bytes[10];
        uint64_t n;
        size_t len = mr_varint_put(bytes, values[i]);
        const uint8_t *at = bytes;
        assert_true(mr_is_ok(mr_varint_get(&at, bytes + len, &n)));
        assert_true(n == values[i] && at == bytes + len);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(u64_refuses_what_is_no_number_in_range),
        cmocka_unit_test(u64_and_i64_take_their_limits),
        cmocka_unit_test(hex_refuses_odd_lengths_and_other_digits),
        cmocka_unit_test(base64_refuses_every_second_spelling),
        cmocka_unit_test(base64_of_blocks_is_that_of_groups),
        cmocka_unit_test(base64_round_trips),
        cmocka_unit_test(ulid_has_the_time_and_the_random_bits),
        cmocka_unit_test(ulid_is_valid_refuses_other_letters_lengths_and_overflow),
        cmocka_unit_test(varint_refuses_cut_off_and_too_long),
        cmocka_unit_test(varint_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
