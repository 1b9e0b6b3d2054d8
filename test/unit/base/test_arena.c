/* Memory of one request. */
#include "base/arena.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void past_the_maximum_is_refused(void **state) {
    (void)state;
    mr_arena arena;
    mr_arena_init(&arena, 5000);
    assert_null(mr_arena_alloc(&arena, 5001));
    assert_null(mr_arena_alloc(&arena, SIZE_MAX));
    assert_null(mr_arena_calloc(&arena, SIZE_MAX / 2, 3));
    assert_non_null(mr_arena_alloc(&arena, 4000));
    assert_null(mr_arena_alloc(&arena, 2000));
    assert_non_null(mr_arena_alloc(&arena, 90));
    mr_arena_done(&arena);
}

static void without_memory_nothing_is_given_and_what_was_stays(void **state) {
    (void)state;
    mr_arena arena;
    mr_arena_init(&arena, 100000);
    mr_alloc_fail_at(1);
    assert_null(mr_arena_alloc(&arena, 10));
    char *kept = mr_arena_alloc(&arena, 10);
    assert_non_null(kept);
    memset(kept, 'k', 10);
    mr_alloc_fail_at(1);
    assert_null(mr_arena_alloc(&arena, 50000));
    mr_alloc_fail_at(0);
    assert_memory_equal(kept, "kkkkkkkkkk", 10);
    mr_arena_done(&arena);
}

static void pieces_are_aligned_and_do_not_overlap(void **state) {
    (void)state;
    mr_arena arena;
    char *pieces[200];
    mr_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = mr_arena_alloc(&arena, i * 7);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, i * 7);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t at = 0; at < i * 7; at++) {
            assert_int_equal((unsigned char)pieces[i][at], i);
        }
    }
    mr_arena_done(&arena);
}

static void copies_have_a_nul_and_arrays_are_zero(void **state) {
    (void)state;
    mr_arena arena;
    mr_arena_init(&arena, 1 << 16);
    mr_str copy = mr_arena_str(&arena, MR_STR("ab"));
    assert_string_equal(copy.ptr, "ab");
    copy = mr_arena_str(&arena, MR_STR_NONE);
    assert_string_equal(copy.ptr, "");
    const char *zero = mr_arena_calloc(&arena, 10, 3);
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(zero[i], 0);
    }
    mr_arena_done(&arena);
}

static void reset_keeps_one_block_for_the_next_request(void **state) {
    (void)state;
    mr_arena arena;
    mr_arena_init(&arena, 1 << 20);
    for (int i = 0; i < 100; i++) {
        assert_non_null(mr_arena_alloc(&arena, 1000));
    }
    mr_arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    mr_alloc_fail_at(1);
    assert_non_null(mr_arena_alloc(&arena, 1000));
    mr_alloc_fail_at(0);
    mr_arena_done(&arena);
    assert_null(arena.head);
}

static void reset_of_a_private_arena_overwrites_what_was_there(void **state) {
    (void)state;
    mr_arena arena;
    mr_arena_init_private(&arena, 100000);
    mr_str kept = mr_arena_str(&arena, MR_STR("secret"));
    assert_false(mr_str_is_absent(kept));
    mr_arena_reset(&arena);
    assert_memory_equal(kept.ptr, "\0\0\0\0\0\0", 6);
    mr_arena_done(&arena);
    assert_true(arena.is_private);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(past_the_maximum_is_refused),
        cmocka_unit_test(without_memory_nothing_is_given_and_what_was_stays),
        cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(copies_have_a_nul_and_arrays_are_zero),
        cmocka_unit_test(reset_keeps_one_block_for_the_next_request),
        cmocka_unit_test(reset_of_a_private_arena_overwrites_what_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
