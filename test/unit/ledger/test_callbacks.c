/* What a book keeps of callbacks that are over. Folding and saving them is test_book's. */
#include "ledger/book.h"
#include "support_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct body body;

/* What is over is forgotten by number and by age, oldest first; what is pending never. */
static void callbacks_that_are_over_are_kept_for_a_while(void **state) {
    (void)state;
    struct book_options options = {0};
    struct book *book;
    assert_true(mr_is_ok(book_new(&options, &book)));
    uint64_t pos = 100;
    struct record_callback callback = {.account = 1, .url = MR_STR("https://a/")};
    struct record_callback_outcome outcome = {
        .kind = RECORD_CALLBACK_DELIVERED, .attempt = 1, .account = 1};
    struct record_letter_id pending = letter_id(1, 999999);
    callback.id = pending;
    assert_true(mr_is_ok(record_callback_encode(&callback, body.bytes, BODY_MAX, &body.len)));
    assert_true(mr_is_ok(book_apply(book, 50, 60, RECORD_CALLBACK, body_view(&body))));
    for (uint32_t i = 0; i < BOOK_CALLBACKS_KEPT_ACCOUNT + 5; i++) {
        callback.id = outcome.id = letter_id(2, i);
        outcome.pos = pos;
        outcome.at_ms = 1000 + i;
        assert_true(mr_is_ok(record_callback_encode(&callback, body.bytes, BODY_MAX, &body.len)));
        assert_true(mr_is_ok(book_apply(book, pos, pos + 8, RECORD_CALLBACK, body_view(&body))));
        assert_true(
            mr_is_ok(record_callback_outcome_encode(&outcome, body.bytes, BODY_MAX, &body.len)));
        assert_true(mr_is_ok(
            book_apply(book, pos + 8, pos + 16, RECORD_CALLBACK_OUTCOME, body_view(&body))));
        pos += 16;
    }
    book_assert_valid(book);
    struct book_callback found;
    for (uint32_t i = 0; i < 10; i++) {
        struct record_letter_id id = letter_id(2, i);
        assert_int_equal(mr_is_ok(book_callback_find(book, &id, &found)), i >= 5);
    }
    /* The same callback once more, long after: all that is older than a week goes. */
    callback.id = outcome.id = letter_id(3, 1);
    outcome.pos = pos;
    outcome.at_ms = 2000 + BOOK_CALLBACKS_KEPT_MS;
    assert_true(mr_is_ok(record_callback_encode(&callback, body.bytes, BODY_MAX, &body.len)));
    assert_true(mr_is_ok(book_apply(book, pos, pos + 8, RECORD_CALLBACK, body_view(&body))));
    assert_true(
        mr_is_ok(record_callback_outcome_encode(&outcome, body.bytes, BODY_MAX, &body.len)));
    assert_true(
        mr_is_ok(book_apply(book, pos + 8, pos + 16, RECORD_CALLBACK_OUTCOME, body_view(&body))));
    book_assert_valid(book);
    struct book_callback rows[4];
    struct book_callback_filter filter = {.account = 1};
    size_t n;
    uint64_t total;
    book_callbacks_list(book, &filter, 0, rows, 4, &n, &total);
    /* Those that ended within the week before, the new one, and the pending one. */
    assert_int_equal(total, 5 + 2);
    assert_memory_equal(&rows[0].record.id, &outcome.id, sizeof outcome.id);
    uint8_t status = BOOK_CALLBACK_PENDING;
    filter.status = &status;
    book_callbacks_list(book, &filter, 0, rows, 4, &n, &total);
    assert_int_equal(total, 1);
    assert_memory_equal(&rows[0].record.id, &pending, sizeof pending);
    filter.account = 2;
    book_callbacks_list(book, &filter, 0, rows, 4, &n, &total);
    assert_int_equal(total, 0);
    struct record_counters totals;
    book_callback_totals(book, &totals);
    assert_int_equal(totals.created, BOOK_CALLBACKS_KEPT_ACCOUNT + 7);
    assert_int_equal(totals.pending, 1);
    book_free(book);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callbacks_that_are_over_are_kept_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
