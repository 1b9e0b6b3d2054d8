/* Users, second factor, sessions in the store: what HTTP cannot show, and RFC 6238's vectors. */
#include "support_control.h"

#include "control/accounts.h"
#include "control/jobs.h"
#include "control/people/profile.h"
#include "control/people/sessions.h"
#include "control/people/signin.h"
#include "control/people/totp.h"
#include "control/people/users.h"
#include "os/clock.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* RFC 6238, appendix B (SHA-1), cut to six digits; RFC 4226, appendix D. */
static void codes_are_those_of_the_rfcs(void **state) {
    (void)state;
    static const struct {
        uint64_t step;
        const char *code;
    } vectors[] = {{59 / 30, "287082"},
                   {1111111109 / 30, "081804"},
                   {1111111111 / 30, "050471"},
                   {1234567890 / 30, "005924"},
                   {2000000000 / 30, "279037"},
                   {UINT64_C(20000000000) / 30, "353130"},
                   {0, "755224"},
                   {9, "520489"}};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char code[TOTP_DIGITS + 1];
        assert_ok(totp_code(MR_STR("12345678901234567890"), vectors[i].step, code));
        assert_string_equal(code, vectors[i].code);
    }
}

/* ---- helpers ---- */

static void ignore_done(struct control_job *job) {
    (void)job;
}
/* Inside a change, as a job is. */
static mr_err run_job(struct fixture *f, struct control_job *job,
                      mr_err (*run)(struct control *control, struct control_job *job)) {
    *job = (struct control_job){.run = run, .done = ignore_done};
    control_run_here(f->control, job);
    f->refusal = job->refusal;
    return job->err;
}

struct insert_job {
    struct control_job job; /* first */
    uint32_t account;
    struct user_spec spec;
    mr_str hash;
    uint32_t number;
};
static mr_err run_insert(struct control *control, struct control_job *job) {
    struct insert_job *ask = (struct insert_job *)(void *)job;
    MR_TRY(
        users_insert(control, ask->account, &ask->spec, USER_INVITED, &ask->number, &job->refusal));
    return mr_str_is_absent(ask->hash)
               ? MR_OK
               : users_set_password(control, ask->number, ask->hash, MR_STR_NONE);
}
static mr_err insert(struct fixture *f, const char *email, enum auth_role role, const char *hash,
                     uint32_t *ret_number) {
    struct insert_job ask;
    mr_err err;
    ask.account = f->account;
    ask.spec = (struct user_spec){mr_str_c(email), MR_STR("Name"), role, MR_STR_NONE};
    ask.hash = mr_str_c(hash);
    err = run_job(f, &ask.job, run_insert);
    *ret_number = ask.number;
    return err;
}

struct open_job {
    struct control_job job; /* first */
    uint32_t user;
    mr_wall now;
    char cookie[SESSION_COOKIE_CHARS + 1];
    char id[SESSION_ID_SIZE];
};
static mr_err run_open(struct control *control, struct control_job *job) {
    struct open_job *ask = (struct open_job *)(void *)job;
    return sessions_open(control, ask->user, MR_STR("127.0.0.1"), MR_STR("agent"), ask->now,
                         ask->cookie, ask->id);
}
static struct open_job open_session(struct fixture *f, uint32_t user) {
    struct open_job ask = {.user = user, .now = os_wall_now()};
    mr_wall now = ask.now;
    struct control_job *job = &ask.job;
    *job = (struct control_job){.run = run_open, .done = ignore_done};
    ask.now = now;
    control_run_here(f->control, job);
    assert_ok(job->err);
    return ask;
}

static bool is_live(struct fixture *f, const char *id) {
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct model_account *account;
    const struct model_user *user;
    const struct model_session *session;
    mr_err err = snapshot_check_session(snapshot, mr_str_c(id), mr_wall_ms(os_wall_now()),
                                        SESSION_IDLE_MS_DEFAULT, &account, &user, &session);
    snapshot_unref(snapshot);
    return mr_is_ok(err);
}

/* ---- users ---- */

static void an_invited_user_becomes_active_with_a_password(void **state) {
    struct fixture *f = *state;
    struct user_view view;
    uint32_t number;
    assert_ok(insert(f, "Ada@Example.com", AUTH_ROLE_DEVELOPER, NULL, &number));
    assert_ok(users_get_number(f->control, number, &f->arena, &view, &f->refusal));
    assert_text(view.email, "ada@example.com");
    assert_int_equal(view.status, USER_INVITED);
    assert_false(view.has_password);
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_false(snapshot_user(snapshot, number)->is_active);
    snapshot_unref(snapshot);
    uint32_t again;
    assert_refused(f, insert(f, "ADA@example.com", AUTH_ROLE_ADMIN, NULL, &again), 20409,
                   "already");
    assert_refused(f, insert(f, "other@example.com", AUTH_ROLE_OWNER, NULL, &again), 20409,
                   "Owner");
    assert_ok(insert(f, "bea@example.com", AUTH_ROLE_DEVELOPER, "hash", &number));
    assert_ok(users_get_number(f->control, number, &f->arena, &view, &f->refusal));
    assert_int_equal(view.status, USER_ACTIVE);
    snapshot = control_snapshot(f->control);
    assert_true(snapshot_user(snapshot, number)->is_active);
    snapshot_unref(snapshot);
}

static void sessions_are_of_the_snapshot_and_end_with_the_password(void **state) {
    struct fixture *f = *state;
    uint32_t user;
    assert_ok(insert(f, "ada@example.com", AUTH_ROLE_DEVELOPER, "hash", &user));
    struct open_job one = open_session(f, user);
    struct open_job two = open_session(f, user);
    assert_true(is_live(f, one.id));
    assert_true(is_live(f, two.id));
    assert_false(folder_holds(f, mr_str_c(one.cookie)));
    assert_ok(profile_set_password(f->control, user, MR_STR("hash"), MR_STR("other"),
                                   mr_str_c(one.id), &f->refusal));
    assert_true(is_live(f, one.id));
    assert_false(is_live(f, two.id));
    /* Of two changes at once the second finds another password. */
    assert_refused(f,
                   profile_set_password(f->control, user, MR_STR("hash"), MR_STR("third"),
                                        mr_str_c(one.id), &f->refusal),
                   20409, "meanwhile");
    fixture_reopen(f);
    assert_true(is_live(f, one.id));
    assert_refused(f, sessions_end(f->control, user, mr_str_c(two.id), &f->refusal), 20404, "no");
    assert_ok(sessions_end(f->control, user, mr_str_c(one.id), &f->refusal));
    assert_false(is_live(f, one.id));
}

static void a_user_has_a_bounded_number_of_sessions(void **state) {
    struct fixture *f = *state;
    uint32_t user;
    assert_ok(insert(f, "ada@example.com", AUTH_ROLE_DEVELOPER, "hash", &user));
    struct open_job first = open_session(f, user);
    for (int i = 1; i < SESSIONS_OF_USER_MAX; i++) {
        open_session(f, user);
    }
    assert_true(is_live(f, first.id));
    open_session(f, user);
    assert_false(is_live(f, first.id));
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_int_equal(snapshot_count(snapshot, MODEL_SESSION), SESSIONS_OF_USER_MAX);
    snapshot_unref(snapshot);
}

static void cookies_and_tokens_have_their_form(void **state) {
    (void)state;
    struct crypto_hasher *hasher;
    char id[SESSION_ID_SIZE];
    char one[SESSION_CSRF_SIZE];
    char two[SESSION_CSRF_SIZE];
    assert_ok(crypto_hasher_new(&hasher));
    static const char a[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    static const char b[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB";
    assert_ok(session_id_of(hasher, mr_str_c(a), id));
    assert_int_equal(strlen(id), 40);
    assert_true(mr_is_err(session_id_of(hasher, MR_STR("short"), id)));
    assert_ok(session_csrf_of(hasher, mr_str_c(a), one));
    assert_ok(session_csrf_of(hasher, mr_str_c(b), two));
    assert_string_not_equal(one, two);
    crypto_hasher_free(hasher);
}

/* ---- the second factor ---- */

struct judge_job {
    struct control_job job; /* first */
    uint32_t user;
    mr_str code;
    mr_wall now;
    bool is_right;
};
static mr_err run_judge(struct control *control, struct control_job *job) {
    struct judge_job *ask = (struct judge_job *)(void *)job;
    return totp_judge(control, ask->user, ask->code, ask->now, &ask->is_right);
}
static bool judge(struct fixture *f, uint32_t user, mr_str code, int64_t at_s) {
    struct judge_job ask;
    ask.user = user;
    ask.code = code;
    ask.now = (mr_wall){at_s * MR_NS_PER_S};
    ask.is_right = false;
    assert_ok(run_job(f, &ask.job, run_judge));
    return ask.is_right;
}

/* Base32 without a word of ours (RFC 4648). */
static void decode_seed(mr_str text, uint8_t out[static TOTP_SEED_BYTES]) {
    uint64_t bits = 0;
    size_t n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bits = (bits << 5) | (uint64_t)(c >= 'A' ? c - 'A' : c - '2' + 26);
        n_bits += 5;
        if (n_bits >= 8) {
            out[n++] = (uint8_t)(bits >> (n_bits - 8));
            n_bits -= 8;
        }
    }
    assert_int_equal(n, TOTP_SEED_BYTES);
}

static void a_step_is_taken_once_and_one_early_or_late(void **state) {
    struct fixture *f = *state;
    enum { T = 1700000010 }; /* the middle of a step */
    uint32_t user;
    mr_str text;
    mr_str url;
    uint8_t seed[TOTP_SEED_BYTES];
    char codes[RECOVERY_CODES][RECOVERY_CODE_SIZE];
    char code[5][TOTP_DIGITS + 1];
    assert_ok(insert(f, "ada@example.com", AUTH_ROLE_DEVELOPER, "hash", &user));
    assert_ok(totp_begin(f->control, user, &f->arena, &text, &url, &f->refusal));
    decode_seed(text, seed);
    for (uint64_t i = 0; i < 5; i++) { /* two steps back to two on */
        assert_ok(totp_code(mr_str_of((const char *)seed, sizeof seed), T / 30 - 2 + i, code[i]));
    }
    assert_false(judge(f, user, mr_str_c(code[2]), T)); /* not confirmed */
    assert_refused(f,
                   totp_confirm(f->control, user, mr_str_c(code[0]), (mr_wall){T * MR_NS_PER_S},
                                MR_STR_NONE, codes, &f->refusal),
                   20400, "code");
    assert_ok(totp_confirm(f->control, user, mr_str_c(code[1]), (mr_wall){T * MR_NS_PER_S},
                           MR_STR_NONE, codes, &f->refusal));
    assert_false(judge(f, user, mr_str_c(code[1]), T));
    assert_false(judge(f, user, mr_str_c(code[4]), T));
    assert_false(judge(f, user, MR_STR("12345"), T));
    assert_true(judge(f, user, mr_str_c(code[3]), T));
    assert_false(judge(f, user, mr_str_c(code[3]), T));
    assert_false(judge(f, user, mr_str_c(code[2]), T)); /* older than one that was taken */
    assert_true(judge(f, user, mr_str_c(codes[9]), T));
    assert_false(judge(f, user, mr_str_c(codes[9]), T));
    fixture_reopen(f);
    assert_false(judge(f, user, mr_str_c(code[3]), T)); /* also after a restart */
    assert_true(judge(f, user, mr_str_c(codes[0]), T));
    assert_false(folder_holds(f, mr_str_c(codes[1])));
    assert_false(folder_holds(f, text));
    assert_false(folder_holds(f, mr_str_of((const char *)seed, sizeof seed)));
}

static void a_recovery_code_is_one_users(void **state) {
    struct fixture *f = *state;
    mr_str text;
    mr_str url;
    uint32_t users[2];
    uint8_t seed[TOTP_SEED_BYTES];
    char codes[2][RECOVERY_CODES][RECOVERY_CODE_SIZE];
    mr_wall now = os_wall_now();
    for (size_t i = 0; i < 2; i++) {
        char code[TOTP_DIGITS + 1];
        assert_ok(insert(f, i == 0 ? "a@b.example" : "c@d.example", AUTH_ROLE_DEFAULT, "hash",
                         &users[i]));
        assert_ok(totp_begin(f->control, users[i], &f->arena, &text, &url, &f->refusal));
        decode_seed(text, seed);
        assert_ok(totp_code(mr_str_of((const char *)seed, sizeof seed),
                            (uint64_t)(now.ns / MR_NS_PER_S) / 30, code));
        assert_ok(totp_confirm(f->control, users[i], mr_str_c(code), now, MR_STR_NONE, codes[i],
                               &f->refusal));
    }
    int64_t now_s = now.ns / MR_NS_PER_S;
    assert_false(judge(f, users[0], mr_str_c(codes[1][0]), now_s));
    assert_true(judge(f, users[1], mr_str_c(codes[1][0]), now_s));
}

/* ---- signing in ---- */

static struct signin_candidates begin(struct fixture *f, const char *account_id) {
    struct signin_candidates found;
    assert_ok(signin_begin(f->control, MR_STR("Two@example.com"), mr_str_c(account_id),
                           MR_STR("192.0.2.1"), &f->arena, &found, &f->refusal));
    signin_give_up(f->control, MR_STR("two@example.com"), MR_STR("192.0.2.1"));
    return found;
}

/* However many accounts an e-mail is in, one password is computed. */
static void one_account_is_looked_at_the_named_or_the_first(void **state) {
    struct fixture *f = *state;
    struct account_view other;
    uint32_t numbers[2];
    assert_ok(accounts_create(f->control, NULL, f->account, MR_STR("{\"friendly_name\":\"Other\"}"),
                              MR_STR("https://m.example.com"), &f->arena, &other, &f->refusal));
    uint32_t root = f->account;
    assert_ok(insert(f, "two@example.com", AUTH_ROLE_ADMIN, "hash of the first", &numbers[0]));
    f->account = other.number;
    assert_ok(insert(f, "two@example.com", AUTH_ROLE_ADMIN, "hash of the second", &numbers[1]));
    f->account = root;
    /* Whoever signed in last is not preferred: that could be anybody who made an account. */
    (void)open_session(f, numbers[1]);
    struct signin_candidates found = begin(f, NULL);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.user, numbers[0]);
    assert_text(found.hash, "hash of the first");
    char id[MODEL_ID_SIZE];
    assert_true(mr_str_to_c(other.id, id, sizeof id));
    found = begin(f, id);
    assert_int_equal(found.n, 1);
    assert_text(found.hash, "hash of the second");
    assert_int_equal(begin(f, "acct_none").n, 0);
}

static void an_attempt_that_could_not_be_judged_is_none(void **state) {
    struct fixture *f = *state;
    const struct signin_caller caller = {MR_STR("192.0.2.1"), MR_STR("agent"), os_wall_now()};
    struct signin_outcome outcome;
    uint32_t user;
    assert_ok(insert(f, "two@example.com", AUTH_ROLE_ADMIN, "its hash", &user));
    for (int i = 0; i < 20; i++) { /* the queue was full */
        (void)begin(f, NULL);
    }
    char path[256];
    sqlite3 *other = NULL;
    (void)snprintf(path, sizeof path, "%s/control.db", f->dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 8; i++) { /* the store is busy; right and wrong in turn */
        struct signin_candidates found;
        assert_ok(signin_begin(f->control, MR_STR("two@example.com"), MR_STR_NONE, caller.address,
                               &f->arena, &found, &f->refusal));
        mr_err err = signin_finish(f->control, MR_STR("two@example.com"), &found, i % 2 - 1,
                                   MR_STR(""), &caller, &outcome, &f->refusal);
        assert_refused(f, err, 20503, "");
    }
    sqlite3_close(other);
    for (int i = 0; i < 5; i++) { /* these count */
        struct signin_candidates found;
        assert_ok(signin_begin(f->control, MR_STR("two@example.com"), MR_STR_NONE, caller.address,
                               &f->arena, &found, &f->refusal));
    }
    struct signin_candidates found;
    mr_err err = signin_begin(f->control, MR_STR("two@example.com"), MR_STR_NONE, caller.address,
                              &f->arena, &found, &f->refusal);
    assert_refused(f, err, 20429, "wrong attempts");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_the_rfcs),
        cmocka_unit_test(cookies_and_tokens_have_their_form),
#define WITH_STORE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        WITH_STORE(an_invited_user_becomes_active_with_a_password),
        WITH_STORE(one_account_is_looked_at_the_named_or_the_first),
        WITH_STORE(an_attempt_that_could_not_be_judged_is_none),
        WITH_STORE(sessions_are_of_the_snapshot_and_end_with_the_password),
        WITH_STORE(a_user_has_a_bounded_number_of_sessions),
        WITH_STORE(a_step_is_taken_once_and_one_early_or_late),
        WITH_STORE(a_recovery_code_is_one_users),
#undef WITH_STORE
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
