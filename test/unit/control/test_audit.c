/* The audit log: a chain over commits, rollbacks and restarts; its head on the way into the
 * journal; what is told of a change. */
#include "support_control.h"

#include "control/audit/check.h"
#include "control/audit/log.h"
#include "control/private.h"
#include "control/secrets.h"

#include <stdio.h>
#include <string.h>

/* ---- the chain ---- */

static void on_finding(void *ctx, const char *what) {
    size_t *n = ctx;
    (*n)++;
    print_message("finding: %s\n", what);
}

static struct audit_check *open_check(const struct fixture *f) {
    char path[256];
    struct audit_check *check = NULL;
    (void)snprintf(path, sizeof path, "%s/control.db", f->dir);
    assert_ok(audit_check_open(path, &check));
    return check;
}

/* Rows of the log, which is sound. */
static uint64_t sound_rows(const struct fixture *f) {
    struct audit_check *check = open_check(f);
    uint64_t rows = 0;
    size_t found = 0;
    assert_ok(audit_check_chain(check, on_finding, &found, &rows));
    assert_int_equal(found, 0);
    audit_check_close(check);
    return rows;
}

static mr_err add(struct fixture *f, const char *action, bool fails) {
    mr_err err = change_begin(f->control, &f->refusal);
    assert_ok(err);
    err = audit_add(f->control, &(struct audit_entry){.action = action, .object = MR_STR("o")});
    assert_ok(err);
    return change_end(f->control, fails ? MR_ERR(MR_E_FAILED) : MR_OK, &f->refusal);
}

static void rows_are_chained_over_rollbacks_and_restarts(void **state) {
    struct fixture *f = *state;
    uint64_t before = sound_rows(f);
    assert_true(before >= 3); /* init's */
    assert_ok(add(f, "test.one", false));
    assert_true(mr_is_err(add(f, "test.gone", true)));
    assert_ok(add(f, "test.two", false));
    /* An inner change that fails inside an outer one that does not. */
    assert_ok(change_begin(f->control, &f->refusal));
    assert_true(mr_is_err(add(f, "test.gone", true)));
    assert_ok(add(f, "test.three", false));
    assert_ok(change_end(f->control, MR_OK, &f->refusal));
    fixture_reopen(f);
    assert_ok(add(f, "test.four", false));
    assert_int_equal(sound_rows(f), before + 4);
    struct record_audit last;
    assert_ok(audit_last(f->control, &last));
    assert_int_equal(last.number, before + 4);
}

static void sql(const struct fixture *f, const char *text) {
    char path[256];
    sqlite3 *db = NULL;
    (void)snprintf(path, sizeof path, "%s/control.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static size_t findings(const struct fixture *f) {
    struct audit_check *check = open_check(f);
    uint64_t rows = 0;
    size_t found = 0;
    assert_ok(audit_check_chain(check, on_finding, &found, &rows));
    audit_check_close(check);
    return found;
}

/* Rows leave at the beginning; the chain goes on from the base, also over a restart and a second
 * removal. The export tells the base as the first row's previous hash. */
static void rows_past_their_retention_leave_a_chain_that_verifies(void **state) {
    struct fixture *f = *state;
    bool has_more;
    uint64_t before = sound_rows(f);
    assert_ok(audit_trim(f->control, 1, &has_more)); /* none is so old */
    assert_int_equal(sound_rows(f), before);
    assert_ok(add(f, "test.one", false));
    struct record_audit middle;
    assert_ok(audit_last(f->control, &middle));
    assert_ok(audit_trim(f->control, INT64_MAX, &has_more));
    assert_false(has_more);
    assert_int_equal(sound_rows(f), 2); /* the newest stays, and the row that tells of it */
    fixture_reopen(f);
    assert_ok(add(f, "test.two", false));
    assert_ok(audit_trim(f->control, INT64_MAX, &has_more));
    assert_int_equal(sound_rows(f), 2);
    mr_buf out;
    uint64_t last;
    bool more;
    mr_buf_init(&out, 1 << 20);
    assert_ok(audit_export(f->control, 0, 0, 100, SIZE_MAX, &out, &last, &more, &f->refusal));
    struct audit_check *check = open_check(f);
    size_t found = 0;
    audit_check_head(check, 8, &middle); /* that the journal names it is no finding */
    audit_check_heads(check, on_finding, &found);
    assert_int_equal(found, 0);
    audit_check_close(check);
    mr_str rows = mr_buf_view(&out);
    assert_true(mr_str_find(rows, MR_STR("\"previous_hash\":\"")) != SIZE_MAX);
    assert_true(mr_str_find(rows, MR_STR("\"previous_hash\":\"00000000")) == SIZE_MAX);
    mr_buf_done(&out);
}

/* The thread removes at its first step, then once a day; without a setting it never does. */
static void the_thread_removes_once_a_day_where_it_is_told_to(void **state) {
    struct fixture *f = *state;
    uint64_t before = sound_rows(f);
    (void)control_step(f->control, (mr_mono){MR_NS_PER_S});
    assert_int_equal(sound_rows(f), before);
    control_close(f->control);
    f->control = NULL;
    f->options.audit_retention_ms = 1; /* opening takes longer */
    fixture_reopen(f);
    mr_mono next = control_step(f->control, (mr_mono){MR_NS_PER_S});
    assert_int_equal(next.ns, MR_NS_PER_S + INT64_C(86400) * MR_NS_PER_S);
    assert_int_equal(sound_rows(f), 2);
    assert_ok(add(f, "test.one", false));
    (void)control_step(f->control, (mr_mono){2 * MR_NS_PER_S});
    assert_int_equal(sound_rows(f), 3);
    (void)control_step(f->control, next);
    assert_int_equal(sound_rows(f), 2);
}

/* What leaves by another hand than the program's is found. */
static void rows_that_somebody_cut_off_at_the_beginning_are_found(void **state) {
    struct fixture *f = *state;
    bool has_more;
    for (int i = 0; i < 5; i++) {
        assert_ok(add(f, "test.row", false));
    }
    assert_ok(audit_trim(f->control, INT64_MAX, &has_more));
    assert_ok(add(f, "test.last", false));
    assert_int_equal(findings(f), 0);
    control_close(f->control);
    f->control = NULL;
    /* With the base moved on, as one who knows the form would do it. */
    sql(f, "UPDATE audit_base SET number = (SELECT min(number) FROM audit),"
           " hash = (SELECT hash FROM audit ORDER BY number LIMIT 1);"
           "DELETE FROM audit WHERE number <= (SELECT number FROM audit_base);");
    assert_int_equal(findings(f), 1);
    sql(f, "DELETE FROM audit_base");
    assert_true(findings(f) >= 2);
    fixture_reopen(f);
}

static void a_commit_that_fails_leaves_the_chain_whole(void **state) {
    struct fixture *f = *state;
    uint64_t before = sound_rows(f);
    control_close(f->control);
    f->control = NULL;
    f->options.page_count_max = 90;
    fixture_reopen(f);
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text);
    size_t n = 0;
    mr_err err = MR_OK;
    while (mr_is_ok(err) && n < 1000) {
        assert_ok(change_begin(f->control, &f->refusal));
        err = audit_add(f->control,
                        &(struct audit_entry){.action = "test.full",
                                              .object = mr_str_of(long_text, sizeof long_text)});
        err = change_end(f->control, err, &f->refusal);
        n += mr_is_ok(err);
    }
    assert_refused(f, err, 20503, "disk is full");
    f->options.page_count_max = 0;
    fixture_reopen(f);
    assert_ok(add(f, "test.after", false));
    assert_int_equal(sound_rows(f), before + n + 1);
}

static void a_detail_has_its_bound(void **state) {
    struct fixture *f = *state;
    char detail[AUDIT_DETAIL_MAX + 1];
    memset(detail, ' ', sizeof detail);
    detail[0] = '{';
    detail[AUDIT_DETAIL_MAX - 1] = '}';
    assert_ok(change_begin(f->control, &f->refusal));
    assert_ok(audit_add(f->control,
                        &(struct audit_entry){.action = "test.long",
                                              .detail = mr_str_of(detail, AUDIT_DETAIL_MAX)}));
    mr_err err =
        audit_add(f->control, &(struct audit_entry){.action = "test.long",
                                                    .detail = mr_str_of(detail, sizeof detail)});
    assert_true(mr_err_is(err, MR_E_LIMIT));
    assert_ok(change_end(f->control, MR_OK, &f->refusal));
}

/* ---- what is told of a change ---- */

static void assert_told(struct fixture *f, const char *before, const char *after,
                        const char *expected) {
    struct audit_change change;
    audit_change_begin(&change);
    assert_ok(mr_buf_str(&change.before, mr_str_c(before)));
    assert_ok(mr_buf_str(&change.after, mr_str_c(after)));
    assert_ok(change_begin(f->control, &f->refusal));
    assert_ok(change_end(
        f->control,
        audit_change_end(f->control, &change, MR_OK, f->account, "test.change", MR_STR("o")),
        &f->refusal));
    struct query query =
        query_begin(&f->control->store, "SELECT detail FROM audit ORDER BY number DESC LIMIT 1");
    assert_true(query_row(&query));
    assert_text(query_col_bytes(&query, 0), expected);
    assert_ok(query_end(&query));
}

static void a_change_is_told_by_its_members(void **state) {
    struct fixture *f = *state;
    assert_told(f, "", "{\"id\":\"o\",\"name\":\"a\",\"n\":1,\"secret\":\"s\",\"version\":2}",
                "{\"changed\":{\"name\":{\"to\":\"a\"},\"n\":{\"to\":1}}}");
    assert_told(f, "{\"name\":\"a\",\"n\":1,\"gone\":true}", "{\"name\":\"b\",\"n\":1}",
                "{\"changed\":{\"name\":{\"from\":\"a\",\"to\":\"b\"},\"gone\":{\"from\":true}}}");
    assert_told(f, "{\"name\":\"a\",\"n\":1}", "", "{\"changed\":{\"name\":{\"from\":\"a\"}}}");
    assert_told(f, "{\"s\":{\"a\":1,\"b\":{\"c\":1}}}", "{\"s\":{\"a\":2,\"b\":{\"c\":2}}}",
                "{\"changed\":{\"s.a\":{\"from\":1,\"to\":2},"
                "\"s.b\":{\"from\":{\"c\":1},\"to\":{\"c\":2}}}}");
    assert_told(f, "{\"s\":{\"a\":1}}", "{\"s\":null}",
                "{\"changed\":{\"s\":{\"from\":{\"a\":1},\"to\":null}}}");
    assert_told(f, "{\"url\":\"https://a/?k=1\"}", "{\"url\":\"https://a/b\"}",
                "{\"changed\":{\"url\":{\"from\":\"https://a/?\xe2\x80\xa6\",\"to\":\"https://a/"
                "b\"}}}");
    struct record_audit before;
    struct record_audit after;
    assert_ok(audit_last(f->control, &before));
    /* What changes nothing leaves no row: the newest is the one of before. */
    assert_told(f, "{\"a\":1,\"version\":1}", "{\"a\":1,\"version\":2}",
                "{\"changed\":{\"url\":{\"from\":\"https://a/?\xe2\x80\xa6\",\"to\":\"https://a/"
                "b\"}}}");
    assert_ok(audit_last(f->control, &after));
    assert_int_equal(after.number, before.number);
}

/* ---- the head ---- */

/* A journal that keeps the last unit until the test answers it. */
struct sink {
    struct journal_unit *unit;
    struct record_audit head;
    size_t n;
};

static void take(void *ctx, struct journal_unit *unit) {
    struct sink *sink = ctx;
    assert_null(sink->unit);
    assert_int_equal(unit->n_records, 1);
    assert_int_equal(unit->records[0].type, RECORD_AUDIT);
    assert_ok(
        record_audit_decode(mr_str_of(unit->records[0].body, unit->records[0].len), &sink->head));
    sink->unit = unit;
    sink->n++;
}

static void answer(struct sink *sink, enum journal_result result) {
    struct journal_unit *unit = sink->unit;
    assert_non_null(unit);
    sink->unit = NULL;
    unit->result = result;
    unit->mail.run = unit->on_done;
    mailbox_post(unit->reply, &unit->mail, NULL);
}

static mr_mono at(int64_t ms) {
    return (mr_mono){ms * MR_NS_PER_MS};
}

static void heads_go_to_the_journal_one_a_second(void **state) {
    struct fixture *f = *state;
    struct sink sink = {.n = 0};
    const struct audit_journal journal = {.post = take, .ctx = &sink};
    struct record_audit known;
    assert_ok(audit_last(f->control, &known));
    assert_ok(audit_journal_to(f->control, &journal, &known));
    assert_true(control_step(f->control, at(1000)).ns == MR_MONO_NEVER.ns);
    assert_int_equal(sink.n, 0); /* it is known */
    assert_ok(add(f, "test.one", false));
    assert_true(mr_is_err(add(f, "test.gone", true)));
    (void)control_step(f->control, at(2000));
    assert_int_equal(sink.n, 1);
    assert_int_equal(sink.head.number, known.number + 1);
    assert_ok(add(f, "test.two", false));
    (void)control_step(f->control, at(2100));
    assert_int_equal(sink.n, 1); /* one at a time */
    answer(&sink, JOURNAL_RESULT_OK);
    mr_mono next = control_step(f->control, at(2200));
    assert_int_equal(sink.n, 1); /* one a second */
    assert_int_equal(next.ns, at(3000).ns);
    assert_ok(add(f, "test.three", false));
    (void)control_step(f->control, next);
    assert_int_equal(sink.n, 2);
    assert_int_equal(sink.head.number, known.number + 3); /* what came meanwhile goes along */
    answer(&sink, JOURNAL_RESULT_FULL);
    next = control_step(f->control, at(3100));
    assert_int_equal(next.ns, at(4000).ns);
    (void)control_step(f->control, next);
    assert_int_equal(sink.n, 3); /* tried again */
    answer(&sink, JOURNAL_RESULT_OK);
    (void)control_step(f->control, at(9000));
    assert_int_equal(sink.n, 3);
    assert_ok(add(f, "test.four", false));
    (void)control_step(f->control, at(10000));
    answer(&sink, JOURNAL_RESULT_FAILED);
    assert_true(control_step(f->control, at(20000)).ns == MR_MONO_NEVER.ns);
    assert_int_equal(sink.n, 4); /* it takes nothing more */
}

static void the_thread_ends_only_when_the_head_is_durable(void **state) {
    struct fixture *f = *state;
    struct sink sink = {.n = 0};
    const struct audit_journal journal = {.post = take, .ctx = &sink};
    struct record_audit known;
    assert_ok(audit_last(f->control, &known));
    assert_ok(audit_journal_to(f->control, &journal, &known));
    assert_ok(add(f, "test.one", false));
    (void)control_step(f->control, at(1000));
    answer(&sink, JOURNAL_RESULT_OK);
    assert_ok(add(f, "test.two", false));
    (void)control_step(f->control, at(1001));
    assert_int_equal(sink.n, 1);
    assert_true(audit_journal_is_busy(f->control));
    control_stop(f->control);
    (void)control_step(f->control, at(1002)); /* the stop is read */
    (void)control_step(f->control, at(1003));
    assert_int_equal(sink.n, 2); /* without waiting for the second */
    assert_true(audit_journal_is_busy(f->control));
    answer(&sink, JOURNAL_RESULT_OK);
    (void)control_step(f->control, at(1004));
    assert_false(audit_journal_is_busy(f->control));
}

static void a_head_that_the_log_lacks_becomes_a_row(void **state) {
    struct fixture *f = *state;
    struct sink sink = {.n = 0};
    const struct audit_journal journal = {.post = take, .ctx = &sink};
    uint64_t before = sound_rows(f);
    struct record_audit known;
    assert_ok(audit_last(f->control, &known));
    known.hash[5] ^= 1;
    assert_ok(audit_journal_to(f->control, &journal, &known));
    assert_int_equal(sound_rows(f), before + 1);
    (void)control_step(f->control, at(1000));
    assert_int_equal(sink.head.number, before + 1);
    struct audit_check *check = open_check(f);
    size_t found = 0;
    audit_check_head(check, 8, &sink.head);
    audit_check_heads(check, on_finding, &found);
    assert_int_equal(found, 0);
    audit_check_head(check, 8, &known);
    sink.head.number++;
    audit_check_head(check, 16, &sink.head);
    audit_check_heads(check, on_finding, &found);
    assert_int_equal(found, 2);
    audit_check_close(check);
    answer(&sink, JOURNAL_RESULT_OK);
    (void)control_step(f->control, at(1001));
}

/* ---- reading ---- */

static void an_export_ends_where_its_bounds_are(void **state) {
    struct fixture *f = *state;
    uint64_t all = sound_rows(f);
    uint64_t last = 0;
    bool more = false;
    mr_buf out;
    mr_buf_init(&out, 1 << 20);
    assert_ok(audit_export(f->control, 0, 0, 2, SIZE_MAX, &out, &last, &more, &f->refusal));
    assert_true(last == 2 && more);
    mr_buf_reset(&out);
    assert_ok(audit_export(f->control, 0, 0, 100, 1, &out, &last, &more, &f->refusal));
    assert_true(last == 1 && more);
    mr_buf_reset(&out);
    assert_ok(audit_export(f->control, 0, 1, 100, SIZE_MAX, &out, &last, &more, &f->refusal));
    assert_true(last == all && !more);
    mr_buf_reset(&out);
    assert_ok(audit_export(f->control, 77, 0, 100, SIZE_MAX, &out, &last, &more, &f->refusal));
    assert_true(last == 0 && !more && out.len == 0); /* another account's */
    mr_buf_done(&out);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(rows_are_chained_over_rollbacks_and_restarts),
        TEST(rows_past_their_retention_leave_a_chain_that_verifies),
        TEST(the_thread_removes_once_a_day_where_it_is_told_to),
        TEST(rows_that_somebody_cut_off_at_the_beginning_are_found),
        TEST(a_commit_that_fails_leaves_the_chain_whole),
        TEST(a_detail_has_its_bound),
        TEST(a_change_is_told_by_its_members),
        TEST(heads_go_to_the_journal_one_a_second),
        TEST(the_thread_ends_only_when_the_head_is_durable),
        TEST(a_head_that_the_log_lacks_becomes_a_row),
        TEST(an_export_ends_where_its_bounds_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
