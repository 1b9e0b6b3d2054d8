/* schema check: a JSON Schema document, and instances against it, without a server. Exit 0 all
 * valid, 1 some invalid, 2 the schema is refused (or a file could not be read). References to
 * documents of a catalogue are refused: there is none here. */
#include "cli/cli.h"

#include "base/mem.h"
#include "json/write.h"
#include "schema/schema.h"

#include <stdio.h>

#define FILES_MAX    1024
#define INSTANCE_MAX ((size_t)128 << 20)
#define OUTPUT_MAX   ((size_t)64 << 20)

enum schema_option { OPTION_SCHEMA = 0, OPTION_JSON, OPTIONS };

/* The command at work. */
struct schema_check {
    const struct schema *schema;
    struct schema_run *run;
    json_tape tape;
    mr_buf text; /* what is printed at the end */
    json_out out;
    bool as_json;
};

static void tell_unread(struct schema_check *c, const char *path, const json_error *error) {
    if (c->as_json) {
        json_out_object(&c->out);
        json_out_member_c(&c->out, "file", path);
        json_out_member_bool(&c->out, "valid", false);
        json_out_member_array(&c->out, "errors");
        json_out_object(&c->out);
        json_out_member_c(&c->out, "rule", "json");
        json_out_member_c(&c->out, "message", error->expected);
        json_out_member_u64(&c->out, "offset", error->offset);
        json_out_end(&c->out);
        json_out_end(&c->out);
        json_out_end(&c->out);
        return;
    }
    mr_ignore(mr_buf_printf(&c->text, "%s: not JSON at byte %zu: %s, expected %s\n", path,
                            error->offset, error->rule, error->expected),
              "output is cut at its limit");
}

static void tell_json(struct schema_check *c, const char *path, const struct schema_error *errors,
                      size_t n) {
    json_out_object(&c->out);
    json_out_member_c(&c->out, "file", path);
    json_out_member_bool(&c->out, "valid", n == 0);
    json_out_member_array(&c->out, "errors");
    for (size_t i = 0; i < n; i++) {
        json_out_object(&c->out);
        json_out_member_str(&c->out, "instance", errors[i].instance);
        json_out_member_str(&c->out, "schema", errors[i].schema);
        json_out_member_c(&c->out, "rule", errors[i].rule);
        json_out_member_str(&c->out, "message", errors[i].message);
        json_out_member_u64(&c->out, "offset", errors[i].offset);
        json_out_end(&c->out);
    }
    json_out_end(&c->out);
    json_out_end(&c->out);
}

static void tell_text(struct schema_check *c, const char *path, const struct schema_error *errors,
                      size_t n) {
    mr_err err = mr_buf_printf(&c->text, "%s: %s\n", path, n == 0 ? "valid" : "invalid");
    for (size_t i = 0; i < n && mr_is_ok(err); i++) {
        err = mr_buf_printf(&c->text, "  #%.*s: %.*s (rule #%.*s)\n", MR_FMT(errors[i].instance),
                            MR_FMT(errors[i].message), MR_FMT(errors[i].schema));
    }
    mr_ignore(err, "output is cut at its limit");
}

/* CLI_OK valid, CLI_NO invalid or no JSON, CLI_USAGE unreadable. */
static int check_file(struct schema_check *c, const char *path) {
    mr_str text;
    json_error error = {.expected = NULL};
    const struct schema_error *errors = NULL;
    size_t n = 0;
    if (!cli_read_file(path, INSTANCE_MAX, &text)) {
        return CLI_USAGE;
    }
    mr_err err = json_tape_read(&c->tape, text, &error);
    int code = CLI_NO;
    if (mr_is_err(err) && error.expected == NULL) {
        cli_problem("could not read %s: too large", path);
        code = CLI_USAGE;
    } else if (mr_is_err(err)) {
        tell_unread(c, path, &error);
    } else {
        bool valid = schema_validate(c->schema, json_root(&c->tape), c->run, &errors, &n);
        code = valid ? CLI_OK : CLI_NO;
        (c->as_json ? tell_json : tell_text)(c, path, errors, n);
    }
    mr_free((void *)(uintptr_t)text.ptr);
    return code;
}

static int refuse_schema(const struct schema_fault *fault, const char *path, bool as_json) {
    mr_buf text;
    json_out out;
    if (!as_json) {
        fprintf(stderr, "%s: refused at #%s: expected %s\n", path, fault->pointer, fault->expected);
        return CLI_USAGE;
    }
    mr_buf_init(&text, OUTPUT_MAX);
    json_out_init(&out, &text);
    json_out_object(&out);
    json_out_member_object(&out, "refused");
    json_out_member_c(&out, "pointer", fault->pointer);
    json_out_member_c(&out, "expected", fault->expected);
    json_out_member_i64(&out, "offset", fault->offset);
    json_out_end(&out);
    json_out_end(&out);
    if (mr_is_ok(json_out_finish(&out))) {
        cli_print(mr_buf_view(&text));
        cli_print(MR_STR("\n"));
    }
    mr_buf_done(&text);
    return CLI_USAGE;
}

static int check_files(struct schema_check *c, const char **paths, size_t n, mr_str ignored) {
    int code = CLI_OK;
    json_out_init(&c->out, &c->text);
    if (c->as_json) {
        json_out_object(&c->out);
        json_out_member_raw(&c->out, "ignored", ignored);
        json_out_member_array(&c->out, "instances");
    }
    for (size_t i = 0; i < n; i++) {
        int one = check_file(c, paths[i]);
        code = one > code ? one : code;
    }
    if (c->as_json) {
        json_out_end(&c->out);
        json_out_end(&c->out);
        if (mr_is_err(json_out_finish(&c->out)) || mr_is_err(mr_buf_byte(&c->text, '\n'))) {
            cli_problem("could not tell the errors: too many");
            return CLI_USAGE;
        }
    } else if (ignored.len > 2) {
        fprintf(stderr, "ignored: %.*s\n", MR_FMT(ignored));
    }
    cli_print(mr_buf_view(&c->text));
    return code;
}

/* With the schema's text read. */
static int check_all(mr_str document, const char *schema_path, const char **paths, size_t n,
                     bool as_json) {
    struct schema_check c = {.as_json = as_json};
    struct schema *schema = NULL;
    struct schema_fault fault;
    mr_buf ignored;
    int code = CLI_USAGE;
    mr_buf_init(&ignored, OUTPUT_MAX);
    mr_buf_init(&c.text, OUTPUT_MAX);
    json_tape_init(&c.tape, JSON_DEPTH_MAX);
    mr_err err = schema_compile(document, NULL, &schema, &ignored, &fault);
    if (mr_err_is(err, SCHEMA_E_REFUSED)) {
        code = refuse_schema(&fault, schema_path, as_json);
    } else if (mr_is_err(err) || mr_is_err(schema_run_new(&c.run))) {
        cli_problem("could not check: out of memory");
    } else {
        c.schema = schema;
        code = check_files(&c, paths, n, mr_buf_view(&ignored));
    }
    schema_run_free(c.run);
    schema_free(schema);
    json_tape_done(&c.tape);
    mr_buf_done(&c.text);
    mr_buf_done(&ignored);
    return code;
}

int cli_schema(int argc, char **argv) {
    struct cli_option options[OPTIONS] = {{.name = "schema"}, {.name = "json", .is_flag = true}};
    const char *args[FILES_MAX];
    size_t n;
    if (argc == 0 ||
        (strcmp(argv[0], "check") != 0 && !mr_str_starts(mr_str_c(argv[0]), MR_STR("--")))) {
        return cli_schema_catalogue(argc, argv);
    }
    if (!cli_options(argc, argv, options, OPTIONS, args, FILES_MAX, &n, "schema")) {
        return CLI_USAGE;
    }
    if (n == 0 || strcmp(args[0], "check") != 0) {
        return cli_usage_error("schema", "say what to do: check, list, get or publish");
    }
    if (options[OPTION_SCHEMA].value == NULL) {
        return cli_usage_error("schema", "--schema is needed");
    }
    mr_str document;
    const char *path = options[OPTION_SCHEMA].value;
    if (!cli_read_file(path, INSTANCE_MAX, &document)) {
        return CLI_USAGE;
    }
    int code = check_all(document, path, args + 1, n - 1, options[OPTION_JSON].is_given);
    mr_free((void *)(uintptr_t)document.ptr);
    return code;
}
