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
/* For people: appends JSON {"value":…,"type":"…","errors":[…]} of a CESQL filter, or for a pattern
 * {"value":bool,"type":"Boolean","errors":[]}. */
mr_err filter_explain(const struct filter *filter, const struct filter_event *event,
                      struct filter_run *run, mr_buf *out);
/* Why the event does not match: the path and rule that failed first, as a sentence. */
mr_err filter_why_not(const struct filter *filter, const struct filter_event *event,
                      struct filter_run *run, mr_buf *out);

/* --- for the index -----------------------------------------------------------------------------
 * A condition that must hold for the filter to match: the value at `path` is one of these texts.
 * path: ["data","a","b"] joined by NUL, attributes have one part. False where there is none. The
 * index groups filters by path and looks a value up once, however many filters ask for it. */
struct filter_key {
    mr_str path;
    const mr_str *values; /* each by its canonical form: strings with a quote before them, numbers
                             as their exact decimal, true, false, null */
    size_t n_values;
};
bool filter_key_of(const struct filter *filter, struct filter_key *ret_key);

#endif
