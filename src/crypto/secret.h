/* Secret values in memory: they live in one slab that is locked against swapping and left out of
 * core dumps, are reference-counted, wiped when the last holder lets go, and print as [redacted].
 * Also the comparison in constant time and the wiping of other memory. */
#ifndef MR_CRYPTO_SECRET_H
#define MR_CRYPTO_SECRET_H

#include "base/err.h"
#include "base/str.h"

/* Pages for secrets. Thread-safe. Must outlive every mr_secret taken from it. */
struct secret_slab;

/* Longest value. */
#define SECRET_BYTES_MAX 65536

/* size_max bounds all secrets together (rounded up to whole pages; taken piece by piece).
 * MR_E_NOMEM; MR_E_FAILED where libsodium cannot start. */
mr_err secret_slab_new(size_t size_max, struct secret_slab **ret_slab);
/* NULL is fine. Asserts that no secret is left. */
void secret_slab_free(struct secret_slab *slab);
/* False once the system refused to lock a page (RLIMIT_MEMLOCK): secrets may then reach swap. Worth
 * one warning at start. */
bool secret_slab_is_locked(const struct secret_slab *slab);

struct secret_box;

/* A handle by value; {NULL} holds nothing. Whoever has one holds a reference of its own or one that
 * its owner keeps for it. The value never changes after it was made. */
typedef struct mr_secret {
    struct secret_box *box;
} mr_secret;
#define MR_SECRET_NONE ((mr_secret){NULL})

/* Copies value (≤ SECRET_BYTES_MAX, may be empty). MR_E_NOMEM, MR_E_LIMIT past the slab's bound or
 * the longest value. Release with mr_secret_unref. */
mr_err mr_secret_new(struct secret_slab *slab, mr_str value, mr_secret *ret_secret);
/* Another reference to the same value. {NULL} gives {NULL}. */
mr_secret mr_secret_ref(mr_secret secret);
/* Wipes the value with the last reference. Clears the handle. Any thread. */
void mr_secret_unref(mr_secret *secret);

static inline bool mr_secret_is_none(mr_secret secret) {
    return secret.box == NULL;
}
/* The value, for the code that hashes, signs or seals; valid as long as the reference. Absent for
 * {NULL}. Never log it. A NUL stands behind it. */
mr_str mr_secret_reveal(mr_secret secret);
/* Constant time for equal lengths; false for {NULL}. */
bool mr_secret_eq(mr_secret secret, mr_str other);
/* What logs and texts show: "[redacted]", or "none". */
mr_str mr_secret_text(mr_secret secret);

/* Equal n bytes, in time that does not depend on them. */
bool crypto_equal(const void *a, const void *b, size_t n);
/* Overwrites memory in a way that the compiler may not drop. */
void crypto_wipe(void *at, size_t n);

/* Before anything else of OpenSSL, in the only thread: what it frees is overwritten from then on.
 * It leaves keys behind otherwise, in memory that decoding them took. */
void crypto_clean_openssl(void);

#endif
