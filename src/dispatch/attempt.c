/* Attempts.
 *
 * A lane calls `send` while it decides; the attempt is put on a list and run when the lane has
 * returned, because gathering may find that bytes are unreadable or too many and must tell the
 * lane.
 *
 *   begin ─▶ run: gather ─┬─ all in memory ─▶ compose ─▶ sign, send ─▶ on_sent ─▶ lane_on_result
 *                         └─ some cold ─▶ disk reader ─▶ run again with what was loaded
 *
 * What is gathered is copied into the body at once, so slabs and buffers need not be held while the
 * request flies. The body is freed when the kernel has all of it: thousands of requests that wait
 * for an answer hold little more than their own structs. Where the answer came first, the body's
 * memory is kept for re-use. */
#include "dispatch/attempt.h"

#include "base/mem.h"
#include "event/envelope.h"

#include <stdio.h>

#define BODY_MAX      ((size_t)48 << 20)
#define LOAD_MAX      ((size_t)48 << 20)
#define KEPT_BODY_MAX ((size_t)128 << 10)
#define KEPT_ALL_MAX  ((size_t)4 << 20) /* of all bodies on the free list */
#define FREE_MAX      1024
#define TAIL_TEXT_MAX ((size_t)48 << 10)

static struct attempt *take_attempt(struct shard *shard) {
    mr_list *node = mr_list_pop_front(&shard->attempts_free);
    if (node != NULL) {
        struct attempt *kept = MR_CONTAINER(node, struct attempt, node);
        shard->n_attempts_free--;
        shard->attempts_free_bytes -= kept->sink.body.cap;
        return kept;
    }
    struct attempt *attempt = MR_NEW(struct attempt);
    if (attempt != NULL) {
        mr_list_init(&attempt->node);
        attempt->shard = shard;
        mr_buf_init(&attempt->sink.body, BODY_MAX);
        mr_buf_init(&attempt->load.bytes, LOAD_MAX);
        mr_buf_init(&attempt->ids, TAIL_TEXT_MAX);
    }
    return attempt;
}

/* The payloads that were read for it stand in the body now, or are not wanted any more. */
static void drop_loaded(struct attempt *attempt) {
    mr_buf_done(&attempt->load.bytes);
    mr_free(attempt->load.items);
    attempt->load.items = NULL;
    attempt->load.n = 0;
}

static void free_attempt(struct attempt *attempt) {
    mr_buf_done(&attempt->sink.body);
    drop_loaded(attempt);
    mr_buf_done(&attempt->ids);
    mr_free(attempt);
}

/* Back to the free list, with its memory where that is not unusually much. */
static void release_attempt(struct attempt *attempt) {
    struct shard *shard = attempt->shard;
    mr_list_remove(&attempt->node);
    sink_clear(&attempt->sink);
    sink_target_unref(attempt->target);
    attempt->target = NULL;
    attempt->request = NULL;
    attempt->owner = NULL;
    mr_buf_done(&attempt->ids);
    attempt->is_loading = false;
    shard->n_attempts--;
    if (shard->n_attempts_free >= FREE_MAX) {
        free_attempt(attempt);
        return;
    }
    if (attempt->sink.body.cap > KEPT_BODY_MAX ||
        shard->attempts_free_bytes + attempt->sink.body.cap > KEPT_ALL_MAX) {
        mr_buf_done(&attempt->sink.body);
    }
    drop_loaded(attempt);
    mr_buf_reset(&attempt->sink.body);
    mr_list_push_front(&shard->attempts_free, &attempt->node);
    shard->n_attempts_free++;
    shard->attempts_free_bytes += attempt->sink.body.cap;
}

void attempts_done(struct shard *shard) {
    mr_list *node;
    while ((node = mr_list_pop_front(&shard->attempts_free)) != NULL) {
        free_attempt(MR_CONTAINER(node, struct attempt, node));
    }
    shard->n_attempts_free = 0;
    shard->attempts_free_bytes = 0;
}

/* Ends the attempt with a result for the lane; items: what became of each event, NULL: the same of
 * all. */
static void finish(struct attempt *attempt, const struct lane_result *result,
                   const struct lane_item *items) {
    struct shard *shard = attempt->shard;
    struct shard_lane *owner = attempt->owner;
    struct lane_request *request = attempt->request;
    release_attempt(attempt);
    if (items != NULL) {
        lane_on_items(&owner->lane, request, shard_now(shard), result, items,
                      lane_request_count(request));
    } else {
        lane_on_result(&owner->lane, request, shard_now(shard), result);
    }
    if (result->kind == LANE_RESULT_CANCELLED) {
        shard_mark_soon(owner); /* what was short may be there again then */
    } else {
        shard_mark(owner);
    }
    shard_attempt_over(shard);
}

static void finish_as(struct attempt *attempt, enum lane_result_kind kind) {
    finish(attempt, &(struct lane_result){.kind = (uint8_t)kind, .retry_after_ms = -1}, NULL);
}

void attempt_begin(struct shard *shard, struct shard_lane *owner, struct lane_request *request) {
    struct attempt *attempt = take_attempt(shard);
    MR_ASSERT(attempt != NULL);
    attempt->owner = owner;
    attempt->request = request;
    request->user = attempt;
    shard->n_attempts++;
    mr_list_push_back(&shard->attempts_new, &attempt->node);
}

/* ---- the live view ---- */

/* Keeps the events' ids as a JSON array; "[]" where there are too many. */
static void keep_ids(struct attempt *attempt, const mr_str *envelopes, size_t n) {
    mr_buf *text = &attempt->ids;
    mr_buf_reset(text);
    mr_err err = mr_buf_byte(text, '[');
    for (size_t i = 0; i < n && mr_is_ok(err); i++) {
        struct event_view view;
        if (mr_is_ok(event_view_read(envelopes[i], &view))) {
            err = mr_buf_printf(text, "%s\"%.*s\"", text->len > 1 ? "," : "", MR_FMT(view.id));
        }
    }
    err = mr_is_ok(err) ? mr_buf_byte(text, ']') : err;
    if (mr_is_err(err)) {
        mr_buf_reset(text);
        mr_ignore(mr_buf_str(text, MR_STR("[]")), "without memory the view shows no attempt");
    }
}

static const char *outcome_text(const struct shard *shard) {
    static const char *const names[] = {[LANE_RECORD_DELIVERED] = "delivered",
                                        [LANE_RECORD_RETRY] = "retry",
                                        [LANE_RECORD_SPLIT] = "split",
                                        [LANE_RECORD_DEAD] = "dead",
                                        [LANE_RECORD_DISCARDED] = "discarded"};
    return names[shard->last_record];
}

/* What an `attempt` event needs, kept over the end of the attempt. */
struct attempt_view {
    uint32_t destination;
    uint32_t account;
    char id[MODEL_ID_SIZE];
    char token[TOKEN_SIZE];
    uint32_t attempt;
    mr_str type;
    mr_buf ids;
    int64_t duration_ms;
    uint16_t status;
    const char *error;
    bool is_partial; /* some events were taken and some were not */
};

static void publish_attempt(struct shard *shard, struct attempt_view *view) {
    mr_buf json;
    mr_buf_init(&json, TAIL_TEXT_MAX + 1024);
    mr_err err = mr_buf_printf(
        &json, "{\"destination_id\":\"%s\",\"token\":\"%s\",\"attempt\":%u,\"events\":%.*s,",
        view->id, view->token, view->attempt, MR_FMT(mr_buf_view(&view->ids)));
    if (mr_is_ok(err)) {
        err = view->status != 0 ? mr_buf_printf(&json, "\"status\":%u,", view->status)
                                : mr_buf_printf(&json, "\"error\":\"%s\",", view->error);
    }
    if (mr_is_ok(err) &&
        mr_is_ok(mr_buf_printf(&json, "\"duration_ms\":%lld,\"outcome\":\"%s\"}",
                               (long long)view->duration_ms,
                               view->is_partial ? "partial" : outcome_text(shard)))) {
        const struct tail_event event = {.name = "attempt",
                                         .account = view->account,
                                         .destinations = &view->destination,
                                         .n_destinations = 1,
                                         .type = view->type,
                                         .json = mr_buf_view(&json)};
        tail_publish(shard->options.tail, &event);
    }
    mr_buf_done(&json);
}

/* ---- the result ---- */

uint8_t attempt_result_kind(enum sink_outcome outcome) {
    static const uint8_t kinds[] = {
        [SINK_ANSWERED] = LANE_RESULT_STATUS,   [SINK_NAME] = LANE_RESULT_NAME,
        [SINK_ADDRESS] = LANE_RESULT_ADDRESS,   [SINK_CONNECT] = LANE_RESULT_CONNECT,
        [SINK_TLS] = LANE_RESULT_TLS,           [SINK_RESET] = LANE_RESULT_RESET,
        [SINK_RESPONSE] = LANE_RESULT_RESPONSE, [SINK_TIMEOUT] = LANE_RESULT_TIMEOUT,
        [SINK_REQUEST] = LANE_RESULT_REQUEST,   [SINK_CANCELLED] = LANE_RESULT_CANCELLED};
    return kinds[outcome];
}

static struct lane_result result_of(const struct sink_result *sink) {
    return (struct lane_result){.kind = attempt_result_kind(sink->outcome),
                                .status = sink->status,
                                .retry_after_ms = sink->retry_after_ms};
}

_Static_assert((int)SINK_ITEM_OK == (int)LANE_ITEM_OK &&
                   (int)SINK_ITEM_RETRY == (int)LANE_ITEM_RETRY &&
                   (int)SINK_ITEM_THROTTLED == (int)LANE_ITEM_THROTTLED &&
                   (int)SINK_ITEM_PERMANENT == (int)LANE_ITEM_PERMANENT,
               "sinks number the fates of events as lanes do");

/* How the events of a request fared, copied: the sink's memory goes with the request. */
struct fates {
    uint32_t n; /* 0: the result is of all */
    uint32_t n_ok;
    uint8_t reason; /* of the first that failed */
    struct lane_item items[LANE_BATCH_MAX];
};

static bool is_partial(const struct fates *fates) {
    return fates->n_ok > 0 && fates->n_ok < fates->n;
}

static void copy_fates(const struct sink_result *sent, struct fates *fates) {
    MR_ASSERT(sent->n_items <= LANE_BATCH_MAX);
    fates->n = (uint32_t)sent->n_items;
    fates->n_ok = 0;
    fates->reason = LANE_REASON_NONE;
    for (uint32_t i = 0; i < fates->n; i++) {
        fates->items[i] = (struct lane_item){sent->items[i].kind, sent->items[i].reason};
        fates->n_ok += sent->items[i].kind == SINK_ITEM_OK ? 1 : 0;
        if (fates->reason == LANE_REASON_NONE) {
            fates->reason = sent->items[i].reason;
        }
    }
}

static void count_fates(mr_metrics *metrics, const struct fates *fates) {
    static const enum mr_metric which[] = {[SINK_ITEM_OK] = MR_METRIC_RECORDS_TAKEN,
                                           [SINK_ITEM_RETRY] = MR_METRIC_RECORDS_FAILED,
                                           [SINK_ITEM_THROTTLED] = MR_METRIC_RECORDS_THROTTLED,
                                           [SINK_ITEM_PERMANENT] = MR_METRIC_RECORDS_REFUSED};
    int64_t counts[sizeof which / sizeof which[0]] = {0};
    for (uint32_t i = 0; i < fates->n; i++) {
        counts[fates->items[i].kind]++;
    }
    for (size_t i = 0; i < sizeof which / sizeof which[0]; i++) {
        mr_metric_add(metrics, which[i], counts[i]);
    }
    mr_metric_add(metrics, MR_METRIC_ATTEMPTS_PARTIAL, is_partial(fates) ? 1 : 0);
}

static void on_body_sent(struct sink_request *sink) {
    struct attempt *attempt = MR_CONTAINER(sink, struct attempt, sink);
    lane_on_body_sent(&attempt->owner->lane, attempt->request);
    mr_buf_done(&attempt->sink.body);
    shard_attempt_over(attempt->shard);
}

static void on_sent(struct sink_request *sink, const struct sink_result *sent) {
    struct attempt *attempt = MR_CONTAINER(sink, struct attempt, sink);
    struct shard *shard = attempt->shard;
    struct lane_result result = result_of(sent);
    struct fates fates;
    copy_fates(sent, &fates);
    count_fates(shard->options.metrics, &fates);
    if (fates.n > 0) {
        MR_ASSERT(fates.n == lane_request_count(attempt->request));
        result = (struct lane_result){.status = sent->status, .retry_after_ms = -1};
    }
    const struct lane_item *items = fates.n > 0 ? fates.items : NULL;
    if (sent->outcome != SINK_ANSWERED && sent->outcome != SINK_CANCELLED) {
        mr_log_at(shard->options.log, MR_LOG_DEBUG, "attempt_failed",
                  mr_kv_c("destination", attempt->target->destination->object.id),
                  mr_kv_str("why", sent->detail));
    }
    if (attempt->ids.len == 0 || result.kind == LANE_RESULT_CANCELLED) {
        finish(attempt, &result, items);
        return;
    }
    static const char *const errors[] = {[SINK_ANSWERED] = "",
                                         [SINK_NAME] = "name",
                                         [SINK_ADDRESS] = "address_refused",
                                         [SINK_CONNECT] = "connect",
                                         [SINK_TLS] = "tls",
                                         [SINK_RESET] = "reset",
                                         [SINK_RESPONSE] = "response",
                                         [SINK_TIMEOUT] = "timeout",
                                         [SINK_REQUEST] = "request",
                                         [SINK_CANCELLED] = "cancelled"};
    struct attempt_view view = {
        .destination = attempt->owner->lane.destination,
        .account = attempt->target->destination->account,
        .attempt = attempt->request->attempt + 1u,
        .type = attempt->request->has_keys
                    ? MR_STR_NONE
                    : type_table_name(shard->types, lane_key_type(attempt->request->key)),
        .duration_ms = sent->duration_ns / MR_NS_PER_MS,
        .status = sent->outcome == SINK_ANSWERED || fates.n > 0 ? sent->status : 0,
        .error = fates.n > 0 ? lane_reason_name(fates.reason) : errors[sent->outcome],
        .is_partial = is_partial(&fates)};
    memcpy(view.id, attempt->target->destination->object.id, sizeof view.id);
    memcpy(view.token, attempt->token, sizeof view.token);
    view.ids = attempt->ids; /* taken over */
    mr_buf_init(&attempt->ids, TAIL_TEXT_MAX);
    finish(attempt, &result, items);
    publish_attempt(shard, &view);
    mr_buf_done(&view.ids);
}

/* ---- gathering ---- */

static void on_loaded(struct payload_load *load) {
    struct attempt *attempt = MR_CONTAINER(load, struct attempt, load);
    struct shard *shard = attempt->shard;
    attempt->is_loading = false;
    if (shard->shared.closed) {
        finish_as(attempt, LANE_RESULT_CANCELLED);
        return;
    }
    mr_list_remove(&attempt->node);
    mr_list_push_back(&shard->attempts_new, &attempt->node);
    shard_mark(attempt->owner);
}

/* The loaded item of that position, or NULL. Items stand in the order of the request's events;
 * *next is where the search goes on. */
static const struct payload_item *loaded_item(const struct attempt *attempt, uint64_t pos,
                                              size_t *next) {
    for (size_t i = *next; i < attempt->load.n; i++) {
        if (attempt->load.items[i].pos == pos) {
            *next = i + 1;
            return &attempt->load.items[i];
        }
    }
    return NULL;
}

enum gathered {
    GATHERED = 0,
    GATHER_COLD,  /* load started */
    GATHER_EMPTY, /* nothing of the request is left */
    GATHER_NOMEM,
};

/* Reads what is not in the slabs from memory, else starts a reader. */
static enum gathered gather_missing(struct attempt *attempt, const uint64_t *missing, size_t n) {
    struct shard *shard = attempt->shard;
    struct payload_load *load = &attempt->load;
    drop_loaded(attempt);
    load->items = mr_calloc(n, sizeof *load->items);
    if (load->items == NULL) {
        return GATHER_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        load->items[i].pos = missing[i];
    }
    load->n = n;
    /* Records are envelopes with a head; sizes of one type differ little. */
    uint64_t each = attempt->request->bytes / lane_request_count(attempt->request);
    load->size_hint = (uint32_t)(each + each / 4 + RECORD_EVENT_HEAD_BYTES + 64);
    payload_load_now(shard->options.journal, load, &shard->scratch);
    bool cold = false;
    for (size_t i = 0; i < n; i++) {
        cold = cold || mr_is_err(load->items[i].err);
    }
    if (!cold) {
        return GATHERED;
    }
    mr_buf_reset(&load->bytes);
    load->reply = loop_mailbox(shard->options.loop);
    load->on_done = on_loaded;
    attempt->is_loading = true;
    payload_load_start(shard->options.readers, load);
    return GATHER_COLD;
}

/* Fills envelopes with the part's events. Unreadable ones leave the request. */
static enum gathered gather(struct attempt *attempt, mr_str *envelopes, size_t *ret_n) {
    struct shard *shard = attempt->shard;
    bool loaded = attempt->load.n > 0;
    for (int round = 0; round < 2; round++) {
        uint64_t missing[LANE_BATCH_MAX];
        size_t n_missing = 0;
        size_t next = 0;
        uint32_t i = 0;
        uint32_t n = lane_request_count(attempt->request);
        while (i < n) {
            uint64_t pos = lane_request_positions(attempt->request)[i];
            const struct payload_item *item = loaded_item(attempt, pos, &next);
            mr_str body = item != NULL && mr_is_ok(item->err)
                              ? mr_str_of(attempt->load.bytes.ptr + item->offset, item->len)
                              : slab_cache_find(&shard->slabs, pos);
            mr_str envelope = MR_STR_NONE;
            if (!mr_str_is_absent(body) &&
                mr_is_err(payload_envelope_as(
                    &shard->projector, snapshot_catalogue(shard->snapshot), body,
                    lane_key_version(lane_request_key(attempt->request, i)), &shard->arena,
                    &envelope))) {
                return GATHER_NOMEM;
            }
            if (!mr_str_is_absent(envelope)) {
                envelopes[i++] = envelope;
            } else if (loaded && item != NULL &&
                       (mr_err_is(item->err, MR_E_NOMEM) || mr_err_is(item->err, MR_E_LIMIT))) {
                return GATHER_NOMEM;
            } else if (loaded && item != NULL) {
                mr_error(shard->options.log, "event_unreadable",
                         mr_kv_i64("position", (int64_t)pos), mr_kv_i64("error", item->err.code));
                mr_metric_add(shard->options.metrics, MR_METRIC_UNREADABLE, 1);
                n = lane_on_unreadable(&attempt->owner->lane, attempt->request, i,
                                       shard_now(shard));
                if (n == 0) {
                    return GATHER_EMPTY;
                }
            } else {
                missing[n_missing++] = pos;
                i++;
            }
        }
        if (n_missing == 0) {
            *ret_n = n;
            return GATHERED;
        }
        enum gathered got = gather_missing(attempt, missing, n_missing);
        if (got != GATHERED) {
            return got;
        }
    }
    return GATHER_NOMEM;
}

/* ---- composing and sending ---- */

static mr_err make_target(struct attempt *attempt) {
    struct shard_lane *owner = attempt->owner;
    if (owner->target == NULL) {
        MR_TRY(sink_target_new(&attempt->shard->options.sink, owner->destination, &owner->target));
    }
    sink_target_ref(owner->target);
    attempt->target = owner->target;
    return MR_OK;
}

static mr_err compose(struct attempt *attempt, const mr_str *envelopes, size_t n) {
    struct shard *shard = attempt->shard;
    struct lane_request *request = attempt->request;
    struct sink_request *sink = &attempt->sink;
    size_t bytes_max =
        request->is_retry ? SIZE_MAX : attempt->target->destination->delivery.batch_bytes_max;
    size_t used;
    mr_buf_reset(&sink->body);
    sink->form = request->form;
    sink->target = attempt->target;
    MR_TRY(sink_compose(sink, envelopes, n, bytes_max, &shard->arena, &used));
    if (used < n && request->is_retry) {
        return MR_ERR(MR_E_INVALID);
    }
    if (!request->is_retry) {
        MR_TRY(lane_on_composed(&attempt->owner->lane, request, (uint32_t)used,
                                (uint32_t)sink->body.len, shard_now(shard)));
    }
    token_make(shard->options.store_key, attempt->owner->lane.destination, request->origin,
               lane_request_positions(request), lane_request_count(request), attempt->token);
    if (tail_is_read(shard->options.tail)) {
        keep_ids(attempt, envelopes, used);
    }
    return MR_OK;
}

static mr_err send_attempt(struct attempt *attempt, const char **ret_why) {
    struct shard *shard = attempt->shard;
    const struct model_destination *destination = attempt->target->destination;
    const struct model_account *account = snapshot_account(shard->snapshot, destination->account);
    static const mr_secret none = {NULL};
    struct sink_request *sink = &attempt->sink;
    sink->secret = account != NULL ? &account->webhook_secret : &none;
    sink->token = attempt->token;
    sink->now = loop_wall(shard->options.loop);
    sink->timeout_ms = destination->delivery.timeout_ms;
    sink->is_suspect = attempt->owner->lane.window_failed;
    sink->is_fresh = false;
    sink->on_done = on_sent;
    sink->on_body_sent = on_body_sent;
    sink->user = attempt;
    return sink_send(&shard->options.sink, sink, ret_why);
}

/* The lane has taken back what was left of the request: nothing. */
static void end_empty(struct attempt *attempt) {
    struct shard_lane *owner = attempt->owner;
    release_attempt(attempt);
    shard_mark(owner);
    shard_attempt_over(owner->shard);
}

void attempt_run(struct attempt *attempt) {
    struct shard *shard = attempt->shard;
    struct shard_lane *owner = attempt->owner;
    mr_list_remove(&attempt->node);
    if (shard->shared.closed || owner->destination == NULL) {
        finish_as(attempt, LANE_RESULT_CANCELLED);
        return;
    }
    if (lane_on_begin(&owner->lane, attempt->request, shard_now(shard)) == 0) {
        end_empty(attempt);
        return;
    }
    mr_str envelopes[LANE_BATCH_MAX];
    size_t n = 0;
    enum gathered got = gather(attempt, envelopes, &n);
    if (got != GATHERED) {
        mr_arena_reset(&shard->arena);
    }
    switch (got) {
    case GATHERED:
        break;
    case GATHER_COLD:
        mr_list_push_back(&shard->attempts_flying, &attempt->node);
        return;
    case GATHER_EMPTY:
        end_empty(attempt);
        return;
    case GATHER_NOMEM:
        finish_as(attempt, LANE_RESULT_CANCELLED);
        return;
    }
    mr_list_push_back(&shard->attempts_flying, &attempt->node);
    const char *why = NULL;
    mr_err err = make_target(attempt);
    if (mr_is_ok(err)) {
        err = compose(attempt, envelopes, n);
    }
    drop_loaded(attempt);
    if (mr_is_ok(err)) {
        err = send_attempt(attempt, &why);
    }
    mr_arena_reset(&shard->arena); /* the client has copied the fields */
    if (mr_is_ok(err)) {
        return;
    }
    if (!mr_err_is(err, MR_E_INVALID)) {
        finish_as(attempt, LANE_RESULT_CANCELLED);
        return;
    }
    mr_warn(shard->options.log, "request_impossible",
            mr_kv_c("destination", owner->destination->object.id),
            mr_kv_c("why", why != NULL ? why : "could not be rendered"));
    finish_as(attempt, why != NULL ? LANE_RESULT_ADDRESS : LANE_RESULT_REQUEST);
}
