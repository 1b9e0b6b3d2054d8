/* Getting a connection for a call: name, address, dial, tunnel, TLS. The states are drawn in
 * call.h; every step is timed, every failure goes to http_call_fail. */
#include "http/call.h"

#include "base/mem.h"

static void on_session(struct net_trust_keeper *keeper, SSL_SESSION *session) {
    struct http_conn *conn = MR_CONTAINER(keeper, struct http_conn, keeper);
    if (conn->pooled.generation == conn->pooled.key->generation) {
        http_pool_session_put(conn->pooled.key, conn->pooled.peer, session);
    } else {
        SSL_SESSION_free(session);
    }
}

void http_connecting_free(struct http_call *call) {
    struct http_connecting *connecting = call->connecting;
    if (connecting == NULL) {
        return;
    }
    net_lookup_cancel(&connecting->lookup);
    net_dial_cancel(&connecting->dial);
    if (connecting->tunnel != NULL) {
        http_tunnel_cancel(connecting->tunnel);
        mr_free(connecting->tunnel);
    }
    mr_free(connecting);
    call->connecting = NULL;
}

static void start_tls(struct http_call *call) {
    struct http_conn *conn = call->conn;
    struct http_client *client = call->client;
    call->state = HTTP_CALL_TLS;
    call->step = HTTP_STEP_TLS;
    conn->trust = net_trust_ref(call->trust);
    conn->keeper.on_session = on_session;
    SSL *ssl = net_trust_ssl_new(call->trust, call->url.host,
                                 http_pool_session(call->key, call->peer), &conn->keeper);
    mr_metric_add(client->metrics, MR_METRIC_OUT_HANDSHAKES, 1);
    if (ssl == NULL || mr_is_err(stream_start_tls(&conn->stream, ssl))) {
        http_call_fail(call, HTTP_FAIL_TLS, HTTP_STEP_TLS, "there is no memory for a connection");
    }
}

/* A descriptor that leads to the peer: makes it the call's connection. */
static void adopt(struct http_call *call, int fd) {
    struct http_client *client = call->client;
    http_connecting_free(call);
    http_call_step(call, HTTP_STEP_CONNECT, HTTP_STEP_OK);
    struct http_conn *conn = http_client_conn_new(client);
    if (conn == NULL) {
        os_close(fd);
    } else if (mr_is_err(stream_init(&conn->stream, &client->shared, fd, &http_conn_events,
                                     HTTP_HEAD_BYTES_MAX))) {
        mr_free(conn);
        conn = NULL;
    }
    if (conn == NULL) {
        http_pool_leave(call->key);
        http_call_fail(call, HTTP_FAIL_CONNECT, HTTP_STEP_CONNECT,
                       "there is no memory for a connection");
        return;
    }
    conn->call = call;
    conn->pooled.key = call->key;
    conn->pooled.peer = call->peer;
    conn->pooled.generation = call->key->generation;
    conn->idle_ms = HTTP_CONN_IDLE_MS;
    conn->peer = call->peer_addr;
    call->conn = conn;
    if (call->url.is_https) {
        start_tls(call);
    } else {
        http_call_send(call);
    }
}

static void on_tunnel(struct http_tunnel *tunnel, bool is_open, int fd, const char *text) {
    struct http_call *call = tunnel->user;
    if (!is_open) {
        http_call_fail(call, HTTP_FAIL_CONNECT, HTTP_STEP_CONNECT, "%s", text);
        return;
    }
    adopt(call, fd);
}

/* What the operator named is reached as it is. */
static bool has_proxy(const struct http_call *call) {
    return call->client->proxy_guard != NULL && !call->is_operators;
}

static void on_dial(struct net_dial *dial, const struct net_dial_result *result) {
    struct http_connecting *connecting = MR_CONTAINER(dial, struct http_connecting, dial);
    struct http_call *call = connecting->call;
    bool is_proxied = has_proxy(call);
    call->peer_addr = is_proxied ? connecting->target : result->peer;
    if (result->fd < 0) {
        http_call_fail(call, result->is_timeout ? HTTP_FAIL_TIMEOUT : HTTP_FAIL_CONNECT,
                       HTTP_STEP_CONNECT, "%s%s", is_proxied ? "egress proxy: " : "", result->text);
        return;
    }
    if (!is_proxied) {
        adopt(call, result->fd);
        return;
    }
    call->state = HTTP_CALL_TUNNEL;
    connecting->tunnel = MR_NEW(struct http_tunnel);
    mr_err err = MR_ERR(MR_E_NOMEM);
    if (connecting->tunnel == NULL) {
        os_close(result->fd);
    } else {
        connecting->tunnel->user = call;
        err = http_tunnel_start(connecting->tunnel, call->client->loop, result->fd,
                                &connecting->target, on_tunnel);
    }
    if (mr_is_err(err)) {
        http_call_fail(call, HTTP_FAIL_CONNECT, HTTP_STEP_CONNECT,
                       "there is no memory for a connection");
    }
}

static void dial(struct http_call *call) {
    struct http_connecting *connecting = call->connecting;
    call->state = HTTP_CALL_CONNECT;
    call->step = HTTP_STEP_CONNECT;
    mr_metric_add(call->client->metrics, MR_METRIC_OUT_CONNECTS, 1);
    net_dial_start(&connecting->dial, call->client->loop, connecting->judged, connecting->n_judged,
                   mr_mono_min(call->total_due, call->phase_due), on_dial);
}

/* The proxy's own address: the operator's word, judged by a guard that lets all pass. */
static void on_proxy_name(struct net_lookup *lookup, const struct net_names_answer *answer) {
    struct http_connecting *connecting = MR_CONTAINER(lookup, struct http_connecting, lookup);
    struct http_call *call = connecting->call;
    if (answer->problem != NET_NAMES_OK) {
        http_call_fail(call, HTTP_FAIL_CONNECT, HTTP_STEP_CONNECT,
                       "could not look up the egress proxy: %s", answer->text);
        return;
    }
    mr_err err = net_guard_judge_all(call->client->proxy_guard, answer->addrs, answer->n_addrs,
                                     connecting->judged, NULL);
    MR_ASSERT(mr_is_ok(err));
    connecting->n_judged = answer->n_addrs;
    dial(call);
}

static mr_err judge(struct http_call *call, const struct net_names_answer *answer,
                    struct net_refusal *ret_refusal) {
    struct net_judged_addr *judged = call->connecting->judged;
    if (!call->is_operators) {
        return net_guard_judge_all(call->client->guard, answer->addrs, answer->n_addrs, judged,
                                   ret_refusal);
    }
    for (size_t i = 0; i < answer->n_addrs; i++) {
        MR_TRY(net_guard_admit(&answer->addrs[i], &judged[i]));
    }
    return answer->n_addrs > 0 ? MR_OK : MR_ERR(MR_E_NOT_FOUND);
}

static void on_name(struct net_lookup *lookup, const struct net_names_answer *answer) {
    struct http_connecting *connecting = MR_CONTAINER(lookup, struct http_connecting, lookup);
    struct http_call *call = connecting->call;
    struct http_client *client = call->client;
    if (answer->problem != NET_NAMES_OK) {
        bool is_late =
            answer->problem == NET_NAMES_TIMEOUT &&
            !mr_mono_before(loop_now(client->loop), mr_mono_min(call->total_due, call->phase_due));
        http_call_fail(call, is_late ? HTTP_FAIL_TIMEOUT : HTTP_FAIL_NAME, HTTP_STEP_NAME,
                       "could not look up %.*s: %s", MR_FMT(call->url.host), answer->text);
        return;
    }
    if (call->url.host_kind == NET_HOST_NAME) {
        http_call_step(call, HTTP_STEP_NAME, HTTP_STEP_OK);
    }
    call->n_addrs = answer->n_addrs;
    for (size_t i = 0; i < answer->n_addrs && i < HTTP_CALL_ADDRS_KEPT; i++) {
        call->addrs[i] = answer->addrs[i];
    }
    struct net_refusal refusal = {"no address"};
    if (mr_is_err(judge(call, answer, &refusal))) {
        mr_metric_add(client->metrics, MR_METRIC_GUARD_REFUSED, 1);
        http_call_fail(call, HTTP_FAIL_ADDRESS, HTTP_STEP_ADDRESS,
                       "the address may not be reached: %s", refusal.text);
        return;
    }
    http_call_step(call, HTTP_STEP_ADDRESS, HTTP_STEP_OK);
    connecting->n_judged = answer->n_addrs;
    if (!has_proxy(call)) {
        dial(call);
        return;
    }
    connecting->target = net_judged_addr_get(&connecting->judged[0]);
    call->state = HTTP_CALL_CONNECT;
    net_names_resolve(client->names, &connecting->lookup, mr_str_c(client->proxy_host),
                      client->proxy_port, mr_mono_min(call->total_due, call->phase_due),
                      on_proxy_name);
}

void http_call_connect(struct http_call *call) {
    struct http_client *client = call->client;
    mr_mono now = loop_now(client->loop);
    call->is_reused = false;
    http_call_begin(call);
    call->phase_due = call->connect_ms > 0 ? mr_mono_add_ms(now, call->connect_ms) : MR_MONO_NEVER;
    call->step_started = now;
    call->state = HTTP_CALL_NAME;
    call->connecting = MR_NEW(struct http_connecting);
    if (call->connecting == NULL) {
        http_pool_leave(call->key);
        http_call_fail(call, HTTP_FAIL_CONNECT, HTTP_STEP_CONNECT,
                       "there is no memory for a connection");
        return;
    }
    call->connecting->call = call;
    mr_metric_set(client->metrics, MR_METRIC_OUT_CONNECTIONS, client->pool.n_open);
    http_call_arm(call);
    net_names_resolve(client->names, &call->connecting->lookup, call->url.host, call->url.port,
                      mr_mono_min(call->total_due, call->phase_due), on_name);
}
