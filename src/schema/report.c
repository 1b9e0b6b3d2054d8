/* Errors for people: two pointers made of the steps that led to the value, and a sentence. All in
 * the run's arena, which is emptied before the next run that tells errors. */
#include "schema/run.h"

#include "base/mem.h"
#include "json/pointer.h"
#include "json/write.h"

#define ERRORS_BYTES_MAX  ((size_t)1 << 20)
#define POINTER_BYTES_MAX ((size_t)16 << 10)
#define SHOWN_MAX         80u
#define CHAIN_MAX         1024u

mr_err schema_run_new(struct schema_run **ret_run) {
    struct schema_run *run = MR_NEW(struct schema_run);
    if (run == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_buf_init(&run->scratch, (size_t)1 << 28);
    mr_buf_init(&run->text, POINTER_BYTES_MAX);
    mr_arena_init(&run->arena, ERRORS_BYTES_MAX);
    mr_err err = pattern_run_new(&run->patterns);
    if (mr_is_err(err)) {
        schema_run_free(run);
        return err;
    }
    *ret_run = run;
    return MR_OK;
}

void schema_run_free(struct schema_run *run) {
    if (run == NULL) {
        return;
    }
    pattern_run_free(run->patterns);
    mr_buf_done(&run->scratch);
    mr_buf_done(&run->text);
    mr_arena_done(&run->arena);
    mr_free(run->slots);
    mr_free(run);
}

void run_start_errors(struct schema_run *r) {
    mr_arena_reset(&r->arena);
    r->n_errors = 0;
}

/* The text that was made, kept; without memory or room "". */
static mr_str keep_text(struct schema_run *r) {
    mr_str kept = mr_arena_str(&r->arena, mr_buf_view(&r->text));
    return mr_str_is_absent(kept) ? MR_STR("") : kept;
}

static mr_err push_member(struct schema_run *r, json_value name) {
    mr_buf decoded;
    mr_buf_init(&decoded, POINTER_BYTES_MAX);
    mr_err err = json_string_append(name, &decoded);
    err = mr_is_ok(err) ? json_pointer_push(&r->text, mr_buf_view(&decoded)) : err;
    mr_buf_done(&decoded);
    return err;
}

static mr_err push_instance(struct schema_run *r, const struct step *step) {
    if (step->place == STEP_INDEX) {
        return json_pointer_push_index(&r->text, step->index);
    }
    return step->place == STEP_MEMBER ? push_member(r, step->member) : MR_OK;
}

static mr_err push_schema(struct schema_run *r, const struct step *step) {
    MR_TRY(json_pointer_push(&r->text, mr_str_c(step->keyword)));
    if (step->schema_place == STEP_INDEX) {
        return json_pointer_push_index(&r->text, step->schema_index);
    }
    return step->schema_place == STEP_NAME ? json_pointer_push(&r->text, *step->schema_name)
                                           : MR_OK;
}

/* Both pointers of an error; one that is too long ends early, at a token. */
static void set_pointers(struct schema_run *r, struct schema_error *error, const struct step *up) {
    const struct step *chain[CHAIN_MAX];
    size_t n = 0;
    for (; up != NULL && n < CHAIN_MAX; up = up->up) {
        chain[n++] = up;
    }
    mr_buf_reset(&r->text);
    mr_err err = MR_OK;
    for (size_t i = n; i-- > 0 && mr_is_ok(err);) {
        err = push_instance(r, chain[i]);
    }
    error->instance = keep_text(r);
    mr_buf_reset(&r->text);
    err = MR_OK;
    for (size_t i = n; i-- > 0 && mr_is_ok(err);) {
        err = push_schema(r, chain[i]);
    }
    if (mr_is_ok(err) && strcmp(error->rule, "limit") != 0 && strcmp(error->rule, "false") != 0) {
        mr_ignore(json_pointer_push(&r->text, mr_str_c(error->rule)), "it ends early");
    }
    error->schema = keep_text(r);
}

bool run_report(struct schema_run *r, bool force, const char *rule, json_value v,
                const struct step *up, const char *format, ...) {
    bool wanted = force ? r->collects && r->n_errors < SCHEMA_ERRORS_MAX : run_goes_on(r);
    if (!wanted) {
        return false;
    }
    struct schema_error *error = &r->errors[r->n_errors++];
    *error = (struct schema_error){.rule = rule, .offset = json_offset(v)};
    set_pointers(r, error, up);
    mr_buf_reset(&r->text);
    va_list args;
    va_start(args, format);
    mr_ignore(mr_buf_vprintf(&r->text, format, args), "then it has no message");
    va_end(args);
    error->message = keep_text(r);
    return false;
}

bool run_report_type(struct schema_run *r, uint8_t types, json_value v, const struct step *up) {
    static const struct {
        uint8_t bit;
        const char *name;
    } names[] = {{KIND_BIT(JSON_OBJECT), "object"}, {KIND_BIT(JSON_ARRAY), "array"},
                 {KIND_BIT(JSON_STRING), "string"}, {KIND_BIT(JSON_NUMBER), "number"},
                 {KIND_INTEGER, "integer"},         {KIND_BIT(JSON_TRUE), "boolean"},
                 {KIND_BIT(JSON_NULL), "null"}};
    char text[80] = "";
    size_t len = 0;
    if (!run_goes_on(r)) {
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((types & names[i].bit) != 0) {
            const char *join = len > 0 ? " or " : "";
            memcpy(text + len, join, strlen(join));
            len += strlen(join);
            memcpy(text + len, names[i].name, strlen(names[i].name));
            len += strlen(names[i].name);
        }
    }
    return run_report(r, false, "type", v, up, "the value must be of type %.*s", (int)len, text);
}

/* The text in r->text, cut to what people read. */
static const char *show(struct schema_run *r) {
    if (r->text.len > SHOWN_MAX) {
        size_t len = SHOWN_MAX;
        while (len > 0 && ((uint8_t)r->text.ptr[len] & 0xC0) == 0x80) {
            len--;
        }
        mr_buf_truncate(&r->text, len);
        mr_ignore(mr_buf_str(&r->text, MR_STR("…")), "cut all the same");
    }
    return keep_text(r).ptr;
}

const char *run_name_text(struct schema_run *r, mr_str name) {
    if (!run_goes_on(r)) {
        return "";
    }
    mr_buf_reset(&r->text);
    mr_ignore(json_string_write(name, JSON_UTF8, &r->text), "then it shows nothing");
    return show(r);
}

const char *run_value_text(struct schema_run *r, json_value value) {
    if (!run_goes_on(r)) {
        return "";
    }
    mr_buf_reset(&r->text);
    if (mr_is_err(json_minify(value, JSON_UTF8, &r->text))) {
        mr_ignore(mr_buf_str(&r->text, MR_STR("the one given")), "then it shows nothing");
    }
    return show(r);
}
