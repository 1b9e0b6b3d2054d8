/* Composition of a worker. See worker.h. */
#include "server/worker.h"

#include "base/mem.h"
#include "control/destinations.h"
#include "os/files.h"
#include "server/aws.h"
#include "server/program.h"
#include "server/values.h"

#include <stdio.h>

/* ---- snapshots ---- */

static void on_adopt(void *ctx, struct snapshot *snapshot, struct control_changes changes) {
    struct worker *worker = ctx;
    uint32_t numbers[256];
    size_t n = 0;
    bool accounts_changed = false;
    for (size_t i = 0; i < changes.len; i++) {
        accounts_changed = accounts_changed || changes.list[i].kind == MODEL_ACCOUNT;
        if (changes.list[i].kind != MODEL_DESTINATION) {
            continue;
        }
        numbers[n++] = changes.list[i].number;
        if (n == sizeof numbers / sizeof numbers[0]) {
            shard_adopt(worker->shard, snapshot, numbers, n, false);
            n = 0;
        }
    }
    shard_adopt(worker->shard, snapshot, numbers, n, accounts_changed);
    api_adopt(&worker->api, snapshot);
    if (worker->has_metrics_api) {
        api_adopt(&worker->metrics_api, snapshot);
    }
    snapshot_unref(snapshot);
}

/* ---- status changes that lanes ask for ---- */

struct status_job {
    struct control_job job; /* first */
    uint32_t destination;
    enum model_destination_status status;
    enum model_disabled_by by;
};

static mr_err run_status(struct control *control, struct control_job *job) {
    struct status_job *status = (struct status_job *)(void *)job;
    return destinations_set_status(control, status->destination, status->status, status->by,
                                   &job->refusal);
}

static void status_done(struct control_job *job) {
    mr_free(job);
}

static void on_status(void *ctx, uint32_t destination, enum model_destination_status status,
                      enum model_disabled_by by) {
    struct worker *worker = ctx;
    struct status_job *job = MR_NEW(struct status_job);
    if (job == NULL) {
        return; /* the lane goes by its own state; the store learns it at the next change */
    }
    job->job = (struct control_job){
        .run = run_status, .done = status_done, .reply_to = loop_mailbox(&worker->loop)};
    job->destination = destination;
    job->status = status;
    job->by = by;
    control_submit(worker->program->control, &job->job);
}

/* ---- making ---- */

static void on_pause(void *ctx, bool is_paused) {
    struct worker *worker = ctx;
    if (worker->server == NULL) {
        return;
    }
    if (is_paused) {
        http_server_pause(worker->server);
    } else {
        http_server_resume(worker->server);
    }
}

static mr_err init_network(struct worker *worker) {
    struct program *program = worker->program;
    const struct config *config = program->config;
    MR_TRY(loop_init(&worker->loop, &worker->metrics));
    worker->has_loop = true;
    MR_TRY(stream_shared_init(&worker->streams, &worker->loop, &worker->metrics));
    worker->has_streams = true;
    MR_TRY(net_guard_new(program->allow, program->n_allow, &worker->guard));
    MR_TRY(net_names_new(&worker->loop, NULL, &worker->names));
    MR_TRY(crypto_hasher_new(&worker->hasher));
    uint64_t share = config->out_connections_max / program->n_workers;
    const struct http_client_opts opts = {
        .loop = &worker->loop,
        .guard = worker->guard,
        .names = worker->names,
        .metrics = &worker->metrics,
        .log = &program->log,
        .connections_max = (uint32_t)(share > 4 ? share : 4),
        .proxy = config->egress_proxy[0] != '\0' ? mr_str_c(config->egress_proxy) : MR_STR_NONE};
    MR_TRY(http_client_new(&opts, &worker->client));
    worker->sink = (struct sink_env){.client = worker->client,
                                     .hasher = worker->hasher,
                                     .roots = program->roots,
                                     .trust = program->trust,
                                     .allow_http = config->allow_http,
                                     .strict_date = config->strict_date,
                                     .log = &program->log};
    MR_TRY(aws_of_worker(worker));
    return tail_new(program->tails, worker->index, &worker->loop, &worker->tail);
}

static mr_err init_spill(struct worker *worker) {
    char dir[1024];
    char name[32];
    snprintf(dir, sizeof dir, "%s/spill", worker->program->data_dir);
    snprintf(name, sizeof name, "worker-%zu", worker->index);
    mr_err err = os_files_system.mkdir(os_files_system.ctx, dir);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        return err;
    }
    return spill_open(&os_files_system, dir, name, 0, &worker->spill);
}

static mr_err init_shard(struct worker *worker, struct snapshot *snapshot) {
    struct program *program = worker->program;
    const struct config *config = program->config;
    MR_TRY(init_spill(worker));
    const struct shard_options options = {
        .index = worker->index,
        .n_workers = program->n_workers,
        .loop = &worker->loop,
        .writer = program->writer,
        .journal = program->journal,
        .readers = program->readers,
        .sink = worker->sink,
        .tail = worker->tail,
        .store_key = siphash_key_of(control_store_key(program->control)),
        .bytes_in_flight_max = config->in_flight_bytes_max / program->n_workers,
        .requests_in_flight_max = (uint32_t)(config->out_connections_max / program->n_workers),
        .backlog_bytes_max = config->backlog_bytes_max / program->n_workers,
        .spill = worker->spill,
        /* A quarter stays for groups on their way. */
        .slab_bytes_max = (size_t)(config->slab_cache_bytes / 4 * 3 / program->n_workers),
        .on_status = on_status,
        .status_ctx = worker,
        .log = &program->log,
        .callback_limits = program->callback_limits,
        .metrics = &worker->metrics};
    MR_TRY(shard_new(&options, snapshot, &worker->shard));
    program->shards[worker->index] = worker->shard;
    writer_subscribe(program->writer, (unsigned)worker->index, loop_mailbox(&worker->loop),
                     shard_on_slab, worker->shard);
    return MR_OK;
}

static struct api api_of(struct worker *worker) {
    struct program *program = worker->program;
    const struct config *config = program->config;
    struct event_limits limits = event_limits_default;
    limits.body_bytes_max = config->batch_bytes_max;
    limits.event_bytes_max = config->event_bytes_max;
    limits.events_max = (uint32_t)config->batch_events_max;
    return (struct api){.loop = &worker->loop,
                        .control = program->control,
                        .shard = worker->shard,
                        .shards = program->shards,
                        .readers = program->readers,
                        .sink = &worker->sink,
                        .guard = worker->guard,
                        .test_limits = program->test_limits,
                        .callback_test_limits = program->callback_test_limits,
                        .callback_limits = program->callback_limits,
                        .tail = worker->tail,
                        .writer = program->writer,
                        .journal = program->journal,
                        .rates = program->rates,
                        .passwords = program->passwords,
                        .session_idle_ms = (int64_t)config->session_idle_minutes * 60000,
                        .session_max_s = (int64_t)config->session_max_days * 86400,
                        .store_key = siphash_key_of(control_store_key(program->control)),
                        .limits = limits,
                        .aliases = program->aliases,
                        .n_aliases = program->n_aliases,
                        .proxies = {program->proxies, program->n_proxies},
                        .queue_bytes_max = config->queue_bytes_max,
                        .queue_events_max = config->queue_events_max,
                        .pause = on_pause,
                        .pause_ctx = worker,
                        .n_workers = program->n_workers,
                        .metrics_token = mr_secret_reveal(program->metrics_token),
                        .program = {program, program_metrics, program_not_ready},
                        .log = &program->log,
                        .metrics = &worker->metrics};
}

mr_err worker_init(struct worker *worker, struct program *program, size_t index) {
    worker->program = program;
    worker->index = index;
    MR_TRY(init_network(worker));
    struct snapshot *snapshot = control_snapshot(program->control);
    mr_err err = init_shard(worker, snapshot);
    if (mr_is_ok(err)) {
        worker->api = api_of(worker);
        err = api_init(&worker->api, snapshot);
        worker->has_api = mr_is_ok(err);
    }
    snapshot_unref(snapshot);
    MR_TRY(err);
    worker->subscriber = (struct control_subscriber){
        .mailbox = loop_mailbox(&worker->loop), .adopt = on_adopt, .ctx = worker};
    control_subscribe(program->control, &worker->subscriber);
    return MR_OK;
}

static struct http_server_options server_options(const struct worker *worker) {
    const struct config *config = worker->program->config;
    struct http_server_options options = http_server_options_default();
    options.connections_max = config->connections_max / worker->program->n_workers + 1;
    options.connections_per_address_max = config->connections_per_address_max;
    options.head_ms = (int64_t)config->header_timeout_ms;
    options.idle_ms = (int64_t)config->idle_timeout_ms;
    options.grace_ms = (int64_t)config->body_timeout_ms;
    options.bytes_per_second_min = (int64_t)config->body_rate_min;
    return options;
}

mr_err worker_listen(struct worker *worker, const os_addr *addr, os_addr *ret_bound) {
    struct http_server_options options = server_options(worker);
    options.tls = worker->program->tls;
    return http_server_new(&worker->streams, addr, &options, &api_http_handler, &worker->api,
                           &worker->program->log, &worker->server, ret_bound);
}

mr_err worker_listen_metrics(struct worker *worker, const os_addr *addr, os_addr *ret_bound) {
    struct snapshot *snapshot = control_snapshot(worker->program->control);
    worker->metrics_api = api_of(worker);
    worker->metrics_api.metrics_open = true;
    worker->metrics_api.pause = NULL;
    worker->metrics_api.public_url = worker->api.public_url;
    mr_err err = api_init(&worker->metrics_api, snapshot);
    snapshot_unref(snapshot);
    MR_TRY(err);
    worker->has_metrics_api = true;
    struct http_server_options options = server_options(worker);
    return http_server_new(&worker->streams, addr, &options, &api_http_handler,
                           &worker->metrics_api, &worker->program->log, &worker->metrics_server,
                           ret_bound);
}

static void worker_main(void *arg) {
    struct worker *worker = arg;
    loop_run(&worker->loop);
}

mr_err worker_start(struct worker *worker) {
    MR_TRY(os_thread_start(&worker->thread, "mr-worker", worker_main, worker));
    worker->is_started = true;
    return MR_OK;
}

/* ---- stopping ---- */

static void on_server_stopped(void *ctx) {
    struct worker *worker = ctx;
    worker->server_stopped = true;
}

/* A call holds on while a question to another thread, a test or a payload is under way, so its
 * answer always finds the worker there. */
static void on_turn_end(struct loop_hook *hook) {
    struct worker *worker = MR_CONTAINER(hook, struct worker, stop_hook);
    if (worker->server_stopped && worker->api.calls == 0 && worker->metrics_api.calls == 0 &&
        access_log_flush(worker->api.access)) {
        loop_hook_remove(&worker->stop_hook);
        program_on_served(worker->program, worker);
    }
}

static void on_stop(struct mail *mail) {
    struct worker *worker = MR_CONTAINER(mail, struct worker, stop_mail);
    tail_close_all(worker->tail);
    if (worker->metrics_server != NULL) {
        http_server_free(worker->metrics_server);
        worker->metrics_server = NULL;
    }
    http_server_stop(worker->server, on_server_stopped, worker);
    shard_stop(worker->shard);
    loop_on_turn_end(&worker->loop, &worker->stop_hook, on_turn_end);
}

void worker_stop(struct worker *worker) {
    worker->stop_mail.run = on_stop;
    mailbox_post(loop_mailbox(&worker->loop), &worker->stop_mail, NULL);
}

static void on_shard_quiet(void *ctx) {
    struct worker *worker = ctx;
    program_on_quiet(worker->program, worker);
}

static void on_close(struct mail *mail) {
    struct worker *worker = MR_CONTAINER(mail, struct worker, close_mail);
    shard_close(worker->shard, on_shard_quiet, worker);
}

void worker_close(struct worker *worker) {
    worker->close_mail.run = on_close;
    mailbox_post(loop_mailbox(&worker->loop), &worker->close_mail, NULL);
}

static void on_fail(struct mail *mail) {
    struct worker *worker = MR_CONTAINER(mail, struct worker, fail_mail);
    shard_fail(worker->shard);
}

void worker_fail(struct worker *worker) {
    worker->fail_mail.run = on_fail;
    mailbox_post(loop_mailbox(&worker->loop), &worker->fail_mail, NULL);
}

static void on_end(struct mail *mail) {
    struct worker *worker = MR_CONTAINER(mail, struct worker, end_mail);
    loop_stop(&worker->loop);
}

void worker_end(struct worker *worker) {
    if (worker->is_started) {
        worker->end_mail.run = on_end;
        mailbox_post(loop_mailbox(&worker->loop), &worker->end_mail, NULL);
        os_thread_join(&worker->thread);
        worker->is_started = false;
    }
}

void worker_done(struct worker *worker) {
    http_server_free(worker->metrics_server);
    http_server_free(worker->server);
    if (worker->has_metrics_api) {
        api_done(&worker->metrics_api);
    }
    if (worker->has_api) {
        api_done(&worker->api);
    }
    http_client_free(worker->client);
    shard_free(worker->shard);
    aws_free(worker->aws);
    spill_close(worker->spill);
    tail_free(worker->tail);
    crypto_hasher_free(worker->hasher);
    net_names_free(worker->names);
    net_guard_free(worker->guard);
    if (worker->has_streams) {
        stream_shared_done(&worker->streams);
    }
    if (worker->has_loop) {
        loop_done(&worker->loop);
    }
}
