/* Bodies of HTTP/1.1 messages decoded as they come. See message.h.
 *
 * Lengths and ends of connection are simple. Chunks (RFC 9112 §7.1) go through a state machine of
 * one byte a step, but for their data, which is given out as slices of the input:
 *
 *   SIZE ─┬─ ';' ▶ EXT_NAME ─┬─ '=' ▶ EXT_VALUE | EXT_QUOTED ─┐
 *         └─ CR ◀────────────┴────────────────────────────────┘
 *          ▶ SIZE_LF ─┬─ size > 0 ▶ DATA ▶ DATA_CR ▶ DATA_LF ▶ SIZE
 *                     └─ size = 0 ▶ TRAILER ─┬─ CR ▶ END_LF ▶ done
 *                                            └─ name ':' value CR LF ▶ TRAILER
 *
 * A size has at most 16 hex digits, leading zeros included, and fits 63 bits; no white space stands
 * around it. Extensions follow the grammar; they and the trailers are dropped, at most OVERHEAD_MAX
 * bytes of them in a body. */
#include "http/chars.h"
#include "http/message.h"

#define OVERHEAD_MAX 8192
#define DIGITS_MAX   16

enum state {
    STATE_SIZE = 0, /* at the first digit or a later one */
    STATE_SIZE_LF,
    STATE_EXT_NAME_FIRST,
    STATE_EXT_NAME,
    STATE_EXT_VALUE_FIRST,
    STATE_EXT_VALUE,
    STATE_EXT_QUOTED,
    STATE_EXT_ESCAPED,
    STATE_EXT_QUOTED_END,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_TRAILER,
    STATE_TRAILER_NAME,
    STATE_TRAILER_VALUE,
    STATE_TRAILER_LF,
    STATE_END_LF,
};

void http_body_init(struct http_body *body, const struct http_head *head) {
    *body = (struct http_body){.framing = head->framing};
    if (head->framing == HTTP_FRAMING_LENGTH) {
        body->left = head->content_length;
    }
    body->is_done = head->framing == HTTP_FRAMING_NONE;
}

static mr_err refuse(struct http_body *body, const char *problem) {
    body->problem = problem;
    return MR_ERR(HTTP_E_BAD);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* A state after a successful step, or -1 where c must not stand. */
static int step_size(struct http_body *body, char c) {
    int value = hex_value(c);
    if (value >= 0) {
        if (body->digits == DIGITS_MAX) {
            return -1;
        }
        body->digits++;
        body->left = body->left << 4 | (uint64_t)value;
        return body->left > INT64_MAX ? -1 : STATE_SIZE;
    }
    if (body->digits == 0) {
        return -1;
    }
    return c == '\r' ? STATE_SIZE_LF : c == ';' ? STATE_EXT_NAME_FIRST : -1;
}

static int after_extension(char c) {
    return c == '\r' ? STATE_SIZE_LF : c == ';' ? STATE_EXT_NAME_FIRST : -1;
}

static int step_extension(enum state state, char c) {
    bool is_token = http_char_is(c, HTTP_CHAR_TOKEN);
    if (state == STATE_EXT_NAME_FIRST) {
        return is_token ? STATE_EXT_NAME : -1;
    }
    if (state == STATE_EXT_NAME) {
        return is_token ? STATE_EXT_NAME : c == '=' ? STATE_EXT_VALUE_FIRST : after_extension(c);
    }
    if (state == STATE_EXT_VALUE_FIRST) {
        return is_token ? STATE_EXT_VALUE : c == '"' ? STATE_EXT_QUOTED : -1;
    }
    if (state == STATE_EXT_VALUE) {
        return is_token ? STATE_EXT_VALUE : after_extension(c);
    }
    if (state == STATE_EXT_QUOTED_END) {
        return after_extension(c);
    }
    if (!http_char_is(c, HTTP_CHAR_FIELD)) {
        return -1;
    }
    if (state == STATE_EXT_ESCAPED) {
        return STATE_EXT_QUOTED;
    }
    return c == '"' ? STATE_EXT_QUOTED_END : c == '\\' ? STATE_EXT_ESCAPED : STATE_EXT_QUOTED;
}

static int step_trailer(enum state state, char c) {
    if (state == STATE_TRAILER) {
        return c == '\r'                          ? STATE_END_LF
               : http_char_is(c, HTTP_CHAR_TOKEN) ? STATE_TRAILER_NAME
                                                  : -1;
    }
    if (state == STATE_TRAILER_NAME) {
        return c == ':'                           ? STATE_TRAILER_VALUE
               : http_char_is(c, HTTP_CHAR_TOKEN) ? STATE_TRAILER_NAME
                                                  : -1;
    }
    return c == '\r'                          ? STATE_TRAILER_LF
           : http_char_is(c, HTTP_CHAR_FIELD) ? STATE_TRAILER_VALUE
                                              : -1;
}

static int step(struct http_body *body, char c) {
    enum state state = (enum state)body->state;
    switch (state) {
    case STATE_SIZE:
        return step_size(body, c);
    case STATE_SIZE_LF:
        return c != '\n' ? -1 : body->left == 0 ? STATE_TRAILER : STATE_DATA;
    case STATE_EXT_NAME_FIRST:
    case STATE_EXT_NAME:
    case STATE_EXT_VALUE_FIRST:
    case STATE_EXT_VALUE:
    case STATE_EXT_QUOTED:
    case STATE_EXT_ESCAPED:
    case STATE_EXT_QUOTED_END:
        body->overhead++;
        return step_extension(state, c);
    case STATE_DATA:
        break;
    case STATE_DATA_CR:
        return c == '\r' ? STATE_DATA_LF : -1;
    case STATE_DATA_LF:
        body->digits = 0;
        return c == '\n' ? STATE_SIZE : -1;
    case STATE_TRAILER:
    case STATE_TRAILER_NAME:
    case STATE_TRAILER_VALUE:
        body->overhead++;
        return step_trailer(state, c);
    case STATE_TRAILER_LF:
        return c == '\n' ? STATE_TRAILER : -1;
    case STATE_END_LF:
        body->is_done = c == '\n';
        return c == '\n' ? STATE_END_LF : -1;
    }
    return -1;
}

/* Takes at most body->left bytes of data. */
static mr_str take(struct http_body *body, mr_str *in) {
    size_t n = in->len < body->left ? in->len : (size_t)body->left;
    mr_str piece = mr_str_of(in->ptr, n);
    *in = mr_str_of(in->ptr + n, in->len - n);
    body->left -= n;
    return piece;
}

static mr_err next_chunk(struct http_body *body, mr_str *in, mr_str *ret_piece) {
    while (in->len > 0) {
        if (body->state == STATE_DATA) {
            *ret_piece = take(body, in);
            if (body->left == 0) {
                body->state = STATE_DATA_CR;
            }
            return MR_OK;
        }
        int state = step(body, in->ptr[0]);
        if (state < 0) {
            return refuse(body, "A chunk of the body is malformed.");
        }
        if (body->overhead > OVERHEAD_MAX) {
            return refuse(body, "The chunks of the body carry too many extensions or trailers.");
        }
        body->state = (uint8_t)state;
        *in = mr_str_of(in->ptr + 1, in->len - 1);
        if (body->is_done) {
            *ret_piece = MR_STR("");
            return MR_OK;
        }
    }
    return MR_ERR(MR_E_AGAIN);
}

mr_err http_body_next(struct http_body *body, mr_str *in, mr_str *ret_piece) {
    if (body->is_done) {
        *ret_piece = MR_STR("");
        return MR_OK;
    }
    if (in->len == 0) {
        return MR_ERR(MR_E_AGAIN);
    }
    switch (body->framing) {
    case HTTP_FRAMING_NONE:
        break;
    case HTTP_FRAMING_LENGTH:
        *ret_piece = take(body, in);
        body->is_done = body->left == 0;
        return MR_OK;
    case HTTP_FRAMING_CHUNKED:
        return next_chunk(body, in, ret_piece);
    case HTTP_FRAMING_CLOSE:
        *ret_piece = *in;
        *in = mr_str_of(in->ptr + in->len, 0);
        return MR_OK;
    }
    *ret_piece = MR_STR("");
    return MR_OK;
}
