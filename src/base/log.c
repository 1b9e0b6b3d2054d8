/* Log lines. See log.h. */
#include "base/log.h"

#include "base/buf.h"

#define LINE_SIZE_MAX 4096

static bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '/' || c == ':' || c == '@' || c == '+' || c == '-';
}

static mr_err put_quoted(mr_buf *line, mr_str text) {
    MR_TRY(mr_buf_byte(line, '"'));
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            MR_TRY(mr_buf_byte(line, '\\'));
            MR_TRY(mr_buf_byte(line, (char)c));
        } else if (c < 0x20 || c >= 0x7f) {
            MR_TRY(mr_buf_printf(line, "\\x%02x", c));
        } else {
            MR_TRY(mr_buf_byte(line, (char)c));
        }
    }
    return mr_buf_byte(line, '"');
}

static mr_err put_pair(mr_buf *line, const mr_log_pair *pair) {
    MR_TRY(mr_buf_printf(line, " %s=", pair->key));
    if (pair->is_number) {
        return mr_buf_i64(line, pair->number);
    }
    bool plain = pair->text.len > 0;
    for (size_t i = 0; i < pair->text.len && plain; i++) {
        plain = is_plain(pair->text.ptr[i]);
    }
    return plain ? mr_buf_str(line, pair->text) : put_quoted(line, pair->text);
}

void mr_log_line(const mr_log *log, enum mr_log_level level, const char *event, size_t n_pairs,
                 const mr_log_pair *pairs) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (log == NULL || level < log->level) {
        return;
    }
    char stamp[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(log->now(log->ctx), stamp);
    mr_buf line;
    mr_buf_init(&line, LINE_SIZE_MAX);
    mr_err err = mr_buf_printf(&line, "%s %s %s", stamp, names[level], event);
    for (size_t i = 0; i < n_pairs && mr_is_ok(err); i++) {
        size_t before = line.len;
        err = put_pair(&line, &pairs[i]);
        if (mr_is_err(err)) {
            mr_buf_truncate(&line, before);
        }
    }
    if (line.len == LINE_SIZE_MAX) {
        mr_buf_truncate(&line, LINE_SIZE_MAX - 1);
    }
    mr_ignore(mr_buf_byte(&line, '\n'), "without memory the line is lost, the program goes on");
    log->write(log->ctx, mr_buf_view(&line));
    mr_buf_done(&line);
}
