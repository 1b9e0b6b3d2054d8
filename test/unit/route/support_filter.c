#include "support_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

void fixture_init(struct fixture *fixture) {
    *fixture = (struct fixture){.run = NULL};
    assert_true(mr_is_ok(filter_run_new(&fixture->run)));
    json_tape_init(&fixture->tape, JSON_DEPTH_MAX);
    mr_arena_init(&fixture->arena, (size_t)1 << 20);
}

void fixture_done(struct fixture *fixture) {
    filter_run_free(fixture->run);
    json_tape_done(&fixture->tape);
    mr_arena_done(&fixture->arena);
}

void fixture_event(struct fixture *fixture, const char *json) {
    assert_true(mr_is_ok(json_tape_read(&fixture->tape, mr_str_c(json), NULL)));
    size_t n = 0;
    for (json_iter it = json_iter_of(json_root(&fixture->tape)); json_next(&it);) {
        struct filter_attribute *attribute = &fixture->attributes[n];
        enum json_kind kind = json_kind_of(it.value);
        if (json_string_eq(it.name, MR_STR("data"))) {
            continue;
        }
        assert_true(n < EVENT_ATTRIBUTES_MAX);
        assert_true(mr_is_ok(json_string(it.name, &fixture->arena, &attribute->name)));
        attribute->text = json_raw(it.value);
        attribute->type = kind == JSON_STRING   ? FILTER_STRING
                          : kind == JSON_NUMBER ? FILTER_INTEGER
                                                : FILTER_BOOLEAN;
        if (kind == JSON_STRING) {
            assert_true(mr_is_ok(json_string(it.value, &fixture->arena, &attribute->text)));
        }
        n++;
    }
    fixture->event =
        (struct filter_event){.attributes = fixture->attributes,
                              .n_attributes = n,
                              .data = json_find(json_root(&fixture->tape), MR_STR("data"))};
}

struct filter *pattern_of(const char *json) {
    struct filter *filter = NULL;
    struct filter_fault fault;
    mr_err err = filter_compile_pattern(mr_str_c(json), &filter, &fault);
    if (mr_is_err(err)) {
        print_error("%s: refused at %s: expected %s\n", json, fault.pointer, fault.expected);
    }
    assert_true(mr_is_ok(err));
    return filter;
}
