/* `millrace secrets`: the account's webhook secrets. `rotate` is the whole way of a new secret in
 * one command: make it, show it once, wait until the receivers have it, activate it. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/folder.h"
#include "cli/resource.h"

#include "base/mem.h"
#include "control/jobs.h"
#include "control/secrets.h"
#include "crypto/secret.h"
#include "json/write.h"

#include <stdio.h>

#define SECRETS_MAX ((size_t)1 << 20)

/* ---- import ---- */

/* What the import needs on the way through a job. */
struct import_job {
    struct control_job job; /* first */
    mr_str name;
    mr_str value;
    mr_arena arena;
    mr_buf out;
};

static mr_err run_import(struct control *control, struct control_job *job) {
    struct import_job *import = (struct import_job *)(void *)job;
    struct secret_view view;
    MR_TRY(secrets_import(control, control_root_account(control), import->name, import->value,
                          &import->arena, &view, &job->refusal));
    return secret_write_json(&view, &import->out);
}

static void import_done(struct control_job *job) {
    (void)job; /* run in this thread: the caller looks at it */
}

static int import_into(const char *data, mr_str name, mr_str value) {
    struct cli_folder folder;
    int code = cli_folder_open(data, &folder);
    if (code == CLI_OK) {
        struct import_job import = {
            .job = {.run = run_import, .done = import_done}, .name = name, .value = value};
        mr_arena_init(&import.arena, CLI_FOLDER_BYTES);
        mr_buf_init(&import.out, CLI_FOLDER_BYTES);
        control_run_here(folder.control, &import.job);
        if (mr_is_err(import.job.err)) {
            cli_problem("%s", import.job.refusal.message);
            code = CLI_NO;
        } else {
            cli_print(mr_buf_view(&import.out));
            cli_print(MR_STR("\n"));
        }
        mr_arena_done(&import.arena);
        mr_buf_done(&import.out);
    }
    cli_folder_close(&folder);
    return code;
}

static int import_secret(int argc, char **argv) {
    struct cli_option options[] = {{.name = "data"}, {.name = "name"}};
    const char *file;
    size_t n;
    if (!cli_options(argc, argv, options, 2, &file, 1, &n, "secrets")) {
        return CLI_USAGE;
    }
    if (options[0].value == NULL || options[1].value == NULL || n != 1) {
        return cli_usage_error("secrets",
                               "import needs --data, --name and the file with the value");
    }
    mr_str value;
    if (!cli_read_line_file(file, &value)) {
        return CLI_USAGE;
    }
    int code = import_into(options[0].value, mr_str_c(options[1].value), value);
    crypto_wipe((void *)(uintptr_t)value.ptr, value.len);
    mr_free((void *)(uintptr_t)value.ptr);
    return code;
}

/* ---- rotate ---- */

/* What the answer to a created secret says; texts in arena. */
struct made_secret {
    mr_str id, status, value;
};

/* False: printed. */
static bool read_made(mr_str body, mr_arena *arena, struct made_secret *ret_made) {
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    bool ok = mr_is_ok(json_tape_read(&tape, body, NULL));
    json_value root = json_root(&tape);
    const struct {
        const char *name;
        mr_str *to;
    } members[] = {
        {"id", &ret_made->id}, {"status", &ret_made->status}, {"secret", &ret_made->value}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        mr_str text = MR_STR_NONE;
        ok = ok && mr_is_ok(json_string(json_find(root, mr_str_c(members[i].name)), arena, &text));
        *members[i].to = ok ? mr_arena_str(arena, text) : MR_STR_NONE;
        ok = ok && !mr_str_is_absent(*members[i].to);
    }
    json_tape_done(&tape);
    if (!ok) {
        cli_problem("could not read the server's answer");
    }
    return ok;
}

static int activate(struct cli_client *client, mr_str id, struct cli_answer *answer) {
    char path[256];
    snprintf(path, sizeof path, "/v1/secrets/%.*s", MR_FMT(id));
    cli_call_if(client, "PATCH", path, NULL, MR_STR("{\"Status\":\"active\"}"), answer);
    if (answer->status != 200) {
        int code = cli_show_answer(answer);
        fprintf(stderr,
                "The new secret is pending still; `millrace secrets activate %.*s` makes "
                "it the active one.\n",
                MR_FMT(id));
        return code;
    }
    fprintf(stderr, "Active: every request is signed with the new secret from now on; the old one "
                    "is gone.\n");
    return CLI_OK;
}

/* The new secret is there: shows it, waits for the word, activates it. */
static int confirm_and_activate(struct cli_client *client, const struct made_secret *made,
                                bool is_agreed, struct cli_answer *answer) {
    cli_print(made->value);
    cli_print(MR_STR("\n"));
    fflush(stdout);
    if (mr_str_eq(made->status, MR_STR("active"))) {
        fprintf(stderr,
                "This is the account's first secret, %.*s: it is active at once. Keep it; "
                "it is not shown again.\n",
                MR_FMT(made->id));
        return CLI_OK;
    }
    fprintf(stderr,
            "This is the new secret, %.*s, pending. Keep it; it is not shown again. Give "
            "it to every receiver beside the old one.\n",
            MR_FMT(made->id));
    if (!is_agreed && !cli_ask("Do all receivers accept both? Activating cannot be undone. Type "
                               "yes to activate: ")) {
        fprintf(stderr,
                "Not activated; requests are signed with the old secret. `millrace secrets "
                "activate %.*s` activates the new one.\n",
                MR_FMT(made->id));
        return CLI_NO;
    }
    return activate(client, made->id, answer);
}

static mr_err write_name(const char *name, mr_buf *body) {
    json_out out;
    json_out_init(&out, body);
    json_out_object(&out);
    json_out_member_c(&out, "Name", name);
    json_out_end(&out);
    return json_out_finish(&out);
}

static int rotate_secret(int argc, char **argv) {
    struct cli_option options[] = {{.name = "name"}, {.name = "yes", .is_flag = true}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "secrets")) {
        return CLI_USAGE;
    }
    struct cli_client *client = cli_client_new();
    if (client == NULL) {
        return CLI_USAGE;
    }
    struct cli_answer answer = {0};
    struct made_secret made;
    mr_arena arena;
    mr_buf body;
    int code = CLI_NO;
    mr_arena_init(&arena, SECRETS_MAX);
    mr_buf_init(&body, SECRETS_MAX);
    const char *name = options[0].value != NULL ? options[0].value : "rotated";
    if (!mr_str_is_utf8(mr_str_c(name)) || mr_is_err(write_name(name, &body))) {
        code = cli_usage_error("secrets", "--name takes text in UTF-8");
    } else {
        cli_call_if(client, "POST", "/v1/secrets", NULL, mr_buf_view(&body), &answer);
        if (answer.status != 201) {
            code = cli_show_answer(&answer);
        } else if (read_made(mr_buf_view(&answer.body), &arena, &made)) {
            code = confirm_and_activate(client, &made, options[1].is_given, &answer);
            crypto_wipe((void *)(uintptr_t)made.value.ptr, made.value.len);
        }
    }
    mr_buf_done(&body);
    mr_arena_done(&arena);
    cli_answer_done(&answer);
    cli_client_free(client);
    return code;
}

int cli_secrets(int argc, char **argv) {
    static const struct resource_action actions[] = {
        {"list", RESOURCE_NOTHING, "GET", "?page_size=1000", NULL},
        {"create", RESOURCE_FILE, "POST", "", NULL},
        {"update", RESOURCE_ID_FILE, "PATCH", "", NULL},
        {"activate", RESOURCE_ID, "PATCH", "", "{\"Status\":\"active\"}"},
    };
    const struct resource resource = {"secrets", "/v1/secrets", actions,
                                      sizeof actions / sizeof actions[0]};
    if (argc > 0 && strcmp(argv[0], "import") == 0) {
        return import_secret(argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "rotate") == 0) {
        return rotate_secret(argc - 1, argv + 1);
    }
    return resource_run(&resource, argc, argv);
}
