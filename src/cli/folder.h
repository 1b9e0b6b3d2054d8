/* A data folder that is not served, opened by a command that works on it: with the settings of the
 * environment, refused where another process holds it. */
#ifndef MR_CLI_FOLDER_H
#define MR_CLI_FOLDER_H

#include "control/control.h"
#include "server/config.h"

#define CLI_FOLDER_BYTES ((size_t)1 << 20) /* of secrets, and of what a command reads */

struct cli_folder {
    struct config config;
    struct secret_slab *slab;
    struct control *control;
};
/* CLI_OK; CLI_USAGE, CLI_IN_USE: the problem was printed. data must outlive the folder. In every
 * case cli_folder_close follows. */
int cli_folder_open(const char *data, struct cli_folder *folder);
void cli_folder_close(struct cli_folder *folder);

#endif
