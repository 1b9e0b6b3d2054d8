/* Comparing and projecting, on any three lines: older document, newer document, `data`. What must
 * hold besides not crashing:
 *   - a document compared with itself has no changes, and needs no projection;
 *   - a list of changes is JSON of as many items as were told;
 *   - projecting twice is projecting once; the result is minified JSON and not longer. */
#include "base/mem.h"
#include "json/write.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BUF_MAX ((size_t)64 << 20)

static void compare(mr_str older, mr_str newer) {
    mr_buf out;
    size_t n = 0;
    mr_buf_init(&out, BUF_MAX);
    if (mr_is_ok(schema_compare(older, newer, &out, &n))) {
        json_tape tape;
        json_tape_init(&tape, JSON_DEPTH_DEFAULT);
        MR_ASSERT(mr_is_ok(json_tape_read(&tape, mr_buf_view(&out), NULL)));
        MR_ASSERT(json_count(json_root(&tape)) == n || n > 1000);
        MR_ASSERT(n == 0 || older.ptr != newer.ptr);
        json_tape_done(&tape);
    } else {
        MR_ASSERT(out.len == 0);
    }
    mr_buf_done(&out);
}

static void project(const struct schema_projection *p, json_value value, mr_str text) {
    mr_buf once;
    mr_buf twice;
    json_tape tape;
    mr_buf_init(&once, BUF_MAX);
    mr_buf_init(&twice, BUF_MAX);
    json_tape_init(&tape, JSON_DEPTH_MAX);
    MR_ASSERT(mr_is_ok(schema_project(p, value, &once)));
    MR_ASSERT(once.len <= text.len);
    MR_ASSERT(mr_is_ok(json_tape_read(&tape, mr_buf_view(&once), NULL)));
    MR_ASSERT(mr_is_ok(schema_project(p, json_root(&tape), &twice)));
    MR_ASSERT(mr_str_eq(mr_buf_view(&once), mr_buf_view(&twice)));
    json_tape_done(&tape);
    mr_buf_done(&once);
    mr_buf_done(&twice);
}

static void check_projection(mr_str older, mr_str newer, mr_str text) {
    struct schema_projection *p = NULL;
    if (mr_is_err(schema_projection_new(older, newer, &p))) {
        return;
    }
    MR_ASSERT(p == NULL || older.ptr != newer.ptr);
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    if (mr_is_ok(json_tape_read(&tape, text, NULL))) {
        project(p, json_root(&tape), text);
    }
    json_tape_done(&tape);
    schema_projection_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_str rest = {(const char *)data, size};
    mr_str older = MR_STR("");
    mr_str newer = MR_STR("");
    mr_str value = MR_STR("");
    if (size > 65536 || !mr_str_split(&rest, '\n', &older) || !mr_str_split(&rest, '\n', &newer)) {
        return 0;
    }
    value = mr_str_is_absent(rest) ? value : rest;
    compare(older, newer);
    compare(newer, newer);
    check_projection(older, newer, value);
    check_projection(newer, newer, value);
    return 0;
}
