/* `millrace serve` and `millrace config`: settings from file, environment and command line, then
 * the program. */
#include "cli/cli.h"
#include "os/files.h"
#include "os/process.h"
#include "os/signals.h"
#include "server/program.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

#define CONFIG_BYTES_MAX ((size_t)1 << 20)

/* What the command line says beside settings. */
struct serve_args {
    const char *data;
    const char *config;
};

/* The value behind argv[*at], or in it after '='; advances. NULL: there is none. */
static const char *value_of(int argc, char **argv, int *at, mr_str *ret_name) {
    mr_str arg = mr_str_c(argv[*at]);
    size_t equals = mr_str_find_byte(arg, '=', 0);
    *ret_name = mr_str_slice(arg, 2, equals == SIZE_MAX ? arg.len : equals);
    if (equals != SIZE_MAX) {
        return argv[*at] + equals + 1;
    }
    return *at + 1 < argc ? argv[++*at] : NULL;
}

static bool find_own(const char *command, int argc, char **argv, bool wants_data,
                     struct serve_args *args) {
    for (int i = 0; i < argc; i++) {
        mr_str name;
        if (!mr_str_starts(mr_str_c(argv[i]), MR_STR("--"))) {
            cli_usage_error(command, "unexpected argument \"%s\"", argv[i]);
            return false;
        }
        const char *value = value_of(argc, argv, &i, &name);
        if (value == NULL) {
            cli_usage_error(command, "--%.*s needs a value", MR_FMT(name));
            return false;
        }
        if (mr_str_eq(name, MR_STR("data"))) {
            args->data = value;
        } else if (mr_str_eq(name, MR_STR("config"))) {
            args->config = value;
        }
    }
    if (wants_data && (args->data == NULL || args->data[0] == '\0')) {
        cli_usage_error(command, "--data is needed");
        return false;
    }
    return true;
}

static bool take_flags(int argc, char **argv, struct config *config, struct config_error *error) {
    for (int i = 0; i < argc; i++) {
        mr_str name;
        const char *value = value_of(argc, argv, &i, &name);
        if (mr_str_eq(name, MR_STR("data")) || mr_str_eq(name, MR_STR("config"))) {
            continue;
        }
        mr_err err = config_set_flag(config, name, mr_str_c(value), error);
        if (mr_err_is(err, MR_E_NOT_FOUND)) {
            snprintf(error->text, sizeof error->text, "command line: --%.*s: unknown setting",
                     MR_FMT(mr_str_slice(name, 0, 80)));
        }
        if (mr_is_err(err)) {
            return false;
        }
    }
    return true;
}

/* File, environment, command line, in this order. False: *error says what is wrong. */
static bool load_config(int argc, char **argv, const struct serve_args *args, struct config *config,
                        struct config_error *error) {
    error->text[0] = '\0';
    if (args->config != NULL) {
        mr_str text;
        if (mr_is_err(os_file_load(&os_files_system, args->config, CONFIG_BYTES_MAX, &text))) {
            snprintf(error->text, sizeof error->text, "could not read %s: %s", args->config,
                     strerror(errno));
            return false;
        }
        mr_err err = config_load_yaml(config, args->config, text, error);
        mr_wipe((void *)(uintptr_t)text.ptr, text.len);
        mr_free((void *)(uintptr_t)text.ptr);
        if (mr_is_err(err)) {
            return false;
        }
    }
    mr_err err = config_load_env(config, os_environment(), error);
    config_forget_env(os_environment());
    return mr_is_ok(err) && take_flags(argc, argv, config, error) &&
           mr_is_ok(config_check(config, error));
}

static void on_ready(void *ctx, const char *url, const char *metrics_url) {
    const struct serve_args *args = ctx;
    printf("ready url=%s data=%s%s%s\n", url, args->data, metrics_url != NULL ? " metrics=" : "",
           metrics_url != NULL ? metrics_url : "");
    fflush(stdout);
}

static void on_problem(void *ctx, const char *text) {
    (void)ctx;
    cli_problem("%s", text);
}

int cli_serve(int argc, char **argv) {
    struct serve_args args = {NULL, NULL};
    if (!find_own("serve", argc, argv, true, &args)) {
        return CLI_USAGE;
    }
    struct config config;
    struct config_error error;
    if (mr_is_err(config_init(&config))) {
        cli_problem("could not start: out of memory");
        return CLI_NO;
    }
    if (!load_config(argc, argv, &args, &config, &error)) {
        cli_problem("%s", error.text);
        config_done(&config);
        return CLI_USAGE;
    }
    os_signals_block();
    const struct program_events events = {&args, on_ready, on_problem};
    int code = program_run(&config, args.data, &events);
    config_done(&config);
    return code;
}

int cli_config(int argc, char **argv) {
    struct serve_args args = {NULL, NULL};
    if (!find_own("config", argc, argv, false, &args)) {
        return CLI_USAGE;
    }
    struct config config;
    struct config_error error;
    if (mr_is_err(config_init(&config))) {
        cli_problem("could not read settings: out of memory");
        return CLI_NO;
    }
    int code = CLI_OK;
    mr_buf out;
    mr_buf_init(&out, CONFIG_BYTES_MAX);
    if (!load_config(argc, argv, &args, &config, &error)) {
        cli_problem("%s", error.text);
        code = CLI_USAGE;
    } else if (mr_is_err(config_print(&config, &out))) {
        cli_problem("could not print settings: out of memory");
        code = CLI_NO;
    } else {
        cli_print(mr_buf_view(&out));
    }
    mr_buf_done(&out);
    config_done(&config);
    return code;
}
