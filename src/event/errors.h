/* What is wrong with the events of one call, as the ingest API answers it: up to a stated number of
 * errors, each with its place and its rule. Also used for the schema errors of `data`. Memory is an
 * arena of the caller. Not thread-safe. */
#ifndef MR_EVENT_ERRORS_H
#define MR_EVENT_ERRORS_H

#include "base/arena.h"
#include "base/str.h"
#include "json/write.h"

#define EVENT_OFFSET_NONE (-1)

struct event_error {
    uint32_t index;   /* of the event in the call, from 0 */
    mr_str pointer;   /* JSON Pointer inside the event, "" for the event itself */
    int64_t offset;   /* byte in the body, or EVENT_OFFSET_NONE (header fields) */
    const char *rule; /* a stable word: "required", "type", "syntax", "limit", … */
    mr_str message;   /* one sentence for people, without the values sent */
};

struct event_errors {
    mr_arena *arena; /* not owned; holds the entries and copies of their texts */
    struct event_error *ptr;
    uint32_t len; /* ≤ max */
    uint32_t max;
    uint32_t found;       /* those left out for want of room included */
    uint16_t http_status; /* 0 while empty, else the gravest: 415, 413, then 400 */
};

void event_errors_init(struct event_errors *errors, mr_arena *arena, uint32_t max);
/* Adds one; pointer is copied, rule must be static, message is formatted. http_status is 400, 413
 * or 415. Without memory or room the error is counted all the same. */
void event_errors_add(struct event_errors *errors, uint16_t http_status, uint32_t index,
                      mr_str pointer, int64_t offset, const char *rule, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
/* Writes the array of {"index","pointer","offset","rule","message"}; an unknown offset is null. */
void event_errors_write(const struct event_errors *errors, json_out *out);

#endif
