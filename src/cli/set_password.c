/* `millrace users set-password`: for an operator who lost access, on a folder that is not served.
 * Whoever can read the folder and its master key needs no other right. */
#include "cli/cli.h"
#include "cli/folder.h"

#include "base/mem.h"
#include "control/jobs.h"
#include "control/people/passwords.h"
#include "control/people/users.h"
#include "crypto/secret.h"

#include <stdio.h>

#define FOUND_MAX 64

/* What it needs on the way through a job. */
struct password_job {
    struct control_job job; /* first */
    mr_str email;
    mr_str account_id; /* absent: the e-mail must be a user of one account alone */
    mr_str password;
    mr_arena arena;
    struct user_view user;
};

static mr_err find_user(struct control *control, struct password_job *ask) {
    struct user_view *rows;
    size_t n = 0;
    size_t n_meant = 0;
    MR_TRY(users_find_email(control, 0, ask->email, &ask->arena, FOUND_MAX, &rows, &n,
                            &ask->job.refusal));
    for (size_t i = 0; i < n; i++) {
        if (mr_str_is_absent(ask->account_id) || mr_str_eq(rows[i].account_id, ask->account_id)) {
            ask->user = rows[i];
            n_meant++;
        }
    }
    if (n_meant == 0) {
        return refuse(&ask->job.refusal, REFUSAL_NOT_FOUND, "there is no such user");
    }
    return n_meant == 1
               ? MR_OK
               : refuse(&ask->job.refusal, REFUSAL_INVALID_ACCOUNT,
                        "the e-mail is a user of %zu accounts: name one with --account", n_meant);
}

static mr_err run_set(struct control *control, struct control_job *job) {
    struct password_job *ask = (struct password_job *)(void *)job;
    MR_TRY(find_user(control, ask));
    const struct password_context context = {ask->user.email, ask->user.name, MR_STR_NONE};
    MR_TRY(password_judge(ask->password, &context, &job->refusal));
    struct password_task task = {.is_hashing = true};
    bool fits = password_task_set(&task, ask->password);
    MR_ASSERT(fits); /* judged before */
    passwords_run_here(&task);
    MR_TRY(task.err);
    return users_reset_password(control, ask->user.number, mr_str_c(task.new_hash), &job->refusal);
}

static void set_done(struct control_job *job) {
    (void)job; /* run in this thread: the caller looks at it */
}

static int set_in(struct control *control, mr_str email, mr_str account_id, mr_str password) {
    struct password_job ask = {.job = {.run = run_set, .done = set_done},
                               .email = email,
                               .account_id = account_id,
                               .password = password};
    mr_arena_init(&ask.arena, CLI_FOLDER_BYTES);
    control_run_here(control, &ask.job);
    int code = CLI_OK;
    if (mr_is_err(ask.job.err)) {
        cli_problem("users: %s",
                    ask.job.refusal.message[0] != '\0' ? ask.job.refusal.message : "out of memory");
        code = CLI_NO;
    } else {
        printf("Set the password of %.*s (%.*s).\n", MR_FMT(ask.user.email), MR_FMT(ask.user.id));
    }
    mr_arena_done(&ask.arena);
    return code;
}

static int open_and_set(const char *data, mr_str email, mr_str account_id, mr_str password) {
    struct cli_folder folder;
    int code = cli_folder_open(data, &folder);
    if (code == CLI_OK) {
        code = set_in(folder.control, email, account_id, password);
    }
    cli_folder_close(&folder);
    return code;
}

int cli_users_set_password(int argc, char **argv) {
    enum { DATA = 0, EMAIL, PASSWORD_FILE, ACCOUNT };
    struct cli_option options[] = {
        {.name = "data"}, {.name = "email"}, {.name = "password-file"}, {.name = "account"}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 4, args, 0, &n, "users")) {
        return CLI_USAGE;
    }
    if (options[DATA].value == NULL || options[EMAIL].value == NULL ||
        options[PASSWORD_FILE].value == NULL) {
        return cli_usage_error("users", "set-password needs --data, --email and --password-file");
    }
    mr_str password;
    if (!cli_read_line_file(options[PASSWORD_FILE].value, &password)) {
        return CLI_USAGE;
    }
    int code = open_and_set(options[DATA].value, mr_str_c(options[EMAIL].value),
                            mr_str_c(options[ACCOUNT].value), password);
    crypto_wipe((void *)(uintptr_t)password.ptr, password.len);
    mr_free((void *)(uintptr_t)password.ptr);
    return code;
}
