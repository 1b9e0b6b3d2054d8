/* Mail as text. See message.h.
 *
 * The body is quoted-printable: it survives every server (7 bits, lines of at most 76 characters),
 * and stays readable where somebody looks at the raw text. A subject that is not plain ASCII, or
 * long, becomes encoded words of at most 75 characters, cut between characters, each on a line. */
#include "mail/message.h"

#include "base/num.h"

#define LINE_MAX      76
#define WORD_BYTES    39 /* of UTF-8 in an encoded word: 64 with its frame, 73 with the name */
#define SUBJECT_PLAIN 60 /* longest that goes as it is */

static bool is_visible(char c) {
    return c > ' ' && c < 0x7f;
}

bool mail_address_is_fit(mr_str address) {
    size_t at = mr_str_find_byte(address, '@', 0);
    if (address.len > 254 || at == SIZE_MAX || at == 0 || at + 1 >= address.len ||
        mr_str_find_byte(address, '@', at + 1) != SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < address.len; i++) {
        if (!is_visible(address.ptr[i]) ||
            mr_str_find_byte(MR_STR("<>()[],;:\\\""), address.ptr[i], 0) != SIZE_MAX) {
            return false;
        }
    }
    return true;
}

static bool is_plain(mr_str subject) {
    for (size_t i = 0; i < subject.len; i++) {
        if (subject.ptr[i] != ' ' && !is_visible(subject.ptr[i])) {
            return false;
        }
    }
    /* What looks like an encoded word would be read as one. */
    return subject.len <= SUBJECT_PLAIN && mr_str_find(subject, MR_STR("=?")) == SIZE_MAX;
}

/* How many bytes of rest make a word: whole characters. */
static size_t word_length(mr_str rest) {
    size_t n = rest.len < WORD_BYTES ? rest.len : WORD_BYTES;
    while (n < rest.len && ((unsigned char)rest.ptr[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

static mr_err write_word(mr_str part, mr_buf *out) {
    char clean[WORD_BYTES];
    for (size_t i = 0; i < part.len; i++) {
        char c = part.ptr[i];
        clean[i] = (unsigned char)c < ' ' || c == 0x7f ? ' ' : c;
    }
    MR_TRY(mr_buf_str(out, MR_STR("=?UTF-8?B?")));
    MR_TRY(mr_base64_encode(mr_str_of(clean, part.len), out));
    return mr_buf_str(out, MR_STR("?="));
}

static mr_err write_subject(mr_str subject, mr_buf *out) {
    MR_TRY(mr_buf_str(out, MR_STR("Subject: ")));
    if (is_plain(subject)) {
        MR_TRY(mr_buf_str(out, subject));
        return mr_buf_str(out, MR_STR("\r\n"));
    }
    mr_str rest = subject;
    while (rest.len > 0) {
        size_t n = word_length(rest);
        MR_TRY(write_word(mr_str_slice(rest, 0, n), out));
        rest = mr_str_slice(rest, n, rest.len);
        MR_TRY(mr_buf_str(out, rest.len > 0 ? MR_STR("\r\n ") : MR_STR("\r\n")));
    }
    return MR_OK;
}

/* One line of text without its end. */
static mr_err write_line(mr_str line, mr_buf *out) {
    size_t column = 0;
    for (size_t i = 0; i < line.len; i++) {
        char c = line.ptr[i];
        bool is_last = i + 1 == line.len;
        bool stands = (is_visible(c) && c != '=') || ((c == ' ' || c == '\t') && !is_last);
        size_t width = stands ? 1 : 3;
        if (column + width > LINE_MAX - (is_last ? 0 : 1)) {
            MR_TRY(mr_buf_str(out, MR_STR("=\r\n")));
            column = 0;
        }
        MR_TRY(stands ? mr_buf_byte(out, c) : mr_buf_printf(out, "=%02X", (unsigned char)c));
        column += width;
    }
    return mr_buf_str(out, MR_STR("\r\n"));
}

static mr_err write_date(mr_wall date, mr_buf *out) {
    char text[MR_TIME_TEXT_SIZE];
    size_t n = mr_time_format_http(date, text);
    mr_str day = mr_str_slice(mr_str_of(text, n), 0, n - 3); /* without "GMT" */
    return mr_buf_printf(out, "Date: %.*s+0000\r\n", MR_FMT(day));
}

static mr_err write_fields(const struct mail_message *message, mr_buf *out) {
    mr_str from = message->from;
    size_t at = mr_str_find_byte(from, '@', 0);
    MR_TRY(write_date(message->date, out));
    MR_TRY(mr_buf_printf(out, "From: Millrace <%.*s>\r\nTo: <%.*s>\r\n", MR_FMT(from),
                         MR_FMT(message->recipient)));
    MR_TRY(write_subject(message->subject, out));
    return mr_buf_printf(out,
                         "Message-ID: <%.*s%.*s>\r\nMIME-Version: 1.0\r\n"
                         "Content-Type: text/plain; charset=utf-8\r\n"
                         "Content-Transfer-Encoding: quoted-printable\r\n"
                         "Auto-Submitted: auto-generated\r\n\r\n",
                         MR_FMT(message->id), MR_FMT(mr_str_slice(from, at, from.len)));
}

mr_err mail_message_write(const struct mail_message *message, mr_buf *out) {
    if (!mail_address_is_fit(message->from) || !mail_address_is_fit(message->recipient) ||
        !mr_str_is_utf8(message->subject) || !mr_str_is_utf8(message->text)) {
        return MR_ERR(MR_E_INVALID);
    }
    MR_TRY(write_fields(message, out));
    mr_str rest = message->text;
    mr_str line;
    while (rest.len > 0 && mr_str_split(&rest, '\n', &line)) {
        MR_TRY(write_line(line, out));
    }
    return MR_OK;
}
