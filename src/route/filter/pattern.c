/* The pattern language: the tree of objects, leaves and $or. See route/filter.h.
 *
 *      {"subject": ["a"], "data": {"sim": {"state": ["on"]}, "$or": [{"x": [1]}, {"y": [2]}]}}
 *
 *      0 ATTRIBUTE_IS subject   else 12        6 NEXT        else 10
 *      1 ENTER_DATA             else 12        7 MEMBER_IS x else 9
 *      2 ENTER sim              else 10        8 JUMP 10 …
 *
 * An object is ENTER, its members, LEAVE, NEXT: what fails inside goes to NEXT, which tries an
 * array's next object or fails outside. A branch of $or that fails goes to the next branch, the
 * last one's failure is that of the $or. So what is written in one object holds for one item of an
 * array, and a branch of $or looks at arrays on its own. Jumps to come are chained through `to`. */
#include "route/filter/pattern.h"

#include "event/event.h"
#include "json/pointer.h"

#include <stdarg.h>

#define NOTE_BYTES_MAX ((size_t)64 << 10)

/* Instructions that jump to one place to come. */
struct chain {
    uint32_t last; /* number + 1; 0: none */
};

/* The present pointer; where it is longer than a fault holds, that of the nearest container which
 * is not. */
static mr_str place_of(const struct pattern *pattern) {
    mr_str pointer = mr_buf_view(&pattern->pointer);
    while (pointer.len >= sizeof pattern->fault->pointer) {
        do {
            pointer.len--;
        } while (pointer.ptr[pointer.len] != '/');
    }
    return pointer;
}

mr_err pattern_refuse(struct pattern *pattern, const char *format, ...) {
    mr_buf text;
    va_list args;
    mr_buf_init(&text, sizeof pattern->fault->expected);
    va_start(args, format);
    mr_err err = mr_buf_vprintf(&text, format, args);
    va_end(args);
    mr_ignore(err, "a sentence too long is left out");
    *pattern->fault = (struct filter_fault){.line = 0};
    (void)mr_str_to_c(place_of(pattern), pattern->fault->pointer, sizeof pattern->fault->pointer);
    (void)mr_str_to_c(mr_buf_view(&text), pattern->fault->expected,
                      sizeof pattern->fault->expected);
    mr_buf_done(&text);
    return MR_ERR(FILTER_E_REFUSED);
}

mr_err pattern_refuse_limit(struct pattern *pattern, const char *name, unsigned max) {
    return pattern_refuse(pattern, "at most %u (limit `%s`)", max, name);
}

/* Chains an instruction, which may fail to have been appended. */
static void chain_add(struct pattern *pattern, struct chain *chain, uint32_t number) {
    struct insn *insn = program_at(&pattern->program, number);
    if (insn != NULL) {
        insn->to = chain->last;
        chain->last = number + 1;
    }
}

/* Lets all of the chain jump to the instruction to come. */
static void chain_land(struct pattern *pattern, struct chain *chain) {
    while (chain->last != 0 && mr_is_ok(pattern->program.err)) {
        uint32_t number = chain->last - 1;
        chain->last = program_at(&pattern->program, number)->to;
        program_patch(&pattern->program, number);
    }
    chain->last = 0;
}

/* Moves all of one chain to another. */
static void chain_move(struct pattern *pattern, struct chain *from, struct chain *to) {
    while (from->last != 0 && mr_is_ok(pattern->program.err)) {
        uint32_t number = from->last - 1;
        from->last = program_at(&pattern->program, number)->to;
        chain_add(pattern, to, number);
    }
}

static mr_err compile_members(struct pattern *pattern, json_value object, bool is_in_data,
                              struct chain *failed);

/* The pointer, and what stands there, as two texts of the program. */
static mr_err note_place(struct pattern *pattern, mr_str json, uint32_t *ret_pointer) {
    mr_str texts[2] = {place_of(pattern), json};
    *ret_pointer = program_texts(&pattern->program, texts, 2);
    return pattern->program.err;
}

static mr_err compile_leaf(struct pattern *pattern, enum opcode op, mr_str name,
                           json_value alternatives, struct chain *failed) {
    struct leaf leaf;
    uint32_t pointer;
    MR_TRY(pattern_leaf(pattern, alternatives, &leaf));
    MR_TRY(note_place(pattern, json_raw(alternatives), &pointer));
    pattern->n_leaves++;
    pattern->n_absent += leaf.is_absent;
    pattern->n_may_be_absent += leaf.may_be_absent;
    uint32_t number =
        program_insn(&pattern->program, (struct insn){.op = (uint8_t)op,
                                                      .slot = program_text(&pattern->program, name),
                                                      .first = leaf.first,
                                                      .n = leaf.n,
                                                      .pointer = pointer});
    chain_add(pattern, failed, number);
    MR_TRY(pattern->program.err);
    return pattern->n_unkeyed == 0 ? pattern_offer_key(pattern, alternatives) : MR_OK;
}

static mr_err compile_object(struct pattern *pattern, enum opcode op, mr_str name,
                             json_value object, struct chain *failed) {
    struct chain inside = {0};
    uint32_t pointer;
    uint32_t n_leaves = pattern->n_leaves;
    uint32_t n_absent = pattern->n_absent;
    uint32_t n_may_be_absent = pattern->n_may_be_absent;
    uint32_t n_branches = pattern->n_branches;
    MR_TRY(note_place(pattern, MR_STR_NONE, &pointer));
    uint32_t number =
        program_insn(&pattern->program, (struct insn){.op = (uint8_t)op,
                                                      .slot = program_text(&pattern->program, name),
                                                      .pointer = pointer});
    MR_TRY(compile_members(pattern, object, true, &inside));
    struct insn *insn = program_at(&pattern->program, number);
    MR_TRY(pattern->program.err);
    bool is_all_absent = pattern->n_leaves - n_leaves == pattern->n_absent - n_absent;
    insn->flags = (uint8_t)(insn->flags |
                            (is_all_absent && n_branches == pattern->n_branches ? INSN_EVERY : 0) |
                            (pattern->n_may_be_absent > n_may_be_absent ? INSN_ABSENT : 0));
    chain_add(pattern, failed, number);
    uint32_t leave = program_insn(&pattern->program, (struct insn){.op = OP_LEAVE});
    chain_land(pattern, &inside);
    uint32_t next = program_insn(&pattern->program, (struct insn){.op = OP_NEXT});
    chain_add(pattern, failed, next);
    program_patch(&pattern->program, leave);
    return pattern->program.err;
}

static mr_err compile_or(struct pattern *pattern, json_value branches, bool is_in_data,
                         struct chain *failed) {
    struct chain held = {0};
    size_t n = json_count(branches);
    if (json_kind_of(branches) != JSON_ARRAY || n < 2) {
        return pattern_refuse(pattern, "an array of two or more objects");
    }
    pattern->n_branches += (uint32_t)n;
    if (pattern->n_branches > PATTERN_BRANCHES_MAX) {
        return pattern_refuse_limit(pattern, "$or branches", PATTERN_BRANCHES_MAX);
    }
    size_t pointer_len = pattern->pointer.len;
    size_t i = 0;
    pattern->n_unkeyed++;
    for (json_iter it = json_iter_of(branches); json_next(&it); i++) {
        struct chain branch = {0};
        MR_TRY(json_pointer_push_index(&pattern->pointer, i));
        MR_TRY(compile_members(pattern, it.value, is_in_data, &branch));
        if (i + 1 < n) {
            chain_add(pattern, &held,
                      program_insn(&pattern->program, (struct insn){.op = OP_JUMP}));
            chain_land(pattern, &branch);
        } else {
            chain_move(pattern, &branch, failed);
        }
        mr_buf_truncate(&pattern->pointer, pointer_len);
    }
    pattern->n_unkeyed--;
    chain_land(pattern, &held);
    return pattern->program.err;
}

/* A member of data, or of an object inside. */
static mr_err compile_member(struct pattern *pattern, mr_str name, json_value value,
                             struct chain *failed) {
    switch (json_kind_of(value)) {
    case JSON_ARRAY:
        return compile_leaf(pattern, OP_MEMBER_IS, name, value, failed);
    case JSON_OBJECT:
        return compile_object(pattern, OP_ENTER, name, value, failed);
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
    case JSON_STRING:
        break;
    }
    return pattern_refuse(pattern, "an array of alternatives, or an object of members");
}

/* A member at the top: an attribute or data. */
static mr_err compile_top(struct pattern *pattern, mr_str name, json_value value,
                          struct chain *failed) {
    bool is_data = mr_str_eq(name, MR_STR("data"));
    if (!is_data && !event_is_attribute_name(name)) {
        return pattern_refuse(pattern, "the name of an attribute (a-z, 0-9), `data` or `$or`");
    }
    if (is_data && json_kind_of(value) == JSON_OBJECT) {
        return compile_object(pattern, OP_ENTER_DATA, name, value, failed);
    }
    if (json_kind_of(value) != JSON_ARRAY) {
        return pattern_refuse(pattern, "an array of alternatives%s",
                              is_data ? ", or an object of members" : "");
    }
    return compile_leaf(pattern, is_data ? OP_DATA_IS : OP_ATTRIBUTE_IS, name, value, failed);
}

static mr_err push_path(struct pattern *pattern, mr_str name) {
    if (pattern->path.len > 0) {
        MR_TRY(mr_buf_byte(&pattern->path, '\0'));
    }
    return mr_buf_str(&pattern->path, name);
}

static mr_err compile_members(struct pattern *pattern, json_value object, bool is_in_data,
                              struct chain *failed) {
    if (json_kind_of(object) != JSON_OBJECT || json_count(object) == 0) {
        return pattern_refuse(pattern, "an object with at least one member");
    }
    if (++pattern->depth > PATTERN_DEPTH_MAX) {
        return pattern_refuse_limit(pattern, "depth", PATTERN_DEPTH_MAX);
    }
    size_t pointer_len = pattern->pointer.len;
    size_t path_len = pattern->path.len;
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        mr_str name;
        MR_TRY(json_string(it.name, &pattern->arena, &name));
        MR_TRY(json_pointer_push(&pattern->pointer, name));
        if (mr_str_eq(name, MR_STR("$or"))) {
            MR_TRY(compile_or(pattern, it.value, is_in_data, failed));
        } else {
            bool has_nul = mr_str_find_byte(name, '\0', 0) != SIZE_MAX; /* would split the path */
            pattern->n_unkeyed += has_nul;
            MR_TRY(push_path(pattern, name));
            MR_TRY(is_in_data ? compile_member(pattern, name, it.value, failed)
                              : compile_top(pattern, name, it.value, failed));
            pattern->n_unkeyed -= has_nul;
        }
        mr_buf_truncate(&pattern->pointer, pointer_len);
        mr_buf_truncate(&pattern->path, path_len);
    }
    pattern->depth--;
    return MR_OK;
}

static mr_err read_text(struct pattern *pattern, mr_str json) {
    json_error error;
    if (json.len > FILTER_PATTERN_BYTES_MAX) {
        return pattern_refuse_limit(pattern, "bytes", (unsigned)FILTER_PATTERN_BYTES_MAX);
    }
    mr_err err = json_tape_read(&pattern->tape, json, &error);
    if (mr_is_ok(err) || mr_err_is(err, MR_E_NOMEM)) {
        return err;
    }
    if (mr_err_is(err, JSON_E_DEPTH)) {
        return pattern_refuse_limit(pattern, "depth", PATTERN_DEPTH_MAX);
    }
    return pattern_refuse(pattern, "JSON: %s at byte %zu", error.expected, error.offset);
}

static mr_err compile(struct pattern *pattern, mr_str json, struct filter **ret_filter) {
    struct chain failed = {0};
    MR_TRY(read_text(pattern, json));
    MR_TRY(compile_members(pattern, json_root(&pattern->tape), false, &failed));
    (void)program_insn(&pattern->program, (struct insn){.op = OP_MATCH});
    chain_land(pattern, &failed);
    (void)program_insn(&pattern->program, (struct insn){.op = OP_FAIL});
    mr_err err = program_finish(&pattern->program, &pattern->key, ret_filter);
    return mr_err_is(err, MR_E_LIMIT)
               ? pattern_refuse_limit(pattern, "instructions", PROGRAM_INSNS_MAX)
               : err;
}

mr_err filter_compile_pattern(mr_str json, struct filter **ret_filter,
                              struct filter_fault *ret_fault) {
    struct pattern pattern = {.fault = ret_fault};
    program_init(&pattern.program, FORM_PATTERN);
    json_tape_init(&pattern.tape, JSON_DEPTH_MAX);
    mr_buf_init(&pattern.pointer, NOTE_BYTES_MAX);
    mr_buf_init(&pattern.path, NOTE_BYTES_MAX);
    mr_buf_init(&pattern.scratch, NOTE_BYTES_MAX);
    mr_arena_init(&pattern.arena, (size_t)4 << 20);
    mr_err err = compile(&pattern, json, ret_filter);
    program_done(&pattern.program);
    json_tape_done(&pattern.tape);
    mr_buf_done(&pattern.pointer);
    mr_buf_done(&pattern.path);
    mr_buf_done(&pattern.scratch);
    mr_arena_done(&pattern.arena);
    return err;
}
