/* Callbacks of a worker. See callbacks.h.
 *
 * The set asks for a request while it decides; it is started when the set has returned, because the
 * start may fail and its result goes back to the set. Connections are pooled by lane, under keys
 * that no destination has: a keyed hash of account and host, with the highest bit set. */
#include "dispatch/callbacks/callbacks.h"

#include "base/mem.h"
#include "deliver/callback.h"
#include "dispatch/attempt.h"
#include "dispatch/callbacks/limits.h"
#include "dispatch/token.h"
#include "sink/callback.h"

/* Of the worker's requests in flight: what callbacks may have. */
#define FLYING_PART 8
#define FLYING_MIN  4
#define FLYING_MAX  256
#define POOL_BIT    (UINT64_C(1) << 63)

_Static_assert(CALLBACK_ATTEMPTS_MAX == RECORD_CALLBACK_ATTEMPTS_MAX, "one number of attempts");
_Static_assert(CALLBACK_KEY_MAX == SINK_CALLBACK_KEY_SIZE, "a host's name fits its lane");

struct shard_callbacks {
    struct shard *shard;
    struct callback_set set;
    mr_list starting; /* callbacks */
    mr_list flights;
    size_t n_flights;
    struct loop_timer timer;
    mr_mono timer_due;
};

/* A request under way. */
struct flight {
    mr_list node; /* in flights */
    struct shard_callbacks *owner;
    struct callback *callback;
    struct sink_callback sink;
    mr_secret secret; /* a reference */
    char token[TOKEN_SIZE];
};

/* ---- what the set asks ---- */

static void on_send(void *ctx, struct callback *callback) {
    struct shard_callbacks *callbacks = ctx;
    mr_list_push_back(&callbacks->starting, &callback->node);
}

static void on_record(void *ctx, const struct callback *callback,
                      const struct callback_record *record) {
    static const uint8_t kinds[] = {[CALLBACK_DELIVERED] = RECORD_CALLBACK_DELIVERED,
                                    [CALLBACK_RETRY] = RECORD_CALLBACK_RETRY,
                                    [CALLBACK_FAILED] = RECORD_CALLBACK_FAILED};
    static const enum mr_metric metrics[] = {[CALLBACK_DELIVERED] = MR_METRIC_CALLBACK_DELIVERED,
                                             [CALLBACK_RETRY] = MR_METRIC_CALLBACK_RETRY,
                                             [CALLBACK_FAILED] = MR_METRIC_CALLBACK_FAILED};
    struct shard_callbacks *callbacks = ctx;
    struct shard *shard = callbacks->shard;
    struct record_callback_outcome outcome = {.kind = kinds[record->kind],
                                              .reason = record->reason,
                                              .attempt = record->attempt,
                                              .status = record->status,
                                              .account = callback->account_number,
                                              .duration_ms = record->duration_ms,
                                              .pos = callback->pos,
                                              .at_ms = record->at_ms,
                                              .due_ms = record->due_ms};
    memcpy(outcome.id.bytes, callback->id, sizeof outcome.id.bytes);
    outcome_add_callback(&shard->outcomes, &outcome);
    mr_metric_add(shard->options.metrics, metrics[record->kind], 1);
    if (record->kind != CALLBACK_RETRY && shard->options.callback_limits != NULL) {
        callback_limits_give(shard->options.callback_limits, callback->account_number,
                             callback->size);
    }
}

/* ---- requests ---- */

static void end_flight(struct flight *flight) {
    mr_list_remove(&flight->node);
    mr_secret_unref(&flight->secret);
    flight->owner->n_flights--;
    mr_free(flight);
}

static void on_done(struct sink_callback *sink, const struct http_result *http) {
    struct flight *flight = MR_CONTAINER(sink, struct flight, sink);
    struct shard_callbacks *callbacks = flight->owner;
    struct shard *shard = callbacks->shard;
    struct callback *callback = flight->callback;
    /* A connection that ends without a byte of an answer is one that failed. */
    enum sink_outcome outcome = http->is_unanswered ? SINK_RESET : sink_outcome_of(http);
    const struct lane_result result = {
        .kind = attempt_result_kind(outcome), .status = http->status, .retry_after_ms = -1};
    if (outcome != SINK_ANSWERED && outcome != SINK_CANCELLED) {
        char id[RECORD_CALLBACK_TEXT_LEN];
        struct record_letter_id bytes;
        memcpy(bytes.bytes, callback->id, sizeof bytes.bytes);
        record_callback_id_format(&bytes, id);
        mr_log_at(shard->options.log, MR_LOG_DEBUG, "callback_attempt_failed",
                  mr_kv_str("callback", mr_str_of(id, sizeof id)), mr_kv_str("why", http->detail));
    }
    end_flight(flight);
    callback_on_result(&callbacks->set, callback, shard_now(shard), &result);
    shard_attempt_over(shard); /* a connection is free, for whoever waits for one */
}

static uint64_t pool_key_of(const struct shard *shard, const struct callback *callback) {
    struct siphash hash;
    siphash_init_64(&hash, shard->options.store_key);
    siphash_add(&hash, &callback->account_number, sizeof callback->account_number);
    siphash_add(&hash, callback->key.ptr, callback->key.len);
    return siphash_end_64(&hash) | POOL_BIT;
}

static mr_err start_flight(struct shard_callbacks *callbacks, struct callback *callback) {
    struct shard *shard = callbacks->shard;
    struct flight *flight = MR_NEW(struct flight);
    if (flight == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    const struct model_account *account =
        snapshot_account(shard->snapshot, callback->account_number);
    flight->owner = callbacks;
    flight->callback = callback;
    flight->secret = account != NULL ? mr_secret_ref(account->webhook_secret) : MR_SECRET_NONE;
    token_make(shard->options.store_key, RECORD_CALLBACKS_OF | callback->account_number, 0,
               &callback->pos, 1, flight->token);
    flight->sink = (struct sink_callback){.url = callback->url,
                                          .is_get = callback->method == RECORD_CALLBACK_GET,
                                          .is_json = callback->content == RECORD_CALLBACK_JSON,
                                          .body = callback->body,
                                          .secret = &flight->secret,
                                          .token = flight->token,
                                          .now = loop_wall(shard->options.loop),
                                          .pool_key = pool_key_of(shard, callback),
                                          .is_suspect = callback->is_untrusted,
                                          .on_done = on_done};
    mr_list_push_back(&callbacks->flights, &flight->node);
    callbacks->n_flights++;
    const char *why = NULL;
    mr_err err = sink_callback_send(&shard->options.sink, &flight->sink, &why);
    if (mr_is_err(err)) {
        end_flight(flight);
    }
    return err;
}

/* Starts what the set asked for. */
static void start_all(struct shard_callbacks *callbacks) {
    mr_list *node;
    while ((node = mr_list_pop_front(&callbacks->starting)) != NULL) {
        struct callback *callback = MR_CONTAINER(node, struct callback, node);
        mr_err err = start_flight(callbacks, callback);
        if (mr_is_err(err)) {
            /* The URL was taken when it was given: the operator has closed since what it needs. */
            bool is_refused = mr_err_is(err, MR_E_INVALID);
            const struct lane_result result = {.kind = is_refused ? LANE_RESULT_ADDRESS
                                                                  : LANE_RESULT_CANCELLED,
                                               .retry_after_ms = -1};
            callback_on_result(&callbacks->set, callback, shard_now(callbacks->shard), &result);
        }
    }
}

static void on_timer(struct loop_timer *timer) {
    struct shard_callbacks *callbacks = MR_CONTAINER(timer, struct shard_callbacks, timer);
    callbacks->timer_due = MR_MONO_NEVER; /* the turn that it causes is what is wanted */
}

static void set_timer(struct shard_callbacks *callbacks) {
    mr_mono due = callback_deadline(&callbacks->set);
    struct loop *loop = callbacks->shard->options.loop;
    if (due.ns == callbacks->timer_due.ns) {
        return;
    }
    callbacks->timer_due = due;
    if (due.ns == MR_MONO_NEVER.ns) {
        loop_timer_cancel(loop, &callbacks->timer);
    } else {
        loop_timer_set(loop, &callbacks->timer, due);
    }
}

void callbacks_turn(struct shard_callbacks *callbacks) {
    do {
        start_all(callbacks);
        callback_decide(&callbacks->set, shard_now(callbacks->shard));
    } while (!mr_list_is_empty(&callbacks->starting));
    set_timer(callbacks);
}

/* ---- in ---- */

/* key: CALLBACK_KEY_MAX bytes for the name of its host. */
static struct callback_spec spec_of(const struct shard_callbacks *callbacks, uint64_t pos,
                                    const struct record_callback *record, char *key) {
    size_t len = sink_callback_key(record->url, callbacks->shard->options.sink.allow_http, key);
    return (struct callback_spec){.account = record->account,
                                  .pos = pos,
                                  .id = record->id.bytes,
                                  .size = (uint32_t)record_callback_bytes(record),
                                  .method = record->method,
                                  .content = record->content,
                                  .key = len == 0 ? MR_STR("refused") : mr_str_of(key, len),
                                  .url = record->url,
                                  .body = record->body};
}

static bool is_mine(const struct shard_callbacks *callbacks, uint32_t account) {
    const struct shard_options *options = &callbacks->shard->options;
    return callbacks_owner(account, options->n_workers) == options->index;
}

void callbacks_take(struct shard_callbacks *callbacks, uint64_t pos, mr_str body) {
    struct record_callback record;
    MR_ASSERT(mr_is_ok(record_callback_decode(body, &record)));
    if (is_mine(callbacks, record.account)) {
        char key[CALLBACK_KEY_MAX];
        struct callback_spec spec = spec_of(callbacks, pos, &record, key);
        /* One that finds no memory would be forgotten until the next start: stop instead. */
        MR_ASSERT(mr_is_ok(callback_add(&callbacks->set, &spec)));
    }
}

struct restore {
    struct shard_callbacks *callbacks;
    struct lane_now now;
};

static mr_err restore_one(void *ctx, const struct book_callback *callback) {
    const struct restore *restore = ctx;
    struct shard_callbacks *callbacks = restore->callbacks;
    const struct record_callback *record = &callback->record;
    if (!is_mine(callbacks, record->account)) {
        return MR_OK;
    }
    char key[CALLBACK_KEY_MAX];
    struct callback_spec spec = spec_of(callbacks, callback->pos, record, key);
    if (callbacks->shard->options.callback_limits != NULL) {
        MR_TRY(callback_limits_restore(callbacks->shard->options.callback_limits, spec.account,
                                       spec.size));
    }
    return callback_restore(&callbacks->set, &spec, callback->n_attempts, callback->due_ms,
                            restore->now);
}

mr_err callbacks_restore(struct shard_callbacks *callbacks, const struct book *book,
                         struct lane_now now) {
    struct restore restore = {callbacks, now};
    return book_each_open_callback(book, restore_one, &restore);
}

/* ---- life ---- */

mr_err callbacks_new(struct shard *shard, struct shard_callbacks **ret_callbacks) {
    struct shard_callbacks *callbacks = MR_NEW(struct shard_callbacks);
    if (callbacks == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    const struct callback_hooks hooks = {.ctx = callbacks, .send = on_send, .record = on_record};
    uint32_t flying = shard->options.requests_in_flight_max / FLYING_PART;
    flying = flying < FLYING_MIN ? FLYING_MIN : flying > FLYING_MAX ? FLYING_MAX : flying;
    callbacks->shard = shard;
    callback_set_init(&callbacks->set, &hooks, &shard->shared.credits, flying);
    mr_list_init(&callbacks->starting);
    mr_list_init(&callbacks->flights);
    loop_timer_init(&callbacks->timer, on_timer);
    callbacks->timer_due = MR_MONO_NEVER;
    *ret_callbacks = callbacks;
    return MR_OK;
}

void callbacks_free(struct shard_callbacks *callbacks) {
    if (callbacks == NULL) {
        return;
    }
    MR_ASSERT(callbacks->n_flights == 0);
    loop_timer_cancel(callbacks->shard->options.loop, &callbacks->timer);
    callback_set_done(&callbacks->set);
    mr_free(callbacks);
}

size_t callbacks_flying(const struct shard_callbacks *callbacks) {
    return callbacks->n_flights;
}

void callbacks_recall_unsent(struct shard_callbacks *callbacks) {
    for (mr_list *at = callbacks->flights.next; at != &callbacks->flights; at = at->next) {
        sink_callback_recall(&MR_CONTAINER(at, struct flight, node)->sink);
    }
}

void callbacks_close(struct shard_callbacks *callbacks) {
    callbacks->set.closed = true;
}
