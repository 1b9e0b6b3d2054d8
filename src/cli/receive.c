/* `millrace receive`: options, listener, output of the receiver.
 *
 * Lines go to standard output through a buffer that is flushed at the end of each turn of the loop,
 * so that a reader sees them at once and a storm of requests costs one write for many. A stop
 * signal ends the loop; then the figures are shown on standard error and, when asked for, written
 * to a file. */
#include "cli/cli.h"
#include "cli/receiver.h"

#include "base/mem.h"
#include "base/num.h"
#include "crypto/secret.h"
#include "net/tls.h"
#include "os/files.h"
#include "os/signals.h"

#include <openssl/ssl.h>

#include <errno.h>
#include <stdio.h>

#define PEM_MAX      ((size_t)1 << 20)
#define DELAY_MS_MAX 86400000
#define TEXT_MAX     ((size_t)65536)

enum receive_option {
    RECEIVE_LISTEN = 0,
    RECEIVE_TLS_CERT,
    RECEIVE_TLS_KEY,
    RECEIVE_SECRET_FILE,
    RECEIVE_URL,
    RECEIVE_STATUS,
    RECEIVE_DELAY_MS,
    RECEIVE_SUMMARY_FILE,
    RECEIVE_HANG,
    RECEIVE_RESET,
    RECEIVE_CLOSE,
    RECEIVE_OPTIONS,
};

struct receive {
    struct cli_option options[RECEIVE_OPTIONS];
    struct receiver_options receiver_options;
    struct inspect_options inspect_options;
    mr_str secret; /* owned */
    struct inspector *inspector;
    struct loop loop;
    struct stream_shared streams;
    struct receiver *receiver;
    struct loop_io signals;
    struct loop_hook hook;
    bool has_lines; /* not flushed yet */
};

static bool take_number(const struct cli_option *option, uint64_t min, uint64_t max,
                        uint64_t *number) {
    if (option->value != NULL &&
        mr_is_err(mr_u64_parse(mr_str_c(option->value), min, max, number))) {
        cli_usage_error("receive", "--%s takes a whole number from %llu to %llu", option->name,
                        (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    return true;
}

static bool take_manner(struct receive *receive) {
    static const enum receiver_manner manners[] = {RECEIVER_HANGS, RECEIVER_RESETS,
                                                   RECEIVER_CLOSES};
    int given = 0;
    for (int i = 0; i < 3; i++) {
        if (receive->options[RECEIVE_HANG + i].is_given) {
            receive->receiver_options.manner = manners[i];
            given++;
        }
    }
    if (given > 1) {
        cli_usage_error("receive", "only one of --hang, --reset and --close may be given");
    }
    return given <= 1;
}

static bool take_options(int argc, char **argv, struct receive *receive) {
    static const char *const names[RECEIVE_OPTIONS] = {
        "listen",   "tls-cert",     "tls-key", "secret-file", "url",  "status",
        "delay-ms", "summary-file", "hang",    "reset",       "close"};
    for (int i = 0; i < RECEIVE_OPTIONS; i++) {
        receive->options[i] = (struct cli_option){.name = names[i], .is_flag = i >= RECEIVE_HANG};
    }
    struct cli_option *options = receive->options;
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, RECEIVE_OPTIONS, args, 0, &n, "receive")) {
        return false;
    }
    uint64_t status = 200;
    uint64_t delay_ms = 0;
    mr_str listen = options[RECEIVE_LISTEN].value != NULL ? mr_str_c(options[RECEIVE_LISTEN].value)
                                                          : MR_STR("127.0.0.1:0");
    if (mr_is_err(os_addr_parse(listen, &receive->receiver_options.addr))) {
        cli_usage_error("receive", "--listen takes an address and port such as 127.0.0.1:0");
        return false;
    }
    if ((options[RECEIVE_TLS_CERT].value == NULL) != (options[RECEIVE_TLS_KEY].value == NULL)) {
        cli_usage_error("receive", "--tls-cert and --tls-key belong together");
        return false;
    }
    if (options[RECEIVE_URL].value != NULL && options[RECEIVE_SECRET_FILE].value == NULL) {
        cli_usage_error("receive", "--url is for verifying: --secret-file is needed too");
        return false;
    }
    if (!take_number(&options[RECEIVE_STATUS], 200, 599, &status) ||
        !take_number(&options[RECEIVE_DELAY_MS], 0, DELAY_MS_MAX, &delay_ms)) {
        return false;
    }
    receive->receiver_options.status = (int)status;
    receive->receiver_options.delay_ms = (int64_t)delay_ms;
    receive->inspect_options.url = mr_str_c(options[RECEIVE_URL].value);
    receive->inspect_options.is_tls = options[RECEIVE_TLS_CERT].value != NULL;
    return take_manner(receive);
}

static bool load_tls(struct receive *receive) {
    mr_str chain = MR_STR_NONE;
    mr_str key = MR_STR_NONE;
    mr_buf problem;
    mr_buf_init(&problem, TEXT_MAX);
    bool ok = cli_read_file(receive->options[RECEIVE_TLS_CERT].value, PEM_MAX, &chain) &&
              cli_read_file(receive->options[RECEIVE_TLS_KEY].value, PEM_MAX, &key);
    if (ok) {
        mr_err err = tls_server_context(chain, key, &problem, &receive->receiver_options.tls);
        ok = mr_is_ok(err);
        if (!ok) {
            cli_problem("cannot use %s: %.*s",
                        mr_err_is(err, NET_E_TLS_KEY) ? "the key of --tls-key"
                                                      : "the certificate of --tls-cert",
                        MR_FMT(mr_buf_view(&problem)));
        }
    }
    if (key.ptr != NULL) {
        crypto_wipe((void *)(uintptr_t)key.ptr, key.len);
    }
    mr_free((void *)(uintptr_t)key.ptr);
    mr_free((void *)(uintptr_t)chain.ptr);
    mr_buf_done(&problem);
    return ok;
}

/* ---- running ---- */

static void on_line(void *ctx, mr_str line) {
    struct receive *receive = ctx;
    cli_print(line);
    receive->has_lines = true;
}

static void on_turn_end(struct loop_hook *hook) {
    struct receive *receive = MR_CONTAINER(hook, struct receive, hook);
    if (receive->has_lines) {
        receive->has_lines = false;
        if (fflush(stdout) != 0) {
            loop_stop(&receive->loop); /* nobody reads any more */
        }
    }
}

static void on_signal(struct loop_io *io, unsigned ready) {
    (void)ready;
    struct receive *receive = MR_CONTAINER(io, struct receive, signals);
    for (enum os_signal signal; (signal = os_signals_read(io->fd)) != OS_SIGNAL_NONE;) {
        if (signal == OS_SIGNAL_STOP) {
            loop_stop(&receive->loop);
        }
    }
}

static int listen_and_run(struct receive *receive) {
    os_addr bound;
    mr_err err =
        receiver_new(&receive->streams, &receive->receiver_options, &receive->receiver, &bound);
    char address[OS_ADDR_TEXT_SIZE];
    if (mr_is_err(err)) {
        os_addr_format(&receive->receiver_options.addr, address);
        cli_problem("could not listen on %s: %s", address, strerror(errno));
        return CLI_USAGE;
    }
    os_addr_format(&bound, address);
    printf("ready url=%s://%s\n", receive->receiver_options.tls != NULL ? "https" : "http",
           address);
    fflush(stdout);
    loop_run(&receive->loop);
    return ferror(stdout) ? CLI_NO : CLI_OK;
}

/* The file beside the working directory or in the folder that the path names. */
static bool write_file(const char *path, mr_str text) {
    char dir[4096];
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    mr_str folder = slash == NULL ? MR_STR(".") : mr_str_of(path, (size_t)(slash + 1 - path));
    return mr_str_to_c(folder, dir, sizeof dir) &&
           mr_is_ok(os_file_replace(&os_files_system, dir, name, text));
}

static int summarise(struct receive *receive) {
    struct inspect_summary summary;
    inspector_summary(receive->inspector, &summary);
    mr_buf text;
    mr_buf_init(&text, TEXT_MAX);
    int code = CLI_OK;
    const char *path = receive->options[RECEIVE_SUMMARY_FILE].value;
    if (mr_is_err(inspect_summary_write(&summary, &text))) {
        cli_problem("could not sum up: out of memory");
        code = CLI_NO;
    } else {
        fprintf(stderr, "%.*s", MR_FMT(mr_buf_view(&text)));
        if (path != NULL && !write_file(path, mr_buf_view(&text))) {
            cli_problem("could not write %s: %s", path, strerror(errno));
            code = CLI_NO;
        }
    }
    mr_buf_done(&text);
    return code;
}

/* Loop, signals, receiver; until a stop signal. */
static int run(struct receive *receive) {
    if (mr_is_err(loop_init(&receive->loop, NULL))) {
        cli_problem("could not start: %s", strerror(errno));
        return CLI_NO;
    }
    int code = CLI_NO;
    int fd = -1;
    loop_io_init(&receive->signals, on_signal);
    loop_on_turn_end(&receive->loop, &receive->hook, on_turn_end);
    if (mr_is_ok(stream_shared_init(&receive->streams, &receive->loop, NULL))) {
        if (mr_is_ok(os_signals_open(&fd)) &&
            mr_is_ok(loop_io_add(&receive->loop, &receive->signals, fd, LOOP_READ))) {
            code = listen_and_run(receive);
            int summed = receive->receiver != NULL ? summarise(receive) : CLI_OK;
            code = code == CLI_OK ? summed : code;
        } else {
            cli_problem("could not start: %s", strerror(errno));
        }
        receiver_free(receive->receiver);
        loop_io_remove(&receive->loop, &receive->signals);
        os_close(fd);
        stream_shared_done(&receive->streams);
    } else {
        cli_problem("could not start: out of memory");
    }
    loop_hook_remove(&receive->hook);
    loop_done(&receive->loop);
    return code;
}

int cli_receive(int argc, char **argv) {
    struct receive *receive = MR_NEW(struct receive);
    if (receive == NULL) {
        cli_problem("could not start: out of memory");
        return CLI_NO;
    }
    int code = CLI_USAGE;
    const char *secret_file = NULL;
    bool ok = take_options(argc, argv, receive);
    secret_file = receive->options[RECEIVE_SECRET_FILE].value;
    ok = ok && (secret_file == NULL || cli_read_line_file(secret_file, &receive->secret)) &&
         (receive->options[RECEIVE_TLS_CERT].value == NULL || load_tls(receive));
    if (ok) {
        os_signals_block();
        os_descriptors_raise();
        receive->inspect_options.secret = receive->secret;
        if (mr_is_ok(inspector_new(&receive->inspect_options, &receive->inspector))) {
            receive->receiver_options.inspector = receive->inspector;
            receive->receiver_options.on_line = on_line;
            receive->receiver_options.ctx = receive;
            code = run(receive);
        } else {
            cli_problem("could not start: out of memory");
            code = CLI_NO;
        }
    }
    inspector_free(receive->inspector);
    SSL_CTX_free(receive->receiver_options.tls);
    if (receive->secret.ptr != NULL) {
        crypto_wipe((void *)(uintptr_t)receive->secret.ptr, receive->secret.len);
    }
    mr_free((void *)(uintptr_t)receive->secret.ptr);
    mr_free(receive);
    return code;
}
