/* The token cache.
 *
 * A set-associative table: the tag of a token chooses a set of eight places, which are looked
 * through; a new entry takes a free place of its set or the one used longest ago. So a look-up
 * touches two cache lines of tags, memory never grows, and an attacker who sends many valid tokens
 * can push others out of eight places but not slow anything down by more than one verification.
 *
 * The tag is a keyed hash of 128 bits of the whole token, under a random key of this cache
 * (siphash_content_128: a token has a kilobyte, and SipHash itself would be most of what a check
 * costs). Nobody outside knows the key or sees a tag, so nobody can look for a forged token with
 * the tag of a valid one: the chance is 2^-128 a try. Tokens themselves are not kept in memory.
 *
 * Only tokens that verified are kept; a refused one costs a verification each time, which the
 * limits on requests bound. */
#include "auth/cache.h"

#include "base/mem.h"
#include "crypto/ids.h"
#include "crypto/siphash.h"

#define WAYS 8u

struct cache_set {
    uint64_t tag_lo[WAYS];
    uint64_t tag_hi[WAYS];
    uint64_t used[WAYS]; /* tick of the last use; 0: free */
};

struct auth_cache {
    struct siphash_key key;
    struct auth_keyring *keyring; /* of all entries; a reference */
    size_t n_sets;                /* a power of two */
    size_t count;
    uint64_t tick;
    uint64_t hits;
    struct cache_set *sets;
    struct auth_claims *claims; /* n_sets × WAYS */
    struct auth_claims fresh;   /* where a verification writes */
};

mr_err auth_cache_new(size_t entries_max, struct auth_cache **ret_cache) {
    size_t n_sets = 2;
    while (n_sets * WAYS < entries_max && n_sets < (size_t)1 << 24) {
        n_sets *= 2;
    }
    struct auth_cache *cache = MR_NEW(struct auth_cache);
    if (cache == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    cache->sets = mr_calloc(n_sets, sizeof *cache->sets);
    cache->claims = mr_calloc(n_sets * WAYS, sizeof *cache->claims);
    if (cache->sets == NULL || cache->claims == NULL) {
        auth_cache_free(cache);
        return MR_ERR(MR_E_NOMEM);
    }
    cache->n_sets = n_sets;
    uint8_t random[16];
    crypto_random(random, sizeof random);
    cache->key = siphash_key_of(random);
    crypto_wipe(random, sizeof random);
    *ret_cache = cache;
    return MR_OK;
}

void auth_cache_free(struct auth_cache *cache) {
    if (cache != NULL) {
        auth_keyring_unref(cache->keyring);
        mr_free(cache->sets);
        mr_free(cache->claims);
        mr_free(cache);
    }
}

static void use_keyring(struct auth_cache *cache, struct auth_keyring *keyring) {
    if (cache->keyring == keyring) {
        return;
    }
    if (cache->count > 0) {
        memset(cache->sets, 0, cache->n_sets * sizeof *cache->sets);
        cache->count = 0;
    }
    auth_keyring_unref(cache->keyring);
    cache->keyring = auth_keyring_ref(keyring);
}

static void drop(struct auth_cache *cache, struct cache_set *set, size_t way) {
    MR_ASSERT(cache->count > 0);
    cache->count--;
    set->used[way] = 0;
}

/* Where a new entry goes: a free place, else the one used longest ago. */
static size_t place_for(struct auth_cache *cache, const struct cache_set *set) {
    size_t best = 0;
    for (size_t way = 0; way < WAYS; way++) {
        if (set->used[way] == 0) {
            cache->count++;
            return way;
        }
        if (set->used[way] < set->used[best]) {
            best = way;
        }
    }
    return best;
}

mr_err auth_cache_check(struct auth_cache *cache, struct auth_keyring *keyring, mr_str token,
                        int64_t now_s, const struct auth_claims **ret_claims) {
    if (token.len > AUTH_TOKEN_BYTES_MAX) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    use_keyring(cache, keyring);
    struct siphash_128 tag = siphash_content_128(cache->key, token.ptr, token.len);
    size_t at = (size_t)tag.lo & (cache->n_sets - 1);
    struct cache_set *set = &cache->sets[at];
    for (size_t way = 0; way < WAYS; way++) {
        if (set->tag_hi[way] != tag.hi || set->tag_lo[way] != tag.lo || set->used[way] == 0) {
            continue;
        }
        const struct auth_claims *claims = &cache->claims[at * WAYS + way];
        if (now_s >= claims->expires_s) {
            drop(cache, set, way);
            return MR_ERR(AUTH_E_EXPIRED);
        }
        set->used[way] = ++cache->tick;
        cache->hits++;
        *ret_claims = claims;
        return MR_OK;
    }
    MR_TRY(auth_token_verify(keyring, token, now_s, &cache->fresh));
    size_t way = place_for(cache, set);
    set->tag_lo[way] = tag.lo;
    set->tag_hi[way] = tag.hi;
    set->used[way] = ++cache->tick;
    cache->claims[at * WAYS + way] = cache->fresh;
    *ret_claims = &cache->claims[at * WAYS + way];
    return MR_OK;
}

size_t auth_cache_count(const struct auth_cache *cache) {
    return cache->count;
}

uint64_t auth_cache_hits(const struct auth_cache *cache) {
    return cache->hits;
}
