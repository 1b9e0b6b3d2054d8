/* YAML to JSON with places.
 *
 * libyaml's events are written as JSON text at once; a table says for each key and value where in
 * the file it began. The tape then reads that text as it reads any other: it finds duplicate keys
 * and text that is not UTF-8, and everybody behind it works with JSON values. */
#include "cli/apply/document.h"

#include "cli/cli.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "json/write.h"
#include "os/process.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#define DEPTH_MAX 60U
#define PATH_SIZE 4096

/* An open container. */
struct level {
    bool is_mapping;
    bool has_any;
    bool expects_value; /* of a mapping: its key was written */
};

struct reader {
    struct document *document;
    struct level levels[DEPTH_MAX];
    uint32_t depth;
    bool has_document;
};

static bool fail_at(const struct document *document, size_t line, size_t column, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));
static bool fail_at(const struct document *document, size_t line, size_t column, const char *format,
                    ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_problem("%s:%zu:%zu: %s", document->path, line, column, text);
    return false;
}

#define FAIL(reader, event, ...)                                                                   \
    fail_at((reader)->document, (event)->start_mark.line + 1, (event)->start_mark.column + 1,      \
            __VA_ARGS__)

static bool fail_memory(const struct document *document) {
    cli_problem("%s: too large together with the files that it names", document->path);
    return false;
}

/* ---- places ---- */

static bool note_place(struct reader *reader, const yaml_event_t *event) {
    struct document *document = reader->document;
    if (document->n_places == document->cap_places) {
        size_t cap = document->cap_places == 0 ? 256 : document->cap_places * 2;
        void *grown = mr_realloc(document->places, cap * sizeof *document->places);
        if (grown == NULL) {
            return fail_memory(document);
        }
        document->places = grown;
        document->cap_places = cap;
    }
    document->places[document->n_places++] =
        (struct document_place){document->json.len, (uint32_t)event->start_mark.line + 1,
                                (uint32_t)event->start_mark.column + 1};
    return true;
}

/* The place of what begins at offset, or else of what begins last before it. */
static struct document_place find_place(const struct document *document, size_t offset) {
    size_t from = 0;
    size_t to = document->n_places;
    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;
        if (document->places[middle].offset <= offset) {
            from = middle;
        } else {
            to = middle;
        }
    }
    return document->n_places > 0 ? document->places[from]
                                  : (struct document_place){.line = 1, .column = 1};
}

bool document_problem(const struct document *document, json_value at, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct document_place place = find_place(document, json_is_absent(at) ? 0 : json_offset(at));
    cli_problem("%s:%u:%u: %s", document->path, place.line, place.column, text);
    return false;
}

/* ---- plain words ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static size_t digits(mr_str text, size_t at) {
    size_t n = 0;
    while (at + n < text.len && is_digit(text.ptr[at + n])) {
        n++;
    }
    return n;
}

/* RFC 8259's number. */
static bool is_number(mr_str text) {
    size_t at = text.len > 0 && text.ptr[0] == '-' ? 1 : 0;
    size_t n = digits(text, at);
    if (n == 0 || (n > 1 && text.ptr[at] == '0')) {
        return false;
    }
    at += n;
    if (at < text.len && text.ptr[at] == '.') {
        n = digits(text, at + 1);
        if (n == 0) {
            return false;
        }
        at += 1 + n;
    }
    if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
        at++;
        at += at < text.len && (text.ptr[at] == '+' || text.ptr[at] == '-') ? 1 : 0;
        n = digits(text, at);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    return at == text.len;
}

/* What one takes for a text and another for a number, a date or a truth. */
bool document_is_doubtful(mr_str text) {
    static const char *const words[] = {"true", "false", "null", "yes",   "no",    "on",  "off",
                                        "y",    "n",     ".inf", "-.inf", "+.inf", ".nan"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (mr_str_eq_nocase(text, mr_str_c(words[i]))) {
            return true;
        }
    }
    size_t first = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+') ? 1 : 0;
    first += first < text.len && text.ptr[first] == '.' ? 1 : 0;
    if (first >= text.len || !is_digit(text.ptr[first])) {
        return false;
    }
    for (size_t i = first; i < text.len; i++) {
        if (strchr("0123456789abcdefABCDEFxo_.:+-", text.ptr[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static bool write_plain(struct reader *reader, const yaml_event_t *event, mr_str text) {
    mr_buf *json = &reader->document->json;
    if (text.len == 0 || mr_str_eq(text, MR_STR("~")) || mr_str_eq(text, MR_STR("null"))) {
        return mr_is_ok(mr_buf_str(json, MR_STR("null"))) || fail_memory(reader->document);
    }
    if (is_number(text) || mr_str_eq(text, MR_STR("true")) || mr_str_eq(text, MR_STR("false"))) {
        return mr_is_ok(mr_buf_str(json, text)) || fail_memory(reader->document);
    }
    if (document_is_doubtful(text)) {
        return FAIL(reader, event,
                    "readers of YAML disagree on what %.*s is: put it in quotes if it is a text",
                    MR_FMT(mr_str_slice(text, 0, 100)));
    }
    return mr_is_ok(json_string_write(text, JSON_UTF8, json)) || fail_memory(reader->document);
}

/* ---- tags ---- */

static bool write_env(struct reader *reader, const yaml_event_t *event, mr_str name) {
    char variable[256];
    const char *value =
        mr_str_to_c(name, variable, sizeof variable) ? os_environment_get(variable) : NULL;
    if (value == NULL) {
        return FAIL(reader, event, "the environment has no variable %.*s",
                    MR_FMT(mr_str_slice(name, 0, 100)));
    }
    if (!mr_str_is_utf8(mr_str_c(value))) {
        return FAIL(reader, event, "the variable %s is not text in UTF-8", variable);
    }
    return mr_is_ok(json_string_write(mr_str_c(value), JSON_UTF8, &reader->document->json)) ||
           fail_memory(reader->document);
}

static bool splice_json(struct reader *reader, const yaml_event_t *event, const char *path,
                        mr_str text) {
    json_tape tape;
    json_error error = {0};
    json_tape_init(&tape, DEPTH_MAX - reader->depth);
    mr_err err = json_tape_read(&tape, text, &error);
    bool ok = mr_is_ok(err);
    if (!ok && error.expected != NULL) {
        FAIL(reader, event, "%s is not JSON: at byte %zu, %s was expected", path, error.offset,
             error.expected);
    } else if (!ok ||
               mr_is_err(json_minify(json_root(&tape), JSON_UTF8, &reader->document->json))) {
        ok = fail_memory(reader->document);
    }
    json_tape_done(&tape);
    return ok;
}

/* `!file` and `!json`. */
static bool write_file(struct reader *reader, const yaml_event_t *event, mr_str name,
                       bool is_json) {
    char path[PATH_SIZE];
    const char *own = reader->document->path;
    const char *slash = strrchr(own, '/');
    bool is_relative = !mr_str_starts(name, MR_STR("/")) && slash != NULL;
    int n = snprintf(path, sizeof path, "%.*s%.*s", is_relative ? (int)(slash + 1 - own) : 0, own,
                     MR_FMT(name));
    mr_str text;
    if (name.len == 0 || n < 0 || (size_t)n >= sizeof path ||
        memchr(name.ptr, '\0', name.len) != NULL || strcmp(path, "-") == 0) {
        return FAIL(reader, event, "this is no path of a file");
    }
    if (!cli_read_file(path, DOCUMENT_BYTES_MAX, &text)) {
        return FAIL(reader, event, "the file that is named here is needed");
    }
    mr_str content = text.ptr == NULL ? MR_STR("") : text;
    bool ok;
    if (is_json) {
        ok = splice_json(reader, event, path, content);
    } else if (!mr_str_is_utf8(content)) {
        ok = FAIL(reader, event, "%s is not text in UTF-8", path);
    } else {
        content.len -= mr_str_ends(content, MR_STR("\n")) ? 1 : 0;
        content.len -= mr_str_ends(content, MR_STR("\r")) ? 1 : 0;
        ok = mr_is_ok(json_string_write(content, JSON_UTF8, &reader->document->json)) ||
             fail_memory(reader->document);
    }
    if (text.ptr != NULL) {
        crypto_wipe((void *)(uintptr_t)text.ptr, text.len);
    }
    mr_free((void *)(uintptr_t)text.ptr);
    return ok;
}

/* ---- events ---- */

static bool check_node(struct reader *reader, const yaml_event_t *event, const yaml_char_t *anchor,
                       const yaml_char_t *tag, bool is_scalar) {
    mr_str name = mr_str_c((const char *)tag);
    if (anchor != NULL) {
        return FAIL(reader, event, "anchors are not supported: write the value where it is needed");
    }
    if (tag != NULL &&
        !(is_scalar && (mr_str_eq(name, MR_STR("!file")) || mr_str_eq(name, MR_STR("!env")) ||
                        mr_str_eq(name, MR_STR("!json"))))) {
        return FAIL(reader, event,
                    "the tag %.*s is not known here; !file, !env and !json are, on "
                    "texts",
                    MR_FMT(mr_str_slice(name, 0, 100)));
    }
    return true;
}

/* Sets the comma or colon before what comes and notes its place. */
static bool begin_node(struct reader *reader, const yaml_event_t *event, bool *ret_is_key) {
    mr_err err = MR_OK;
    *ret_is_key = false;
    if (reader->depth > 0) {
        struct level *level = &reader->levels[reader->depth - 1];
        if (level->expects_value) {
            err = mr_buf_byte(&reader->document->json, ':');
            level->expects_value = false;
        } else {
            err = level->has_any ? mr_buf_byte(&reader->document->json, ',') : MR_OK;
            level->has_any = true;
            level->expects_value = level->is_mapping;
            *ret_is_key = level->is_mapping;
        }
    }
    return mr_is_ok(err) ? note_place(reader, event) : fail_memory(reader->document);
}

static bool open_container(struct reader *reader, const yaml_event_t *event, bool is_mapping) {
    const yaml_char_t *anchor =
        is_mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    const yaml_char_t *tag =
        is_mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    bool is_key = false;
    if (!check_node(reader, event, anchor, tag, false) || !begin_node(reader, event, &is_key)) {
        return false;
    }
    if (is_key) {
        return FAIL(reader, event, "a key must be a text");
    }
    if (reader->depth == DEPTH_MAX) {
        return FAIL(reader, event, "nested deeper than %u", DEPTH_MAX);
    }
    reader->levels[reader->depth++] = (struct level){.is_mapping = is_mapping};
    return mr_is_ok(mr_buf_byte(&reader->document->json, is_mapping ? '{' : '[')) ||
           fail_memory(reader->document);
}

static bool close_container(struct reader *reader, bool is_mapping) {
    reader->depth--;
    return mr_is_ok(mr_buf_byte(&reader->document->json, is_mapping ? '}' : ']')) ||
           fail_memory(reader->document);
}

static bool take_scalar(struct reader *reader, const yaml_event_t *event) {
    mr_str text = mr_str_of((const char *)event->data.scalar.value, event->data.scalar.length);
    mr_str tag = mr_str_c((const char *)event->data.scalar.tag);
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool is_key = false;
    if (!check_node(reader, event, event->data.scalar.anchor, event->data.scalar.tag, true) ||
        !begin_node(reader, event, &is_key)) {
        return false;
    }
    if (is_key && !mr_str_is_absent(tag)) {
        return FAIL(reader, event, "a key takes no tag");
    }
    if (is_key && is_plain && mr_str_eq(text, MR_STR("<<"))) {
        return FAIL(reader, event, "merge keys are not supported");
    }
    if (mr_str_eq(tag, MR_STR("!env"))) {
        return write_env(reader, event, text);
    }
    if (!mr_str_is_absent(tag)) {
        return write_file(reader, event, text, mr_str_eq(tag, MR_STR("!json")));
    }
    if (is_plain && !is_key) {
        return write_plain(reader, event, text);
    }
    return mr_is_ok(json_string_write(text, JSON_UTF8, &reader->document->json)) ||
           fail_memory(reader->document);
}

static bool take_event(struct reader *reader, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (reader->has_document) {
            return FAIL(reader, event, "a file holds one document");
        }
        reader->has_document = true;
        return true;
    case YAML_ALIAS_EVENT:
        return FAIL(reader, event, "aliases are not supported: write the value where it is needed");
    case YAML_SCALAR_EVENT:
        return take_scalar(reader, event);
    case YAML_MAPPING_START_EVENT:
        return open_container(reader, event, true);
    case YAML_SEQUENCE_START_EVENT:
        return open_container(reader, event, false);
    case YAML_MAPPING_END_EVENT:
        return close_container(reader, true);
    case YAML_SEQUENCE_END_EVENT:
        return close_container(reader, false);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return true;
    }
    return true;
}

static bool take_events(struct reader *reader, yaml_parser_t *parser) {
    for (;;) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0) {
            const yaml_mark_t *mark = &parser->problem_mark;
            return fail_at(reader->document, mark->line + 1, mark->column + 1, "not YAML: %s",
                           parser->problem != NULL ? parser->problem : "it cannot be read");
        }
        bool is_last = event.type == YAML_STREAM_END_EVENT;
        bool ok = take_event(reader, &event);
        yaml_event_delete(&event);
        if (!ok || is_last) {
            return ok;
        }
    }
}

/* ---- all ---- */

static bool read_tape(struct document *document) {
    json_error error = {0};
    mr_err err = json_tape_read(&document->tape, mr_buf_view(&document->json), &error);
    if (mr_is_ok(err)) {
        return true;
    }
    struct document_place place = find_place(document, error.offset);
    if (mr_err_is(err, JSON_E_DUPLICATE)) {
        return fail_at(document, place.line, place.column, "this key stands twice in its mapping");
    }
    if (error.expected != NULL) {
        return fail_at(document, place.line, place.column, "this cannot be: %s was expected",
                       error.expected);
    }
    return fail_memory(document);
}

bool document_read(struct document *document, const char *path, mr_str text) {
    *document = (struct document){.path = path};
    mr_buf_init(&document->json, DOCUMENT_JSON_MAX);
    json_tape_init(&document->tape, JSON_DEPTH_DEFAULT);
    struct reader reader = {.document = document};
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        return fail_memory(document);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    bool ok = take_events(&reader, &parser);
    yaml_parser_delete(&parser);
    if (ok && !reader.has_document) {
        ok = fail_at(document, 1, 1, "the file holds nothing");
    }
    return ok && read_tape(document);
}

void document_done(struct document *document) {
    if (document->json.ptr != NULL) {
        crypto_wipe(document->json.ptr, document->json.cap);
    }
    mr_buf_done(&document->json);
    json_tape_done(&document->tape);
    mr_free(document->places);
    document->places = NULL;
}
