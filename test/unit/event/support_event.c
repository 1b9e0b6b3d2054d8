/* See support_event.h. */
#include "support_event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct {
    const char *type, *schema;
    uint32_t latest;
} catalogue_rows[] = {{"known", "S", 2}, {"other", "O", 1}, {EVENT_TEST_TYPE, "test", 1}};

static bool find_type(const void *ctx, mr_str type, mr_str *ret_schema, uint32_t *ret_latest) {
    (void)ctx;
    for (size_t i = 0; i < 3; i++) {
        if (mr_str_eq(type, mr_str_c(catalogue_rows[i].type))) {
            *ret_schema = mr_str_c(catalogue_rows[i].schema);
            *ret_latest = catalogue_rows[i].latest;
            return true;
        }
    }
    return false;
}

static enum event_schema_use use_schema(const void *ctx, mr_str schema, uint32_t version,
                                        mr_str type) {
    (void)ctx;
    for (size_t i = 0; i < 3; i++) {
        if (mr_str_eq(schema, mr_str_c(catalogue_rows[i].schema)) &&
            version <= catalogue_rows[i].latest) {
            return mr_str_eq(type, mr_str_c(catalogue_rows[i].type)) ? EVENT_SCHEMA_OF_TYPE
                                                                     : EVENT_SCHEMA_OF_OTHER;
        }
    }
    return mr_str_eq(schema, MR_STR("F")) && version == 1 ? EVENT_SCHEMA_FREE
                                                          : EVENT_SCHEMA_UNKNOWN;
}

const struct event_catalogue support_catalogue = {NULL, find_type, use_schema};

struct event_batch support_parse(struct event_parser *parser, const char *content_type,
                                 const char *body) {
    struct event_batch batch;
    mr_field field = {MR_STR("Content-Type"), mr_str_c(content_type)};
    mr_fields fields = {&field, content_type == NULL ? 0 : 1};
    assert_true(mr_is_ok(event_parse(parser, fields, mr_str_c(body), &batch)));
    return batch;
}

struct event_place support_place(void) {
    static const mr_str aliases[] = {{"https://alias.example/", 22}};
    return (struct event_place){.received = {INT64_C(1727291388584208700)},
                                .public_url = MR_STR("https://own.example/base"),
                                .aliases = aliases,
                                .aliases_len = 1,
                                .catalogue = &support_catalogue};
}

const char *support_rule(const struct event_batch *batch) {
    return batch->errors.found == 0  ? ""
           : batch->errors.found > 1 ? "several"
                                     : batch->errors.ptr[0].rule;
}
