/* The mailbox: order, wakes, many senders. Run under TSan too. */
#include "base/mem.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "os/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define N_SENDERS 4
#define N_EACH    20000

struct letter {
    struct mail mail;
    struct readers_book *book;
    int sender;
    int number;
};

/* The reader's only. */
struct readers_book {
    int next[N_SENDERS]; /* number expected of each */
    int n_read;
    struct loop *loop; /* stopped at the end */
};

struct sender {
    os_thread thread;
    struct mailbox *mailbox;
    struct readers_book *book;
    mr_metrics *metrics;
    struct letter *letters;
    int number;
};

static void read_letter(struct mail *mail) {
    struct letter *letter = MR_CONTAINER(mail, struct letter, mail);
    struct readers_book *book = letter->book;
    MR_ASSERT(book->next[letter->sender] == letter->number);
    book->next[letter->sender]++;
    book->n_read++;
    if (book->n_read == N_SENDERS * N_EACH && book->loop != NULL) {
        loop_stop(book->loop);
    }
}

static void send_all(void *sender_ptr) {
    struct sender *sender = sender_ptr;
    for (int i = 0; i < N_EACH; i++) {
        struct letter *letter = &sender->letters[i];
        *letter = (struct letter){
            .mail.run = read_letter, .book = sender->book, .sender = sender->number, .number = i};
        mailbox_post(sender->mailbox, &letter->mail, sender->metrics);
        if (i % 1000 == 999) {
            os_pause_ms(1); /* lets the reader fall asleep */
        }
    }
}

static void start_senders(struct sender *senders, struct mailbox *mailbox,
                          struct readers_book *book) {
    for (int i = 0; i < N_SENDERS; i++) {
        senders[i] = (struct sender){.mailbox = mailbox, .book = book, .number = i};
        senders[i].letters = mr_calloc(N_EACH, sizeof(struct letter));
        senders[i].metrics = MR_NEW(mr_metrics);
        assert_true(mr_is_ok(os_thread_start(&senders[i].thread, "sender", send_all, &senders[i])));
    }
}

static int64_t end_senders(struct sender *senders) {
    int64_t wakes = 0;
    for (int i = 0; i < N_SENDERS; i++) {
        os_thread_join(&senders[i].thread);
        wakes += mr_metric_get(senders[i].metrics, MR_METRIC_WAKES);
        mr_free(senders[i].letters);
        mr_free(senders[i].metrics);
    }
    return wakes;
}

static void many_senders_reach_a_plain_thread_each_in_order(void **state) {
    (void)state;
    struct mailbox mailbox;
    struct sender senders[N_SENDERS];
    struct readers_book book = {.n_read = 0};
    mailbox_init(&mailbox);
    start_senders(senders, &mailbox, &book);
    while (book.n_read < N_SENDERS * N_EACH) {
        mailbox_run(mailbox_wait(&mailbox, MR_MONO_NEVER));
    }
    int64_t wakes = end_senders(senders);
    assert_true(wakes >= 1 && wakes < N_SENDERS * N_EACH);
    assert_null(mailbox_drain(&mailbox));
}

static void many_senders_reach_a_loop_each_in_order(void **state) {
    (void)state;
    struct loop *loop = MR_NEW(struct loop);
    struct sender senders[N_SENDERS];
    struct readers_book book = {.loop = loop};
    assert_true(mr_is_ok(loop_init(loop, NULL)));
    start_senders(senders, loop_mailbox(loop), &book);
    loop_run(loop);
    int64_t wakes = end_senders(senders);
    assert_true(wakes < N_SENDERS * N_EACH);
    assert_int_equal(book.n_read, N_SENDERS * N_EACH);
    loop_done(loop);
    mr_free(loop);
}

static void only_the_first_message_to_a_sleeper_wakes(void **state) {
    (void)state;
    struct mailbox mailbox;
    struct readers_book book = {.n_read = 0};
    mr_metrics metrics = {0};
    struct letter letters[3];
    mailbox_init(&mailbox);
    for (int i = 0; i < 3; i++) {
        letters[i] = (struct letter){.mail.run = read_letter, .book = &book, .number = i};
    }
    mailbox_post(&mailbox, &letters[0].mail, &metrics);
    assert_int_equal(mr_metric_get(&metrics, MR_METRIC_WAKES), 0); /* the reader is awake */
    assert_false(mailbox_sleep(&mailbox));
    assert_int_equal(mailbox_run(mailbox_drain(&mailbox)), 1);
    assert_true(mailbox_sleep(&mailbox));
    mailbox_post(&mailbox, &letters[1].mail, &metrics);
    mailbox_post(&mailbox, &letters[2].mail, &metrics);
    assert_int_equal(mr_metric_get(&metrics, MR_METRIC_WAKES), 1);
    assert_int_equal(mailbox_run(mailbox_drain(&mailbox)), 2);
    assert_true(mailbox_sleep(&mailbox));
    assert_null(mailbox_drain(&mailbox));
}

static void a_wait_ends_at_its_deadline(void **state) {
    (void)state;
    struct mailbox mailbox;
    mailbox_init(&mailbox);
    mr_mono deadline = mr_mono_add_ms(os_mono_now(), 10);
    while (mr_mono_before(os_mono_now(), deadline)) {
        assert_null(mailbox_wait(&mailbox, deadline));
    }
    assert_null(mailbox_wait(&mailbox, deadline)); /* passed already: does not hang */
}

static void cores_granted_are_at_least_one(void **state) {
    (void)state;
    assert_true(os_cores_granted() >= 1 && os_cores_granted() < 100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_first_message_to_a_sleeper_wakes),
        cmocka_unit_test(a_wait_ends_at_its_deadline),
        cmocka_unit_test(many_senders_reach_a_plain_thread_each_in_order),
        cmocka_unit_test(many_senders_reach_a_loop_each_in_order),
        cmocka_unit_test(cores_granted_are_at_least_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
