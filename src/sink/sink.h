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

/* The form of a request, bound when it is composed and kept over its retries: format, escaping,
 * method in one number (bits 0–1, 2, 3). */
uint32_t sink_form_of(const struct model_destination *destination);
enum event_format sink_form_format(uint32_t form);
enum json_escape sink_form_escape(uint32_t form);
enum model_method sink_form_method(uint32_t form);
/* Events that one request of this destination may hold: its batch_max, 1 for forms of one event. */
uint32_t sink_batch_max(const struct model_destination *destination);

/* What the sinks of one worker share. */
struct sink_env {
    struct http_client *client;
    struct crypto_hasher *hasher;
    struct net_trust_roots *roots;
    struct net_trust *trust; /* the installation's profile */
    bool allow_http;
    bool strict_date;
    const mr_log *log;
};

/* A destination prepared for sending: URL parsed, trust profile made. Belongs to one version of the
 * destination; refcounted because requests in flight hold it. Worker only. */
struct sink_target {
    uint32_t refs;
    struct model_destination *destination; /* a reference */
    struct net_url url;                    /* slices of the destination's text */
    struct net_trust *trust;               /* NULL for http */
    enum net_url_problem url_problem;      /* set: every send fails at once with this reason */
    char trust_problem[256];               /* likewise; "" = none */
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
};

/* Appends the body of as many of the n envelopes as fit bytes_max (at least one) to request->body
 * and sets request->fields (slices of arena or static). MR_E_NOMEM, MR_E_LIMIT, MR_E_INVALID (an
 * envelope that cannot be read). */
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

#endif
