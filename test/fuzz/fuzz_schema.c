/* Schemas on any bytes: a document, a line feed, an instance. What must hold besides not crashing
 * and coming to an end:
 *   - a refusal says what was expected, with a pointer;
 *   - the quick answer and the one with errors are the same, and an invalid one has errors;
 *   - each error's instance pointer leads to a value (or ends early, where it is very long);
 *   - compiled again, the answer is the same. */
#include "base/mem.h"
#include "json/pointer.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mr_str find(const void *ctx, mr_str path) {
    (void)ctx;
    return mr_str_eq(path, MR_STR("/schemas/a/1"))
               ? MR_STR(
                     "{\"$ref\":\"/schemas/a/1#/definitions/b\",\"definitions\":{\"b\":{"
                     "\"type\":[\"string\",\"object\"],\"properties\":{\"a\":{\"$ref\":\"#\"}}}}}")
               : MR_STR_NONE;
}

static void check_errors(json_value instance, const struct schema_error *errors, size_t n) {
    for (size_t i = 0; i < n; i++) {
        json_value found;
        MR_ASSERT(json_pointer_is_valid(errors[i].instance));
        MR_ASSERT(json_pointer_is_valid(errors[i].schema));
        MR_ASSERT(mr_is_ok(json_pointer_find(instance, errors[i].instance, &found)));
        MR_ASSERT(errors[i].rule != NULL && mr_str_is_utf8(errors[i].message));
        MR_ASSERT(errors[i].offset < instance.tape->text.len);
    }
}

static void judge(const struct schema *schema, const struct schema *again, json_value instance) {
    struct schema_run *run;
    const struct schema_error *errors;
    size_t n = 0;
    MR_ASSERT(mr_is_ok(schema_run_new(&run)));
    bool quick = schema_validate(schema, instance, run, NULL, NULL);
    bool other = schema_validate(again, instance, run, NULL, NULL);
    bool whole = schema_validate(schema, instance, run, &errors, &n);
    MR_ASSERT(quick == whole && other == whole && whole == (n == 0) && n <= SCHEMA_ERRORS_MAX);
    check_errors(instance, errors, n);
    schema_run_free(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const mr_str bases[] = {{"https://events.example.com", 26}};
    static const struct schema_library library = {NULL, find, bases, 1};
    mr_str text = {(const char *)data, size};
    size_t end = mr_str_find_byte(text, '\n', 0);
    mr_str document = mr_str_slice(text, 0, end);
    mr_str instance = end == SIZE_MAX ? MR_STR("null") : mr_str_slice(text, end + 1, size);
    struct schema *schema = NULL;
    struct schema *again = NULL;
    struct schema_fault fault;
    json_tape tape;
    mr_buf ignored;
    mr_buf_init(&ignored, (size_t)64 << 20);
    mr_err err = schema_compile(document, &library, &schema, &ignored, &fault);
    if (mr_is_err(err)) {
        MR_ASSERT(mr_err_is(err, SCHEMA_E_REFUSED) && fault.expected[0] != '\0');
        MR_ASSERT(json_pointer_is_valid(mr_str_c(fault.pointer)));
        MR_ASSERT(fault.offset <= (int64_t)document.len);
    } else {
        MR_ASSERT(mr_is_ok(schema_compile(document, &library, &again, NULL, &fault)));
        json_tape_init(&tape, JSON_DEPTH_DEFAULT);
        if (mr_is_ok(json_tape_read(&tape, instance, NULL))) {
            judge(schema, again, json_root(&tape));
        }
        json_tape_done(&tape);
    }
    mr_buf_done(&ignored);
    schema_free(schema);
    schema_free(again);
    return 0;
}
