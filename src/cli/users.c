/* `millrace users`: calls of the API, answers printed as JSON; set-password works on a folder. */
#include "cli/cli.h"
#include "cli/client.h"

#include "json/write.h"

#include <stdio.h>

#define BODY_MAX  ((size_t)1 << 16)
#define PATH_SIZE 256
#define ID_MAX    64

static bool is_id(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_')) {
            return false;
        }
    }
    return text[0] != '\0' && strlen(text) <= ID_MAX;
}

/* ---- invite ---- */

static mr_err write_invite(const char *email, const struct cli_option *options, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_c(&writer, "email", email);
    json_out_member_c(&writer, "role", options[0].value);
    if (options[1].value != NULL) {
        json_out_member_c(&writer, "name", options[1].value);
    }
    if (options[2].value != NULL) {
        json_out_member_array(&writer, "products");
        mr_str rest = mr_str_c(options[2].value);
        mr_str part;
        while (mr_str_split(&rest, ',', &part)) {
            json_out_str(&writer, mr_str_trim(part));
        }
        json_out_end(&writer);
    }
    json_out_end(&writer);
    return json_out_finish(&writer);
}

static bool all_are_utf8(const char *email, const struct cli_option *options, size_t n) {
    bool all = mr_str_is_utf8(mr_str_c(email));
    for (size_t i = 0; i < n; i++) {
        all = all && (options[i].value == NULL || mr_str_is_utf8(mr_str_c(options[i].value)));
    }
    return all;
}

static int invite(int argc, char **argv) {
    struct cli_option options[] = {{.name = "role"}, {.name = "name"}, {.name = "products"}};
    const char *email;
    size_t n;
    if (!cli_options(argc, argv, options, 3, &email, 1, &n, "users")) {
        return CLI_USAGE;
    }
    if (n != 1 || options[0].value == NULL) {
        return cli_usage_error("users", "invite needs an e-mail and --role");
    }
    if (!all_are_utf8(email, options, 3)) {
        return cli_usage_error("users", "the arguments must be UTF-8");
    }
    mr_buf body;
    mr_buf_init(&body, BODY_MAX);
    int code = CLI_NO;
    if (mr_is_ok(write_invite(email, options, &body))) {
        code = cli_call_and_show("POST", "/v1/users", mr_buf_view(&body));
    } else {
        cli_problem("the invite is too long");
    }
    mr_buf_done(&body);
    return code;
}

/* ---- the others ---- */

static const struct {
    const char *action;
    const char *needs;
    int n_args;
} forms[] = {
    {"list", "nothing more", 0},       {"get", "one id", 1},    {"invite-again", "one id", 1},
    {"update", "an id and a file", 2}, {"delete", "one id", 1}, {"reset-link", "one id", 1},
};
#define N_FORMS (sizeof forms / sizeof forms[0])

static int run(const char *action, const char *id, const char *file) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/v1/users/%s", id);
    if (strcmp(action, "get") == 0) {
        return cli_call_and_show("GET", path, MR_STR_NONE);
    }
    if (strcmp(action, "update") == 0) {
        return cli_call_with_file("PATCH", path, file);
    }
    if (strcmp(action, "delete") == 0) {
        return cli_call_and_show("DELETE", path, MR_STR_NONE);
    }
    snprintf(path, sizeof path, "/v1/users/%s/%s", id,
             strcmp(action, "reset-link") == 0 ? "reset-link" : "invite");
    return cli_call_and_show("POST", path, MR_STR("{}"));
}

int cli_users(int argc, char **argv) {
    const char *action = argc > 0 ? argv[0] : "";
    if (strcmp(action, "set-password") == 0) {
        return cli_users_set_password(argc - 1, argv + 1);
    }
    if (strcmp(action, "invite") == 0) {
        return invite(argc - 1, argv + 1);
    }
    size_t i = 0;
    while (i < N_FORMS && strcmp(action, forms[i].action) != 0) {
        i++;
    }
    if (i == N_FORMS) {
        return argc == 0 ? cli_usage_error("users", "say what to do")
                         : cli_usage_error("users", "unknown action \"%s\"", action);
    }
    if (argc - 1 != forms[i].n_args) {
        return cli_usage_error("users", "%s takes %s", action, forms[i].needs);
    }
    if (forms[i].n_args == 0) {
        return cli_call_and_show("GET", "/v1/users?page_size=1000", MR_STR_NONE);
    }
    if (!is_id(argv[1])) {
        return cli_usage_error("users",
                               "\"%s\" is no id: ids are made of a-z, 0-9 and _, and `millrace "
                               "users list` shows them",
                               argv[1]);
    }
    return run(action, argv[1], forms[i].n_args == 2 ? argv[2] : NULL);
}
