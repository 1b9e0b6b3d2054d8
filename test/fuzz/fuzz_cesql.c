/* CloudEvents SQL from any bytes: the expression up to the first NUL, behind it the text of the
 * attribute `subject`. What must hold besides not crashing:
 *   - what is refused names a line and a column that exist, and what was expected;
 *   - what compiles comes to the same twice, explains itself as JSON, and where it matches, the
 *     event has one of the values of the key. */
#include "base/mem.h"
#include "route/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good) {
    MR_ASSERT(good);
}

static void check_fault(mr_str text, const struct filter_fault *fault) {
    size_t lines = 1;
    for (size_t i = 0; i < text.len; i++) {
        lines += text.ptr[i] == '\n';
    }
    check(fault->line >= 1 && fault->line <= lines);
    check(fault->column >= 1 && fault->column <= text.len + 1);
    check(fault->expected[0] != '\0');
}

static void check_key(const struct filter *filter, const struct filter_event *event) {
    struct filter_key key;
    bool holds = !filter_key_of(filter, &key);
    for (size_t i = 0; i < event->n_attributes && !holds; i++) {
        mr_buf text;
        mr_buf_init(&text, SIZE_MAX / 2);
        check(mr_is_ok(filter_attribute_text(&event->attributes[i], &text)));
        for (size_t k = 0; k < key.n_values; k++) {
            holds = holds || (mr_str_eq(key.path, event->attributes[i].name) &&
                              mr_str_eq(key.values[k], mr_buf_view(&text)));
        }
        mr_buf_done(&text);
    }
    check(holds);
}

static void check_explained(const struct filter *filter, const struct filter_event *event,
                            struct filter_run *run) {
    mr_buf first, second;
    json_tape tape;
    mr_buf_init(&first, SIZE_MAX / 2);
    mr_buf_init(&second, SIZE_MAX / 2);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    check(mr_is_ok(filter_explain(filter, event, run, &first)));
    check(mr_is_ok(filter_explain(filter, event, run, &second)));
    check(mr_str_eq(mr_buf_view(&first), mr_buf_view(&second)));
    check(mr_is_ok(json_tape_read(&tape, mr_buf_view(&first), NULL)));
    mr_buf_reset(&second);
    check(mr_is_ok(filter_why_not(filter, event, run, &second)) && second.len > 0);
    mr_buf_done(&first);
    mr_buf_done(&second);
    json_tape_done(&tape);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_str text = mr_str_of(size > 0 ? (const char *)data : "", size);
    mr_str subject = MR_STR("a subject");
    size_t nul = mr_str_find_byte(text, '\0', 0);
    if (nul != SIZE_MAX && mr_str_is_utf8(mr_str_slice(text, nul + 1, size))) {
        subject = mr_str_slice(text, nul + 1, size);
        text = mr_str_slice(text, 0, nul);
    }
    const struct filter_attribute attributes[] = {
        {MR_STR("specversion"), MR_STR("1.0"), FILTER_STRING},
        {MR_STR("id"), MR_STR("myId"), FILTER_STRING},
        {MR_STR("subject"), subject, FILTER_STRING},
        {MR_STR("n"), MR_STR("10"), FILTER_INTEGER},
        {MR_STR("b"), MR_STR("true"), FILTER_BOOLEAN},
    };
    struct filter_event event = {attributes, sizeof attributes / sizeof attributes[0], JSON_NONE};
    struct filter *filter = NULL;
    struct filter_run *run = NULL;
    struct filter_fault fault;
    mr_err err = filter_compile_cesql(text, &filter, &fault);
    if (mr_err_is(err, FILTER_E_REFUSED)) {
        check_fault(text, &fault);
        return 0;
    }
    if (mr_is_ok(err) && mr_is_ok(filter_run_new(&run))) {
        bool error = false;
        if (filter_matches(filter, &event, run, &error)) {
            check(!error);
            check_key(filter, &event);
        }
        check_explained(filter, &event, run);
    }
    filter_run_free(run);
    filter_free(filter);
    return 0;
}
