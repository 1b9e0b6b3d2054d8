/* `millrace filter test (--pattern FILE | --cesql EXPR) EVENT…`: which events a streaming rule's
 * filter would take, and why not the others. The same reader and the same machine as the server's;
 * an EVENT is a file with one envelope, an array of them, or one per line. */
#include "cli/cli.h"

#include "base/mem.h"
#include "event/event.h"
#include "route/filter.h"

#include <stdio.h>

#define FILES_MAX      1024
#define FILE_MAX       ((size_t)128 << 20)
#define OUT_MAX        ((size_t)16 << 20)
#define OWN_ATTRIBUTES 8

enum filter_option { FILTER_PATTERN = 0, FILTER_CESQL, FILTER_JSON, FILTER_OPTIONS };

struct tester {
    struct filter *filter;
    struct filter_run *run;
    struct event_limits limits;
    struct event_parser parser;
    json_tape tape;
    mr_buf out;
    struct filter_attribute *attributes; /* room for an event with all its extensions */
    bool is_json;
    bool all_match;
};

/* The event being tested: for messages. line 0: the whole file. */
struct place {
    const char *file;
    size_t line;
};

static void print_place(FILE *to, struct place place) {
    fprintf(to, "%s", place.file);
    if (place.line > 0) {
        fprintf(to, ":%zu", place.line);
    }
}

/* --- the filter --------------------------------------------------------------------------------*/

static bool compile_pattern(struct tester *tester, const char *file) {
    mr_str text;
    struct filter_fault fault;
    if (!cli_read_file(file, FILTER_PATTERN_BYTES_MAX * 16, &text)) {
        return false;
    }
    mr_err err = filter_compile_pattern(text, &tester->filter, &fault);
    mr_free((void *)(uintptr_t)text.ptr);
    if (mr_err_is(err, FILTER_E_REFUSED)) {
        cli_problem("%s: the pattern is refused at \"%s\": expected %s", file, fault.pointer,
                    fault.expected);
    } else if (mr_is_err(err)) {
        cli_problem("%s: there is no memory for the pattern", file);
    }
    return mr_is_ok(err);
}

static bool compile_cesql(struct tester *tester, const char *text) {
    struct filter_fault fault;
    mr_err err = filter_compile_cesql(mr_str_c(text), &tester->filter, &fault);
    if (mr_err_is(err, FILTER_E_REFUSED)) {
        cli_problem("the expression is refused at line %u, column %u: expected %s", fault.line,
                    fault.column, fault.expected);
    } else if (mr_is_err(err)) {
        cli_problem("there is no memory for the expression");
    }
    return mr_is_ok(err);
}

/* --- events ------------------------------------------------------------------------------------*/

static size_t add_attribute(struct tester *tester, size_t n, const char *name, mr_str text) {
    if (mr_str_is_absent(text)) {
        return n;
    }
    tester->attributes[n] = (struct filter_attribute){mr_str_c(name), text, FILTER_STRING};
    return n + 1;
}

static struct filter_event filter_event_of(struct tester *tester, const struct event *event) {
    size_t n = add_attribute(tester, 0, "specversion", MR_STR("1.0"));
    n = add_attribute(tester, n, "id", event->id);
    n = add_attribute(tester, n, "source", event->source);
    n = add_attribute(tester, n, "type", event->type);
    n = add_attribute(tester, n, "subject", event->subject);
    n = add_attribute(tester, n, "time", event->time);
    n = add_attribute(tester, n, "dataschema", event->dataschema);
    n = add_attribute(tester, n, "datacontenttype", event->datacontenttype);
    MR_ASSERT(n <= OWN_ATTRIBUTES && event->extensions_len <= tester->limits.extensions_max);
    for (size_t i = 0; i < event->extensions_len; i++) {
        const struct event_attribute *extension = &event->extensions[i];
        struct filter_attribute *attribute = &tester->attributes[n++];
        *attribute = (struct filter_attribute){extension->name, extension->text, FILTER_INTEGER};
        if (mr_str_starts(extension->json, MR_STR("\""))) {
            attribute->type = FILTER_STRING;
        } else if (mr_str_eq(extension->json, MR_STR("true")) ||
                   mr_str_eq(extension->json, MR_STR("false"))) {
            attribute->type = FILTER_BOOLEAN;
        }
    }
    return (struct filter_event){tester->attributes, n, event->data_value};
}

/* {"event","line","matches", and what filter_explain tells}. */
static mr_err tell_json(struct tester *tester, struct place place, const struct filter_event *event,
                        bool matches) {
    json_out json;
    mr_buf explained;
    mr_buf_init(&explained, OUT_MAX);
    json_out_init(&json, &tester->out);
    json_out_object(&json);
    json_out_member_c(&json, "event", place.file);
    if (place.line > 0) {
        json_out_member_u64(&json, "line", place.line);
    } else {
        json_out_member_null(&json, "line");
    }
    json_out_member_bool(&json, "matches", matches);
    json_out_end(&json);
    mr_err err = json_out_finish(&json);
    err = mr_is_ok(err) ? filter_explain(tester->filter, event, tester->run, &explained) : err;
    if (mr_is_ok(err)) {
        mr_buf_truncate(&tester->out, tester->out.len - 1);
        mr_str members = mr_str_slice(mr_buf_view(&explained), 1, explained.len);
        err = mr_buf_printf(&tester->out, ",%.*s\n", MR_FMT(members));
    }
    mr_buf_done(&explained);
    return err;
}

static mr_err tell_text(struct tester *tester, struct place place, const struct filter_event *event,
                        bool matches) {
    MR_TRY(mr_buf_printf(&tester->out, "%s", place.file));
    if (place.line > 0) {
        MR_TRY(mr_buf_printf(&tester->out, ":%zu", place.line));
    }
    if (matches) {
        return mr_buf_printf(&tester->out, ": matches\n");
    }
    MR_TRY(mr_buf_printf(&tester->out, ": does not match: "));
    MR_TRY(filter_why_not(tester->filter, event, tester->run, &tester->out));
    return mr_buf_byte(&tester->out, '\n');
}

static bool test_event(struct tester *tester, struct place place, const struct event *event) {
    struct filter_event seen = filter_event_of(tester, event);
    bool matches = filter_matches(tester->filter, &seen, tester->run, NULL);
    tester->all_match = tester->all_match && matches;
    mr_buf_reset(&tester->out);
    mr_err err = tester->is_json ? tell_json(tester, place, &seen, matches)
                                 : tell_text(tester, place, &seen, matches);
    if (mr_is_err(err)) {
        cli_problem("there is no memory to tell the result");
        return false;
    }
    cli_print(mr_buf_view(&tester->out));
    return true;
}

static void tell_errors(struct place place, const struct event_errors *errors) {
    for (uint32_t i = 0; i < errors->len; i++) {
        fprintf(stderr, "millrace: ");
        print_place(stderr, place);
        fprintf(stderr, ": %.*s", MR_FMT(errors->ptr[i].pointer));
        fprintf(stderr, "%s%.*s\n", errors->ptr[i].pointer.len > 0 ? ": " : "",
                MR_FMT(errors->ptr[i].message));
    }
}

/* One JSON text: an envelope, or an array of them. False: printed. */
static bool test_text(struct tester *tester, struct place place, mr_str text) {
    static const mr_field content_type = {{"content-type", 12}, {"application/json", 16}};
    struct event_batch batch;
    if (mr_is_err(event_parse(&tester->parser, (mr_fields){&content_type, 1}, text, &batch))) {
        cli_problem("there is no memory for the events");
        return false;
    }
    if (batch.errors.http_status != 0) {
        tell_errors(place, &batch.errors);
        return false;
    }
    for (size_t i = 0; i < batch.len; i++) {
        if (!test_event(tester, place, &batch.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* A whole file that is one JSON text, else its lines. */
static bool test_file(struct tester *tester, const char *file) {
    mr_str text;
    if (!cli_read_file(file, FILE_MAX, &text)) {
        return false;
    }
    bool ok = true;
    struct place place = {file, 0};
    mr_str rest = text, line;
    if (mr_is_ok(json_tape_read(&tester->tape, text, NULL)) ||
        mr_str_find_byte(text, '\n', 0) == SIZE_MAX) {
        ok = test_text(tester, place, text);
    } else {
        while (ok && mr_str_split(&rest, '\n', &line)) {
            place.line++;
            ok = mr_str_trim(line).len <= 1 || test_text(tester, place, line);
        }
    }
    mr_free((void *)(uintptr_t)text.ptr);
    return ok;
}

/* --- the command -------------------------------------------------------------------------------*/

static int run_test(struct tester *tester, const struct cli_option *options, const char **files,
                    size_t n_files) {
    tester->attributes = mr_calloc(OWN_ATTRIBUTES + (size_t)tester->limits.extensions_max,
                                   sizeof *tester->attributes);
    if (tester->attributes == NULL || mr_is_err(filter_run_new(&tester->run))) {
        cli_problem("there is no memory to begin");
        return CLI_USAGE;
    }
    if (options[FILTER_PATTERN].value != NULL
            ? !compile_pattern(tester, options[FILTER_PATTERN].value)
            : !compile_cesql(tester, options[FILTER_CESQL].value)) {
        return CLI_USAGE;
    }
    for (size_t i = 0; i < n_files; i++) {
        if (!test_file(tester, files[i])) {
            return CLI_USAGE;
        }
    }
    return tester->all_match ? CLI_OK : CLI_NO;
}

int cli_filter(int argc, char **argv) {
    if (argc < 1 || strcmp(argv[0], "test") != 0) {
        return cli_usage_error("filter", "there is one form: filter test");
    }
    struct cli_option options[FILTER_OPTIONS] = {
        {.name = "pattern"}, {.name = "cesql"}, {.name = "json", .is_flag = true}};
    const char *files[FILES_MAX];
    size_t n_files;
    if (!cli_options(argc - 1, argv + 1, options, FILTER_OPTIONS, files, FILES_MAX, &n_files,
                     "filter")) {
        return CLI_USAGE;
    }
    if (options[FILTER_PATTERN].is_given == options[FILTER_CESQL].is_given) {
        return cli_usage_error("filter", "either --pattern or --cesql is needed");
    }
    if (n_files == 0) {
        return cli_usage_error("filter", "a file with events is needed (- for standard input)");
    }
    struct tester tester = {.is_json = options[FILTER_JSON].is_given, .all_match = true};
    tester.limits = event_limits_default;
    tester.limits.body_bytes_max = FILE_MAX;
    event_parser_init(&tester.parser, &tester.limits);
    json_tape_init(&tester.tape, JSON_DEPTH_MAX);
    mr_buf_init(&tester.out, OUT_MAX);
    int code = run_test(&tester, options, files, n_files);
    filter_free(tester.filter);
    filter_run_free(tester.run);
    event_parser_done(&tester.parser);
    json_tape_done(&tester.tape);
    mr_buf_done(&tester.out);
    mr_free(tester.attributes);
    return code;
}
