/* The HTTP client: calls in, connections shared out, results told.
 *
 * A call goes at once to an idle connection of its key that leads to the same peer. Otherwise it
 * waits in its key's queue until the pool admits a new connection: slots, the destination's
 * handshake rate and this thread's handshake time are scarce (pool.c). Keys, not calls, stand in
 * the client's queues, and each gets one slot a turn, so that a destination with thousands of
 * waiting calls has no more chances than one with a single call.
 *
 * Nothing is closed, and no call is told, from inside a function that others call: connections are
 * doomed and calls end in lists that one deferred task of the loop works off. So an on_done may
 * start and cancel what it likes, and slices given to it stay valid. The exception is a call that
 * ends by its response: it is told directly from the stream's callback, with slices into the bytes
 * received.
 *
 * Steady state: calls and connections come from free lists and keep their buffers; head and body
 * leave with one sendmsg, the response comes with one recv; no allocation.
 *
 * The address guard is asked whenever a connection is made. Its epoch is part of the peer number,
 * so that a connection of yesterday's rules is never used again. */
#include "http/call.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

#define KEEPER_MS          30000
#define FREE_CALLS_MAX     1024
#define FREE_CONNS_MAX     1024
#define BUDGET_KEYS_A_TURN 256
#define HEAD_BYTES_MAX     (64 * 1024) /* of a request */
#define BUF_KEPT_MAX       8192        /* larger ones are not kept on the free list */

/* ---- connections ---- */

struct http_conn *http_client_conn_new(struct http_client *client) {
    mr_list *node = mr_list_pop_front(&client->free_conns);
    struct http_conn *conn;
    if (node != NULL) {
        conn = MR_CONTAINER(node, struct http_conn, doomed);
        client->n_free_conns--;
        memset(conn, 0, sizeof *conn);
    } else {
        conn = MR_NEW(struct http_conn);
    }
    if (conn != NULL) {
        conn->client = client;
        mr_list_init(&conn->doomed);
        mr_list_init(&conn->pooled.node);
        mr_list_init(&conn->pooled.age);
        loop_timer_init(&conn->idle_timer, http_conn_on_idle_timer);
    }
    return conn;
}

static void conn_close(struct http_conn *conn) {
    struct http_client *client = conn->client;
    loop_timer_cancel(client->loop, &conn->idle_timer);
    if (conn->is_aborted) {
        stream_abort(&conn->stream);
    } else {
        stream_close(&conn->stream);
    }
    net_trust_unref(conn->trust);
    http_pool_leave(conn->pooled.key);
    mr_metric_set(client->metrics, MR_METRIC_OUT_CONNECTIONS, client->pool.n_open);
    if (client->n_free_conns < FREE_CONNS_MAX && !client->is_closing) {
        mr_list_push_front(&client->free_conns, &conn->doomed);
        client->n_free_conns++;
    } else {
        mr_free(conn);
    }
}

static void close_doomed(struct http_client *client) {
    mr_list *node;
    while ((node = mr_list_pop_front(&client->doomed)) != NULL) {
        conn_close(MR_CONTAINER(node, struct http_conn, doomed));
    }
}

void http_client_close_idle(struct http_client *client) {
    struct http_pool_conn *pooled;
    while ((pooled = http_pool_oldest_idle(&client->pool)) != NULL) {
        http_conn_doom(MR_CONTAINER(pooled, struct http_conn, pooled), false);
    }
}

void http_client_forget(struct http_client *client, uint64_t pool_key) {
    struct http_key *key = http_pool_key_find(&client->pool, pool_key);
    if (key == NULL) {
        return;
    }
    http_pool_forget(key);
    while (!mr_list_is_empty(&key->idle)) {
        struct http_pool_conn *pooled = MR_CONTAINER(key->idle.next, struct http_pool_conn, node);
        http_conn_doom(MR_CONTAINER(pooled, struct http_conn, pooled), false);
    }
}

/* ---- the queue ---- */

void http_client_later(struct http_client *client) {
    loop_defer(client->loop, &client->task);
}

void http_client_unqueue(struct http_call *call) {
    mr_list_remove(&call->queue);
    call->client->n_waiting--;
    if (--call->key->n_waiting == 0) {
        mr_list_remove(&call->key->starving);
    }
}

/* Where the key waits for what it lacks. */
static void starve(struct http_key *key, enum http_admission why, mr_mono again) {
    struct http_client *client = MR_CONTAINER(key->pool, struct http_client, pool);
    mr_list_remove(&key->starving);
    if (why == HTTP_NO_SLOT) {
        mr_list_push_back(&client->short_of_slots[key->is_suspect ? 1 : 0], &key->starving);
        return;
    }
    mr_list_push_back(&client->short_of_budget, &key->starving);
    mr_mono due = mr_mono_add_ms(loop_now(client->loop), 1);
    due = mr_mono_before(again, due) ? due : again;
    if (!loop_timer_is_set(&client->budget_timer)) {
        loop_timer_set(client->loop, &client->budget_timer, due);
    }
}

void http_client_idle(struct http_client *client, struct http_key *key) {
    if (key->n_waiting > 0 && mr_list_is_empty(&key->starving)) {
        starve(key, HTTP_NO_SLOT, MR_MONO_NEVER);
    }
    if (!mr_list_is_empty(&client->short_of_slots[0]) ||
        !mr_list_is_empty(&client->short_of_slots[1])) {
        http_client_later(client);
    }
}

/* Lets waiting calls of the key go, at most n_max on new connections. */
static void pump_key(struct http_key *key, uint32_t n_max) {
    struct http_client *client = MR_CONTAINER(key->pool, struct http_client, pool);
    mr_mono now = loop_now(client->loop);
    uint32_t n = 0;
    mr_list_remove(&key->starving);
    while (!mr_list_is_empty(&key->waiting)) {
        struct http_call *call = MR_CONTAINER(key->waiting.next, struct http_call, queue);
        struct http_pool_conn *pooled = call->must_connect ? NULL : http_pool_take(key, call->peer);
        if (pooled != NULL) {
            http_client_unqueue(call);
            http_call_use(call, MR_CONTAINER(pooled, struct http_conn, pooled));
            continue;
        }
        struct http_pool_conn *evict = NULL;
        mr_mono again = now;
        enum http_admission admission = HTTP_NO_SLOT;
        if (n < n_max) {
            admission = http_pool_admit(key, call->url.is_https, now, &evict, &again);
        }
        if (admission != HTTP_ADMITTED) {
            if (evict != NULL) {
                http_conn_doom(MR_CONTAINER(evict, struct http_conn, pooled), false);
            }
            starve(key, admission, again);
            return;
        }
        n++;
        http_client_unqueue(call);
        http_call_connect(call);
    }
}

void http_client_enqueue(struct http_call *call, bool at_front) {
    struct http_key *key = call->key;
    call->state = HTTP_CALL_WAITING;
    if (at_front) {
        mr_list_push_front(&key->waiting, &call->queue);
    } else {
        mr_list_push_back(&key->waiting, &call->queue);
    }
    key->n_waiting++;
    call->client->n_waiting++;
    /* Of a request that is sent again the first deadline still holds. */
    call->total_due = call->has_begun
                          ? call->total_due
                          : mr_mono_add_ms(loop_now(call->client->loop), call->total_ms);
    call->phase_due = MR_MONO_NEVER;
    http_call_arm(call);
    if (mr_list_is_empty(&key->starving)) {
        pump_key(key, UINT32_MAX);
    }
}

/* Free slots go round: one for each key that waits. A key that is refused goes to the back, and the
 * round is over. */
static void pump_slots(struct http_client *client) {
    for (size_t kind = 0; kind < 2; kind++) {
        mr_list *list = &client->short_of_slots[kind];
        while (!mr_list_is_empty(list)) {
            struct http_key *key = MR_CONTAINER(list->next, struct http_key, starving);
            uint32_t before = client->n_waiting;
            pump_key(key, 1);
            if (client->n_waiting == before) {
                break;
            }
        }
    }
}

static void on_budget(struct loop_timer *timer) {
    struct http_client *client = MR_CONTAINER(timer, struct http_client, budget_timer);
    mr_list batch;
    mr_list_init(&batch);
    for (size_t i = 0; i < BUDGET_KEYS_A_TURN && !mr_list_is_empty(&client->short_of_budget); i++) {
        mr_list_push_back(&batch, mr_list_pop_front(&client->short_of_budget));
    }
    mr_list *node;
    while ((node = mr_list_pop_front(&batch)) != NULL) {
        pump_key(MR_CONTAINER(node, struct http_key, starving), UINT32_MAX);
    }
    if (!mr_list_is_empty(&client->short_of_budget) && !loop_timer_is_set(timer)) {
        loop_timer_set(client->loop, timer, mr_mono_add_ms(loop_now(client->loop), 1));
    }
}

/* ---- the end of calls ---- */

static void buf_trim(mr_buf *buf) {
    size_t max = buf->max;
    if (buf->cap > BUF_KEPT_MAX) {
        mr_buf_done(buf);
        mr_buf_init(buf, max);
    } else {
        mr_buf_reset(buf);
    }
}

static void call_free(struct http_call *call) {
    mr_buf_done(&call->text);
    mr_buf_done(&call->head_copy);
    mr_buf_done(&call->kept);
    mr_free(call);
}

static void call_recycle(struct http_call *call) {
    struct http_client *client = call->client;
    MR_ASSERT(call->conn == NULL && call->connecting == NULL);
    mr_list_remove(&call->node);
    mr_list_remove(&call->queue);
    client->n_calls--;
    net_trust_unref(call->trust);
    call->trust = NULL;
    if (call->body != call->body_inline) {
        mr_free(call->body);
        call->body = call->body_inline;
    }
    if (call->tls_text != NULL) {
        mr_free(call->tls_text);
        call->tls_text = NULL;
    }
    call->state = HTTP_CALL_FREE;
    if (client->n_free_calls >= FREE_CALLS_MAX || client->is_closing) {
        call_free(call);
        return;
    }
    buf_trim(&call->text);
    buf_trim(&call->head_copy);
    buf_trim(&call->kept);
    mr_list_push_front(&client->free_calls, &call->node);
    client->n_free_calls++;
}

void http_client_tell(struct http_call *call, mr_fields fields) {
    struct http_client *client = call->client;
    struct http_result result = {
        .failure = call->failure,
        .step = call->step,
        .status = call->status,
        .fields = fields,
        .body = mr_buf_view(&call->kept),
        .is_body_cut = call->is_body_cut,
        .is_reused = call->is_reused,
        .sends = call->sends,
        .has_peer = call->peer_addr.family != OS_FAMILY_NONE,
        .peer = call->peer_addr,
        .queue_ns = call->queue_ns,
        .total_ns = mr_mono_diff_ns(loop_now(client->loop), call->started),
        .call = call,
    };
    if (call->failure != HTTP_FAIL_NONE) {
        result.detail = mr_str_c(call->detail);
        result.is_unanswered = !call->has_bytes && (call->failure == HTTP_FAIL_RESPONSE ||
                                                    call->failure == HTTP_FAIL_REQUEST);
        result.is_stale_reuse =
            call->is_reused && !call->has_bytes && call->is_body_gone &&
            (call->failure == HTTP_FAIL_RESPONSE || call->failure == HTTP_FAIL_REQUEST);
    }
    memcpy(result.steps, call->steps, sizeof result.steps);
    call->state = HTTP_CALL_ENDED;
    call->on_done(call->ctx, &result);
    call_recycle(call);
}

/* Tells the calls that failed. Their heads, where one came, were copied. */
static void tell_ended(struct http_client *client) {
    mr_list batch;
    mr_list_init(&batch);
    mr_list *node;
    while ((node = mr_list_pop_front(&client->ending)) != NULL) {
        mr_list_push_back(&batch, node);
    }
    while ((node = mr_list_pop_front(&batch)) != NULL) {
        http_client_tell(MR_CONTAINER(node, struct http_call, queue), (mr_fields){NULL, 0});
    }
}

static void on_task(struct loop_task *task) {
    struct http_client *client = MR_CONTAINER(task, struct http_client, task);
    close_doomed(client);
    tell_ended(client);
    pump_slots(client);
}

void http_call_cancel(struct http_call *call) {
    MR_ASSERT(call->state != HTTP_CALL_FREE);
    if (call->state != HTTP_CALL_ENDED) {
        http_call_fail(call, HTTP_FAIL_CANCELLED, call->step, "cancelled");
    }
}

bool http_call_is_sent(const struct http_call *call) {
    return call->sends > 0 || call->taken > 0;
}

/* ---- starting ---- */

static struct http_call *call_new(struct http_client *client) {
    mr_list *node = mr_list_pop_front(&client->free_calls);
    struct http_call *call;
    if (node != NULL) {
        client->n_free_calls--;
        return MR_CONTAINER(node, struct http_call, node);
    }
    call = MR_NEW(struct http_call);
    if (call != NULL) {
        call->client = client;
        call->body = call->body_inline;
        mr_list_init(&call->node);
        mr_list_init(&call->queue);
        mr_buf_init_private(&call->text, HEAD_BYTES_MAX);
        mr_buf_init(&call->head_copy, HTTP_HEAD_BYTES_MAX);
        mr_buf_init(&call->kept, HTTP_CALL_BODY_KEPT_MAX);
        loop_timer_init(&call->timer, http_call_on_timer);
    }
    return call;
}

/* New rules of the guard: what was connected under the old ones is closed. */
static void check_epoch(struct http_client *client) {
    uint64_t epoch = net_guard_epoch(client->guard);
    if (client->guard_epoch != epoch) {
        client->guard_epoch = epoch;
        http_client_close_idle(client);
    }
}

mr_err http_call_start(struct http_client *client, const struct http_call_spec *spec,
                       struct http_call **ret_call) {
    MR_ASSERT(!client->is_closing && spec->on_done != NULL);
    if (!http_spec_is_valid(spec)) {
        return MR_ERR(MR_E_INVALID);
    }
    if (client->n_waiting >= client->queue_max) {
        return MR_ERR(MR_E_LIMIT);
    }
    struct http_key *key = http_pool_key(&client->pool, spec->pool_key);
    struct http_call *call = key != NULL ? call_new(client) : NULL;
    if (call == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = http_call_fill(call, spec);
    if (mr_is_err(err)) {
        call_free(call);
        return err;
    }
    check_epoch(client);
    call->key = key;
    call->peer =
        http_pool_peer(&client->pool, call->url.host, call->url.port, call->url.is_https,
                       call->trust != NULL ? net_trust_id(call->trust) : 0,
                       call->is_operators ? 0 : client->guard_epoch); /* epochs begin at 1 */
    http_pool_set_suspect(key, spec->is_suspect);
    mr_list_push_back(&client->calls, &call->node);
    client->n_calls++;
    *ret_call = call;
    struct http_pool_conn *pooled =
        call->must_connect || key->n_waiting > 0 ? NULL : http_pool_take(key, call->peer);
    if (pooled != NULL) {
        http_call_use(call, MR_CONTAINER(pooled, struct http_conn, pooled));
    } else {
        http_client_enqueue(call, false);
    }
    return MR_OK;
}

struct http_client_counts http_client_counts(const struct http_client *client) {
    return (struct http_client_counts){.open = client->pool.n_open,
                                       .idle = client->pool.n_idle,
                                       .suspect = client->pool.n_suspect,
                                       .calls = client->n_calls,
                                       .waiting = client->n_waiting};
}

/* ---- the client ---- */

static void on_keeper(struct loop_timer *timer) {
    struct http_client *client = MR_CONTAINER(timer, struct http_client, keeper_timer);
    mr_err err = net_guard_refresh(client->guard);
    if (mr_is_err(err) && !client->is_guard_stale) {
        mr_warn(client->log, "own_addresses_unreadable", mr_kv_i64("code", err.code));
    }
    client->is_guard_stale = mr_is_err(err);
    check_epoch(client);
    http_pool_sweep(&client->pool, loop_now(client->loop));
    loop_timer_set(client->loop, timer, mr_mono_add_ms(loop_now(client->loop), KEEPER_MS));
}

/* "host:port" or "[v6]:port"; "http://" may stand before it and "/" behind it. */
static mr_err read_proxy(struct http_client *client, mr_str text) {
    mr_str scheme = MR_STR("http://");
    if (mr_str_starts(text, scheme)) {
        text = mr_str_slice(text, scheme.len, text.len);
    }
    if (mr_str_ends(text, MR_STR("/"))) {
        text = mr_str_slice(text, 0, text.len - 1);
    }
    size_t colon = SIZE_MAX;
    for (size_t i = 0; i < text.len; i++) {
        colon = text.ptr[i] == ':' ? i : colon;
    }
    uint64_t port;
    if (colon == SIZE_MAX ||
        mr_is_err(mr_u64_parse(mr_str_slice(text, colon + 1, text.len), 1, 65535, &port))) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_str host = mr_str_slice(text, 0, colon);
    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host = mr_str_slice(host, 1, host.len - 1);
    }
    if (host.len == 0 || !mr_str_to_c(host, client->proxy_host, sizeof client->proxy_host)) {
        return MR_ERR(MR_E_INVALID);
    }
    client->proxy_port = (uint16_t)port;
    static const struct net_cidr all[] = {{.family = OS_FAMILY_V4}, {.family = OS_FAMILY_V6}};
    return net_guard_new(all, 2, &client->proxy_guard);
}

static uint32_t or_default(uint32_t n, uint32_t otherwise) {
    return n != 0 ? n : otherwise;
}

mr_err http_client_new(const struct http_client_opts *opts, struct http_client **ret_client) {
    struct http_client *client = MR_NEW(struct http_client);
    if (client == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    client->loop = opts->loop;
    client->guard = opts->guard;
    client->guard_epoch = net_guard_epoch(opts->guard);
    client->names = opts->names;
    client->metrics = opts->metrics;
    client->log = opts->log;
    client->queue_max = or_default(opts->queue_max, 65536);
    mr_list_init(&client->calls);
    mr_list_init(&client->free_calls);
    mr_list_init(&client->free_conns);
    mr_list_init(&client->doomed);
    mr_list_init(&client->ending);
    mr_list_init(&client->short_of_slots[0]);
    mr_list_init(&client->short_of_slots[1]);
    mr_list_init(&client->short_of_budget);
    loop_task_init(&client->task, on_task);
    loop_timer_init(&client->budget_timer, on_budget);
    loop_timer_init(&client->keeper_timer, on_keeper);
    struct http_pool_limits limits = {.connections_max = or_default(opts->connections_max, 4096),
                                      .idle_per_key_min = or_default(opts->idle_per_key_min, 2),
                                      .handshakes_per_second =
                                          or_default(opts->handshakes_per_second, 50),
                                      .handshake_percent = or_default(opts->handshake_percent, 20)};
    mr_err err = http_pool_init(&client->pool, &limits);
    if (mr_is_ok(err)) {
        err = stream_shared_init(&client->shared, opts->loop, opts->metrics);
    }
    if (mr_is_ok(err) && !mr_str_is_absent(opts->proxy)) {
        err = read_proxy(client, opts->proxy);
    }
    if (mr_is_err(err)) {
        http_client_free(client);
        return err;
    }
    loop_timer_set(client->loop, &client->keeper_timer,
                   mr_mono_add_ms(loop_now(client->loop), KEEPER_MS));
    *ret_client = client;
    return MR_OK;
}

void http_client_free(struct http_client *client) {
    if (client == NULL) {
        return;
    }
    client->is_closing = true;
    while (!mr_list_is_empty(&client->calls)) {
        struct http_call *call = MR_CONTAINER(client->calls.next, struct http_call, node);
        if (call->state != HTTP_CALL_ENDED) {
            http_call_fail(call, HTTP_FAIL_CANCELLED, call->step, "the client was stopped");
        }
        tell_ended(client);
    }
    http_client_close_idle(client);
    close_doomed(client);
    mr_list *node;
    while ((node = mr_list_pop_front(&client->free_calls)) != NULL) {
        call_free(MR_CONTAINER(node, struct http_call, node));
    }
    while ((node = mr_list_pop_front(&client->free_conns)) != NULL) {
        mr_free(MR_CONTAINER(node, struct http_conn, doomed));
    }
    loop_timer_cancel(client->loop, &client->budget_timer);
    loop_timer_cancel(client->loop, &client->keeper_timer);
    loop_task_cancel(&client->task);
    http_pool_done(&client->pool);
    if (client->shared.loop != NULL) {
        stream_shared_done(&client->shared);
    }
    net_guard_free(client->proxy_guard);
    mr_free(client);
}
