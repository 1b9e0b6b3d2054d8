/* `millrace users`. */
#include "cli/cli.h"

int cli_users(int argc, char **argv) {
    if (argc > 0 && strcmp(argv[0], "set-password") == 0) {
        return cli_users_set_password(argc - 1, argv + 1);
    }
    struct cli_option none[1] = {{.name = "data"}};
    const char *action = NULL;
    size_t n;
    if (!cli_options(argc, argv, none, 0, &action, 1, &n, "users")) {
        return CLI_USAGE;
    }
    return n == 0 ? cli_usage_error("users", "say what to do")
                  : cli_usage_error("users", "unknown action \"%s\"", action);
}
