/* What a password must be like: long, and not one that is tried first. See passwords.h.
 *
 * No rule of composition: they make people write "Password1!" (NIST SP 800-63B, 3.1.1.2). Instead
 * the common ones are known: a sorted text of some 50,000 lines, made at build time by
 * tools/common-passwords and searched by halving. Few of them have twelve characters, so what
 * people do to make them longer is undone first: capitals, a few digits or signs around
 * ("Sunshine2024!!"), and repetition ("monkeymonkey"). Runs ("123456789012") need no list. */
#include "control/people/passwords.h"

#include "crypto/secret.h"
#include "embed/passwords.h"

#define AROUND_MAX 6 /* digits and signs taken off both ends in all */
#define UNIT_SHORT 4 /* a repeated part that is no longer is common by itself */

/* ---- the list ---- */

static mr_str common_text(void) {
    return mr_embedded_passwords[0].bytes;
}

/* The line around `at`; *ret_end is behind its line feed. */
static mr_str line_around(mr_str text, size_t at, size_t low, size_t *ret_start, size_t *ret_end) {
    size_t start = at;
    while (start > low && text.ptr[start - 1] != '\n') {
        start--;
    }
    size_t end = mr_str_find_byte(text, '\n', start);
    *ret_start = start;
    *ret_end = end == SIZE_MAX ? text.len : end + 1;
    return mr_str_slice(text, start, end);
}

static bool is_listed(mr_str word) {
    mr_str text = common_text();
    size_t low = 0;
    size_t high = text.len;
    while (low < high) {
        size_t start = 0;
        size_t end = 0;
        int order = mr_str_cmp(word, line_around(text, low + (high - low) / 2, low, &start, &end));
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            high = start;
        } else {
            low = end;
        }
    }
    return false;
}

/* ---- forms of one ---- */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

/* What is left when digits and signs around it are taken off; the word itself where they are too
 * many to be an ornament. */
static mr_str core_of(mr_str word) {
    size_t from = 0;
    size_t to = word.len;
    while (from < to && !is_letter(word.ptr[from])) {
        from++;
    }
    while (to > from && !is_letter(word.ptr[to - 1])) {
        to--;
    }
    return word.len - (to - from) > AROUND_MAX ? word : mr_str_slice(word, from, to);
}

/* The shortest part whose repetition gives word (its last one may be cut). */
static mr_str unit_of(mr_str word) {
    for (size_t n = 1; n * 2 <= word.len; n++) {
        size_t i = n;
        while (i < word.len && word.ptr[i] == word.ptr[i - n]) {
            i++;
        }
        if (i == word.len) {
            return mr_str_slice(word, 0, n);
        }
    }
    return word;
}

/* "abcdefgh", "987654321098". */
static bool is_run(mr_str word) {
    bool rises = true;
    bool falls = true;
    for (size_t i = 1; i < word.len; i++) {
        char a = word.ptr[i - 1];
        char b = word.ptr[i];
        rises = rises && (b - a == 1 || (a == '9' && b == '0'));
        falls = falls && (a - b == 1 || (a == '0' && b == '9'));
    }
    return rises || falls;
}

static mr_str fold(mr_str text, char out[static PASSWORD_BYTES_MAX]) {
    size_t len = text.len < PASSWORD_BYTES_MAX ? text.len : PASSWORD_BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        char c = text.ptr[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    return mr_str_of(out, len);
}

static bool is_common_word(mr_str word) {
    mr_str unit = unit_of(word);
    return is_run(word) || is_listed(word) ||
           (unit.len < word.len &&
            (unit.len <= UNIT_SHORT || is_listed(unit) || is_listed(core_of(unit))));
}

bool password_is_common(mr_str password) {
    char folded[PASSWORD_BYTES_MAX];
    mr_str word = fold(password, folded);
    bool is_common = is_common_word(word) || is_common_word(core_of(word));
    crypto_wipe(folded, sizeof folded);
    return is_common;
}

/* ---- the rules ---- */

static size_t count_chars(mr_str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return n;
}

static bool has_control(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

/* The same but for capitals and what stands around. */
static bool is_mostly(mr_str password, mr_str own) {
    char folded[2][PASSWORD_BYTES_MAX];
    mr_str a = fold(password, folded[0]);
    mr_str b = fold(own, folded[1]);
    bool is_same = b.len > 0 && (mr_str_eq(a, b) || mr_str_eq(core_of(a), b));
    crypto_wipe(folded, sizeof folded);
    return is_same;
}

mr_err password_judge(mr_str password, const struct password_context *context,
                      struct refusal *ret_refusal) {
    if (!mr_str_is_utf8(password) || has_control(password)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The password must be UTF-8 text without control characters.");
    }
    size_t n = count_chars(password);
    if (n < PASSWORD_CHARS_MIN || n > PASSWORD_CHARS_MAX) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "The password must have %d to %d characters.",
                      PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX);
    }
    mr_str email = context->email;
    size_t at = mr_str_is_absent(email) ? SIZE_MAX : mr_str_find_byte(email, '@', 0);
    if (is_mostly(password, email) || is_mostly(password, context->name) ||
        is_mostly(password, context->account_name) ||
        (at != SIZE_MAX && is_mostly(password, mr_str_slice(email, 0, at)))) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The password must not be the e-mail, or the name of user or account.");
    }
    if (password_is_common(password)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The password is one of those that are tried first; choose another one.");
    }
    return MR_OK;
}
