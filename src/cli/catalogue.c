/* `millrace schema`, `event-types`: the event catalogue by calls of the API. Publishing a schema
 * tries the next version first and makes the schema where there is none of that name. */
#include "cli/cli.h"
#include "cli/client.h"

#include "base/mem.h"
#include "json/write.h"

#include <stdio.h>

#define BODY_MAX     ((size_t)1 << 20)
#define PATH_SIZE    1024
#define EXAMPLES_MAX 20

/* ---- publish ---- */

/* A whole file that is JSON; freed with mr_free. */
static bool read_json(const char *path, mr_str *ret_text) {
    json_tape tape;
    json_error error = {0};
    if (!cli_read_file(path, BODY_MAX, ret_text)) {
        return false;
    }
    json_tape_init(&tape, JSON_DEPTH_MAX);
    mr_err err = json_tape_read(&tape, *ret_text, &error);
    json_tape_done(&tape);
    if (mr_is_err(err)) {
        cli_problem("%s is not JSON: at byte %zu, %s was expected", path, error.offset,
                    error.expected != NULL ? error.expected : "something else");
    }
    return mr_is_ok(err);
}

/* What the command was told. */
struct publish {
    const char *name;
    const char *document_path;
    const char *example_paths[EXAMPLES_MAX];
    size_t n_examples;
    bool allow_breaking;
    mr_str document;
    mr_str examples[EXAMPLES_MAX];
};

static bool take_example(struct publish *publish, const char *path) {
    if (publish->n_examples == EXAMPLES_MAX) {
        cli_usage_error("schema", "more than %d examples", EXAMPLES_MAX);
        return false;
    }
    publish->example_paths[publish->n_examples++] = path;
    return true;
}

/* NAME FILE and options; --example may stand several times, which cli_options does not know. */
static bool take_arguments(int argc, char **argv, struct publish *publish) {
    const char *args[2] = {NULL, NULL};
    size_t n = 0;
    for (int i = 0; i < argc; i++) {
        mr_str arg = mr_str_c(argv[i]);
        mr_str equals = MR_STR("--example=");
        if (mr_str_eq(arg, MR_STR("--allow-breaking"))) {
            publish->allow_breaking = true;
        } else if (mr_str_eq(arg, MR_STR("--example")) && i + 1 < argc) {
            if (!take_example(publish, argv[++i])) {
                return false;
            }
        } else if (mr_str_starts(arg, equals)) {
            if (!take_example(publish, argv[i] + equals.len)) {
                return false;
            }
        } else if (mr_str_starts(arg, MR_STR("--")) || n == 2) {
            cli_usage_error("schema", "\"%s\" is not expected here", argv[i]);
            return false;
        } else {
            args[n++] = argv[i];
        }
    }
    if (n != 2 || publish->n_examples == 0) {
        cli_usage_error("schema", "publish needs a name, a document and at least one --example");
        return false;
    }
    publish->name = args[0];
    publish->document_path = args[1];
    return true;
}

/* is_new: the body that makes the schema. */
static mr_err write_body(const struct publish *publish, bool is_new, mr_buf *out) {
    json_out writer;
    mr_buf_reset(out);
    json_out_init(&writer, out);
    json_out_object(&writer);
    if (is_new) {
        json_out_member_c(&writer, "name", publish->name);
    } else {
        json_out_member_bool(&writer, "allow_breaking", publish->allow_breaking);
    }
    json_out_member_raw(&writer, "document", publish->document);
    json_out_member_array(&writer, "examples");
    for (size_t i = 0; i < publish->n_examples; i++) {
        json_out_raw(&writer, publish->examples[i]);
    }
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

static int send(struct cli_client *client, const struct publish *publish) {
    char path[PATH_SIZE];
    char name[PATH_SIZE / 2];
    struct cli_answer answer = {0};
    mr_buf body;
    int code = CLI_USAGE;
    mr_buf_init(&body, BODY_MAX + 65536);
    if (!cli_client_escape(client, publish->name, name, sizeof name)) {
        code = cli_usage_error("schema", "\"%s\" is no name of a schema", publish->name);
    } else if (mr_is_err(write_body(publish, false, &body))) {
        cli_problem("document and examples are larger than %zu bytes together", BODY_MAX);
    } else {
        snprintf(path, sizeof path, "/v1/schemas/%s/versions", name);
        cli_call(client, "POST", path, "application/json", mr_buf_view(&body), &answer);
        if (answer.status == 404 && mr_is_ok(write_body(publish, true, &body))) {
            cli_call(client, "POST", "/v1/schemas", "application/json", mr_buf_view(&body),
                     &answer);
        }
        code = cli_show_answer(&answer);
    }
    cli_answer_done(&answer);
    mr_buf_done(&body);
    return code;
}

static int publish_schema(int argc, char **argv) {
    struct publish publish = {0};
    if (!take_arguments(argc, argv, &publish)) {
        return CLI_USAGE;
    }
    bool ok = read_json(publish.document_path, &publish.document);
    for (size_t i = 0; ok && i < publish.n_examples; i++) {
        ok = read_json(publish.example_paths[i], &publish.examples[i]);
    }
    int code = CLI_USAGE;
    struct cli_client *client = ok ? cli_client_new() : NULL;
    if (client != NULL) {
        code = send(client, &publish);
    }
    cli_client_free(client);
    mr_free((void *)(uintptr_t)publish.document.ptr);
    for (size_t i = 0; i < publish.n_examples; i++) {
        mr_free((void *)(uintptr_t)publish.examples[i].ptr);
    }
    return code;
}

/* ---- the rest ---- */

/* A name or version that needs no escape in a path. */
static bool is_plain(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        bool is_word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                       (*c >= '0' && *c <= '9') || *c == '.' || *c == '_' || *c == '-';
        if (!is_word) {
            return false;
        }
    }
    return text[0] != '\0' && text[0] != '.';
}

static int get_schema(int argc, char **argv) {
    char path[PATH_SIZE];
    if (!is_plain(argv[0]) || (argc == 2 && !is_plain(argv[1]))) {
        return cli_usage_error("schema", "get needs the name of a schema and perhaps a version");
    }
    int n = argc == 2 ? snprintf(path, sizeof path, "/v1/schemas/%s/versions/%s", argv[0], argv[1])
                      : snprintf(path, sizeof path, "/v1/schemas/%s", argv[0]);
    return n > 0 && (size_t)n < sizeof path ? cli_call_and_show("GET", path, MR_STR_NONE)
                                            : cli_usage_error("schema", "the name is too long");
}

int cli_schema_catalogue(int argc, char **argv) {
    if (argc == 1 && strcmp(argv[0], "list") == 0) {
        return cli_call_and_show("GET", "/v1/schemas?page_size=1000", MR_STR_NONE);
    }
    if ((argc == 2 || argc == 3) && strcmp(argv[0], "get") == 0) {
        return get_schema(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[0], "publish") == 0) {
        return publish_schema(argc - 1, argv + 1);
    }
    if (argc == 0) {
        return cli_usage_error("schema", "say what to do");
    }
    return cli_usage_error("schema", "\"%s\" with these arguments is no form of this command",
                           argv[0]);
}

int cli_event_types(int argc, char **argv) {
    char path[PATH_SIZE];
    if (argc == 1 && strcmp(argv[0], "list") == 0) {
        return cli_call_and_show("GET", "/v1/event-types?page_size=1000", MR_STR_NONE);
    }
    if (argc == 2 && strcmp(argv[0], "create") == 0) {
        return cli_call_with_file("POST", "/v1/event-types", argv[1]);
    }
    if (argc == 0) {
        return cli_usage_error("event-types", "say what to do");
    }
    if (argc == 1) {
        return cli_usage_error("event-types", "\"%s\" alone is no form of this command", argv[0]);
    }
    int n = snprintf(path, sizeof path, "/v1/event-types/%s", argv[1]);
    if (!is_plain(argv[1]) || n < 0 || (size_t)n >= sizeof path) {
        return cli_usage_error("event-types", "\"%s\" is no name of a type", argv[1]);
    }
    if (argc == 2 && strcmp(argv[0], "get") == 0) {
        return cli_call_and_show("GET", path, MR_STR_NONE);
    }
    if (argc == 3 && strcmp(argv[0], "update") == 0) {
        return cli_call_with_file("PATCH", path, argv[2]);
    }
    return cli_usage_error("event-types", "\"%s\" with these arguments is no form of this command",
                           argv[0]);
}
