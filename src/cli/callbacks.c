/* `millrace callbacks`: send one request outside event streams, look what became of it, test a URL.
 * A callback is a file as the API takes it, or just a URL with parameters. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/resource.h"

#include "base/mem.h"
#include "json/write.h"

#include <stdio.h>

#define PATH       "/v1/callbacks"
#define BODY_MAX   ((size_t)1 << 20)
#define PATH_SIZE  4096
#define PARAMS_MAX 256

/* What send and test are given. The last option is the reference of the one and --json of the
 * other. */
enum { OPTION_URL = 0, OPTION_METHOD, OPTION_TYPE, OPTION_LAST, N_OPTIONS };
struct callback_args {
    struct cli_option options[N_OPTIONS];
    const char *words[PARAMS_MAX + 1]; /* the file, or NAME=VALUE … */
    size_t n;
    bool is_test;
};

static bool is_file(const struct callback_args *args) {
    return !args->options[OPTION_URL].is_given;
}

static bool read_args(int argc, char **argv, struct callback_args *args) {
    args->options[OPTION_URL].name = "url";
    args->options[OPTION_METHOD].name = "method";
    args->options[OPTION_TYPE].name = "content-type";
    args->options[OPTION_LAST].name = args->is_test ? "json" : "reference";
    args->options[OPTION_LAST].is_flag = args->is_test;
    return cli_options(argc, argv, args->options, N_OPTIONS, args->words, PARAMS_MAX + 1, &args->n,
                       "callbacks");
}

/* What is wrong with them, printed; CLI_OK: nothing. */
static int judge_args(const struct callback_args *args) {
    const char *action = args->is_test ? "test" : "send";
    if (is_file(args)) {
        bool has_more = args->options[OPTION_METHOD].is_given ||
                        args->options[OPTION_TYPE].is_given ||
                        args->options[OPTION_LAST].value != NULL;
        return args->n == 1 && !has_more
                   ? CLI_OK
                   : cli_usage_error("callbacks", "%s takes either one file or --url", action);
    }
    for (size_t i = 0; i < args->n; i++) {
        const char *equals = strchr(args->words[i], '=');
        if (equals == NULL || equals == args->words[i]) {
            return cli_usage_error("callbacks", "\"%s\" is no NAME=VALUE", args->words[i]);
        }
        if (!mr_str_is_utf8(mr_str_c(args->words[i]))) {
            return cli_usage_error("callbacks", "a parameter takes text in UTF-8");
        }
    }
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct cli_option *option = &args->options[i];
        if (option->value != NULL && !mr_str_is_utf8(mr_str_c(option->value))) {
            return cli_usage_error("callbacks", "--%s takes text in UTF-8", option->name);
        }
    }
    return CLI_OK;
}

static mr_err write_body(const struct callback_args *args, mr_buf *body) {
    static const char *const members[] = {"url", "method", "content_type", "reference"};
    json_out out;
    json_out_init(&out, body);
    json_out_object(&out);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (args->options[i].value != NULL) {
            json_out_member_c(&out, members[i], args->options[i].value);
        }
    }
    if (args->n > 0) {
        json_out_member_object(&out, "parameters");
        for (size_t i = 0; i < args->n; i++) {
            mr_str word = mr_str_c(args->words[i]);
            size_t equals = mr_str_find_byte(word, '=', 0);
            json_out_name(&out, mr_str_slice(word, 0, equals));
            json_out_str(&out, mr_str_slice(word, equals + 1, word.len));
        }
        json_out_end(&out);
    }
    json_out_end(&out);
    return json_out_finish(&out);
}

/* The body, of mr_alloc or of the buffer. False: printed. */
static bool make_body(const struct callback_args *args, mr_buf *body) {
    if (!is_file(args)) {
        return mr_is_ok(write_body(args, body)) ||
               (cli_usage_error("callbacks", "the parameters are too many or too long"), false);
    }
    mr_str text;
    if (!cli_read_file(args->words[0], BODY_MAX, &text)) {
        return false;
    }
    bool fits = mr_is_ok(mr_buf_str(body, text));
    mr_free((void *)(uintptr_t)text.ptr);
    return fits;
}

static int show(const struct callback_args *args, const struct cli_answer *answer) {
    if (args->is_test && answer->status == 200 && !args->options[OPTION_LAST].is_given) {
        return resource_show_test(mr_buf_view(&answer->body), "request");
    }
    int code = cli_show_answer(answer);
    bool is_no = args->is_test && code == CLI_OK &&
                 mr_str_starts(mr_buf_view(&answer->body), MR_STR("{\"ok\":false"));
    return is_no ? CLI_NO : code;
}

static int post(int argc, char **argv, bool is_test) {
    struct callback_args args = {.is_test = is_test};
    if (!read_args(argc, argv, &args)) {
        return CLI_USAGE;
    }
    int code = judge_args(&args);
    if (code != CLI_OK) {
        return code;
    }
    mr_buf body;
    mr_buf_init(&body, BODY_MAX);
    struct cli_client *client = make_body(&args, &body) ? cli_client_new() : NULL;
    code = CLI_USAGE;
    if (client != NULL) {
        struct cli_answer answer = {0};
        cli_call(client, "POST", is_test ? PATH "/test" : PATH, "application/json",
                 mr_buf_view(&body), &answer);
        code = show(&args, &answer);
        cli_answer_done(&answer);
    }
    cli_client_free(client);
    mr_buf_done(&body);
    return code;
}

static int list(int argc, char **argv) {
    struct cli_option options[] = {{.name = "status"}, {.name = "reference"}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "callbacks")) {
        return CLI_USAGE;
    }
    struct cli_client *client = cli_client_new();
    if (client == NULL) {
        return CLI_USAGE;
    }
    char path[PATH_SIZE] = PATH "?page_size=1000";
    int code = CLI_OK;
    for (size_t i = 0; i < 2 && code == CLI_OK; i++) {
        size_t len = strlen(path);
        int used = snprintf(path + len, sizeof path - len, "&%s=", options[i].name);
        len += (size_t)used;
        if (!options[i].is_given) {
            path[len - (size_t)used] = '\0';
        } else if (!cli_client_escape(client, options[i].value, path + len, sizeof path - len)) {
            code = cli_usage_error("callbacks", "--%s is too long", options[i].name);
        }
    }
    if (code == CLI_OK) {
        struct cli_answer answer = {0};
        cli_call(client, "GET", path, NULL, MR_STR_NONE, &answer);
        code = cli_show_answer(&answer);
        cli_answer_done(&answer);
    }
    cli_client_free(client);
    return code;
}

int cli_callbacks(int argc, char **argv) {
    static const struct resource_action actions[] = {{"get", RESOURCE_ID, "GET", "", NULL}};
    const struct resource resource = {"callbacks", PATH, actions,
                                      sizeof actions / sizeof actions[0]};
    if (argc > 0 && strcmp(argv[0], "list") == 0) {
        return list(argc - 1, argv + 1);
    }
    if (argc > 0 && (strcmp(argv[0], "send") == 0 || strcmp(argv[0], "test") == 0)) {
        return post(argc - 1, argv + 1, argv[0][0] == 't');
    }
    return resource_run(&resource, argc, argv);
}
