/* Building a program, and the one block it becomes. See machine.h.
 *
 * While it is built, the parts are growing arrays and the texts lie in an arena, where they stay.
 * Finishing measures all, takes one block, and copies: a hundred thousand filters are a hundred
 * thousand allocations, each as large as it need be. */
#include "route/filter/machine.h"

#include "base/mem.h"

#define PROGRAM_BYTES_MAX ((size_t)4 << 20)

void program_init(struct program *program, enum filter_form form) {
    *program = (struct program){.form = form};
    mr_buf_init(&program->code, PROGRAM_INSNS_MAX * sizeof(struct insn));
    mr_buf_init(&program->conditions, PROGRAM_TEXTS_MAX * sizeof(struct condition));
    mr_buf_init(&program->values, PROGRAM_TEXTS_MAX * sizeof(struct value));
    mr_buf_init(&program->texts, PROGRAM_TEXTS_MAX * sizeof(mr_str));
    mr_arena_init(&program->arena, PROGRAM_BYTES_MAX);
    mr_str absent = MR_STR_NONE;
    program->err = mr_buf_append(&program->texts, &absent, sizeof absent);
}

void program_done(struct program *program) {
    mr_buf_done(&program->code);
    mr_buf_done(&program->conditions);
    mr_buf_done(&program->values);
    mr_buf_done(&program->texts);
    mr_arena_done(&program->arena);
}

/* Appends one element; returns its number, 0 after a failure. */
static uint32_t append(struct program *program, mr_buf *array, const void *element, size_t size) {
    if (mr_is_err(program->err)) {
        return 0;
    }
    program->err = mr_buf_append(array, element, size);
    return mr_is_err(program->err) ? 0 : (uint32_t)(array->len / size - 1);
}

uint32_t program_insn(struct program *program, struct insn insn) {
    return append(program, &program->code, &insn, sizeof insn);
}

uint32_t program_here(const struct program *program) {
    return (uint32_t)(program->code.len / sizeof(struct insn));
}

struct insn *program_at(struct program *program, uint32_t number) {
    if (mr_is_err(program->err)) {
        return NULL;
    }
    MR_ASSERT(number < program_here(program));
    return (struct insn *)(void *)program->code.ptr + number;
}

void program_patch(struct program *program, uint32_t number) {
    struct insn *insn = program_at(program, number);
    if (insn != NULL) {
        insn->to = program_here(program);
    }
}

/* A copy in the arena; absent stays absent. */
static mr_str keep(struct program *program, mr_str text) {
    if (mr_is_err(program->err) || mr_str_is_absent(text)) {
        return MR_STR_NONE;
    }
    mr_str copy = mr_arena_str(&program->arena, text);
    if (mr_str_is_absent(copy)) {
        program->err = MR_ERR(MR_E_NOMEM);
    }
    return copy;
}

uint32_t program_texts(struct program *program, const mr_str *texts, size_t n) {
    uint32_t first = (uint32_t)(program->texts.len / sizeof(mr_str));
    for (size_t i = 0; i < n; i++) {
        mr_str copy = keep(program, texts[i]);
        append(program, &program->texts, &copy, sizeof copy);
    }
    return first;
}

uint16_t program_text(struct program *program, mr_str text) {
    const mr_str *texts = (const mr_str *)(const void *)program->texts.ptr;
    size_t n = program->texts.len / sizeof *texts;
    for (size_t i = 1; i < n; i++) {
        if (mr_str_eq(texts[i], text)) {
            return (uint16_t)i;
        }
    }
    return (uint16_t)program_texts(program, &text, 1);
}

uint16_t program_value(struct program *program, struct value value) {
    value.string = keep(program, value.string);
    return (uint16_t)append(program, &program->values, &value, sizeof value);
}

/* The digits of a decimal, copied. */
static void keep_decimal(struct program *program, struct decimal *decimal) {
    decimal->digits = keep(program, decimal->digits);
}

uint32_t program_condition(struct program *program, const struct condition *condition) {
    struct condition copy = *condition;
    copy.text = keep(program, copy.text);
    keep_decimal(program, &copy.low);
    keep_decimal(program, &copy.high);
    return append(program, &program->conditions, &copy, sizeof copy);
}

/* --- finishing: a walk over all texts, once to measure, once to copy
 * ----------------------------*/

/* Where texts go; ptr NULL: only counts. */
struct sink {
    char *ptr;
    size_t len;
};

static void move_text(struct sink *sink, mr_str *text) {
    if (mr_str_is_absent(*text)) {
        return;
    }
    if (sink->ptr != NULL) {
        char *to = sink->ptr + sink->len;
        memcpy(to, text->ptr, text->len);
        text->ptr = to;
    }
    sink->len += text->len;
}

/* The parts of a filter, to be changed. */
struct parts {
    struct insn *code;
    struct condition *conditions;
    struct value *values;
    mr_str *texts;
    mr_str *key_values;
    size_t n_code, n_conditions, n_values, n_texts, n_key_values;
    mr_str key_path;
};

static void move_texts(struct sink *sink, struct parts *parts) {
    for (size_t i = 0; i < parts->n_texts; i++) {
        move_text(sink, &parts->texts[i]);
    }
    for (size_t i = 0; i < parts->n_values; i++) {
        move_text(sink, &parts->values[i].string);
    }
    for (size_t i = 0; i < parts->n_conditions; i++) {
        move_text(sink, &parts->conditions[i].text);
        move_text(sink, &parts->conditions[i].low.digits);
        move_text(sink, &parts->conditions[i].high.digits);
    }
    for (size_t i = 0; i < parts->n_key_values; i++) {
        move_text(sink, &parts->key_values[i]);
    }
    move_text(sink, &parts->key_path);
}

/* Copies an array into the block at *at and moves *at behind it. */
static void *place(char *block, size_t *at, const void *array, size_t bytes) {
    void *to = block + *at;
    if (bytes > 0) {
        memcpy(to, array, bytes);
    }
    *at += bytes;
    return to;
}

static struct parts parts_of(const struct program *program, const struct filter_key *key) {
    return (struct parts){.code = (struct insn *)(void *)program->code.ptr,
                          .conditions = (struct condition *)(void *)program->conditions.ptr,
                          .values = (struct value *)(void *)program->values.ptr,
                          .texts = (mr_str *)(void *)program->texts.ptr,
                          .n_code = program->code.len / sizeof(struct insn),
                          .n_conditions = program->conditions.len / sizeof(struct condition),
                          .n_values = program->values.len / sizeof(struct value),
                          .n_texts = program->texts.len / sizeof(mr_str),
                          .n_key_values = key->n_values,
                          .key_path = key->path};
}

/* All arrays hold pointers but the code, which comes last. */
_Static_assert(sizeof(struct filter) % 8 == 0, "arrays follow the filter aligned");

mr_err program_finish(struct program *program, const struct filter_key *key,
                      struct filter **ret_filter) {
    MR_TRY(program->err);
    struct parts parts = parts_of(program, key);
    size_t texts_at = sizeof(struct filter) + program->code.len + program->conditions.len +
                      program->values.len + program->texts.len + key->n_values * sizeof(mr_str);
    struct sink sink = {NULL, key->path.len};
    for (size_t i = 0; i < key->n_values; i++) {
        sink.len += key->values[i].len;
    }
    parts.n_key_values = 0;
    parts.key_path = MR_STR_NONE;
    move_texts(&sink, &parts);
    size_t bytes = texts_at + sink.len;
    char *block = mr_alloc(bytes);
    if (block == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    size_t at = sizeof(struct filter);
    parts.conditions = place(block, &at, program->conditions.ptr, program->conditions.len);
    parts.values = place(block, &at, program->values.ptr, program->values.len);
    parts.texts = place(block, &at, program->texts.ptr, program->texts.len);
    parts.n_key_values = key->n_values;
    parts.key_path = key->path;
    parts.key_values = place(block, &at, key->values, key->n_values * sizeof(mr_str));
    parts.code = place(block, &at, program->code.ptr, program->code.len);
    sink = (struct sink){block + at, 0};
    move_texts(&sink, &parts);
    MR_ASSERT(at + sink.len == bytes);
    struct filter *filter = (struct filter *)(void *)block;
    *filter = (struct filter){.form = program->form,
                              .stack_max = program->stack_max,
                              .bytes = bytes,
                              .code = parts.code,
                              .conditions = parts.conditions,
                              .values = parts.values,
                              .texts = parts.texts,
                              .n_code = (uint32_t)parts.n_code,
                              .n_conditions = (uint32_t)parts.n_conditions,
                              .n_values = (uint32_t)parts.n_values,
                              .n_texts = (uint32_t)parts.n_texts,
                              .key = {parts.key_path, parts.key_values, parts.n_key_values}};
    *ret_filter = filter;
    return MR_OK;
}

void filter_free(struct filter *filter) {
    mr_free(filter);
}

size_t filter_bytes(const struct filter *filter) {
    return filter->bytes;
}

bool filter_key_of(const struct filter *filter, struct filter_key *ret_key) {
    if (mr_str_is_absent(filter->key.path)) {
        return false;
    }
    *ret_key = filter->key;
    return true;
}
