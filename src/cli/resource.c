/* Actions of a table as calls of the API. See resource.h. */
#include "cli/resource.h"

#include "cli/cli.h"
#include "cli/client.h"

#include <stdio.h>

#define PATH_SIZE 1024
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
