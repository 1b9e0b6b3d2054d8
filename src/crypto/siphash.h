/* SipHash-2-4 (Aumasson and Bernstein, 2012), with 64 and 128 bits of output: a keyed hash that
 * those without the key cannot make collide. For tags and tables, not for authentication of data
 * that leaves the machine. */
#ifndef MR_CRYPTO_SIPHASH_H
#define MR_CRYPTO_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* 16 random bytes. */
struct siphash_key {
    uint64_t k0, k1;
};
struct siphash_128 {
    uint64_t lo, hi; /* bytes 0–7 and 8–15 of the reference's output, little-endian */
};

struct siphash_key siphash_key_of(const uint8_t bytes[static 16]);
uint64_t siphash_64(struct siphash_key key, const void *bytes, size_t n);
struct siphash_128 siphash_128(struct siphash_key key, const void *bytes, size_t n);
/* A faster hash of long input with the same key, not SipHash-2-4: two lanes of SipHash-1-3, which
 * take the words in turn, joined by one more. To tell contents apart. */
uint64_t siphash_content(struct siphash_key key, const void *bytes, size_t n);
/* The same without special instructions; for comparison. */
uint64_t siphash_content_portable(struct siphash_key key, const void *bytes, size_t n);
/* The same with 128 bits, where a chance of 2^-64 is too much. */
struct siphash_128 siphash_content_128(struct siphash_key key, const void *bytes, size_t n);

/* The same in pieces. */
struct siphash {
    uint64_t v0, v1, v2, v3;
    uint64_t tail; /* of the last word, its n_bytes & 7 bytes */
    uint64_t n_bytes;
};
void siphash_init_64(struct siphash *hash, struct siphash_key key);
void siphash_init_128(struct siphash *hash, struct siphash_key key);
void siphash_add(struct siphash *hash, const void *bytes, size_t n);
/* As it was initialised. The state is used up. */
uint64_t siphash_end_64(struct siphash *hash);
struct siphash_128 siphash_end_128(struct siphash *hash);

#endif
