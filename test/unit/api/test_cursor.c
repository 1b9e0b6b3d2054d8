/* Cursors: what comes back is what went in, or is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/cursor.h"

static const struct siphash_key key = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)};

static bool is_read(struct siphash_key by, enum api_cursor_kind kind, uint32_t account,
                    mr_str text) {
    struct api_cursor ignored;
    return mr_is_ok(api_cursor_decode(by, kind, account, text, &ignored));
}

static void a_cursor_comes_back_as_it_went(void **state) {
    (void)state;
    const struct api_cursor cursors[] = {
        {0, 0, 1}, {1, 2, 3}, {UINT64_MAX, UINT64_MAX, UINT32_MAX}, {UINT64_C(1) << 63, 7, 2}};
    for (size_t i = 0; i < sizeof cursors / sizeof cursors[0]; i++) {
        char text[API_CURSOR_LEN + 1];
        struct api_cursor back;
        api_cursor_encode(key, API_CURSOR_LETTERS, 9, &cursors[i], text);
        assert_int_equal(strlen(text), API_CURSOR_LEN);
        assert_true(mr_is_ok(api_cursor_decode(key, API_CURSOR_LETTERS, 9, mr_str_c(text), &back)));
        assert_true(back.a == cursors[i].a && back.b == cursors[i].b);
        assert_int_equal(back.page, cursors[i].page);
    }
}

static void every_changed_character_is_seen(void **state) {
    (void)state;
    char text[API_CURSOR_LEN + 1];
    api_cursor_encode(key, API_CURSOR_AUDIT, 1, &(struct api_cursor){77, 0, 4}, text);
    for (size_t i = 0; i < API_CURSOR_LEN; i++) {
        for (const char *c = "0123456789abcdef-"; *c != '\0'; c++) {
            char was = text[i];
            text[i] = *c;
            if (is_read(key, API_CURSOR_AUDIT, 1, mr_str_c(text)) != (*c == was)) {
                fail_msg("character %zu as %c", i, *c);
            }
            text[i] = was;
        }
    }
    for (size_t n = 0; n < API_CURSOR_LEN; n++) {
        assert_false(is_read(key, API_CURSOR_AUDIT, 1, mr_str_of(text, n)));
    }
    assert_false(is_read(key, API_CURSOR_AUDIT, 1, MR_STR_NONE));
}

static void a_cursor_is_of_one_list_account_and_store(void **state) {
    (void)state;
    char text[API_CURSOR_LEN + 1];
    const struct siphash_key other = {key.k0 + 1, key.k1};
    api_cursor_encode(key, API_CURSOR_AUDIT, 1, &(struct api_cursor){77, 0, 4}, text);
    assert_true(is_read(key, API_CURSOR_AUDIT, 1, mr_str_c(text)));
    assert_false(is_read(key, API_CURSOR_LETTERS, 1, mr_str_c(text)));
    assert_false(is_read(key, API_CURSOR_AUDIT, 2, mr_str_c(text)));
    assert_false(is_read(other, API_CURSOR_AUDIT, 1, mr_str_c(text)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_comes_back_as_it_went),
        cmocka_unit_test(every_changed_character_is_seen),
        cmocka_unit_test(a_cursor_is_of_one_list_account_and_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
