/* Calls of the API for the client commands, by libcurl: MILLRACE_URL, MILLRACE_CLIENT_ID,
 * MILLRACE_CLIENT_SECRET, MILLRACE_CA_FILE, and MILLRACE_ACCOUNT_ID, which names a descendant
 * account to act in: every path gets `account_id` then. Fetches an access token when it is first
 * needed and again when it expired. Blocks. One thread. */
#ifndef MR_CLI_CLIENT_H
#define MR_CLI_CLIENT_H

#include "base/buf.h"
#include "base/str.h"

struct cli_client;

/* NULL: a variable is missing or libcurl failed; the problem was printed. */
struct cli_client *cli_client_new(void);
void cli_client_free(struct cli_client *client);

#define CLI_ETAG_SIZE 40

struct cli_answer {
    long status; /* 0: no answer; the problem was printed */
    mr_buf body;
    long retry_after_s;       /* 0: none */
    char etag[CLI_ETAG_SIZE]; /* "": none */
};
void cli_answer_done(struct cli_answer *answer);

/* method path: "/v1/…" with its query. content_type and body may be absent. Fills *answer (which
 * may be used again). With a token of the environment's client. */
void cli_call(struct cli_client *client, const char *method, const char *path,
              const char *content_type, mr_str body, struct cli_answer *answer);
/* The same with a JSON body (may be absent), refused by the server (412) unless the object is still
 * of that ETag; if_match NULL or "": in any state. */
void cli_call_if(struct cli_client *client, const char *method, const char *path,
                 const char *if_match, mr_str body, struct cli_answer *answer);
/* Streams the body of a GET to on_bytes (false: stop). True where the stream ended by itself. */
bool cli_stream(struct cli_client *client, const char *path,
                bool (*on_bytes)(void *ctx, mr_str bytes), void *ctx);
/* Prints an answer's body and a newline to standard output when its status is 2xx; else its message
 * to standard error, and a line for each event that it names. Exit code: CLI_OK or CLI_NO. */
int cli_show_answer(const struct cli_answer *answer);
/* One call with a client of its own, its answer shown as above. body may be absent. */
int cli_call_and_show(const char *method, const char *path, mr_str body);
/* The same with the body from a file ("-": standard input). */
int cli_call_with_file(const char *method, const char *path, const char *file);
/* The client of the environment. */
const char *cli_client_id(const struct cli_client *client);
/* Base URL, without a slash at its end. */
const char *cli_client_url(const struct cli_client *client);
/* Writes the value percent-encoded, with a NUL, to out; false where it does not fit. */
bool cli_client_escape(const struct cli_client *client, const char *value, char *out, size_t size);

#endif
