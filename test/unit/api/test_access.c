/* Sign-ins and refusals on their way into the audit log: none is lost, and rows are few. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/access.h"
#include "control/audit/log.h"
#include "crypto/secret.h"
#include "json/tape.h"
#include "loop/wheel.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct rig {
    char base[64];
    char dir[128];
    struct secret_slab *slab;
    struct control_options options;
    struct control *control;
    struct loop loop;
    struct access_log *log;
};

static void rig_open(struct rig *rig) {
    struct refusal refusal;
    struct control_init_result made;
    *rig = (struct rig){.control = NULL};
    (void)snprintf(rig->base, sizeof rig->base, "/tmp/mr-access-XXXXXX");
    assert_non_null(mkdtemp(rig->base));
    (void)snprintf(rig->dir, sizeof rig->dir, "%s/data", rig->base);
    assert_true(mr_is_ok(secret_slab_new((size_t)8 << 20, &rig->slab)));
    rig->options = (struct control_options){.dir = rig->dir, .slab = rig->slab};
    assert_true(mr_is_ok(control_init(&rig->options, MR_STR("ops@example.com"), &made, &refusal)));
    assert_true(mr_is_ok(control_open(&rig->options, &rig->control, &refusal)));
    assert_true(mr_is_ok(loop_init(&rig->loop, NULL)));
    assert_true(mr_is_ok(access_log_new(&rig->loop, rig->control, &rig->log)));
}

/* The control thread takes its mail, and answers. */
static void turn(struct rig *rig) {
    (void)control_step(rig->control, (mr_mono){1});
    mailbox_run(mailbox_drain(loop_mailbox(&rig->loop)));
}

static void pass(struct rig *rig, int64_t ms) {
    rig->loop.now = mr_mono_add_ms(rig->loop.now, ms);
    wheel_advance(&rig->loop.wheel, rig->loop.now);
    turn(rig);
}

static void rig_close(struct rig *rig) {
    access_log_flush(rig->log);
    turn(rig);
    access_log_free(rig->log);
    loop_done(&rig->loop);
    control_close(rig->control);
    secret_slab_free(rig->slab);
    static const char *const names[] = {"data/control.db", "data/control.db-wal",
                                        "data/control.db-shm", "data/control.lock", "data.key"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", rig->base, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(rig->dir);
    (void)rmdir(rig->base);
}

/* Rows of that action, and the sum of their counts. */
struct told {
    size_t rows, of_many;
    uint64_t count;
};

static struct told told_of(struct rig *rig, const char *action) {
    struct told told = {0};
    struct refusal refusal;
    uint64_t last;
    bool more;
    mr_buf out;
    json_tape tape;
    json_tape detail;
    mr_arena arena;
    mr_buf_init(&out, 8 << 20);
    mr_arena_init(&arena, 8 << 20);
    json_tape_init(&tape, JSON_DEPTH_MAX);
    json_tape_init(&detail, JSON_DEPTH_MAX);
    assert_true(
        mr_is_ok(audit_export(rig->control, 0, 0, 10000, SIZE_MAX, &out, &last, &more, &refusal)));
    mr_str rest = mr_buf_view(&out);
    mr_str line;
    while (mr_str_split(&rest, '\n', &line)) {
        mr_str text;
        uint64_t n;
        if (line.len == 0) {
            continue;
        }
        assert_true(mr_is_ok(json_tape_read(&tape, line, NULL)));
        if (!json_string_eq(json_find(json_root(&tape), MR_STR("action")), mr_str_c(action))) {
            continue;
        }
        assert_true(
            mr_is_ok(json_string(json_find(json_root(&tape), MR_STR("detail")), &arena, &text)));
        assert_true(mr_is_ok(json_tape_read(&detail, text, NULL)));
        assert_true(
            mr_is_ok(json_u64(json_find(json_root(&detail), MR_STR("count")), 1, UINT64_MAX, &n)));
        told.rows++;
        told.count += n;
        told.of_many += !json_is_absent(json_find(json_root(&detail), MR_STR("of_many")));
    }
    json_tape_done(&tape);
    json_tape_done(&detail);
    mr_arena_done(&arena);
    mr_buf_done(&out);
    return told;
}

static void note(struct rig *rig, enum control_actor_kind kind, const char *id, uint32_t address,
                 enum access_what what) {
    char text[32];
    (void)snprintf(text, sizeof text, "10.0.%u.%u", address / 256, address % 256);
    const struct control_actor actor = {.kind = kind,
                                        .id = id == NULL ? MR_STR_NONE : mr_str_c(id),
                                        .address = mr_str_c(text),
                                        .request_id = MR_STR("req_1")};
    access_note(rig->log, &actor, AUTH_ROUTE_SECRETS_LIST, what);
}

static void the_first_is_told_at_once_and_the_others_after_a_minute(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig);
    for (int i = 0; i < 1000; i++) {
        note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 1, ACCESS_NO_SCOPE);
    }
    turn(&rig);
    struct told told = told_of(&rig, "access.refuse");
    assert_true(told.rows == 1 && told.count == 1);
    pass(&rig, 59000);
    assert_int_equal(told_of(&rig, "access.refuse").rows, 1);
    pass(&rig, 2000);
    told = told_of(&rig, "access.refuse");
    assert_true(told.rows == 2 && told.count == 1000);
    pass(&rig, 61000); /* nothing came: it is forgotten */
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 1, ACCESS_NO_SCOPE);
    turn(&rig);
    told = told_of(&rig, "access.refuse");
    assert_true(told.rows == 3 && told.count == 1001);
    /* Another reason, another caller, another address are others. */
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 1, ACCESS_REVOKED);
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_b", 1, ACCESS_NO_SCOPE);
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 2, ACCESS_NO_SCOPE);
    turn(&rig);
    assert_int_equal(told_of(&rig, "access.refuse").rows, 6);
    rig_close(&rig);
}

static void sign_ins_are_summed_up_by_the_hour(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig);
    for (int i = 0; i < 10; i++) {
        note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 1, ACCESS_SIGN_IN);
    }
    turn(&rig);
    pass(&rig, 3590000);
    assert_int_equal(told_of(&rig, "sign-in").rows, 1);
    pass(&rig, 11000);
    struct told told = told_of(&rig, "sign-in");
    assert_true(told.rows == 2 && told.count == 10);
    rig_close(&rig);
}

static void strangers_cannot_make_many_rows_nor_hide_a_client(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig);
    for (uint32_t i = 0; i < 5000; i++) {
        note(&rig, CONTROL_ACTOR_NOBODY, NULL, i, ACCESS_BAD_TOKEN);
    }
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 1, ACCESS_NO_SCOPE);
    turn(&rig);
    struct told told = told_of(&rig, "access.refuse");
    assert_int_equal(told.rows, 16 + 1 + 1);
    assert_int_equal(told.of_many, 1);
    pass(&rig, 61000);
    told = told_of(&rig, "access.refuse");
    assert_int_equal(told.count, 5001);
    assert_int_equal(told.rows, 16 + 1 + 1 + 1);
    rig_close(&rig);
}

static void what_comes_while_a_row_is_on_its_way_is_not_lost_at_the_end(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig);
    note(&rig, CONTROL_ACTOR_NOBODY, NULL, 1, ACCESS_BAD_CREDENTIALS);
    note(&rig, CONTROL_ACTOR_NOBODY, NULL, 1, ACCESS_BAD_CREDENTIALS);
    access_log_flush(rig.log); /* the first is with the control thread still */
    turn(&rig);
    turn(&rig);
    struct told told = told_of(&rig, "sign-in.refuse");
    assert_true(told.rows == 2 && told.count == 2);
    rig_close(&rig);
}

static void a_row_that_could_not_be_stored_is_told_later(void **state) {
    (void)state;
    struct rig rig;
    char path[256];
    sqlite3 *other = NULL;
    rig_open(&rig);
    (void)snprintf(path, sizeof path, "%s/control.db", rig.dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 1, ACCESS_NO_SCOPE);
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_a", 1, ACCESS_NO_SCOPE);
    note(&rig, CONTROL_ACTOR_CLIENT, "apiclient_b", 1, ACCESS_NO_SCOPE);
    turn(&rig);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(told_of(&rig, "access.refuse").rows, 0);
    pass(&rig, 61000);
    struct told told = told_of(&rig, "access.refuse");
    assert_true(told.rows == 2 && told.count == 3);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_told_at_once_and_the_others_after_a_minute),
        cmocka_unit_test(sign_ins_are_summed_up_by_the_hour),
        cmocka_unit_test(strangers_cannot_make_many_rows_nor_hide_a_client),
        cmocka_unit_test(what_comes_while_a_row_is_on_its_way_is_not_lost_at_the_end),
        cmocka_unit_test(a_row_that_could_not_be_stored_is_told_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
