/* What a family of the API's objects can do on the command line, as a table: one row per action.
 * Answers are printed as they came. */
#ifndef MR_CLI_RESOURCE_H
#define MR_CLI_RESOURCE_H

#include "base/str.h"

enum resource_takes {
    RESOURCE_NOTHING = 0,
    RESOURCE_FILE, /* one file: the body */
    RESOURCE_ID,
    RESOURCE_ID_FILE,
};

struct resource_action {
    const char *name; /* "rotate-secret" */
    enum resource_takes takes;
    const char *method;
    const char *suffix; /* behind the path, or behind the id: "?page_size=1000", "/rotate-secret" */
    const char *body;   /* JSON; NULL: none, or the file's */
};

struct resource {
    const char *command;
    const char *path; /* "/v1/clients" */
    const struct resource_action *actions;
    size_t n_actions;
};

/* Runs the action of argv[0]; the exit code. */
int resource_run(const struct resource *resource, int argc, char **argv);
/* Prints the steps of a test's answer, then that `what` was sent or that it failed; CLI_OK where
 * all went well, else CLI_NO. */
int resource_show_test(mr_str body, const char *what);
/* Made of a-z, 0-9 and _, at most 64 of them. */
bool resource_is_id(const char *text);

#endif
