/* `millrace rotate-master-key`: another master key for a folder that is not served, everything in
 * its store sealed anew. control/store/master.h tells why it may be cut off at any point. */
#include "cli/cli.h"
#include "cli/folder.h"

#include <stdio.h>

static void tell(const struct control_rotated *rotated, const char *file) {
    printf("Sealed %u values with a new master key.\n", rotated->n_values);
    if (file == NULL) {
        printf("It lies in %s; the old one is gone.\n", rotated->present);
    } else {
        printf("It lies in %s: name it with master_key_file, or give it to the service manager, "
               "before the next start. The one in %s opens nothing here any more.\n",
               file, rotated->present);
    }
    printf("Backups made before now need the old key: keep the copy of it as long as them.\n");
}

int cli_rotate_master_key(int argc, char **argv) {
    enum { DATA = 0, FILE_OF_KEY };
    struct cli_option options[] = {{.name = "data"}, {.name = "new-key-file"}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "rotate-master-key")) {
        return CLI_USAGE;
    }
    if (options[DATA].value == NULL) {
        return cli_usage_error("rotate-master-key", "--data is needed");
    }
    struct cli_folder folder;
    struct control_rotated rotated;
    struct refusal refusal = {0};
    int code = cli_folder_open(options[DATA].value, &folder);
    if (code == CLI_OK) {
        mr_err err = control_rotate_master_key(folder.control, options[FILE_OF_KEY].value, &rotated,
                                               &refusal);
        if (mr_is_ok(err)) {
            tell(&rotated, options[FILE_OF_KEY].value);
        } else {
            cli_problem("%s", refusal.message);
            code = mr_err_is(err, CONTROL_E_MASTER_KEY) ? CLI_USAGE : CLI_NO;
        }
    }
    cli_folder_close(&folder);
    return code;
}
