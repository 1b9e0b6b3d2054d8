/* The address guard.
 *
 * A customer chooses the URL, and the connection is made from inside the operator's network:
 * without a judge in between, a destination is a way to reach the machine itself, its neighbours
 * and the cloud's metadata service. The judge works on addresses, never on names, and on every
 * address of an answer, since the system might dial any of them; one refused address refuses the
 * whole answer.
 *
 * Order of judgement, for one address:
 *   1. allow_networks: an operator's word wins over everything below.
 *   2. The machine's own interface addresses: a public address of ours may still lead to services
 *      that listen for ourselves.
 *   3. v6 outside 2000::/3: refused, but for 64:ff9b::/96 (RFC 6052), which is judged by the v4
 *      address it embeds.
 *   4. The table: the most specific row that holds the address decides. Rows that the IANA
 *      registries call globally reachable are in the table too, because they lie within blocks that
 *      are not. Two kinds of v6 row are judged by what they embed: 6to4 (bits 16–47) and Teredo
 *      (server in bits 32–63, client in bits 96–127 inverted): all embedded ones must pass.
 *
 * The registries change about once a year; the tables are those of 2025. An address in no row is
 * global.
 *
 * net_judged_addr carries a seal: a hash over its bytes that only this file computes. It is no
 * cryptography, it is a tripwire for code that would build one by itself. */
#include "net/guard.h"

#include "base/mem.h"
#include "base/time.h"
#include "os/interfaces.h"

#include <stdio.h>
#include <string.h>

#define SEAL_SEED UINT64_C(0x6d696c6c72616365)

enum verdict {
    VERDICT_GLOBAL = 0,
    VERDICT_REFUSED,
    VERDICT_EMBEDS_NAT64,  /* v4 in the last 4 bytes */
    VERDICT_EMBEDS_6TO4,   /* v4 in bytes 2–5 */
    VERDICT_EMBEDS_TEREDO, /* v4 in bytes 4–7, and inverted in bytes 12–15 */
};

struct row {
    struct net_cidr cidr;
    enum verdict verdict;
    const char *name; /* as the registry has it */
};

#define V4(a, b, c, d, len, verdict, name)                                                         \
    { {OS_FAMILY_V4, (len), {(a), (b), (c), (d)}}, (verdict), (name) }
/* The four leading groups of a v6 block. */
#define V6(a, b, c, d, len, verdict, name)                                                         \
    {                                                                                              \
        {OS_FAMILY_V6,                                                                             \
         (len),                                                                                    \
         {(a) >> 8, (a)&0xff, (b) >> 8, (b)&0xff, (c) >> 8, (c)&0xff, (d) >> 8, (d)&0xff}},        \
            (verdict), (name)                                                                      \
    }
/* Two leading groups and the last one. */
#define V6_HOST(a, b, last, verdict, name)                                                         \
    {                                                                                              \
        {OS_FAMILY_V6, 128, {(a) >> 8, (a)&0xff, (b) >> 8, (b)&0xff, [15] = (last)}}, (verdict),   \
            (name)                                                                                 \
    }

static const struct row v4_rows[] = {
    V4(0, 0, 0, 0, 8, VERDICT_REFUSED, "\"This network\", RFC 791"),
    V4(10, 0, 0, 0, 8, VERDICT_REFUSED, "Private-Use, RFC 1918"),
    V4(100, 64, 0, 0, 10, VERDICT_REFUSED, "Shared Address Space, RFC 6598"),
    V4(127, 0, 0, 0, 8, VERDICT_REFUSED, "Loopback, RFC 1122"),
    V4(168, 63, 129, 16, 32, VERDICT_REFUSED, "Azure's platform address"),
    V4(169, 254, 0, 0, 16, VERDICT_REFUSED, "Link Local, RFC 3927"),
    V4(172, 16, 0, 0, 12, VERDICT_REFUSED, "Private-Use, RFC 1918"),
    V4(192, 0, 0, 0, 24, VERDICT_REFUSED, "IETF Protocol Assignments, RFC 6890"),
    V4(192, 0, 0, 0, 29, VERDICT_REFUSED, "IPv4 Service Continuity Prefix, RFC 7335"),
    V4(192, 0, 0, 8, 32, VERDICT_REFUSED, "IPv4 dummy address, RFC 7600"),
    V4(192, 0, 0, 9, 32, VERDICT_GLOBAL, "Port Control Protocol Anycast, RFC 7723"),
    V4(192, 0, 0, 10, 32, VERDICT_GLOBAL, "TURN Anycast, RFC 8155"),
    V4(192, 0, 0, 170, 31, VERDICT_REFUSED, "NAT64/DNS64 Discovery, RFC 8880"),
    V4(192, 0, 2, 0, 24, VERDICT_REFUSED, "Documentation (TEST-NET-1), RFC 5737"),
    V4(192, 31, 196, 0, 24, VERDICT_GLOBAL, "AS112-v4, RFC 7535"),
    V4(192, 52, 193, 0, 24, VERDICT_GLOBAL, "AMT, RFC 7450"),
    V4(192, 88, 99, 0, 24, VERDICT_REFUSED, "Deprecated 6to4 Relay Anycast, RFC 7526"),
    V4(192, 168, 0, 0, 16, VERDICT_REFUSED, "Private-Use, RFC 1918"),
    V4(192, 175, 48, 0, 24, VERDICT_GLOBAL, "Direct Delegation AS112 Service, RFC 7534"),
    V4(198, 18, 0, 0, 15, VERDICT_REFUSED, "Benchmarking, RFC 2544"),
    V4(198, 51, 100, 0, 24, VERDICT_REFUSED, "Documentation (TEST-NET-2), RFC 5737"),
    V4(203, 0, 113, 0, 24, VERDICT_REFUSED, "Documentation (TEST-NET-3), RFC 5737"),
    V4(224, 0, 0, 0, 4, VERDICT_REFUSED, "Multicast, RFC 5771"),
    V4(240, 0, 0, 0, 4, VERDICT_REFUSED, "Reserved, RFC 1112"),
    V4(255, 255, 255, 255, 32, VERDICT_REFUSED, "Limited Broadcast, RFC 919"),
};

static const struct row v6_rows[] = {
    {{OS_FAMILY_V6, 128, {0}}, VERDICT_REFUSED, "Unspecified Address, RFC 4291"},
    {{OS_FAMILY_V6, 128, {[15] = 1}}, VERDICT_REFUSED, "Loopback Address, RFC 4291"},
    {{OS_FAMILY_V6, 96, {[10] = 0xff, [11] = 0xff}},
     VERDICT_REFUSED,
     "IPv4-mapped Address, RFC 4291"},
    V6(0x64, 0xff9b, 0, 0, 96, VERDICT_EMBEDS_NAT64, "IPv4-IPv6 Translation, RFC 6052"),
    V6(0x64, 0xff9b, 1, 0, 48, VERDICT_REFUSED, "Local-Use IPv4-IPv6 Translation, RFC 8215"),
    V6(0x100, 0, 0, 0, 64, VERDICT_REFUSED, "Discard-Only Address Block, RFC 6666"),
    V6(0x100, 0, 0, 1, 64, VERDICT_REFUSED, "Dummy IPv6 Prefix, RFC 9780"),
    V6(0x2001, 0, 0, 0, 23, VERDICT_REFUSED, "IETF Protocol Assignments, RFC 2928"),
    V6(0x2001, 0, 0, 0, 32, VERDICT_EMBEDS_TEREDO, "TEREDO, RFC 4380"),
    V6_HOST(0x2001, 1, 1, VERDICT_GLOBAL, "Port Control Protocol Anycast, RFC 7723"),
    V6_HOST(0x2001, 1, 2, VERDICT_GLOBAL, "TURN Anycast, RFC 8155"),
    V6_HOST(0x2001, 1, 3, VERDICT_GLOBAL, "DNS-SD SRP Anycast, RFC 9665"),
    V6(0x2001, 2, 0, 0, 48, VERDICT_REFUSED, "Benchmarking, RFC 5180"),
    V6(0x2001, 3, 0, 0, 32, VERDICT_GLOBAL, "AMT, RFC 7450"),
    V6(0x2001, 4, 0x112, 0, 48, VERDICT_GLOBAL, "AS112-v6, RFC 7535"),
    V6(0x2001, 0x10, 0, 0, 28, VERDICT_REFUSED, "Deprecated ORCHID, RFC 4843"),
    V6(0x2001, 0x20, 0, 0, 28, VERDICT_GLOBAL, "ORCHIDv2, RFC 7343"),
    V6(0x2001, 0x30, 0, 0, 28, VERDICT_GLOBAL, "Drone Remote ID, RFC 9374"),
    V6(0x2001, 0xdb8, 0, 0, 32, VERDICT_REFUSED, "Documentation, RFC 3849"),
    V6(0x2002, 0, 0, 0, 16, VERDICT_EMBEDS_6TO4, "6to4, RFC 3056"),
    V6(0x2620, 0x4f, 0x8000, 0, 48, VERDICT_GLOBAL, "Direct Delegation AS112, RFC 7534"),
    V6(0x3fff, 0, 0, 0, 20, VERDICT_REFUSED, "Documentation, RFC 9637"),
    V6(0x5f00, 0, 0, 0, 16, VERDICT_REFUSED, "Segment Routing (SRv6) SIDs, RFC 9602"),
    V6(0xfc00, 0, 0, 0, 7, VERDICT_REFUSED, "Unique-Local, RFC 4193"),
    V6(0xfe80, 0, 0, 0, 10, VERDICT_REFUSED, "Link-Local Unicast, RFC 4291"),
    V6(0xff00, 0, 0, 0, 8, VERDICT_REFUSED, "Multicast, RFC 4291"),
};

static const struct net_cidr v6_global = {OS_FAMILY_V6, 3, {0x20}};

struct net_guard {
    struct net_cidr *allow; /* owned */
    size_t n_allow;
    os_addr *own; /* owned */
    size_t n_own;
    uint64_t epoch;
    bool is_own_given; /* by net_guard_set_own */
};

/* Addresses gathered from the interfaces. */
struct gather {
    os_addr *list;
    size_t n;
    size_t cap;
    bool is_full;
};

static void gather_one(void *arg, const os_addr *addr) {
    struct gather *gather = arg;
    if (gather->n == gather->cap) {
        gather->is_full = true;
        return;
    }
    gather->list[gather->n++] = *addr;
}

static mr_err copy_allow(const struct net_cidr *allow, size_t n, struct net_cidr **ret_copy) {
    if (n > NET_GUARD_ALLOW_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    struct net_cidr *copy = mr_calloc(n + 1, sizeof *copy);
    if (copy == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (n > 0) {
        memcpy(copy, allow, n * sizeof *copy);
    }
    *ret_copy = copy;
    return MR_OK;
}

mr_err net_guard_new(const struct net_cidr *allow, size_t n_allow, struct net_guard **ret_guard) {
    struct net_guard *guard = MR_NEW(struct net_guard);
    if (guard == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = copy_allow(allow, n_allow, &guard->allow);
    if (mr_is_ok(err)) {
        guard->n_allow = n_allow;
        err = net_guard_refresh(guard);
    }
    if (mr_is_err(err)) {
        net_guard_free(guard);
        return err;
    }
    guard->epoch = 1;
    *ret_guard = guard;
    return MR_OK;
}

void net_guard_free(struct net_guard *guard) {
    if (guard == NULL) {
        return;
    }
    mr_free(guard->allow);
    mr_free(guard->own);
    mr_free(guard);
}

mr_err net_guard_set_allow(struct net_guard *guard, const struct net_cidr *allow, size_t n_allow) {
    struct net_cidr *copy;
    MR_TRY(copy_allow(allow, n_allow, &copy));
    mr_free(guard->allow);
    guard->allow = copy;
    guard->n_allow = n_allow;
    guard->epoch++;
    return MR_OK;
}

/* Takes list. The order in which the kernel tells its addresses is stable, so that a plain
 * comparison serves; a spurious change costs a few new connections. */
static void adopt_own(struct net_guard *guard, os_addr *list, size_t n) {
    bool is_same = n == guard->n_own;
    for (size_t i = 0; is_same && i < n; i++) {
        is_same = net_addr_same_host(&list[i], &guard->own[i]);
    }
    mr_free(guard->own);
    guard->own = list;
    guard->n_own = n;
    guard->epoch += is_same ? 0 : 1;
}

mr_err net_guard_refresh(struct net_guard *guard) {
    if (guard->is_own_given) {
        return MR_OK;
    }
    struct gather gather = {.cap = NET_GUARD_OWN_MAX};
    gather.list = mr_calloc(gather.cap, sizeof *gather.list);
    if (gather.list == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = os_interfaces_list(gather_one, &gather);
    if (mr_is_ok(err) && gather.is_full) {
        err = MR_ERR(MR_E_LIMIT);
    }
    if (mr_is_err(err)) {
        mr_free(gather.list);
        return err;
    }
    os_addr *smaller = mr_realloc(gather.list, (gather.n + 1) * sizeof *smaller);
    adopt_own(guard, smaller != NULL ? smaller : gather.list, gather.n);
    return MR_OK;
}

mr_err net_guard_set_own(struct net_guard *guard, const os_addr *own, size_t n_own) {
    os_addr *copy = mr_calloc(n_own + 1, sizeof *copy);
    if (copy == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (n_own > 0) {
        memcpy(copy, own, n_own * sizeof *copy);
    }
    adopt_own(guard, copy, n_own);
    guard->is_own_given = true;
    return MR_OK;
}

uint64_t net_guard_epoch(const struct net_guard *guard) {
    return guard->epoch;
}

static bool is_allowed(const struct net_guard *guard, const os_addr *addr) {
    for (size_t i = 0; i < guard->n_allow; i++) {
        if (net_cidr_contains(&guard->allow[i], addr)) {
            return true;
        }
    }
    return false;
}

static bool is_own(const struct net_guard *guard, const os_addr *addr) {
    for (size_t i = 0; i < guard->n_own; i++) {
        if (net_addr_same_host(&guard->own[i], addr)) {
            return true;
        }
    }
    return false;
}

/* The most specific row; NULL where there is none. */
static const struct row *find_row(const os_addr *addr) {
    bool is_v4 = addr->family == OS_FAMILY_V4;
    const struct row *rows = is_v4 ? v4_rows : v6_rows;
    size_t n = is_v4 ? sizeof v4_rows / sizeof *v4_rows : sizeof v6_rows / sizeof *v6_rows;
    const struct row *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (net_cidr_contains(&rows[i].cidr, addr) &&
            (best == NULL || rows[i].cidr.prefix_len > best->cidr.prefix_len)) {
            best = &rows[i];
        }
    }
    return best;
}

static os_addr embedded_v4(const os_addr *addr, size_t at, uint8_t invert) {
    os_addr inner = {.family = OS_FAMILY_V4};
    for (size_t i = 0; i < 4; i++) {
        inner.ip[i] = addr->ip[at + i] ^ invert;
    }
    return inner;
}

/* Judges a v4 address, or one row of the v6 table. Writes the reason without the address. */
static bool judge_plain(const struct net_guard *guard, const os_addr *addr, const struct row *row,
                        char *why, size_t why_size) {
    if (is_own(guard, addr)) {
        snprintf(why, why_size, "an address of this machine");
        return false;
    }
    if (row != NULL && row->verdict == VERDICT_REFUSED) {
        os_addr base = {.family = row->cidr.family};
        memcpy(base.ip, row->cidr.ip, sizeof base.ip);
        char text[OS_ADDR_TEXT_SIZE];
        os_addr_format_ip(&base, text);
        snprintf(why, why_size, "in %s/%u (%s)", text, (unsigned)row->cidr.prefix_len, row->name);
        return false;
    }
    if (row == NULL && addr->family == OS_FAMILY_V6 && !net_cidr_contains(&v6_global, addr)) {
        snprintf(why, why_size, "outside 2000::/3 (not Global Unicast, RFC 4291)");
        return false;
    }
    return true;
}

/* Judges the v4 address inside a v6 one. */
static bool judge_embedded(const struct net_guard *guard, const os_addr *inner, const char *kind,
                           char *why, size_t why_size) {
    char inner_why[112];
    if (is_allowed(guard, inner) ||
        judge_plain(guard, inner, find_row(inner), inner_why, sizeof inner_why)) {
        return true;
    }
    char text[OS_ADDR_TEXT_SIZE];
    os_addr_format_ip(inner, text);
    snprintf(why, why_size, "%s for %s, %s", kind, text, inner_why);
    return false;
}

static bool judge(const struct net_guard *guard, const os_addr *addr, char *why, size_t why_size) {
    if (is_allowed(guard, addr)) {
        return true;
    }
    const struct row *row = find_row(addr);
    if (!judge_plain(guard, addr, row, why, why_size)) {
        return false;
    }
    os_addr inner;
    switch (row != NULL ? row->verdict : VERDICT_GLOBAL) {
    case VERDICT_GLOBAL:
    case VERDICT_REFUSED: /* judge_plain has refused it */
        return true;
    case VERDICT_EMBEDS_NAT64:
        inner = embedded_v4(addr, 12, 0);
        return judge_embedded(guard, &inner, "NAT64", why, why_size);
    case VERDICT_EMBEDS_6TO4:
        inner = embedded_v4(addr, 2, 0);
        return judge_embedded(guard, &inner, "6to4", why, why_size);
    case VERDICT_EMBEDS_TEREDO:
        inner = embedded_v4(addr, 4, 0);
        if (!judge_embedded(guard, &inner, "Teredo by a server", why, why_size)) {
            return false;
        }
        inner = embedded_v4(addr, 12, 0xff);
        return judge_embedded(guard, &inner, "Teredo", why, why_size);
    }
    return false;
}

static uint64_t seal_of(const struct net_judged_addr *judged) {
    return mr_str_hash(mr_str_of((const char *)judged->opaque_, 3 * sizeof(uint64_t)), SEAL_SEED);
}

static struct net_judged_addr sealed(const os_addr *addr) {
    struct net_judged_addr judged = {{0}};
    memcpy(judged.opaque_, addr->ip, sizeof addr->ip);
    judged.opaque_[2] = (uint64_t)addr->family << 16 | addr->port;
    judged.opaque_[3] = seal_of(&judged);
    return judged;
}

mr_err net_guard_judge(const struct net_guard *guard, const os_addr *addr,
                       struct net_judged_addr *ret_judged, struct net_refusal *ret_refusal) {
    char why[208] = "not an internet address";
    if (addr->family == OS_FAMILY_NONE || !judge(guard, addr, why, sizeof why)) {
        if (ret_refusal != NULL) {
            char text[OS_ADDR_TEXT_SIZE];
            os_addr_format_ip(addr, text);
            snprintf(ret_refusal->text, sizeof ret_refusal->text, "%.45s is %.200s", text, why);
        }
        return MR_ERR(MR_E_DENIED);
    }
    *ret_judged = sealed(addr);
    return MR_OK;
}

mr_err net_guard_admit(const os_addr *addr, struct net_judged_addr *ret_judged) {
    if (addr->family == OS_FAMILY_NONE) {
        return MR_ERR(MR_E_DENIED);
    }
    *ret_judged = sealed(addr);
    return MR_OK;
}

mr_err net_guard_judge_all(const struct net_guard *guard, const os_addr *addrs, size_t n,
                           struct net_judged_addr *ret_judged, struct net_refusal *ret_refusal) {
    if (n == 0) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    for (size_t i = 0; i < n; i++) {
        mr_err err = net_guard_judge(guard, &addrs[i], &ret_judged[i], ret_refusal);
        if (mr_is_err(err)) {
            /* What was judged before must not be dialled either. */
            memset(ret_judged, 0, n * sizeof *ret_judged);
            return err;
        }
    }
    return MR_OK;
}

os_addr net_judged_addr_get(const struct net_judged_addr *judged) {
    MR_ASSERT(judged->opaque_[3] == seal_of(judged) && judged->opaque_[2] != 0);
    os_addr addr = {.family = (uint8_t)(judged->opaque_[2] >> 16),
                    .port = (uint16_t)(judged->opaque_[2] & 0xffff)};
    memcpy(addr.ip, judged->opaque_, sizeof addr.ip);
    return addr;
}
