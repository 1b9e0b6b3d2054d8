/* SipHash-2-4. See siphash.h.
 *
 * Two rounds per word of eight bytes, four at the end. The variant of 128 bits differs in three
 * constants: v1 starts with 0xee mixed in, the end mixes 0xee instead of 0xff into v2, and a second
 * run of four rounds with 0xdd in v1 gives the upper half. The last word holds the length modulo
 * 256 in its top byte.
 *
 * siphash_content is of our own making from the same rounds: SipHash waits for each round before it
 * begins the next, so that a content of a kilobyte would cost more than its parsing. Where AVX-512
 * rotates both lanes by one instruction they lie in one register, at twice the speed. */
#include "crypto/siphash.h"

#include <stdbool.h>
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

/* Adds whole pairs of words in turn, the first of each to one lane and the second to the other;
 * returns the bytes taken. Rounds wait for each other; those of two lanes do not. */
typedef size_t add_pairs(struct siphash *even, struct siphash *odd, const uint8_t *at, size_t n);

static size_t add_pairs_portable(struct siphash *even, struct siphash *odd, const uint8_t *at,
                                 size_t n) {
    struct siphash a = *even; /* stay in registers: the input might lie over the lanes */
    struct siphash b = *odd;
    size_t done = 0;
    for (; n - done >= 16; done += 16) {
        uint64_t words[2];
        memcpy(words, at + done, sizeof words);
        add_word_once(&a, words[0]);
        add_word_once(&b, words[1]);
    }
    *even = a;
    *odd = b;
    return done;
}

#if defined(__x86_64__)
static bool has_rotations(void) {
    return __builtin_cpu_supports("avx512vl") != 0;
}

typedef uint64_t word_pair __attribute__((vector_size(16)));

#define ROTATE_PAIR(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))

/* Both lanes in one register. Worth it only where rotating a pair is one instruction. */
__attribute__((target("avx512vl"))) static size_t
add_pairs_vector(struct siphash *even, struct siphash *odd, const uint8_t *at, size_t n) {
    word_pair v0 = {even->v0, odd->v0};
    word_pair v1 = {even->v1, odd->v1};
    word_pair v2 = {even->v2, odd->v2};
    word_pair v3 = {even->v3, odd->v3};
    size_t done = 0;
    for (; n - done >= 16; done += 16) {
        word_pair words;
        memcpy(&words, at + done, sizeof words);
        v3 ^= words;
        v0 += v1;
        v1 = ROTATE_PAIR(v1, 13) ^ v0;
        v0 = ROTATE_PAIR(v0, 32);
        v2 += v3;
        v3 = ROTATE_PAIR(v3, 16) ^ v2;
        v0 += v3;
        v3 = ROTATE_PAIR(v3, 21) ^ v0;
        v2 += v1;
        v1 = ROTATE_PAIR(v1, 17) ^ v2;
        v2 = ROTATE_PAIR(v2, 32);
        v0 ^= words;
    }
    *even = (struct siphash){.v0 = v0[0], .v1 = v1[0], .v2 = v2[0], .v3 = v3[0]};
    *odd = (struct siphash){.v0 = v0[1], .v1 = v1[1], .v2 = v2[1], .v3 = v3[1]};
    return done;
}
#else
static bool has_rotations(void) {
    return false;
}

#define add_pairs_vector add_pairs_portable
#endif

/* Adds all but the last words, which the ends of the lanes take. */
static inline void add_lanes(struct siphash *even, struct siphash *odd, const uint8_t *at, size_t n,
                             add_pairs *add, uint64_t tail[static 2]) {
    size_t done = n < 16 ? 0 : add(even, odd, at, n);
    tail[0] = 0;
    tail[1] = 0;
    if (done < n) {
        memcpy(tail, at + done, n - done);
    }
}

static inline uint64_t content(struct siphash_key key, const void *bytes, size_t n,
                               add_pairs *add) {
    struct siphash even;
    struct siphash odd;
    uint64_t tail[2];
    siphash_init_64(&even, key);
    siphash_init_64(&odd, (struct siphash_key){key.k0, ~key.k1});
    add_lanes(&even, &odd, bytes, n, add, tail);
    add_word_once(&even, tail[0]);
    uint64_t ends[3] = {end_lane(&even, n), end_lane(&odd, tail[1]), n};
    return siphash_64(key, ends, sizeof ends);
}

uint64_t siphash_content(struct siphash_key key, const void *bytes, size_t n) {
    return content(key, bytes, n, has_rotations() ? add_pairs_vector : add_pairs_portable);
}

uint64_t siphash_content_portable(struct siphash_key key, const void *bytes, size_t n) {
    return content(key, bytes, n, add_pairs_portable);
}

struct siphash_128 siphash_content_128(struct siphash_key key, const void *bytes, size_t n) {
    struct siphash even;
    struct siphash odd;
    uint64_t tail[2];
    siphash_init_128(&even, key);
    siphash_init_128(&odd, (struct siphash_key){key.k0, ~key.k1});
    add_lanes(&even, &odd, bytes, n, has_rotations() ? add_pairs_vector : add_pairs_portable, tail);
    add_word_once(&even, tail[0]);
    struct siphash_128 first = end_lane_128(&even, n);
    struct siphash_128 second = end_lane_128(&odd, tail[1]);
    uint64_t ends[5] = {first.lo, first.hi, second.lo, second.hi, n};
    return siphash_128(key, ends, sizeof ends);
}
