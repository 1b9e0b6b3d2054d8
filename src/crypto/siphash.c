/* SipHash-2-4. See siphash.h.
 *
 * Two rounds per word of eight bytes, four at the end. The variant of 128 bits differs in three
 * constants: v1 starts with 0xee mixed in, the end mixes 0xee instead of 0xff into v2, and a second
 * run of four rounds with 0xdd in v1 gives the upper half. The last word holds the length modulo
 * 256 in its top byte.
 *
 * siphash_content is of our own making from the same rounds: SipHash waits for each round before it
 * begins the next, so that a content of a kilobyte would cost more than its parsing. */
#include "crypto/siphash.h"

#include <string.h>

static inline uint64_t rotate(uint64_t x, unsigned bits) {
    return (x << bits) | (x >> (64 - bits));
}

static inline void round_once(struct siphash *h) {
    h->v0 += h->v1;
    h->v1 = rotate(h->v1, 13) ^ h->v0;
    h->v0 = rotate(h->v0, 32);
    h->v2 += h->v3;
    h->v3 = rotate(h->v3, 16) ^ h->v2;
    h->v0 += h->v3;
    h->v3 = rotate(h->v3, 21) ^ h->v0;
    h->v2 += h->v1;
    h->v1 = rotate(h->v1, 17) ^ h->v2;
    h->v2 = rotate(h->v2, 32);
}

static inline void add_word(struct siphash *h, uint64_t word) {
    h->v3 ^= word;
    round_once(h);
    round_once(h);
    h->v0 ^= word;
}

static uint64_t four_rounds(struct siphash *h) {
    for (int i = 0; i < 4; i++) {
        round_once(h);
    }
    return h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
}

struct siphash_key siphash_key_of(const uint8_t bytes[static 16]) {
    struct siphash_key key;
    memcpy(&key.k0, bytes, 8);
    memcpy(&key.k1, bytes + 8, 8);
    return key;
}

void siphash_init_64(struct siphash *hash, struct siphash_key key) {
    *hash = (struct siphash){.v0 = key.k0 ^ UINT64_C(0x736f6d6570736575),
                             .v1 = key.k1 ^ UINT64_C(0x646f72616e646f6d),
                             .v2 = key.k0 ^ UINT64_C(0x6c7967656e657261),
                             .v3 = key.k1 ^ UINT64_C(0x7465646279746573)};
}

void siphash_init_128(struct siphash *hash, struct siphash_key key) {
    siphash_init_64(hash, key);
    hash->v1 ^= 0xee;
}

void siphash_add(struct siphash *hash, const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    unsigned filled = (unsigned)(hash->n_bytes & 7);
    hash->n_bytes += n;
    while (filled != 0 && n > 0) {
        hash->tail |= (uint64_t)*at++ << (8 * filled);
        n--;
        filled = (filled + 1) & 7;
        if (filled == 0) {
            add_word(hash, hash->tail);
            hash->tail = 0;
        }
    }
    struct siphash own = *hash; /* stays in registers: the input might lie over *hash */
    for (; n >= 8; at += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        add_word(&own, word);
    }
    *hash = own;
    for (; n > 0; n--) {
        hash->tail |= (uint64_t)*at++ << (8 * filled);
        filled++;
    }
}

uint64_t siphash_end_64(struct siphash *hash) {
    add_word(hash, hash->tail | (hash->n_bytes << 56));
    hash->v2 ^= 0xff;
    return four_rounds(hash);
}

struct siphash_128 siphash_end_128(struct siphash *hash) {
    struct siphash_128 out;
    add_word(hash, hash->tail | (hash->n_bytes << 56));
    hash->v2 ^= 0xee;
    out.lo = four_rounds(hash);
    hash->v1 ^= 0xdd;
    out.hi = four_rounds(hash);
    return out;
}

uint64_t siphash_64(struct siphash_key key, const void *bytes, size_t n) {
    struct siphash hash;
    siphash_init_64(&hash, key);
    siphash_add(&hash, bytes, n);
    return siphash_end_64(&hash);
}

struct siphash_128 siphash_128(struct siphash_key key, const void *bytes, size_t n) {
    struct siphash hash;
    siphash_init_128(&hash, key);
    siphash_add(&hash, bytes, n);
    return siphash_end_128(&hash);
}

/* One round a word, as in SipHash-1-3. */
static inline void add_word_once(struct siphash *h, uint64_t word) {
    h->v3 ^= word;
    round_once(h);
    h->v0 ^= word;
}

static inline uint64_t end_lane(struct siphash *h, uint64_t last) {
    add_word_once(h, last);
    h->v2 ^= 0xff;
    round_once(h);
    round_once(h);
    round_once(h);
    return h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
}

/* As SipHash-128 ends, with the rounds of SipHash-1-3. */
static inline struct siphash_128 end_lane_128(struct siphash *h, uint64_t last) {
    struct siphash_128 out;
    add_word_once(h, last);
    h->v2 ^= 0xee;
    round_once(h);
    round_once(h);
    round_once(h);
    out.lo = h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
    h->v1 ^= 0xdd;
    round_once(h);
    round_once(h);
    round_once(h);
    out.hi = h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
    return out;
}

/* Takes all but the last words in turn; those are added with the end. Rounds wait for each other;
 * those of two lanes do not. */
static inline void add_lanes(struct siphash *even, struct siphash *odd, const uint8_t *at, size_t n,
                             uint64_t tail[static 2]) {
    size_t left = n;
    for (; left >= 16; at += 16, left -= 16) {
        uint64_t words[2];
        memcpy(words, at, sizeof words);
        add_word_once(even, words[0]);
        add_word_once(odd, words[1]);
    }
    tail[0] = 0;
    tail[1] = 0;
    if (left > 0) {
        memcpy(tail, at, left);
    }
}

uint64_t siphash_content(struct siphash_key key, const void *bytes, size_t n) {
    struct siphash even;
    struct siphash odd;
    uint64_t tail[2];
    siphash_init_64(&even, key);
    siphash_init_64(&odd, (struct siphash_key){key.k0, ~key.k1});
    add_lanes(&even, &odd, bytes, n, tail);
    add_word_once(&even, tail[0]);
    uint64_t ends[3] = {end_lane(&even, n), end_lane(&odd, tail[1]), n};
    return siphash_64(key, ends, sizeof ends);
}

struct siphash_128 siphash_content_128(struct siphash_key key, const void *bytes, size_t n) {
    struct siphash even;
    struct siphash odd;
    uint64_t tail[2];
    siphash_init_128(&even, key);
    siphash_init_128(&odd, (struct siphash_key){key.k0, ~key.k1});
    add_lanes(&even, &odd, bytes, n, tail);
    add_word_once(&even, tail[0]);
    struct siphash_128 first = end_lane_128(&even, n);
    struct siphash_128 second = end_lane_128(&odd, tail[1]);
    uint64_t ends[5] = {first.lo, first.hi, second.lo, second.hi, n};
    return siphash_128(key, ends, sizeof ends);
}
