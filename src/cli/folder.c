/* Opening a data folder for a command. See folder.h. */
#include "cli/folder.h"

#include "cli/cli.h"

#include "crypto/secret.h"
#include "os/process.h"

#include <string.h>

int cli_folder_open(const char *data, struct cli_folder *folder) {
    struct config_error error;
    struct refusal refusal = {0};
    memset(folder, 0, sizeof *folder);
    if (mr_is_err(config_init(&folder->config))) {
        cli_problem("could not start: out of memory");
        return CLI_NO;
    }
    if (mr_is_err(config_load_env(&folder->config, os_environment(), &error))) {
        cli_problem("%s", error.text);
        return CLI_USAGE;
    }
    const char *key_file = folder->config.master_key_file;
    mr_err err = secret_slab_new(CLI_FOLDER_BYTES, &folder->slab);
    if (mr_is_ok(err)) {
        const struct control_options options = {
            .dir = data,
            .master_key_file = key_file[0] != '\0' ? key_file : NULL,
            .credentials_dir = os_environment_get("CREDENTIALS_DIRECTORY"),
            .slab = folder->slab};
        err = control_open(&options, &folder->control, &refusal);
    }
    if (mr_is_ok(err)) {
        return CLI_OK;
    }
    cli_problem("%s", refusal.message[0] != '\0' ? refusal.message : "out of memory");
    return mr_err_is(err, MR_E_BUSY) || mr_err_is(err, CONTROL_E_NEWER) ? CLI_IN_USE : CLI_USAGE;
}

void cli_folder_close(struct cli_folder *folder) {
    control_close(folder->control);
    secret_slab_free(folder->slab);
    config_done(&folder->config);
}
