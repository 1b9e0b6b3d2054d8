/* Bounds of pending callbacks. See limits.h. */
#include "dispatch/callbacks/limits.h"

#include "base/mem.h"
#include "os/thread.h"

#define SLOTS 1024

struct holder {
    struct holder *next;
    uint32_t account;
    uint32_t n;
    uint64_t bytes;
};

struct callback_limits {
    os_mutex mu;
    /* guarded by mu */
    uint64_t bytes;
    struct holder *holders[SLOTS]; /* chains; those that hold something */
};

mr_err callback_limits_new(struct callback_limits **ret_limits) {
    struct callback_limits *limits = MR_NEW(struct callback_limits);
    if (limits == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_mutex_init(&limits->mu);
    *ret_limits = limits;
    return MR_OK;
}

void callback_limits_free(struct callback_limits *limits) {
    if (limits == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        while (limits->holders[i] != NULL) {
            struct holder *next = limits->holders[i]->next;
            mr_free(limits->holders[i]);
            limits->holders[i] = next;
        }
    }
    os_mutex_done(&limits->mu);
    mr_free(limits);
}

static struct holder **slot_of(struct callback_limits *limits, uint32_t account) {
    struct holder **at = &limits->holders[account % SLOTS];
    while (*at != NULL && (*at)->account != account) {
        at = &(*at)->next;
    }
    return at;
}

static bool fits(const struct callback_limits *limits, const struct holder *holder,
                 uint64_t bytes) {
    uint32_t n = holder == NULL ? 0 : holder->n;
    uint64_t mine = (holder == NULL ? 0 : holder->bytes) + bytes;
    uint64_t all = limits->bytes + bytes;
    return n < CALLBACK_LIMITS_ACCOUNT && mine <= CALLBACK_LIMITS_ACCOUNT_BYTES &&
           all <= CALLBACK_LIMITS_BYTES && mine <= CALLBACK_LIMITS_BYTES - all;
}

static mr_err add(struct callback_limits *limits, uint32_t account, size_t size, bool is_bound) {
    uint64_t bytes = size + CALLBACK_LIMITS_EACH_BYTES;
    mr_err err = MR_OK;
    os_mutex_lock(&limits->mu);
    struct holder **slot = slot_of(limits, account);
    if (is_bound && !fits(limits, *slot, bytes)) {
        err = MR_ERR(MR_E_LIMIT);
    } else if (*slot == NULL) {
        *slot = MR_NEW(struct holder);
        err = *slot == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    if (mr_is_ok(err)) {
        (*slot)->account = account;
        (*slot)->n++;
        (*slot)->bytes += bytes;
        limits->bytes += bytes;
    }
    os_mutex_unlock(&limits->mu);
    return err;
}

bool callback_limits_take(struct callback_limits *limits, uint32_t account, size_t bytes) {
    return mr_is_ok(add(limits, account, bytes, true));
}

mr_err callback_limits_restore(struct callback_limits *limits, uint32_t account, size_t bytes) {
    return add(limits, account, bytes, false);
}

void callback_limits_give(struct callback_limits *limits, uint32_t account, size_t size) {
    uint64_t bytes = size + CALLBACK_LIMITS_EACH_BYTES;
    os_mutex_lock(&limits->mu);
    struct holder **slot = slot_of(limits, account);
    struct holder *holder = *slot;
    MR_ASSERT(holder != NULL && holder->n > 0 && holder->bytes >= bytes);
    holder->n--;
    holder->bytes -= bytes;
    limits->bytes -= bytes;
    if (holder->n == 0) {
        MR_ASSERT(holder->bytes == 0);
        *slot = holder->next;
        mr_free(holder);
    }
    os_mutex_unlock(&limits->mu);
}
