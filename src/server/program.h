/* The program `millrace serve`: opens stores, recovers, composes the actors, runs them until a
 * signal, stops them in order. Exit codes as the command line documents them. */
#ifndef MR_SERVER_PROGRAM_H
#define MR_SERVER_PROGRAM_H

#include "server/config.h"
#include "server/spares.h"
#include "server/worker.h"

#include <stdatomic.h>

enum program_exit {
    PROGRAM_OK = 0,
    PROGRAM_NO = 1,
    PROGRAM_USAGE = 2,  /* settings; the folder is not initialised; the port is taken */
    PROGRAM_FAILED = 3, /* the journal FAILED */
    PROGRAM_IN_USE = 4, /* data folder in use or of a newer format */
};

#define PROGRAM_WORKERS_MAX 63 /* one bit of the slabs' mask each */

/* What the caller sees of a program that runs. */
struct program_events {
    void *ctx;
    /* Once, when everything is served: url without a slash at its end; metrics_url NULL where there
     * is no listener of its own. */
    void (*on_ready)(void *ctx, const char *url, const char *metrics_url);
    /* A problem at start in one line for people. */
    void (*on_problem)(void *ctx, const char *text);
};

struct mailer;

struct program {
    const struct config *config;
    const char *data_dir;
    struct program_events events;
    mr_log log;
    struct loop loop; /* of the main thread */
    struct loop_io signals;
    /* stores */
    os_file lock;
    bool has_lock;
    struct secret_slab *slab;
    mr_secret metrics_token; /* none: /metrics is not served beside the API */
    struct control *control;
    bool control_started;
    struct aws_options aws;
    struct mailer *mailer;   /* NULL: no SMTP server is set */
    struct net_guard *judge; /* of URLs at configuration; control thread */
    struct journal *journal;
    struct dedupe *dedupe;
    struct archive *archive;
    struct book *book; /* until the keeper has it */
    mr_buf recovered;  /* records that recovery calls for, to be appended */
    struct writer *writer;
    mr_mono dedupe_ticked; /* writer's thread */
    struct os_thread writer_thread;
    bool writer_started;
    struct spares spares;
    struct keeper *keeper;
    struct os_thread keeper_thread;
    bool keeper_started;
    struct payload_readers *readers;
    struct passwords *passwords;
    /* shared by the workers */
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct tail_hub *tails;
    struct test_limits *test_limits, *callback_test_limits;
    struct callback_limits *callback_limits;
    struct rate_table *rates;
    SSL_CTX *tls;
    struct net_cidr allow[NET_GUARD_ALLOW_MAX];
    size_t n_allow;
    struct net_cidr proxies[PROXIES_MAX]; /* trusted */
    size_t n_proxies;
    mr_str aliases[64];
    size_t n_aliases;
    char bound_url[128]; /* what the ready line tells */
    char public_url[512];
    char metrics_url[128];
    char setup_file[1024]; /* DIR.setup-link, beside the folder */
    struct worker *workers;
    size_t n_workers;
    struct shard *shards[PROGRAM_WORKERS_MAX];
    mr_metrics writer_metrics, control_metrics, keeper_metrics, own_metrics, mail_metrics;
    /* main thread */
    size_t n_served, n_quiet;
    int n_stops;
    int exit_code;
    bool is_ending; /* the stopper is at work: workers are its own */
    struct os_thread stopper;
    struct mail ended_mail; /* from the stopper */
    struct mail failed_mail;
    struct loop_timer stop_timer;
    _Atomic bool is_serving;
    _Atomic bool has_failed;
};

/* Runs until a signal or a failure; returns the exit code. */
int program_run(const struct config *config, const char *data_dir,
                const struct program_events *events);

/* For worker.c: the worker serves nobody any more; it has no delivery under way (any thread). */
void program_on_served(struct program *program, struct worker *worker);
void program_on_quiet(struct program *program, struct worker *worker);
/* Appends /metrics. */
mr_err program_metrics(void *ctx, mr_buf *out);
const char *program_not_ready(void *ctx);

#endif
