/* The strict reader. See tape.h; walking the tape is in value.c.
 *
 * One pass, no recursion: the text is read byte by byte into nodes of 16 bytes that stand in the
 * order of the text. A container's node knows where the next value after it begins (`next`), so
 * that a lookup skips whole subtrees. While a container is open its node is not finished, and two
 * of its fields serve the reader: `next` holds the enclosing container's node, `len` the count of
 * noise at its opening. Noise is everything that a minified text has not: white space, and escapes
 * (which may or may not be as JSON.stringify writes them). A container at whose closing no noise
 * was added is marked MINIFIED: it is later written by one memcpy, which is the usual case.
 *
 *     [ {"a":1} , 2 ]      node  kind    at len next
 *                           0    array    0  15   5
 *                           1    object   2   7   4
 *                           2    string   4   1   h   (a name: next is its hash)
 *                           3    number   7   1   4
 *                           4    number  12   1   5
 *
 * Strings are scanned 16 bytes at a time for the bytes that need a look: quote, backslash, controls
 * and everything above 0x7F, which is checked to be UTF-8 on the spot.
 *
 * Duplicate member names. Each name's 32-bit hash of its decoded bytes goes to a filter of 1,024
 * bits per open object; only a name whose bit is set already is compared with its predecessors. An
 * object of more than NAMES_FILTERED members is instead checked once, at its end: its names are
 * sorted by hash, then bytes (heap sort: O(n log n) whatever an attacker sends, no recursion, no
 * secret seed needed), and neighbours compared.
 *
 * Failure: the first wrong byte ends the reading, the tape is emptied, offset and expectation are
 * told. Memory that was grown is kept for the next text. */
#include "json/tape.h"

#include "base/mem.h"
#include "json/node.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* So that the items of the largest array fit their 26 bits. */
#define TEXT_BYTES_MAX (1u << 27)
#define NODES_FIRST    256u
#define NAMES_FILTERED 32u
#define FILTER_WORDS   16u

struct reader {
    json_tape *tape;
    const char *from; /* the text's first byte */
    const char *at;
    const char *end;
    uint32_t open;  /* innermost open container's node, or NODE_NONE */
    uint32_t depth; /* open containers */
    uint32_t noise;
    const char *expected; /* set with every error */
};

/* What the scan of a string found besides its end. */
struct string_scan {
    const char *close; /* its closing quote */
    bool escaped;
};

static mr_err fail(struct reader *r, const char *at, uint32_t code, const char *expected) {
    r->at = at;
    r->expected = expected;
    return MR_ERR(code);
}

void json_tape_init(json_tape *tape, uint32_t depth_max) {
    MR_ASSERT(depth_max >= 1 && depth_max <= JSON_DEPTH_MAX);
    *tape = (json_tape){.depth_max = depth_max};
    mr_buf_init_private(&tape->scratch, TEXT_BYTES_MAX);
}

void json_tape_done(json_tape *tape) {
    mr_free(tape->nodes);
    mr_free(tape->order);
    mr_buf_done(&tape->scratch);
    json_tape_init(tape, tape->depth_max);
}

void json_tape_trim(json_tape *tape, size_t keep_bytes) {
    size_t held =
        tape->cap * sizeof *tape->nodes + tape->order_cap * sizeof *tape->order + tape->scratch.cap;
    if (held > keep_bytes) {
        json_tape_done(tape);
    }
    tape->len = 0;
    tape->text = MR_STR_NONE;
}

static mr_err grow_nodes(json_tape *tape) {
    uint32_t cap = tape->cap == 0 ? NODES_FIRST : tape->cap * 2;
    json_node *nodes = mr_realloc(tape->nodes, cap * sizeof *nodes);
    if (nodes == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    tape->nodes = nodes;
    tape->cap = cap;
    return MR_OK;
}

static inline mr_err add_node(struct reader *r, const char *at, size_t len, uint32_t info) {
    json_tape *tape = r->tape;
    if (__builtin_expect(tape->len == tape->cap, 0)) {
        MR_TRY(grow_nodes(tape));
    }
    tape->nodes[tape->len] = (json_node){
        .at = (uint32_t)(at - r->from), .len = (uint32_t)len, .next = tape->len + 1, .info = info};
    tape->len++;
    return MR_OK;
}

static inline bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void skip_space(struct reader *r) {
    while (r->at < r->end && is_space(*r->at)) {
        r->at++;
        r->noise++;
    }
}

/* Skips bytes that need no look, one by one. */
static inline const char *skip_plain_bytes(const char *p, const char *end) {
    while (p < end && (signed char)*p >= ' ' && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

#if defined(__SSE2__)
/* The same 16 at a time, as long as so many are left. */
static inline const char *skip_plain(const char *p, const char *end) {
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(' ');
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i_u *)(const void *)p);
        /* The comparison is signed: bytes above 0x7F are below the space too. */
        __m128i look = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
            _mm_cmplt_epi8(bytes, space));
        unsigned mask = (unsigned)_mm_movemask_epi8(look);
        if (mask != 0) {
            return p + __builtin_ctz(mask);
        }
    }
    return skip_plain_bytes(p, end);
}
#else
static inline const char *skip_plain(const char *p, const char *end) {
    return skip_plain_bytes(p, end);
}
#endif

/* Length of the valid multi-byte UTF-8 sequence at p, or 0. */
static size_t utf8_sequence(const char *p, const char *end) {
    mr_str rest = {p, (size_t)(end - p)};
    unsigned char lead = (unsigned char)*p;
    size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    return rest.len >= n && mr_str_is_utf8((mr_str){p, n}) ? n : 0;
}

/* Reads the escape whose backslash stands at p; *ret_next is behind it. */
static mr_err read_escape(struct reader *r, const char *p, const char **ret_next) {
    static const char simple[] = "\"\\/bfnrt";
    uint32_t unit;
    uint32_t low;
    if (r->end - p < 2) {
        return fail(r, r->end, JSON_E_SYNTAX, "the rest of an escape");
    }
    if (p[1] != 'u') {
        if (p[1] == '\0' || strchr(simple, p[1]) == NULL) {
            return fail(r, p + 1, JSON_E_SYNTAX, "one of \" \\ / b f n r t u behind a backslash");
        }
        *ret_next = p + 2;
        return MR_OK;
    }
    if (!node_unit(p, r->end, &unit)) {
        return fail(r, p, JSON_E_SYNTAX, "four hex digits behind \\u");
    }
    *ret_next = p + 6;
    if (unit >= 0xDC00 && unit <= 0xDFFF) {
        return fail(r, p, JSON_E_SURROGATE, "a high surrogate before a low one");
    }
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        if (!node_unit(p + 6, r->end, &low) || low < 0xDC00 || low > 0xDFFF) {
            return fail(r, p, JSON_E_SURROGATE, "a low surrogate behind a high one");
        }
        *ret_next = p + 12;
    }
    return MR_OK;
}

/* Scans from behind the opening quote to the closing one. */
static inline mr_err scan_string(struct reader *r, const char *p, struct string_scan *ret_scan) {
    ret_scan->escaped = false;
    for (;;) {
        p = skip_plain(p, r->end);
        if (p == r->end) {
            return fail(r, p, JSON_E_SYNTAX, "a closing quote");
        }
        if (*p == '"') {
            ret_scan->close = p;
            return MR_OK;
        }
        if (*p == '\\') {
            ret_scan->escaped = true;
            MR_TRY(read_escape(r, p, &p));
        } else if ((signed char)*p >= 0) {
            return fail(r, p, JSON_E_SYNTAX, "no control character inside a string");
        } else {
            size_t n = utf8_sequence(p, r->end);
            if (n == 0) {
                return fail(r, p, JSON_E_UTF8, "UTF-8");
            }
            p += n;
        }
    }
}

/* Reads the string at r->at (its quote) into a node. */
static mr_err read_string(struct reader *r) {
    struct string_scan scan = {0};
    const char *first = r->at + 1;
    MR_TRY(scan_string(r, first, &scan));
    r->noise += scan.escaped;
    r->at = scan.close + 1;
    uint32_t info = JSON_STRING | (scan.escaped ? NODE_ESCAPED : NODE_MINIFIED);
    return add_node(r, first, (size_t)(scan.close - first), info);
}

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }
    return p;
}

static mr_err read_number(struct reader *r) {
    const char *from = r->at;
    const char *p = *from == '-' ? from + 1 : from;
    const char *digits = p;
    p = skip_digits(p, r->end);
    if (p == digits) {
        return fail(r, p, JSON_E_SYNTAX, "a digit");
    }
    if (*digits == '0' && p > digits + 1) {
        return fail(r, digits + 1, JSON_E_SYNTAX, "no digit behind a leading zero");
    }
    if (p < r->end && *p == '.') {
        digits = p + 1;
        p = skip_digits(digits, r->end);
        if (p == digits) {
            return fail(r, p, JSON_E_SYNTAX, "a digit behind the point");
        }
    }
    if (p < r->end && (*p == 'e' || *p == 'E')) {
        digits = p + 1;
        if (digits < r->end && (*digits == '+' || *digits == '-')) {
            digits++;
        }
        p = skip_digits(digits, r->end);
        if (p == digits) {
            return fail(r, p, JSON_E_SYNTAX, "a digit of the exponent");
        }
    }
    r->at = p;
    return add_node(r, from, (size_t)(p - from), JSON_NUMBER | NODE_MINIFIED);
}

static mr_err read_word(struct reader *r, const char *word, size_t len, enum json_kind kind) {
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0) {
        return fail(r, r->at, JSON_E_SYNTAX, "a value");
    }
    const char *from = r->at;
    r->at += len;
    return add_node(r, from, len, (uint32_t)kind | NODE_MINIFIED);
}

static mr_err read_scalar(struct reader *r) {
    switch (*r->at) {
    case '"':
        return read_string(r);
    case 't':
        return read_word(r, "true", 4, JSON_TRUE);
    case 'f':
        return read_word(r, "false", 5, JSON_FALSE);
    case 'n':
        return read_word(r, "null", 4, JSON_NULL);
    default:
        return *r->at == '-' || (*r->at >= '0' && *r->at <= '9')
                   ? read_number(r)
                   : fail(r, r->at, JSON_E_SYNTAX, "a value");
    }
}

static mr_err open_container(struct reader *r, enum json_kind kind) {
    if (r->depth == r->tape->depth_max) {
        return fail(r, r->at, JSON_E_DEPTH, "no deeper nesting");
    }
    MR_TRY(add_node(r, r->at, r->noise, (uint32_t)kind));
    uint32_t self = r->tape->len - 1;
    r->tape->nodes[self].next = r->open;
    r->open = self;
    r->depth++;
    r->at++;
    return MR_OK;
}

/* Hash of a name's decoded bytes: its length, its first and last eight. Equal hashes are always
 * followed by a comparison. */
uint32_t json_name_hash(mr_str s) {
    uint64_t first = 0;
    uint64_t last = 0;
    if (s.len >= 8) {
        memcpy(&first, s.ptr, 8);
        memcpy(&last, s.ptr + s.len - 8, 8);
    } else if (s.len >= 4) {
        uint32_t word;
        memcpy(&word, s.ptr, 4);
        first = word;
        memcpy(&word, s.ptr + s.len - 4, 4);
        last = word;
    } else if (s.len > 0) {
        first = (uint64_t)(unsigned char)s.ptr[0] << 16 |
                (uint64_t)(unsigned char)s.ptr[s.len / 2] << 8 | (unsigned char)s.ptr[s.len - 1];
    }
    /* Two multiplications side by side: this stands in the way of every name. */
    uint64_t h =
        (first ^ s.len) * UINT64_C(0x9E3779B97F4A7C15) + last * UINT64_C(0xD6E8FEB86659FD93);
    return (uint32_t)(h >> 32);
}

static int compare_names(const json_tape *tape, uint32_t a, uint32_t b) {
    const json_node *x = &tape->nodes[a];
    const json_node *y = &tape->nodes[b];
    if (x->next != y->next) {
        return x->next < y->next ? -1 : 1;
    }
    return node_compare(tape, x, y);
}

/* Is the last name, node `name` of the open object, there before? */
static bool has_earlier(const struct reader *r, uint32_t name) {
    const json_tape *tape = r->tape;
    uint32_t at = r->open + 1;
    while (at < name) {
        if (compare_names(tape, at, name) == 0) {
            return true;
        }
        at = tape->nodes[at + 1].next;
    }
    return false;
}

static void sift_down(const json_tape *tape, uint32_t *heap, uint32_t root, uint32_t n) {
    for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= n) {
            return;
        }
        if (child + 1 < n && compare_names(tape, heap[child], heap[child + 1]) < 0) {
            child++;
        }
        if (compare_names(tape, heap[root], heap[child]) >= 0) {
            return;
        }
        uint32_t kept = heap[root];
        heap[root] = heap[child];
        heap[child] = kept;
        root = child;
    }
}

static void sort_names(const json_tape *tape, uint32_t *names, uint32_t n) {
    for (uint32_t root = n / 2; root-- > 0;) {
        sift_down(tape, names, root, n);
    }
    for (uint32_t left = n; left-- > 1;) {
        uint32_t greatest = names[0];
        names[0] = names[left];
        names[left] = greatest;
        sift_down(tape, names, 0, left);
    }
}

/* Looks for two equal names in a large object whose nodes are complete. */
static mr_err check_large_object(struct reader *r, uint32_t object, uint32_t n) {
    json_tape *tape = r->tape;
    if (tape->order_cap < n) {
        uint32_t *order = mr_realloc(tape->order, n * sizeof *order);
        if (order == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        tape->order = order;
        tape->order_cap = n;
    }
    uint32_t at = object + 1;
    for (uint32_t i = 0; i < n; i++) {
        tape->order[i] = at;
        at = tape->nodes[at + 1].next;
    }
    sort_names(tape, tape->order, n);
    for (uint32_t i = 1; i < n; i++) {
        uint32_t a = tape->order[i - 1];
        uint32_t b = tape->order[i];
        if (compare_names(tape, a, b) == 0) {
            uint32_t later = a > b ? a : b;
            return fail(r, r->from + tape->nodes[later].at - 1, JSON_E_DUPLICATE,
                        "a member name that is new in its object");
        }
    }
    return MR_OK;
}

/* Closes the innermost container, whose closing bracket stands at r->at. */
static mr_err close_container(struct reader *r) {
    json_tape *tape = r->tape;
    uint32_t self = r->open;
    json_node *node = &tape->nodes[self];
    uint32_t count = node->info >> NODE_COUNT_SHIFT;
    r->open = node->next;
    r->depth--;
    r->at++;
    if (node->len == r->noise) {
        node->info |= NODE_MINIFIED;
    }
    node->len = (uint32_t)(r->at - r->from) - node->at;
    node->next = tape->len;
    bool large = (node->info & NODE_KIND) == JSON_OBJECT && count > NAMES_FILTERED;
    return large ? check_large_object(r, self, count) : MR_OK;
}

/* Reads the string of a name into a node whose `next` is the hash. */
static mr_err read_name_string(struct reader *r, uint32_t *ret_hash) {
    json_tape *tape = r->tape;
    struct string_scan scan = {0};
    const char *first = r->at + 1;
    MR_TRY(scan_string(r, first, &scan));
    mr_str s = {first, (size_t)(scan.close - first)};
    MR_TRY(add_node(r, first, s.len,
                    JSON_STRING | NODE_NAME | (scan.escaped ? NODE_ESCAPED : NODE_MINIFIED)));
    if (scan.escaped) {
        r->noise++;
        mr_buf_reset(&tape->scratch);
        MR_TRY(node_decode(s, &tape->scratch));
        s = mr_buf_view(&tape->scratch);
    }
    r->at = scan.close + 1;
    *ret_hash = json_name_hash(s);
    tape->nodes[tape->len - 1].next = *ret_hash;
    return MR_OK;
}

/* Reads `"name" :`; filter is that of the open object. */
static mr_err read_name(struct reader *r, uint64_t filter[static FILTER_WORDS]) {
    if (r->at == r->end || *r->at != '"') {
        return fail(r, r->at, JSON_E_SYNTAX, "a member name");
    }
    const char *quote = r->at;
    uint32_t hash;
    MR_TRY(read_name_string(r, &hash));
    if (r->tape->nodes[r->open].info >> NODE_COUNT_SHIFT < NAMES_FILTERED) {
        uint64_t *word = &filter[hash >> 6 & (FILTER_WORDS - 1)];
        uint64_t bit = UINT64_C(1) << (hash & 63);
        if (__builtin_expect((*word & bit) != 0, 0) && has_earlier(r, r->tape->len - 1)) {
            return fail(r, quote, JSON_E_DUPLICATE, "a member name that is new in its object");
        }
        *word |= bit;
    }
    skip_space(r);
    if (r->at == r->end || *r->at != ':') {
        return fail(r, r->at, JSON_E_SYNTAX, "a colon");
    }
    r->at++;
    skip_space(r);
    return MR_OK;
}

/* What the reader does next; a container's first position differs from the later ones only in
 * that it may close at once. */
enum step {
    STEP_VALUE = 0, /* a value is due at r->at */
    STEP_FIRST,     /* behind an opening bracket */
    STEP_AFTER,     /* behind a value: comma, closing bracket, or the end */
};

/* Behind a value in the open container. */
static mr_err read_after(struct reader *r, uint64_t (*filters)[FILTER_WORDS], enum step *ret_step) {
    json_node *open = &r->tape->nodes[r->open];
    bool in_object = (open->info & NODE_KIND) == JSON_OBJECT;
    open->info += 1u << NODE_COUNT_SHIFT;
    skip_space(r);
    char c = r->at < r->end ? *r->at : '\0';
    if (c == ',') {
        r->at++;
        skip_space(r);
        *ret_step = STEP_VALUE;
        return in_object ? read_name(r, filters[r->depth - 1]) : MR_OK;
    }
    if (c == (in_object ? '}' : ']')) {
        *ret_step = STEP_AFTER;
        return close_container(r);
    }
    return fail(r, r->at, JSON_E_SYNTAX, in_object ? "a comma or }" : "a comma or ]");
}

/* Behind the opening bracket of the open container. */
static mr_err read_first(struct reader *r, uint64_t (*filters)[FILTER_WORDS], enum step *ret_step) {
    bool in_object = (r->tape->nodes[r->open].info & NODE_KIND) == JSON_OBJECT;
    skip_space(r);
    if (r->at < r->end && *r->at == (in_object ? '}' : ']')) {
        *ret_step = STEP_AFTER;
        return close_container(r);
    }
    *ret_step = STEP_VALUE;
    if (!in_object) {
        return MR_OK;
    }
    memset(filters[r->depth - 1], 0, sizeof filters[0]);
    return read_name(r, filters[r->depth - 1]);
}

static mr_err read_text(struct reader *r) {
    uint64_t filters[JSON_DEPTH_MAX][FILTER_WORDS]; /* row n serves the n-th open container */
    enum step step = STEP_VALUE;
    skip_space(r);
    for (;;) {
        switch (step) {
        case STEP_VALUE:
            if (r->at == r->end) {
                return fail(r, r->at, JSON_E_SYNTAX, "a value");
            }
            step = STEP_AFTER;
            if (*r->at == '{' || *r->at == '[') {
                MR_TRY(open_container(r, *r->at == '{' ? JSON_OBJECT : JSON_ARRAY));
                step = STEP_FIRST;
            } else {
                MR_TRY(read_scalar(r));
            }
            break;
        case STEP_FIRST:
            MR_TRY(read_first(r, filters, &step));
            break;
        case STEP_AFTER:
            if (r->open == NODE_NONE) {
                skip_space(r);
                return r->at == r->end ? MR_OK
                                       : fail(r, r->at, JSON_E_SYNTAX, "the end of the text");
            }
            MR_TRY(read_after(r, filters, &step));
            break;
        }
    }
}

static const char *rule_of(mr_err err) {
    if (mr_err_is(err, JSON_E_UTF8)) {
        return "utf8";
    }
    if (mr_err_is(err, JSON_E_SURROGATE)) {
        return "surrogate";
    }
    if (mr_err_is(err, JSON_E_DUPLICATE)) {
        return "duplicate";
    }
    return mr_err_is(err, JSON_E_DEPTH) ? "depth" : "syntax";
}

mr_err json_tape_read(json_tape *tape, mr_str text, json_error *ret_error) {
    tape->len = 0;
    tape->text = text.ptr != NULL ? text : MR_STR("");
    if (text.len > TEXT_BYTES_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    struct reader r = {.tape = tape,
                       .from = tape->text.ptr,
                       .at = tape->text.ptr,
                       .end = tape->text.ptr + text.len,
                       .open = NODE_NONE};
    mr_err err = read_text(&r);
    if (mr_is_err(err)) {
        tape->len = 0;
        if (ret_error != NULL && r.expected != NULL) {
            *ret_error = (json_error){(size_t)(r.at - r.from), rule_of(err), r.expected};
        }
        return err;
    }
    MR_ASSERT(r.depth == 0 && tape->len > 0 && (tape->nodes[0].next == tape->len));
    return MR_OK;
}
