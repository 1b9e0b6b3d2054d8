/* Wrong attempts.
 *
 * A table of sets of eight entries; the key chooses the set, as in the token cache. A new key takes
 * a free place of its set or the one whose last failure is longest ago. Keys come from a SipHash
 * under a random key, so nobody can aim at the places of someone else.
 *
 * The door counts three things, because each alone can be got around or turned against a customer:
 *
 *   name + address   from the 5th failure: one who tries secrets of one client
 *   address          from the 100th: one who tries a few secrets of many clients; higher, because a
 *                    company may stand behind one address
 *   name             from the 200th: many addresses that try one client; waits of at most 30 s, and
 *                    none at all where this name has opened the door from this address before, so
 *                    that strangers cannot lock a customer out
 *
 * What opened the door is remembered in a table of its own, which failures cannot flood. */
#include "auth/slow.h"

#include "base/mem.h"
#include "crypto/ids.h"
#include "crypto/secret.h"
#include "crypto/siphash.h"

#include <arpa/inet.h>

#define WAYS         8u
#define DOOR_ENTRIES 8192

const struct slow_policy slow_policy_default = {
    .failures_min = 5, .first_ms = 1000, .longest_ms = 5 * 60 * 1000, .window_ms = 15 * 60 * 1000};

struct slow_entry {
    uint64_t key;
    mr_mono last;      /* failure */
    mr_mono until;     /* no attempt before */
    uint32_t failures; /* 0: free */
};

struct slow {
    struct slow_policy policy;
    size_t n_sets; /* a power of two */
    size_t count;
    struct slow_entry *entries; /* n_sets × WAYS */
};

mr_err slow_new(size_t entries_max, const struct slow_policy *policy, struct slow **ret_slow) {
    MR_ASSERT(policy->failures_min > 0 && policy->first_ms > 0 &&
              policy->longest_ms >= policy->first_ms);
    size_t n_sets = 1;
    while (n_sets * WAYS < entries_max && n_sets < (size_t)1 << 24) {
        n_sets *= 2;
    }
    struct slow *slow = MR_NEW(struct slow);
    if (slow == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    slow->policy = *policy;
    slow->n_sets = n_sets;
    slow->entries = mr_calloc(n_sets * WAYS, sizeof *slow->entries);
    if (slow->entries == NULL) {
        slow_free(slow);
        return MR_ERR(MR_E_NOMEM);
    }
    *ret_slow = slow;
    return MR_OK;
}

void slow_free(struct slow *slow) {
    if (slow != NULL) {
        mr_free(slow->entries);
        mr_free(slow);
    }
}

static struct slow_entry *entry_find(const struct slow *slow, uint64_t key) {
    struct slow_entry *set = &slow->entries[(key & (slow->n_sets - 1)) * WAYS];
    for (size_t way = 0; way < WAYS; way++) {
        if (set[way].failures > 0 && set[way].key == key) {
            return &set[way];
        }
    }
    return NULL;
}

static struct slow_entry *entry_take(struct slow *slow, uint64_t key) {
    struct slow_entry *set = &slow->entries[(key & (slow->n_sets - 1)) * WAYS];
    struct slow_entry *best = &set[0];
    for (size_t way = 0; way < WAYS; way++) {
        if (set[way].failures == 0) {
            best = &set[way];
            break;
        }
        if (mr_mono_before(set[way].last, best->last)) {
            best = &set[way];
        }
    }
    if (best->failures == 0) {
        slow->count++;
    }
    *best = (struct slow_entry){.key = key};
    return best;
}

static void entry_drop(struct slow *slow, struct slow_entry *entry) {
    MR_ASSERT(slow->count > 0);
    slow->count--;
    entry->failures = 0;
}

int64_t slow_wait_ms(const struct slow *slow, uint64_t key, mr_mono now) {
    const struct slow_entry *entry = entry_find(slow, key);
    if (entry == NULL || !mr_mono_before(now, entry->until)) {
        return 0;
    }
    return mr_mono_diff_ms(entry->until, now) + 1;
}

void slow_failed(struct slow *slow, uint64_t key, mr_mono now) {
    struct slow_entry *entry = entry_find(slow, key);
    if (entry == NULL) {
        entry = entry_take(slow, key);
    } else if (mr_mono_diff_ms(now, entry->last) > slow->policy.window_ms) {
        *entry = (struct slow_entry){.key = key};
    }
    if (entry->failures < UINT32_MAX) {
        entry->failures++;
    }
    entry->last = now;
    if (entry->failures < slow->policy.failures_min) {
        return;
    }
    int64_t wait_ms = slow->policy.first_ms;
    for (uint32_t n = slow->policy.failures_min;
         n < entry->failures && wait_ms < slow->policy.longest_ms; n++) {
        wait_ms *= 2;
    }
    entry->until =
        mr_mono_add_ms(now, wait_ms < slow->policy.longest_ms ? wait_ms : slow->policy.longest_ms);
}

void slow_succeeded(struct slow *slow, uint64_t key) {
    struct slow_entry *entry = entry_find(slow, key);
    if (entry != NULL) {
        entry_drop(slow, entry);
    }
}

void slow_take_back(struct slow *slow, uint64_t key) {
    struct slow_entry *entry = entry_find(slow, key);
    if (entry == NULL) {
        return;
    }
    if (entry->failures == 1) {
        entry_drop(slow, entry);
        return;
    }
    entry->failures--;
    entry->until = (mr_mono){0};
}

size_t slow_count(const struct slow *slow) {
    return slow->count;
}

/* ---- the door ---- */

static const struct slow_policy address_policy = {.failures_min = 100,
                                                  .first_ms = 1000,
                                                  .longest_ms = 5 * 60 * 1000,
                                                  .window_ms = 15 * 60 * 1000};
static const struct slow_policy name_policy = {
    .failures_min = 200, .first_ms = 1000, .longest_ms = 30 * 1000, .window_ms = 15 * 60 * 1000};

struct slow_door {
    struct siphash_key key;
    struct slow *pairs;
    struct slow *addresses;
    struct slow *names;
    struct slow *known; /* an entry: this name opened the door from this address */
};

/* The keys of one attempt. */
struct door_keys {
    uint64_t pair;
    uint64_t address;
    uint64_t name;
};

mr_err slow_door_new(struct slow_door **ret_door) {
    struct slow_door *door = MR_NEW(struct slow_door);
    if (door == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = slow_new(DOOR_ENTRIES, &slow_policy_default, &door->pairs);
    if (mr_is_ok(err)) {
        err = slow_new(DOOR_ENTRIES, &address_policy, &door->addresses);
    }
    if (mr_is_ok(err)) {
        err = slow_new(DOOR_ENTRIES, &name_policy, &door->names);
    }
    if (mr_is_ok(err)) {
        err = slow_new(DOOR_ENTRIES, &slow_policy_default, &door->known);
    }
    if (mr_is_err(err)) {
        slow_door_free(door);
        return err;
    }
    uint8_t random[16];
    crypto_random(random, sizeof random);
    door->key = siphash_key_of(random);
    crypto_wipe(random, sizeof random);
    *ret_door = door;
    return MR_OK;
}

void slow_door_free(struct slow_door *door) {
    if (door != NULL) {
        slow_free(door->pairs);
        slow_free(door->addresses);
        slow_free(door->names);
        slow_free(door->known);
        mr_free(door);
    }
}

/* What of an address counts: all of IPv4 (also written as IPv6), 64 bits of IPv6. */
static mr_str address_part(mr_str address, uint8_t bytes[static 16]) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN];
    size_t scope = mr_str_find_byte(address, '%', 0);
    if (!mr_str_to_c(scope == SIZE_MAX ? address : mr_str_slice(address, 0, scope), text,
                     sizeof text)) {
        return address;
    }
    if (inet_pton(AF_INET, text, bytes) == 1) {
        return mr_str_of((const char *)bytes, 4);
    }
    if (inet_pton(AF_INET6, text, bytes) != 1) {
        return address;
    }
    bool is_mapped = memcmp(bytes, mapped, sizeof mapped) == 0;
    return is_mapped ? mr_str_of((const char *)bytes + sizeof mapped, 4)
                     : mr_str_of((const char *)bytes, 8);
}

static uint64_t key_of(const struct slow_door *door, mr_str who, mr_str address) {
    struct siphash hash;
    uint64_t who_len = who.len; /* so that no other division of the bytes gives the same key */
    siphash_init_64(&hash, door->key);
    siphash_add(&hash, &who_len, sizeof who_len);
    siphash_add(&hash, who.ptr, who.len);
    siphash_add(&hash, address.ptr, address.len);
    return siphash_end_64(&hash);
}

static struct door_keys keys_of(const struct slow_door *door, mr_str who, mr_str address) {
    uint8_t bytes[16];
    mr_str part = address_part(address, bytes);
    return (struct door_keys){.pair = key_of(door, who, part),
                              .address = key_of(door, MR_STR_NONE, part),
                              .name = key_of(door, who, MR_STR_NONE)};
}

static int64_t longer(int64_t a, int64_t b) {
    return a > b ? a : b;
}

int64_t slow_door_enter(struct slow_door *door, mr_str who, mr_str address, mr_mono now) {
    struct door_keys keys = keys_of(door, who, address);
    bool is_known = entry_find(door->known, keys.pair) != NULL;
    int64_t wait_ms = slow_wait_ms(door->pairs, keys.pair, now);
    wait_ms = longer(wait_ms, slow_wait_ms(door->addresses, keys.address, now));
    if (!is_known) {
        wait_ms = longer(wait_ms, slow_wait_ms(door->names, keys.name, now));
    }
    if (wait_ms == 0) {
        slow_failed(door->pairs, keys.pair, now);
        slow_failed(door->addresses, keys.address, now);
        slow_failed(door->names, keys.name, now);
    }
    return wait_ms;
}

void slow_door_opened(struct slow_door *door, mr_str who, mr_str address, mr_mono now) {
    struct door_keys keys = keys_of(door, who, address);
    slow_succeeded(door->pairs, keys.pair);
    slow_take_back(door->addresses, keys.address);
    slow_take_back(door->names, keys.name);
    slow_failed(door->known, keys.pair, now);
}

void slow_door_take_back(struct slow_door *door, mr_str who, mr_str address) {
    struct door_keys keys = keys_of(door, who, address);
    slow_take_back(door->pairs, keys.pair);
    slow_take_back(door->addresses, keys.address);
    slow_take_back(door->names, keys.name);
}
