/* Signs a request by the product's code and shows how, so that vectors of other hands can be run
 * against it: reads a raw HTTP request on standard input, prints the canonical request, the string
 * to sign and the value of Authorization, an empty line between them.
 *
 *   sigv4-sign --region R --service S --access-key A --secret-key K [--token T]
 *              --date 2015-08-30T12:36:00Z [--normalize yes|no] [--sign-body yes|no]
 *
 * The request may have LF or CR LF, spaces and other characters in its target, and folded lines,
 * which count as further values of their field. */
#include "base/mem.h"
#include "sink/aws/sigv4.h"

#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX ((size_t)64 << 20)

struct ask {
    const char *region;
    const char *service;
    const char *access_key;
    const char *secret_key;
    const char *token;
    const char *date;
    const char *normalize;
    const char *sign_body;
};

static void fail(const char *what) {
    fprintf(stderr, "sigv4-sign: %s\n", what);
    exit(2);
}

static struct ask read_arguments(int argc, char **argv) {
    struct ask ask = {.normalize = "yes", .sign_body = "no"};
    const struct {
        const char *name;
        const char **to;
    } options[] = {{"--region", &ask.region},         {"--service", &ask.service},
                   {"--access-key", &ask.access_key}, {"--secret-key", &ask.secret_key},
                   {"--token", &ask.token},           {"--date", &ask.date},
                   {"--normalize", &ask.normalize},   {"--sign-body", &ask.sign_body}};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < 8 && strcmp(options[k].name, argv[i]) != 0) {
            k++;
        }
        if (k == 8 || i + 1 == argc) {
            fail("an option is unknown or has no value");
        }
        *options[k].to = argv[i + 1];
    }
    if (ask.region == NULL || ask.service == NULL || ask.access_key == NULL ||
        ask.secret_key == NULL || ask.date == NULL) {
        fail("--region, --service, --access-key, --secret-key and --date are needed");
    }
    return ask;
}

static bool is_yes(const char *text) {
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        fail("--normalize and --sign-body take yes or no");
    }
    return strcmp(text, "yes") == 0;
}

/* Both 2015-08-30T12:36:00Z and 20150830T123600Z. */
static mr_wall read_date(const char *text) {
    mr_wall t;
    char spelled[32];
    if (strlen(text) == sizeof "20150830T123600Z" - 1) {
        snprintf(spelled, sizeof spelled, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", text, text + 4,
                 text + 6, text + 9, text + 11, text + 13);
        text = spelled;
    }
    if (mr_is_err(mr_time_parse_rfc3339(mr_str_c(text), &t))) {
        fail("--date must be like 2015-08-30T12:36:00Z");
    }
    return t;
}

static mr_str take_line(mr_str *rest) {
    size_t at = mr_str_find_byte(*rest, '\n', 0);
    mr_str line = mr_str_slice(*rest, 0, at == SIZE_MAX ? rest->len : at);
    *rest = mr_str_slice(*rest, at == SIZE_MAX ? rest->len : at + 1, rest->len);
    return line.len > 0 && line.ptr[line.len - 1] == '\r' ? mr_str_slice(line, 0, line.len - 1)
                                                          : line;
}

static void take_request_line(mr_str line, struct sigv4_request *request) {
    size_t first = mr_str_find_byte(line, ' ', 0);
    size_t last = line.len;
    while (last > 0 && line.ptr[last - 1] != ' ') {
        last--;
    }
    if (first == SIZE_MAX || last <= first + 1) {
        fail("the request line is not METHOD TARGET HTTP/1.1");
    }
    mr_str target = mr_str_slice(line, first + 1, last - 1);
    size_t mark = mr_str_find_byte(target, '?', 0);
    request->method = mr_str_slice(line, 0, first);
    request->path = mr_str_slice(target, 0, mark == SIZE_MAX ? target.len : mark);
    request->query = mark == SIZE_MAX ? MR_STR_NONE : mr_str_slice(target, mark + 1, target.len);
}

/* What the signer adds itself is left out of what came. */
static bool is_signers(mr_str name) {
    return mr_str_eq_nocase(name, MR_STR("x-amz-date")) ||
           mr_str_eq_nocase(name, MR_STR("x-amz-content-sha256")) ||
           mr_str_eq_nocase(name, MR_STR("x-amz-security-token"));
}

static void take_fields(mr_str *rest, mr_field *fields, struct sigv4_request *request) {
    size_t n = 0;
    mr_str name = MR_STR_NONE;
    for (mr_str line = take_line(rest); line.len > 0; line = take_line(rest)) {
        mr_str value = line;
        if (line.ptr[0] != ' ' && line.ptr[0] != '\t') {
            size_t colon = mr_str_find_byte(line, ':', 0);
            if (colon == SIZE_MAX) {
                fail("a field has no colon");
            }
            name = mr_str_slice(line, 0, colon);
            value = mr_str_slice(line, colon + 1, line.len);
        }
        if (n == SIGV4_FIELDS_MAX || mr_str_is_absent(name)) {
            fail("too many fields, or one that continues none");
        }
        if (!is_signers(name)) {
            fields[n++] = (mr_field){name, value};
        }
    }
    request->fields = (mr_fields){fields, n};
}

int main(int argc, char **argv) {
    struct ask ask = read_arguments(argc, argv);
    mr_field fields[SIGV4_FIELDS_MAX];
    struct sigv4_request request = {.keeps_path = !is_yes(ask.normalize),
                                    .signs_body = is_yes(ask.sign_body)};
    mr_buf input;
    char piece[65536];
    mr_buf_init(&input, INPUT_MAX);
    for (size_t n = fread(piece, 1, sizeof piece, stdin); n > 0;
         n = fread(piece, 1, sizeof piece, stdin)) {
        if (mr_is_err(mr_buf_append(&input, piece, n))) {
            fail("the request is too large");
        }
    }
    mr_str rest = mr_buf_view(&input);
    take_request_line(take_line(&rest), &request);
    take_fields(&rest, fields, &request);
    request.body = rest;
    struct sigv4_signer signer = {mr_str_c(ask.access_key), mr_str_c(ask.secret_key),
                                  ask.token == NULL ? MR_STR_NONE : mr_str_c(ask.token),
                                  mr_str_c(ask.region), mr_str_c(ask.service)};
    struct crypto_hasher *hasher;
    struct sigv4_key key = {.is_derived = false};
    struct sigv4_result result;
    sigv4_result_init(&result);
    if (mr_is_err(crypto_hasher_new(&hasher)) ||
        mr_is_err(sigv4_sign(hasher, &key, &signer, &request, read_date(ask.date), &result))) {
        fail("the request cannot be signed");
    }
    printf("%.*s\n\n%.*s\n\n%.*s\n", MR_FMT(mr_buf_view(&result.canonical)),
           MR_FMT(mr_buf_view(&result.to_sign)), MR_FMT(mr_buf_view(&result.authorization)));
    sigv4_result_done(&result);
    sigv4_key_wipe(&key);
    crypto_hasher_free(hasher);
    mr_buf_done(&input);
    return 0;
}
