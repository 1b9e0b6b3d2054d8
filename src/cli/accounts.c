/* `millrace accounts`, `clients`, `keys`: calls of the API, answers printed as JSON. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/resource.h"

#include "json/write.h"

#define BODY_MAX ((size_t)64 << 10)

/* `create --name N` in place of a file. */
static int create_account(int argc, char **argv) {
    struct cli_option options[] = {{.name = "name"}};
    const char *file;
    size_t n;
    if (!cli_options(argc, argv, options, 1, &file, 1, &n, "accounts")) {
        return CLI_USAGE;
    }
    if ((n == 1) == (options[0].value != NULL)) {
        return cli_usage_error("accounts", "create takes either one file or --name");
    }
    if (n == 1) {
        return cli_call_with_file("POST", "/v1/accounts", file);
    }
    if (!mr_str_is_utf8(mr_str_c(options[0].value))) {
        return cli_usage_error("accounts", "--name takes text in UTF-8");
    }
    mr_buf body;
    json_out out;
    mr_buf_init(&body, BODY_MAX);
    json_out_init(&out, &body);
    json_out_object(&out);
    json_out_member_c(&out, "friendly_name", options[0].value);
    json_out_end(&out);
    int code = mr_is_ok(json_out_finish(&out))
                   ? cli_call_and_show("POST", "/v1/accounts", mr_buf_view(&body))
                   : cli_usage_error("accounts", "--name is too long");
    mr_buf_done(&body);
    return code;
}

int cli_accounts(int argc, char **argv) {
    static const struct resource_action actions[] = {
        {"list", RESOURCE_NOTHING, "GET", "", NULL},
        {"get", RESOURCE_ID, "GET", "", NULL},
        {"update", RESOURCE_ID_FILE, "PATCH", "", NULL},
    };
    const struct resource resource = {"accounts", "/v1/accounts", actions,
                                      sizeof actions / sizeof actions[0]};
    if (argc > 0 && strcmp(argv[0], "create") == 0) {
        return create_account(argc - 1, argv + 1);
    }
    return resource_run(&resource, argc, argv);
}

int cli_clients(int argc, char **argv) {
    static const struct resource_action actions[] = {
        {"list", RESOURCE_NOTHING, "GET", "?page_size=1000&page_number=1", NULL},
        {"get", RESOURCE_ID, "GET", "", NULL},
        {"create", RESOURCE_FILE, "POST", "", NULL},
        {"update", RESOURCE_ID_FILE, "PATCH", "", NULL},
        {"delete", RESOURCE_ID, "DELETE", "", NULL},
        {"rotate-secret", RESOURCE_ID, "POST", "/rotate-secret", NULL},
        {"revoke-tokens", RESOURCE_ID, "POST", "/revoke-tokens", NULL},
        {"lock", RESOURCE_ID, "PATCH", "", "{\"locked\":true}"},
        {"unlock", RESOURCE_ID, "PATCH", "", "{\"locked\":false}"},
        {"enable", RESOURCE_ID, "PATCH", "", "{\"enabled\":true}"},
        {"disable", RESOURCE_ID, "PATCH", "", "{\"enabled\":false}"},
    };
    const struct resource resource = {"clients", "/v1/clients", actions,
                                      sizeof actions / sizeof actions[0]};
    return resource_run(&resource, argc, argv);
}

static int rotate_key(int argc, char **argv) {
    struct cli_option options[] = {{.name = "now", .is_flag = true},
                                   {.name = "revoke", .is_flag = true}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "keys")) {
        return CLI_USAGE;
    }
    mr_buf body;
    json_out out;
    mr_buf_init(&body, BODY_MAX);
    json_out_init(&out, &body);
    json_out_object(&out);
    if (options[0].is_given) {
        json_out_member_bool(&out, "now", true);
    }
    if (options[1].is_given) {
        json_out_member_bool(&out, "revoke", true);
    }
    json_out_end(&out);
    int code = mr_is_ok(json_out_finish(&out))
                   ? cli_call_and_show("POST", "/v1/signing-keys/rotate", mr_buf_view(&body))
                   : CLI_NO;
    mr_buf_done(&body);
    return code;
}

int cli_keys(int argc, char **argv) {
    static const struct resource_action actions[] = {{"list", RESOURCE_NOTHING, "GET", "", NULL}};
    const struct resource resource = {"keys", "/v1/signing-keys", actions,
                                      sizeof actions / sizeof actions[0]};
    if (argc > 0 && strcmp(argv[0], "rotate") == 0) {
        return rotate_key(argc - 1, argv + 1);
    }
    return resource_run(&resource, argc, argv);
}
