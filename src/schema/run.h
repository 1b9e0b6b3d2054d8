/* One thread's validation at work, and how its errors are told. Inside of schema/: validate.c asks,
 * report.c tells. */
#ifndef MR_SCHEMA_RUN_H
#define MR_SCHEMA_RUN_H

#include "schema/private.h"

enum step_place {
    STEP_NONE = 0,
    STEP_INDEX,
    STEP_MEMBER, /* of the instance */
    STEP_NAME,   /* of the schema */
};

/* One step from a schema into one below it; stands on the stack of the check that makes it. */
struct step {
    const struct step *up;
    const char *keyword;
    enum step_place place;        /* into the instance: STEP_NONE, STEP_INDEX, STEP_MEMBER */
    enum step_place schema_place; /* behind the keyword: STEP_NONE, STEP_INDEX, STEP_NAME */
    uint32_t index;
    uint32_t schema_index;
    json_value member; /* its name */
    const mr_str *schema_name;
};

struct schema_run {
    const struct schema *schema; /* of the present run */
    struct pattern_run *patterns;
    mr_buf scratch; /* decoded strings */
    mr_arena arena; /* texts of errors */
    mr_buf text;    /* one of them while it is made */
    struct unique_slot *slots;
    uint32_t n_slots;
    int64_t steps;    /* left; below 0: no more */
    uint64_t n_steps; /* the validation took, both times */
    uint32_t depth;   /* schemas inside one another */
    uint32_t quiet;   /* questions inside one another that tell nothing */
    bool collects;    /* errors are told */
    bool is_limited;  /* a bound was reached: all is false */
    size_t n_errors;
    struct schema_error errors[SCHEMA_ERRORS_MAX];
};

/* Whether to look for more after something was wrong. */
static inline bool run_goes_on(const struct schema_run *r) {
    return r->collects && r->quiet == 0 && !r->is_limited && r->n_errors < SCHEMA_ERRORS_MAX;
}
/* Tells an error where errors are told, or always where `force`. Gives false. */
bool run_report(struct schema_run *r, bool force, const char *rule, json_value v,
                const struct step *up, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
bool run_report_type(struct schema_run *r, uint8_t types, json_value v, const struct step *up);
/* Forgets the errors of the run before. */
void run_start_errors(struct schema_run *r);
/* A name or value as JSON text, cut to a readable length; lives as an error does. "" where none is
 * told. */
const char *run_name_text(struct schema_run *r, mr_str name);
const char *run_value_text(struct schema_run *r, json_value value);

#endif
