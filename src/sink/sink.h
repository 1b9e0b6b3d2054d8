/* Destination kinds behind one interface: prepare a destination's settings once, compose a
 * request's body from stored envelopes, send it signed, tell how it ended. A kind is a row of
 * functions; the delivery engine knows no kind by name.
 *
 * One environment per worker; everything here runs in its loop's thread. */
#ifndef MR_SINK_SINK_H
#define MR_SINK_SINK_H

#include "base/log.h"
#include "crypto/hash.h"
#include "event/render.h"
#include "http/client.h"
#include "model/destination.h"
#include "net/trust.h"

struct sink_target;

/* The form of a request, bound when it is composed and kept over its retries, in one number that
 * only the kind understands. */
uint32_t sink_form_of(const struct model_destination *destination);
/* "POST", "GET". */
mr_str sink_method(const struct sink_target *target, uint32_t form);
/* Events that one request of this destination may hold. */
uint32_t sink_batch_max(const struct model_destination *destination);
/* Do events of different types share its requests? */
bool sink_mixes_types(const struct model_destination *destination);

struct aws;

/* What the sinks of one worker share. */
struct sink_env {
    struct http_client *client;
    struct crypto_hasher *hasher;
    struct net_trust_roots *roots;
    struct net_trust *trust; /* the installation's profile */
    bool allow_http;
    bool strict_date;
    const mr_log *log;
    struct aws *aws; /* NULL: destinations on AWS fail at each send, saying so */
};

struct sink_kind;

/* A destination prepared for sending: URL parsed, trust profile made. Belongs to one version of the
 * destination; refcounted because requests in flight hold it. Worker only. */
struct sink_target {
    uint32_t refs;
    const struct sink_kind *kind;
    struct model_destination *destination; /* a reference */
    struct net_url url;      /* where requests go; slices of the destination's text or of own */
    struct net_trust *trust; /* a reference; NULL for http */
    char problem[256];       /* why every send fails at once; "" = nothing */
    void *own;               /* the kind's */
};
/* Never refuses a destination: what cannot be prepared fails at each send, with its reason.
 * MR_E_NOMEM. */
mr_err sink_target_new(const struct sink_env *env, struct model_destination *destination,
                       struct sink_target **ret_target);
void sink_target_ref(struct sink_target *target);
/* NULL is fine. */
void sink_target_unref(struct sink_target *target);

/* How a send ended. */
enum sink_outcome {
    SINK_ANSWERED = 0, /* see status */
    SINK_NAME,
    SINK_ADDRESS,
    SINK_CONNECT,
    SINK_TLS,
    SINK_RESET,
    SINK_RESPONSE,
    SINK_TIMEOUT,
    SINK_REQUEST,   /* it could not be rendered or sent from here */
    SINK_CANCELLED, /* not one byte left */
};
/* What became of one event of a request whose parts have outcomes of their own. */
enum sink_item_kind {
    SINK_ITEM_OK = 0,
    SINK_ITEM_RETRY,
    SINK_ITEM_THROTTLED, /* a limit of the receiver: spends no attempt, slows the lane */
    SINK_ITEM_PERMANENT, /* it can never be received */
};
struct sink_item {
    uint8_t kind;   /* enum sink_item_kind */
    uint8_t reason; /* enum lane_reason; NONE for OK */
};
/* A step on the way, for Test Event, of kinds that have others than those of a HTTP call. */
struct sink_step {
    const char *name; /* "assume_role", "put_record" */
    bool is_ok;
    int64_t duration_ns;
    mr_str detail;
};

/* Valid during on_done. Where there are items they alone say what became of the events, in the
 * order composed; outcome, status and detail are then for people (a send that never came to an
 * answer, because credentials were refused, has status 0). Without items the outcome is of all. */
struct sink_result {
    enum sink_outcome outcome;
    uint16_t status;
    int64_t retry_after_ms; /* -1: none */
    int64_t duration_ns;
    mr_str detail;                  /* why, for people; absent on an answer */
    const struct http_result *http; /* the call's own result; NULL where none was made */
    const struct sink_item *items;
    size_t n_items;
    const struct sink_step *steps;
    size_t n_steps;
};

/* One request. Memory of the caller's, which stays until on_done; the body belongs to it. */
struct sink_request {
    /* given */
    struct sink_target *target; /* the caller keeps its reference until on_done */
    const mr_secret *secret;    /* the account's active webhook secret at send time; none: empty */
    mr_buf body;                /* composed */
    mr_fields fields;           /* from composing: content-type and, for ce-binary, ce-… */
    uint32_t form;
    const char *token; /* 36 characters and a NUL */
    mr_wall now;
    uint32_t timeout_ms;
    bool is_suspect; /* the destination's last window failed */
    bool is_fresh;   /* a test: on a connection of its own */
    void (*on_done)(struct sink_request *request, const struct sink_result *result);
    /* May be NULL: the body is not needed any more. Before on_done, at most once. */
    void (*on_body_sent)(struct sink_request *request);
    void *user;
    /* private */
    struct http_call *call;
    void *own; /* the kind's, from composing until sink_clear; NULL */
};

/* Appends the body of as many of the n envelopes as fit bytes_max (at least one) to request->body
 * and sets request->fields (slices of arena or static). request->target is set. Events that can
 * never be received count as used and get their item in the result. MR_E_NOMEM, MR_E_LIMIT,
 * MR_E_INVALID (an envelope that cannot be read). Release with sink_clear. */
mr_err sink_compose(struct sink_request *request, const mr_str *envelopes, size_t n,
                    size_t bytes_max, mr_arena *arena, size_t *ret_used);
/* Signs and sends. on_done comes later in every case but an error: MR_E_NOMEM, MR_E_LIMIT (no room
 * for another call), MR_E_INVALID with *ret_why (static or of the target) where the target cannot
 * be sent to; nothing was sent then. */
mr_err sink_send(const struct sink_env *env, struct sink_request *request, const char **ret_why);
/* on_done comes with SINK_CANCELLED unless it ended already. */
void sink_cancel(struct sink_request *request);
/* As cancel, but only where nothing of the request was written yet: what it was signed with is
 * outdated. */
void sink_recall(struct sink_request *request);
/* Lets go what composing made, the body excepted. Not while it is under way; harmless twice. */
void sink_clear(struct sink_request *request);

/* A kind of destination. Every function gets requests and targets of its own kind. */
struct sink_kind {
    /* Fills url, trust, own, or problem. MR_E_NOMEM. */
    mr_err (*prepare)(const struct sink_env *env, struct sink_target *target);
    void (*release)(struct sink_target *target); /* own; may be NULL */
    mr_err (*compose)(struct sink_request *request, const mr_str *envelopes, size_t n,
                      size_t bytes_max, mr_arena *arena, size_t *ret_used);
    mr_err (*send)(const struct sink_env *env, struct sink_request *request);
    void (*cancel)(struct sink_request *request);
    void (*recall)(struct sink_request *request);
    void (*clear)(struct sink_request *request); /* own; may be NULL */
    uint32_t (*form)(const struct model_destination *destination);
    mr_str (*method)(uint32_t form);
    uint32_t (*batch_max)(const struct model_destination *destination);
    bool mixes_types;
};
/* How a call ended, as a sink says it. For the kinds. */
enum sink_outcome sink_outcome_of(const struct http_result *http);
/* Milliseconds that an answer's Retry-After asks for (RFC 9110 §10.2.3: seconds or a date), -1
 * where there is none that is understood, or the status is neither 429 nor 503. */
int64_t sink_retry_after_ms(const struct http_result *http, mr_wall now);
/* The same of a field's value. */
int64_t sink_retry_after_parse(mr_str value, mr_wall now);
/* Writes a problem of the target, cut to its room. */
void sink_target_problem(struct sink_target *target, const char *text);
/* For kinds whose request is one HTTP call. */
void sink_call_cancel(struct sink_request *request);
void sink_call_recall(struct sink_request *request);

#endif
