/* Filters of streaming rules: two languages, one mechanism. Form 1 is a pattern (JSON, as
 * EventBridge's), form 2 CloudEvents SQL v1; both are compiled into one flat program with bounded
 * work and evaluated by one machine. A compiled filter is immutable: any number of threads. */
#ifndef MR_ROUTE_FILTER_H
#define MR_ROUTE_FILTER_H

#include "base/buf.h"
#include "json/tape.h"

enum filter_err {
    FILTER_E_REFUSED = MR_ERR_CODE(MR_ROOM_ROUTE, 1), /* the text does not compile */
};

#define FILTER_PATTERN_BYTES_MAX ((size_t)16 << 10)
#define FILTER_CESQL_BYTES_MAX   ((size_t)8 << 10)
#define FILTER_STEPS_MAX         (1u << 20) /* of one evaluation; past it: an error, no match */

/* Why and where a text was refused. */
struct filter_fault {
    uint32_t line, column; /* CESQL, from 1, in characters; 0: not known */
    char pointer[512];     /* pattern: into the pattern */
    char expected[256];    /* what was expected there; for a limit, its name */
};

struct filter;
/* MR_E_NOMEM; FILTER_E_REFUSED with *ret_fault. */
mr_err filter_compile_pattern(mr_str json, struct filter **ret_filter,
                              struct filter_fault *ret_fault);
mr_err filter_compile_cesql(mr_str text, struct filter **ret_filter,
                            struct filter_fault *ret_fault);
/* NULL is fine. */
void filter_free(struct filter *filter);
size_t filter_bytes(const struct filter *filter);

/* An event as filters see it. Attribute texts are decoded. */
struct filter_attribute {
    mr_str name;
    mr_str text;
    enum { FILTER_STRING = 0, FILTER_INTEGER, FILTER_BOOLEAN } type;
};
struct filter_event {
    const struct filter_attribute *attributes; /* all that the event has; specversion too */
    size_t n_attributes;
    json_value data; /* absent where the event has none, or it is no JSON */
};

/* Scratch of one thread. */
struct filter_run;
mr_err filter_run_new(struct filter_run **ret_run);
void filter_run_free(struct filter_run *run);

/* True where it matches. An error of evaluation or a result that is no boolean is no match, and
 * *ret_error (may be NULL) is set. Bounded work; allocates nothing when warm. */
bool filter_matches(const struct filter *filter, const struct filter_event *event,
                    struct filter_run *run, bool *ret_error);
/* The same in at most *steps, which is lowered by what it took: for many filters that share what an
 * event may cost. */
bool filter_matches_within(const struct filter *filter, const struct filter_event *event,
                           struct filter_run *run, uint32_t *steps, bool *ret_error);
/* For people: appends JSON {"value":…,"type":"…","errors":[{"kind","message"}]} of a CESQL filter,
 * or for a pattern {"value":bool,"type":"Boolean","errors":[]}. type: String, Integer, Boolean;
 * both null where evaluating was given up. */
mr_err filter_explain(const struct filter *filter, const struct filter_event *event,
                      struct filter_run *run, mr_buf *out);
/* Why the event does not match: the place of the pattern that decided it, what the event has there
 * and what was asked for, as a sentence. "the event matches" where it does. */
mr_err filter_why_not(const struct filter *filter, const struct filter_event *event,
                      struct filter_run *run, mr_buf *out);

/* --- for the index -----------------------------------------------------------------------------
 * A condition that must hold for the filter to match: the value at `path` is one of these texts.
 * path: ["data","a","b"] joined by NUL, attributes have one part. False where there is none. The
 * index groups filters by path and looks a value up once, however many filters ask for it.
 *
 * Arrays: a step may lead into an array, of arrays too, and the value may be one. The condition
 * then holds where any item on the way leads to one of the texts: the index looks up every scalar
 * that the path reaches, through every item of every array. Objects at the end count for nothing.
 * An event's value is spelled by filter_value_text or filter_attribute_text. */
struct filter_key {
    mr_str path;
    const mr_str *values; /* each by its canonical form: strings with a quote before them, numbers
                             as their exact decimal, true, false, null */
    size_t n_values;
};
bool filter_key_of(const struct filter *filter, struct filter_key *ret_key);
/* Appends the canonical form of a scalar: `"` and the decoded string (no quote behind), null, true,
 * false, or a number's decimal: "0", "12", "-5e-1", "3e2" (300, 300.0 and 3e2 alike). MR_E_INVALID
 * for an array, an object, an absent value; MR_E_NOMEM, MR_E_LIMIT. */
mr_err filter_value_text(json_value value, mr_buf *out);
mr_err filter_attribute_text(const struct filter_attribute *attribute, mr_buf *out);

#endif
