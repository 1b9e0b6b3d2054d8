/* Commands that need no server: sign, verify, json check, check-address, reference. */
#include "cli/cli.h"
#include "cli/manual.h"

#include "api/docs.h"
#include "api/errors.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/num.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "json/tape.h"
#include "json/write.h"
#include "net/guard.h"
#include "net/names.h"
#include "net/url.h"
#include "server/config.h"
#include "sink/signature.h"

#include <stdio.h>

#define FILE_MAX      ((size_t)256 << 20)
#define ALLOW_MAX     64
#define LOOKUP_MS     5000
#define REFERENCE_MAX ((size_t)4 << 20)

/* ---- sign, verify ---- */

enum sign_option { SIGN_SECRET_FILE = 0, SIGN_METHOD, SIGN_URL, SIGN_SIGNATURE, SIGN_OPTIONS };

/* Computes the signature of what the options name. False: printed. */
static bool compute(const char *command, const struct cli_option *options, const char *body_file,
                    char out[static SIGNATURE_HEX_LEN]) {
    mr_str secret = MR_STR_NONE;
    mr_str body = MR_STR_NONE;
    struct crypto_hasher *hasher = NULL;
    bool ok = cli_read_line_file(options[SIGN_SECRET_FILE].value, &secret) &&
              cli_read_file(body_file, FILE_MAX, &body);
    if (ok && (mr_is_err(crypto_hasher_new(&hasher)) ||
               mr_is_err(signature_kore(hasher, secret, mr_str_c(options[SIGN_METHOD].value),
                                        mr_str_c(options[SIGN_URL].value), &body, 1, out)))) {
        cli_problem("%s: could not hash", command);
        ok = false;
    }
    crypto_hasher_free(hasher);
    if (secret.ptr != NULL) {
        crypto_wipe((void *)(uintptr_t)secret.ptr, secret.len);
    }
    mr_free((void *)(uintptr_t)secret.ptr);
    mr_free((void *)(uintptr_t)body.ptr);
    return ok;
}

static bool take_sign_options(const char *command, int argc, char **argv,
                              struct cli_option options[static SIGN_OPTIONS], bool is_verify,
                              const char **ret_body) {
    static const char *const names[] = {"secret-file", "method", "url", "signature"};
    size_t n_options = is_verify ? SIGN_OPTIONS : SIGN_OPTIONS - 1;
    for (size_t i = 0; i < n_options; i++) {
        options[i] = (struct cli_option){.name = names[i]};
    }
    size_t n;
    if (!cli_options(argc, argv, options, n_options, ret_body, 1, &n, command)) {
        return false;
    }
    for (size_t i = 0; i < n_options; i++) {
        if (options[i].value == NULL) {
            cli_usage_error(command, "--%s is needed", names[i]);
            return false;
        }
    }
    if (n != 1) {
        cli_usage_error(command, "the file with the body is needed (- for standard input)");
        return false;
    }
    mr_str url = mr_str_c(options[SIGN_URL].value);
    if (!mr_str_starts(url, MR_STR("https://")) && !mr_str_starts(url, MR_STR("http://"))) {
        cli_usage_error(command, "--url takes the URL of the destination as it is configured, with "
                                 "https:// or http://");
        return false;
    }
    return true;
}

int cli_sign(int argc, char **argv) {
    struct cli_option options[SIGN_OPTIONS];
    const char *body;
    char signature[SIGNATURE_HEX_LEN];
    if (!take_sign_options("sign", argc, argv, options, false, &body)) {
        return CLI_USAGE;
    }
    if (!compute("sign", options, body, signature)) {
        return CLI_USAGE;
    }
    printf("%.*s\n", SIGNATURE_HEX_LEN, signature);
    return CLI_OK;
}

int cli_verify(int argc, char **argv) {
    struct cli_option options[SIGN_OPTIONS];
    const char *body;
    char signature[SIGNATURE_HEX_LEN];
    if (!take_sign_options("verify", argc, argv, options, true, &body)) {
        return CLI_USAGE;
    }
    if (!compute("verify", options, body, signature)) {
        return CLI_USAGE;
    }
    mr_str given = mr_str_c(options[SIGN_SIGNATURE].value);
    bool right =
        given.len == SIGNATURE_HEX_LEN && crypto_equal(given.ptr, signature, SIGNATURE_HEX_LEN);
    fprintf(stderr, "%s\n",
            right ? "the signature is right"
                  : "the signature is wrong: compare secret, method, URL as configured (up to ? or "
                    "#) and the exact bytes of the body");
    return right ? CLI_OK : CLI_NO;
}

/* ---- json check ---- */

int cli_json(int argc, char **argv) {
    if (argc != 2 || strcmp(argv[0], "check") != 0) {
        return cli_usage_error("json", "there is one form: json check FILE");
    }
    mr_str text;
    if (!cli_read_file(argv[1], FILE_MAX, &text)) {
        return CLI_USAGE;
    }
    json_tape tape;
    json_error error;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_err err = json_tape_read(&tape, text, &error);
    json_tape_done(&tape);
    mr_free((void *)(uintptr_t)text.ptr);
    if (mr_err_is(err, MR_E_NOMEM) || mr_err_is(err, MR_E_LIMIT)) {
        cli_problem("could not read %s: too large", argv[1]);
        return CLI_USAGE;
    }
    if (mr_is_err(err)) {
        fprintf(stderr, "%s: not valid at byte %zu: %s, expected %s\n", argv[1], error.offset,
                error.rule, error.expected);
        return CLI_NO;
    }
    return CLI_OK;
}

/* ---- check-address ---- */

struct lookup {
    struct net_lookup lookup;
    struct loop *loop;
    struct net_guard *guard;
    int code;
};

static void on_answer(struct net_lookup *lookup, const struct net_names_answer *answer) {
    struct lookup *mine = (struct lookup *)(void *)lookup;
    struct net_judged_addr judged[NET_NAMES_ADDRS_MAX];
    struct net_refusal refusal;
    mine->code = CLI_NO;
    if (answer->problem != NET_NAMES_OK) {
        fprintf(stderr, "refused: %s\n", answer->text);
    } else if (mr_is_err(net_guard_judge_all(mine->guard, answer->addrs, answer->n_addrs, judged,
                                             &refusal))) {
        fprintf(stderr, "refused: %s\n", refusal.text);
    } else {
        fprintf(stderr, "allowed\n");
        mine->code = CLI_OK;
    }
    loop_stop(mine->loop);
}

/* Resolves the name and judges the whole answer. */
static int judge_name(struct net_guard *guard, const struct net_url *url) {
    struct loop loop;
    struct net_names *names = NULL;
    if (mr_is_err(loop_init(&loop, NULL))) {
        cli_problem("could not resolve names here");
        return CLI_USAGE;
    }
    struct lookup lookup = {.loop = &loop, .guard = guard, .code = CLI_USAGE};
    if (mr_is_err(net_names_new(&loop, NULL, &names))) {
        cli_problem("could not resolve names here");
    } else {
        net_names_resolve(names, &lookup.lookup, url->host, url->port,
                          mr_mono_add_ms(loop_now(&loop), LOOKUP_MS), on_answer);
        loop_run(&loop);
        net_names_free(names);
    }
    loop_done(&loop);
    return lookup.code;
}

static int judge_url(struct net_guard *guard, const char *text, bool allow_http) {
    struct net_url url;
    enum net_url_problem problem = net_url_parse(mr_str_c(text), allow_http, &url);
    if (problem != NET_URL_OK) {
        fprintf(stderr, "refused: %s\n", net_url_problem_text(problem));
        return CLI_NO;
    }
    if (url.host_kind == NET_HOST_NAME) {
        return judge_name(guard, &url);
    }
    struct net_judged_addr judged;
    struct net_refusal refusal;
    if (mr_is_err(net_guard_judge(guard, &url.addr, &judged, &refusal))) {
        fprintf(stderr, "refused: %s\n", refusal.text);
        return CLI_NO;
    }
    fprintf(stderr, "allowed\n");
    return CLI_OK;
}

int cli_check_address(int argc, char **argv) {
    struct cli_option options[] = {{.name = "allow-http", .is_flag = true},
                                   {.name = "allow-networks"}};
    const char *url;
    size_t n;
    if (!cli_options(argc, argv, options, 2, &url, 1, &n, "check-address")) {
        return CLI_USAGE;
    }
    if (n != 1) {
        return cli_usage_error("check-address", "the URL is needed");
    }
    struct net_cidr allow[ALLOW_MAX];
    size_t n_allow = 0;
    mr_str rest = mr_str_c(options[1].value);
    mr_str part;
    while (mr_str_split(&rest, ',', &part)) {
        if (n_allow == ALLOW_MAX ||
            mr_is_err(net_cidr_parse(mr_str_trim(part), &allow[n_allow++]))) {
            return cli_usage_error("check-address", "--allow-networks: \"%.*s\" is no CIDR block",
                                   MR_FMT(part));
        }
    }
    struct net_guard *guard;
    if (mr_is_err(net_guard_new(allow, n_allow, &guard))) {
        cli_problem("could not read this machine's addresses");
        return CLI_USAGE;
    }
    int code = judge_url(guard, url, options[0].is_given);
    net_guard_free(guard);
    return code;
}

/* ---- reference ---- */

static mr_err metrics_reference(mr_buf *out) {
    static const struct {
        const char *name, *labels, *kind, *help;
    } rows[] = {
#define METRIC_ROW(symbol, name, labels, kind, help) {name, labels, kind, help},
        MR_METRICS(METRIC_ROW)
#undef METRIC_ROW
    };
    MR_TRY(mr_buf_printf(out, "| name | labels | kind | meaning |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        MR_TRY(mr_buf_printf(out, "| `%s` | %s%s%s | %s | %s |\n", rows[i].name,
                             rows[i].labels[0] != '\0' ? "`" : "", rows[i].labels,
                             rows[i].labels[0] != '\0' ? "`" : "", rows[i].kind, rows[i].help));
    }
    return MR_OK;
}

static mr_err commands_reference(mr_buf *out) {
#define COMMAND_ROW(symbol, name, usage, summary)                                                  \
    MR_TRY(mr_buf_printf(out, "## %s\n\n%s.\n\n    millrace %s\n\n", name, summary, usage));
    CLI_COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
    return MR_OK;
}

static const char *const access_names[] = {[AUTH_NO_ACCESS] = "",
                                           [AUTH_READ] = "Read",
                                           [AUTH_WRITE] = "Write",
                                           [AUTH_MODIFY] = "Modify",
                                           [AUTH_DELETE] = "Delete"};

static void write_route(json_out *out, const struct auth_route_info *info) {
    static const char *const errors[] = {[AUTH_ERRORS_PLAIN] = "plain",
                                         [AUTH_ERRORS_CLIENTS] = "clients",
                                         [AUTH_ERRORS_SECRETS] = "secrets",
                                         [AUTH_ERRORS_TOKEN] = "token"};
    bool asks = info->resource != AUTH_RES_NONE;
    json_out_object(out);
    json_out_member_str(out, "route", info->symbol);
    json_out_member_str(out, "method", info->method);
    json_out_member_str(out, "path", info->path);
    json_out_member_str(out, "scope", asks ? auth_resource_name(info->resource) : MR_STR_NONE);
    json_out_member_str(out, "access", asks ? mr_str_c(access_names[info->access]) : MR_STR_NONE);
    json_out_member_c(out, "errors", errors[info->errors]);
    json_out_end(out);
}

/* The same for programs: an array of routes. */
static mr_err api_reference_json(mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_array(&writer);
    for (int i = 0; i < AUTH_ROUTE_COUNT; i++) {
        write_route(&writer, auth_route_info((enum auth_route)i));
    }
    json_out_end(&writer);
    MR_TRY(json_out_finish(&writer));
    return mr_buf_byte(out, '\n');
}

int cli_reference(int argc, char **argv) {
    static const struct {
        const char *name;
        mr_err (*write)(mr_buf *out);
    } tables[] = {{"settings", config_reference}, {"errors", api_error_reference},
                  {"metrics", metrics_reference}, {"commands", commands_reference},
                  {"api", api_reference},         {"man", manual_write}};
    bool is_json = argc == 2 && strcmp(argv[0], "api") == 0 && strcmp(argv[1], "--json") == 0;
    for (size_t i = 0; (argc == 1 || is_json) && i < sizeof tables / sizeof tables[0]; i++) {
        if (strcmp(argv[0], tables[i].name) != 0) {
            continue;
        }
        mr_buf out;
        mr_buf_init(&out, REFERENCE_MAX);
        mr_err err = is_json ? api_reference_json(&out) : tables[i].write(&out);
        if (mr_is_ok(err)) {
            cli_print(mr_buf_view(&out));
        }
        mr_buf_done(&out);
        return mr_is_ok(err) ? CLI_OK : CLI_NO;
    }
    return cli_usage_error("reference", "name one table");
}
