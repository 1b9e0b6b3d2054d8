/* A worker: one thread with one loop that serves requests and sends deliveries. Composition only:
 * what happens is told in api/, dispatch/, http/. */
#ifndef MR_SERVER_WORKER_H
#define MR_SERVER_WORKER_H

#include "api/api.h"
#include "os/thread.h"
#include "sink/aws/aws.h"

struct program;

struct worker {
    struct program *program;
    size_t index;
    struct os_thread thread;
    bool is_started;
    mr_metrics metrics;
    struct loop loop;
    bool has_loop;
    struct stream_shared streams;
    bool has_streams;
    struct net_guard *guard;
    struct net_names *names;
    struct http_client *client;
    struct crypto_hasher *hasher;
    struct sink_env sink;
    struct aws *aws;
    struct tail *tail;
    struct spill *spill;
    struct shard *shard;
    struct api api;
    bool has_api;
    struct http_server *server;
    struct api metrics_api; /* worker 0 only: /metrics alone */
    bool has_metrics_api;
    struct http_server *metrics_server;
    struct control_subscriber subscriber;
    /* stopping; worker's thread */
    struct mail stop_mail, close_mail, fail_mail, end_mail;
    struct loop_hook stop_hook; /* looks whether serving is over, while it is asked to stop */
    bool server_stopped;
    struct mail served_mail, quiet_mail; /* to the program */
};

/* Everything but listening and the thread. MR_E_NOMEM, MR_E_IO. */
mr_err worker_init(struct worker *worker, struct program *program, size_t index);
/* Listens; *ret_bound is the address with its port. */
mr_err worker_listen(struct worker *worker, const os_addr *addr, os_addr *ret_bound);
mr_err worker_listen_metrics(struct worker *worker, const os_addr *addr, os_addr *ret_bound);
mr_err worker_start(struct worker *worker);
/* Program's thread: asks to stop serving and sending. program_on_served comes when no exchange is
 * open and no call waits for an answer of others any more, also where its client left long ago:
 * from then on the worker asks nobody for anything. */
void worker_stop(struct worker *worker);
/* Program's thread, when all workers have served: program_on_quiet comes when no delivery is under
 * way any more and every outcome is durable. */
void worker_close(struct worker *worker);
/* Program's thread: the journal failed: nothing new is sent. */
void worker_fail(struct worker *worker);
/* After quiet, in one thread for all: ends the loop and joins the thread. Everyone who may still
 * post to the worker must have ended. */
void worker_end(struct worker *worker);
/* Frees all; also a worker of which only a part was made. */
void worker_done(struct worker *worker);

#endif
