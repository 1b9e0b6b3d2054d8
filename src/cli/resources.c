/* `millrace destinations`, `rules`, `test`: calls of the API, answers printed as JSON. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/resource.h"

#include "base/mem.h"
#include "json/write.h"

#include <stdio.h>

#define BODY_MAX   ((size_t)1 << 20)
#define EVENTS_MAX ((size_t)8 << 20)
#define PATH_SIZE  1024

static const struct resource_action object_actions[] = {
    {"list", RESOURCE_NOTHING, "GET", "?page_size=1000", NULL},
    {"get", RESOURCE_ID, "GET", "", NULL},
    {"create", RESOURCE_FILE, "POST", "", NULL},
    {"update", RESOURCE_ID_FILE, "PATCH", "", NULL},
    {"delete", RESOURCE_ID, "DELETE", "", NULL},
};
#define N_OBJECT_ACTIONS (sizeof object_actions / sizeof object_actions[0])

int cli_destinations(int argc, char **argv) {
    const struct resource resource = {"destinations", "/v1/destinations", object_actions,
                                      N_OBJECT_ACTIONS};
    return resource_run(&resource, argc, argv);
}

/* {"rule":…,"events":…} of two files; a single event stands for an array of one. */
static mr_err write_preview(mr_str rule, mr_str events, mr_buf *out) {
    MR_TRY(mr_buf_str(out, MR_STR("{\"rule\":")));
    MR_TRY(mr_buf_str(out, rule));
    if (!mr_str_is_absent(events)) {
        size_t at = 0;
        while (at < events.len && (events.ptr[at] == ' ' || events.ptr[at] == '\t' ||
                                   events.ptr[at] == '\r' || events.ptr[at] == '\n')) {
            at++;
        }
        bool is_one = at < events.len && events.ptr[at] == '{';
        MR_TRY(mr_buf_str(out, is_one ? MR_STR(",\"events\":[") : MR_STR(",\"events\":")));
        MR_TRY(mr_buf_str(out, events));
        MR_TRY(mr_buf_str(out, is_one ? MR_STR("]") : MR_STR("")));
    }
    return mr_buf_byte(out, '}');
}

static int preview_rule(int argc, char **argv) {
    struct cli_option options[] = {{.name = "events"}};
    const char *file;
    size_t n;
    if (!cli_options(argc, argv, options, 1, &file, 1, &n, "rules")) {
        return CLI_USAGE;
    }
    if (n != 1) {
        return cli_usage_error("rules", "preview needs the file with the rule");
    }
    mr_str rule = MR_STR_NONE;
    mr_str events = MR_STR_NONE;
    mr_buf body;
    mr_buf_init(&body, BODY_MAX + EVENTS_MAX + 64);
    int code = CLI_USAGE;
    if (cli_read_file(file, BODY_MAX, &rule) &&
        (options[0].value == NULL || cli_read_file(options[0].value, EVENTS_MAX, &events))) {
        code = mr_is_ok(write_preview(rule, events, &body))
                   ? cli_call_and_show("POST", "/v1/streaming-rules/preview", mr_buf_view(&body))
                   : CLI_NO;
    }
    mr_buf_done(&body);
    mr_free((void *)(uintptr_t)rule.ptr);
    mr_free((void *)(uintptr_t)events.ptr);
    return code;
}

int cli_rules(int argc, char **argv) {
    if (argc > 0 && strcmp(argv[0], "preview") == 0) {
        return preview_rule(argc - 1, argv + 1);
    }
    const struct resource resource = {"rules", "/v1/streaming-rules", object_actions,
                                      N_OBJECT_ACTIONS};
    return resource_run(&resource, argc, argv);
}

/* ---- test ---- */

int cli_test(int argc, char **argv) {
    struct cli_option options[] = {{.name = "event-type"}, {.name = "json", .is_flag = true}};
    const char *id;
    size_t n;
    if (!cli_options(argc, argv, options, 2, &id, 1, &n, "test")) {
        return CLI_USAGE;
    }
    if (n != 1 || !resource_is_id(id)) {
        return cli_usage_error("test", "the id of a destination is needed");
    }
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/v1/destinations/%s/test", id);
    mr_buf body;
    mr_buf_init(&body, BODY_MAX);
    json_out out;
    json_out_init(&out, &body);
    json_out_object(&out);
    if (options[0].value != NULL) {
        json_out_member_c(&out, "event_type", options[0].value);
    }
    json_out_end(&out);
    struct cli_client *client = cli_client_new();
    int code = CLI_USAGE;
    if (client != NULL && mr_is_ok(json_out_finish(&out))) {
        struct cli_answer answer = {0};
        cli_call(client, "POST", path, "application/json", mr_buf_view(&body), &answer);
        if (answer.status == 200 && !options[1].is_given) {
            code = resource_show_test(mr_buf_view(&answer.body), "test event");
        } else {
            code = cli_show_answer(&answer);
            if (code == CLI_OK &&
                mr_str_starts(mr_buf_view(&answer.body), MR_STR("{\"ok\":false"))) {
                code = CLI_NO;
            }
        }
        cli_answer_done(&answer);
    }
    cli_client_free(client);
    mr_buf_done(&body);
    return code;
}
