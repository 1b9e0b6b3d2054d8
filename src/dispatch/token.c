/* Idempotency tokens. See token.h. */
#include "dispatch/token.h"

#include "base/num.h"

void token_make(struct siphash_key store_key, uint32_t destination, uint32_t origin,
                const uint64_t *positions, uint32_t n, char out[static TOKEN_SIZE]) {
    struct siphash hash;
    siphash_init_128(&hash, store_key);
    const uint32_t head[2] = {destination, origin};
    siphash_add(&hash, head, sizeof head);
    siphash_add(&hash, positions, n * sizeof *positions);
    struct siphash_128 sum = siphash_end_128(&hash);
    uint8_t bytes[16];
    mr_put_u64(bytes, sum.lo);
    mr_put_u64(bytes + 8, sum.hi);
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x80); /* version 8 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80); /* variant 10 */
    static const uint8_t parts[] = {4, 2, 2, 2, 6};
    char *at = out;
    size_t from = 0;
    for (size_t i = 0; i < sizeof parts; i++) {
        if (i > 0) {
            *at++ = '-';
        }
        mr_hex_encode(bytes + from, parts[i], at);
        at += 2 * parts[i];
        from += parts[i];
    }
    *at = '\0';
}
