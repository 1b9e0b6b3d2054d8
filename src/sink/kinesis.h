/* The destination kind AWS Kinesis data stream: PutRecords, one CloudEvent a record, as a role that
 * is assumed with an external id. AWS, "PutRecords" (API version 2013-12-02).
 *
 * One outcome per event: sink_result.items. Credentials are waited for within the request's
 * timeout; credentials that ended and a clock that stands wrong are mended and the request sent
 * once more, at no attempt. */
#ifndef MR_SINK_KINESIS_H
#define MR_SINK_KINESIS_H

#include "sink/sink.h"

#define KINESIS_RECORDS_MAX       500
#define KINESIS_REQUEST_BYTES_MAX ((size_t)5 << 20) /* data and keys of a request */
#define KINESIS_RECORD_BYTES_MAX  ((size_t)1 << 20) /* data and key of a record */
#define KINESIS_KEY_MAX           256               /* characters */

extern const struct sink_kind kinesis_kind;

#endif
