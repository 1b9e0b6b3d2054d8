/* The control thread: jobs are answered after commit and adoption; what fails leaves nothing. */
#include "support_control.h"

#include "base/list.h"
#include "base/mem.h"
#include "control/destinations.h"
#include "control/jobs.h"
#include "control/secrets.h"
#include "os/clock.h"
#include "os/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_job {
    struct control_job job; /* first */
    struct fixture *f;
    mr_arena arena;
    bool is_done;
    bool fails_late;
    uint64_t version_at_done;
    struct worker *worker;
    struct destination_view view;
};

/* A reader of snapshots, stepped by the test. */
struct worker {
    struct mailbox mailbox;
    struct control_subscriber subscriber;
    struct snapshot *snapshot;
    size_t n_adopted;
    struct control_change last;
};

static void adopt(void *ctx, struct snapshot *snapshot, struct control_changes changes) {
    struct worker *worker = ctx;
    assert_true(snapshot_version(snapshot) > snapshot_version(worker->snapshot));
    snapshot_unref(worker->snapshot);
    worker->snapshot = snapshot;
    worker->n_adopted++;
    assert_true(changes.len > 0);
    worker->last = changes.list[0];
}

static void worker_init(struct worker *worker, struct control *control) {
    *worker = (struct worker){.n_adopted = 0};
    mailbox_init(&worker->mailbox);
    worker->snapshot = control_snapshot(control);
    worker->subscriber = (struct control_subscriber){
        .mailbox = &worker->mailbox,
        .adopt = adopt,
        .ctx = worker,
    };
    control_subscribe(control, &worker->subscriber);
}

static void worker_step(struct worker *worker) {
    mailbox_run(mailbox_drain(&worker->mailbox));
}

static mr_err run_create(struct control *control, struct control_job *job) {
    struct test_job *test = (struct test_job *)(void *)job;
    MR_TRY(destinations_create(
        control, test->f->account,
        MR_STR("{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{\"url\":\"https://x.test/\"}}"),
        &test->arena, &test->view, &job->refusal));
    return test->fails_late ? refuse(&job->refusal, REFUSAL_RULE, "late") : MR_OK;
}

static mr_err run_read(struct control *control, struct control_job *job) {
    struct test_job *test = (struct test_job *)(void *)job;
    struct destination_view *rows = NULL;
    size_t n = 0;
    uint64_t count = 0;
    return destinations_list(control, test->f->account, MR_STR_NONE, MR_STR_NONE,
                             (struct control_page){.size = 5, .number = 1}, &test->arena, &rows, &n,
                             &count, &job->refusal);
}

static void on_done(struct control_job *job) {
    struct test_job *test = (struct test_job *)(void *)job;
    assert_false(test->is_done);
    test->is_done = true;
    if (test->worker != NULL) {
        test->version_at_done = snapshot_version(test->worker->snapshot);
    }
}

static void job_init(struct test_job *job, struct fixture *f, struct worker *worker,
                     mr_err (*run)(struct control *, struct control_job *)) {
    *job = (struct test_job){
        .job = {.run = run, .done = on_done, .reply_to = worker == NULL ? NULL : &worker->mailbox},
        .f = f,
        .worker = worker,
    };
    mr_arena_init(&job->arena, (size_t)1 << 20);
}

static void a_change_is_answered_when_every_worker_has_adopted_it(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct worker b;
    struct test_job job;
    worker_init(&a, f->control);
    worker_init(&b, f->control);
    job_init(&job, f, &a, run_create);
    control_submit(f->control, &job.job);
    assert_false(job.is_done);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    assert_int_equal(a.n_adopted, 1);
    assert_int_equal(a.last.kind, MODEL_DESTINATION);
    assert_int_equal(a.last.number, job.view.number);
    assert_false(job.is_done); /* b has not */
    worker_step(&b);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    assert_true(job.is_done);
    assert_ok(job.job.err);
    assert_non_null(snapshot_destination(b.snapshot, job.view.number));
    assert_true(job.version_at_done == snapshot_version(b.snapshot));
    mr_arena_done(&job.arena);
    snapshot_unref(a.snapshot);
    snapshot_unref(b.snapshot);
}

static void a_job_in_order_waits_for_what_was_committed_before_it(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct worker b;
    struct test_job change;
    struct test_job reads[4];
    worker_init(&a, f->control);
    worker_init(&b, f->control);
    for (size_t i = 0; i < 4; i++) {
        job_init(&reads[i], f, &a, run_read);
        reads[i].job.in_order = i < 3;
    }
    /* Nothing under way: at once. */
    control_submit(f->control, &reads[0].job);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    assert_true(reads[0].is_done);
    /* In the same turn as a change, and while it is under way. */
    job_init(&change, f, &a, run_create);
    control_submit(f->control, &change.job);
    control_submit(f->control, &reads[1].job);
    control_step(f->control, (mr_mono){1});
    control_submit(f->control, &reads[2].job);
    control_submit(f->control, &reads[3].job);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    assert_true(reads[3].is_done); /* it is in no order */
    assert_false(change.is_done || reads[1].is_done || reads[2].is_done);
    worker_step(&b);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    assert_true(change.is_done && reads[1].is_done && reads[2].is_done);
    assert_int_equal(a.n_adopted, 1); /* reading publishes nothing */
    for (size_t i = 0; i < 4; i++) {
        mr_arena_done(&reads[i].arena);
    }
    mr_arena_done(&change.arena);
    snapshot_unref(a.snapshot);
    snapshot_unref(b.snapshot);
}

static void what_waits_together_shares_a_snapshot_and_readers_are_answered_at_once(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct test_job jobs[4];
    worker_init(&a, f->control);
    for (size_t i = 0; i < 3; i++) {
        job_init(&jobs[i], f, &a, run_create);
        control_submit(f->control, &jobs[i].job);
    }
    job_init(&jobs[3], f, NULL, run_read);
    control_submit(f->control, &jobs[3].job);
    control_step(f->control, (mr_mono){1});
    assert_true(jobs[3].is_done);
    worker_step(&a);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    assert_int_equal(a.n_adopted, 1);
    assert_int_equal(snapshot_count(a.snapshot, MODEL_DESTINATION), 3);
    for (size_t i = 0; i < 4; i++) {
        assert_true(jobs[i].is_done);
        assert_ok(jobs[i].job.err);
        mr_arena_done(&jobs[i].arena);
    }
    snapshot_unref(a.snapshot);
}

static mr_err patch_status(struct test_job *test, const char *body) {
    struct destination_view view;
    return destinations_patch(test->f->control, test->f->account, test->view.id, mr_str_c(body), 0,
                              &test->arena, &view, NULL, NULL, &test->job.refusal);
}

static mr_err run_toggle(struct control *control, struct control_job *job) {
    struct test_job *test = (struct test_job *)(void *)job;
    (void)control;
    MR_TRY(patch_status(test, "{\"status\":\"disabled\"}"));
    return patch_status(test, "{\"status\":\"active\"}");
}

static mr_err run_rename(struct control *control, struct control_job *job) {
    struct test_job *test = (struct test_job *)(void *)job;
    (void)control;
    return patch_status(test, "{\"name\":\"E\"}");
}

static void run_one(struct fixture *f, struct worker *worker, struct test_job *job) {
    job->is_done = false;
    control_submit(f->control, &job->job);
    while (!job->is_done) {
        control_step(f->control, (mr_mono){1});
        worker_step(worker);
    }
    assert_ok(job->job.err);
}

/* A worker that sees one snapshot of both must still know that it was enabled. */
static void a_disabling_and_an_enabling_at_once_raise_the_epoch(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct test_job job;
    worker_init(&a, f->control);
    job_init(&job, f, &a, run_create);
    run_one(f, &a, &job);
    uint32_t number = job.view.number;
    uint64_t epoch = snapshot_destination(a.snapshot, number)->enabled_epoch;
    job.job.run = run_rename;
    run_one(f, &a, &job);
    assert_int_equal(snapshot_destination(a.snapshot, number)->enabled_epoch, epoch);
    size_t adopted = a.n_adopted;
    job.job.run = run_toggle;
    run_one(f, &a, &job);
    assert_int_equal(a.n_adopted, adopted + 1);
    assert_int_equal(snapshot_destination(a.snapshot, number)->enabled_epoch, epoch + 1);
    job.job.run = run_rename;
    run_one(f, &a, &job);
    assert_int_equal(snapshot_destination(a.snapshot, number)->enabled_epoch, epoch + 1);
    mr_arena_done(&job.arena);
    snapshot_unref(a.snapshot);
}

static void a_job_that_fails_late_leaves_nothing(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct test_job job;
    worker_init(&a, f->control);
    job_init(&job, f, &a, run_create);
    job.fails_late = true;
    control_submit(f->control, &job.job);
    control_step(f->control, (mr_mono){1});
    worker_step(&a);
    assert_true(job.is_done);
    assert_int_equal(job.job.err.code, CONTROL_E_REFUSED);
    assert_int_equal(job.job.refusal.code, 31020);
    assert_int_equal(a.n_adopted, 0);
    assert_int_equal(snapshot_count(a.snapshot, MODEL_DESTINATION), 0);
    mr_arena_done(&job.arena);
    snapshot_unref(a.snapshot);
}

static void without_memory_for_a_snapshot_the_answer_waits(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct test_job job;
    bool was_late = false;
    worker_init(&a, f->control);
    /* Every allocation of the step fails in turn, until one step needs fewer. */
    for (uint64_t at = 1; at < 400; at++) {
        size_t before = snapshot_count(a.snapshot, MODEL_DESTINATION);
        job_init(&job, f, &a, run_create);
        control_submit(f->control, &job.job);
        mr_alloc_fail_at(at);
        mr_mono deadline = control_step(f->control, (mr_mono){1});
        mr_alloc_fail_at(0);
        if (deadline.ns != MR_MONO_NEVER.ns) {
            was_late = true;
            worker_step(&a);
            assert_false(job.is_done);
            assert_int_equal(deadline.ns, 1 + 100 * MR_NS_PER_MS);
            control_step(f->control, deadline);
        }
        worker_step(&a);
        control_step(f->control, (mr_mono){1});
        worker_step(&a);
        assert_true(job.is_done);
        size_t after = snapshot_count(a.snapshot, MODEL_DESTINATION);
        if (mr_is_ok(job.job.err)) {
            assert_int_equal(after, before + 1);
        } else {
            assert_int_equal(job.job.refusal.code, 20503);
            assert_int_equal(after, before);
        }
        mr_arena_done(&job.arena);
    }
    assert_true(was_late);
    snapshot_unref(a.snapshot);
}

static void run_worker(void *arg) {
    struct worker *worker = arg;
    while (worker->n_adopted < 20) {
        mailbox_run(mailbox_wait(&worker->mailbox, MR_MONO_NEVER));
    }
}

static void the_thread_serves_workers_and_ends(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct worker b;
    struct test_job job;
    os_thread thread;
    worker_init(&a, f->control);
    worker_init(&b, f->control);
    assert_ok(control_start(f->control));
    assert_ok(os_thread_start(&thread, "worker", run_worker, &b));
    for (int i = 0; i < 20; i++) {
        job_init(&job, f, &a, run_create);
        control_submit(f->control, &job.job);
        while (!job.is_done) {
            mailbox_run(mailbox_wait(&a.mailbox, MR_MONO_NEVER));
        }
        assert_ok(job.job.err);
        assert_non_null(snapshot_destination(a.snapshot, job.view.number));
        mr_arena_done(&job.arena);
    }
    os_thread_join(&thread);
    control_stop(f->control);
    control_join(f->control);
    /* Too late: told so, not forgotten. */
    job_init(&job, f, NULL, run_create);
    control_submit(f->control, &job.job);
    control_step(f->control, os_mono_now());
    assert_true(job.is_done);
    assert_int_equal(job.job.refusal.code, 20503);
    mr_arena_done(&job.arena);
    snapshot_unref(a.snapshot);
    snapshot_unref(b.snapshot);
}

static void stopping_does_not_wait_for_workers_that_ended(void **state) {
    struct fixture *f = *state;
    struct worker a;
    struct test_job job;
    worker_init(&a, f->control);
    assert_ok(control_start(f->control));
    job_init(&job, f, NULL, run_create);
    control_submit(f->control, &job.job);
    control_unsubscribe_all(f->control);
    control_stop(f->control);
    control_join(f->control);
    assert_true(job.is_done);
    assert_ok(job.job.err);
    mr_arena_done(&job.arena);
    snapshot_unref(a.snapshot);
}

static void a_job_runs_here_without_a_thread(void **state) {
    struct fixture *f = *state;
    struct test_job job;
    job_init(&job, f, NULL, run_create);
    control_run_here(f->control, &job.job);
    assert_true(job.is_done);
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_int_equal(snapshot_count(snapshot, MODEL_DESTINATION), 1);
    snapshot_unref(snapshot);
    mr_arena_done(&job.arena);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_change_is_answered_when_every_worker_has_adopted_it),
        TEST(a_job_in_order_waits_for_what_was_committed_before_it),
        TEST(what_waits_together_shares_a_snapshot_and_readers_are_answered_at_once),
        TEST(a_disabling_and_an_enabling_at_once_raise_the_epoch),
        TEST(a_job_that_fails_late_leaves_nothing),
        TEST(without_memory_for_a_snapshot_the_answer_waits),
        TEST(the_thread_serves_workers_and_ends),
        TEST(stopping_does_not_wait_for_workers_that_ended),
        TEST(a_job_runs_here_without_a_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
