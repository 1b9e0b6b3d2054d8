/* The destination kind Kore Webhook: a JSON array of events by POST or GET with KORE's headers and
 * signature, or one of CloudEvents' own forms, perhaps signed by Standard Webhooks as well.
 * Sources: KORE's Event Streams pages; CloudEvents HTTP binding; standard-webhooks 1.0. */
#ifndef MR_SINK_WEBHOOK_H
#define MR_SINK_WEBHOOK_H

#include "sink/sink.h"

extern const struct sink_kind webhook_kind;

#endif
