/* The HTTP API of one worker: finds the route, checks the caller's rights against the one table,
 * reads the body, runs the handler, answers errors in one shape. Serves POST /v1/events itself on
 * the hot path (ingest.h), everything else through struct api_call (call.h). */
#ifndef MR_API_API_H
#define MR_API_API_H

#include "api/proxies.h"
#include "api/rate.h"
#include "api/access.h"
#include "auth/cache.h"
#include "control/jobs.h"
#include "control/people/passwords.h"
#include "dispatch/callbacks/limits.h"
#include "dispatch/shard.h"
#include "dispatch/tail.h"
#include "dispatch/test_event.h"
#include "http/exchange.h"
#include "event/event.h"
#include "http/server.h"
#include "ledger/keeper.h"

struct ingest;

/* What the program tells the API about itself; called on the worker's thread. */
struct api_program {
    void *ctx;
    /* Appends /metrics in Prometheus' text form. */
    mr_err (*metrics)(void *ctx, mr_buf *out);
    /* Why the program is not ready, or NULL where it is. */
    const char *(*not_ready)(void *ctx);
};

/* One per worker. What it points to outlives it. */
struct api {
    /* given */
    struct loop *loop;
    struct control *control;
    struct keeper *keeper;
    struct shard *shard;
    struct shard *const *shards; /* of all workers, by index; only mail goes to the others */
    struct payload_readers *readers;
    const struct sink_env *sink;   /* of this worker, for tests */
    const struct net_guard *guard; /* of this worker, for URLs of callbacks */
    struct test_limits *test_limits;
    struct test_limits *callback_test_limits; /* by account */
    struct callback_limits *callback_limits;
    struct tail *tail;
    struct writer *writer;
    struct journal *journal;  /* read by previews */
    struct rate_table *rates; /* of all workers */
    struct passwords *passwords;
    int64_t session_idle_ms;
    int64_t session_max_s;
    struct siphash_key store_key;
    struct event_limits limits;
    const mr_str *aliases; /* of dataschema */
    size_t n_aliases;
    struct proxies proxies;   /* that are trusted */
    uint64_t queue_bytes_max; /* events of this worker on their way into the journal */
    uint64_t queue_events_max;
    void (*pause)(void *ctx, bool is_paused); /* back-pressure on this worker's servers */
    void *pause_ctx;
    size_t n_workers;
    mr_str public_url;    /* without a slash at its end */
    mr_str metrics_token; /* absent: /metrics is not served here */
    bool metrics_open;    /* this listener serves /metrics alone, without a token */
    struct api_program program;
    const mr_log *log;
    mr_metrics *metrics;
    /* own */
    struct snapshot *snapshot; /* a reference */
    struct auth_cache *cache;
    struct ingest *ingest;
    mr_buf openapi; /* the document, made when it is first asked for */
    struct access_log *access;
    uint64_t request_serial;
    uint32_t calls;    /* alive */
    uint32_t previews; /* running */
};

/* Fills in what is its own; the given fields must be set. Takes a reference of snapshot.
 * MR_E_NOMEM. */
mr_err api_init(struct api *api, struct snapshot *snapshot);
/* No exchange may be open. */
void api_done(struct api *api);
/* A new snapshot; takes a reference of its own. */
void api_adopt(struct api *api, struct snapshot *snapshot);

/* Whether the caller may call the route. API_ALLOWED fills account, client and claims of
 * *ret_caller (valid for this turn), the others what api_note_refused needs. */
enum api_verdict {
    API_ALLOWED = 0,
    API_NO_TOKEN,     /* 401 */
    API_SIGNED_OUT,   /* 401: a cookie of no session that lasts */
    API_DENIED,       /* 403, as all below */
    API_FORGED,       /* a cookie that came in a way in which it may not (caller.c) */
    API_SETUP_NEEDED, /* the second factor that the account asks for */
};
struct api_caller {
    const struct model_account *account;
    const struct model_client *client; /* NULL for a user */
    const struct auth_claims *claims;  /* NULL for a user */
    const struct model_user *user;     /* NULL for a client, as is its session */
    const struct model_session *session;
    const struct auth_scopes *scopes;
    bool is_refused; /* a token, or something like one, came: what is refused is a right */
    enum access_what what;
};
enum api_verdict api_check_caller(struct api *api, const struct http_exchange *ex,
                                  enum auth_route route, struct api_caller *ret_caller);
/* After a verdict other than API_ALLOWED: the audit log shall tell of it. */
void api_note_refused(struct api *api, const struct http_exchange *ex, enum auth_route route,
                      const struct api_caller *caller, mr_str request_id);

/* The request's X-Request-ID where it is fit, else a new one. */
#define API_REQUEST_ID_MAX 128
void api_request_id_make(struct api *api, const struct http_exchange *ex,
                         char out[static API_REQUEST_ID_MAX + 1]);
/* Has the body a content coding? None is understood: 415. */
#define API_BODY_CODED "the body has a content coding; none is understood here"
bool api_body_is_coded(const struct http_exchange *ex);

/* The table for http_server_new; ctx is the api. */
extern const struct http_handler api_http_handler;

/* Which account a call is about: home, or the one that ?account_id= of its query names, which must
 * be home or lie below it. The one place where that is decided; asks nothing of the right. */
enum api_account_verdict {
    API_ACCOUNT_FOUND = 0,
    API_ACCOUNT_UNKNOWN,   /* 404: it is not there, or not home's to reach */
    API_ACCOUNT_MALFORMED, /* 400: named twice, or with a bad escape */
};
struct api_account_query {
    const struct model_account *account; /* where found */
    bool is_named;
    bool has_others; /* the query has further parameters */
};
enum api_account_verdict api_account_of_query(const struct snapshot *snapshot,
                                              const struct model_account *home, mr_str query,
                                              struct api_account_query *ret);

#endif
