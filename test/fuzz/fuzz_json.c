/* The JSON room on any bytes. What must hold besides not crashing:
 *   - what was read can be minified, and the minified text reads again and minifies to itself;
 *   - the escaped text is ASCII without U+007F, and minifies to the same bytes as the first;
 *   - a merge of a value with itself, and every pointer walk, stays inside the text. */
#include "base/mem.h"
#include "json/merge.h"
#include "json/pointer.h"
#include "json/write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good) {
    MR_ASSERT(good);
}

static void check_round_trip(mr_str minified, enum json_escape escape, mr_str expected) {
    json_tape tape;
    mr_buf again;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&again, SIZE_MAX / 2);
    check(mr_is_ok(json_tape_read(&tape, minified, NULL)));
    check(escape == JSON_ESCAPE_NON_ASCII || json_is_minified(json_root(&tape)) ||
          mr_str_find_byte(minified, '\\', 0) != SIZE_MAX);
    check(mr_is_ok(json_minify(json_root(&tape), JSON_UTF8, &again)));
    check(mr_str_eq(mr_buf_view(&again), expected));
    json_tape_done(&tape);
    mr_buf_done(&again);
}

static void check_strings(json_value string) {
    mr_buf decoded;
    uint64_t n;
    int64_t i;
    mr_buf_init(&decoded, SIZE_MAX / 2);
    if (mr_is_ok(json_string_append(string, &decoded))) {
        check(mr_str_is_utf8(mr_buf_view(&decoded)));
        check(json_string_eq(string, mr_buf_view(&decoded)));
        check(json_strings_equal(string, string));
    }
    mr_ignore(json_u64(string, 0, UINT64_MAX, &n), "any value may come");
    mr_ignore(json_i64(string, INT64_MIN, INT64_MAX, &i), "any value may come");
    mr_buf_done(&decoded);
}

static void walk(json_value value) {
    check(json_raw(value).len > 0);
    check_strings(value);
    size_t n = 0;
    for (json_iter it = json_iter_of(value); json_next(&it); n++) {
        if (it.is_object) {
            check_strings(it.name);
        }
        walk(it.value);
    }
    check(n == json_count(value));
}

static void check_value(json_value root, mr_str text) {
    mr_buf minified;
    mr_buf escaped;
    mr_buf merged;
    json_value found;
    mr_buf_init(&minified, SIZE_MAX / 2);
    mr_buf_init(&escaped, SIZE_MAX / 2);
    mr_buf_init(&merged, SIZE_MAX / 2);
    walk(root);
    check(mr_is_ok(json_minify(root, JSON_UTF8, &minified)));
    check(minified.len <= text.len);
    check(!json_is_minified(root) || mr_str_eq(mr_buf_view(&minified), json_raw(root)));
    check(mr_is_ok(json_minify(root, JSON_ESCAPE_NON_ASCII, &escaped)));
    for (size_t i = 0; i < escaped.len; i++) {
        check(escaped.ptr[i] >= 0x20 && escaped.ptr[i] < 0x7F);
    }
    check_round_trip(mr_buf_view(&minified), JSON_UTF8, mr_buf_view(&minified));
    check_round_trip(mr_buf_view(&escaped), JSON_ESCAPE_NON_ASCII, mr_buf_view(&minified));
    check(mr_is_ok(json_merge(root, root, &merged)));
    check(mr_is_ok(json_pointer_find(root, MR_STR(""), &found)));
    mr_ignore(json_pointer_find(root, text, &found), "nearly never a pointer");
    mr_buf_done(&minified);
    mr_buf_done(&escaped);
    mr_buf_done(&merged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_str text = {(const char *)data, size};
    json_tape tape;
    json_error error = {.expected = NULL};
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_err err = json_tape_read(&tape, text, &error);
    if (mr_is_ok(err)) {
        check_value(json_root(&tape), text);
    } else {
        check(error.expected != NULL && error.offset <= size);
        check(json_is_absent(json_root(&tape)));
    }
    json_tape_done(&tape);
    return 0;
}
