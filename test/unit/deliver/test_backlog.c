/* The FIFO of deliveries, its spill and its failures. */
#include "base/mem.h"
#include "deliver/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define STORE_MAX 4096

/* A spill in memory that can be told to fail. */
struct store {
    uint8_t *chunks[STORE_MAX];
    size_t sizes[STORE_MAX];
    uint64_t n;
    uint64_t held;
    uint32_t get_error;
    bool put_fails;
};

static mr_err store_put(void *ctx, const void *bytes, size_t size, uint64_t *ret_ref) {
    struct store *store = ctx;
    if (store->put_fails) {
        return MR_ERR(MR_E_NO_SPACE);
    }
    assert_true(size <= BACKLOG_CHUNK_MAX && store->n < STORE_MAX);
    store->chunks[store->n] = mr_alloc(size);
    memcpy(store->chunks[store->n], bytes, size);
    store->sizes[store->n] = size;
    store->held++;
    *ret_ref = store->n++;
    return MR_OK;
}

static mr_err store_get(void *ctx, uint64_t ref, void *bytes, size_t size) {
    struct store *store = ctx;
    if (store->get_error != 0) {
        return MR_ERR(store->get_error);
    }
    assert_true(ref < store->n && store->chunks[ref] != NULL && store->sizes[ref] == size);
    memcpy(bytes, store->chunks[ref], size);
    return MR_OK;
}

static void store_drop(void *ctx, uint64_t ref) {
    struct store *store = ctx;
    assert_non_null(store->chunks[ref]);
    mr_free(store->chunks[ref]);
    store->chunks[ref] = NULL;
    store->held--;
}

static struct backlog_entry entry_of(uint64_t i) {
    return (struct backlog_entry){.pos = i * 1032 + 8,
                                  .key = 5 + i % 3,
                                  .arrived_ms = (int64_t)(1000 + i / 7),
                                  .size = (uint32_t)(900 + i % 400),
                                  .origin = (uint32_t)(i % 2)};
}

static void push_range(struct backlog *backlog, struct backlog_memory *memory, uint64_t from,
                       uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        struct backlog_entry entry = entry_of(i);
        assert_true(mr_is_ok(backlog_push(backlog, memory, &entry)));
    }
    backlog_assert_valid(backlog, memory);
}

static void pop_range(struct backlog *backlog, struct backlog_memory *memory, uint64_t from,
                      uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        struct backlog_entry entry;
        struct backlog_entry want = entry_of(i);
        assert_true(mr_is_ok(backlog_head(backlog, memory, &entry)));
        assert_int_equal(entry.pos, want.pos);
        assert_int_equal(entry.size, want.size);
        assert_int_equal(entry.arrived_ms, want.arrived_ms);
        if (backlog->keyed) {
            assert_int_equal(entry.key, want.key);
            assert_int_equal(entry.origin, want.origin);
        }
        backlog_pop(backlog, memory);
    }
    backlog_assert_valid(backlog, memory);
}

static void entries_come_back_in_order(void **state) {
    (void)state;
    for (int keyed = 0; keyed < 2; keyed++) {
        struct backlog_memory memory = {0};
        struct backlog backlog;
        if (keyed != 0) {
            backlog_init_keyed(&backlog);
        } else {
            backlog_init(&backlog, 5, 0);
        }
        uint64_t in = 0;
        uint64_t out = 0;
        for (uint64_t round = 1; round < 60; round++) {
            push_range(&backlog, &memory, in, in + round * 7);
            in += round * 7;
            pop_range(&backlog, &memory, out, out + round * 6);
            out += round * 6;
        }
        pop_range(&backlog, &memory, out, in);
        assert_int_equal(backlog.count, 0);
        assert_int_equal(backlog.bytes, 0);
        backlog_trim(&backlog, &memory);
        assert_int_equal(memory.bytes, 0);
    }
}

static void one_at_a_time_takes_no_memory(void **state) {
    (void)state;
    struct backlog_memory memory = {0};
    struct backlog backlog;
    backlog_init(&backlog, 5, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        push_range(&backlog, &memory, i, i + 1);
        pop_range(&backlog, &memory, i, i + 1);
        assert_int_equal(memory.bytes, 0);
    }
}

static void a_hundred_pending_fit_in_a_kilobyte(void **state) {
    (void)state;
    struct backlog_memory memory = {0};
    struct backlog backlog;
    backlog_init(&backlog, 5, 0);
    push_range(&backlog, &memory, 0, 100);
    assert_true(memory.bytes <= 1024);
    backlog_clear(&backlog, &memory);
    push_range(&backlog, &memory, 0, 100000);
    assert_true(memory.bytes <= 100000 * 6);
    backlog_clear(&backlog, &memory);
    assert_int_equal(memory.bytes, 0);
}

static void positions_may_go_back(void **state) {
    (void)state;
    struct backlog_memory memory = {0};
    struct backlog backlog;
    backlog_init(&backlog, 1, 3);
    static const uint64_t positions[] = {8, UINT64_MAX - 7, 0, 1, UINT64_MAX, 16};
    for (size_t i = 0; i < 6; i++) {
        struct backlog_entry entry = {.pos = positions[i], .size = UINT32_MAX, .arrived_ms = 5};
        assert_true(mr_is_ok(backlog_push(&backlog, &memory, &entry)));
    }
    assert_false(backlog.ascending);
    for (size_t i = 0; i < 6; i++) {
        struct backlog_entry entry;
        assert_true(mr_is_ok(backlog_head(&backlog, &memory, &entry)));
        assert_int_equal(entry.pos, positions[i]);
        assert_int_equal(entry.origin, 3);
        backlog_pop(&backlog, &memory);
    }
    backlog_clear(&backlog, &memory);
}

static void an_earlier_arrival_is_raised_to_the_last(void **state) {
    (void)state;
    struct backlog_memory memory = {0};
    struct backlog backlog;
    backlog_init(&backlog, 1, 0);
    for (int64_t i = 0; i < 3; i++) {
        struct backlog_entry entry = {.pos = (uint64_t)i, .arrived_ms = 100 - i * 40};
        assert_true(mr_is_ok(backlog_push(&backlog, &memory, &entry)));
    }
    backlog_pop(&backlog, &memory);
    assert_int_equal(backlog_oldest_ms(&backlog), 100);
    backlog_clear(&backlog, &memory);
    assert_int_equal(backlog_oldest_ms(&backlog), INT64_MAX);
}

static void full_chunks_are_spilled_and_come_back(void **state) {
    (void)state;
    struct store store = {0};
    struct backlog_memory memory = {.bytes_max = 16384,
                                    .spill = {&store, store_put, store_get, store_drop}};
    struct backlog backlog;
    backlog_init_keyed(&backlog);
    push_range(&backlog, &memory, 0, 50000);
    assert_true(store.held > 20);
    assert_int_equal(memory.chunks_spilled, store.held);
    assert_true(memory.bytes < 32768);
    pop_range(&backlog, &memory, 0, 30000);
    push_range(&backlog, &memory, 50000, 60000);
    pop_range(&backlog, &memory, 30000, 60000);
    assert_int_equal(store.held, 0);
    backlog_clear(&backlog, &memory);
    push_range(&backlog, &memory, 0, 50000);
    backlog_clear(&backlog, &memory);
    assert_int_equal(store.held, 0);
    assert_int_equal(memory.bytes, 0);
    assert_int_equal(memory.chunks_spilled, 0);
}

static void a_chunk_that_is_away_blocks_and_loses_nothing(void **state) {
    (void)state;
    struct store store = {0};
    struct backlog_memory memory = {.bytes_max = 8192,
                                    .spill = {&store, store_put, store_get, store_drop}};
    struct backlog backlog;
    backlog_init(&backlog, 5, 0);
    push_range(&backlog, &memory, 0, 20000);
    static const uint32_t errors[] = {MR_E_AGAIN, MR_E_IO};
    uint64_t out = 0;
    struct backlog_entry entry;
    for (uint32_t round = 0; round < 20; round++) {
        store.get_error = errors[round % 2];
        mr_err err = MR_OK;
        while (mr_is_ok(err = backlog_head(&backlog, &memory, &entry))) {
            assert_int_equal(entry.pos, entry_of(out).pos);
            backlog_pop(&backlog, &memory);
            out++;
        }
        if (backlog.count == 0) {
            break;
        }
        assert_int_equal(err.code, store.get_error);
        assert_int_equal(backlog.count, 20000 - out);
        store.get_error = 0;
        assert_true(mr_is_ok(backlog_head(&backlog, &memory, &entry)));
    }
    store.get_error = 0;
    pop_range(&backlog, &memory, out, 20000);
    backlog_clear(&backlog, &memory);
}

static void a_spill_that_refuses_leaves_chunks_in_memory(void **state) {
    (void)state;
    struct store store = {.put_fails = true};
    struct backlog_memory memory = {.bytes_max = 4096,
                                    .spill = {&store, store_put, store_get, store_drop}};
    struct backlog backlog;
    backlog_init(&backlog, 5, 0);
    push_range(&backlog, &memory, 0, 20000);
    assert_int_equal(store.held, 0);
    pop_range(&backlog, &memory, 0, 20000);
    backlog_clear(&backlog, &memory);
}

static void push_without_memory_changes_nothing(void **state) {
    (void)state;
    struct backlog_memory memory = {0};
    struct backlog backlog;
    backlog_init(&backlog, 5, 0);
    uint64_t in = 0;
    for (uint32_t round = 0; round < 3000; round++) {
        struct backlog_entry entry = entry_of(in);
        mr_alloc_fail_at(1);
        mr_err err = backlog_push(&backlog, &memory, &entry);
        mr_alloc_fail_at(0);
        if (mr_is_err(err)) {
            assert_int_equal(err.code, MR_E_NOMEM);
            assert_int_equal(backlog.count, in);
            assert_true(mr_is_ok(backlog_push(&backlog, &memory, &entry)));
        }
        in++;
    }
    backlog_assert_valid(&backlog, &memory);
    pop_range(&backlog, &memory, 0, in);
    backlog_clear(&backlog, &memory);
}

static bool keep_odd(void *arg, const struct backlog_entry *entry) {
    (*(uint64_t *)arg)++;
    return (entry->pos - 8) / 1032 % 2 == 1;
}

static void filter_keeps_what_it_is_told_to(void **state) {
    (void)state;
    struct store store = {0};
    struct backlog_memory memory = {.bytes_max = 8192,
                                    .spill = {&store, store_put, store_get, store_drop}};
    struct backlog backlog;
    backlog_init_keyed(&backlog);
    push_range(&backlog, &memory, 0, 9000);
    pop_range(&backlog, &memory, 0, 100);
    uint64_t seen = 0;
    assert_true(mr_is_ok(backlog_filter(&backlog, &memory, keep_odd, &seen)));
    assert_int_equal(seen, 8900);
    assert_int_equal(backlog.count, 4450);
    backlog_assert_valid(&backlog, &memory);
    for (uint64_t i = 101; i < 9000; i += 2) {
        pop_range(&backlog, &memory, i, i + 1);
    }
    assert_int_equal(store.held, 0);
    backlog_clear(&backlog, &memory);
    assert_int_equal(memory.bytes, 0);
}

static void filter_that_fails_leaves_all(void **state) {
    (void)state;
    struct store store = {0};
    struct backlog_memory memory = {.bytes_max = 8192,
                                    .spill = {&store, store_put, store_get, store_drop}};
    struct backlog backlog;
    backlog_init_keyed(&backlog);
    push_range(&backlog, &memory, 0, 9000);
    uint64_t seen = 0;
    store.get_error = MR_E_AGAIN;
    assert_true(mr_err_is(backlog_filter(&backlog, &memory, keep_odd, &seen), MR_E_AGAIN));
    store.get_error = 0;
    memory.bytes_max = 0;
    for (uint64_t fail = 1; fail < 6; fail++) {
        mr_alloc_fail_at(fail);
        mr_err err = backlog_filter(&backlog, &memory, keep_odd, &seen);
        mr_alloc_fail_at(0);
        assert_true(mr_err_is(err, MR_E_NOMEM));
    }
    pop_range(&backlog, &memory, 0, 9000);
    backlog_clear(&backlog, &memory);
    assert_int_equal(store.held, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_in_order),
        cmocka_unit_test(one_at_a_time_takes_no_memory),
        cmocka_unit_test(a_hundred_pending_fit_in_a_kilobyte),
        cmocka_unit_test(positions_may_go_back),
        cmocka_unit_test(an_earlier_arrival_is_raised_to_the_last),
        cmocka_unit_test(full_chunks_are_spilled_and_come_back),
        cmocka_unit_test(a_chunk_that_is_away_blocks_and_loses_nothing),
        cmocka_unit_test(a_spill_that_refuses_leaves_chunks_in_memory),
        cmocka_unit_test(push_without_memory_changes_nothing),
        cmocka_unit_test(filter_keeps_what_it_is_told_to),
        cmocka_unit_test(filter_that_fails_leaves_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
