/* Answers kept for a day under the caller's Idempotency-Key, so that a repeated POST gets the first
 * answer and does nothing twice. Stored in the transaction of the change itself; where the effect
 * is not the store's, claimed before it. A secret that was shown once is not in the stored answer:
 * the caller stores a body without it. */
#ifndef MR_CONTROL_IDEMPOTENCY_H
#define MR_CONTROL_IDEMPOTENCY_H

#include "control/control.h"

#define IDEMPOTENCY_KEY_MAX  255
#define IDEMPOTENCY_BODY_MAX 262144
#define IDEMPOTENCY_TTL_MS   (INT64_C(24) * 3600 * 1000)

struct idempotency_call {
    uint32_t account;
    uint32_t client;
    mr_str route;        /* symbol and path: the same key on another route is another key */
    mr_str key;          /* 1–255 printable ASCII characters (20400) */
    mr_str request_body; /* compared by its SHA-256 */
};
struct idempotency_answer {
    int status;
    mr_str body;
    mr_str location; /* absent: none */
};

/* *ret_found false: the first time. True: the answer, in arena. The same key with another body, or
 * claimed and not yet answered: 409 (20409). */
mr_err idempotency_find(struct control *control, const struct idempotency_call *call, mr_wall now,
                        mr_arena *arena, bool *ret_found, struct idempotency_answer *ret_answer,
                        struct refusal *ret_refusal);
/* As idempotency_find; where it is the first time, the key is taken before the effect: until
 * idempotency_store or idempotency_release every other call with it is refused. For effects that
 * lie outside the store: after a crash in between nobody knows whether the effect took place, so
 * the claim stays and no second effect can follow. */
mr_err idempotency_claim(struct control *control, const struct idempotency_call *call, mr_wall now,
                         mr_arena *arena, bool *ret_found, struct idempotency_answer *ret_answer,
                         struct refusal *ret_refusal);
/* Gives a claim back: the call was refused, so the key may be used again. */
mr_err idempotency_release(struct control *control, const struct idempotency_call *call,
                           struct refusal *ret_refusal);
/* Keeps it for 24 hours; drops expired ones, a bounded number per call. */
mr_err idempotency_store(struct control *control, const struct idempotency_call *call, mr_wall now,
                         const struct idempotency_answer *answer, struct refusal *ret_refusal);

#endif
