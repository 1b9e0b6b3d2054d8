/* The functions of CloudEvents SQL (specification, 3.5, and the casts of 3.7 by name). One table;
 * arguments are cast to its types before a function sees them. Where an argument is a missing
 * attribute the function is not called: its value is the zero value of its type. */
#include "route/filter/cesql.h"

#define ARGS_FIXED 3u

enum parameter {
    ANY = 0,
    STRING,
    INTEGER,
};

/* False: stop. *ret_value is of the function's type in any case. */
typedef bool function_call(struct filter_run *run, const struct insn *insn, struct value *args,
                           size_t n_args, struct value *ret_value);

struct function {
    const char *name;
    uint8_t n_args;                   /* the least, where it is variadic */
    bool is_variadic;                 /* as many more of the last type */
    enum parameter types[ARGS_FIXED]; /* the last one that is used stands for all behind it */
    enum value_type returns;
    function_call *call;
};

/* --- casts -------------------------------------------------------------------------------------*/

static bool call_cast(struct filter_run *run, const struct insn *insn, struct value *args,
                      size_t n_args, struct value *ret_value) {
    (void)n_args;
    enum value_type type = ret_value->type;
    *ret_value = args[0];
    return cesql_cast(run, insn, type, ret_value);
}

static bool call_is_int(struct filter_run *run, const struct insn *insn, struct value *args,
                        size_t n_args, struct value *ret_value) {
    int32_t n;
    (void)run, (void)insn, (void)n_args;
    ret_value->boolean = cesql_text_to_integer(args[0].string, &n);
    return true;
}

static bool call_is_bool(struct filter_run *run, const struct insn *insn, struct value *args,
                         size_t n_args, struct value *ret_value) {
    bool b;
    (void)run, (void)insn, (void)n_args;
    ret_value->boolean = cesql_text_to_boolean(args[0].string, &b);
    return true;
}

/* --- texts -------------------------------------------------------------------------------------*/

static bool call_length(struct filter_run *run, const struct insn *insn, struct value *args,
                        size_t n_args, struct value *ret_value) {
    (void)insn, (void)n_args;
    ret_value->integer = (int32_t)cesql_length(args[0].string);
    return machine_charge(run, args[0].string.len / 16);
}

/* args[from] … with the delimiter between them. */
static bool join(struct filter_run *run, const struct value *args, size_t from, size_t n_args,
                 mr_str delimiter, struct value *ret_value) {
    size_t len = 0;
    for (size_t i = from; i < n_args; i++) {
        len += args[i].string.len + (i > from ? delimiter.len : 0);
    }
    char *text = machine_charge(run, len / 16) ? machine_text(run, len) : NULL;
    if (text == NULL) {
        return false;
    }
    ret_value->string = mr_str_of(text, len);
    for (size_t i = from; i < n_args; i++) {
        if (i > from && delimiter.len > 0) {
            memcpy(text, delimiter.ptr, delimiter.len);
            text += delimiter.len;
        }
        if (args[i].string.len > 0) {
            memcpy(text, args[i].string.ptr, args[i].string.len);
            text += args[i].string.len;
        }
    }
    return true;
}

static bool call_concat(struct filter_run *run, const struct insn *insn, struct value *args,
                        size_t n_args, struct value *ret_value) {
    (void)insn;
    return join(run, args, 0, n_args, MR_STR(""), ret_value);
}

static bool call_concat_ws(struct filter_run *run, const struct insn *insn, struct value *args,
                           size_t n_args, struct value *ret_value) {
    (void)insn;
    return join(run, args, 1, n_args, args[0].string, ret_value);
}

static bool change_case(struct filter_run *run, mr_str text, bool to_upper,
                        struct value *ret_value) {
    size_t len = cesql_change_case(text, to_upper, NULL);
    char *out = machine_charge(run, text.len / 4) ? machine_text(run, len) : NULL;
    if (out == NULL) {
        return false;
    }
    ret_value->string = mr_str_of(out, cesql_change_case(text, to_upper, out));
    return true;
}

static bool call_lower(struct filter_run *run, const struct insn *insn, struct value *args,
                       size_t n_args, struct value *ret_value) {
    (void)insn, (void)n_args;
    return change_case(run, args[0].string, false, ret_value);
}

static bool call_upper(struct filter_run *run, const struct insn *insn, struct value *args,
                       size_t n_args, struct value *ret_value) {
    (void)insn, (void)n_args;
    return change_case(run, args[0].string, true, ret_value);
}

static bool call_trim(struct filter_run *run, const struct insn *insn, struct value *args,
                      size_t n_args, struct value *ret_value) {
    (void)insn, (void)n_args;
    ret_value->string = cesql_trim(args[0].string);
    return machine_charge(run, args[0].string.len / 16);
}

/* LEFT and RIGHT: the first or last args[1] characters. */
static bool cut(struct filter_run *run, const struct insn *insn, const struct value *args,
                bool from_left, struct value *ret_value) {
    mr_str text = args[0].string;
    int32_t wanted = args[1].integer;
    size_t length = cesql_length(text);
    ret_value->string = text;
    if (wanted < 0) {
        cesql_error(run, insn, MACHINE_FUNCTION_EVALUATION, "the number of characters is negative",
                    MR_STR(""));
    } else if ((size_t)wanted < length) {
        size_t at = cesql_offset(text, from_left ? (size_t)wanted : length - (size_t)wanted);
        ret_value->string =
            from_left ? mr_str_slice(text, 0, at) : mr_str_slice(text, at, text.len);
    }
    return machine_charge(run, text.len / 8);
}

static bool call_left(struct filter_run *run, const struct insn *insn, struct value *args,
                      size_t n_args, struct value *ret_value) {
    (void)n_args;
    return cut(run, insn, args, true, ret_value);
}

static bool call_right(struct filter_run *run, const struct insn *insn, struct value *args,
                       size_t n_args, struct value *ret_value) {
    (void)n_args;
    return cut(run, insn, args, false, ret_value);
}

/* Positions count from 1, negative ones from the end; 0 is nowhere and gives the empty string. */
static bool call_substring(struct filter_run *run, const struct insn *insn, struct value *args,
                           size_t n_args, struct value *ret_value) {
    mr_str text = args[0].string;
    int64_t length = (int64_t)cesql_length(text);
    int64_t at = args[1].integer;
    int64_t wanted = n_args > 2 ? args[2].integer : length;
    ret_value->string = MR_STR("");
    if (at > length || at < -length) {
        cesql_error(run, insn, MACHINE_FUNCTION_EVALUATION, "the position lies outside the string",
                    MR_STR(""));
    } else if (wanted < 0) {
        cesql_error(run, insn, MACHINE_FUNCTION_EVALUATION, "the number of characters is negative",
                    MR_STR(""));
    } else if (at != 0) {
        at = at > 0 ? at - 1 : length + at;
        mr_str rest = mr_str_slice(text, cesql_offset(text, (size_t)at), text.len);
        ret_value->string = mr_str_slice(rest, 0, cesql_offset(rest, (size_t)wanted));
    }
    return machine_charge(run, text.len / 8);
}

/* --- numbers -----------------------------------------------------------------------------------*/

static bool call_abs(struct filter_run *run, const struct insn *insn, struct value *args,
                     size_t n_args, struct value *ret_value) {
    (void)n_args;
    int32_t n = args[0].integer;
    if (n == INT32_MIN) {
        ret_value->integer = INT32_MAX;
        cesql_error(run, insn, MACHINE_MATH, "the result is beyond 32 bits", MR_STR(""));
    } else {
        ret_value->integer = n < 0 ? -n : n;
    }
    return true;
}

/* --- the table ---------------------------------------------------------------------------------*/

static const struct function functions[] = {
    {"ABS", 1, false, {INTEGER}, VALUE_INTEGER, call_abs},
    {"BOOL", 1, false, {ANY}, VALUE_BOOLEAN, call_cast},
    {"CONCAT", 0, true, {STRING, STRING, STRING}, VALUE_STRING, call_concat},
    {"CONCAT_WS", 1, true, {STRING, STRING, STRING}, VALUE_STRING, call_concat_ws},
    {"INT", 1, false, {ANY}, VALUE_INTEGER, call_cast},
    {"IS_BOOL", 1, false, {STRING}, VALUE_BOOLEAN, call_is_bool},
    {"IS_INT", 1, false, {STRING}, VALUE_BOOLEAN, call_is_int},
    {"LEFT", 2, false, {STRING, INTEGER}, VALUE_STRING, call_left},
    {"LENGTH", 1, false, {STRING}, VALUE_INTEGER, call_length},
    {"LOWER", 1, false, {STRING}, VALUE_STRING, call_lower},
    {"RIGHT", 2, false, {STRING, INTEGER}, VALUE_STRING, call_right},
    {"STRING", 1, false, {ANY}, VALUE_STRING, call_cast},
    {"SUBSTRING", 2, false, {STRING, INTEGER}, VALUE_STRING, call_substring},
    {"SUBSTRING", 3, false, {STRING, INTEGER, INTEGER}, VALUE_STRING, call_substring},
    {"TRIM", 1, false, {STRING}, VALUE_STRING, call_trim},
    {"UPPER", 1, false, {STRING}, VALUE_STRING, call_upper},
};
#define N_FUNCTIONS (sizeof functions / sizeof functions[0])

static bool is_named(const struct function *function, mr_str name) {
    return mr_str_eq_nocase(name, mr_str_c(function->name));
}

uint16_t cesql_function_find(mr_str name, size_t n_args) {
    for (uint16_t i = 0; i < N_FUNCTIONS; i++) {
        if (is_named(&functions[i], name) &&
            (functions[i].n_args == n_args ||
             (functions[i].is_variadic && functions[i].n_args < n_args))) {
            return i;
        }
    }
    return UINT16_MAX;
}

mr_err cesql_function_hint(mr_str name, mr_buf *out) {
    const char *before = "";
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        if (is_named(&functions[i], name)) {
            MR_TRY(mr_buf_printf(out, "%s%s with %u%s argument%s", before, functions[i].name,
                                 functions[i].n_args, functions[i].is_variadic ? " or more" : "",
                                 functions[i].n_args == 1 ? "" : "s"));
            before = " or ";
        }
    }
    if (out->len > 0) {
        return MR_OK;
    }
    MR_TRY(mr_buf_printf(out, "one of the functions "));
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        if (i == 0 || strcmp(functions[i].name, functions[i - 1].name) != 0) {
            MR_TRY(mr_buf_printf(out, "%s%s", i > 0 ? ", " : "", functions[i].name));
        }
    }
    return MR_OK;
}

static bool cast_argument(struct filter_run *run, const struct insn *insn, enum parameter type,
                          struct value *argument) {
    switch (type) {
    case ANY:
        return true;
    case STRING:
        return cesql_cast(run, insn, VALUE_STRING, argument);
    case INTEGER:
        return cesql_cast(run, insn, VALUE_INTEGER, argument);
    }
    return false;
}

bool cesql_call(struct filter_run *run, const struct insn *insn) {
    MR_ASSERT(insn->slot < N_FUNCTIONS && insn->n <= run->n_stack);
    const struct function *function = &functions[insn->slot];
    struct value *args = &run->stack[run->n_stack - insn->n];
    struct value result = cesql_zero(function->returns);
    bool ok = machine_charge(run, insn->n);
    bool missing = false;
    for (size_t i = 0; i < insn->n; i++) {
        missing = missing || args[i].is_missing;
    }
    for (size_t i = 0; ok && !missing && i < insn->n; i++) {
        ok = cast_argument(run, insn, function->types[i < ARGS_FIXED ? i : ARGS_FIXED - 1],
                           &args[i]);
    }
    if (ok && !missing) {
        ok = function->call(run, insn, args, insn->n, &result);
    }
    run->n_stack -= insn->n;
    machine_push(run, result);
    return ok;
}
