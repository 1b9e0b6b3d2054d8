/* JSON Merge Patch. See merge.h.
 *
 * RFC 7396's algorithm, written as text straight away: where the patch is an object, the target's
 * members are written in their order, patched or dropped (null), then the patch's members that the
 * target lacks. A patch's object that meets no object of the target is written through the same
 * function against an absent target, because the nulls inside of it must vanish too. Recursion goes
 * as deep as the patch is nested, which its tape bounds. */
#include "json/merge.h"

#include "json/node.h"
#include "json/write.h"

static mr_err merge(json_value target, json_value patch, mr_buf *out);

static json_value find_same(json_value object, json_value name) {
    if (json_kind_of(object) == JSON_OBJECT) {
        for (json_iter it = json_iter_of(object); json_next(&it);) {
            if (json_strings_equal(it.name, name)) {
                return it.value;
            }
        }
    }
    return JSON_NONE;
}

/* One member of the result: value patched by patch (absent: as it is). */
static mr_err merge_member(json_value name, json_value value, json_value patch, bool *first,
                           mr_buf *out) {
    if (!*first) {
        MR_TRY(mr_buf_byte(out, ','));
    }
    *first = false;
    MR_TRY(json_minify(name, JSON_UTF8, out));
    MR_TRY(mr_buf_byte(out, ':'));
    return json_is_absent(patch) ? json_minify(value, JSON_UTF8, out) : merge(value, patch, out);
}

static mr_err merge_objects(json_value target, json_value patch, mr_buf *out) {
    bool first = true;
    MR_TRY(mr_buf_byte(out, '{'));
    json_value object = json_kind_of(target) == JSON_OBJECT ? target : JSON_NONE;
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        json_value change = find_same(patch, it.name);
        if (json_kind_of(change) != JSON_NULL) {
            MR_TRY(merge_member(it.name, it.value, change, &first, out));
        }
    }
    for (json_iter it = json_iter_of(patch); json_next(&it);) {
        bool is_new = json_is_absent(find_same(object, it.name));
        if (is_new && json_kind_of(it.value) != JSON_NULL) {
            MR_TRY(merge_member(it.name, JSON_NONE, it.value, &first, out));
        }
    }
    return mr_buf_byte(out, '}');
}

static mr_err merge(json_value target, json_value patch, mr_buf *out) {
    return json_kind_of(patch) == JSON_OBJECT ? merge_objects(target, patch, out)
                                              : json_minify(patch, JSON_UTF8, out);
}

mr_err json_merge(json_value target, json_value patch, mr_buf *out) {
    if (json_is_absent(patch)) {
        return MR_ERR(MR_E_INVALID);
    }
    size_t before = out->len;
    mr_err err = merge(target, patch, out);
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    return err;
}
