/* Filters in tests: an event from CloudEvents JSON. */
#ifndef MR_TEST_SUPPORT_FILTER_H
#define MR_TEST_SUPPORT_FILTER_H

#include "route/filter.h"

#define EVENT_ATTRIBUTES_MAX 16

struct fixture {
    struct filter_run *run;
    json_tape tape;
    mr_arena arena;
    struct filter_attribute attributes[EVENT_ATTRIBUTES_MAX];
    struct filter_event event;
};
void fixture_init(struct fixture *fixture);
void fixture_done(struct fixture *fixture);
/* Makes the text the present event. */
void fixture_event(struct fixture *fixture, const char *json);
/* Compiles; the pattern must be good. */
struct filter *pattern_of(const char *json);

#endif
