/* Connections per address. See connection.h.
 *
 * A table of open addressing with room for twice the connections a server may have, so it is never
 * more than half full and never grows. An entry that falls to zero is taken out by moving up what
 * follows it. An IPv6 client owns a /64 at least, so only the first 64 bits count. The seed keeps
 * peers from choosing addresses that collide. */
#include "http/connection.h"

#include "base/mem.h"

struct http_address {
    uint8_t key[17]; /* family, address */
    uint32_t count;  /* 0: free */
};

mr_err http_addresses_init(struct http_addresses *addresses, size_t n_max, uint64_t seed) {
    size_t n = 16;
    while (n < n_max * 2) {
        n *= 2;
    }
    addresses->slots = mr_calloc(n, sizeof *addresses->slots);
    addresses->mask = n - 1;
    addresses->seed = seed;
    return addresses->slots == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

void http_addresses_done(struct http_addresses *addresses) {
    mr_free(addresses->slots);
    addresses->slots = NULL;
}

static void make_key(const os_addr *peer, uint8_t key[static 17]) {
    memset(key, 0, 17);
    key[0] = peer->family;
    memcpy(key + 1, peer->ip, peer->family == OS_FAMILY_V6 ? 8 : 4);
}

static size_t home_of(const struct http_addresses *addresses, const uint8_t *key) {
    return (size_t)mr_str_hash(mr_str_of((const char *)key, 17), addresses->seed) & addresses->mask;
}

/* The slot of that key, or the free one where it belongs. */
static size_t find(const struct http_addresses *addresses, const uint8_t *key) {
    size_t at = home_of(addresses, key);
    while (addresses->slots[at].count > 0 && memcmp(addresses->slots[at].key, key, 17) != 0) {
        at = (at + 1) & addresses->mask;
    }
    return at;
}

bool http_addresses_enter(struct http_addresses *addresses, const os_addr *peer, size_t max) {
    uint8_t key[17];
    make_key(peer, key);
    struct http_address *slot = &addresses->slots[find(addresses, key)];
    if (slot->count >= max) {
        return false;
    }
    memcpy(slot->key, key, sizeof key);
    slot->count++;
    return true;
}

void http_addresses_leave(struct http_addresses *addresses, const os_addr *peer) {
    uint8_t key[17];
    make_key(peer, key);
    size_t hole = find(addresses, key);
    MR_ASSERT(addresses->slots[hole].count > 0);
    if (--addresses->slots[hole].count > 0) {
        return;
    }
    size_t at = hole;
    for (;;) {
        at = (at + 1) & addresses->mask;
        if (addresses->slots[at].count == 0) {
            return;
        }
        /* Moves up what the hole would cut off from its home. */
        size_t from_home = (at - home_of(addresses, addresses->slots[at].key)) & addresses->mask;
        size_t from_hole = (at - hole) & addresses->mask;
        if (from_home >= from_hole) {
            addresses->slots[hole] = addresses->slots[at];
            addresses->slots[at].count = 0;
            hole = at;
        }
    }
}
