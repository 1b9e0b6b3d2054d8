/* Wrong attempts are slowed: who fails often in a row must wait, longer each time (SPEC §9,
 * ASVS 5.0 6.3.1). `slow` counts for one kind of key; `slow_door` is what a place that checks
 * credentials asks: it counts per name and address, per address, and per name.
 *
 * Pure: the caller brings the time. One thread each. Bounded: where a table is full, the entry
 * whose last failure is longest ago goes. Kept in memory only: a restart forgives. */
#ifndef MR_AUTH_SLOW_H
#define MR_AUTH_SLOW_H

#include "base/err.h"
#include "base/str.h"
#include "base/time.h"

struct slow_policy {
    uint32_t failures_min; /* from this failure in a row on there is a wait */
    int64_t first_ms;      /* the first wait; each further failure doubles it … */
    int64_t longest_ms;    /* … up to this */
    int64_t window_ms;     /* failures are in a row where no more than this lies between them */
};
/* Waits of 1 s to 5 min from the fifth failure on; a quarter of an hour forgives. */
extern const struct slow_policy slow_policy_default;

struct slow;

/* entries_max is rounded up to a power of two (≥ 8). MR_E_NOMEM. */
mr_err slow_new(size_t entries_max, const struct slow_policy *policy, struct slow **ret_slow);
/* NULL is fine. */
void slow_free(struct slow *slow);

/* Keys are hashes that outsiders cannot choose: SipHash under a random key.
 * How long this key must wait before its next attempt; 0: it may try now. */
int64_t slow_wait_ms(const struct slow *slow, uint64_t key, mr_mono now);
/* An attempt failed. */
void slow_failed(struct slow *slow, uint64_t key, mr_mono now);
/* An attempt was right: what failed before is forgotten. */
void slow_succeeded(struct slow *slow, uint64_t key);
/* The last failure did not happen: one fewer, and its wait is over. */
void slow_take_back(struct slow *slow, uint64_t key);
/* Keys held. */
size_t slow_count(const struct slow *slow);

/* A door: a place that checks credentials. */
struct slow_door;

/* MR_E_NOMEM. */
mr_err slow_door_new(struct slow_door **ret_door);
/* NULL is fine. */
void slow_door_free(struct slow_door *door);

/* Before credentials are looked at. who: the name that is tried (client id, e-mail), known or not,
 * compared as it is; address: text of the peer's IP address (an IPv6 /64 counts as one); absent
 * where there is none. 0: go on; the attempt counts as failed until slow_door_opened tells the
 * contrary, so that many at once are no way around. Above 0: refuse with 429 and this wait; nothing
 * was counted. */
int64_t slow_door_enter(struct slow_door *door, mr_str who, mr_str address, mr_mono now);
/* An attempt that entered could not be judged: it counts no more, and is no proof of anything. */
void slow_door_take_back(struct slow_door *door, mr_str who, mr_str address);
/* The credentials of an attempt that entered were right. A name that
 * opened the door from an address is from then on not kept waiting there for what others do with
 * the name elsewhere. */
void slow_door_opened(struct slow_door *door, mr_str who, mr_str address, mr_mono now);

#endif
