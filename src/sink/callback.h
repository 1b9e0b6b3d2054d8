/* A callback on the wire: one request outside event streams, signed like those of a webhook
 * destination (KORE, "Validate webhook signatures"), with timeouts of its own. Worker only. */
#ifndef MR_SINK_CALLBACK_H
#define MR_SINK_CALLBACK_H

#include "sink/sink.h"

#define SINK_CALLBACK_TOTAL_MS   15000U
#define SINK_CALLBACK_CONNECT_MS 5000U
#define SINK_CALLBACK_READ_MS    15000U
/* Of parameters that a GET appends to its URL's query: longer lines are refused by many servers. */
#define SINK_CALLBACK_QUERY_MAX 4096U
#define SINK_CALLBACK_KEY_SIZE  272U

/* One request. Memory of the caller's, which stays until on_done. */
struct sink_callback {
    /* given */
    mr_str url; /* as it was configured: what is signed, up to the first ? or # */
    bool is_get;
    bool is_json;
    mr_str body;             /* POST: sent as it is; GET: appended to the query */
    const mr_secret *secret; /* the account's active webhook secret; none: an empty signature */
    const char *token;       /* 36 characters and a NUL */
    mr_wall now;
    uint64_t pool_key;
    bool is_suspect;
    bool is_fresh; /* a test: on a connection of its own */
    void (*on_done)(struct sink_callback *callback, const struct http_result *result);
    void *user;
    /* private */
    struct http_call *call;
};

/* Signs and sends. on_done comes later in every case but an error: MR_E_NOMEM, MR_E_LIMIT (no room
 * for another call); MR_E_INVALID with *ret_why (static): the URL may not be reached. */
mr_err sink_callback_send(const struct sink_env *env, struct sink_callback *callback,
                          const char **ret_why);
/* on_done comes with HTTP_FAIL_CANCELLED where nothing was written yet: what it was signed with is
 * outdated. */
void sink_callback_recall(struct sink_callback *callback);

/* What names the host of a URL: scheme, host in lower case, port. Returns its length, 0 for a URL
 * that may not be reached. */
size_t sink_callback_key(mr_str url, bool allow_http, char out[static SINK_CALLBACK_KEY_SIZE]);
/* Appends "name=value", "&" before all but the first, encoded as application/x-www-form-urlencoded
 * (WHATWG URL, "urlencoded serializing"). */
mr_err sink_callback_form_add(mr_buf *out, mr_str name, mr_str value);

#endif
