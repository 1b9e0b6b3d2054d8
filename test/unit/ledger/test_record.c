/* Record forms: what goes in comes out, and nothing else is believed. */
#include "support_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static mr_err decode_any(uint8_t type, mr_str body) {
    struct record_event event;
    struct record_outcome outcome;
    struct record_positions positions;
    struct record_dead dead;
    struct record_add add;
    struct record_discard discard;
    struct record_totals totals;
    struct record_audit audit;
    struct record_callback callback;
    struct record_callback_outcome callback_outcome;
    const uint8_t *items;
    uint8_t cause;
    uint32_t n;
    mr_str entries;
    switch ((enum record_type)type) {
    case RECORD_EVENT:
        return record_event_decode(body, &event);
    case RECORD_OUTCOME:
        return record_outcome_decode(body, &outcome, &positions);
    case RECORD_DEAD:
        return record_dead_decode(body, &dead, &items);
    case RECORD_ADD:
        return record_add_decode(body, &add, &items);
    case RECORD_DISCARD:
        return record_discard_decode(body, &discard, &positions);
    case RECORD_ERASED:
        return record_erased_decode(body, &positions);
    case RECORD_TOTALS:
        return record_totals_decode(body, &totals, &entries);
    case RECORD_EXPIRE:
        return record_expire_decode(body, &cause, &n, &items);
    case RECORD_AUDIT:
        return record_audit_decode(body, &audit);
    case RECORD_CALLBACK:
        return record_callback_decode(body, &callback);
    case RECORD_CALLBACK_OUTCOME:
        return record_callback_outcome_decode(body, &callback_outcome);
    case RECORD_NONE:
        break;
    }
    return MR_ERR(LEDGER_E_RECORD);
}

/* Every prefix and a longer body are refused; a newer version is told apart; any flipped byte is
 * refused or decoded, never misread beyond the body (the sanitizers watch: exact allocation). */
static void assert_strict(uint8_t type, const struct body *body) {
    assert_true(mr_is_ok(decode_any(type, body_view(body))));
    for (size_t n = 0; n < body->len; n++) {
        char *copy = test_malloc(n + 1);
        memcpy(copy, body->bytes, n);
        char *exact = test_malloc(n == 0 ? 1 : n);
        memcpy(exact, copy, n);
        assert_true(mr_is_err(decode_any(type, (mr_str){exact, n})));
        test_free(exact);
        test_free(copy);
    }
    char *longer = test_malloc(body->len + 1);
    memcpy(longer, body->bytes, body->len);
    longer[body->len] = 0;
    assert_true(mr_is_err(decode_any(type, (mr_str){longer, body->len + 1})));
    longer[0] = 2;
    assert_true(mr_err_is(decode_any(type, (mr_str){longer, body->len}), LEDGER_E_NEWER));
    longer[0] = 1;
    for (size_t i = 1; i < body->len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            longer[i] = (char)(longer[i] ^ (1 << bit));
            mr_ignore(decode_any(type, (mr_str){longer, body->len}), "either is right");
            longer[i] = (char)(longer[i] ^ (1 << bit));
        }
    }
    test_free(longer);
}

static void event_comes_back_as_it_was(void **state) {
    (void)state;
    static struct body body;
    struct record_target targets[] = {
        {.destination = 5, .version = 1},
        {.destination = 9, .flags = RECORD_TARGET_SKIPPED},
    };
    make_event(&body, "com.kore.x", "id-1", 1234567, targets, 2);
    struct record_event event;
    assert_true(mr_is_ok(record_event_decode(body_view(&body), &event)));
    assert_int_equal(event.account, 3);
    assert_int_equal(event.accepted_ms, 1234567);
    assert_int_equal(event.n_targets, 2);
    assert_true(mr_str_eq(record_event_member(&event, RECORD_ID), MR_STR("id-1")));
    assert_true(
        mr_str_eq(record_event_member(&event, RECORD_TYPE_ATTRIBUTE), MR_STR("com.kore.x")));
    assert_true(mr_str_is_absent(record_event_member(&event, RECORD_DATASCHEMA)));
    assert_true(mr_str_eq(record_event_member(&event, RECORD_DATA), MR_STR("{\"n\":1}")));
    struct record_target target;
    assert_true(mr_is_ok(record_event_target(&event, 5, &target)));
    assert_int_equal(record_target_version(&event, &target), 1);
    assert_int_equal(record_target_rule(&target, 0), 7);
    assert_true(mr_is_ok(record_event_target(&event, 9, &target)));
    assert_int_equal(target.flags, RECORD_TARGET_SKIPPED);
    assert_int_equal(record_target_version(&event, &target), 2);
    assert_true(mr_err_is(record_event_target(&event, 6, &target), MR_E_NOT_FOUND));
    struct siphash_128 tag;
    uint64_t digest;
    assert_true(record_event_tag(body_view(&body), &tag, &digest));
    assert_true(tag.lo == event.tag.lo && tag.hi == event.tag.hi && digest == event.digest);
    assert_strict(RECORD_EVENT, &body);
}

static void event_rendered_in_place_is_not_moved(void **state) {
    (void)state;
    uint8_t out[512];
    struct record_target target = {.destination = 1, .n_rules = 2};
    const uint32_t numbers[] = {10, 11};
    const uint32_t *rules[] = {numbers};
    size_t head = record_event_head_bytes(&target, 1);
    memcpy(out + head, "{\"id\":\"a\"}", 10);
    struct record_event_spec spec = {.envelope = {(const char *)out + head, 10},
                                     .n_targets = 1,
                                     .targets = &target,
                                     .rules = rules};
    spec.spans[RECORD_ID] = (struct record_span){7, 1};
    size_t len;
    assert_true(mr_is_ok(record_event_encode(&spec, out, sizeof out, &len)));
    struct record_event event;
    assert_true(mr_is_ok(record_event_decode((mr_str){(const char *)out, len}, &event)));
    assert_true(mr_str_eq(record_event_member(&event, RECORD_ID), MR_STR("a")));
    assert_true(mr_is_ok(record_event_target(&event, 1, &target)));
    assert_int_equal(record_target_rule(&target, 1), 11);
    assert_true(mr_err_is(record_event_encode(&spec, out, len - 1, &len), MR_E_LIMIT));
    spec.spans[RECORD_ID] = (struct record_span){7, 4};
    assert_true(mr_err_is(record_event_encode(&spec, out, sizeof out, &len), MR_E_INVALID));
}

static void outcome_comes_back_as_it_was(void **state) {
    (void)state;
    static struct body body;
    const uint64_t positions[] = {4096, 8192, 5000, UINT64_MAX, 1};
    struct record_outcome outcome = {.kind = RECORD_SPLIT,
                                     .reason = RECORD_REASON_STATUS,
                                     .flags = RECORD_OUTCOME_FAILED,
                                     .last_status = 422,
                                     .form = 77,
                                     .destination = 12,
                                     .origin = 3,
                                     .attempt = 2,
                                     .split_at = 3,
                                     .at_ms = 10,
                                     .due_ms = -20,
                                     .first_ms = 5,
                                     .n_positions = 5};
    make_outcome(&body, &outcome, positions);
    struct record_outcome back;
    struct record_positions walk;
    assert_true(mr_is_ok(record_outcome_decode(body_view(&body), &back, &walk)));
    assert_int_equal(back.kind, RECORD_SPLIT);
    assert_int_equal(back.reason, RECORD_REASON_STATUS);
    assert_int_equal(back.flags, RECORD_OUTCOME_FAILED);
    assert_int_equal(back.last_status, 422);
    assert_int_equal(back.form, 77);
    assert_int_equal(back.destination, 12);
    assert_int_equal(back.origin, 3);
    assert_int_equal(back.attempt, 2);
    assert_int_equal(back.split_at, 3);
    assert_int_equal(back.at_ms, 10);
    assert_int_equal(back.due_ms, -20);
    assert_int_equal(back.first_ms, 5);
    assert_int_equal(back.n_positions, 5);
    uint64_t pos;
    for (size_t i = 0; i < 5; i++) {
        assert_true(record_positions_next(&walk, &pos));
        assert_true(pos == positions[i]);
    }
    assert_false(record_positions_next(&walk, &pos));
    assert_strict(RECORD_OUTCOME, &body);
    size_t len;
    outcome.split_at = 5;
    assert_true(mr_err_is(record_outcome_encode(&outcome, positions, body.bytes, BODY_MAX, &len),
                          MR_E_INVALID));
    outcome.split_at = 0;
    outcome.kind = RECORD_DELIVERED;
    const uint64_t none[] = {0, 1, 2, 3, 4};
    assert_true(
        mr_err_is(record_outcome_encode(&outcome, none, body.bytes, BODY_MAX, &len), MR_E_INVALID));
    assert_true(
        mr_err_is(record_outcome_encode(&outcome, positions, body.bytes, 60, &len), MR_E_LIMIT));
}

static void dead_add_expire_come_back(void **state) {
    (void)state;
    static struct body body;
    struct record_dead dead = {.reason = RECORD_REASON_TIMEOUT,
                               .flags = RECORD_DEAD_FAILED,
                               .last_status = 500,
                               .destination = 4,
                               .origin = 1,
                               .attempts = 4,
                               .first_ms = 1,
                               .last_ms = 2,
                               .n = 2};
    struct record_dead_item items[] = {{.pos = 8, .id = letter_id(99, 1)},
                                       {.pos = 16, .id = letter_id(99, 2)}};
    assert_true(mr_is_ok(record_dead_encode(&dead, items, body.bytes, BODY_MAX, &body.len)));
    struct record_dead back;
    const uint8_t *at;
    assert_true(mr_is_ok(record_dead_decode(body_view(&body), &back, &at)));
    assert_int_equal(back.reason, RECORD_REASON_TIMEOUT);
    assert_int_equal(back.flags, RECORD_DEAD_FAILED);
    assert_int_equal(back.last_status, 500);
    assert_int_equal(back.destination, 4);
    assert_int_equal(back.origin, 1);
    assert_int_equal(back.attempts, 4);
    assert_true(back.first_ms == 1 && back.last_ms == 2 && back.n == 2);
    struct record_dead_item item = record_dead_item_at(at, 1);
    assert_memory_equal(&item, &items[1], sizeof item);
    assert_strict(RECORD_DEAD, &body);

    struct record_add add = {.kind = RECORD_ADD_REDRIVE,
                             .version = 2,
                             .account = 3,
                             .destination = 4,
                             .origin = 5,
                             .type = MR_STR("t.x"),
                             .n = 1};
    struct record_add_item added = {
        .pos = 8, .accepted_ms = 7, .size = 100, .letter = letter_id(99, 1)};
    assert_true(mr_is_ok(record_add_encode(&add, &added, body.bytes, BODY_MAX, &body.len)));
    struct record_add add_back;
    assert_true(mr_is_ok(record_add_decode(body_view(&body), &add_back, &at)));
    assert_true(mr_str_eq(add_back.type, add.type) && add_back.origin == 5);
    struct record_add_item added_back = record_add_item_at(at, 0);
    assert_true(added_back.pos == 8 && added_back.size == 100 && added_back.accepted_ms == 7);
    assert_memory_equal(&added_back.letter, &added.letter, 16);
    assert_strict(RECORD_ADD, &body);

    struct record_letter_id ids[] = {letter_id(1, 1), letter_id(2, 2)};
    assert_true(
        mr_is_ok(record_expire_encode(RECORD_EXPIRE_AGE, ids, 2, body.bytes, BODY_MAX, &body.len)));
    uint8_t cause;
    uint32_t n;
    assert_true(mr_is_ok(record_expire_decode(body_view(&body), &cause, &n, &at)));
    struct record_letter_id id = record_expire_id_at(at, 1);
    assert_int_equal(n, 2);
    assert_memory_equal(&id, &ids[1], 16);
    assert_strict(RECORD_EXPIRE, &body);
}

static void discard_and_erased_come_back(void **state) {
    (void)state;
    static struct body body;
    const mr_str types[] = {MR_STR("a"), MR_STR(""), MR_STR("ccc")};
    struct record_discard discard = {.destination = 1, .before_ms = 500, .n_types = 3};
    assert_true(
        mr_is_ok(record_discard_encode(&discard, types, NULL, body.bytes, BODY_MAX, &body.len)));
    struct record_discard back;
    struct record_positions walk;
    assert_true(mr_is_ok(record_discard_decode(body_view(&body), &back, &walk)));
    mr_str at = back.types;
    mr_str type;
    for (size_t i = 0; i < 3; i++) {
        assert_true(record_types_next(&at, &type));
        assert_true(mr_str_eq(type, types[i]));
    }
    assert_false(record_types_next(&at, &type));
    assert_strict(RECORD_DISCARD, &body);
    const uint64_t positions[] = {8, 24};
    discard = (struct record_discard){.destination = 1, .before_ms = INT64_MAX, .n_positions = 2};
    assert_true(mr_is_ok(
        record_discard_encode(&discard, NULL, positions, body.bytes, BODY_MAX, &body.len)));
    assert_strict(RECORD_DISCARD, &body);
    discard.before_ms = 5;
    assert_true(
        mr_err_is(record_discard_encode(&discard, NULL, positions, body.bytes, BODY_MAX, &body.len),
                  MR_E_INVALID));
    assert_true(mr_is_ok(record_erased_encode(positions, 2, body.bytes, BODY_MAX, &body.len)));
    assert_true(mr_is_ok(record_erased_decode(body_view(&body), &walk)));
    assert_int_equal(walk.n, 2);
    assert_strict(RECORD_ERASED, &body);
}

static void totals_come_back(void **state) {
    (void)state;
    static struct body body;
    struct record_totals totals = {.as_of = 1000, .journal_start = 8, .flags = RECORD_TOTALS_FULL};
    struct record_totals_builder builder;
    struct record_counters counters = {10, 2, 5, 1, 2, 3, UINT64_MAX};
    const uint64_t positions[] = {100, 200};
    assert_true(mr_is_ok(record_totals_begin(&builder, &totals, body.bytes, 400)));
    assert_true(mr_is_ok(record_totals_add(&builder, 1, 0, &counters, positions, 2)));
    assert_true(mr_is_ok(record_totals_add(&builder, 2, 9, &counters, NULL, 0)));
    while (mr_is_ok(record_totals_add(&builder, 3, 9, &counters, positions, 2))) {
    }
    body.len = record_totals_end(&builder, true);
    struct record_totals back;
    mr_str at;
    assert_true(mr_is_ok(record_totals_decode(body_view(&body), &back, &at)));
    assert_int_equal(back.flags, RECORD_TOTALS_FULL | RECORD_TOTALS_LAST);
    assert_true(back.n > 2 && back.as_of == 1000 && back.journal_start == 8);
    struct record_totals_entry entry;
    uint64_t pos;
    assert_true(record_totals_next(&at, &entry));
    assert_memory_equal(&entry.counters, &counters, sizeof counters);
    assert_true(record_positions_next(&entry.pending, &pos) && pos == 100);
    assert_true(record_positions_next(&entry.pending, &pos) && pos == 200);
    assert_false(record_positions_next(&entry.pending, &pos));
    assert_true(record_totals_next(&at, &entry));
    assert_true(entry.destination == 2 && entry.origin == 9 && entry.pending.n == 0);
    assert_strict(RECORD_TOTALS, &body);
}

static void audit_heads_come_back(void **state) {
    (void)state;
    static struct body body;
    struct record_audit audit = {.number = UINT64_MAX};
    struct record_audit back;
    for (size_t i = 0; i < sizeof audit.hash; i++) {
        audit.hash[i] = (uint8_t)(i * 7 + 1);
    }
    assert_true(mr_is_ok(record_audit_encode(&audit, body.bytes, BODY_MAX, &body.len)));
    assert_int_equal(body.len, RECORD_AUDIT_BYTES);
    assert_true(mr_is_ok(record_audit_decode(body_view(&body), &back)));
    assert_true(back.number == audit.number);
    assert_memory_equal(back.hash, audit.hash, sizeof back.hash);
    assert_strict(RECORD_AUDIT, &body);
    assert_true(mr_err_is(
        record_audit_encode(&audit, body.bytes, RECORD_AUDIT_BYTES - 1, &body.len), MR_E_LIMIT));
    audit.number = 0; /* there is no such row */
    assert_true(
        mr_err_is(record_audit_encode(&audit, body.bytes, BODY_MAX, &body.len), MR_E_INVALID));
    mr_put_u64(body.bytes + 8, 0);
    assert_true(mr_err_is(record_audit_decode(body_view(&body), &back), LEDGER_E_RECORD));
    mr_put_u64(body.bytes + 8, 1);
    body.bytes[3] = 1; /* reserved */
    assert_true(mr_err_is(record_audit_decode(body_view(&body), &back), LEDGER_E_RECORD));
}

static void letter_ids_are_ulids(void **state) {
    (void)state;
    struct chance chance = {1};
    for (int i = 0; i < 1000; i++) {
        uint8_t random[10];
        chance_bytes(&chance, random, 10);
        int64_t ms = (int64_t)(chance_next(&chance) >> 16);
        struct record_letter_id id = record_letter_id_make(ms, random);
        struct record_letter_id back;
        char text[RECORD_LETTER_TEXT_LEN];
        record_letter_id_format(&id, text);
        assert_true(mr_is_ok(record_letter_id_parse((mr_str){text, sizeof text}, &back)));
        assert_memory_equal(&id, &back, 16);
        assert_true(record_letter_id_ms(&back) == ms);
    }
    struct record_letter_id id;
    static const char *const bad[] = {"",
                                      "dl_",
                                      "dx_01jf8c4889ehtbzt0n9mzk1prc",
                                      "dl_81jf8c4889ehtbzt0n9mzk1prc",
                                      "dl_01jf8c4889ehtbzt0n9mzk1pru",
                                      "dl_01jf8c4889ehtbzt0n9mzk1prcc"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(mr_is_err(record_letter_id_parse(mr_str_c(bad[i]), &id)));
    }
}

static void reasons_have_names(void **state) {
    (void)state;
    for (uint8_t i = 0; i < RECORD_REASON_COUNT; i++) {
        uint8_t back;
        assert_true(mr_is_ok(record_reason_parse(mr_str_c(record_reason_name(i)), &back)));
        assert_int_equal(back, i);
    }
    uint8_t back;
    assert_true(mr_err_is(record_reason_parse(MR_STR("nope"), &back), MR_E_NOT_FOUND));
    assert_string_equal(record_reason_name(RECORD_REASON_COUNT), "unknown");
    assert_string_equal(record_type_name(RECORD_EXPIRE), "expire");
    assert_string_equal(record_type_name(RECORD_AUDIT), "audit");
    assert_string_equal(record_type_name(RECORD_AUDIT + 1), "unknown");
    assert_string_equal(record_type_name(0), "unknown");
}

static void callbacks_come_back(void **state) {
    (void)state;
    static struct body body;
    static char text[RECORD_CALLBACK_BODY_MAX + 1];
    struct record_callback callback = {.account = 9,
                                       .created_ms = 1700000000123,
                                       .id = letter_id(1700000000123, 5),
                                       .content = RECORD_CALLBACK_JSON,
                                       .url = MR_STR("https://a.example/x?y#z"),
                                       .reference = MR_STR("mine"),
                                       .body = MR_STR("{\"a\":1}")};
    assert_true(mr_is_ok(record_callback_encode(&callback, body.bytes, BODY_MAX, &body.len)));
    assert_int_equal(body.len, record_callback_bytes(&callback));
    struct record_callback found;
    assert_true(mr_is_ok(record_callback_decode(body_view(&body), &found)));
    assert_int_equal(found.account, 9);
    assert_int_equal(found.created_ms, callback.created_ms);
    assert_int_equal(found.method, RECORD_CALLBACK_POST);
    assert_int_equal(found.content, RECORD_CALLBACK_JSON);
    assert_memory_equal(&found.id, &callback.id, sizeof found.id);
    assert_true(mr_str_eq(found.url, callback.url));
    assert_true(mr_str_eq(found.reference, callback.reference));
    assert_true(mr_str_eq(found.body, callback.body));
    assert_strict(RECORD_CALLBACK, &body);
    char id[RECORD_CALLBACK_TEXT_LEN];
    struct record_letter_id parsed;
    record_callback_id_format(&callback.id, id);
    assert_true(mr_is_ok(record_callback_id_parse(mr_str_of(id, sizeof id), &parsed)));
    assert_memory_equal(&parsed, &callback.id, sizeof parsed);
    assert_true(mr_is_err(record_letter_id_parse(mr_str_of(id, sizeof id), &parsed)));
    /* What may not be. */
    size_t len;
    assert_true(
        mr_err_is(record_callback_encode(&callback, body.bytes, body.len - 1, &len), MR_E_LIMIT));
    callback.body = mr_str_of(text, sizeof text);
    assert_true(
        mr_err_is(record_callback_encode(&callback, body.bytes, BODY_MAX, &len), MR_E_LIMIT));
    callback.body = MR_STR("");
    callback.method = RECORD_CALLBACK_GET; /* with JSON */
    assert_true(
        mr_err_is(record_callback_encode(&callback, body.bytes, BODY_MAX, &len), MR_E_INVALID));
    callback.content = RECORD_CALLBACK_FORM;
    callback.account = RECORD_CALLBACKS_OF;
    assert_true(
        mr_err_is(record_callback_encode(&callback, body.bytes, BODY_MAX, &len), MR_E_INVALID));
    callback.account = 1;
    callback.url = MR_STR("");
    assert_true(
        mr_err_is(record_callback_encode(&callback, body.bytes, BODY_MAX, &len), MR_E_INVALID));
}

static void outcomes_of_callbacks_come_back(void **state) {
    (void)state;
    static struct body body;
    const struct record_callback_outcome outcome = {.kind = RECORD_CALLBACK_RETRY,
                                                    .reason = RECORD_REASON_TIMEOUT,
                                                    .attempt = 1,
                                                    .account = 9,
                                                    .duration_ms = 15001,
                                                    .pos = 12345,
                                                    .at_ms = 1700000000123,
                                                    .due_ms = 1700000016124,
                                                    .id = letter_id(5, 6)};
    assert_true(
        mr_is_ok(record_callback_outcome_encode(&outcome, body.bytes, BODY_MAX, &body.len)));
    struct record_callback_outcome found;
    assert_true(mr_is_ok(record_callback_outcome_decode(body_view(&body), &found)));
    assert_memory_equal(&found, &outcome, sizeof found);
    assert_strict(RECORD_CALLBACK_OUTCOME, &body);
    static const struct record_callback_outcome wrong[] = {
        {.kind = 0, .attempt = 1, .pos = 1},
        {.kind = 4, .attempt = 1, .pos = 1},
        {.kind = RECORD_CALLBACK_DELIVERED, .attempt = 0, .pos = 1},
        {.kind = RECORD_CALLBACK_FAILED, .attempt = RECORD_CALLBACK_ATTEMPTS_MAX + 1, .pos = 1},
        {.kind = RECORD_CALLBACK_RETRY, .attempt = RECORD_CALLBACK_ATTEMPTS_MAX, .pos = 1},
        {.kind = RECORD_CALLBACK_FAILED, .attempt = 1, .pos = 1, .due_ms = 5},
        {.kind = RECORD_CALLBACK_FAILED, .attempt = 1, .pos = 0},
        {.kind = RECORD_CALLBACK_FAILED, .attempt = 1, .pos = 1, .reason = RECORD_REASON_COUNT},
    };
    size_t len;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_true(mr_err_is(record_callback_outcome_encode(&wrong[i], body.bytes, BODY_MAX, &len),
                              MR_E_INVALID));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_comes_back_as_it_was),
        cmocka_unit_test(event_rendered_in_place_is_not_moved),
        cmocka_unit_test(outcome_comes_back_as_it_was),
        cmocka_unit_test(dead_add_expire_come_back),
        cmocka_unit_test(discard_and_erased_come_back),
        cmocka_unit_test(totals_come_back),
        cmocka_unit_test(audit_heads_come_back),
        cmocka_unit_test(callbacks_come_back),
        cmocka_unit_test(outcomes_of_callbacks_come_back),
        cmocka_unit_test(letter_ids_are_ulids),
        cmocka_unit_test(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
