/* Heads of HTTP/1.1 messages. See message.h. Bodies are decoded in message_body.c.
 *
 * Two passes. The first finds the empty line that ends the head, over as many calls as it takes,
 * and refuses what is certain early: a bare LF, a first byte that cannot begin a message, a wrong
 * start line, too many bytes. The second, once the head is whole, takes it apart; nothing of a head
 * that is not whole is ever kept.
 *
 * The rules are stricter than RFC 9112 where it allows two readings: any doubt about where a
 * message ends is how requests are smuggled past one reader to another. So: no Content-Length
 * beside Transfer-Encoding, no second of either, no list of lengths, no coding but chunked, no line
 * folding, no space before a colon, CR LF and nothing else at line ends. */
#include "http/message.h"

#include "base/num.h"
#include "http/chars.h"

int http_err_status(mr_err err) {
    switch ((enum http_err)err.code) {
    case HTTP_E_BAD:
        return 400;
    case HTTP_E_HEAD_TOO_LARGE:
        return 431;
    case HTTP_E_TARGET_TOO_LONG:
        return 414;
    case HTTP_E_VERSION:
        return 505;
    case HTTP_E_CODING:
        return 501;
    }
    return 500;
}

static mr_err refuse(struct http_head *head, enum http_err code, const char *problem) {
    head->problem = problem;
    return MR_ERR(code);
}

bool http_is_token(mr_str s) {
    return s.len > 0 && http_chars_are(s, HTTP_CHAR_TOKEN);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

bool http_is_field_value(mr_str s) {
    return http_chars_are(s, HTTP_CHAR_FIELD) &&
           (s.len == 0 || (!is_blank(s.ptr[0]) && !is_blank(s.ptr[s.len - 1])));
}

bool http_list_has(mr_str list, mr_str token) {
    mr_str part;
    while (mr_str_split(&list, ',', &part)) {
        if (mr_str_eq_nocase(mr_str_trim(part), token)) {
            return true;
        }
    }
    return false;
}

/* Start lines */

static enum http_method method_of(mr_str text) {
    switch (text.len) {
    case 3:
        return mr_str_eq(text, MR_STR("GET"))   ? HTTP_GET
               : mr_str_eq(text, MR_STR("PUT")) ? HTTP_PUT
                                                : HTTP_OTHER;
    case 4:
        return mr_str_eq(text, MR_STR("POST"))   ? HTTP_POST
               : mr_str_eq(text, MR_STR("HEAD")) ? HTTP_HEAD
                                                 : HTTP_OTHER;
    case 5:
        return mr_str_eq(text, MR_STR("PATCH")) ? HTTP_PATCH : HTTP_OTHER;
    case 6:
        return mr_str_eq(text, MR_STR("DELETE")) ? HTTP_DELETE : HTTP_OTHER;
    case 7:
        return mr_str_eq(text, MR_STR("OPTIONS")) ? HTTP_OPTIONS : HTTP_OTHER;
    default:
        return HTTP_OTHER;
    }
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1" */
static mr_err parse_version(mr_str text, struct http_head *head) {
    if (text.len != 8 || memcmp(text.ptr, "HTTP/", 5) != 0 || !is_digit(text.ptr[5]) ||
        text.ptr[6] != '.' || !is_digit(text.ptr[7])) {
        return refuse(head, HTTP_E_BAD, "The start line has no valid HTTP version.");
    }
    if (text.ptr[5] != '1' || text.ptr[7] > '1') {
        return refuse(head, HTTP_E_VERSION, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    }
    head->minor = text.ptr[7] - '0';
    return MR_OK;
}

static bool is_host(mr_str host) {
    return host.len > 0 && host.len <= 512 && http_chars_are(host, HTTP_CHAR_HOST);
}

/* http://authority/path?query (RFC 9112 §3.2.2); what follows the authority becomes the path. */
static mr_err parse_absolute(mr_str target, struct http_head *head, mr_str *ret_rest) {
    size_t start = mr_str_find(target, MR_STR("://"));
    mr_str scheme = mr_str_slice(target, 0, start == SIZE_MAX ? 0 : start);
    if (!mr_str_eq_nocase(scheme, MR_STR("http")) && !mr_str_eq_nocase(scheme, MR_STR("https"))) {
        return refuse(head, HTTP_E_BAD, "The request target is neither a path nor an HTTP URL.");
    }
    size_t from = start + 3;
    size_t end = from;
    while (end < target.len && target.ptr[end] != '/' && target.ptr[end] != '?') {
        end++;
    }
    head->host = mr_str_slice(target, from, end);
    if (!is_host(head->host)) {
        return refuse(head, HTTP_E_BAD, "The URL of the request has no valid host.");
    }
    *ret_rest = mr_str_slice(target, end, target.len);
    return MR_OK;
}

static mr_err parse_target(mr_str target, struct http_head *head) {
    if (target.len > HTTP_TARGET_BYTES_MAX) {
        return refuse(head, HTTP_E_TARGET_TOO_LONG, "The request target is longer than 8 KiB.");
    }
    if (target.len == 0 || !http_chars_are(target, HTTP_CHAR_TARGET)) {
        return refuse(head, HTTP_E_BAD, "The request target holds a character it must not hold.");
    }
    head->target = target;
    head->host = MR_STR_NONE;
    head->query = MR_STR_NONE;
    if (mr_str_eq(target, MR_STR("*")) && head->method == HTTP_OPTIONS) {
        head->path = target;
        return MR_OK;
    }
    mr_str rest = target;
    if (target.ptr[0] != '/') {
        MR_TRY(parse_absolute(target, head, &rest));
    }
    head->path = rest;
    size_t mark = mr_str_find_byte(rest, '?', 0);
    if (mark != SIZE_MAX) {
        head->path = mr_str_slice(rest, 0, mark);
        head->query = mr_str_slice(rest, mark + 1, rest.len);
    }
    if (head->path.len == 0) {
        head->path = MR_STR("/");
    }
    return MR_OK;
}

static mr_err parse_request_line(mr_str line, struct http_head *head) {
    size_t first = mr_str_find_byte(line, ' ', 0);
    size_t second = first == SIZE_MAX ? SIZE_MAX : mr_str_find_byte(line, ' ', first + 1);
    if (second == SIZE_MAX) {
        return refuse(head, HTTP_E_BAD,
                      "The request line is not a method, a target and an HTTP version.");
    }
    head->method_text = mr_str_slice(line, 0, first);
    if (!http_is_token(head->method_text)) {
        return refuse(head, HTTP_E_BAD, "The method holds a character it must not hold.");
    }
    MR_TRY(parse_version(mr_str_slice(line, second + 1, line.len), head));
    head->method = method_of(head->method_text);
    return parse_target(mr_str_slice(line, first + 1, second), head);
}

static mr_err parse_status_line(mr_str line, struct http_head *head) {
    MR_TRY(parse_version(mr_str_slice(line, 0, 8), head));
    bool has_status = line.len >= 12 && line.ptr[8] == ' ' && is_digit(line.ptr[9]) &&
                      is_digit(line.ptr[10]) && is_digit(line.ptr[11]) &&
                      (line.len == 12 || line.ptr[12] == ' ');
    if (!has_status) {
        return refuse(head, HTTP_E_BAD, "The status line has no status of three digits.");
    }
    head->status = (line.ptr[9] - '0') * 100 + (line.ptr[10] - '0') * 10 + (line.ptr[11] - '0');
    if (head->status < 100 || head->status > 599) {
        return refuse(head, HTTP_E_BAD, "The status is not between 100 and 599.");
    }
    if (head->status == 101) {
        return refuse(head, HTTP_E_BAD, "The server switched to another protocol unasked.");
    }
    head->reason = mr_str_slice(line, 13, line.len);
    if (!http_chars_are(head->reason, HTTP_CHAR_FIELD)) {
        return refuse(head, HTTP_E_BAD, "The reason phrase holds a control character.");
    }
    return MR_OK;
}

/* Fields */

/* What the fields say about framing and connection, while they are read. */
struct facts {
    bool has_length;
    bool has_coding;
    bool has_host;
    bool says_close;
    bool says_keep_alive;
};

static mr_err on_content_length(mr_str value, struct facts *facts, struct http_head *head) {
    if (facts->has_length) {
        return refuse(head, HTTP_E_BAD, "There is more than one Content-Length.");
    }
    facts->has_length = true;
    if (value.len > 18 || mr_is_err(mr_u64_parse(value, 0, INT64_MAX, &head->content_length))) {
        return refuse(head, HTTP_E_BAD, "The Content-Length is not a plain number.");
    }
    return MR_OK;
}

static mr_err on_transfer_encoding(mr_str value, struct facts *facts, struct http_head *head) {
    if (facts->has_coding) {
        return refuse(head, HTTP_E_BAD, "There is more than one Transfer-Encoding.");
    }
    facts->has_coding = true;
    if (head->minor == 0) {
        return refuse(head, HTTP_E_BAD, "HTTP/1.0 has no Transfer-Encoding.");
    }
    if (!mr_str_eq_nocase(value, MR_STR("chunked"))) {
        return refuse(head, HTTP_E_CODING, "The only transfer coding known here is chunked.");
    }
    return MR_OK;
}

static mr_err on_host(mr_str value, struct facts *facts, struct http_head *head) {
    if (facts->has_host) {
        return refuse(head, HTTP_E_BAD, "There is more than one Host.");
    }
    facts->has_host = true;
    if (!is_host(value)) {
        return refuse(head, HTTP_E_BAD, "The Host is not a valid one.");
    }
    if (mr_str_is_absent(head->host)) {
        head->host = value;
    }
    return MR_OK;
}

/* Looks at the fields that the engine itself obeys. */
static mr_err obey(mr_field field, bool is_request, struct facts *facts, struct http_head *head) {
    switch (field.name.len) {
    case 4:
        if (is_request && mr_str_eq_nocase(field.name, MR_STR("host"))) {
            return on_host(field.value, facts, head);
        }
        return MR_OK;
    case 6:
        if (mr_str_eq_nocase(field.name, MR_STR("expect")) &&
            mr_str_eq_nocase(field.value, MR_STR("100-continue"))) {
            head->expects_continue = is_request && head->minor == 1;
        }
        return MR_OK;
    case 10:
        if (mr_str_eq_nocase(field.name, MR_STR("connection"))) {
            facts->says_close |= http_list_has(field.value, MR_STR("close"));
            facts->says_keep_alive |= http_list_has(field.value, MR_STR("keep-alive"));
        }
        return MR_OK;
    case 14:
        if (mr_str_eq_nocase(field.name, MR_STR("content-length"))) {
            return on_content_length(field.value, facts, head);
        }
        return MR_OK;
    case 17:
        if (mr_str_eq_nocase(field.name, MR_STR("transfer-encoding"))) {
            return on_transfer_encoding(field.value, facts, head);
        }
        return MR_OK;
    default:
        return MR_OK;
    }
}

static mr_err parse_field(mr_str line, struct http_head *head, mr_field *ret_field) {
    size_t colon = 0;
    while (colon < line.len && http_char_is(line.ptr[colon], HTTP_CHAR_TOKEN)) {
        colon++;
    }
    if (colon == 0 || colon == line.len || line.ptr[colon] != ':') {
        if (is_blank(line.ptr[0])) {
            return refuse(head, HTTP_E_BAD, "A header field is folded over two lines.");
        }
        return refuse(head, HTTP_E_BAD, "The name of a header field is not a valid one.");
    }
    size_t from = colon + 1;
    size_t to = line.len;
    while (from < to && is_blank(line.ptr[from])) {
        from++;
    }
    while (to > from && is_blank(line.ptr[to - 1])) {
        to--;
    }
    ret_field->name = mr_str_of(line.ptr, colon);
    ret_field->value = mr_str_of(line.ptr + from, to - from);
    if (!http_field_text_is(ret_field->value)) {
        return refuse(head, HTTP_E_BAD, "The value of a header field holds a control character.");
    }
    return MR_OK;
}

/* lines: the whole lines of the head after the start line, without the empty one. */
static mr_err parse_fields(mr_str lines, bool is_request, struct facts *facts,
                           struct http_head *head) {
    size_t at = 0;
    while (at < lines.len) {
        size_t end = mr_str_find_byte(lines, '\n', at);
        mr_field field;
        MR_ASSERT(end != SIZE_MAX && end > at);
        MR_TRY(parse_field(mr_str_of(lines.ptr + at, end - 1 - at), head, &field));
        if (head->n_fields == HTTP_FIELDS_MAX) {
            return refuse(head, HTTP_E_HEAD_TOO_LARGE, "There are more than 100 header fields.");
        }
        head->fields[head->n_fields++] = field;
        MR_TRY(obey(field, is_request, facts, head));
        at = end + 1;
    }
    if (facts->has_length && facts->has_coding) {
        return refuse(head, HTTP_E_BAD, "There are both Content-Length and Transfer-Encoding.");
    }
    return MR_OK;
}

static void decide_keep_alive(const struct facts *facts, struct http_head *head) {
    head->keep_alive = !facts->says_close && (head->minor == 1 || facts->says_keep_alive);
}

/* Finding the end */

static mr_err parse_start_line(mr_str line, bool is_request, struct http_head *head) {
    return is_request ? parse_request_line(line, head) : parse_status_line(line, head);
}

/* MR_OK: the head is bytes[0, *ret_used), its start line parsed. */
static mr_err find_end(struct http_scan *scan, mr_str bytes, size_t start, bool is_request,
                       struct http_head *head, size_t *ret_used) {
    bool is_started = false;
    for (;;) {
        size_t end = mr_str_find_byte(bytes, '\n', scan->at + scan->seen);
        size_t reached = end == SIZE_MAX ? bytes.len : end + 1;
        if (reached > HTTP_HEAD_BYTES_MAX) {
            return refuse(head, HTTP_E_HEAD_TOO_LARGE, "The head is larger than 16 KiB.");
        }
        if (end == SIZE_MAX) {
            scan->seen = bytes.len - scan->at;
            if (bytes.len > start && !http_char_is(bytes.ptr[start], HTTP_CHAR_TOKEN)) {
                break;
            }
            return MR_ERR(MR_E_AGAIN);
        }
        if (end == scan->at || bytes.ptr[end - 1] != '\r') {
            return refuse(head, HTTP_E_BAD, "A line does not end with CR LF.");
        }
        bool is_empty = end - 1 == scan->at;
        bool is_first = scan->at == start;
        if (is_empty && !is_first) {
            if (!is_started) {
                size_t line_end = mr_str_find_byte(bytes, '\n', start);
                mr_str line = mr_str_of(bytes.ptr + start, line_end - 1 - start);
                MR_TRY(parse_start_line(line, is_request, head));
            }
            *ret_used = end + 1;
            return MR_OK;
        }
        if (is_first) {
            if (is_empty || !http_char_is(bytes.ptr[start], HTTP_CHAR_TOKEN)) {
                break;
            }
            mr_str line = mr_str_of(bytes.ptr + start, end - 1 - start);
            MR_TRY(parse_start_line(line, is_request, head));
            is_started = true;
        }
        scan->at = end + 1;
        scan->seen = 0;
    }
    return refuse(head, HTTP_E_BAD, "This is not the beginning of an HTTP/1.1 message.");
}

/* Clears what a parse does not always set; the fields need none. */
static void reset(struct http_head *head) {
    head->expects_continue = false;
    head->keep_alive = false;
    head->framing = HTTP_FRAMING_NONE;
    head->content_length = 0;
    head->n_fields = 0;
    head->problem = NULL;
}

static mr_err parse_rest(mr_str bytes, size_t start, size_t used, bool is_request,
                         struct facts *facts, struct http_head *head) {
    size_t fields_at = mr_str_find_byte(bytes, '\n', start) + 1;
    mr_str lines = mr_str_of(bytes.ptr + fields_at, used - 2 - fields_at);
    return parse_fields(lines, is_request, facts, head);
}

mr_err http_request_parse(struct http_scan *scan, mr_str bytes, struct http_head *head,
                          size_t *ret_used) {
    reset(head);
    head->status = 0;
    head->reason = MR_STR_NONE;
    size_t start = 0;
    if (bytes.len > 0 && bytes.ptr[0] == '\r') {
        if (bytes.len == 1) {
            return MR_ERR(MR_E_AGAIN);
        }
        start = bytes.ptr[1] == '\n' ? 2 : 0;
        if (scan->at < start) {
            *scan = (struct http_scan){.at = start};
        }
    }
    size_t used;
    MR_TRY(find_end(scan, bytes, start, true, head, &used));
    struct facts facts = {0};
    MR_TRY(parse_rest(bytes, start, used, true, &facts, head));
    if (!facts.has_host && head->minor == 1) {
        return refuse(head, HTTP_E_BAD, "There is no Host.");
    }
    if (facts.has_coding) {
        head->framing = HTTP_FRAMING_CHUNKED;
    } else if (head->content_length > 0) {
        head->framing = HTTP_FRAMING_LENGTH;
    }
    decide_keep_alive(&facts, head);
    *ret_used = used;
    return MR_OK;
}

mr_err http_response_parse(struct http_scan *scan, mr_str bytes, bool to_head,
                           struct http_head *head, size_t *ret_used) {
    reset(head);
    head->method = HTTP_OTHER;
    head->method_text = MR_STR_NONE;
    head->target = MR_STR_NONE;
    head->host = MR_STR_NONE;
    head->path = MR_STR_NONE;
    head->query = MR_STR_NONE;
    size_t used;
    MR_TRY(find_end(scan, bytes, 0, false, head, &used));
    struct facts facts = {0};
    MR_TRY(parse_rest(bytes, 0, used, false, &facts, head));
    decide_keep_alive(&facts, head);
    bool has_no_body = to_head || head->status < 200 || head->status == 204 || head->status == 304;
    if (has_no_body) {
        /* What must not have a body but announces one may send it all the same. */
        bool announces = facts.has_coding || head->content_length > 0;
        if (announces && !to_head && head->status != 304) {
            head->keep_alive = false;
        }
    } else if (facts.has_coding) {
        head->framing = HTTP_FRAMING_CHUNKED;
    } else if (!facts.has_length) {
        head->framing = HTTP_FRAMING_CLOSE;
        head->keep_alive = false;
    } else if (head->content_length > 0) {
        head->framing = HTTP_FRAMING_LENGTH;
    }
    *ret_used = used;
    return MR_OK;
}

const char *http_reason(int status) {
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].status == status) {
            return rows[i].reason;
        }
    }
    return "";
}
