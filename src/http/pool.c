/* The connection pool's bookkeeping.
 *
 * Isolation is decided here: what a slow or dead destination may take. Connections are never shared
 * between destinations. Slots (connections open or being opened) are shared so that
 *   - suspect destinations (last window failed) hold at most half of them together,
 *   - the last eighth is for destinations that have no connection at all, so that a healthy one
 *     always gets its first,
 *   - idle ones make room, first of destinations that keep more than two.
 *
 * Both handshake budgets are leaky buckets kept as one number each: the time at which all that was
 * taken will have been paid back (GCRA). A key may run a second ahead, so that a burst of 50 passes
 * and then 50 per second; the thread's time may run 100 ms ahead. A handshake's cost is a constant,
 * the measured one of the dearer kind (RSA certificate, no session), halved where a session is
 * there: measuring each would cost clock readings and gain nothing.
 *
 * A connection carries the peer number that it was made for; http_pool_take gives only an equal
 * one, and closes nothing itself: others are left to their idle timers. */
#include "http/pool.h"

#include "base/mem.h"
#include "base/str.h"
#include "os/clock.h"

#include <openssl/ssl.h>
#include <string.h>

#define HANDSHAKE_COST_NS  (700 * MR_NS_PER_US)
#define RESUMPTION_COST_NS (350 * MR_NS_PER_US)
#define KEY_AHEAD_NS       MR_NS_PER_S
#define TIME_AHEAD_NS      (100 * MR_NS_PER_MS)
#define EVICT_SCAN_MAX     64

mr_err http_pool_init(struct http_pool *pool, const struct http_pool_limits *limits) {
    memset(pool, 0, sizeof *pool);
    pool->limits = *limits;
    mr_list_init(&pool->idle);
    mr_list_init(&pool->sessions);
    pool->buckets = mr_calloc(HTTP_POOL_BUCKETS, sizeof *pool->buckets);
    if (pool->buckets == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_random(&pool->seed, sizeof pool->seed);
    for (size_t i = 0; i < HTTP_POOL_BUCKETS; i++) {
        mr_list_init(&pool->buckets[i]);
    }
    return MR_OK;
}

static void session_drop(struct http_key *key) {
    if (key->session != NULL) {
        SSL_SESSION_free(key->session);
        key->session = NULL;
        mr_list_remove(&key->session_age);
        key->pool->n_sessions--;
    }
}

static void key_free(struct http_key *key) {
    MR_ASSERT(key->n_open == 0 && key->n_waiting == 0 && mr_list_is_empty(&key->starving));
    session_drop(key);
    mr_list_remove(&key->chain);
    mr_free(key);
}

void http_pool_done(struct http_pool *pool) {
    for (size_t i = 0; pool->buckets != NULL && i < HTTP_POOL_BUCKETS; i++) {
        while (!mr_list_is_empty(&pool->buckets[i])) {
            key_free(MR_CONTAINER(pool->buckets[i].next, struct http_key, chain));
        }
    }
    MR_ASSERT(pool->n_open == 0 && pool->n_sessions == 0);
    mr_free(pool->buckets);
    pool->buckets = NULL;
}

static mr_list *bucket_of(const struct http_pool *pool, uint64_t id) {
    uint64_t mixed = (id ^ pool->seed) * UINT64_C(0x9e3779b97f4a7c15);
    return &pool->buckets[(mixed >> 32) & (HTTP_POOL_BUCKETS - 1)];
}

struct http_key *http_pool_key_find(struct http_pool *pool, uint64_t id) {
    const mr_list *bucket = bucket_of(pool, id);
    for (mr_list *at = bucket->next; at != bucket; at = at->next) {
        struct http_key *key = MR_CONTAINER(at, struct http_key, chain);
        if (key->id == id) {
            return key;
        }
    }
    return NULL;
}

struct http_key *http_pool_key(struct http_pool *pool, uint64_t id) {
    struct http_key *key = http_pool_key_find(pool, id);
    if (key != NULL) {
        return key;
    }
    key = MR_NEW(struct http_key);
    if (key == NULL) {
        return NULL;
    }
    key->pool = pool;
    key->id = id;
    mr_list_init(&key->idle);
    mr_list_init(&key->waiting);
    mr_list_init(&key->starving);
    mr_list_init(&key->session_age);
    mr_list_push_front(bucket_of(pool, id), &key->chain);
    return key;
}

void http_pool_set_suspect(struct http_key *key, bool is_suspect) {
    if (key->is_suspect != is_suspect) {
        key->is_suspect = is_suspect;
        key->pool->n_suspect =
            is_suspect ? key->pool->n_suspect + key->n_open : key->pool->n_suspect - key->n_open;
    }
}

void http_pool_sweep(struct http_pool *pool, mr_mono now) {
    for (size_t i = 0; i < HTTP_POOL_BUCKETS; i++) {
        for (mr_list *at = pool->buckets[i].next; at != &pool->buckets[i];) {
            struct http_key *key = MR_CONTAINER(at, struct http_key, chain);
            at = at->next;
            if (key->n_open == 0 && key->n_waiting == 0 && key->session == NULL &&
                key->handshake_next <= now.ns) {
                key_free(key);
            }
        }
    }
}

uint64_t http_pool_peer(const struct http_pool *pool, mr_str host, uint16_t port, bool is_https,
                        uint64_t trust_id, uint64_t guard_epoch) {
    uint64_t numbers[3] = {(uint64_t)port << 1 | (is_https ? 1 : 0), trust_id, guard_epoch};
    uint64_t first = mr_str_hash(host, pool->seed);
    return mr_str_hash(mr_str_of((const char *)numbers, sizeof numbers), first);
}

/* The idle connection that is missed least: of a key with more than its minimum, else the oldest.
 */
static struct http_pool_conn *choose_eviction(struct http_pool *pool) {
    struct http_pool_conn *oldest = http_pool_oldest_idle(pool);
    size_t looked = 0;
    for (mr_list *at = pool->idle.next; at != &pool->idle && looked < EVICT_SCAN_MAX;
         at = at->next, looked++) {
        struct http_pool_conn *conn = MR_CONTAINER(at, struct http_pool_conn, age);
        if (conn->key->n_idle > pool->limits.idle_per_key_min) {
            return conn;
        }
    }
    return oldest;
}

static bool has_slot(const struct http_key *key) {
    const struct http_pool *pool = key->pool;
    uint32_t max = pool->limits.connections_max;
    uint32_t open = key->n_open == 0 ? max : max - max / 8;
    return pool->n_open < open;
}

enum http_admission http_pool_admit(struct http_key *key, bool is_tls, mr_mono now,
                                    struct http_pool_conn **ret_evict, mr_mono *ret_again) {
    struct http_pool *pool = key->pool;
    *ret_evict = NULL;
    uint32_t half = pool->limits.connections_max / 2;
    if (key->is_suspect && pool->n_suspect >= (half > 0 ? half : 1)) {
        return HTTP_NO_SLOT;
    }
    if (!has_slot(key)) {
        *ret_evict = choose_eviction(pool);
        return HTTP_NO_SLOT;
    }
    if (is_tls) {
        int64_t step = MR_NS_PER_S / pool->limits.handshakes_per_second;
        int64_t mine = key->handshake_next > now.ns ? key->handshake_next : now.ns;
        int64_t all = pool->time_next > now.ns ? pool->time_next : now.ns;
        int64_t cost = key->session != NULL ? RESUMPTION_COST_NS : HANDSHAKE_COST_NS;
        if (mine - now.ns + step > KEY_AHEAD_NS) {
            *ret_again = (mr_mono){mine + step - KEY_AHEAD_NS};
            return HTTP_NO_HANDSHAKE;
        }
        if (all - now.ns > TIME_AHEAD_NS) {
            *ret_again = (mr_mono){all - TIME_AHEAD_NS};
            return HTTP_NO_TIME;
        }
        key->handshake_next = mine + step;
        pool->time_next = all + cost * 100 / pool->limits.handshake_percent;
    }
    key->n_open++;
    pool->n_open++;
    pool->n_suspect += key->is_suspect ? 1 : 0;
    return HTTP_ADMITTED;
}

void http_pool_leave(struct http_key *key) {
    struct http_pool *pool = key->pool;
    MR_ASSERT(key->n_open > 0 && pool->n_open > 0);
    key->n_open--;
    pool->n_open--;
    pool->n_suspect -= key->is_suspect ? 1 : 0;
}

void http_pool_remove_idle(struct http_pool_conn *conn) {
    if (conn->is_idle) {
        mr_list_remove(&conn->node);
        mr_list_remove(&conn->age);
        conn->is_idle = false;
        conn->key->n_idle--;
        conn->key->pool->n_idle--;
    }
}

struct http_pool_conn *http_pool_take(struct http_key *key, uint64_t peer) {
    for (mr_list *at = key->idle.next; at != &key->idle; at = at->next) {
        struct http_pool_conn *conn = MR_CONTAINER(at, struct http_pool_conn, node);
        if (conn->peer == peer) {
            http_pool_remove_idle(conn);
            return conn;
        }
    }
    return NULL;
}

bool http_pool_put(struct http_pool_conn *conn) {
    struct http_key *key = conn->key;
    MR_ASSERT(!conn->is_idle);
    if (conn->generation != key->generation) {
        return false;
    }
    mr_list_push_front(&key->idle, &conn->node);
    mr_list_push_back(&key->pool->idle, &conn->age);
    conn->is_idle = true;
    key->n_idle++;
    key->pool->n_idle++;
    return true;
}

struct http_pool_conn *http_pool_oldest_idle(struct http_pool *pool) {
    return mr_list_is_empty(&pool->idle)
               ? NULL
               : MR_CONTAINER(pool->idle.next, struct http_pool_conn, age);
}

void http_pool_forget(struct http_key *key) {
    session_drop(key);
    key->generation++;
}

SSL_SESSION *http_pool_session(const struct http_key *key, uint64_t peer) {
    return key->session != NULL && key->session_of == peer ? key->session : NULL;
}

void http_pool_session_put(struct http_key *key, uint64_t peer, SSL_SESSION *session) {
    struct http_pool *pool = key->pool;
    session_drop(key);
    if (pool->n_sessions >= HTTP_POOL_SESSIONS_MAX) {
        session_drop(MR_CONTAINER(pool->sessions.next, struct http_key, session_age));
    }
    key->session = session;
    key->session_of = peer;
    mr_list_push_back(&pool->sessions, &key->session_age);
    pool->n_sessions++;
}
