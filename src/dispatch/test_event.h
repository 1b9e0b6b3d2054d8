/* "Test Event" on a destination: connect first, then send one test event (or an example of a type),
 * once, without retry or record of delivery, and tell step by step what was seen. KORE, "Test a
 * destination". Runs on the worker that was asked, beside the destination's lane. */
#ifndef MR_DISPATCH_TEST_EVENT_H
#define MR_DISPATCH_TEST_EVENT_H

#include "loop/loop.h"
#include "model/catalogue.h"
#include "sink/sink.h"

/* Tests allowed in a minute, per destination, over all workers. */
#define TEST_EVENTS_PER_MINUTE 10

/* Who tested when; shared by all workers. */
struct test_limits;
mr_err test_limits_new(struct test_limits **ret_limits);
void test_limits_free(struct test_limits *limits);
/* False: ten were made within the last minute; *ret_wait_ms until the next may be. Any thread. */
bool test_limits_take(struct test_limits *limits, uint32_t destination, mr_mono now,
                      int64_t *ret_wait_ms);

struct test_spec {
    const struct sink_env *env;
    struct loop *loop;
    struct model_destination *destination; /* a reference is taken */
    mr_secret secret;                      /* the account's active one; a reference is taken */
    const struct catalogue_type *type;     /* NULL: the test event; else an example of this type */
    mr_str public_url;
    /* Once, later, from the loop. ok: the whole test. json: {"ok","steps","request","response",
     * "event_id"}; summary: {"ok","step","detail","date"} for the destination's last_test. */
    void (*on_done)(void *ctx, bool ok, mr_str json, mr_str summary);
    void *ctx;
};
/* MR_E_NOMEM: nothing was started. */
mr_err test_event_start(const struct test_spec *spec);

#endif
