/* The destination kind Kore Webhook: a JSON array of events by POST or GET with KORE's headers and
 * signature, or one of CloudEvents' own forms, perhaps signed by Standard Webhooks as well.
 * Sources: KORE's Event Streams pages; CloudEvents HTTP binding; standard-webhooks 1.0. */
#ifndef MR_SINK_WEBHOOK_H
#define MR_SINK_WEBHOOK_H

#include "sink/sink.h"

/* See sink_compose, sink_send. */
mr_err webhook_compose(struct sink_request *request, const mr_str *envelopes, size_t n,
                       size_t bytes_max, mr_arena *arena, size_t *ret_used);
mr_err webhook_send(const struct sink_env *env, struct sink_request *request);

/* Milliseconds that a Retry-After field asks for (RFC 9110 §10.2.3: seconds or a date), -1 where it
 * is absent or not understood. */
int64_t webhook_retry_after_ms(mr_str value, mr_wall now);

#endif
