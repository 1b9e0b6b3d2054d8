/* Actions of a table as calls of the API. See resource.h. */
#include "cli/resource.h"

#include "cli/cli.h"
#include "cli/client.h"

#include "json/tape.h"

#include <stdio.h>

#define PATH_SIZE 1024
#define TEST_MAX  ((size_t)1 << 20)
#define ID_MAX    64

bool resource_is_id(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_')) {
            return false;
        }
    }
    return text[0] != '\0' && strlen(text) <= ID_MAX;
}

static const struct resource_action *find_action(const struct resource *resource,
                                                 const char *name) {
    for (size_t i = 0; i < resource->n_actions; i++) {
        if (strcmp(resource->actions[i].name, name) == 0) {
            return &resource->actions[i];
        }
    }
    return NULL;
}

int resource_run(const struct resource *resource, int argc, char **argv) {
    static const struct {
        int n;
        bool has_id;
        const char *text;
    } forms[] = {[RESOURCE_NOTHING] = {0, false, "nothing more"},
                 [RESOURCE_FILE] = {1, false, "one file"},
                 [RESOURCE_ID] = {1, true, "one id"},
                 [RESOURCE_ID_FILE] = {2, true, "an id and a file"}};
    if (argc == 0) {
        return cli_usage_error(resource->command, "say what to do");
    }
    const struct resource_action *action = find_action(resource, argv[0]);
    if (action == NULL) {
        return cli_usage_error(resource->command, "unknown action \"%s\"", argv[0]);
    }
    if (argc - 1 != forms[action->takes].n) {
        return cli_usage_error(resource->command, "%s takes %s", action->name,
                               forms[action->takes].text);
    }
    const char *id = forms[action->takes].has_id ? argv[1] : NULL;
    if (id != NULL && !resource_is_id(id)) {
        return cli_usage_error(resource->command,
                               "\"%s\" is no id: ids are made of a-z, 0-9 and _, and `millrace %s "
                               "list` shows them",
                               id, resource->command);
    }
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s%s%s%s", resource->path, id != NULL ? "/" : "",
             id != NULL ? id : "", action->suffix);
    if (action->takes == RESOURCE_FILE || action->takes == RESOURCE_ID_FILE) {
        return cli_call_with_file(action->method, path, argv[argc - 1]);
    }
    return cli_call_and_show(action->method, path, mr_str_c(action->body));
}

int resource_show_test(mr_str body, const char *what) {
    json_tape tape;
    mr_arena arena;
    bool ok = false;
    mr_arena_init(&arena, TEST_MAX);
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
    if (ok) {
        printf("Connection established, %s sent.\n", what);
    } else {
        printf("The test failed.\n");
    }
    return ok ? CLI_OK : CLI_NO;
}
