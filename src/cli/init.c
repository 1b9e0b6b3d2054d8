/* `millrace init`: a data folder with its root account, an owner, an API client with every right.
 */
#include "cli/cli.h"
#include "control/control.h"
#include "os/process.h"
#include "server/config.h"

#include "crypto/secret.h"
#include "json/write.h"

#include <stdio.h>

#define SECRETS_MAX ((size_t)1 << 20)

static int print_result(const struct control_init_result *result, bool as_json, const char *data) {
    if (as_json) {
        printf("{\"account_id\":\"%s\",\"client_id\":\"%s\",\"client_secret\":\"%s\"}\n",
               result->account_id, result->client_id, result->client_secret);
        return CLI_OK;
    }
    printf("Made the data folder %s.\n\n"
           "account        %s\nAPI client     %s\nclient secret  %s\n\n"
           "The secret is shown this once: keep it. For the client commands:\n\n"
           "  export MILLRACE_CLIENT_ID=%s\n  export MILLRACE_CLIENT_SECRET=%s\n\n"
           "Next: millrace serve --data %s\n",
           data, result->account_id, result->client_id, result->client_secret, result->client_id,
           result->client_secret, data);
    return CLI_OK;
}

int cli_init(int argc, char **argv) {
    struct cli_option options[] = {{.name = "data"},
                                   {.name = "owner"},
                                   {.name = "json", .is_flag = true},
                                   {.name = "master-key-file"}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 4, args, 0, &n, "init")) {
        return CLI_USAGE;
    }
    if (options[0].value == NULL || options[1].value == NULL) {
        return cli_usage_error("init", "--data and --owner are needed");
    }
    struct config config;
    struct config_error error;
    if (mr_is_err(config_init(&config))) {
        cli_problem("could not start: out of memory");
        return CLI_NO;
    }
    if (mr_is_err(config_load_env(&config, os_environment(), &error))) {
        cli_problem("%s", error.text);
        config_done(&config);
        return CLI_USAGE;
    }
    const char *key_file = options[3].value != NULL            ? options[3].value
                           : config.master_key_file[0] != '\0' ? config.master_key_file
                                                               : NULL;
    struct secret_slab *slab = NULL;
    struct control_init_result result;
    struct refusal refusal = {0};
    mr_err err = secret_slab_new(SECRETS_MAX, &slab);
    if (mr_is_ok(err)) {
        const struct control_options control = {.dir = options[0].value,
                                                .master_key_file = key_file,
                                                .credentials_dir =
                                                    os_environment_get("CREDENTIALS_DIRECTORY"),
                                                .slab = slab};
        err = control_init(&control, mr_str_c(options[1].value), &result, &refusal);
    }
    int code = CLI_NO;
    if (mr_is_ok(err)) {
        code = print_result(&result, options[2].is_given, options[0].value);
        crypto_wipe(&result, sizeof result);
    } else {
        cli_problem("%s", refusal.message[0] != '\0' ? refusal.message : "could not start");
        if (mr_err_is(err, CONTROL_E_REFUSED) || mr_err_is(err, CONTROL_E_MASTER_KEY)) {
            code = CLI_USAGE;
        } else if (mr_err_is(err, MR_E_BUSY) || mr_err_is(err, CONTROL_E_NEWER)) {
            code = CLI_IN_USE;
        }
    }
    secret_slab_free(slab);
    config_done(&config);
    return code;
}

int cli_version(int argc, char **argv) {
    (void)argv;
    if (argc > 0) {
        return cli_usage_error("version", "takes no arguments");
    }
    printf("millrace %s\n", MILLRACE_VERSION);
    return CLI_OK;
}
