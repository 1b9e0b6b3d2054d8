/* Identifiers. A ULID begins with 48 bits of wall time, so that ids sort by creation, and goes on
 * with 80 random bits, so that nobody guesses one. */
#include "crypto/ids.h"

#include "os/clock.h"

_Static_assert(CRYPTO_ID_SIZE > 21 + MR_ULID_LEN, "prefix, ULID, NUL");

size_t crypto_id_make(mr_str prefix, mr_wall now, char out[static CRYPTO_ID_SIZE]) {
    MR_ASSERT(prefix.len + MR_ULID_LEN < CRYPTO_ID_SIZE);
    uint8_t random[10];
    os_random(random, sizeof random);
    memcpy(out, prefix.ptr, prefix.len);
    mr_ulid_format(now, random, out + prefix.len);
    out[prefix.len + MR_ULID_LEN] = '\0';
    return prefix.len + MR_ULID_LEN;
}

bool crypto_id_is_valid(mr_str id, mr_str prefix) {
    return mr_str_starts(id, prefix) && mr_ulid_is_valid(mr_str_slice(id, prefix.len, id.len));
}

void crypto_uuid4_make(char out[static CRYPTO_UUID_SIZE]) {
    uint8_t bytes[16];
    os_random(bytes, sizeof bytes);
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    char hex[32];
    mr_hex_encode(bytes, sizeof bytes, hex);
    static const uint8_t lengths[5] = {8, 4, 4, 4, 12};
    size_t from = 0;
    size_t to = 0;
    for (size_t i = 0; i < 5; i++) {
        if (i > 0) {
            out[to++] = '-';
        }
        memcpy(out + to, hex + from, lengths[i]);
        from += lengths[i];
        to += lengths[i];
    }
    out[to] = '\0';
}

void crypto_random(void *out, size_t n) {
    os_random(out, n);
}
