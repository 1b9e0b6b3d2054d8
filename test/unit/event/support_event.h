/* What the tests of the event room share: calls in short, and a catalogue of three schemas. */
#ifndef TEST_EVENT_SUPPORT_H
#define TEST_EVENT_SUPPORT_H

#include "event/envelope.h"

/* Knows type "known" → schema "S", latest 2; "other" → "O", 1; "test event" → "test", 1. Schema
 * "F", version 1, is used by no type. */
extern const struct event_catalogue support_catalogue;

/* Parses a body under a content type (NULL: none). */
struct event_batch support_parse(struct event_parser *parser, const char *content_type,
                                 const char *body);
/* https://own.example/base, an alias, the catalogue; received 2024-09-25T19:09:48.5842087Z. */
struct event_place support_place(void);
/* The rule of the only error; "" where there is none, "several" where there are more. */
const char *support_rule(const struct event_batch *batch);

#endif
