/* Puts envelopes into a stream by the product's sink alone, for tests that stand in AWS's place:
 *
 *   kinesis-put --kinesis URL --sts URL --stream ARN --role ARN [--external-id X]
 *               [--partition-key POINTER] [--container URI | --metadata URI] [--timeout MS]
 *
 * The caller's credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
 * Reads envelopes, one a line; an empty line sends those gathered as one request, "x8" as eight at
 * once, and prints a line of JSON for each when it has ended: outcome, status, items as
 * [kind, reason], detail, steps. */
#include "base/mem.h"
#include "base/num.h"
#include "json/write.h"
#include "os/process.h"
#include "sink/aws/aws.h"
#include "sink/sink.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE_BYTES_MAX ((size_t)4 << 20)
#define EVENTS_MAX     600
#define AT_ONCE_MAX    64
#define BODY_MAX       ((size_t)64 << 20)

struct run;

struct job {
    struct sink_request sink; /* first */
    struct run *run;
    mr_arena arena;
    size_t used;
};

struct run {
    struct loop loop;
    mr_metrics metrics;
    struct net_guard *guard;
    struct net_names *names;
    struct http_client *client;
    struct crypto_hasher *hasher;
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct secret_slab *slab;
    mr_secret secrets[4]; /* given to aws */
    size_t n_secrets;
    struct aws *aws;
    struct sink_env env;
    struct model_destination *destination;
    struct sink_target *target;
    struct job jobs[AT_ONCE_MAX];
    size_t n_open;
    uint32_t timeout_ms;
    mr_str envelopes[EVENTS_MAX];
    size_t n;
};

static void fail(const char *what) {
    fprintf(stderr, "kinesis-put: %s\n", what);
    exit(2);
}

static void must(mr_err err, const char *what) {
    if (mr_is_err(err)) {
        fprintf(stderr, "kinesis-put: %s: error %u\n", what, err.code);
        exit(2);
    }
}

struct ask {
    const char *kinesis, *sts, *stream, *role, *external_id, *partition_key, *container, *metadata,
        *timeout;
};

static struct ask read_arguments(int argc, char **argv) {
    struct ask ask = {.timeout = "5000"};
    const struct {
        const char *name;
        const char **to;
    } options[] = {{"--kinesis", &ask.kinesis},         {"--sts", &ask.sts},
                   {"--stream", &ask.stream},           {"--role", &ask.role},
                   {"--external-id", &ask.external_id}, {"--partition-key", &ask.partition_key},
                   {"--container", &ask.container},     {"--metadata", &ask.metadata},
                   {"--timeout", &ask.timeout}};
    const size_t n = sizeof options / sizeof options[0];
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < n && strcmp(options[k].name, argv[i]) != 0) {
            k++;
        }
        if (k == n || i + 1 == argc) {
            fail("an option is unknown or has no value");
        }
        *options[k].to = argv[i + 1];
    }
    if (ask.stream == NULL || ask.role == NULL) {
        fail("--stream and --role are needed");
    }
    return ask;
}

static void take_secret(struct run *run, const char *name, mr_secret *ret_secret) {
    const char *text = os_environment_get(name);
    if (text != NULL) {
        must(mr_secret_new(run->slab, mr_str_c(text), ret_secret), name);
        run->secrets[run->n_secrets++] = *ret_secret;
    }
}

static void make_aws(struct run *run, const struct ask *ask) {
    struct aws_options options = {.kinesis_endpoint = mr_str_c(ask->kinesis),
                                  .sts_endpoint = mr_str_c(ask->sts)};
    if (ask->container != NULL) {
        options.source = AWS_SOURCE_CONTAINER;
        options.container_uri = mr_str_c(ask->container);
        take_secret(run, "AWS_CONTAINER_AUTHORIZATION_TOKEN", &options.container_token);
    } else if (ask->metadata != NULL) {
        options.source = AWS_SOURCE_INSTANCE;
        options.metadata_endpoint = mr_str_c(ask->metadata);
    } else if (os_environment_get("AWS_ACCESS_KEY_ID") != NULL) {
        options.source = AWS_SOURCE_FIXED;
        options.access_key = mr_str_c(os_environment_get("AWS_ACCESS_KEY_ID"));
        take_secret(run, "AWS_SECRET_ACCESS_KEY", &options.secret_key);
        take_secret(run, "AWS_SESSION_TOKEN", &options.session_token);
    }
    const struct aws_world world = {&run->loop, run->client, run->hasher,
                                    run->trust, run->slab,   NULL};
    must(aws_new(&world, &options, &run->aws), "aws");
}

static void make(struct run *run, const struct ask *ask) {
    struct net_trust_problem problem;
    must(loop_init(&run->loop, &run->metrics), "loop");
    must(secret_slab_new(1 << 20, &run->slab), "slab");
    must(net_guard_new(NULL, 0, &run->guard), "guard");
    must(net_names_new(&run->loop, NULL, &run->names), "names");
    must(crypto_hasher_new(&run->hasher), "hasher");
    must(net_trust_roots_new(MR_STR_NONE, &run->roots, &problem), "roots");
    must(net_trust_new(run->roots, NULL, &run->trust, &problem), "trust");
    const struct http_client_opts opts = {
        .loop = &run->loop, .guard = run->guard, .names = run->names, .metrics = &run->metrics};
    must(http_client_new(&opts, &run->client), "client");
    make_aws(run, ask);
    run->env = (struct sink_env){.client = run->client,
                                 .hasher = run->hasher,
                                 .roots = run->roots,
                                 .trust = run->trust,
                                 .aws = run->aws};
    run->destination = model_destination_new(1, MR_STR("dst_01jtest0000000000000000000"), 1);
    struct model_settings settings;
    model_settings_init(&settings, MODEL_KIND_KINESIS);
    settings.kinesis =
        (struct model_kinesis){mr_str_c(ask->stream), mr_str_c(ask->role),
                               mr_str_c(ask->external_id), mr_str_c(ask->partition_key)};
    must(model_destination_set(run->destination, &settings), "destination");
    must(sink_target_new(&run->env, run->destination, &run->target), "target");
    uint64_t timeout;
    must(mr_u64_parse(mr_str_c(ask->timeout), 1, 60000, &timeout), "--timeout");
    run->timeout_ms = (uint32_t)timeout;
}

static void unmake(struct run *run) {
    sink_target_unref(run->target);
    http_client_free(run->client);
    aws_free(run->aws);
    model_object_unref(&run->destination->object);
    for (size_t i = 0; i < run->n_secrets; i++) {
        mr_secret_unref(&run->secrets[i]);
    }
    secret_slab_free(run->slab); /* asserts that no secret is left */
    net_trust_unref(run->trust);
    net_trust_roots_free(run->roots);
    crypto_hasher_free(run->hasher);
    net_names_free(run->names);
    net_guard_free(run->guard);
    loop_done(&run->loop);
    mr_free(run);
}

static void write_result(const struct sink_result *result, size_t used, mr_buf *out) {
    static const char *const outcomes[] = {"answered", "name",     "address",  "connect",
                                           "tls",      "reset",    "response", "timeout",
                                           "request",  "cancelled"};
    json_out o;
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_member_c(&o, "outcome", outcomes[result->outcome]);
    json_out_member_u64(&o, "status", result->status);
    json_out_member_u64(&o, "used", used);
    json_out_member_str(&o, "detail",
                        mr_str_is_absent(result->detail) ? MR_STR("") : result->detail);
    json_out_member_array(&o, "items");
    for (size_t i = 0; i < result->n_items; i++) {
        json_out_array(&o);
        json_out_u64(&o, result->items[i].kind);
        json_out_u64(&o, result->items[i].reason);
        json_out_end(&o);
    }
    json_out_end(&o);
    json_out_member_array(&o, "steps");
    for (size_t i = 0; i < result->n_steps; i++) {
        json_out_object(&o);
        json_out_member_c(&o, "step", result->steps[i].name);
        json_out_member_bool(&o, "ok", result->steps[i].is_ok);
        json_out_end(&o);
    }
    json_out_end(&o);
    json_out_end(&o);
    must(json_out_finish(&o), "output");
}

static void on_done(struct sink_request *sink, const struct sink_result *result) {
    struct job *job = (struct job *)(void *)sink;
    mr_buf line;
    mr_buf_init(&line, BODY_MAX);
    write_result(result, job->used, &line);
    printf("%.*s\n", MR_FMT(mr_buf_view(&line)));
    fflush(stdout);
    mr_buf_done(&line);
    job->run->n_open--;
}

static void start(struct run *run, struct job *job) {
    *job = (struct job){.run = run};
    mr_arena_init(&job->arena, BODY_MAX);
    mr_buf_init(&job->sink.body, BODY_MAX);
    static const mr_secret none = {NULL};
    job->sink.target = run->target;
    job->sink.secret = &none;
    job->sink.token = "00000000-0000-4000-8000-000000000000";
    job->sink.timeout_ms = run->timeout_ms;
    job->sink.on_done = on_done;
    must(sink_compose(&job->sink, run->envelopes, run->n, (size_t)5 << 20, &job->arena, &job->used),
         "compose");
    job->sink.now = loop_wall(&run->loop);
    const char *why = "";
    must(sink_send(&run->env, &job->sink, &why), "send");
    run->n_open++;
}

static void finish(struct job *job) {
    sink_clear(&job->sink);
    mr_buf_done(&job->sink.body);
    mr_arena_done(&job->arena);
}

static void send_all(struct run *run, size_t n) {
    loop_turn(&run->loop, 0); /* the time may be long ago */
    for (size_t i = 0; i < n; i++) {
        start(run, &run->jobs[i]);
    }
    while (run->n_open > 0) {
        loop_turn(&run->loop, 50);
    }
    for (size_t i = 0; i < n; i++) {
        finish(&run->jobs[i]);
    }
    for (size_t i = 0; i < run->n; i++) {
        mr_free((void *)(uintptr_t)run->envelopes[i].ptr);
    }
    run->n = 0;
}

int main(int argc, char **argv) {
    struct ask ask = read_arguments(argc, argv);
    struct run *run = MR_NEW(struct run);
    make(run, &ask);
    char *line = mr_alloc(LINE_BYTES_MAX);
    while (fgets(line, (int)LINE_BYTES_MAX, stdin) != NULL) {
        mr_str text = mr_str_slice(mr_str_c(line), 0, mr_str_find_byte(mr_str_c(line), '\n', 0));
        uint64_t n = 1;
        if (text.len == 0 ||
            (text.ptr[0] == 'x' &&
             mr_is_ok(mr_u64_parse(mr_str_slice(text, 1, text.len), 1, AT_ONCE_MAX, &n)))) {
            send_all(run, n);
        } else if (run->n < EVENTS_MAX) {
            run->envelopes[run->n++] = mr_str_of(mr_strdup_n(text.ptr, text.len), text.len);
        }
    }
    mr_free(line);
    unmake(run);
    return 0;
}
