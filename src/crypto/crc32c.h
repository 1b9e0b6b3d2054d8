/* CRC-32C (Castagnoli; RFC 3720 §12.1, appendix B.4): the checksum of the journal. Uses the SSE 4.2
 * instruction where the processor has it, tables elsewhere; both give the same. */
#ifndef MR_CRYPTO_CRC32C_H
#define MR_CRYPTO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc` (0 to begin) over n bytes: crc32c(crc32c(0, a), b) is that of a then b. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);
/* The same without special instructions; for comparison. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t n);

#endif
