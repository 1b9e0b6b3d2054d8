/* The body of a checkpoint: written to a sink and read from memory. Private to the book. */
#ifndef MR_LEDGER_BOOK_BODY_H
#define MR_LEDGER_BOOK_BODY_H

#include "ledger/book/parts.h"

#define BOOK_SINK_BYTES (256U * 1024)

/* A file being written, with the checksum of all that went to it. */
struct book_sink {
    const struct os_files *files;
    os_file file;
    uint8_t *buffer; /* BOOK_SINK_BYTES, the caller's */
    size_t len;
    uint64_t offset; /* of the buffer's first byte */
    uint32_t crc;
    mr_err err; /* the first; then nothing is written any more */
};

void book_sink_put(struct book_sink *sink, const void *bytes, size_t n);
void book_sink_flush(struct book_sink *sink);

/* Keys in use alone, numbered anew. Errors of the file stay in sink->err; MR_E_NOMEM. */
mr_err book_body_save(struct book_sink *sink, const struct book *book);
/* Into a new book; format of the file around it. LEDGER_E_CORRUPT, MR_E_NOMEM: the book is of no
 * use then. */
mr_err book_body_load(const void *bytes, size_t n, uint32_t format, struct book *book);

#endif
