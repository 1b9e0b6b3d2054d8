/* What breaks between two versions. See schema.h and docs/reference/versions.md.
 *
 * A change breaks where it harms those who still work by the older version:
 *   - producers: something that the older version takes is not taken by the newer one any more, or
 *     cannot be shown to be (two patterns, a `not` that differs);
 *   - consumers: a member that the older version declares is declared no more, so that nobody can
 *     expect it to come.
 * What only adds does not break: an optional member, an enum value, a type, a wider range. Of these
 * an added enum value may surprise a consumer who took the list for final. Registries differ here:
 * Confluent's takes it under its default (backward) rule, tools for answers of HTTP APIs warn. Here
 * it is no break, because values that appear later are what the catalogue is versioned for, and a
 * producer's side must be free to grow; consumers are told to expect it. An optional member added
 * to an object that is open (no additionalProperties) could have been sent before with any value;
 * that is taken as no break either, or nothing could ever be added.
 *
 * Documents are walked as pairs of schemas of the same place, through a queue, each pair once, so
 * that recursive schemas come to an end. The older side of a pair is a closure over `$ref` and
 * allOf: everything in it holds, and any part of it may imply what the newer asks. A branch of the
 * newer's allOf is a pair of its own with the same older side, where only narrowing counts. anyOf
 * and oneOf are compared branch by branch for equality of meaning. Pointers are worked out for
 * what is listed only, by going down to the place in the text. */
#include "schema/versions/compare.h"

#include "base/mem.h"
#include "json/pointer.h"
#include "schema/schema.h"

#include <stdarg.h>

#define QUEUE_MAX   (1u << 20)
#define POINTER_MAX ((size_t)1 << 16)
#define MESSAGE_MAX 1000

/* --- the machinery -----------------------------------------------------------------------------
 */

bool compare_spend(struct compare *c, uint64_t steps) {
    c->steps -= steps < c->steps ? steps : c->steps;
    return c->steps > 0 && mr_is_ok(c->err);
}

static void fail(struct compare *c, mr_err err) {
    if (mr_is_ok(c->err)) {
        c->err = err;
    }
}

json_value compare_follow(struct compare *c, uint32_t side, json_value schema) {
    json_value target = JSON_NONE;
    mr_err err = version_follow(&c->docs[side], schema, &target);
    if (mr_is_err(err)) {
        fail(c, err);
    }
    return target;
}

static void put_key(struct compare_met *met, uint64_t key) {
    uint32_t at = (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (met->cap - 1);
    while (met->keys[at] != 0) {
        at = (at + 1) & (met->cap - 1);
    }
    met->keys[at] = key;
}

static bool grow_met(struct compare_met *met) {
    struct compare_met larger = {.len = met->len, .cap = met->cap == 0 ? 64 : met->cap * 2};
    larger.keys = mr_calloc(larger.cap, sizeof *larger.keys);
    if (larger.keys == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < met->cap; i++) {
        if (met->keys[i] != 0) {
            put_key(&larger, met->keys[i]);
        }
    }
    mr_free(met->keys);
    *met = larger;
    return true;
}

static bool meet_key(struct compare *c, struct compare_met *met, uint64_t key) {
    if (met->len * 2 >= met->cap && !grow_met(met)) {
        fail(c, MR_ERR(MR_E_NOMEM));
        return false;
    }
    uint32_t at = (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (met->cap - 1);
    for (; met->keys[at] != 0; at = (at + 1) & (met->cap - 1)) {
        if (met->keys[at] == key) {
            return false;
        }
    }
    met->keys[at] = key;
    met->len++;
    return true;
}

static uint64_t node_key(json_value value) {
    return json_is_absent(value) ? 0 : (uint64_t)value.node + 1;
}

bool compare_meet(struct compare *c, struct compare_met *met, json_value older, json_value newer) {
    return meet_key(c, met, (node_key(older) << 31 | node_key(newer)) << 1 | 1);
}

void compare_queue(struct compare *c, json_value older, json_value newer, bool narrow_only) {
    uint64_t key = (node_key(older) << 31 | node_key(newer)) << 1 | (narrow_only ? 1 : 0);
    if (!compare_spend(c, 1) || json_is_absent(newer) || !meet_key(c, &c->met, key)) {
        return;
    }
    if (c->n_queue == c->cap_queue) {
        uint32_t cap = c->cap_queue == 0 ? 64 : c->cap_queue * 2;
        struct compare_pair *queue = NULL;
        if (cap <= QUEUE_MAX) {
            queue = mr_realloc(c->queue, cap * sizeof *queue);
        }
        if (queue == NULL) {
            fail(c, MR_ERR(cap <= QUEUE_MAX ? MR_E_NOMEM : MR_E_LIMIT));
            return;
        }
        c->queue = queue;
        c->cap_queue = cap;
    }
    c->queue[c->n_queue++] = (struct compare_pair){older, newer, narrow_only};
}

/* Where value stands, from the root down. */
static mr_err pointer_to(const struct version_doc *doc, json_value value, mr_buf *out) {
    size_t target = json_offset(value);
    json_value at = doc->root;
    while (at.node != value.node) {
        json_iter it = json_iter_of(at);
        size_t index = 0;
        while (json_next(&it) && target >= json_offset(it.value) + json_raw(it.value).len) {
            index++;
        }
        if (it.is_object) {
            mr_buf name;
            mr_buf_init(&name, POINTER_MAX);
            mr_err err = json_string_append(it.name, &name);
            err = mr_is_ok(err) ? json_pointer_push(out, mr_buf_view(&name)) : err;
            mr_buf_done(&name);
            MR_TRY(err);
        } else {
            MR_TRY(json_pointer_push_index(out, index));
        }
        at = it.value;
    }
    return MR_OK;
}

/* A text cut off at a character's border. */
static mr_str cut(mr_str text) {
    size_t len = text.len < MESSAGE_MAX ? text.len : MESSAGE_MAX;
    while (len > 0 && !mr_str_is_utf8(mr_str_slice(text, 0, len))) {
        len--;
    }
    return mr_str_slice(text, 0, len);
}

static mr_err list(struct compare *c, const struct version_doc *doc, json_value at,
                   const char *rule, mr_str message) {
    mr_buf pointer;
    mr_buf_init(&pointer, SCHEMA_DOCUMENT_BYTES_MAX * 2);
    mr_err err = pointer_to(doc, at, &pointer);
    if (mr_is_ok(err)) {
        json_out_object(c->out);
        json_out_member_str(c->out, "pointer", mr_buf_view(&pointer));
        json_out_member_c(c->out, "rule", rule);
        json_out_member_str(c->out, "message", cut(message));
        json_out_end(c->out);
    }
    mr_buf_done(&pointer);
    return err;
}

/* A place that is met by several ways tells of one change once. */
static bool is_news(struct compare *c, uint32_t side, json_value at, mr_str message) {
    uint64_t hash = mr_str_hash(message, (uint64_t)at.node << 1 | side);
    return meet_key(c, &c->listed, hash | 1);
}

void compare_report(struct compare *c, uint32_t side, json_value at, const char *rule,
                    const char *format, ...) {
    if (mr_is_err(c->err) || c->steps == 0) {
        return;
    }
    mr_buf message;
    va_list args;
    mr_buf_init(&message, SCHEMA_DOCUMENT_BYTES_MAX * 2);
    va_start(args, format);
    mr_err err = mr_buf_vprintf(&message, format, args);
    va_end(args);
    if (mr_is_ok(err) && is_news(c, side, at, mr_buf_view(&message)) &&
        c->n_changes++ < COMPARE_CHANGES_MAX) {
        err = list(c, &c->docs[side], at, rule, mr_buf_view(&message));
    }
    if (mr_is_err(err)) {
        fail(c, err);
    }
    mr_buf_done(&message);
}

/* --- one place ---------------------------------------------------------------------------------
 */

/* A schema with what its `$ref` and allOf say. Past the limit the rest is not looked at, which can
 * only list more. */
static void close_over(struct compare *c, uint32_t side, json_value schema,
                       struct compare_closure *closure) {
    closure->n = 0;
    closure->forbids = false;
    json_value first = compare_follow(c, side, schema);
    closure->forbids = json_kind_of(first) == JSON_FALSE;
    if (json_kind_of(first) == JSON_OBJECT) {
        closure->at[closure->n++] = first;
    }
    for (uint32_t i = 0; i < closure->n; i++) {
        json_value all = json_find(closure->at[i], MR_STR("allOf"));
        for (json_iter it = json_iter_of(all); json_next(&it) && compare_spend(c, 1);) {
            json_value branch = compare_follow(c, side, it.value);
            closure->forbids = closure->forbids || json_kind_of(branch) == JSON_FALSE;
            if (json_kind_of(branch) == JSON_OBJECT && closure->n < COMPARE_CLOSURE_MAX) {
                closure->at[closure->n++] = branch;
            }
        }
    }
}

/* What a place says of `keyword` and, within it, of a member; the first that does. */
static json_value find_in(const struct compare_closure *closure, const char *keyword) {
    json_value found = JSON_NONE;
    for (uint32_t i = 0; i < closure->n && json_is_absent(found); i++) {
        found = json_find(closure->at[i], mr_str_c(keyword));
    }
    return found;
}

static json_value member_of(json_value object, json_value name) {
    for (json_iter it = json_iter_of(object); it.is_object && json_next(&it);) {
        if (json_strings_equal(it.name, name)) {
            return it.value;
        }
    }
    return JSON_NONE;
}

static json_value find_member(struct compare *c, const struct compare_closure *closure,
                              const char *keyword, json_value name) {
    json_value found = JSON_NONE;
    for (uint32_t i = 0; i < closure->n && json_is_absent(found) && compare_spend(c, 1); i++) {
        json_value object = json_find(closure->at[i], mr_str_c(keyword));
        found = member_of(object, name);
        if (!compare_spend(c, json_count(object) / 16)) {
            break;
        }
    }
    return found;
}

/* Where several branches declare the member, that of the same branch: versions seldom move them. */
static json_value find_counterpart(struct compare *c, const struct compare_closure *closure,
                                   uint32_t branch, const char *keyword, json_value name) {
    json_value found = JSON_NONE;
    if (branch < closure->n) {
        json_value object = json_find(closure->at[branch], mr_str_c(keyword));
        (void)compare_spend(c, 1 + json_count(object) / 16);
        found = member_of(object, name);
    }
    return json_is_absent(found) ? find_member(c, closure, keyword, name) : found;
}

/* Members (or patterns) that the older declares and the newer no longer does. */
static void compare_removed(struct compare *c, const struct compare_closure *older,
                            const struct compare_closure *newer, const char *keyword) {
    for (uint32_t i = 0; i < older->n; i++) {
        json_value names = json_find(older->at[i], mr_str_c(keyword));
        for (json_iter it = json_iter_of(names); it.is_object && json_next(&it);) {
            json_value now = find_counterpart(c, newer, i, keyword, it.name);
            if (json_kind_of(it.value) == JSON_FALSE) {
                continue;
            }
            if (json_is_absent(now) || json_kind_of(now) == JSON_FALSE) {
                compare_report(c, OLDER, it.value, keyword, "%.*s is no longer declared",
                               MR_FMT(json_raw(it.name)));
            } else {
                compare_queue(c, it.value, now, false);
            }
        }
    }
}

/* Members of one schema of the newer: what it asks of those that the older knew. */
static void compare_members(struct compare *c, const struct compare_closure *older,
                            json_value newer, const char *keyword) {
    json_value rest = find_in(older, "additionalProperties");
    json_value names = json_find(newer, mr_str_c(keyword));
    bool patterns = strcmp(keyword, "patternProperties") == 0;
    for (json_iter it = json_iter_of(names); it.is_object && json_next(&it);) {
        json_value before = find_member(c, older, keyword, it.name);
        bool is_map = json_kind_of(rest) == JSON_OBJECT && json_count(rest) > 0;
        if (!json_is_absent(before)) {
            compare_queue(c, before, it.value, true);
        } else if (is_map || patterns || json_kind_of(it.value) == JSON_FALSE) {
            compare_queue(c, rest, it.value, true);
        }
    }
}

static void compare_required(struct compare *c, const struct compare_closure *older,
                             json_value newer) {
    json_value required = json_find(newer, MR_STR("required"));
    for (json_iter it = json_iter_of(required); json_next(&it);) {
        bool had = false;
        for (uint32_t i = 0; i < older->n && !had; i++) {
            json_value before = json_find(older->at[i], MR_STR("required"));
            for (json_iter in = json_iter_of(before); !had && json_next(&in);) {
                had = !compare_spend(c, 1) || json_strings_equal(in.value, it.value);
            }
        }
        if (!had) {
            compare_report(c, NEWER, it.value, "required", "%.*s is required now",
                           MR_FMT(json_raw(it.value)));
        }
    }
}

/* additionalProperties and additionalItems. */
static void compare_additional(struct compare *c, json_value before, json_value now,
                               const char *keyword, bool narrow_only) {
    json_value target = compare_follow(c, NEWER, now);
    if (json_kind_of(target) == JSON_FALSE) {
        if (json_kind_of(compare_follow(c, OLDER, before)) != JSON_FALSE) {
            compare_report(c, NEWER, now, keyword,
                           "nothing beyond what is declared is allowed now");
        }
        return;
    }
    compare_queue(c, before, now, narrow_only);
}

/* What a schema says of the item at index. */
static json_value item_of(const struct compare_closure *closure, size_t index) {
    json_value items = find_in(closure, "items");
    if (json_kind_of(items) != JSON_ARRAY) {
        return items;
    }
    return index < json_count(items) ? json_item(items, index)
                                     : find_in(closure, "additionalItems");
}

static void compare_items(struct compare *c, const struct compare_closure *older, json_value newer,
                          bool narrow_only) {
    json_value items = json_find(newer, MR_STR("items"));
    json_value before = find_in(older, "items");
    size_t n_before = json_kind_of(before) == JSON_ARRAY ? json_count(before) : 0;
    if (json_kind_of(items) != JSON_ARRAY) {
        for (size_t i = 0; i < n_before && compare_spend(c, i + 1); i++) {
            compare_queue(c, item_of(older, i), items, narrow_only);
        }
        compare_queue(c, item_of(older, SIZE_MAX), items, narrow_only);
        return;
    }
    json_value rest = json_find(newer, MR_STR("additionalItems"));
    size_t n = json_count(items);
    for (size_t i = 0; i < n && compare_spend(c, i + 1); i++) {
        compare_queue(c, item_of(older, i), json_item(items, i), narrow_only);
    }
    for (size_t i = n; i < n_before && compare_spend(c, i + 1); i++) {
        compare_additional(c, item_of(older, i), rest, "additionalItems", narrow_only);
    }
    compare_additional(c, item_of(older, SIZE_MAX), rest, "additionalItems", narrow_only);
}

static void compare_dependencies(struct compare *c, const struct compare_closure *older,
                                 json_value newer) {
    json_value dependencies = json_find(newer, MR_STR("dependencies"));
    for (json_iter it = json_iter_of(dependencies); it.is_object && json_next(&it);) {
        json_value before = find_member(c, older, "dependencies", it.name);
        bool wider = json_kind_of(it.value) == JSON_TRUE;
        if (json_kind_of(it.value) == JSON_ARRAY && json_kind_of(before) == JSON_ARRAY) {
            wider = true;
            for (json_iter name = json_iter_of(it.value); wider && json_next(&name);) {
                wider = false;
                for (json_iter in = json_iter_of(before); !wider && json_next(&in);) {
                    wider = !compare_spend(c, 1) || json_strings_equal(in.value, name.value);
                }
            }
        } else if (json_kind_of(it.value) != JSON_ARRAY && !json_is_absent(before) &&
                   json_kind_of(before) != JSON_ARRAY) {
            compare_queue(c, before, it.value, true);
            wider = true;
        }
        if (!wider) {
            compare_report(c, NEWER, it.value, "dependencies", "%.*s asks for more now",
                           MR_FMT(json_raw(it.name)));
        }
    }
}

static bool has_same(struct compare *c, json_value branches, json_value older) {
    for (json_iter it = json_iter_of(branches); json_next(&it) && compare_spend(c, 1);) {
        if (compare_same(c, older, it.value)) {
            return true;
        }
    }
    return false;
}

/* anyOf: each branch of the older must be among the newer's. oneOf: the same branches, since one
 * more can overlap and then refuse. A place that had none is itself the branch. */
static void compare_branches(struct compare *c, const struct compare_closure *older,
                             json_value newer, const char *keyword) {
    json_value now = json_find(newer, mr_str_c(keyword));
    json_value before = find_in(older, keyword);
    if (json_is_absent(now)) {
        return;
    }
    bool wider = true;
    if (json_is_absent(before)) {
        wider = older->n > 0 && has_same(c, now, older->at[0]) && strcmp(keyword, "anyOf") == 0;
    }
    for (json_iter it = json_iter_of(before); wider && json_next(&it);) {
        wider = has_same(c, now, it.value);
    }
    if (strcmp(keyword, "oneOf") == 0) {
        wider = wider && json_count(before) == json_count(now);
    }
    if (!wider) {
        compare_report(c, NEWER, now, keyword, "cannot be shown to allow all that was allowed");
    }
}

/* not, and if with its then and else: the same, or gone. */
static void compare_negations(struct compare *c, const struct compare_closure *older,
                              json_value newer) {
    static const char *const names[] = {"not", "if", "then", "else"};
    bool conditional = !json_is_absent(json_find(newer, MR_STR("if")));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_value now = json_find(newer, mr_str_c(names[i]));
        json_value before = find_in(older, names[i]);
        bool counts = !json_is_absent(now) && (i == 0 || conditional);
        if (counts && (json_is_absent(before) || !compare_same(c, before, now))) {
            compare_report(c, NEWER, now, names[i],
                           "cannot be shown to allow all that was allowed");
        }
    }
}

static void compare_contains(struct compare *c, const struct compare_closure *older,
                             json_value newer) {
    json_value now = json_find(newer, MR_STR("contains"));
    json_value before = find_in(older, "contains");
    if (!json_is_absent(now) && json_is_absent(before)) {
        compare_report(c, NEWER, now, "contains", "an item of this kind must be there now");
    } else {
        compare_queue(c, before, now, true);
    }
    compare_queue(c, find_in(older, "propertyNames"), json_find(newer, MR_STR("propertyNames")),
                  true);
}

static void compare_objects(struct compare *c, const struct compare_closure *older,
                            json_value newer, bool narrow_only) {
    json_value additional = json_find(newer, MR_STR("additionalProperties"));
    compare_required(c, older, newer);
    compare_members(c, older, newer, "properties");
    compare_members(c, older, newer, "patternProperties");
    if (!json_is_absent(additional)) {
        compare_additional(c, find_in(older, "additionalProperties"), additional,
                           "additionalProperties", narrow_only);
    }
    compare_dependencies(c, older, newer);
}

/* Whether the older place asks, by itself or in a branch of allOf, for what ref leads to outside.
 */
static bool refers(struct compare *c, json_value schema, const struct compare_closure *older,
                   json_value ref) {
    bool found = json_strings_equal(ref, json_find(schema, MR_STR("$ref")));
    for (uint32_t i = 0; i < older->n && !found; i++) {
        json_value all = json_find(older->at[i], MR_STR("allOf"));
        for (json_iter it = json_iter_of(all); !found && json_next(&it);) {
            found = !compare_spend(c, 1) ||
                    json_strings_equal(ref, json_find(it.value, MR_STR("$ref")));
        }
    }
    return found;
}

static void compare_pair(struct compare *c, struct compare_pair pair) {
    struct compare_closure older;
    struct compare_closure closure;
    json_value newer = compare_follow(c, NEWER, pair.newer);
    close_over(c, OLDER, pair.older, &older);
    close_over(c, NEWER, pair.newer, &closure);
    if (older.forbids) {
        return; /* nothing was taken that could be lost */
    }
    if (json_kind_of(newer) == JSON_FALSE) {
        compare_report(c, NEWER, newer, "false", "nothing is allowed here now");
        return;
    }
    if (json_is_absent(newer)) {
        json_value ref = json_find(pair.newer, MR_STR("$ref"));
        if (!refers(c, pair.older, &older, ref)) {
            compare_report(c, NEWER, ref, "$ref", "leads out of the document, to something else");
        }
        return;
    }
    if (!pair.narrow_only) {
        compare_removed(c, &older, &closure, "properties");
        compare_removed(c, &older, &closure, "patternProperties");
    }
    if (json_kind_of(newer) != JSON_OBJECT) {
        return;
    }
    bool objects = true;
    for (uint32_t i = 0; i < older.n; i++) {
        objects = objects && (compare_types(older.at[i]) & 1u << JSON_OBJECT) != 0;
    }
    compare_values(c, &older, newer);
    if (objects) {
        compare_objects(c, &older, newer, pair.narrow_only);
    }
    compare_items(c, &older, newer, pair.narrow_only);
    compare_contains(c, &older, newer);
    compare_branches(c, &older, newer, "anyOf");
    compare_branches(c, &older, newer, "oneOf");
    compare_negations(c, &older, newer);
    json_value all = json_find(newer, MR_STR("allOf"));
    for (json_iter it = json_iter_of(all); json_next(&it) && compare_spend(c, 1);) {
        compare_queue(c, pair.older, it.value, true);
    }
}

static void compare_all(struct compare *c) {
    compare_queue(c, c->docs[OLDER].root, c->docs[NEWER].root, false);
    for (uint32_t i = 0; i < c->n_queue && compare_spend(c, 1); i++) {
        compare_pair(c, c->queue[i]);
    }
    if (c->steps == 0) {
        fail(c, MR_ERR(MR_E_LIMIT));
    }
}

mr_err schema_compare(mr_str older, mr_str newer, mr_buf *out, size_t *ret_n) {
    json_out writer;
    struct compare c = {.steps = COMPARE_STEPS_MAX, .out = &writer};
    size_t before = out->len;
    json_out_init(&writer, out);
    json_out_array(&writer);
    mr_err err = version_doc_init(&c.docs[OLDER], older);
    mr_err other = version_doc_init(&c.docs[NEWER], newer);
    c.err = mr_is_ok(err) ? other : err;
    if (mr_is_ok(c.err)) {
        compare_all(&c);
    }
    json_out_end(&writer);
    other = json_out_finish(&writer);
    err = mr_is_ok(c.err) ? other : c.err;
    version_doc_done(&c.docs[OLDER]);
    version_doc_done(&c.docs[NEWER]);
    mr_free(c.queue);
    mr_free(c.met.keys);
    mr_free(c.same.keys);
    mr_free(c.listed.keys);
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
        return err;
    }
    *ret_n = c.n_changes;
    return MR_OK;
}
