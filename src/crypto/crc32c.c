/* CRC-32C.
 *
 * The crc32 instruction has a latency of three cycles and a throughput of one, so a single chain
 * runs at a third of what the unit can do. Three chains over three neighbouring blocks run at full
 * speed; their results are joined by shifting the first over the bytes that follow it. Shifting a
 * CRC over a fixed number of zero bytes is a linear map of 32 bits: four tables of 256 words, one
 * look-up per byte. With blocks of 336 bytes a record of 1 KiB is one round of three blocks and a
 * short rest. Without the instruction: slicing by eight. */
#include "crypto/crc32c.h"

#include "crypto/crc32c_tables.h"

#include <stdbool.h>
#include <string.h>

static inline uint64_t word_at(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; n >= 8; at += 8, n -= 8) {
        uint64_t word = word_at(at) ^ crc;
        crc = crc_bytes[7][word & 0xff] ^ crc_bytes[6][(word >> 8) & 0xff] ^
              crc_bytes[5][(word >> 16) & 0xff] ^ crc_bytes[4][(word >> 24) & 0xff] ^
              crc_bytes[3][(word >> 32) & 0xff] ^ crc_bytes[2][(word >> 40) & 0xff] ^
              crc_bytes[1][(word >> 48) & 0xff] ^ crc_bytes[0][word >> 56];
    }
    for (; n > 0; at++, n--) {
        crc = crc_bytes[0][(crc ^ *at) & 0xff] ^ (crc >> 8);
    }
    return ~crc;
}

#if defined(__x86_64__)
static bool has_instruction(void) {
    return __builtin_cpu_supports("sse4.2") != 0;
}

static inline uint64_t over_block(uint64_t crc) {
    return crc_shift[0][crc & 0xff] ^ crc_shift[1][(crc >> 8) & 0xff] ^
           crc_shift[2][(crc >> 16) & 0xff] ^ crc_shift[3][(crc >> 24) & 0xff];
}

__attribute__((target("sse4.2"))) static uint32_t run_instruction(uint32_t crc, const uint8_t *at,
                                                                  size_t n) {
    uint64_t state = ~crc;
    for (; n >= (size_t)3 * CRC_BLOCK; at += (size_t)3 * CRC_BLOCK, n -= (size_t)3 * CRC_BLOCK) {
        uint64_t second = 0;
        uint64_t third = 0;
        for (size_t i = 0; i < CRC_BLOCK; i += 8) {
            state = __builtin_ia32_crc32di(state, word_at(at + i));
            second = __builtin_ia32_crc32di(second, word_at(at + CRC_BLOCK + i));
            third = __builtin_ia32_crc32di(third, word_at(at + (size_t)2 * CRC_BLOCK + i));
        }
        state = over_block(over_block(state) ^ second) ^ third;
    }
    for (; n >= 8; at += 8, n -= 8) {
        state = __builtin_ia32_crc32di(state, word_at(at));
    }
    uint32_t rest = (uint32_t)state;
    for (; n > 0; at++, n--) {
        rest = __builtin_ia32_crc32qi(rest, *at);
    }
    return ~rest;
}
#else
static bool has_instruction(void) {
    return false;
}

static uint32_t run_instruction(uint32_t crc, const uint8_t *at, size_t n) {
    return crc32c_portable(crc, at, n);
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n) {
    if (n == 0) {
        return crc;
    }
    return has_instruction() ? run_instruction(crc, bytes, n) : crc32c_portable(crc, bytes, n);
}
