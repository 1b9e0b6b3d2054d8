/* The cache of credentials: one fetch in flight, renewal ahead of the end, failures remembered, all
 * on a clock that the test turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sink/aws/cache.h"

#define HOUR_MS INT64_C(3600000)
#define ROLE    MR_STR("aws eu-central-1 arn:aws:iam::111122223333:role/a x")

struct rig {
    struct secret_slab *slab;
    struct aws_cache cache;
    struct aws_now now;
    int n_fetches;
    struct aws_entry *fetching;
    enum aws_failure refuse; /* fetches cannot be started, for that */
};

struct waiter {
    struct aws_ticket ticket;
    struct rig *rig;
    int n_done;
    struct aws_credentials *got;
    enum aws_failure failure;
    char why[AWS_WHY_MAX];
    struct waiter *cancels; /* when it is told */
    struct waiter *asks;
};

static enum aws_failure fetch(void *ctx, struct aws_entry *entry, const char **ret_why) {
    struct rig *rig = ctx;
    rig->n_fetches++;
    if (rig->refuse != AWS_FAILURE_NONE) {
        *ret_why = "not now";
        return rig->refuse;
    }
    rig->fetching = entry;
    return AWS_FAILURE_NONE;
}

static void rig_start(struct rig *rig) {
    *rig = (struct rig){.now = {{1000000}, 1767225600000}};
    assert_true(mr_is_ok(secret_slab_new(1 << 20, &rig->slab)));
    aws_cache_init(&rig->cache, (struct aws_cache_hooks){rig, fetch});
}

static void rig_stop(struct rig *rig) {
    aws_cache_done(&rig->cache);
    secret_slab_free(rig->slab); /* asserts that no secret is left */
}

static void pass_ms(struct rig *rig, int64_t ms) {
    rig->now.mono = mr_mono_add_ms(rig->now.mono, ms);
    rig->now.wall_ms += ms;
}

static enum aws_got get(struct rig *rig, mr_str name, struct waiter *waiter);

static void on_done(struct aws_ticket *ticket, struct aws_credentials *credentials,
                    enum aws_failure failure, const char *why) {
    struct waiter *waiter = MR_CONTAINER(ticket, struct waiter, ticket);
    waiter->n_done++;
    waiter->got = credentials;
    waiter->failure = failure;
    snprintf(waiter->why, sizeof waiter->why, "%s", why);
    if (waiter->cancels != NULL) {
        aws_ticket_cancel(&waiter->rig->cache, &waiter->cancels->ticket);
    }
    if (waiter->asks != NULL) {
        (void)get(waiter->rig, ROLE, waiter->asks);
    }
}

static enum aws_got get(struct rig *rig, mr_str name, struct waiter *waiter) {
    waiter->rig = rig;
    waiter->got = NULL;
    waiter->n_done = 0;
    waiter->ticket.on_done = on_done;
    mr_list_init(&waiter->ticket.node);
    const char *why = "";
    enum aws_got got = aws_cache_get(&rig->cache, name, rig->now, &waiter->ticket, &waiter->got,
                                     &waiter->failure, &why);
    snprintf(waiter->why, sizeof waiter->why, "%s", got == AWS_GOT_FAILURE ? why : "");
    return got;
}

static void done(struct waiter *waiter) {
    aws_credentials_unref(waiter->got);
    waiter->got = NULL;
}

static struct aws_credentials *fresh(struct rig *rig, const char *key, int64_t life_ms) {
    struct aws_credentials *credentials;
    assert_true(
        mr_is_ok(aws_credentials_new(rig->slab, mr_str_c(key), MR_STR("secret"), MR_STR("token"),
                                     rig->now.wall_ms + life_ms, &credentials)));
    return credentials;
}

static void answer(struct rig *rig, const char *key, int64_t life_ms) {
    struct aws_entry *entry = rig->fetching;
    assert_non_null(entry);
    rig->fetching = NULL;
    aws_cache_fetched(entry, fresh(rig, key, life_ms), AWS_FAILURE_NONE, "", rig->now);
}

static void answer_failure(struct rig *rig, enum aws_failure failure, const char *why) {
    struct aws_entry *entry = rig->fetching;
    assert_non_null(entry);
    rig->fetching = NULL;
    aws_cache_fetched(entry, NULL, failure, why, rig->now);
}

static void who_asks_meanwhile_waits_for_the_one_fetch(void **state) {
    (void)state;
    struct rig rig;
    struct waiter waiters[3] = {0};
    rig_start(&rig);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get(&rig, ROLE, &waiters[i]), AWS_GOT_TICKET);
    }
    assert_int_equal(rig.n_fetches, 1);
    answer(&rig, "ASIA1", HOUR_MS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waiters[i].n_done, 1);
        assert_string_equal(waiters[i].got->access_key, "ASIA1");
        done(&waiters[i]);
    }
    assert_int_equal(get(&rig, ROLE, &waiters[0]), AWS_GOT_CREDENTIALS);
    done(&waiters[0]);
    assert_int_equal(rig.n_fetches, 1);
    rig_stop(&rig);
}

static void each_name_has_credentials_of_its_own(void **state) {
    (void)state;
    struct rig rig;
    struct waiter a = {0};
    struct waiter b = {0};
    rig_start(&rig);
    assert_int_equal(get(&rig, ROLE, &a), AWS_GOT_TICKET);
    answer(&rig, "ASIA1", HOUR_MS);
    assert_int_equal(get(&rig, MR_STR("aws eu-central-1 role other-id"), &b), AWS_GOT_TICKET);
    answer(&rig, "ASIA2", HOUR_MS);
    assert_string_equal(a.got->access_key, "ASIA1");
    assert_string_equal(b.got->access_key, "ASIA2");
    done(&a);
    done(&b);
    rig_stop(&rig);
}

static void they_are_renewed_ahead_while_the_old_ones_serve(void **state) {
    (void)state;
    struct rig rig;
    struct waiter w = {0};
    rig_start(&rig);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_TICKET);
    answer(&rig, "ASIA1", HOUR_MS);
    done(&w);
    pass_ms(&rig, HOUR_MS - AWS_RENEW_MS - 1);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_CREDENTIALS);
    done(&w);
    assert_int_equal(rig.n_fetches, 1);
    pass_ms(&rig, 1);
    for (int i = 0; i < 3; i++) { /* one renewal, nobody waits */
        assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_CREDENTIALS);
        assert_string_equal(w.got->access_key, "ASIA1");
        done(&w);
    }
    assert_int_equal(rig.n_fetches, 2);
    answer(&rig, "ASIA2", HOUR_MS);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_CREDENTIALS);
    assert_string_equal(w.got->access_key, "ASIA2");
    done(&w);
    assert_int_equal(rig.n_fetches, 2);
    rig_stop(&rig);
}

static void a_failed_renewal_leaves_the_old_ones_until_they_end(void **state) {
    (void)state;
    struct rig rig;
    struct waiter w = {0};
    rig_start(&rig);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_TICKET);
    answer(&rig, "ASIA1", HOUR_MS);
    done(&w);
    pass_ms(&rig, HOUR_MS - AWS_RENEW_MS);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_CREDENTIALS);
    done(&w);
    answer_failure(&rig, AWS_FAILURE_TROUBLE, "no answer");
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_CREDENTIALS);
    done(&w);
    assert_int_equal(rig.n_fetches, 2); /* not again at once */
    pass_ms(&rig, AWS_TROUBLE_MS);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_CREDENTIALS);
    done(&w);
    assert_int_equal(rig.n_fetches, 3);
    pass_ms(&rig, AWS_RENEW_MS - AWS_TROUBLE_MS - AWS_MARGIN_MS);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_TICKET); /* ended, the third fetch is under way */
    assert_int_equal(rig.n_fetches, 3);
    answer(&rig, "ASIA2", HOUR_MS);
    assert_string_equal(w.got->access_key, "ASIA2");
    done(&w);
    rig_stop(&rig);
}

static void a_failure_is_told_to_all_and_remembered_for_a_while(void **state) {
    (void)state;
    static const struct {
        enum aws_failure failure;
        int64_t ms;
    } rows[] = {{AWS_FAILURE_REFUSED, AWS_REFUSED_MS},
                {AWS_FAILURE_TROUBLE, AWS_TROUBLE_MS},
                {AWS_FAILURE_THROTTLED, AWS_TROUBLE_MS}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        struct waiter a = {0};
        struct waiter b = {0};
        rig_start(&rig);
        assert_int_equal(get(&rig, ROLE, &a), AWS_GOT_TICKET);
        assert_int_equal(get(&rig, ROLE, &b), AWS_GOT_TICKET);
        answer_failure(&rig, rows[i].failure, "AccessDenied");
        assert_int_equal(a.n_done + b.n_done, 2);
        assert_int_equal(b.failure, rows[i].failure);
        assert_string_equal(b.why, "AccessDenied");
        pass_ms(&rig, rows[i].ms - 1);
        assert_int_equal(get(&rig, ROLE, &a), AWS_GOT_FAILURE);
        assert_int_equal(a.failure, rows[i].failure);
        assert_string_equal(a.why, "AccessDenied");
        assert_int_equal(rig.n_fetches, 1);
        pass_ms(&rig, 1);
        assert_int_equal(get(&rig, ROLE, &a), AWS_GOT_TICKET);
        assert_int_equal(rig.n_fetches, 2);
        answer(&rig, "ASIA1", HOUR_MS);
        done(&a);
        rig_stop(&rig);
    }
}

static void a_fetch_that_cannot_start_is_told_at_once(void **state) {
    (void)state;
    struct rig rig;
    struct waiter w = {0};
    rig_start(&rig);
    rig.refuse = AWS_FAILURE_CANCELLED;
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_FAILURE);
    assert_int_equal(w.failure, AWS_FAILURE_CANCELLED);
    assert_string_equal(w.why, "not now");
    rig_stop(&rig);
}

static void who_gave_up_is_not_told(void **state) {
    (void)state;
    struct rig rig;
    struct waiter a = {0};
    struct waiter b = {0};
    rig_start(&rig);
    assert_int_equal(get(&rig, ROLE, &a), AWS_GOT_TICKET);
    assert_int_equal(get(&rig, ROLE, &b), AWS_GOT_TICKET);
    aws_ticket_cancel(&rig.cache, &a.ticket);
    aws_ticket_cancel(&rig.cache, &a.ticket);
    answer(&rig, "ASIA1", HOUR_MS);
    assert_int_equal(a.n_done, 0);
    assert_int_equal(b.n_done, 1);
    done(&b);
    rig_stop(&rig);
}

/* Those who are told may give up others, and ask again themselves. */
static void callees_may_cancel_and_ask(void **state) {
    (void)state;
    struct rig rig;
    struct waiter a = {0};
    struct waiter b = {0};
    struct waiter c = {0};
    rig_start(&rig);
    assert_int_equal(get(&rig, ROLE, &a), AWS_GOT_TICKET);
    assert_int_equal(get(&rig, ROLE, &b), AWS_GOT_TICKET);
    a.cancels = &b;
    a.asks = &c;
    answer(&rig, "ASIA1", HOUR_MS);
    assert_int_equal(b.n_done, 0);
    assert_string_equal(c.got->access_key, "ASIA1");
    done(&a);
    done(&c);
    rig_stop(&rig);
}

static void rejected_ones_are_fetched_anew_once(void **state) {
    (void)state;
    struct rig rig;
    struct waiter a = {0};
    struct waiter b = {0};
    rig_start(&rig);
    assert_int_equal(get(&rig, ROLE, &a), AWS_GOT_TICKET);
    answer(&rig, "ASIA1", HOUR_MS);
    assert_int_equal(get(&rig, ROLE, &b), AWS_GOT_CREDENTIALS);
    aws_cache_reject(&rig.cache, ROLE, a.got);
    struct aws_credentials *old = b.got;
    assert_int_equal(get(&rig, ROLE, &b), AWS_GOT_TICKET);
    answer(&rig, "ASIA2", HOUR_MS);
    done(&b);
    aws_cache_reject(&rig.cache, ROLE, old); /* late: others are there already */
    assert_int_equal(get(&rig, ROLE, &b), AWS_GOT_CREDENTIALS);
    assert_string_equal(b.got->access_key, "ASIA2");
    assert_int_equal(rig.n_fetches, 2);
    aws_credentials_unref(old);
    done(&a);
    done(&b);
    rig_stop(&rig);
}

static void credentials_that_come_ended_are_a_failure(void **state) {
    (void)state;
    struct rig rig;
    struct waiter w = {0};
    rig_start(&rig);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_TICKET);
    answer(&rig, "ASIA1", AWS_MARGIN_MS);
    assert_null(w.got);
    assert_int_equal(w.failure, AWS_FAILURE_TROUBLE);
    assert_non_null(strstr(w.why, "clock"));
    rig_stop(&rig);
}

static void names_not_asked_for_in_long_go_and_their_number_is_bounded(void **state) {
    (void)state;
    struct rig rig;
    struct waiter w = {0};
    rig_start(&rig);
    char name[32];
    for (int i = 0; i <= AWS_CACHE_ENTRIES_MAX; i++) {
        snprintf(name, sizeof name, "role %d", i);
        assert_int_equal(get(&rig, mr_str_c(name), &w), AWS_GOT_TICKET);
        answer(&rig, "ASIA1", HOUR_MS);
        done(&w);
    }
    assert_int_equal(rig.cache.n_entries, AWS_CACHE_ENTRIES_MAX);
    pass_ms(&rig, AWS_IDLE_MS + 1);
    assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_TICKET);
    assert_int_equal(rig.cache.n_entries, 1);
    answer(&rig, "ASIA1", HOUR_MS);
    done(&w);
    rig_stop(&rig);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    struct rig rig;
    struct waiter w = {0};
    rig_start(&rig);
    for (uint64_t i = 1; i <= 2; i++) {
        mr_alloc_fail_at(i);
        assert_int_equal(get(&rig, ROLE, &w), AWS_GOT_FAILURE);
        mr_alloc_fail_at(0);
    }
    assert_int_equal(rig.cache.n_entries, 0);
    rig_stop(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_meanwhile_waits_for_the_one_fetch),
        cmocka_unit_test(each_name_has_credentials_of_its_own),
        cmocka_unit_test(they_are_renewed_ahead_while_the_old_ones_serve),
        cmocka_unit_test(a_failed_renewal_leaves_the_old_ones_until_they_end),
        cmocka_unit_test(a_failure_is_told_to_all_and_remembered_for_a_while),
        cmocka_unit_test(a_fetch_that_cannot_start_is_told_at_once),
        cmocka_unit_test(who_gave_up_is_not_told),
        cmocka_unit_test(callees_may_cancel_and_ask),
        cmocka_unit_test(rejected_ones_are_fetched_anew_once),
        cmocka_unit_test(credentials_that_come_ended_are_a_failure),
        cmocka_unit_test(names_not_asked_for_in_long_go_and_their_number_is_bounded),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
