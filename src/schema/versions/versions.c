/* Documents of two versions side by side. See versions.h.
 *
 * References are resolved as draft-07 has it, as far as they stay inside the document: "#" and
 * "#/…" within the innermost part that has an "$id" of its own, "#name" by an "$id" of that text,
 * and "…#…" where what stands before # is the "$id" of a part, letter by letter. Everything else
 * leads out of the document and is opaque here. Siblings of `$ref` mean nothing in draft-07. What
 * a reference leads to is remembered per node, so that a document of many references to a long
 * list of definitions costs one search each.
 *
 * Numbers are compared as decimals: sign, then the power of ten of the first digit that counts,
 * then the digits. Nothing is converted, so 1e400 and 0.1 are themselves. */
#include "schema/versions/versions.h"

#include "base/mem.h"
#include "base/num.h"
#include "json/pointer.h"

#define HOPS_MAX       64
#define EXPONENT_MAX   INT64_C(1000000000)
#define DIGITS_MAX     4096
#define TARGET_UNKNOWN NULL

static mr_err add_resource(struct version_doc *doc, json_value schema, json_value id) {
    if (doc->n_resources == VERSION_RESOURCES_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    size_t begin = json_offset(schema);
    doc->resources[doc->n_resources++] = (struct version_resource){
        .schema = schema, .id = id, .begin = begin, .end = begin + json_raw(schema).len};
    return MR_OK;
}

/* Values that hold instances and no schemas. */
static bool is_instance(json_value name) {
    return json_string_eq(name, MR_STR("enum")) || json_string_eq(name, MR_STR("const")) ||
           json_string_eq(name, MR_STR("default")) || json_string_eq(name, MR_STR("examples"));
}

/* As deep as the tape is nested. */
static mr_err collect_resources(struct version_doc *doc, json_value value) {
    json_value id = json_find(value, MR_STR("$id"));
    if (json_kind_of(id) == JSON_STRING && value.node != doc->root.node) {
        MR_TRY(add_resource(doc, value, id));
    }
    for (json_iter it = json_iter_of(value); json_next(&it);) {
        if (json_count(it.value) > 0 && !(it.is_object && is_instance(it.name))) {
            MR_TRY(collect_resources(doc, it.value));
        }
    }
    return MR_OK;
}

mr_err version_doc_init(struct version_doc *doc, mr_str text) {
    *doc = (struct version_doc){.n_resources = 0};
    json_tape_init(&doc->tape, JSON_DEPTH_MAX);
    mr_buf_init(&doc->scratch, (size_t)1 << 20);
    MR_TRY(json_tape_read(&doc->tape, text, NULL));
    doc->root = json_root(&doc->tape);
    doc->resources = mr_calloc(VERSION_RESOURCES_MAX, sizeof *doc->resources);
    doc->targets = mr_calloc(doc->tape.len, sizeof *doc->targets);
    if (doc->resources == NULL || doc->targets == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    json_value id = json_find(doc->root, MR_STR("$id"));
    MR_TRY(add_resource(doc, doc->root, json_kind_of(id) == JSON_STRING ? id : JSON_NONE));
    return collect_resources(doc, doc->root);
}

void version_doc_done(struct version_doc *doc) {
    json_tape_done(&doc->tape);
    mr_free(doc->resources);
    mr_free(doc->targets);
    mr_buf_done(&doc->scratch);
    doc->resources = NULL;
    doc->targets = NULL;
}

/* The innermost part around a schema; a "$id" that is a fragment makes no part. */
static json_value part_around(const struct version_doc *doc, json_value schema) {
    size_t at = json_offset(schema);
    json_value part = doc->root;
    for (uint32_t i = 1; i < doc->n_resources; i++) {
        const struct version_resource *r = &doc->resources[i];
        if (at >= r->begin && at < r->end && !mr_str_starts(json_raw(r->id), MR_STR("\"#"))) {
            part = r->schema; /* they stand in the order of the text: the last is innermost */
        }
    }
    return part;
}

static json_value part_named(const struct version_doc *doc, mr_str id) {
    for (uint32_t i = 0; i < doc->n_resources; i++) {
        if (json_string_eq(doc->resources[i].id, id)) {
            return doc->resources[i].schema;
        }
    }
    return JSON_NONE;
}

/* Appends text with %xx decoded. */
static mr_err unescape(mr_str text, mr_buf *out) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%' && mr_is_ok(mr_hex_decode(mr_str_slice(text, i + 1, i + 3), &c, 1))) {
            i += 2;
        }
        MR_TRY(mr_buf_byte(out, c));
    }
    return MR_OK;
}

/* What text names, seen from schema; absent for what is outside. */
static mr_err look_up(struct version_doc *doc, json_value schema, mr_str text, json_value *ret) {
    *ret = JSON_NONE;
    size_t hash = mr_str_find_byte(text, '#', 0);
    mr_str base = mr_str_slice(text, 0, hash);
    mr_str fragment = hash == SIZE_MAX ? MR_STR("") : mr_str_slice(text, hash + 1, text.len);
    json_value part = base.len == 0 ? part_around(doc, schema) : part_named(doc, base);
    if (json_is_absent(part)) {
        return MR_OK;
    }
    if (fragment.len > 0 && fragment.ptr[0] != '/') {
        *ret = base.len == 0 ? part_named(doc, text) : JSON_NONE;
        return MR_OK;
    }
    mr_buf pointer;
    mr_buf_init(&pointer, (size_t)1 << 20);
    mr_err err = unescape(fragment, &pointer);
    json_value found;
    if (mr_is_ok(err) && mr_is_ok(json_pointer_find(part, mr_buf_view(&pointer), &found))) {
        *ret = found;
    }
    mr_buf_done(&pointer);
    return err;
}

/* One hop. JSON_NONE is told as "the node of the reference itself". */
static mr_err hop(struct version_doc *doc, json_value schema, json_value ref, json_value *ret) {
    json_value *known = &doc->targets[ref.node];
    if (known->tape == TARGET_UNKNOWN) {
        mr_buf_reset(&doc->scratch);
        json_value target;
        MR_TRY(json_string_append(ref, &doc->scratch));
        MR_TRY(look_up(doc, schema, mr_buf_view(&doc->scratch), &target));
        *known = json_is_absent(target) ? ref : target;
    }
    *ret = known->node == ref.node ? JSON_NONE : *known;
    return MR_OK;
}

mr_err version_follow(struct version_doc *doc, json_value schema, json_value *ret_schema) {
    for (int hops = 0; hops < HOPS_MAX; hops++) {
        json_value ref = json_find(schema, MR_STR("$ref"));
        if (json_kind_of(ref) != JSON_STRING) {
            *ret_schema = schema;
            return MR_OK;
        }
        MR_TRY(hop(doc, schema, ref, &schema));
        if (json_is_absent(schema)) {
            break;
        }
    }
    *ret_schema = JSON_NONE;
    return MR_OK;
}

/* A number as 0.DIGITS times ten to `power`; digits without zeros at either end. */
struct decimal {
    mr_str text; /* of the digits, perhaps with a point among them */
    int64_t power;
    int sign; /* -1, 0, 1 */
};

static int64_t exponent_of(mr_str text) {
    bool minus = text.len > 0 && text.ptr[0] == '-';
    if (minus || (text.len > 0 && text.ptr[0] == '+')) {
        text = mr_str_slice(text, 1, text.len);
    }
    uint64_t n;
    if (text.len == 0) {
        return 0;
    }
    if (mr_is_err(mr_u64_parse(text, 0, (uint64_t)EXPONENT_MAX, &n))) {
        n = (uint64_t)EXPONENT_MAX;
    }
    return minus ? -(int64_t)n : (int64_t)n;
}

static struct decimal decimal_of(json_value number) {
    mr_str text = json_raw(number);
    struct decimal d = {.sign = text.ptr[0] == '-' ? -1 : 1};
    text = mr_str_slice(text, d.sign < 0 ? 1 : 0, text.len);
    size_t e = 0;
    while (e < text.len && text.ptr[e] != 'e' && text.ptr[e] != 'E') {
        e++;
    }
    int64_t exponent = exponent_of(mr_str_slice(text, e + 1, text.len));
    text = mr_str_slice(text, 0, e);
    size_t point = mr_str_find_byte(text, '.', 0);
    int64_t whole = (int64_t)(point == SIZE_MAX ? text.len : point);
    size_t first = 0;
    while (first < text.len && (text.ptr[first] == '0' || text.ptr[first] == '.')) {
        first++;
    }
    if (first == text.len) {
        return (struct decimal){.text = MR_STR("")};
    }
    size_t last = text.len;
    while (text.ptr[last - 1] == '0' || text.ptr[last - 1] == '.') {
        last--;
    }
    int64_t before = (int64_t)first < whole ? whole - (int64_t)first : whole - (int64_t)first + 1;
    d.text = mr_str_slice(text, first, last);
    d.power = before + exponent;
    return d;
}

/* The next digit, or -1 at the end. */
static int next_digit(mr_str *text) {
    if (text->len > 0 && text->ptr[0] == '.') {
        *text = mr_str_slice(*text, 1, text->len);
    }
    if (text->len == 0) {
        return -1;
    }
    int digit = text->ptr[0] - '0';
    *text = mr_str_slice(*text, 1, text->len);
    return digit;
}

int version_number_cmp(json_value a, json_value b) {
    struct decimal x = decimal_of(a);
    struct decimal y = decimal_of(b);
    if (x.sign != y.sign || x.sign == 0) {
        return x.sign - y.sign;
    }
    if (x.power != y.power) {
        return (x.power > y.power) == (x.sign > 0) ? 1 : -1;
    }
    for (;;) {
        int p = next_digit(&x.text);
        int q = next_digit(&y.text);
        if (p != q) {
            return (p > q) == (x.sign > 0) ? 1 : -1;
        }
        if (p < 0) {
            return 0;
        }
    }
}

/* The digits as an integer and the power of ten of the last; false past 18 digits. */
static bool integer_of(struct decimal d, uint64_t *ret_n, int64_t *ret_scale) {
    uint64_t n = 0;
    int64_t digits = 0;
    for (int digit = next_digit(&d.text); digit >= 0; digit = next_digit(&d.text)) {
        if (++digits > 18) {
            return false;
        }
        n = n * 10 + (uint64_t)digit;
    }
    *ret_n = n;
    *ret_scale = d.power - digits;
    return true;
}

bool version_number_divides(json_value number, json_value divisor) {
    struct decimal x = decimal_of(number);
    uint64_t a;
    uint64_t b;
    int64_t scale_a;
    int64_t scale_b;
    if (x.sign == 0) {
        return true;
    }
    if (!integer_of(x, &a, &scale_a) || !integer_of(decimal_of(divisor), &b, &scale_b) || b == 0) {
        return version_number_cmp(number, divisor) == 0;
    }
    int64_t shift = scale_a - scale_b;
    if (shift > DIGITS_MAX || shift < -DIGITS_MAX) {
        return false;
    }
    /* a·10^shift mod b. With a negative shift it never divides: a would be a multiple of ten, and
     * its zeros were taken off. */
    if (shift < 0) {
        return false;
    }
    uint64_t rest = a % b; /* < 10^18: ten times it fits */
    for (int64_t i = 0; i < shift && rest != 0; i++) {
        rest = rest * 10 % b;
    }
    return rest == 0;
}

static bool equal_objects(json_value a, json_value b, uint64_t *steps) {
    json_iter other = json_iter_of(b);
    for (json_iter it = json_iter_of(a); json_next(&it);) {
        /* Usually the same order; else it is searched. */
        json_value value = JSON_NONE;
        if (json_next(&other) && json_strings_equal(it.name, other.name)) {
            value = other.value;
        }
        for (json_iter in = json_iter_of(b); json_is_absent(value) && json_next(&in);) {
            *steps -= *steps > 0 ? 1 : 0;
            if (*steps == 0) {
                return false;
            }
            value = json_strings_equal(it.name, in.name) ? in.value : JSON_NONE;
        }
        if (json_is_absent(value) || !version_equal(it.value, value, steps)) {
            return false;
        }
    }
    return true;
}

static bool equal_arrays(json_value a, json_value b, uint64_t *steps) {
    json_iter other = json_iter_of(b);
    for (json_iter it = json_iter_of(a); json_next(&it) && json_next(&other);) {
        if (!version_equal(it.value, other.value, steps)) {
            return false;
        }
    }
    return true;
}

bool version_equal(json_value a, json_value b, uint64_t *steps) {
    enum json_kind kind = json_kind_of(a);
    if (*steps == 0 || kind != json_kind_of(b) || json_count(a) != json_count(b)) {
        return false;
    }
    --*steps;
    switch (kind) {
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return true;
    case JSON_NUMBER:
        return version_number_cmp(a, b) == 0;
    case JSON_STRING:
        return json_strings_equal(a, b);
    case JSON_ARRAY:
        return equal_arrays(a, b, steps);
    case JSON_OBJECT:
        return equal_objects(a, b, steps);
    }
    return false;
}
