/* What Kinesis answered to a PutRecords call, as outcomes of its records. Not for other rooms. */
#ifndef MR_SINK_KINESIS_ANSWER_H
#define MR_SINK_KINESIS_ANSWER_H

#include "json/tape.h"
#include "sink/aws/errors.h"
#include "sink/sink.h"

#define KINESIS_CODE_MAX    64
#define KINESIS_MESSAGE_MAX 256

/* Items that are OK on entry are those whose records were sent; the others are left as they are. */

/* The answer with status 200: each sent record's own result. *ret_failed of them failed; *ret_code
 * and *ret_message are of the first, "" where none. MR_E_INVALID: no such answer, or one whose
 * results cannot be matched with what was sent (too few, too many, a count that is not theirs):
 * items are as they were; MR_E_NOMEM. */
struct kinesis_said {
    char code[KINESIS_CODE_MAX + 1];
    char message[KINESIS_MESSAGE_MAX + 1];
};
mr_err kinesis_answer_read(json_tape *tape, mr_str body, struct sink_item *items, size_t n,
                           size_t *ret_failed, struct kinesis_said *ret_said);

/* Any other answer: its code and message, from the body or the field x-amzn-errortype; "" where it
 * says nothing. */
void kinesis_error_read(json_tape *tape, mr_str body, mr_str error_type,
                        struct kinesis_said *ret_said);

/* What an error of the whole call means for each event. False: for the request as a whole, by its
 * status. */
bool kinesis_item_of(enum aws_error error, uint16_t status, struct sink_item *ret_item);

#endif
