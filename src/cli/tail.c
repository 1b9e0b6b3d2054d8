/* `millrace tail`: the live view as lines `event data`.
 *
 * The server's stream is made of server-sent events (HTML Living Standard §9.2): fields in lines, a
 * blank line behind each event, comments (a colon first) to keep the connection alive. Several data
 * lines of one event are joined with a space, since the data is JSON. Output is flushed event by
 * event, for it is read as it happens. */
#include "cli/cli.h"
#include "cli/client.h"

#include <stdio.h>

#define LINE_MAX_BYTES ((size_t)16 << 20)
#define PATH_SIZE      2048

struct tail_view {
    mr_buf line; /* a line that is not whole yet */
    mr_buf name; /* of the event */
    mr_buf data;
    bool ended_in_cr; /* a line feed that comes next belongs to it */
    bool failed;
};

static bool show(struct tail_view *view) {
    if (view->data.len > 0) {
        mr_str name = view->name.len > 0 ? mr_buf_view(&view->name) : MR_STR("message");
        mr_str data = mr_buf_view(&view->data);
        printf("%.*s ", MR_FMT(name));
        cli_print(data);
        cli_print(MR_STR("\n"));
        view->failed = fflush(stdout) != 0;
    }
    mr_buf_reset(&view->name);
    mr_buf_reset(&view->data);
    return !view->failed;
}

/* One line of the stream, without its end. */
static bool take_line(struct tail_view *view, mr_str line) {
    if (line.len == 0) {
        return show(view);
    }
    size_t colon = mr_str_find_byte(line, ':', 0);
    mr_str name = mr_str_slice(line, 0, colon);
    mr_str value = colon == SIZE_MAX ? MR_STR("") : mr_str_slice(line, colon + 1, line.len);
    if (value.len > 0 && value.ptr[0] == ' ') {
        value = mr_str_slice(value, 1, value.len);
    }
    mr_err err = MR_OK;
    if (mr_str_eq(name, MR_STR("event"))) {
        mr_buf_reset(&view->name);
        err = mr_buf_str(&view->name, value);
    } else if (mr_str_eq(name, MR_STR("data"))) {
        err = view->data.len > 0 ? mr_buf_byte(&view->data, ' ') : MR_OK;
        err = mr_is_ok(err) ? mr_buf_str(&view->data, value) : err;
    }
    return mr_is_ok(err);
}

static bool on_bytes(void *ctx, mr_str bytes) {
    struct tail_view *view = ctx;
    size_t from = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];
        if (c == '\n' && view->ended_in_cr) {
            view->ended_in_cr = false;
            from = i + 1;
            continue;
        }
        view->ended_in_cr = c == '\r';
        if (c != '\n' && c != '\r') {
            continue;
        }
        bool ok = mr_is_ok(mr_buf_str(&view->line, mr_str_slice(bytes, from, i))) &&
                  take_line(view, mr_buf_view(&view->line));
        mr_buf_reset(&view->line);
        from = i + 1;
        if (!ok) {
            view->failed = true;
            return false;
        }
    }
    view->failed = from < bytes.len &&
                   mr_is_err(mr_buf_str(&view->line, mr_str_slice(bytes, from, bytes.len)));
    return !view->failed;
}

/* Appends `name=value`, the value percent-encoded. */
static bool add_query(const struct cli_client *client, char path[static PATH_SIZE],
                      const char *name, const char *value) {
    if (value == NULL) {
        return true;
    }
    char encoded[PATH_SIZE];
    if (!cli_client_escape(client, value, encoded, sizeof encoded)) {
        return false;
    }
    size_t len = strlen(path);
    int n = snprintf(path + len, PATH_SIZE - len, "%c%s=%s", strchr(path, '?') == NULL ? '?' : '&',
                     name, encoded);
    return n > 0 && (size_t)n < PATH_SIZE - len;
}

int cli_tail(int argc, char **argv) {
    struct cli_option options[] = {{.name = "destination"}, {.name = "type"}};
    const char *args[1];
    size_t n;
    char path[PATH_SIZE] = "/v1/tail";
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "tail")) {
        return CLI_USAGE;
    }
    struct cli_client *client = cli_client_new();
    if (client == NULL) {
        return CLI_USAGE;
    }
    if (!add_query(client, path, "destination_id", options[0].value) ||
        !add_query(client, path, "type", options[1].value)) {
        cli_client_free(client);
        return cli_usage_error("tail", "the value of an option is too long");
    }
    struct tail_view view = {0};
    mr_buf_init(&view.line, LINE_MAX_BYTES);
    mr_buf_init(&view.name, LINE_MAX_BYTES);
    mr_buf_init(&view.data, LINE_MAX_BYTES);
    bool ended = cli_stream(client, path, on_bytes, &view);
    mr_buf_done(&view.line);
    mr_buf_done(&view.name);
    mr_buf_done(&view.data);
    cli_client_free(client);
    return ended ? CLI_OK : CLI_NO;
}
