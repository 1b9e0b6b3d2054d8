/* The table of commands, help, options. See cli.h. */
#include "cli/cli.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "os/files.h"
#include "os/process.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define STDIN_MAX ((size_t)1 << 30)

static const struct cli_command commands[] = {
#define CLI_ROW(symbol, name, usage, summary) {name, usage, summary, cli_##symbol},
    CLI_COMMANDS(CLI_ROW)
#undef CLI_ROW
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

const struct cli_command *cli_commands(size_t *ret_n) {
    *ret_n = N_COMMANDS;
    return commands;
}

static void print_help(FILE *to) {
    fprintf(to, "millrace %s: event streams, self-hosted\n\nusage: millrace COMMAND …\n\n",
            MILLRACE_VERSION);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(to, "\n`millrace help COMMAND` shows how a command is called.\n"
                "Client commands read MILLRACE_URL, MILLRACE_CLIENT_ID, MILLRACE_CLIENT_SECRET, "
                "MILLRACE_CA_FILE, MILLRACE_ACCOUNT_ID.\n");
}

static const struct cli_command *find_command(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int help(int argc, char **argv) {
    if (argc < 3) {
        print_help(stdout);
        return CLI_OK;
    }
    if (argc > 3) {
        cli_problem("help tells of one command at a time; see `millrace help`");
        return CLI_USAGE;
    }
    const struct cli_command *command = find_command(argv[2]);
    if (command == NULL) {
        cli_problem("there is no command \"%s\"; see `millrace help`", argv[2]);
        return CLI_USAGE;
    }
    printf("usage: millrace %s\n\n%s.\n", command->usage, command->summary);
    return CLI_OK;
}

bool cli_is_local(const char *command, mr_str action) {
    static const char *const local[][2] = {
        {"schema", "check"}, {"secrets", "import"}, {"users", "set-password"}};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++) {
        if (strcmp(command, local[i][0]) == 0 && mr_str_eq(action, mr_str_c(local[i][1]))) {
            return true;
        }
    }
    return false;
}

/* Whether this form of the command calls the API, so that it may name an account. */
static bool takes_account(const struct cli_command *command, int argc, char **argv) {
    return mr_str_find(mr_str_c(command->usage), MR_STR("[--account ID]")) != SIZE_MAX &&
           !(argc > 0 && cli_is_local(command->name, mr_str_c(argv[0])));
}

static bool is_account_id(const char *text) {
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
            return false;
        }
    }
    return len > 0 && len <= 64;
}

/* Takes `--account ID` out of the arguments into the environment, where the client looks for it.
 * Gives how many arguments are left, -1 where it is wrong (printed). */
static int take_account(const struct cli_command *command, int argc, char **argv) {
    int left = 0;
    for (int i = 0; i < argc; i++) {
        mr_str arg = mr_str_c(argv[i]);
        bool is_over = mr_str_eq(arg, MR_STR("--"));
        if (is_over ||
            !(mr_str_eq(arg, MR_STR("--account")) || mr_str_starts(arg, MR_STR("--account=")))) {
            argv[left++] = argv[i];
            for (; is_over && i + 1 < argc; i++) {
                argv[left++] = argv[i + 1];
            }
            continue;
        }
        const char *value = arg.len > 9 ? argv[i] + 10 : i + 1 < argc ? argv[++i] : NULL;
        if (value == NULL || value[0] == '\0') {
            cli_usage_error(command->name, "--account needs a value");
            return -1;
        }
        if (!is_account_id(value)) {
            cli_usage_error(command->name,
                            "--account: \"%s\" is no id: `millrace accounts list` shows them",
                            value);
            return -1;
        }
        if (mr_is_err(os_environment_set(CLI_ACCOUNT_VARIABLE, value))) {
            cli_problem("out of memory");
            return -1;
        }
    }
    return left;
}

int cli_main(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        return help(argc, argv);
    }
    const struct cli_command *command =
        find_command(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (command == NULL) {
        cli_problem("there is no command \"%s\"; see `millrace help`", argv[1]);
        return CLI_USAGE;
    }
    if (argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        printf("usage: millrace %s\n\n%s.\n", command->usage, command->summary);
        return CLI_OK;
    }
    crypto_clean_openssl();
    int left = argc - 2;
    if (takes_account(command, left, argv + 2) &&
        (left = take_account(command, left, argv + 2)) < 0) {
        return CLI_USAGE;
    }
    return command->run(left, argv + 2);
}

void cli_problem(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "millrace: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
}

int cli_usage_error(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "millrace %s: ", command);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    const struct cli_command *known = find_command(command);
    if (known != NULL) {
        fprintf(stderr, "usage: millrace %s\n", known->usage);
    }
    return CLI_USAGE;
}

static struct cli_option *find_option(struct cli_option *options, size_t n, mr_str name) {
    for (size_t i = 0; i < n; i++) {
        if (mr_str_eq(mr_str_c(options[i].name), name)) {
            return &options[i];
        }
    }
    return NULL;
}

bool cli_options(int argc, char **argv, struct cli_option *options, size_t n_options,
                 const char **args, size_t args_max, size_t *ret_n, const char *command) {
    *ret_n = 0;
    bool options_over = false;
    for (int i = 0; i < argc; i++) {
        mr_str arg = mr_str_c(argv[i]);
        if (!options_over && mr_str_eq(arg, MR_STR("--"))) {
            options_over = true;
            continue;
        }
        if (options_over || !mr_str_starts(arg, MR_STR("--"))) {
            if (*ret_n == args_max) {
                cli_usage_error(command, "one argument too many: \"%s\"", argv[i]);
                return false;
            }
            args[(*ret_n)++] = argv[i];
            continue;
        }
        size_t equals = mr_str_find_byte(arg, '=', 0);
        mr_str name = mr_str_slice(arg, 2, equals == SIZE_MAX ? arg.len : equals);
        struct cli_option *option = find_option(options, n_options, name);
        if (option == NULL) {
            cli_usage_error(command, "unknown option --%.*s", MR_FMT(name));
            return false;
        }
        option->is_given = true;
        if (option->is_flag) {
            if (equals != SIZE_MAX) {
                cli_usage_error(command, "--%s takes no value", option->name);
                return false;
            }
        } else if (equals != SIZE_MAX) {
            option->value = argv[i] + equals + 1;
        } else if (i + 1 < argc) {
            option->value = argv[++i];
        } else {
            cli_usage_error(command, "--%s needs a value", option->name);
            return false;
        }
        if (option->value != NULL && option->value[0] == '\0') {
            cli_usage_error(command, "--%s needs a value that is not empty", option->name);
            return false;
        }
    }
    return true;
}

static bool read_stdin(size_t size_max, mr_str *ret_text) {
    mr_buf text;
    mr_buf_init(&text, size_max);
    for (;;) {
        char *at;
        if (mr_is_err(mr_buf_reserve(&text, 65536, &at))) {
            cli_problem("standard input is larger than %zu bytes", size_max);
            mr_buf_done(&text);
            return false;
        }
        size_t n = fread(at, 1, 65536, stdin);
        mr_buf_commit(&text, n);
        if (n == 0) {
            break;
        }
    }
    *ret_text = mr_str_of(text.ptr, text.len);
    return true;
}

bool cli_read_file(const char *path, size_t size_max, mr_str *ret_text) {
    if (strcmp(path, "-") == 0) {
        return read_stdin(size_max < STDIN_MAX ? size_max + 65536 : STDIN_MAX, ret_text);
    }
    mr_err err = os_file_load(&os_files_system, path, size_max, ret_text);
    if (mr_err_is(err, MR_E_LIMIT)) {
        cli_problem("could not read %s: it is larger than %zu bytes", path, size_max);
    } else if (mr_is_err(err)) {
        cli_problem("could not read %s: %s", path, strerror(errno));
    }
    return mr_is_ok(err);
}

bool cli_read_line_file(const char *path, mr_str *ret_text) {
    if (!cli_read_file(path, 65536, ret_text)) {
        return false;
    }
    while (ret_text->len > 0 &&
           (ret_text->ptr[ret_text->len - 1] == '\n' || ret_text->ptr[ret_text->len - 1] == '\r')) {
        ret_text->len--;
    }
    if (ret_text->len == 0) {
        cli_problem("%s is empty; it must hold the secret", path);
        mr_free((void *)(uintptr_t)ret_text->ptr);
        *ret_text = MR_STR_NONE;
    }
    return ret_text->len > 0;
}

bool cli_ask(const char *question) {
    char line[16];
    fputs(question, stderr);
    fflush(stderr);
    bool is_read = fgets(line, sizeof line, stdin) != NULL;
    return is_read && strcmp(line, "yes\n") == 0;
}

void cli_print(mr_str text) {
    fwrite(text.ptr, 1, text.len, stdout);
}
