/* `millrace publish [FILE|-]`: one envelope, an array of them, or one per line.
 *
 * Which of the three it is shows in the first line that is not blank: `[` begins an array; a whole
 * JSON object is the first of many lines; anything else is one value over several lines. Lines are
 * published as they come, so that a producer may stay at the other end of a pipe; an array and a
 * single envelope are read whole. Each value is checked to be JSON here, where its place can be
 * named; everything else is the server's to judge. */
#include "cli/cli.h"
#include "cli/publisher.h"

#include "json/tape.h"
#include "os/clock.h"

#include <errno.h>
#include <stdio.h>

#define INPUT_MAX   ((size_t)128 << 20) /* what one JSON text may have */
#define LINGER_MS   1000                /* a waiting line is sent with the next one after this */
#define JSON_SPACES " \t\r\n"

/* What is read, and where it is. */
struct input {
    FILE *file;
    const char *name;
    mr_buf text;
    uint64_t line;
    json_tape tape;
};

static mr_str trim(mr_str text) {
    while (text.len > 0 && strchr(JSON_SPACES, text.ptr[0]) != NULL && text.ptr[0] != '\0') {
        text = mr_str_slice(text, 1, text.len);
    }
    while (text.len > 0 && strchr(JSON_SPACES, text.ptr[text.len - 1]) != NULL &&
           text.ptr[text.len - 1] != '\0') {
        text.len--;
    }
    return text;
}

/* Appends one line with its end to the text. False: the input is over, or printed. */
static bool read_line(struct input *input, bool *ret_failed) {
    size_t before = input->text.len;
    int c = EOF;
    while ((c = getc_unlocked(input->file)) != EOF) {
        if (mr_is_err(mr_buf_byte(&input->text, (char)c))) {
            cli_problem("%s: line %llu is too long", input->name,
                        (unsigned long long)input->line + 1);
            *ret_failed = true;
            return false;
        }
        if (c == '\n') {
            break;
        }
    }
    if (c == EOF && ferror(input->file)) {
        cli_problem("could not read %s: %s", input->name, strerror(errno));
        *ret_failed = true;
        return false;
    }
    input->line += input->text.len > before ? 1 : 0;
    return input->text.len > before;
}

/* The next line that is not blank, alone in the text; an empty one at the end of the input. */
static bool next_line(struct input *input, mr_str *ret_line) {
    bool failed = false;
    *ret_line = MR_STR("");
    do {
        mr_buf_reset(&input->text);
        if (!read_line(input, &failed)) {
            return !failed;
        }
        *ret_line = trim(mr_buf_view(&input->text));
    } while (ret_line->len == 0);
    return true;
}

static int tell_bad(const struct input *input, mr_str text, const json_error *error, mr_err err) {
    if (mr_err_is(err, MR_E_NOMEM) || mr_err_is(err, MR_E_LIMIT)) {
        cli_problem("could not read %s: too large", input->name);
    } else if (text.len > 0) {
        cli_problem("%s: line %llu is not valid JSON at byte %zu: %s, expected %s", input->name,
                    (unsigned long long)input->line, error->offset, error->rule, error->expected);
    } else {
        cli_problem("%s: not valid JSON at byte %zu: %s, expected %s; give one envelope, an array, "
                    "or one envelope per line",
                    input->name, error->offset, error->rule, error->expected);
    }
    return CLI_NO;
}

/* The first line is there and whole: one event per line. */
static int publish_lines(struct input *input, struct publisher *publisher, mr_str line) {
    while (line.len > 0) {
        json_error error = {0};
        mr_err err = json_tape_read(&input->tape, line, &error);
        if (mr_is_err(err)) {
            return tell_bad(input, line, &error, err);
        }
        if (!publisher_add(publisher, line)) {
            return publisher->code;
        }
        if (mr_mono_diff_ms(os_mono_now(), publisher->since) >= LINGER_MS &&
            !publisher_flush(publisher)) {
            return publisher->code;
        }
        publisher_progress(publisher, 0);
        if (!next_line(input, &line)) {
            return CLI_USAGE;
        }
    }
    return publisher_flush(publisher) ? CLI_OK : publisher->code;
}

/* The text holds the beginning: reads the rest, one value in all. */
static int publish_whole(struct input *input, struct publisher *publisher) {
    bool failed = false;
    while (read_line(input, &failed)) {
    }
    if (failed) {
        return CLI_USAGE;
    }
    json_error error = {0};
    mr_err err = json_tape_read(&input->tape, mr_buf_view(&input->text), &error);
    if (mr_is_err(err)) {
        return tell_bad(input, MR_STR_NONE, &error, err);
    }
    json_value root = json_root(&input->tape);
    if (json_kind_of(root) != JSON_ARRAY) {
        return publisher_add(publisher, json_raw(root)) && publisher_flush(publisher)
                   ? CLI_OK
                   : publisher->code;
    }
    if (json_count(root) == 0) {
        return publisher_send_empty(publisher) ? CLI_OK : publisher->code;
    }
    for (json_iter it = json_iter_of(root); json_next(&it);) {
        if (!publisher_add(publisher, json_raw(it.value))) {
            return publisher->code;
        }
        publisher_progress(publisher, json_count(root));
    }
    return publisher_flush(publisher) ? CLI_OK : publisher->code;
}

static int publish(struct input *input, struct publisher *publisher) {
    mr_str line;
    if (!next_line(input, &line)) {
        return CLI_USAGE;
    }
    if (line.len == 0) {
        cli_problem("%s holds no event", input->name);
        return CLI_NO;
    }
    if (line.ptr[0] != '[' && mr_is_ok(json_tape_read(&input->tape, line, NULL))) {
        return publish_lines(input, publisher, line);
    }
    return publish_whole(input, publisher);
}

int cli_publish(int argc, char **argv) {
    const char *path = "-";
    size_t n;
    if (!cli_options(argc, argv, NULL, 0, &path, 1, &n, "publish")) {
        return CLI_USAGE;
    }
    bool is_stdin = strcmp(path, "-") == 0;
    struct input input = {.file = is_stdin ? stdin : fopen(path, "rb"),
                          .name = is_stdin ? "standard input" : path};
    if (input.file == NULL) {
        cli_problem("could not read %s: %s", path, strerror(errno));
        return CLI_USAGE;
    }
    mr_buf_init(&input.text, INPUT_MAX);
    json_tape_init(&input.tape, JSON_DEPTH_DEFAULT);
    struct publisher publisher;
    int code = CLI_USAGE;
    if (publisher_init(&publisher, true)) {
        code = publish(&input, &publisher);
        uint64_t done = publisher.accepted + publisher.duplicates;
        if (publisher.was_told || (code != CLI_OK && done > 0)) {
            fprintf(stderr, "millrace: %llu events published, %llu of them known before\n",
                    (unsigned long long)done, (unsigned long long)publisher.duplicates);
        }
    }
    publisher_done(&publisher);
    json_tape_done(&input.tape);
    mr_buf_done(&input.text);
    if (!is_stdin) {
        fclose(input.file);
    }
    return code;
}
