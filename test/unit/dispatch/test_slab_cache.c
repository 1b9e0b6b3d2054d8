/* The slabs that a worker keeps for rendering, and the memory that their pool keeps. */
#include "dispatch/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SLAB_BYTES ((size_t)65536)

static struct slab_pool *pool;
static struct slab_cache cache;

static int begin(void **state) {
    (void)state;
    memset(&cache, 0, sizeof cache);
    cache.bytes_max = 4 * SLAB_BYTES;
    return mr_is_ok(slab_pool_new(SLAB_BYTES, 64 * SLAB_BYTES, &pool)) ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    slab_cache_done(&cache);
    slab_pool_free(pool);
    return 0;
}

/* A slab with one record at that position. */
static struct slab *slab_with(uint64_t pos, uint8_t type) {
    struct slab *slab;
    assert_true(mr_is_ok(slab_pool_take(pool, SLAB_BYTES, &slab)));
    memcpy(slab->memory, "body", 4);
    slab->index[0] = (struct slab_entry){.pos = pos, .len = 4, .type = type};
    slab->n_records = 1;
    slab->first_pos = pos;
    slab->end_pos = pos + 64;
    return slab;
}

/* What is out of the pool, beside the slab that asking takes and gives back. */
static size_t slabs_out(void) {
    struct slab *slab;
    assert_true(mr_is_ok(slab_pool_take(pool, SLAB_BYTES, &slab)));
    size_t n = slab_pool_out(pool) / SLAB_BYTES - 1;
    slab_unref(slab);
    return n;
}

static bool is_kept(uint64_t pos) {
    return !mr_str_is_absent(slab_cache_find(&cache, pos));
}

static void an_event_is_found_while_its_slab_is_kept(void **state) {
    (void)state;
    slab_cache_put(&cache, slab_with(64, RECORD_EVENT), 0);
    slab_cache_put(&cache, slab_with(128, RECORD_EVENT), 0);
    assert_true(is_kept(64));
    assert_true(is_kept(128));
    assert_false(is_kept(192));
}

static void a_slab_without_events_is_given_back_at_once(void **state) {
    (void)state;
    slab_cache_put(&cache, slab_with(64, RECORD_EVENT), 0);
    slab_cache_put(&cache, slab_with(128, RECORD_OUTCOME), 0);
    assert_int_equal(slabs_out(), 1);
    assert_true(is_kept(64));
}

static void the_oldest_leaves_when_there_is_no_room(void **state) {
    (void)state;
    for (uint64_t i = 1; i <= 5; i++) {
        slab_cache_put(&cache, slab_with(i * 64, RECORD_EVENT), 0);
    }
    assert_int_equal(slabs_out(), 4);
    assert_false(is_kept(64));
    assert_true(is_kept(128));
}

static void an_old_slab_leaves_also_when_outcomes_come(void **state) {
    (void)state;
    slab_cache_put(&cache, slab_with(64, RECORD_EVENT), 1000);
    slab_cache_put(&cache, slab_with(128, RECORD_EVENT), 2000);
    slab_cache_put(&cache, slab_with(192, RECORD_OUTCOME), 1001 + SLAB_CACHE_MS);
    assert_false(is_kept(64));
    assert_true(is_kept(128));
    assert_int_equal(slabs_out(), 1);
}

static void the_pool_keeps_as_much_as_one_large_slab_of_each_size(void **state) {
    (void)state;
    struct slab *small[20];
    for (size_t i = 0; i < 20; i++) {
        assert_true(mr_is_ok(slab_pool_take(pool, SLAB_BYTES / 16, &small[i])));
    }
    for (size_t i = 0; i < 20; i++) {
        slab_unref(small[i]);
    }
    assert_int_equal(slabs_out(), 0);
    assert_int_equal(slab_pool_kept(pool), SLAB_BYTES); /* the large one is on its way back */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_found_while_its_slab_is_kept),
        TEST(a_slab_without_events_is_given_back_at_once),
        TEST(the_oldest_leaves_when_there_is_no_room),
        TEST(an_old_slab_leaves_also_when_outcomes_come),
        TEST(the_pool_keeps_as_much_as_one_large_slab_of_each_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
