/* `millrace destinations`, `rules`, `secrets`, `test`: calls of the API, answers printed as JSON.
 */
#include "cli/cli.h"
#include "cli/client.h"

#include "base/mem.h"
#include "control/jobs.h"
#include "control/secrets.h"
#include "crypto/secret.h"
#include "json/write.h"
#include "os/process.h"
#include "server/config.h"

#include <stdio.h>

#define BODY_MAX    ((size_t)1 << 20)
#define EVENTS_MAX  ((size_t)8 << 20)
#define PATH_SIZE   1024
#define ID_MAX      64
#define SECRETS_MAX ((size_t)1 << 20)

/* What a family of objects can do. */
struct resource {
    const char *command;
    const char *path;
    bool has_get;
    bool has_delete;
    bool has_activate;
};

static bool is_id(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_')) {
            return false;
        }
    }
    return text[0] != '\0' && strlen(text) <= ID_MAX;
}

static int list(const struct resource *resource) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s?page_size=1000", resource->path);
    return cli_call_and_show("GET", path, MR_STR_NONE);
}

/* Nothing of the command fits the arguments: says which of them does not. */
static int tell_form(const struct resource *resource, int argc, char **argv) {
    static const struct {
        const char *action, *needs;
    } actions[] = {{"list", "nothing more"},       {"get", "one id"},    {"create", "one file"},
                   {"update", "an id and a file"}, {"delete", "one id"}, {"activate", "one id"}};
    const bool has[] = {true, resource->has_get,    true,
                        true, resource->has_delete, resource->has_activate};
    for (size_t i = 0; argc > 0 && i < sizeof actions / sizeof actions[0]; i++) {
        if (has[i] && strcmp(argv[0], actions[i].action) == 0) {
            return cli_usage_error(resource->command, "%s takes %s", actions[i].action,
                                   actions[i].needs);
        }
    }
    return argc == 0 ? cli_usage_error(resource->command, "say what to do")
                     : cli_usage_error(resource->command, "unknown action \"%s\"", argv[0]);
}

static int run_resource(const struct resource *resource, int argc, char **argv) {
    if (argc == 1 && strcmp(argv[0], "list") == 0) {
        return list(resource);
    }
    if (argc == 2 && strcmp(argv[0], "create") == 0) {
        return cli_call_with_file("POST", resource->path, argv[1]);
    }
    if (argc < 2) {
        return tell_form(resource, argc, argv);
    }
    bool takes_id = strcmp(argv[0], "list") != 0 && strcmp(argv[0], "create") != 0;
    if (takes_id && !is_id(argv[1])) {
        return cli_usage_error(resource->command,
                               "\"%s\" is no id: ids are made of a-z, 0-9 and _, and `millrace %s "
                               "list` shows them",
                               argv[1], resource->command);
    }
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", resource->path, argv[1]);
    if (argc == 2 && resource->has_get && strcmp(argv[0], "get") == 0) {
        return cli_call_and_show("GET", path, MR_STR_NONE);
    }
    if (argc == 3 && strcmp(argv[0], "update") == 0) {
        return cli_call_with_file("PATCH", path, argv[2]);
    }
    if (argc == 2 && resource->has_delete && strcmp(argv[0], "delete") == 0) {
        return cli_call_and_show("DELETE", path, MR_STR_NONE);
    }
    if (argc == 2 && resource->has_activate && strcmp(argv[0], "activate") == 0) {
        return cli_call_and_show("PATCH", path, MR_STR("{\"Status\":\"active\"}"));
    }
    return tell_form(resource, argc, argv);
}

int cli_destinations(int argc, char **argv) {
    const struct resource resource = {"destinations", "/v1/destinations", true, true, false};
    return run_resource(&resource, argc, argv);
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
    const struct resource resource = {"rules", "/v1/streaming-rules", true, true, false};
    return run_resource(&resource, argc, argv);
}

/* ---- secrets ---- */

/* What the import needs on the way through a job. */
struct import_job {
    struct control_job job; /* first */
    mr_str name;
    mr_str value;
    mr_arena arena;
    mr_buf out;
};

static mr_err run_import(struct control *control, struct control_job *job) {
    struct import_job *import = (struct import_job *)(void *)job;
    struct secret_view view;
    MR_TRY(secrets_import(control, control_root_account(control), import->name, import->value,
                          &import->arena, &view, &job->refusal));
    return secret_write_json(&view, &import->out);
}

static void import_done(struct control_job *job) {
    (void)job; /* run in this thread: the caller looks at it */
}

static int import_into(const char *data, mr_str name, mr_str value) {
    struct config config;
    struct config_error error;
    if (mr_is_err(config_init(&config)) ||
        mr_is_err(config_load_env(&config, os_environment(), &error))) {
        cli_problem("the environment holds a setting that is wrong");
        return CLI_USAGE;
    }
    struct secret_slab *slab = NULL;
    struct control *control = NULL;
    struct refusal refusal = {0};
    mr_err err = secret_slab_new(SECRETS_MAX, &slab);
    if (mr_is_ok(err)) {
        const struct control_options options = {
            .dir = data,
            .master_key_file = config.master_key_file[0] != '\0' ? config.master_key_file : NULL,
            .credentials_dir = os_environment_get("CREDENTIALS_DIRECTORY"),
            .slab = slab};
        err = control_open(&options, &control, &refusal);
    }
    int code = CLI_OK;
    if (mr_is_err(err)) {
        cli_problem("%s", refusal.message);
        code =
            mr_err_is(err, MR_E_BUSY) || mr_err_is(err, CONTROL_E_NEWER) ? CLI_IN_USE : CLI_USAGE;
    } else {
        struct import_job import = {
            .job = {.run = run_import, .done = import_done}, .name = name, .value = value};
        mr_arena_init(&import.arena, SECRETS_MAX);
        mr_buf_init(&import.out, SECRETS_MAX);
        control_run_here(control, &import.job);
        if (mr_is_err(import.job.err)) {
            cli_problem("%s", import.job.refusal.message);
            code = CLI_NO;
        } else {
            cli_print(mr_buf_view(&import.out));
            cli_print(MR_STR("\n"));
        }
        mr_arena_done(&import.arena);
        mr_buf_done(&import.out);
    }
    control_close(control);
    secret_slab_free(slab);
    config_done(&config);
    return code;
}

static int import_secret(int argc, char **argv) {
    struct cli_option options[] = {{.name = "data"}, {.name = "name"}};
    const char *file;
    size_t n;
    if (!cli_options(argc, argv, options, 2, &file, 1, &n, "secrets")) {
        return CLI_USAGE;
    }
    if (options[0].value == NULL || options[1].value == NULL || n != 1) {
        return cli_usage_error("secrets",
                               "import needs --data, --name and the file with the value");
    }
    mr_str value;
    if (!cli_read_line_file(file, &value)) {
        return CLI_USAGE;
    }
    int code = import_into(options[0].value, mr_str_c(options[1].value), value);
    crypto_wipe((void *)(uintptr_t)value.ptr, value.len);
    mr_free((void *)(uintptr_t)value.ptr);
    return code;
}

int cli_secrets(int argc, char **argv) {
    if (argc > 0 && strcmp(argv[0], "import") == 0) {
        return import_secret(argc - 1, argv + 1);
    }
    const struct resource resource = {"secrets", "/v1/secrets", false, false, true};
    return run_resource(&resource, argc, argv);
}

/* ---- test ---- */

/* Prints the steps of a test; CLI_OK where all went well. */
static int show_test(mr_str body) {
    json_tape tape;
    mr_arena arena;
    bool ok = false;
    mr_arena_init(&arena, BODY_MAX);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    if (mr_is_ok(json_tape_read(&tape, body, NULL))) {
        mr_ignore(json_bool(json_find(json_root(&tape), MR_STR("ok")), &ok), "absent is not ok");
        for (json_iter it = json_iter_of(json_find(json_root(&tape), MR_STR("steps")));
             json_next(&it);) {
            mr_str step = MR_STR("");
            mr_str detail = MR_STR("");
            bool step_ok = false;
            int64_t ms = 0;
            mr_ignore(json_string(json_find(it.value, MR_STR("step")), &arena, &step),
                      "shown bare");
            mr_ignore(json_string(json_find(it.value, MR_STR("detail")), &arena, &detail),
                      "shown bare");
            mr_ignore(json_bool(json_find(it.value, MR_STR("ok")), &step_ok), "absent is not ok");
            mr_ignore(json_i64(json_find(it.value, MR_STR("duration_ms")), 0, INT64_MAX, &ms),
                      "shown as 0");
            printf("%-8.*s  %-6s  %5lld ms  %.*s\n", MR_FMT(step), step_ok ? "ok" : "FAILED",
                   (long long)ms, MR_FMT(detail));
        }
    }
    json_tape_done(&tape);
    mr_arena_done(&arena);
    printf("%s\n", ok ? "Connection established, test event sent." : "The test failed.");
    return ok ? CLI_OK : CLI_NO;
}

int cli_test(int argc, char **argv) {
    struct cli_option options[] = {{.name = "event-type"}, {.name = "json", .is_flag = true}};
    const char *id;
    size_t n;
    if (!cli_options(argc, argv, options, 2, &id, 1, &n, "test")) {
        return CLI_USAGE;
    }
    if (n != 1 || !is_id(id)) {
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
            code = show_test(mr_buf_view(&answer.body));
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
