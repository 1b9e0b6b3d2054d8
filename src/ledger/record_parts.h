/* What the two files of record forms share: lists of positions inside a body. Private to them. */
#ifndef MR_LEDGER_RECORD_PARTS_H
#define MR_LEDGER_RECORD_PARTS_H

#include "ledger/record.h"

/* Writes the list (at most RECORD_POSITIONS_BYTES(n)); returns its length. */
size_t record_positions_put(uint8_t *at, const uint64_t *positions, uint32_t n);
/* Walks a list of n at *at, advances *at behind it. LEDGER_E_RECORD. */
mr_err record_positions_take(const uint8_t **at, const uint8_t *end, uint32_t n,
                             struct record_positions *ret_positions);
/* Ids of 128 bits as text: a prefix of three bytes and 26 characters. */
void record_ulid_format(const struct record_letter_id *id, const char prefix[static 3],
                        char out[static RECORD_LETTER_TEXT_LEN]);
mr_err record_ulid_parse(mr_str text, mr_str prefix, struct record_letter_id *ret_id);

#endif
