/* `millrace apply`: brings an account to what a file of declarations says. The file is read and
 * judged, then the account is asked and the whole way is planned, before anything is changed; what
 * the file does not name is left alone unless --prune asks for its end. */
#include "cli/cli.h"
#include "cli/client.h"

#include "cli/apply/run.h"
#include "base/mem.h"
#include "os/files.h"

#include <errno.h>
#include <stdio.h>

enum apply_option {
    APPLY_DRY_RUN = 0,
    APPLY_PRUNE,
    APPLY_YES,
    APPLY_REWRITE,
    APPLY_SECRETS_OUT,
    APPLY_JSON,
    APPLY_OPTIONS,
};

/* The folder is there and can be written before a secret is made. */
static bool check_secrets_dir(const char *dir) {
    const struct os_files *files = &os_files_system;
    mr_err err = files->mkdir(files->ctx, dir);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        cli_problem("could not make the folder %s: %s", dir, strerror(errno));
        return false;
    }
    if (mr_is_err(os_file_replace(files, dir, ".millrace-apply", MR_STR("")))) {
        cli_problem("could not write to the folder %s: %s", dir, strerror(errno));
        return false;
    }
    char path[4200];
    snprintf(path, sizeof path, "%s/.millrace-apply", dir);
    mr_ignore(files->unlink(files->ctx, path), "an empty file is left");
    return true;
}

static bool may_delete(const struct plan *plan, bool is_agreed) {
    char question[160];
    if (plan->counts[STEP_DELETE] == 0 || is_agreed) {
        return true;
    }
    for (size_t i = 0; i < plan->n; i++) {
        if (plan->steps[i].op == STEP_DELETE) {
            fprintf(stderr, "to delete: %s %.*s (%.*s)\n",
                    declared_kind_info(plan->steps[i].kind)->singular, MR_FMT(plan->steps[i].name),
                    MR_FMT(plan->steps[i].id));
        }
    }
    snprintf(
        question, sizeof question,
        "Delete %zu that the file does not name? Type yes to go on: ", plan->counts[STEP_DELETE]);
    if (cli_ask(question)) {
        return true;
    }
    cli_problem("nothing was changed: deleting was not agreed to (--yes agrees beforehand)");
    return false;
}

static int carry_out(struct plan *plan, struct cli_client *client,
                     const struct cli_option options[static APPLY_OPTIONS]) {
    bool as_json = options[APPLY_JSON].is_given;
    if (options[APPLY_DRY_RUN].is_given) {
        plan_print(plan, as_json);
        return plan_has_work(plan) ? CLI_NO : CLI_OK;
    }
    const struct run_options run = {.secrets_dir = options[APPLY_SECRETS_OUT].value,
                                    .as_json = as_json};
    if (!may_delete(plan, options[APPLY_YES].is_given) ||
        (run.secrets_dir != NULL && !check_secrets_dir(run.secrets_dir))) {
        return CLI_NO;
    }
    bool ok = run_plan(plan, client, &run);
    if (as_json) {
        plan_print(plan, true);
    } else if (ok) {
        plan_print_done(plan);
    }
    return ok ? CLI_OK : CLI_NO;
}

static int apply_document(const struct document *document,
                          const struct cli_option options[static APPLY_OPTIONS]) {
    const struct plan_options plan_options = {.prunes = options[APPLY_PRUNE].is_given,
                                              .rewrites = options[APPLY_REWRITE].is_given};
    struct cli_client *client = cli_client_new();
    if (client == NULL) {
        return CLI_USAGE;
    }
    struct plan plan;
    int code = CLI_NO;
    if (plan_make(&plan, document, &plan_options, client)) {
        code = carry_out(&plan, client, options);
    }
    plan_done(&plan);
    cli_client_free(client);
    return code;
}

int cli_apply(int argc, char **argv) {
    struct cli_option options[APPLY_OPTIONS] = {
        [APPLY_DRY_RUN] = {.name = "dry-run", .is_flag = true},
        [APPLY_PRUNE] = {.name = "prune", .is_flag = true},
        [APPLY_YES] = {.name = "yes", .is_flag = true},
        [APPLY_REWRITE] = {.name = "rewrite", .is_flag = true},
        [APPLY_SECRETS_OUT] = {.name = "secrets-out"},
        [APPLY_JSON] = {.name = "json", .is_flag = true}};
    const char *path;
    size_t n;
    if (!cli_options(argc, argv, options, APPLY_OPTIONS, &path, 1, &n, "apply")) {
        return CLI_USAGE;
    }
    if (n != 1) {
        return cli_usage_error("apply", "the file is needed (- for standard input)");
    }
    mr_str text;
    if (!cli_read_file(path, DOCUMENT_BYTES_MAX, &text)) {
        return CLI_USAGE;
    }
    struct document document;
    int code = CLI_USAGE;
    if (document_read(&document, strcmp(path, "-") == 0 ? "standard input" : path, text) &&
        declared_check(&document)) {
        code = apply_document(&document, options);
    }
    document_done(&document);
    mr_free((void *)(uintptr_t)text.ptr);
    return code;
}
