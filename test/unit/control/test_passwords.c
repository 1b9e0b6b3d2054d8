/* What passwords must be like, and argon2id on its threads. */
#include "support_control.h"

#include "base/list.h"
#include "control/people/passwords.h"
#include "crypto/ids.h"
#include "os/clock.h"

#include <stdio.h>
#include <string.h>

static const struct password_context nobody = {{NULL, 0}, {NULL, 0}, {NULL, 0}};

static void assert_judged(mr_str password, const struct password_context *context,
                          const char *part) {
    struct refusal refusal = {0};
    mr_err err = password_judge(password, context, &refusal);
    if (part == NULL) {
        assert_ok(err);
        return;
    }
    assert_true(mr_err_is(err, CONTROL_E_REFUSED));
    assert_int_equal(refusal.code, REFUSAL_MALFORMED);
    assert_non_null(strstr(refusal.message, part));
    if (password.len > 3) {
        assert_null(strstr(refusal.message, password.ptr)); /* never repeated */
    }
}

static void length_counts_characters_not_bytes(void **state) {
    (void)state;
    char text[600];
    assert_judged(MR_STR("xk-7 hw qz9"), &nobody, "12 to 128");
    assert_judged(MR_STR("xk-7 hw qz9u"), &nobody, NULL);
    assert_judged(MR_STR("ßüöäéèçñ€日本"), &nobody, "12 to 128");
    assert_judged(MR_STR("ßüöäéèçñ€日本語"), &nobody, NULL);
    for (size_t i = 0; i < 129; i++) {
        (void)snprintf(text + i, 2, "%c", 'a' + (int)(i * 7 % 26));
    }
    assert_judged(mr_str_of(text, 128), &nobody, NULL);
    assert_judged(mr_str_of(text, 129), &nobody, "12 to 128");
    assert_judged(MR_STR(""), &nobody, "12 to 128");
}

static void text_must_be_text(void **state) {
    (void)state;
    assert_judged(MR_STR("latin \xfc is no UTF-8"), &nobody, "UTF-8");
    assert_judged(MR_STR("a tab\tin between"), &nobody, "control");
    assert_judged(mr_str_of("a NUL\0in between", 16), &nobody, "control");
}

static void common_ones_are_known_in_their_disguises(void **state) {
    (void)state;
    static const char *const common[] = {
        "123456789012",   "password1234", "Password1234!", "qwertyuiop12",         "aaaaaaaaaaaa",
        "abcabcabcabc",   "abcdefghijkl", "210987654321",  "monkeymonkey",         "Sunshine2024!",
        "!!!football!!!", "1q2w3e4r5t6y", "iloveyou2024!", "DRAGON dragon DRAGON "};
    static const char *const fine[] = {"correct horse battery", "xk7hwqz9uLm2", "sunshine 2024 ghx",
                                       "monkey 8291#7312 5", "zwölf Zeichen!"};
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        if (!password_is_common(mr_str_c(common[i]))) {
            fail_msg("%s", common[i]);
        }
    }
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        if (password_is_common(mr_str_c(fine[i]))) {
            fail_msg("%s", fine[i]);
        }
    }
}

/* The halving finds each line, the first and the last of the text too. */
static void every_listed_one_is_found(void **state) {
    (void)state;
    static const char *const some[] = {"!qaz2wsx",  "zzzzzzzz", "trustno1", "letmein", "princess",
                                       "qwerty123", "baseball", "superman", "michael", "shadow"};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        assert_true(password_is_common(mr_str_c(some[i])));
    }
    assert_false(password_is_common(MR_STR("zzzyzzzz")));
    assert_false(password_is_common(MR_STR("trustno1x")));
}

static void ones_own_names_are_no_password(void **state) {
    (void)state;
    const struct password_context context = {MR_STR("someone.long@example.com"),
                                             MR_STR("Ada King Lovelace"), MR_STR("Acme Devices 7")};
    assert_judged(MR_STR("someone.long@example.com"), &context, "e-mail");
    assert_judged(MR_STR("SOMEONE.LONG2024"), &context, "e-mail");
    assert_judged(MR_STR("ada king lovelace"), &context, "name");
    assert_judged(MR_STR("acme devices 7"), &context, "account");
    assert_judged(MR_STR("ada king lovelace's engine"), &context, NULL);
}

/* ---- argon2id ---- */

static void hash_of(const char *password, char out[static PASSWORD_HASH_SIZE]) {
    struct password_task task = {.is_hashing = true};
    assert_true(password_task_set(&task, mr_str_c(password)));
    passwords_run_here(&task);
    assert_ok(task.err);
    assert_int_equal(task.password[0], 0); /* wiped */
    memcpy(out, task.new_hash, PASSWORD_HASH_SIZE);
}

static void a_hash_is_argon2id_and_salted(void **state) {
    (void)state;
    char one[PASSWORD_HASH_SIZE];
    char two[PASSWORD_HASH_SIZE];
    hash_of("the same password", one);
    hash_of("the same password", two);
    assert_memory_equal(one, "$argon2id$v=19$m=65536,t=2,p=1$", 31);
    assert_string_not_equal(one, two);
}

static void the_right_one_of_several_matches(void **state) {
    (void)state;
    char hashes[3][PASSWORD_HASH_SIZE];
    mr_str list[3];
    for (size_t i = 0; i < 3; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "password number %zu", i);
        hash_of(text, hashes[i]);
        list[i] = mr_str_c(hashes[i]);
    }
    struct password_task task = {.hashes = list, .n_hashes = 3};
    assert_true(password_task_set(&task, MR_STR("password number 1")));
    passwords_run_here(&task);
    assert_int_equal(task.matched, 1);
    assert_string_equal(task.new_hash, "");
    assert_true(password_task_set(&task, MR_STR("password number 3")));
    passwords_run_here(&task);
    assert_int_equal(task.matched, -1);
    list[0] = MR_STR(""); /* a damaged row */
    assert_true(password_task_set(&task, MR_STR("password number 2")));
    passwords_run_here(&task);
    assert_int_equal(task.matched, 2);
}

/* Made with t=1, m=8 MiB by libsodium 1.0.18. */
static void weaker_parameters_are_renewed(void **state) {
    (void)state;
    static const char old[] = "$argon2id$v=19$m=8192,t=1,p=1$KcY4Tx68odlEeefvyVeWTg$MXiyMGO6jVV+"
                              "Pif0zFWCtExeD20MWOA1iGUUMLSZNqU";
    mr_str list = mr_str_c(old);
    struct password_task task = {.hashes = &list, .n_hashes = 1};
    assert_true(password_task_set(&task, MR_STR("an old password")));
    passwords_run_here(&task);
    assert_int_equal(task.matched, 0);
    assert_memory_equal(task.new_hash, "$argon2id$v=19$m=65536,t=2,p=1$", 31);
    mr_str fresh = mr_str_c(task.new_hash);
    struct password_task again = {.hashes = &fresh, .n_hashes = 1};
    assert_true(password_task_set(&again, MR_STR("an old password")));
    passwords_run_here(&again);
    assert_int_equal(again.matched, 0);
    assert_string_equal(again.new_hash, "");
    assert_true(password_task_set(&task, MR_STR("not the old one")));
    passwords_run_here(&task);
    assert_int_equal(task.matched, -1);
    assert_string_equal(task.new_hash, "");
}

static int64_t time_of(const mr_str *hashes, size_t n) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        struct password_task task = {.hashes = hashes, .n_hashes = n};
        assert_true(password_task_set(&task, MR_STR("whatever it is")));
        int64_t begun = os_mono_now().ns;
        passwords_run_here(&task);
        int64_t took = os_mono_now().ns - begun;
        assert_int_equal(task.matched, -1);
        least = took < least ? took : least;
    }
    return least;
}

static void nobody_costs_as_much_as_somebody(void **state) {
    (void)state;
    char hash[PASSWORD_HASH_SIZE];
    hash_of("somebody's password", hash);
    mr_str list = mr_str_c(hash);
    int64_t somebody = time_of(&list, 1);
    int64_t none = time_of(NULL, 0);
    assert_true(none > somebody / 3 && none < somebody * 3);
}

/* ---- the threads ---- */

struct waiting {
    struct password_task task;
    struct waiting *self;
};
static void count_done(struct password_task *task) {
    struct waiting *waiting = MR_CONTAINER(task, struct waiting, task);
    assert_ptr_equal(waiting->self, waiting);
    waiting->self = NULL;
}

static void as_many_wait_as_may_and_all_are_done(void **state) {
    (void)state;
    struct passwords *passwords;
    static struct waiting list[PASSWORDS_QUEUE_MAX + 3];
    struct mailbox mailbox;
    mailbox_init(&mailbox);
    assert_ok(passwords_new(&passwords));
    size_t taken = 0;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        list[i] = (struct waiting){
            .task = {.done = count_done, .reply_to = &mailbox, .is_hashing = i < 2},
            .self = &list[i]};
        assert_true(password_task_set(&list[i].task, MR_STR("some password")));
        taken += passwords_submit(passwords, &list[i].task, NULL);
    }
    /* A thread may have been done with one before the last came. */
    assert_in_range(taken, PASSWORDS_QUEUE_MAX + 2, PASSWORDS_QUEUE_MAX + 3);
    passwords_free(passwords); /* does what waits */
    assert_int_equal(mailbox_run(mailbox_drain(&mailbox)), taken);
    for (size_t i = 0; i < taken; i++) {
        assert_null(list[i].self);
        assert_ok(list[i].task.err);
        assert_int_equal(list[i].task.new_hash[0] != '\0', list[i].task.is_hashing);
    }
}

static void what_is_too_long_for_any_is_not_taken(void **state) {
    (void)state;
    char text[PASSWORD_BYTES_MAX + 1];
    struct password_task task = {.is_hashing = true};
    memset(text, 'x', sizeof text);
    assert_true(password_task_set(&task, mr_str_of(text, PASSWORD_BYTES_MAX)));
    assert_false(password_task_set(&task, mr_str_of(text, PASSWORD_BYTES_MAX + 1)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(length_counts_characters_not_bytes),
        cmocka_unit_test(text_must_be_text),
        cmocka_unit_test(common_ones_are_known_in_their_disguises),
        cmocka_unit_test(every_listed_one_is_found),
        cmocka_unit_test(ones_own_names_are_no_password),
        cmocka_unit_test(a_hash_is_argon2id_and_salted),
        cmocka_unit_test(the_right_one_of_several_matches),
        cmocka_unit_test(weaker_parameters_are_renewed),
        cmocka_unit_test(nobody_costs_as_much_as_somebody),
        cmocka_unit_test(as_many_wait_as_may_and_all_are_done),
        cmocka_unit_test(what_is_too_long_for_any_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
