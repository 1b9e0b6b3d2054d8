/* Verified tokens of one worker, so that the RSA check is paid once per token and not once per
 * request. What a token says cannot change; whether its client still stands behind it can: that is
 * checked against the snapshot at each request (model/snapshot.h), not here. */
#ifndef MR_AUTH_CACHE_H
#define MR_AUTH_CACHE_H

#include "auth/token.h"

/* Bounded: when full, the entry longest unused of a small sample goes. One thread. */
struct auth_cache;

/* entries_max is rounded up to a power of two (≥ 16). MR_E_NOMEM. */
mr_err auth_cache_new(size_t entries_max, struct auth_cache **ret_cache);
/* NULL is fine. */
void auth_cache_free(struct auth_cache *cache);

/* The claims of a valid token, from memory or by auth_token_verify (whose errors it returns). An
 * entry whose token has expired answers AUTH_E_EXPIRED; entries are dropped when keyring is not the
 * one they were checked with. *ret_claims stays valid until the next call. */
mr_err auth_cache_check(struct auth_cache *cache, struct auth_keyring *keyring, mr_str token,
                        int64_t now_s, const struct auth_claims **ret_claims);
/* Entries held, and how many checks were answered from memory since start. */
size_t auth_cache_count(const struct auth_cache *cache);
uint64_t auth_cache_hits(const struct auth_cache *cache);

#endif
