/* Calls of the API by libcurl. See client.h. */
#include "cli/client.h"

#include "cli/cli.h"
#include "net/libcurl.h"

#include "base/mem.h"
#include "json/tape.h"
#include "os/clock.h"
#include "os/process.h"

#include <stdio.h>

#define FILE_BODY_MAX ((size_t)1 << 20) /* of a call whose body is a file */
#define ANSWER_MAX    ((size_t)256 << 20)
#define URL_SIZE      4096
#define TOKEN_SIZE    8300
#define CONNECT_S     10L
#define CALL_S        120L
#define TOKEN_EARLY_S 30
#define CA_MAX        ((size_t)16 << 20)
#define SHOWN_MAX     4000
#define ACCOUNT_SIZE  256

struct cli_client {
    struct libcurl lib;
    CURL *curl;
    char url[1024];
    const char *id;
    const char *secret;
    const char *ca_file;
    char account[ACCOUNT_SIZE]; /* escaped; "": the client's own */
    char token[TOKEN_SIZE];
    mr_mono token_until;
    char problem[CURL_ERROR_SIZE];
};

/* False: printed. */
static bool check_environment(const struct cli_client *client, const char *url) {
    if (url == NULL || client->id == NULL || client->secret == NULL) {
        cli_problem("%s is not set: set MILLRACE_URL, MILLRACE_CLIENT_ID and "
                    "MILLRACE_CLIENT_SECRET (and MILLRACE_CA_FILE for a private certificate "
                    "authority)",
                    url == NULL          ? "MILLRACE_URL"
                    : client->id == NULL ? "MILLRACE_CLIENT_ID"
                                         : "MILLRACE_CLIENT_SECRET");
        return false;
    }
    mr_str text = mr_str_c(url);
    if (!mr_str_starts(text, MR_STR("https://")) && !mr_str_starts(text, MR_STR("http://"))) {
        cli_problem("cannot use MILLRACE_URL \"%s\": it must begin with https:// or http://", url);
        return false;
    }
    mr_str certificates = MR_STR_NONE;
    bool ok = client->ca_file == NULL || cli_read_file(client->ca_file, CA_MAX, &certificates);
    mr_free((void *)(uintptr_t)certificates.ptr);
    if (!ok) {
        cli_problem("cannot use MILLRACE_CA_FILE: name a file of certificates in PEM form");
    }
    return ok;
}

struct cli_client *cli_client_new(void) {
    struct cli_client *client = MR_NEW(struct cli_client);
    if (client == NULL || !libcurl_open(&client->lib)) {
        cli_problem("could not open libcurl.so.4, by which commands call the server: install the "
                    "package libcurl4");
        mr_free(client);
        return NULL;
    }
    if (client->lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        cli_problem("could not start the HTTP client");
        mr_free(client);
        return NULL;
    }
    const char *url = os_environment_get("MILLRACE_URL");
    client->id = os_environment_get("MILLRACE_CLIENT_ID");
    client->secret = os_environment_get("MILLRACE_CLIENT_SECRET");
    client->ca_file = os_environment_get("MILLRACE_CA_FILE");
    if (!check_environment(client, url)) {
        cli_client_free(client);
        return NULL;
    }
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/') {
        len--;
    }
    client->curl = client->lib.easy_init();
    if (client->curl == NULL ||
        !mr_str_to_c(mr_str_of(url, len), client->url, sizeof client->url)) {
        cli_problem("could not use MILLRACE_URL");
        cli_client_free(client);
        return NULL;
    }
    const char *account = os_environment_get(CLI_ACCOUNT_VARIABLE);
    if (account != NULL &&
        !cli_client_escape(client, account, client->account, sizeof client->account)) {
        cli_problem("cannot use the account \"%.64s…\": the id of an account is shorter", account);
        cli_client_free(client);
        return NULL;
    }
    return client;
}

void cli_client_free(struct cli_client *client) {
    if (client == NULL) {
        return;
    }
    if (client->curl != NULL) {
        client->lib.easy_cleanup(client->curl);
    }
    client->lib.global_cleanup();
    explicit_bzero(client->token, sizeof client->token);
    mr_free(client);
}

const char *cli_client_id(const struct cli_client *client) {
    return client->id;
}

const char *cli_client_url(const struct cli_client *client) {
    return client->url;
}

bool cli_client_escape(const struct cli_client *client, const char *value, char *out, size_t size) {
    char *escaped = client->lib.easy_escape(client->curl, value, 0);
    bool fits = escaped != NULL && mr_str_to_c(mr_str_c(escaped), out, size);
    client->lib.free(escaped);
    return fits;
}

void cli_answer_done(struct cli_answer *answer) {
    mr_buf_done(&answer->body);
}

static size_t on_write(char *ptr, size_t size, size_t n, void *ctx) {
    mr_buf *body = ctx;
    return mr_is_ok(mr_buf_append(body, ptr, size * n)) ? size * n : 0;
}

static bool is_field(mr_str line, mr_str name) {
    return line.len > name.len && mr_str_eq_nocase(mr_str_slice(line, 0, name.len), name);
}

static size_t on_header(char *ptr, size_t size, size_t n, void *ctx) {
    struct cli_answer *answer = ctx;
    mr_str line = mr_str_of(ptr, size * n);
    mr_str name = MR_STR("retry-after:");
    mr_str etag = MR_STR("etag:");
    if (is_field(line, etag)) {
        size_t end = line.len;
        while (end > etag.len && (line.ptr[end - 1] == '\r' || line.ptr[end - 1] == '\n')) {
            end--;
        }
        (void)mr_str_to_c(mr_str_trim(mr_str_slice(line, etag.len, end)), answer->etag,
                          sizeof answer->etag);
    }
    if (is_field(line, name)) {
        long seconds = 0;
        for (size_t i = name.len; i < line.len; i++) {
            if (line.ptr[i] >= '0' && line.ptr[i] <= '9' && seconds < 100000) {
                seconds = seconds * 10 + (line.ptr[i] - '0');
            }
        }
        answer->retry_after_s = seconds;
    }
    return size * n;
}

/* Options that every call has. */
static void prepare(struct cli_client *client, const char *method, const char *url,
                    struct curl_slist *headers, mr_str body) {
    const struct libcurl *lib = &client->lib;
    CURL *curl = client->curl;
    lib->easy_reset(curl);
    client->problem[0] = '\0';
    lib->easy_setopt(curl, CURLOPT_ERRORBUFFER, client->problem);
    lib->easy_setopt(curl, CURLOPT_URL, url);
    lib->easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    lib->easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    lib->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    lib->easy_setopt(curl, CURLOPT_TIMEOUT, CALL_S);
    lib->easy_setopt(curl, CURLOPT_NOPROXY, "*");
    lib->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (client->ca_file != NULL) {
        lib->easy_setopt(curl, CURLOPT_CAINFO, client->ca_file);
    }
    if (!mr_str_is_absent(body)) {
        lib->easy_setopt(curl, CURLOPT_POSTFIELDS, body.ptr);
        lib->easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    }
}

/* Runs the prepared call. */
static void perform(struct cli_client *client, struct cli_answer *answer) {
    const struct libcurl *lib = &client->lib;
    CURL *curl = client->curl;
    if (answer->body.max == 0) {
        mr_buf_init(&answer->body, ANSWER_MAX);
    }
    mr_buf_reset(&answer->body);
    answer->status = 0;
    answer->retry_after_s = 0;
    answer->etag[0] = '\0';
    lib->easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    lib->easy_setopt(curl, CURLOPT_WRITEDATA, &answer->body);
    lib->easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    lib->easy_setopt(curl, CURLOPT_HEADERDATA, answer);
    CURLcode code = client->lib.easy_perform(curl);
    if (code != CURLE_OK) {
        cli_problem("could not reach %s: %s; is the server running, and is MILLRACE_URL right?",
                    client->url,
                    client->problem[0] != '\0' ? client->problem : client->lib.easy_strerror(code));
        return;
    }
    client->lib.easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
}

static bool read_token(struct cli_client *client, mr_str body) {
    json_tape tape;
    mr_arena arena;
    mr_str token = MR_STR_NONE;
    uint64_t expires_s = 0;
    mr_arena_init(&arena, 65536);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    bool ok = mr_is_ok(json_tape_read(&tape, body, NULL)) &&
              mr_is_ok(json_string(json_find(json_root(&tape), MR_STR("access_token")), &arena,
                                   &token)) &&
              mr_is_ok(json_u64(json_find(json_root(&tape), MR_STR("expires_in")), 1,
                                UINT64_C(1) << 32, &expires_s)) &&
              mr_str_to_c(token, client->token, sizeof client->token);
    json_tape_done(&tape);
    mr_arena_done(&arena);
    client->token_until =
        mr_mono_add_ms(os_mono_now(), ((int64_t)expires_s - TOKEN_EARLY_S) * 1000);
    return ok;
}

/* A token that is good for a while. False: printed. */
static bool have_token(struct cli_client *client) {
    if (client->token[0] != '\0' && mr_mono_before(os_mono_now(), client->token_until)) {
        return true;
    }
    char url[URL_SIZE];
    char form[2048];
    char *id = client->lib.easy_escape(client->curl, client->id, 0);
    char *secret = client->lib.easy_escape(client->curl, client->secret, 0);
    snprintf(url, sizeof url, "%s/api-services/v1/auth/token", client->url);
    int len =
        snprintf(form, sizeof form, "grant_type=client_credentials&client_id=%s&client_secret=%s",
                 id != NULL ? id : "", secret != NULL ? secret : "");
    client->lib.free(id);
    client->lib.free(secret);
    struct cli_answer answer = {0};
    bool ok = false;
    if (len > 0 && (size_t)len < sizeof form) {
        prepare(client, "POST", url, NULL, mr_str_of(form, (size_t)len));
        perform(client, &answer);
        ok = answer.status == 200 && read_token(client, mr_buf_view(&answer.body));
        if (answer.status == 401) {
            cli_problem("could not get an access token: the server does not take "
                        "MILLRACE_CLIENT_ID with MILLRACE_CLIENT_SECRET; check both");
        } else if (!ok && answer.status != 0) {
            cli_problem("could not get an access token: status %ld: %.*s", answer.status,
                        MR_FMT(mr_str_slice(mr_buf_view(&answer.body), 0, 300)));
        }
    }
    explicit_bzero(form, sizeof form);
    cli_answer_done(&answer);
    return ok;
}

static struct curl_slist *headers_of(const struct cli_client *client, const char *content_type,
                                     const char *if_match) {
    char line[TOKEN_SIZE + 32];
    snprintf(line, sizeof line, "Authorization: Bearer %s", client->token);
    struct curl_slist *headers = client->lib.slist_append(NULL, line);
    if (content_type != NULL) {
        snprintf(line, sizeof line, "Content-Type: %s", content_type);
        headers = client->lib.slist_append(headers, line);
    }
    if (if_match != NULL && if_match[0] != '\0') {
        snprintf(line, sizeof line, "If-Match: %s", if_match);
        headers = client->lib.slist_append(headers, line);
    }
    return client->lib.slist_append(headers, "Expect:");
}

/* The path under the server's URL, in the account that the environment names. */
static void url_of(const struct cli_client *client, const char *path, char out[static URL_SIZE]) {
    bool has_query = strchr(path, '?') != NULL;
    snprintf(out, URL_SIZE, "%s%s%s%s", client->url, path,
             client->account[0] == '\0' ? ""
             : has_query                ? "&account_id="
                                        : "?account_id=",
             client->account);
}

static void call(struct cli_client *client, const char *method, const char *path,
                 const char *content_type, const char *if_match, mr_str body,
                 struct cli_answer *answer) {
    answer->status = 0;
    if (!have_token(client)) {
        return;
    }
    char url[URL_SIZE];
    url_of(client, path, url);
    struct curl_slist *headers = headers_of(client, content_type, if_match);
    prepare(client, method, url, headers, body);
    perform(client, answer);
    client->lib.slist_free_all(headers);
}

void cli_call(struct cli_client *client, const char *method, const char *path,
              const char *content_type, mr_str body, struct cli_answer *answer) {
    call(client, method, path, content_type, NULL, body, answer);
}

void cli_call_if(struct cli_client *client, const char *method, const char *path,
                 const char *if_match, mr_str body, struct cli_answer *answer) {
    call(client, method, path, mr_str_is_absent(body) ? NULL : "application/json", if_match, body,
         answer);
}

/* The text of a member, "" where it has none. */
static mr_str text_of(json_value object, const char *name, mr_arena *arena) {
    mr_str text = MR_STR("");
    mr_ignore(json_string(json_find(object, mr_str_c(name)), arena, &text), "shown bare");
    return text;
}

/* What is wrong at one place: of an event, of a schema's example, of a schema's document. */
static void tell_error(json_value error, mr_arena *arena) {
    int64_t number = 0;
    const char *what = "";
    mr_str pointer = text_of(error, "pointer", arena);
    mr_str message = text_of(error, "message", arena);
    if (mr_is_ok(json_i64(json_find(error, MR_STR("index")), 0, INT64_MAX, &number))) {
        what = "event";
    } else if (mr_is_ok(json_i64(json_find(error, MR_STR("example")), 0, INT64_MAX, &number))) {
        what = "example";
        pointer = text_of(error, "instance", arena);
    } else {
        message = text_of(error, "expected", arena);
    }
    if (what[0] == '\0') {
        fprintf(stderr, "  %.*s: %.*s\n", MR_FMT(pointer), MR_FMT(message));
    } else {
        fprintf(stderr, "  %s %lld%s%.*s: %.*s\n", what, (long long)number,
                pointer.len > 0 ? ", " : "", MR_FMT(pointer), MR_FMT(message));
    }
}

/* What a schema version would break. */
static void tell_breaking(json_value change, mr_arena *arena) {
    mr_str pointer = text_of(change, "pointer", arena);
    mr_str rule = text_of(change, "rule", arena);
    mr_str message = text_of(change, "message", arena);
    fprintf(stderr, "  %.*s, %.*s: %.*s\n", MR_FMT(pointer), MR_FMT(rule), MR_FMT(message));
}

/* An answer of the API that is no success; also one of something else that stands in between. */
static void tell_refusal(long status, mr_str body) {
    json_tape tape;
    mr_arena arena;
    int64_t code = 0;
    mr_arena_init(&arena, ANSWER_MAX);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    bool is_ours =
        mr_is_ok(json_tape_read(&tape, body, NULL)) &&
        mr_is_ok(json_i64(json_find(json_root(&tape), MR_STR("code")), 1, INT32_MAX, &code));
    if (is_ours) {
        json_value root = json_root(&tape);
        mr_str message = text_of(root, "message", &arena);
        mr_str info = text_of(root, "info", &arena);
        cli_problem("refused: %.*s (status %ld, code %lld, %.*s)", MR_FMT(message), status,
                    (long long)code, MR_FMT(info));
        for (json_iter it = json_iter_of(json_find(root, MR_STR("errors"))); json_next(&it);) {
            tell_error(it.value, &arena);
        }
        for (json_iter it = json_iter_of(json_find(root, MR_STR("breaking"))); json_next(&it);) {
            tell_breaking(it.value, &arena);
        }
    } else {
        cli_problem("refused with status %ld: %.*s", status,
                    MR_FMT(mr_str_slice(body, 0, SHOWN_MAX)));
    }
    json_tape_done(&tape);
    mr_arena_done(&arena);
}

/* A stream's reader. */
struct stream {
    bool (*on_bytes)(void *ctx, mr_str bytes);
    void *ctx;
    const struct cli_client *client;
};

static size_t on_stream(char *ptr, size_t size, size_t n, void *ctx) {
    struct stream *stream = ctx;
    long status = 0;
    stream->client->lib.easy_getinfo(stream->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        tell_refusal(status, mr_str_of(ptr, size * n));
        return 0;
    }
    return stream->on_bytes(stream->ctx, mr_str_of(ptr, size * n)) ? size * n : 0;
}

bool cli_stream(struct cli_client *client, const char *path,
                bool (*on_bytes)(void *ctx, mr_str bytes), void *ctx) {
    if (!have_token(client)) {
        return false;
    }
    char url[URL_SIZE];
    url_of(client, path, url);
    struct curl_slist *headers = headers_of(client, NULL, NULL);
    struct stream stream = {on_bytes, ctx, client};
    prepare(client, "GET", url, headers, MR_STR_NONE);
    client->lib.easy_setopt(client->curl, CURLOPT_TIMEOUT, 0L);
    client->lib.easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, on_stream);
    client->lib.easy_setopt(client->curl, CURLOPT_WRITEDATA, &stream);
    CURLcode code = client->lib.easy_perform(client->curl);
    client->lib.slist_free_all(headers);
    if (code != CURLE_OK && code != CURLE_WRITE_ERROR) {
        cli_problem("the stream broke off: %s",
                    client->problem[0] != '\0' ? client->problem : client->lib.easy_strerror(code));
    }
    return code == CURLE_OK;
}

int cli_show_answer(const struct cli_answer *answer) {
    if (answer->status == 0) {
        return CLI_NO;
    }
    mr_str body = mr_buf_view(&answer->body);
    if (answer->status >= 200 && answer->status < 300) {
        if (body.len > 0) {
            cli_print(body);
            cli_print(MR_STR("\n"));
        }
        return CLI_OK;
    }
    tell_refusal(answer->status, body);
    return CLI_NO;
}

int cli_call_and_show(const char *method, const char *path, mr_str body) {
    struct cli_client *client = cli_client_new();
    if (client == NULL) {
        return CLI_USAGE;
    }
    struct cli_answer answer = {0};
    cli_call(client, method, path, mr_str_is_absent(body) ? NULL : "application/json", body,
             &answer);
    int code = cli_show_answer(&answer);
    cli_answer_done(&answer);
    cli_client_free(client);
    return code;
}

int cli_call_with_file(const char *method, const char *path, const char *file) {
    mr_str body;
    if (!cli_read_file(file, FILE_BODY_MAX, &body)) {
        return CLI_USAGE;
    }
    int code =
        cli_call_and_show(method, path, mr_str_of(body.ptr != NULL ? body.ptr : "", body.len));
    mr_free((void *)(uintptr_t)body.ptr);
    return code;
}
