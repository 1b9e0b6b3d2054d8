/* Filters of rules: form, compiling, counting references. See rule_filter.h. */
#include "route/rule_filter.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static mr_err refuse_form(struct filter_fault *ret_fault) {
    *ret_fault = (struct filter_fault){.line = 0};
    snprintf(ret_fault->expected, sizeof ret_fault->expected,
             "{\"pattern\":{…}} or {\"cesql\":\"…\"}");
    return MR_ERR(FILTER_E_REFUSED);
}

static mr_err compile_cesql(json_value value, struct filter **ret_filter,
                            struct filter_fault *ret_fault) {
    mr_buf text;
    mr_buf_init(&text, (size_t)1 << 20);
    mr_err err = json_string_append(value, &text);
    if (mr_is_ok(err)) {
        err = filter_compile_cesql(mr_buf_view(&text), ret_filter, ret_fault);
    }
    mr_buf_done(&text);
    return err;
}

static mr_err compile(json_value root, struct filter **ret_filter, struct filter_fault *ret_fault) {
    json_value pattern = json_find(root, MR_STR("pattern"));
    json_value cesql = json_find(root, MR_STR("cesql"));
    if (json_count(root) == 1 && json_kind_of(pattern) == JSON_OBJECT) {
        return filter_compile_pattern(json_raw(pattern), ret_filter, ret_fault);
    }
    if (json_count(root) == 1 && json_kind_of(cesql) == JSON_STRING) {
        return compile_cesql(cesql, ret_filter, ret_fault);
    }
    return refuse_form(ret_fault);
}

mr_err route_filter_new(mr_str json, struct route_filter **ret_filter,
                        struct filter_fault *ret_fault) {
    struct route_filter *made = mr_calloc(1, sizeof *made + json.len);
    if (made == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_err err = json_tape_read(&tape, json, NULL);
    if (mr_is_ok(err)) {
        err = compile(json_root(&tape), &made->filter, ret_fault);
    } else if (!mr_err_is(err, MR_E_NOMEM)) {
        err = refuse_form(ret_fault);
    }
    json_tape_done(&tape);
    if (mr_is_err(err)) {
        mr_free(made);
        return err;
    }
    atomic_init(&made->refs, 1);
    char *copy = (char *)(made + 1);
    memcpy(copy, json.ptr, json.len);
    made->json = mr_str_of(copy, json.len);
    *ret_filter = made;
    return MR_OK;
}

struct route_filter *route_filter_ref(struct route_filter *filter) {
    uint32_t old = atomic_fetch_add_explicit(&filter->refs, 1, memory_order_relaxed);
    MR_ASSERT(old > 0);
    return filter;
}

void route_filter_unref(struct route_filter *filter) {
    if (filter != NULL && atomic_fetch_sub_explicit(&filter->refs, 1, memory_order_acq_rel) == 1) {
        filter_free(filter->filter);
        mr_free(filter);
    }
}
