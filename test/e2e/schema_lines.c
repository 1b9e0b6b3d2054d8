/* For the judge of schemas: one line of JSON in, {"schema":…,"instances":[…],"library":{path:…}},
 * one line out: a digit per instance, 1 valid, 0 invalid; or "refused POINTER: what was expected".
 * Many thousands of pairs by one process. Texts are not re-written on the way, so that numbers are
 * judged as they stand. */
#include "base/mem.h"
#include "schema/schema.h"

#include <stdio.h>
#include <stdlib.h>

static mr_str find(const void *ctx, mr_str path) {
    const json_value *library = ctx;
    return json_raw(json_find(*library, path));
}

static void judge(json_value line, struct schema_run *run) {
    static const mr_str bases[] = {{"https://events.example.com", 26}};
    json_value documents = json_find(line, MR_STR("library"));
    struct schema_library library = {&documents, find, bases, 1};
    struct schema *schema;
    struct schema_fault fault;
    mr_err err = schema_compile(json_raw(json_find(line, MR_STR("schema"))), &library, &schema,
                                NULL, &fault);
    if (mr_is_err(err)) {
        printf("refused %s: %s\n", fault.pointer, fault.expected);
        return;
    }
    for (json_iter it = json_iter_of(json_find(line, MR_STR("instances"))); json_next(&it);) {
        const struct schema_error *errors;
        size_t n = 0;
        bool quick = schema_validate(schema, it.value, run, NULL, NULL);
        bool whole = schema_validate(schema, it.value, run, &errors, &n);
        MR_ASSERT(quick == whole && (whole || (n > 0 && n <= SCHEMA_ERRORS_MAX)));
        putchar(whole ? '1' : '0');
    }
    putchar('\n');
    schema_free(schema);
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    struct schema_run *run;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    MR_ASSERT(mr_is_ok(schema_run_new(&run)));
    for (ssize_t n; (n = getline(&line, &size, stdin)) > 0;) {
        json_error error;
        if (mr_is_err(json_tape_read(&tape, (mr_str){line, (size_t)n}, &error))) {
            printf("no JSON at %zu: %s\n", error.offset, error.expected);
            continue;
        }
        judge(json_root(&tape), run);
    }
    free(line);
    json_tape_done(&tape);
    schema_run_free(run);
    return 0;
}
