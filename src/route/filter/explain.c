/* Filters told to people, and values as an index spells them. See route/filter.h. */
#include "route/filter/machine.h"

#include "json/write.h"

#define VALUE_SHOWN_MAX 120u /* bytes */

mr_err filter_value_text(json_value value, mr_buf *out) {
    struct decimal number;
    switch (json_kind_of(value)) {
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return mr_buf_str(out, json_raw(value));
    case JSON_NUMBER:
        number = decimal_of(json_raw(value));
        return decimal_append(&number, out);
    case JSON_STRING:
        MR_TRY(mr_buf_byte(out, '"'));
        return json_string_append(value, out);
    case JSON_ABSENT:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return MR_ERR(MR_E_INVALID);
}

mr_err filter_attribute_text(const struct filter_attribute *attribute, mr_buf *out) {
    struct decimal number;
    switch (attribute->type) {
    case FILTER_STRING:
        MR_TRY(mr_buf_byte(out, '"'));
        break;
    case FILTER_INTEGER:
        number = decimal_of(attribute->text);
        return decimal_append(&number, out);
    case FILTER_BOOLEAN:
        break;
    }
    return mr_buf_str(out, attribute->text);
}

/* --- explain -----------------------------------------------------------------------------------*/

static const char *const error_names[] = {[MACHINE_PARSE] = "parse",
                                          [MACHINE_MATH] = "math",
                                          [MACHINE_CAST] = "cast",
                                          [MACHINE_MISSING_ATTRIBUTE] = "missing_attribute",
                                          [MACHINE_MISSING_FUNCTION] = "missing_function",
                                          [MACHINE_FUNCTION_EVALUATION] = "function_evaluation",
                                          [MACHINE_GENERIC] = "generic"};

static void write_value(json_out *out, const struct value *value) {
    json_out_name(out, MR_STR("value"));
    switch (value->type) {
    case VALUE_STRING:
        json_out_str(out, value->string);
        json_out_member_c(out, "type", "String");
        break;
    case VALUE_INTEGER:
        json_out_i64(out, value->integer);
        json_out_member_c(out, "type", "Integer");
        break;
    case VALUE_BOOLEAN:
        json_out_bool(out, value->boolean);
        json_out_member_c(out, "type", "Boolean");
        break;
    }
}

/* Kept errors. */
static uint32_t n_kept(const struct filter_run *run) {
    return run->n_errors < MACHINE_ERRORS_MAX ? run->n_errors : MACHINE_ERRORS_MAX;
}

mr_err filter_explain(const struct filter *filter, const struct filter_event *event,
                      struct filter_run *run, mr_buf *out) {
    json_out writer;
    bool matches = machine_run(filter, event, run, FILTER_STEPS_MAX);
    struct value verdict = {.type = VALUE_BOOLEAN, .boolean = matches};
    json_out_init(&writer, out);
    json_out_object(&writer);
    if (filter->form == FORM_PATTERN) {
        write_value(&writer, &verdict);
    } else if (run->n_stack == 1) {
        write_value(&writer, &run->stack[0]);
    } else {
        json_out_member_null(&writer, "value");
        json_out_member_null(&writer, "type");
    }
    json_out_member_array(&writer, "errors");
    for (uint32_t i = 0; i < n_kept(run); i++) {
        json_out_object(&writer);
        json_out_member_c(&writer, "kind", error_names[run->errors[i].kind]);
        json_out_member_str(&writer, "message", run->errors[i].message);
        json_out_end(&writer);
    }
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

/* --- why not -----------------------------------------------------------------------------------*/

/* Text of the event, cut at a character where it is long. */
static mr_err show(mr_str text, mr_buf *out) {
    size_t len = text.len;
    if (len > VALUE_SHOWN_MAX) {
        len = VALUE_SHOWN_MAX;
        while (len > 0 && ((uint8_t)text.ptr[len] & 0xC0u) == 0x80u) {
            len--;
        }
    }
    MR_TRY(mr_buf_str(out, mr_str_slice(text, 0, len)));
    return len < text.len ? mr_buf_str(out, MR_STR("…")) : MR_OK;
}

static mr_err show_attribute(const struct filter_attribute *attribute, mr_buf *out) {
    if (attribute == NULL) {
        return mr_buf_str(out, MR_STR("nothing"));
    }
    if (attribute->type != FILTER_STRING) {
        return show(attribute->text, out);
    }
    mr_buf quoted;
    mr_buf_init(&quoted, SIZE_MAX / 2);
    mr_err err = json_string_write(attribute->text, JSON_UTF8, &quoted);
    err = mr_is_ok(err) ? show(mr_buf_view(&quoted), out) : err;
    mr_buf_done(&quoted);
    return err;
}

static mr_err why_not_pattern(struct filter_run *run, mr_buf *out) {
    MR_ASSERT(run->failed_at < run->filter->n_code);
    const struct insn *insn = &run->filter->code[run->failed_at];
    const mr_str *texts = run->filter->texts;
    mr_str name = texts[insn->slot];
    MR_TRY(mr_buf_printf(out, "at %.*s the event has ", MR_FMT(texts[insn->pointer])));
    if (insn->op == OP_ATTRIBUTE_IS) {
        MR_TRY(show_attribute(machine_attribute(run, name), out));
    } else if (json_is_absent(run->failed_value)) {
        MR_TRY(mr_buf_str(out, MR_STR("nothing")));
    } else {
        MR_TRY(show(json_raw(run->failed_value), out));
    }
    MR_TRY(mr_buf_str(out, MR_STR(", the pattern asks for ")));
    mr_str wanted = texts[insn->pointer + 1];
    return mr_str_is_absent(wanted) ? mr_buf_str(out, MR_STR("an object")) : show(wanted, out);
}

static mr_err why_not_value(const struct value *value, mr_buf *out) {
    switch (value->type) {
    case VALUE_STRING:
        return mr_buf_str(out, MR_STR("the expression's result is a string, not a boolean"));
    case VALUE_INTEGER:
        return mr_buf_str(out, MR_STR("the expression's result is an integer, not a boolean"));
    case VALUE_BOOLEAN:
        break;
    }
    return mr_buf_str(out, MR_STR("the expression is false for this event"));
}

mr_err filter_why_not(const struct filter *filter, const struct filter_event *event,
                      struct filter_run *run, mr_buf *out) {
    if (machine_run(filter, event, run, FILTER_STEPS_MAX)) {
        return mr_buf_str(out, MR_STR("the event matches"));
    }
    if (run->n_errors > 0) {
        return show(run->errors[0].message, out);
    }
    return filter->form == FORM_PATTERN ? why_not_pattern(run, out)
                                        : why_not_value(&run->stack[0], out);
}
