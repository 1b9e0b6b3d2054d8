/* Start, run, stop.
 *
 * Start, in this order, because each step needs the one before:
 *   lock the folder ─▶ control store ─▶ newest checkpoint ─▶ journal (recovers, opens a segment)
 *   ─▶ memory of ids, archive ─▶ replay into the book ─▶ writer ─▶ what recovery must append
 *   ─▶ workers, lanes filled from the book ─▶ keeper (takes the book) ─▶ threads ─▶ listen ─▶ ready
 *
 * Stop (a signal), in this order, because each step ends those who post to the ones after it:
 *   workers serve nobody and begin no attempt ─▶ nothing under way, outcomes durable ─▶ control
 * ends ─▶ writer (everything durable, a witness of the end) ─▶ keeper (a checkpoint) ─▶ disk
 * readers, passwords ─▶ workers' threads ─▶ everything is freed The first two steps are mail to and
 * from the workers; what follows waits for threads and disks, so it is done by a thread of its own,
 * the stopper, while the main thread goes on listening: a second signal ends the program at once,
 * at whatever moment. That is safe, only not clean.
 *
 * A FAILED journal acknowledges nothing more; workers stop sending, and the program exits with its
 * own code after a short moment in which waiting clients get their 503. */
#include "server/program.h"

#include "base/mem.h"
#include "ledger/recover.h"
#include "net/tls.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/signals.h"
#include "mail/mailer.h"
#include "server/first_start.h"
#include "server/mail.h"
#include "server/stores.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define FAILED_GRACE_MS 300
#define STOP_MS_MAX     45000
#define PEM_BYTES_MAX   ((size_t)1 << 20)

/* ---- logging ---- */

static void log_write(void *ctx, mr_str line) {
    (void)ctx;
    fwrite(line.ptr, 1, line.len, stderr);
}

static mr_wall log_now(void *ctx) {
    (void)ctx;
    return os_wall_now();
}

static enum mr_log_level level_of(const char *name) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum mr_log_level)i;
        }
    }
    return MR_LOG_INFO;
}

void program_problem(struct program *program, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    program->events.on_problem(program->events.ctx, text);
}

/* ---- settings that need work ---- */

static int read_pem(struct program *program, const char *path, mr_str *ret_text) {
    mr_err err = os_file_load(&os_files_system, path, PEM_BYTES_MAX, ret_text);
    if (mr_is_err(err)) {
        program_problem(program, "could not read %s: %s", path, strerror(errno));
        return PROGRAM_USAGE;
    }
    return PROGRAM_OK;
}

static int load_tls(struct program *program) {
    const struct config *config = program->config;
    if (config->tls_cert_file[0] == '\0') {
        return PROGRAM_OK;
    }
    mr_str cert = MR_STR_NONE;
    mr_str key = MR_STR_NONE;
    int code = read_pem(program, config->tls_cert_file, &cert);
    if (code == PROGRAM_OK) {
        code = read_pem(program, config->tls_key_file, &key);
    }
    if (code == PROGRAM_OK) {
        mr_buf problem;
        mr_buf_init(&problem, 512);
        if (mr_is_err(tls_server_context(cert, key, &problem, &program->tls))) {
            program_problem(program, "could not use tls_cert_file and tls_key_file: %.*s",
                            MR_FMT(mr_buf_view(&problem)));
            code = PROGRAM_USAGE;
        }
        mr_buf_done(&problem);
    }
    if (!mr_str_is_absent(key)) {
        crypto_wipe((void *)(uintptr_t)key.ptr, key.len);
    }
    mr_free((void *)(uintptr_t)cert.ptr);
    mr_free((void *)(uintptr_t)key.ptr);
    return code;
}

static int load_trust(struct program *program) {
    mr_str extra = MR_STR_NONE;
    const char *path = program->config->extra_ca_file;
    if (path[0] != '\0') {
        int code = read_pem(program, path, &extra);
        if (code != PROGRAM_OK) {
            return code;
        }
    }
    struct net_trust_problem problem = {""};
    mr_err err = net_trust_roots_new(extra, &program->roots, &problem);
    mr_free((void *)(uintptr_t)extra.ptr);
    if (mr_is_ok(err)) {
        err = net_trust_new(program->roots, NULL, &program->trust, &problem);
    }
    if (mr_is_err(err)) {
        program_problem(program, "could not load certificate authorities (extra_ca_file %s): %s",
                        path, problem.text);
        return PROGRAM_USAGE;
    }
    return PROGRAM_OK;
}

/* The blocks of the setting `key`, at most max. False: printed. */
static bool load_networks(struct program *program, const char *key, const char *text,
                          struct net_cidr *blocks, size_t max, size_t *ret_n) {
    mr_str rest = mr_str_c(text);
    mr_str part;
    size_t n = 0;
    while (rest.len > 0 && mr_str_split(&rest, ',', &part)) {
        part = mr_str_trim(part);
        if (n == max || mr_is_err(net_cidr_parse(part, &blocks[n]))) {
            program_problem(program,
                            "%s: \"%.*s\" is not a CIDR block such as "
                            "10.0.0.0/8 (bits behind the prefix must be 0)",
                            key, MR_FMT(mr_str_slice(part, 0, 60)));
            return false;
        }
        n++;
    }
    *ret_n = n;
    return true;
}

static int load_lists(struct program *program) {
    const struct config *config = program->config;
    if (!load_networks(program, "allow_networks", config->allow_networks, program->allow,
                       NET_GUARD_ALLOW_MAX, &program->n_allow) ||
        !load_networks(program, "trusted_proxies", config->trusted_proxies, program->proxies,
                       PROXIES_MAX, &program->n_proxies)) {
        return PROGRAM_USAGE;
    }
    mr_str part;
    mr_str rest = mr_str_c(config->dataschema_aliases);
    while (rest.len > 0 && mr_str_split(&rest, ',', &part)) {
        part = mr_str_trim(part);
        while (part.len > 0 && part.ptr[part.len - 1] == '/') {
            part.len--;
        }
        if (program->n_aliases == sizeof program->aliases / sizeof program->aliases[0]) {
            program_problem(program, "dataschema_aliases: more than 64 entries");
            return PROGRAM_USAGE;
        }
        program->aliases[program->n_aliases++] = part;
    }
    return PROGRAM_OK;
}

/* ---- metrics, readiness ---- */

mr_err program_metrics(void *ctx, mr_buf *out) {
    struct program *program = ctx;
    const mr_metrics *arrays[PROGRAM_WORKERS_MAX + 5];
    size_t n = 0;
    for (size_t i = 0; i < program->n_workers; i++) {
        arrays[n++] = &program->workers[i].metrics;
    }
    arrays[n++] = &program->writer_metrics;
    arrays[n++] = &program->control_metrics;
    arrays[n++] = &program->keeper_metrics;
    arrays[n++] = &program->own_metrics;
    arrays[n++] = &program->mail_metrics;
    return mr_metrics_format(arrays, n, out);
}

const char *program_not_ready(void *ctx) {
    struct program *program = ctx;
    if (atomic_load(&program->has_failed)) {
        return "the journal failed";
    }
    if (!atomic_load(&program->is_serving)) {
        return "starting or stopping";
    }
    return journal_state(program->journal) == JOURNAL_STATE_FULL ? "the disk is full" : NULL;
}

/* ---- the workers ---- */

static int make_workers(struct program *program) {
    size_t n = program->config->workers != 0 ? program->config->workers : os_cores_granted();
    program->n_workers = n > PROGRAM_WORKERS_MAX ? PROGRAM_WORKERS_MAX : n;
    program->workers = mr_calloc(program->n_workers, sizeof(struct worker));
    mr_err err = program->workers == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
    if (mr_is_ok(err)) {
        err = tail_hub_new(program->n_workers, &program->tails);
    }
    if (mr_is_ok(err)) {
        err = test_limits_new(&program->test_limits);
    }
    if (mr_is_ok(err)) {
        err = test_limits_new(&program->callback_test_limits);
    }
    if (mr_is_ok(err)) {
        err = callback_limits_new(&program->callback_limits);
    }
    if (mr_is_ok(err)) {
        err = rate_table_new(&program->rates);
    }
    if (mr_is_ok(err)) {
        err = passwords_new(&program->passwords);
    }
    if (mr_is_ok(err)) {
        err = payload_readers_new(program->journal, program->archive, 2, &program->readers);
    }
    for (size_t i = 0; i < program->n_workers && mr_is_ok(err); i++) {
        err = worker_init(&program->workers[i], program, i);
        if (mr_is_ok(err)) {
            err = shard_restore(program->shards[i], program->book, os_mono_now(), os_wall_now());
        }
    }
    if (mr_is_err(err)) {
        program_problem(program, "could not start the workers (error %u): %s", err.code,
                        strerror(errno));
        return PROGRAM_NO;
    }
    return PROGRAM_OK;
}

/* The URL of a bound address: an unspecified one is reached by loopback. */
static void url_of(const os_addr *bound, bool is_tls, char *out, size_t size) {
    char text[OS_ADDR_TEXT_SIZE];
    os_addr_format(bound, text);
    mr_str rest = mr_str_c(text);
    const char *host = "";
    if (mr_str_starts(rest, MR_STR("0.0.0.0:"))) {
        host = "127.0.0.1";
    } else if (mr_str_starts(rest, MR_STR("[::]:"))) {
        host = "[::1]";
    }
    if (host[0] != '\0') {
        rest = mr_str_slice(rest, host[0] == '[' ? 4 : 7, rest.len);
    }
    snprintf(out, size, "%s://%s%.*s", is_tls ? "https" : "http", host, MR_FMT(rest));
}

static int listen_all(struct program *program) {
    const struct config *config = program->config;
    os_addr addr;
    if (mr_is_err(os_addr_parse(mr_str_c(config->listen), &addr))) {
        program_problem(program,
                        "listen: \"%s\" is not an address and port such as "
                        "127.0.0.1:8080 or [::1]:8080",
                        config->listen);
        return PROGRAM_USAGE;
    }
    for (size_t i = 0; i < program->n_workers; i++) {
        os_addr bound;
        mr_err err = worker_listen(&program->workers[i], &addr, &bound);
        if (mr_is_err(err)) {
            program_problem(program, "could not listen on %s: %s", config->listen, strerror(errno));
            return PROGRAM_USAGE;
        }
        addr = bound; /* the same port for all */
    }
    url_of(&addr, program->tls != NULL, program->bound_url, sizeof program->bound_url);
    if (config->public_url[0] != '\0') {
        snprintf(program->public_url, sizeof program->public_url, "%s", config->public_url);
        size_t len = strlen(program->public_url);
        while (len > 0 && program->public_url[len - 1] == '/') {
            program->public_url[--len] = '\0';
        }
    } else {
        snprintf(program->public_url, sizeof program->public_url, "%s", program->bound_url);
    }
    for (size_t i = 0; i < program->n_workers; i++) {
        program->workers[i].api.public_url = mr_str_c(program->public_url);
    }
    if (config->metrics_listen[0] == '\0') {
        return PROGRAM_OK;
    }
    os_addr bound;
    if (mr_is_err(os_addr_parse(mr_str_c(config->metrics_listen), &addr)) ||
        mr_is_err(worker_listen_metrics(&program->workers[0], &addr, &bound))) {
        program_problem(program, "could not listen on metrics_listen %s: %s",
                        config->metrics_listen, strerror(errno));
        return PROGRAM_USAGE;
    }
    url_of(&bound, false, program->metrics_url, sizeof program->metrics_url);
    return PROGRAM_OK;
}

static int start_threads(struct program *program) {
    mr_err err = control_start(program->control);
    program->control_started = mr_is_ok(err);
    for (size_t i = 0; i < program->n_workers && mr_is_ok(err); i++) {
        err = worker_start(&program->workers[i]);
    }
    if (mr_is_err(err)) {
        program_problem(program, "could not start threads: %s", strerror(errno));
        return PROGRAM_NO;
    }
    return PROGRAM_OK;
}

/* ---- signals, failure, stop ---- */

/* A second signal, a forced stop, a FAILED journal. Threads are at work still, so nothing may be
 * freed under them. A failure counts also where its mail has not been read yet. */
static _Noreturn void end_at_once(const struct program *program) {
    os_process_end_now(atomic_load(&program->has_failed) ? PROGRAM_FAILED : program->exit_code);
}

static void on_served(struct mail *mail) {
    struct worker *worker = MR_CONTAINER(mail, struct worker, served_mail);
    struct program *program = worker->program;
    if (++program->n_served < program->n_workers) {
        return;
    }
    for (size_t i = 0; i < program->n_workers; i++) {
        worker_close(&program->workers[i]);
    }
}

void program_on_served(struct program *program, struct worker *worker) {
    worker->served_mail.run = on_served;
    mailbox_post(loop_mailbox(&program->loop), &worker->served_mail, &worker->metrics);
}

static void on_quiet(struct mail *mail) {
    struct worker *worker = MR_CONTAINER(mail, struct worker, quiet_mail);
    struct program *program = worker->program;
    if (++program->n_quiet == program->n_workers) {
        loop_stop(&program->loop);
    }
}

void program_on_quiet(struct program *program, struct worker *worker) {
    worker->quiet_mail.run = on_quiet;
    mailbox_post(loop_mailbox(&program->loop), &worker->quiet_mail, &worker->metrics);
}

static void on_stop_timer(struct loop_timer *timer) {
    struct program *program = MR_CONTAINER(timer, struct program, stop_timer);
    if (!atomic_load(&program->has_failed)) {
        mr_warn(&program->log, "stop_forced", mr_kv_c("why", "requests did not end in time"));
        program->exit_code = PROGRAM_NO;
        program->n_stops = 2;
    }
    loop_stop(&program->loop);
}

static void begin_stop(struct program *program) {
    mr_info(&program->log, "stopping", mr_kv_c("why", "signal"));
    atomic_store(&program->is_serving, false);
    for (size_t i = 0; i < program->n_workers; i++) {
        worker_stop(&program->workers[i]);
    }
    loop_timer_set(&program->loop, &program->stop_timer,
                   mr_mono_add_ms(loop_now(&program->loop), STOP_MS_MAX));
}

static void on_signal(struct loop_io *io, unsigned ready) {
    (void)ready;
    struct program *program = MR_CONTAINER(io, struct program, signals);
    enum os_signal signal;
    while ((signal = os_signals_read(io->fd)) != OS_SIGNAL_NONE) {
        if (signal != OS_SIGNAL_STOP) {
            continue;
        }
        if (program->n_stops++ == 0) {
            begin_stop(program);
        } else {
            program->exit_code = PROGRAM_NO;
            end_at_once(program);
        }
    }
}

static void on_failed_mail(struct mail *mail) {
    struct program *program = MR_CONTAINER(mail, struct program, failed_mail);
    mr_error(&program->log, "journal_failed",
             mr_kv_c("what", "nothing more is acknowledged or sent; restart recovers"));
    program->exit_code = PROGRAM_FAILED;
    if (program->is_ending) {
        return; /* the stopper sees it */
    }
    for (size_t i = 0; i < program->n_workers; i++) {
        worker_fail(&program->workers[i]);
    }
    loop_timer_set(&program->loop, &program->stop_timer,
                   mr_mono_add_ms(loop_now(&program->loop), FAILED_GRACE_MS));
}

void program_on_journal_failed(struct program *program) {
    atomic_store(&program->has_failed, true);
    mr_metric_set(&program->writer_metrics, MR_METRIC_JOURNAL_FAILED, 1);
    program->failed_mail.run = on_failed_mail;
    mailbox_post(loop_mailbox(&program->loop), &program->failed_mail, NULL);
}

static int open_main_loop(struct program *program) {
    int fd = -1;
    mr_err err = loop_init(&program->loop, &program->own_metrics);
    if (mr_is_ok(err)) {
        err = os_signals_open(&fd);
    }
    loop_io_init(&program->signals, on_signal);
    loop_timer_init(&program->stop_timer, on_stop_timer);
    if (mr_is_ok(err)) {
        err = loop_io_add(&program->loop, &program->signals, fd, LOOP_READ);
    }
    if (mr_is_err(err)) {
        program_problem(program, "could not set up the main loop: %s", strerror(errno));
        return PROGRAM_NO;
    }
    return PROGRAM_OK;
}

/* ---- the whole ---- */

static int start(struct program *program) {
    int code = open_main_loop(program);
    int (*const steps[])(struct program * program) = {
        load_lists,   load_tls,    load_trust, first_start_make, stores_open,   stores_recover,
        make_workers, stores_keep, listen_all, first_start_show, start_threads, mail_start,
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && code == PROGRAM_OK; i++) {
        code = steps[i](program);
    }
    return code;
}

/* All but what the main thread runs on. */
static void free_most(struct program *program) {
    for (size_t i = 0; i < program->n_workers && program->workers != NULL; i++) {
        worker_done(&program->workers[i]);
    }
    mailer_free(program->mailer);
    stores_close(program);
    mr_free(program->workers);
    tail_hub_free(program->tails);
    test_limits_free(program->test_limits);
    test_limits_free(program->callback_test_limits);
    callback_limits_free(program->callback_limits);
    rate_table_free(program->rates);
    net_trust_unref(program->trust);
    net_trust_roots_free(program->roots);
    SSL_CTX_free(program->tls);
}

/* Ends the threads in order; everything that workers had under way is over. They run, and read
 * their mail, until nobody is left who may send them any. */
static void stop_threads(struct program *program) {
    mailer_stop(program->mailer);
    if (program->control_started) {
        control_stop(program->control);
        control_join(program->control);
    }
    stores_finish_writer(program);
    payload_readers_free(program->readers);
    passwords_free(program->passwords);
    for (size_t i = 0; i < program->n_workers; i++) {
        worker_end(&program->workers[i]);
    }
}

static void on_ended(struct mail *mail) {
    struct program *program = MR_CONTAINER(mail, struct program, ended_mail);
    loop_stop(&program->loop);
}

static void stopper_main(void *arg) {
    struct program *program = arg;
    stop_threads(program);
    if (atomic_load(&program->has_failed)) {
        end_at_once(program); /* the last sync failed: this was no clean stop */
    }
    free_most(program);
    program->ended_mail.run = on_ended;
    mailbox_post(loop_mailbox(&program->loop), &program->ended_mail, NULL);
}

/* The second half of a stop. */
static void end_cleanly(struct program *program) {
    loop_timer_cancel(&program->loop, &program->stop_timer);
    program->is_ending = true;
    mr_err err = os_thread_start(&program->stopper, "mr-stopper", stopper_main, program);
    if (mr_is_err(err)) {
        stopper_main(program); /* without a thread a second signal has to wait */
    }
    loop_run(&program->loop);
    if (mr_is_ok(err)) {
        os_thread_join(&program->stopper);
    }
    loop_io_close(&program->loop, &program->signals);
    loop_done(&program->loop);
}

/* Beside the data folder, like the master key. */
static void name_setup_file(struct program *program) {
    size_t len = strlen(program->data_dir);
    while (len > 1 && program->data_dir[len - 1] == '/') {
        len--;
    }
    snprintf(program->setup_file, sizeof program->setup_file, "%.*s.setup-link", (int)len,
             program->data_dir);
}

int program_run(const struct config *config, const char *data_dir,
                const struct program_events *events) {
    struct program *program = MR_NEW(struct program);
    if (program == NULL) {
        events->on_problem(events->ctx, "could not start: out of memory");
        return PROGRAM_NO;
    }
    program->config = config;
    program->data_dir = data_dir;
    name_setup_file(program);
    program->events = *events;
    program->log = (mr_log){level_of(config->log_level), log_write, log_now, NULL};
    if (!config->debug_core) {
        os_process_protect();
    }
    os_descriptors_raise();
    int code = start(program);
    if (code != PROGRAM_OK) {
        /* Nothing was acknowledged; threads that run already end with the process. */
        os_process_end_now(code);
    }
    atomic_store(&program->is_serving, true);
    mr_info(&program->log, "serving", mr_kv_c("url", program->public_url),
            mr_kv_i64("workers", (int64_t)program->n_workers));
    events->on_ready(events->ctx, program->bound_url,
                     program->metrics_url[0] != '\0' ? program->metrics_url : NULL);
    loop_run(&program->loop);
    if (program->n_stops != 1 || atomic_load(&program->has_failed)) {
        end_at_once(program);
    }
    end_cleanly(program);
    mr_info(&program->log, "stopped", mr_kv_i64("code", program->exit_code));
    code = program->exit_code;
    mr_free(program);
    return code;
}
