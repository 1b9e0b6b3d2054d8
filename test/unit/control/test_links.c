/* Links and what they lead to: single use, expiry, rights of who makes one, mail with their text.
 */
#include "support_control.h"

#include "base/mem.h"
#include "control/people/entry.h"
#include "control/people/invites.h"
#include "control/people/mails.h"
#include "control/private.h"
#include "os/clock.h"

#include <stdio.h>
#include <string.h>

#define BASE MR_STR("https://mr.example.com")
#define DAY  (INT64_C(24) * 3600 * 1000)

static const mr_str some_hash = {"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA", 44};

static void wanted(void *ctx) {
    ++*(int *)ctx;
}

static void with_mail(struct fixture *f) {
    f->options.mail_wanted = wanted;
    f->options.mail_ctx = mr_arena_calloc(&f->arena, 1, sizeof(int));
    fixture_reopen(f);
}

static mr_wall after(int64_t ms) {
    return mr_wall_of_ms(mr_wall_ms(os_wall_now()) + ms);
}

static struct link_maker operator_of(struct fixture *f) {
    return (struct link_maker){.editor = {.account = f->account},
                               .scopes = auth_scopes_all(),
                               .account = f->account,
                               .base_url = BASE,
                               .now = os_wall_now()};
}

static struct link_made invite(struct fixture *f, const char *body) {
    const struct link_maker maker = operator_of(f);
    struct link_made made;
    assert_ok(invites_create(f->control, &maker, mr_str_c(body), &f->arena, &made, &f->refusal));
    return made;
}

static struct link_made invite_ada(struct fixture *f) {
    return invite(f, "{\"email\":\"ada@example.com\",\"role\":\"developer\",\"name\":\"Ada\"}");
}

static mr_str token_in(mr_str text) {
    size_t at = mr_str_find(text, MR_STR("/links/"));
    assert_true(at != SIZE_MAX);
    return mr_str_slice(text, at + 7, at + 7 + LINK_TOKEN_CHARS);
}

static mr_err look(struct fixture *f, mr_str token, mr_wall now, struct entry_view *view) {
    return entry_look(f->control, token, now, &f->arena, view, &f->refusal);
}

static mr_err use(struct fixture *f, mr_str token, mr_wall now, struct entry_outcome *outcome) {
    const struct entry_form form = {.name = MR_STR("Ada L."), .password = MR_STR_NONE};
    const struct entry_caller caller = {MR_STR("127.0.0.1"), MR_STR("test")};
    return entry_use(f->control, token, &form, some_hash, &caller, now, &f->arena, outcome,
                     &f->refusal);
}

static void an_invite_is_good_once(void **state) {
    struct fixture *f = *state;
    struct link_made made = invite_ada(f);
    struct entry_view view;
    struct entry_outcome outcome;
    mr_str token = token_in(made.url);
    assert_int_equal(made.user.status, USER_INVITED);
    for (int i = 0; i < 3; i++) { /* looking uses nothing up */
        assert_ok(look(f, token, os_wall_now(), &view));
    }
    assert_int_equal(view.kind, LINK_INVITE);
    assert_text(view.user.email, "ada@example.com");
    assert_ok(use(f, token, os_wall_now(), &outcome));
    assert_int_equal(outcome.view.user.status, USER_ACTIVE);
    assert_text(outcome.view.user.name, "Ada L.");
    char used[256];
    assert_refused(f, use(f, token, os_wall_now(), &outcome), 20404, "not valid");
    (void)snprintf(used, sizeof used, "%s", f->refusal.message);
    assert_refused(f, look(f, token, os_wall_now(), &view), 20404, used);
    /* One that never was is told the same. */
    assert_refused(
        f, look(f, MR_STR("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), os_wall_now(), &view),
        20404, used);
    assert_refused(f, look(f, MR_STR(""), os_wall_now(), &view), 20404, used);
    assert_refused(f, look(f, MR_STR("short"), os_wall_now(), &view), 20404, used);
}

static void links_end_when_their_time_is_over(void **state) {
    struct fixture *f = *state;
    struct entry_view view;
    struct entry_outcome outcome;
    mr_str token = token_in(invite_ada(f).url);
    assert_ok(look(f, token, after(7 * DAY - 60000), &view));
    assert_refused(f, look(f, token, after(7 * DAY + 1000), &view), 20404, "not valid");
    assert_refused(f, use(f, token, after(7 * DAY + 1000), &outcome), 20404, "not valid");
    assert_ok(use(f, token, after(7 * DAY - 60000), &outcome));
}

static void another_link_ends_the_one_before(void **state) {
    struct fixture *f = *state;
    const struct link_maker maker = operator_of(f);
    struct link_made first = invite_ada(f);
    struct link_made second;
    struct entry_view view;
    assert_ok(invites_again(f->control, &maker, first.user.id, &f->arena, &second, &f->refusal));
    assert_refused(f, look(f, token_in(first.url), os_wall_now(), &view), 20404, "not valid");
    assert_ok(look(f, token_in(second.url), os_wall_now(), &view));
}

static void an_accepted_invite_is_not_sent_again(void **state) {
    struct fixture *f = *state;
    const struct link_maker maker = operator_of(f);
    struct link_made made = invite_ada(f);
    struct entry_outcome outcome;
    assert_ok(use(f, token_in(made.url), os_wall_now(), &outcome));
    struct link_made again;
    assert_refused(f,
                   invites_again(f->control, &maker, made.user.id, &f->arena, &again, &f->refusal),
                   20409, "accepted");
    assert_refused(
        f, invites_again(f->control, &maker, MR_STR("user_none"), &f->arena, &again, &f->refusal),
        20404, "");
}

static void nobody_lets_others_in_with_more_rights(void **state) {
    struct fixture *f = *state;
    struct link_maker maker = operator_of(f);
    struct link_made made;
    maker.scopes = (struct auth_scopes){{0}};
    maker.scopes.access[AUTH_RES_USERS] = AUTH_ALL;
    const char *const roles[] = {"admin", "developer", "default"};
    for (size_t i = 0; i < 3; i++) {
        char body[128];
        (void)snprintf(body, sizeof body, "{\"email\":\"a@b.example\",\"role\":\"%s\"}", roles[i]);
        assert_refused(
            f, invites_create(f->control, &maker, mr_str_c(body), &f->arena, &made, &f->refusal),
            20006, "more rights");
    }
    /* Nothing was left behind. */
    invite(f, "{\"email\":\"a@b.example\",\"role\":\"admin\"}");
}

static void an_admin_makes_no_link_for_the_owner(void **state) {
    struct fixture *f = *state;
    struct user_view *rows;
    size_t n = 0;
    struct link_made made;
    assert_ok(users_find_email(f->control, f->account, MR_STR("ops@example.com"), &f->arena, 1,
                               &rows, &n, &f->refusal));
    struct link_maker maker = operator_of(f);
    maker.editor.user = 4711; /* some user of the account */
    assert_refused(f, resets_make(f->control, &maker, rows[0].id, &f->arena, &made, &f->refusal),
                   20006, "Owner");
    maker.editor.account = 4711; /* of an account above */
    assert_ok(resets_make(f->control, &maker, rows[0].id, &f->arena, &made, &f->refusal));
    assert_false(mr_str_is_absent(made.url));
}

static void invites_need_a_fit_body(void **state) {
    struct fixture *f = *state;
    const struct link_maker maker = operator_of(f);
    static const struct {
        const char *body;
        int code;
        const char *part;
    } cases[] = {
        {"{}", 20002, "email"},
        {"{\"email\":\"a@b.example\"}", 20002, "role"},
        {"{\"email\":\"a@b.example\",\"role\":\"owner\"}", 20400, "role"},
        {"{\"email\":\"nobody\",\"role\":\"admin\"}", 20400, "email"},
        {"{\"email\":\"a@b\\r\\nBcc: c@d.e\",\"role\":\"admin\"}", 20400, "email"},
        {"{\"email\":\"x@account.portal.invalid\",\"role\":\"admin\"}", 20400, "email"},
        {"{\"email\":\"a@b.example\",\"role\":\"admin\",\"more\":1}", 20001, "more"},
        {"{\"email\":\"a@b.example\",\"role\":\"admin\",\"products\":[\"Fax\"]}", 20400,
         "products"},
        {"{\"email\":\"OPS@example.com\",\"role\":\"admin\"}", 20409, "already"},
        {"[]", 20400, ""},
        {"nonsense", 20400, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct link_made made;
        assert_refused(f,
                       invites_create(f->control, &maker, mr_str_c(cases[i].body), &f->arena, &made,
                                      &f->refusal),
                       cases[i].code, cases[i].part);
    }
}

static void neither_token_nor_text_lies_in_the_store(void **state) {
    struct fixture *f = *state;
    struct link_made made = invite_ada(f);
    mr_str token = token_in(made.url);
    assert_false(folder_holds(f, token));
    assert_true(folder_holds(f, MR_STR("ada@example.com"))); /* the search works */
    with_mail(f);
    invite(f, "{\"email\":\"bob@example.com\",\"role\":\"developer\"}");
    assert_true(folder_holds(f, MR_STR("bob@example.com")));
    assert_false(folder_holds(f, MR_STR("/links/")));
}

/* The mail that is due, its content as text in the arena. */
static mr_str take_mail(struct fixture *f, struct mail_due *due) {
    assert_ok(mails_next(f->control, os_wall_now(), &f->arena, due, &f->refusal));
    assert_true(due->number != 0);
    mr_str content = mr_arena_str(&f->arena, mr_secret_reveal(due->content));
    mr_secret_unref(&due->content);
    return content;
}

static void with_mail_the_link_is_mailed_alone(void **state) {
    struct fixture *f = *state;
    struct mail_due due;
    struct entry_view view;
    with_mail(f);
    struct link_made made = invite_ada(f);
    assert_true(mr_str_is_absent(made.url));
    assert_int_equal(*(int *)f->options.mail_ctx, 1);
    mr_str content = take_mail(f, &due);
    assert_text(due.recipient, "ada@example.com");
    assert_true(mr_str_starts(content, MR_STR("You are invited to Millrace\n")));
    assert_ok(look(f, token_in(content), os_wall_now(), &view));
    assert_ok(mails_postpone(f->control, due.number, mr_wall_ms(after(60000)), &f->refusal));
    assert_ok(mails_next(f->control, os_wall_now(), &f->arena, &due, &f->refusal));
    assert_int_equal(due.number, 0);
    assert_true(due.next_ms > mr_wall_ms(os_wall_now()) && due.next_ms != INT64_MAX);
    assert_ok(mails_next(f->control, after(61000), &f->arena, &due, &f->refusal));
    assert_int_equal(due.attempts, 1);
    mr_secret_unref(&due.content);
    /* With the link ends the mail. */
    assert_ok(mails_next(f->control, after(8 * DAY), &f->arena, &due, &f->refusal));
    assert_int_equal(due.number, 0);
    assert_int_equal(due.expired, 1);
    assert_int_equal(due.next_ms, INT64_MAX);
}

static void a_reset_is_mailed_to_active_users_only(void **state) {
    struct fixture *f = *state;
    struct mail_due due;
    struct entry_outcome outcome;
    assert_ok(use(f, token_in(invite_ada(f).url), os_wall_now(), &outcome));
    invite(f, "{\"email\":\"bob@example.com\",\"role\":\"developer\"}");
    with_mail(f);
    assert_ok(
        resets_request(f->control, MR_STR("nobody@example.com"), BASE, os_wall_now(), &f->refusal));
    assert_ok(
        resets_request(f->control, MR_STR("bob@example.com"), BASE, os_wall_now(), &f->refusal));
    assert_ok(mails_next(f->control, os_wall_now(), &f->arena, &due, &f->refusal));
    assert_int_equal(due.number, 0);
    assert_ok(
        resets_request(f->control, MR_STR("ADA@example.com"), BASE, os_wall_now(), &f->refusal));
    mr_str content = take_mail(f, &due);
    assert_text(due.recipient, "ada@example.com");
    assert_ok(mails_remove(f->control, due.number, &f->refusal));
    assert_ok(use(f, token_in(content), os_wall_now(), &outcome));
    assert_int_equal(outcome.view.kind, LINK_RESET);
    /* Told that it was changed. */
    content = take_mail(f, &due);
    assert_true(mr_str_find(content, MR_STR("Your password was changed")) != SIZE_MAX);
}

static void resets_are_slowed(void **state) {
    struct fixture *f = *state;
    int n = 0;
    while (n < 50 && mr_is_ok(resets_enter(f->control, MR_STR("a@b.example"), MR_STR("192.0.2.1"),
                                           &f->refusal))) {
        n++;
    }
    assert_true(n >= 3 && n <= 10);
    assert_int_equal(f->refusal.code, 20429);
    assert_true(f->refusal.retry_after_s >= 1);
    /* Case does not go around it; another name from elsewhere is free. */
    assert_refused(
        f, resets_enter(f->control, MR_STR("A@b.example"), MR_STR("192.0.2.1"), &f->refusal), 20429,
        "too often");
    assert_ok(resets_enter(f->control, MR_STR("c@d.example"), MR_STR("192.0.2.2"), &f->refusal));
}

static void a_portal_link_opens_a_session_of_the_accounts_portal_user(void **state) {
    struct fixture *f = *state;
    const struct link_maker maker = operator_of(f);
    struct link_made first;
    struct link_made second;
    struct entry_outcome outcome;
    assert_ok(portal_links_create(f->control, &maker,
                                  MR_STR("{\"return_url\":\"https://shop.example.com/back\"}"),
                                  &f->arena, &first, &f->refusal));
    assert_ok(
        portal_links_create(f->control, &maker, MR_STR("{}"), &f->arena, &second, &f->refusal));
    assert_int_equal(first.user.number, second.user.number);
    assert_int_equal(first.user.role, AUTH_ROLE_DEVELOPER);
    /* Several at a time, each good once, for five minutes. */
    assert_ok(use(f, token_in(first.url), os_wall_now(), &outcome));
    assert_int_equal(strlen(outcome.cookie), SESSION_COOKIE_CHARS);
    assert_text(outcome.view.return_url, "https://shop.example.com/back");
    assert_refused(f, use(f, token_in(first.url), os_wall_now(), &outcome), 20404, "not valid");
    assert_refused(f, use(f, token_in(second.url), after(301000), &outcome), 20404, "not valid");
    assert_ok(use(f, token_in(second.url), os_wall_now(), &outcome));
    /* No second factor is asked of who comes so, and from within nobody changes the user. */
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct model_user *user = snapshot_user(snapshot, first.user.number);
    assert_true(user->has_second_factor);
    assert_int_equal(user->scopes.access[AUTH_RES_SESSION], AUTH_READ | AUTH_DELETE);
    assert_int_equal(user->scopes.access[AUTH_RES_EVENT_STREAMS], AUTH_ALL);
    snapshot_unref(snapshot);
    /* Nobody can take the portal user over by a reset. */
    struct link_made made;
    assert_refused(f, resets_make(f->control, &maker, first.user.id, &f->arena, &made, &f->refusal),
                   20409, "person");
    const struct user_editor editor = {.account = f->account};
    struct user_view view;
    assert_ok(users_patch(f->control, &editor, f->account, first.user.id,
                          MR_STR("{\"status\":\"DISABLED\"}"), 0, &f->arena, &view, &f->refusal));
    assert_refused(
        f, portal_links_create(f->control, &maker, MR_STR("{}"), &f->arena, &made, &f->refusal),
        20409, "disabled");
}

static void portal_links_need_a_fit_body(void **state) {
    struct fixture *f = *state;
    struct link_maker maker = operator_of(f);
    struct link_made made;
    static const struct {
        const char *body;
        int code;
    } cases[] = {{"{\"role\":\"owner\"}", 20400},
                 {"{\"return_url\":\"http://a.example\"}", 20400},
                 {"{\"return_url\":\"javascript:alert(1)\"}", 20400},
                 {"{\"return_url\":\"https://a b\"}", 20400},
                 {"{\"other\":1}", 20001}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(f,
                       portal_links_create(f->control, &maker, mr_str_c(cases[i].body), &f->arena,
                                           &made, &f->refusal),
                       cases[i].code, "");
    }
    maker.scopes.access[AUTH_RES_WEBHOOKS] = AUTH_READ;
    assert_refused(
        f, portal_links_create(f->control, &maker, MR_STR("{}"), &f->arena, &made, &f->refusal),
        20006, "more rights");
}

static void a_folder_without_owner_is_set_up_by_link(void **state) {
    (void)state;
    struct fixture f;
    struct entry_view view;
    struct entry_outcome outcome;
    char token[LINK_TOKEN_SIZE];
    int64_t expires_ms = 0;
    bool waits = false;
    fixture_bare(&f);
    assert_ok(control_init_unowned(&f.options, &f.refusal));
    assert_ok(control_open(&f.options, &f.control, &f.refusal));
    f.account = control_root_account(f.control);
    assert_ok(links_setup_waits(f.control, &waits));
    assert_true(waits);
    assert_ok(change_begin(f.control, &f.refusal));
    assert_ok(change_end(f.control,
                         links_make(f.control, LINK_SETUP, f.account, 0, MR_STR_NONE, os_wall_now(),
                                    token, &expires_ms),
                         &f.refusal));
    assert_ok(look(&f, mr_str_c(token), after(1000 * DAY), &view));
    struct entry_form form;
    assert_refused(&f,
                   entry_judge(&view,
                               MR_STR("{\"account_name\":\"A\",\"email\":\"x\",\"name\":"
                                      "\"Ada\",\"password\":\"correct horse battery\"}"),
                               &f.arena, &form, &f.refusal),
                   20400, "email");
    assert_refused(&f,
                   entry_judge(&view,
                               MR_STR("{\"account_name\":\"A\",\"email\":\"x@y.z\",\"name\":"
                                      "\"Ada\",\"password\":\"short\"}"),
                               &f.arena, &form, &f.refusal),
                   20400, "12");
    assert_ok(entry_judge(&view,
                          MR_STR("{\"account_name\":\"A\",\"email\":\"X@y.z\",\"name\":"
                                 "\"Ada\",\"password\":\"correct horse battery\"}"),
                          &f.arena, &form, &f.refusal));
    const struct entry_caller caller = {MR_STR("127.0.0.1"), MR_STR("test")};
    assert_ok(entry_use(f.control, mr_str_c(token), &form, some_hash, &caller, os_wall_now(),
                        &f.arena, &outcome, &f.refusal));
    assert_text(outcome.view.user.email, "x@y.z");
    assert_text(outcome.view.account_name, "A");
    assert_int_equal(outcome.view.user.role, AUTH_ROLE_OWNER);
    assert_ok(links_setup_waits(f.control, &waits));
    assert_false(waits);
    assert_refused(&f,
                   entry_use(f.control, mr_str_c(token), &form, some_hash, &caller, os_wall_now(),
                             &f.arena, &outcome, &f.refusal),
                   20404, "not valid");
    fixture_done(&f);
}

int main(void) {
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(an_invite_is_good_once),
        WITH_STORE(links_end_when_their_time_is_over),
        WITH_STORE(another_link_ends_the_one_before),
        WITH_STORE(an_accepted_invite_is_not_sent_again),
        WITH_STORE(nobody_lets_others_in_with_more_rights),
        WITH_STORE(an_admin_makes_no_link_for_the_owner),
        WITH_STORE(invites_need_a_fit_body),
        WITH_STORE(neither_token_nor_text_lies_in_the_store),
        WITH_STORE(with_mail_the_link_is_mailed_alone),
        WITH_STORE(a_reset_is_mailed_to_active_users_only),
        WITH_STORE(resets_are_slowed),
        WITH_STORE(a_portal_link_opens_a_session_of_the_accounts_portal_user),
        WITH_STORE(portal_links_need_a_fit_body),
        cmocka_unit_test(a_folder_without_owner_is_set_up_by_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
