/* The body of a PutRecords call from stored envelopes. Not for other rooms. */
#ifndef MR_SINK_KINESIS_BODY_H
#define MR_SINK_KINESIS_BODY_H

#include "base/arena.h"
#include "crypto/hash.h"
#include "json/tape.h"
#include "sink/sink.h"

struct kinesis_format {
    mr_str stream_arn;
    mr_str partition_key; /* a JSON Pointer; absent or empty: the event's id */
    struct crypto_hasher *hasher;
    json_tape *tape; /* scratch, for the pointer */
    mr_arena *arena; /* scratch */
};

/* Appends the body of as many of the n envelopes as fit: 500 records, 5 MiB of data and keys, and
 * bytes_max. items[i] is set for each of the *ret_used: OK for those whose record stands in the
 * body
 * (*ret_sent of them, 0 possible), else what it is: PERMANENT, too large for a record. is_retry:
 * all n count as used; one that does not fit any more waits (THROTTLED). MR_E_NOMEM, MR_E_LIMIT,
 * MR_E_INVALID for what is no envelope. */
mr_err kinesis_body(const struct kinesis_format *format, const mr_str *envelopes, size_t n,
                    size_t bytes_max, bool is_retry, mr_buf *out, struct sink_item *items,
                    size_t *ret_used, size_t *ret_sent);

#endif
