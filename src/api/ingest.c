/* Ingest.
 *
 *   head: rights, size, room in the queue ─▶ body: parse ─▶ resolve, match, encode ─▶ unit
 *                                                                                     │ turn's end
 *     202 or refusal ◀── on_commit ◀── journal writer: de-duplicate, append, sync ◀───┘
 *
 * A ticket is one call on its way. Its memory (the unit, slots and encoded records) belongs to the
 * writer between the hand-over and the commit, so it outlives an exchange whose client went away;
 * it is kept and used again. Units are handed over once per turn, so that one wake and one group
 * serve all calls of the turn.
 *
 * Nothing is stored of a call that is refused: events are encoded into the ticket, and the ticket
 * either goes to the writer whole or not at all. */
#include "api/ingest.h"

#include "api/caller.h"

#include "api/errors.h"
#include "api/validate.h"
#include "base/mem.h"
#include "event/envelope.h"
#include "json/write.h"
#include "route/content.h"
#include "route/route.h"

#include <stdio.h>

#define RECORDS_BYTES_MAX ((size_t)16 << 20)
#define ANSWER_BYTES_MAX  ((size_t)16 << 20)
#define TARGETS_MIN       64
#define KEPT_BYTES_MAX    ((size_t)4 << 20) /* of the records of all free tickets */
#define FREE_MAX          256
#define RECORD_MORE       192 /* about what a record is longer than its event */
/* What filters may take for all events of a call: some 70 ms at worst. Never too little for one
 * event, so a call that is refused can be sent in parts. */
#define FILTER_STEPS_CALL_MAX (4 * ROUTE_STEPS_MAX)

/* One call. */
struct ticket {
    struct ingest *ingest;    /* first: what ingest_owns looks at */
    struct http_exchange *ex; /* NULL: the client is gone */
    struct ticket *next;      /* free, or to be handed over */
    uint32_t account;
    char request_id[API_REQUEST_ID_MAX + 1];
    struct journal_unit unit;
    struct journal_slot *slots; /* owned, n_slots_max */
    size_t *offsets;            /* of the records in bytes */
    struct record_span *ids;    /* of the events' ids, from the record's begin */
    size_t n_slots_max;
    size_t n;
    uint64_t reader_mask; /* workers that own a destination of the events */
    mr_buf bytes;
};

struct ingest {
    struct api *api;
    struct event_parser parser;
    struct validator validator;
    struct route_result routes;
    struct route_content content; /* of the event being matched, for filters */
    struct filter_run *filter_run;
    struct record_target *targets; /* owned, n_targets_max, of the event being encoded */
    const uint32_t **rules;
    size_t n_targets_max;
    bool is_schema_fault;  /* the first error of the present call is one of a schema */
    uint32_t filter_steps; /* that the present call took */
    mr_buf answer;
    struct ticket *free;
    size_t n_free;
    size_t kept_bytes;
    struct ticket *first; /* to be handed over at the end of the turn */
    struct ticket **last;
    struct loop_hook hook;
    size_t n_waiting;
    uint64_t queued_bytes;
    uint64_t queued_events;
    bool is_paused;
};

/* ---- tickets ---- */

static struct ticket *take_ticket(struct ingest *ingest) {
    struct ticket *ticket = ingest->free;
    if (ticket != NULL) {
        ingest->free = ticket->next;
        ingest->n_free--;
        ingest->kept_bytes -= ticket->bytes.cap;
    } else {
        ticket = MR_NEW(struct ticket);
        if (ticket == NULL) {
            return NULL;
        }
        ticket->ingest = ingest;
        mr_buf_init(&ticket->bytes, RECORDS_BYTES_MAX);
    }
    ticket->n = 0;
    ticket->reader_mask = 0;
    ticket->next = NULL;
    return ticket;
}

static void free_ticket(struct ticket *ticket) {
    mr_buf_done(&ticket->bytes);
    mr_free(ticket->slots);
    mr_free(ticket->offsets);
    mr_free(ticket->ids);
    mr_free(ticket);
}

static void release_ticket(struct ticket *ticket) {
    struct ingest *ingest = ticket->ingest;
    if (ingest->n_free >= FREE_MAX || ticket->bytes.cap > KEPT_BYTES_MAX - ingest->kept_bytes) {
        free_ticket(ticket);
        return;
    }
    mr_buf_reset(&ticket->bytes);
    ticket->ex = NULL;
    ticket->next = ingest->free;
    ingest->free = ticket;
    ingest->n_free++;
    ingest->kept_bytes += ticket->bytes.cap;
}

static bool reserve_slots(struct ticket *ticket, size_t n) {
    if (n <= ticket->n_slots_max) {
        return true;
    }
    struct journal_slot *slots = mr_realloc(ticket->slots, n * sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    ticket->slots = slots;
    size_t *offsets = mr_realloc(ticket->offsets, n * sizeof *offsets);
    if (offsets == NULL) {
        return false;
    }
    ticket->offsets = offsets;
    struct record_span *ids = mr_realloc(ticket->ids, n * sizeof *ids);
    if (ids == NULL) {
        return false;
    }
    ticket->ids = ids;
    ticket->n_slots_max = n;
    return true;
}

/* ---- answers ---- */

static void answer(struct ticket *ticket, int status, mr_str body, int retry_after_s) {
    struct http_exchange *ex = ticket->ex;
    if (ex == NULL) {
        return;
    }
    ticket->ex = NULL;
    ex->user = NULL;
    mr_field fields[7] = {
        {MR_STR("content-type"), MR_STR("application/json")},
        {MR_STR("access-control-allow-origin"), MR_STR("*")},
        {MR_STR("access-control-expose-headers"), MR_STR("retry-after, x-request-id")},
        {MR_STR("x-request-id"), mr_str_c(ticket->request_id)},
        {MR_STR("x-content-type-options"), MR_STR("nosniff")},
    };
    size_t n = 5;
    char seconds[16];
    if (retry_after_s > 0) {
        int len = snprintf(seconds, sizeof seconds, "%d", retry_after_s);
        fields[n++] = (mr_field){MR_STR("retry-after"), mr_str_of(seconds, (size_t)len)};
    }
    if (status == 401) {
        fields[n++] = (mr_field){MR_STR("www-authenticate"), MR_STR("Bearer")};
    }
    http_exchange_answer(ex, status, fields, n, body);
}

/* Refuses and gives the ticket back. */
static void refuse_with(struct ticket *ticket, int status, uint32_t code, mr_str message,
                        mr_str members, int retry_after_s) {
    struct ingest *ingest = ticket->ingest;
    mr_metric_add(ingest->api->metrics, MR_METRIC_EVENTS_REFUSED, 1);
    mr_buf_reset(&ingest->answer);
    mr_ignore(
        api_error_write(ingest->api->public_url, status, code, message, members, &ingest->answer),
        "without memory the refusal has no body");
    answer(ticket, status, mr_buf_view(&ingest->answer), retry_after_s);
    release_ticket(ticket);
}

static void refuse_call(struct ticket *ticket, int status, uint32_t code, const char *message) {
    int retry_after_s = status == 503 || status == 429 ? 1 : 0;
    refuse_with(ticket, status, code, mr_str_c(message), MR_STR_NONE, retry_after_s);
}

static void refuse_errors(struct ticket *ticket, const struct event_errors *errors) {
    mr_buf members;
    mr_buf_init(&members, ANSWER_BYTES_MAX);
    mr_err err = mr_buf_str(&members, MR_STR("\"errors\":"));
    if (mr_is_ok(err)) {
        json_out out;
        json_out_init(&out, &members);
        event_errors_write(errors, &out);
        err = json_out_finish(&out);
    }
    uint32_t code = 31001;
    char message[160];
    const char *about = "an event breaks a rule";
    if (errors->http_status == 413) {
        code = 20413;
        about = "an event or the call is too large";
    } else if (errors->http_status == 415) {
        code = 20415;
        about = "the content type is not one of CloudEvents' or application/json";
    } else if (ticket->ingest->is_schema_fault) {
        code = 31002;
        about = "an event's data does not keep the contract of its schema version";
    } else if (errors->len > 0 && strcmp(errors->ptr[0].rule, "dataschema") == 0) {
        code = 31002;
        about = "dataschema does not fit the event's type";
    } else if (errors->len > 0 && strcmp(errors->ptr[0].rule, "unknown_type") == 0) {
        code = 31003;
        about = "the event type is not in the catalogue";
    }
    snprintf(message, sizeof message, "%s; nothing of the call was stored (%u found)", about,
             errors->found);
    refuse_with(ticket, errors->http_status, code, mr_str_c(message),
                mr_is_ok(err) ? mr_buf_view(&members) : MR_STR_NONE, 0);
    mr_buf_done(&members);
}

/* ---- back-pressure ---- */

static void set_paused(struct ingest *ingest) {
    const struct api *api = ingest->api;
    bool paused = ingest->queued_bytes * 2 >= api->queue_bytes_max ||
                  ingest->queued_events * 2 >= api->queue_events_max;
    if (paused != ingest->is_paused && api->pause != NULL) {
        ingest->is_paused = paused;
        api->pause(api->pause_ctx, paused);
    }
}

static bool queue_is_full(const struct ingest *ingest) {
    return ingest->queued_bytes >= ingest->api->queue_bytes_max ||
           ingest->queued_events >= ingest->api->queue_events_max;
}

/* ---- the head ---- */

/* The query may name the account, and nothing else. False: refused. */
static bool take_account(struct ticket *ticket, const struct model_account *home, mr_str text) {
    struct api_account_query query;
    switch (api_account_of_query(ticket->ingest->api->snapshot, home, text, &query)) {
    case API_ACCOUNT_UNKNOWN:
        refuse_call(ticket, 404, 20404, "there is no such account");
        return false;
    case API_ACCOUNT_MALFORMED:
        refuse_call(ticket, 400, 20400,
                    "account_id stands twice in the query, or with a bad percent escape");
        return false;
    case API_ACCOUNT_FOUND:
        break;
    }
    if (query.has_others) {
        refuse_call(ticket, 400, 20001, "unknown parameter; account_id is known here");
        return false;
    }
    ticket->account = query.account->object.number;
    return true;
}

void ingest_on_head(struct ingest *ingest, struct http_exchange *ex) {
    struct api *api = ingest->api;
    struct ticket *ticket = take_ticket(ingest);
    if (ticket == NULL) {
        const mr_field cors = {MR_STR("access-control-allow-origin"), MR_STR("*")};
        http_exchange_answer_and_close(ex, 503, &cors, 1, MR_STR_NONE);
        return;
    }
    ticket->ex = ex;
    ex->user = ticket;
    api_request_id_make(api, ex, ticket->request_id);
    struct api_caller caller;
    enum api_verdict verdict = api_check_caller(api, ex, AUTH_ROUTE_EVENTS_PUBLISH, &caller);
    if (verdict != API_ALLOWED) {
        api_note_refused(api, ex, AUTH_ROUTE_EVENTS_PUBLISH, &caller, mr_str_c(ticket->request_id));
    }
    switch (verdict) {
    case API_NO_TOKEN:
    case API_SIGNED_OUT:
        refuse_call(ticket, 401, 20401, api_verdict_text(verdict));
        return;
    case API_DENIED:
    case API_FORGED:
    case API_SETUP_NEEDED:
        refuse_with(ticket, 403, 20006, mr_str_c(api_verdict_text(verdict)),
                    verdict == API_DENIED ? MR_STR("\"error\":\"Invalid or expired token\"")
                                          : MR_STR_NONE,
                    0);
        return;
    case API_ALLOWED:
        break;
    }
    if (!take_account(ticket, caller.account, ex->query)) {
        return;
    }
    if (api_body_is_coded(ex)) {
        refuse_call(ticket, 415, 20415, API_BODY_CODED);
        return;
    }
    if (ex->content_length > api->limits.body_bytes_max) {
        refuse_call(ticket, 413, 20413, "the call is larger than 8 MiB");
        return;
    }
    if (queue_is_full(ingest)) {
        refuse_call(ticket, 503, 31005, "more events wait for the disk than may; send them again");
        return;
    }
    http_exchange_want_body(ex, api->limits.body_bytes_max);
}

/* ---- the body ---- */

static mr_err reserve_targets(struct ingest *ingest, size_t n) {
    if (n <= ingest->n_targets_max) {
        return MR_OK;
    }
    if (n > RECORD_TARGETS_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    size_t cap = n < TARGETS_MIN ? TARGETS_MIN : n;
    struct record_target *targets = mr_realloc(ingest->targets, cap * sizeof *targets);
    if (targets == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    ingest->targets = targets;
    const uint32_t **rules = mr_realloc(ingest->rules, cap * sizeof *rules);
    if (rules == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    ingest->rules = rules;
    ingest->n_targets_max = cap;
    return MR_OK;
}

/* Fills ingest->targets from the routes. MR_E_LIMIT: more than a record holds; the call is refused
 * rather than a delivery forgotten. */
static mr_err fill_targets(struct ingest *ingest, uint32_t *ret_n) {
    const struct route_result *routes = &ingest->routes;
    size_t n = routes->n_targets;
    MR_TRY(reserve_targets(ingest, n));
    for (size_t i = 0; i < n; i++) {
        const struct route_target *target = &routes->targets[i];
        const struct model_destination *destination =
            snapshot_destination(ingest->api->snapshot, target->destination);
        bool skipped = destination != NULL && destination->status == MODEL_DISABLED;
        uint32_t n_rules = target->n_rules < RECORD_RULES_MAX ? target->n_rules : RECORD_RULES_MAX;
        ingest->targets[i] = (struct record_target){.destination = target->destination,
                                                    .version = target->version,
                                                    .flags = skipped ? RECORD_TARGET_SKIPPED : 0,
                                                    .n_rules = (uint16_t)n_rules};
        ingest->rules[i] = routes->rules + target->rules_at;
    }
    *ret_n = (uint32_t)n;
    return MR_OK;
}

/* Filters are fed only where the account has any. MR_E_LIMIT: the call takes them too long. */
static mr_err match_event(struct ingest *ingest, const struct model_account *account,
                          const struct event *event, const struct event_resolution *resolution,
                          const struct event_place *place) {
    if (account->routes == NULL) {
        ingest->routes.n_targets = 0;
        return MR_OK;
    }
    if (route_index_has_filters(account->routes)) {
        MR_TRY(route_content_fill(&ingest->content, event, resolution, place));
    }
    const struct catalogue_type *type =
        resolution->type_known
            ? catalogue_type_find(snapshot_catalogue(ingest->api->snapshot), event->type)
            : NULL;
    const struct route_event route = {.account = account->object.number,
                                      .version = (uint16_t)resolution->version,
                                      .type = event->type,
                                      .product_group =
                                          type != NULL ? type->product_group : MR_STR_NONE,
                                      .id_hash = route_id_hash(event->id),
                                      .content = &ingest->content.event,
                                      .run = ingest->filter_run};
    MR_TRY(route_match(account->routes, &route, &ingest->routes));
    if (ingest->routes.n_filter_errors > 0) {
        mr_metric_add(ingest->api->metrics, MR_METRIC_FILTER_ERRORS,
                      ingest->routes.n_filter_errors);
    }
    ingest->filter_steps += ingest->routes.n_steps;
    return ingest->filter_steps > FILTER_STEPS_CALL_MAX ? MR_ERR(MR_E_LIMIT) : MR_OK;
}

static struct siphash_128 tag_of(const struct api *api, uint32_t account,
                                 const struct event *event) {
    struct siphash hash;
    siphash_init_128(&hash, api->store_key);
    const uint64_t head[2] = {account, event->source.len};
    siphash_add(&hash, head, sizeof head);
    siphash_add(&hash, event->source.ptr, event->source.len);
    siphash_add(&hash, event->id.ptr, event->id.len);
    return siphash_end_128(&hash);
}

static struct record_span span_of(struct event_span span) {
    return (struct record_span){span.at, span.len};
}

/* Appends the event's record to the ticket. */
static mr_err encode_event(struct ticket *ticket, const struct event *event,
                           const struct event_resolution *resolution,
                           const struct event_place *place, uint32_t n_targets) {
    struct ingest *ingest = ticket->ingest;
    mr_buf *bytes = &ticket->bytes;
    size_t at = bytes->len;
    size_t head = record_event_head_bytes(ingest->targets, n_targets);
    char *room;
    MR_TRY(mr_buf_reserve(bytes, head + event->content.len + 512, &room));
    memset(room, 0, head);
    mr_buf_commit(bytes, head);
    struct event_layout layout;
    MR_TRY(event_envelope_write(event, resolution, place, bytes, &layout));
    size_t size = bytes->len - at;
    const struct record_event_spec spec = {
        .account = ticket->account,
        .accepted_ms = mr_wall_ms(place->received),
        .tag = tag_of(ingest->api, ticket->account, event),
        .digest = siphash_content(ingest->api->store_key, event->content.ptr, event->content.len),
        .schema_version = (uint16_t)resolution->version,
        .spans = {[RECORD_DATA] = span_of(layout.data),
                  [RECORD_ID] = span_of(layout.id),
                  [RECORD_TIME] = span_of(layout.time),
                  [RECORD_TYPE_ATTRIBUTE] = span_of(layout.type),
                  [RECORD_SOURCE] = span_of(layout.source),
                  [RECORD_DATASCHEMA] = span_of(layout.dataschema)},
        .envelope = mr_str_of(bytes->ptr + at + head, size - head),
        .n_targets = n_targets,
        .targets = ingest->targets,
        .rules = ingest->rules};
    size_t len;
    MR_TRY(record_event_encode(&spec, (uint8_t *)bytes->ptr + at, size, &len));
    MR_ASSERT(len == size);
    ticket->offsets[ticket->n] = at;
    ticket->ids[ticket->n] = (struct record_span){(uint32_t)head + layout.id.at, layout.id.len};
    ticket->n++;
    for (uint32_t i = 0; i < n_targets; i++) {
        ticket->reader_mask |=
            UINT64_C(1) << shard_owner(ingest->targets[i].destination, ingest->api->n_workers);
    }
    return MR_OK;
}

/* Validates the event's data as the account asks for it. *ret_valid false: it is refused, errors
 * say why. */
static mr_err judge_event(struct ingest *ingest, const struct model_account *account,
                          const struct event *event, uint32_t index,
                          const struct event_resolution *resolution, struct event_errors *errors,
                          bool *ret_valid) {
    *ret_valid = true;
    if (account->validate == MODEL_VALIDATE_OFF) {
        return MR_OK;
    }
    bool rejects = account->validate == MODEL_VALIDATE_REJECT;
    bool had_none = errors->found == 0;
    bool is_valid = false;
    mr_err err = validate_event(&ingest->validator, snapshot_catalogue(ingest->api->snapshot),
                                event, resolution, index, rejects ? errors : NULL, &is_valid);
    if (rejects || !mr_err_is(err, MR_E_LIMIT)) {
        MR_TRY(err); /* an account that is only warned has what is not judged counted as invalid */
    }
    if (!is_valid) {
        mr_metric_add(ingest->api->metrics, MR_METRIC_EVENTS_INVALID, 1);
    }
    ingest->is_schema_fault = ingest->is_schema_fault || (!is_valid && had_none);
    *ret_valid = is_valid || !rejects;
    return MR_OK;
}

/* Resolves, validates, matches and encodes all events. MR_E_INVALID: errors are in batch->errors.
 */
static mr_err encode_batch(struct ticket *ticket, struct event_batch *batch,
                           const struct model_account *account) {
    struct ingest *ingest = ticket->ingest;
    const struct api *api = ingest->api;
    const struct event_catalogue catalogue =
        catalogue_for_events(snapshot_catalogue(api->snapshot));
    const struct event_place place = {.received = loop_wall(api->loop),
                                      .public_url = api->public_url,
                                      .aliases = api->aliases,
                                      .aliases_len = api->n_aliases,
                                      .catalogue = &catalogue,
                                      .refuse_unknown_types =
                                          account->unknown_types == MODEL_UNKNOWN_REFUSE};
    if (!reserve_slots(ticket, batch->len)) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < batch->len; i++) {
        struct event_resolution resolution;
        const struct event *event = &batch->ptr[i];
        bool keeps_contract;
        if (!event_resolve(event, (uint32_t)i, &place, &batch->errors, &resolution)) {
            continue;
        }
        mr_err err = judge_event(ingest, account, event, (uint32_t)i, &resolution, &batch->errors,
                                 &keeps_contract);
        if (mr_err_is(err, MR_E_LIMIT) && batch->errors.found > 0) {
            break; /* refused already: what was found until here is told */
        }
        MR_TRY(err);
        if (!keeps_contract || batch->errors.found > 0) {
            continue; /* the call is refused: only what is wrong is of interest now */
        }
        MR_TRY(match_event(ingest, account, event, &resolution, &place));
        uint32_t n_targets;
        MR_TRY(fill_targets(ingest, &n_targets));
        MR_TRY(encode_event(ticket, event, &resolution, &place, n_targets));
    }
    return batch->errors.found > 0 ? MR_ERR(MR_E_INVALID) : MR_OK;
}

static void on_commit(struct mail *mail);

static void fill_slots(struct ticket *ticket) {
    for (size_t i = 0; i < ticket->n; i++) {
        size_t end = i + 1 < ticket->n ? ticket->offsets[i + 1] : ticket->bytes.len;
        ticket->slots[i] = journal_slot_of(
            RECORD_EVENT, 0,
            mr_str_of(ticket->bytes.ptr + ticket->offsets[i], end - ticket->offsets[i]));
    }
}

static void queue_ticket(struct ticket *ticket) {
    struct ingest *ingest = ticket->ingest;
    fill_slots(ticket);
    journal_unit_init(&ticket->unit, JOURNAL_INGEST, ticket->slots, (uint32_t)ticket->n,
                      loop_mailbox(ingest->api->loop), on_commit, ticket);
    ticket->unit.reader_mask = ticket->reader_mask; /* owners must see the slab */
    ingest->queued_bytes += ticket->bytes.len;
    ingest->queued_events += ticket->n;
    ingest->n_waiting++;
    ticket->next = NULL;
    *ingest->last = ticket;
    ingest->last = &ticket->next;
    set_paused(ingest);
}

void ingest_on_body(struct ingest *ingest, struct http_exchange *ex, mr_str body) {
    struct ticket *ticket = ex->user;
    const struct api *api = ingest->api;
    ingest->is_schema_fault = false;
    ingest->filter_steps = 0;
    ingest->validator.n_steps = 0;
    const struct model_account *account = snapshot_account(api->snapshot, ticket->account);
    if (account == NULL) {
        refuse_call(ticket, 404, 20404, "the account is gone");
        return;
    }
    struct event_batch batch;
    if (mr_is_err(event_parse(&ingest->parser, ex->fields, body, &batch))) {
        refuse_call(ticket, 503, 20503, "could not read the call: out of memory; send it again");
        return;
    }
    if (batch.errors.http_status != 0) {
        refuse_errors(ticket, &batch.errors);
        return;
    }
    int64_t wait_ms = 0;
    if (!rate_take(api->rates, ticket->account, account->events_per_second, (uint32_t)batch.len,
                   loop_now(api->loop), &wait_ms)) {
        refuse_with(ticket, 429, 31004, MR_STR("the account's events per second are used up"),
                    MR_STR_NONE, (int)((wait_ms + 999) / 1000));
        return;
    }
    if (batch.len == 0) {
        answer(ticket, 202, MR_STR("{\"accepted\":0,\"duplicates\":0,\"events\":[]}"), 0);
        release_ticket(ticket);
        return;
    }
    mr_ignore(mr_buf_reserve(&ticket->bytes, body.len + batch.len * RECORD_MORE, NULL),
              "it grows as events need it");
    mr_err err = encode_batch(ticket, &batch, account);
    if (mr_err_is(err, MR_E_INVALID)) {
        refuse_errors(ticket, &batch.errors);
    } else if (mr_err_is(err, MR_E_LIMIT) && ingest->filter_steps > FILTER_STEPS_CALL_MAX) {
        refuse_call(
            ticket, 413, 20413,
            "the call's events take the account's filters too much work; send fewer at once");
    } else if (mr_err_is(err, MR_E_LIMIT) && ingest->validator.n_steps > VALIDATE_STEPS_CALL_MAX) {
        refuse_call(ticket, 413, 20413,
                    "the call's events take their schemas too much work; send fewer at once");
    } else if (mr_err_is(err, MR_E_LIMIT)) {
        refuse_call(ticket, 413, 20413, "the call is larger than the journal takes at once");
    } else if (mr_is_err(err)) {
        refuse_call(ticket, 503, 20503, "could not take the call: out of memory; send it again");
    } else {
        queue_ticket(ticket);
    }
}

/* ---- the commit ---- */

static mr_err write_accepted(struct ticket *ticket, uint64_t n_duplicates, mr_buf *out) {
    mr_buf_reset(out);
    MR_TRY(mr_buf_printf(out, "{\"accepted\":%llu,\"duplicates\":%llu,\"events\":[",
                         (unsigned long long)(ticket->n - n_duplicates),
                         (unsigned long long)n_duplicates));
    for (size_t i = 0; i < ticket->n; i++) {
        const struct journal_slot *slot = &ticket->slots[i];
        mr_str id = mr_str_slice(mr_str_of(slot->body, slot->len), ticket->ids[i].offset,
                                 ticket->ids[i].offset + ticket->ids[i].len);
        MR_TRY(mr_buf_str(out, i == 0 ? MR_STR("{\"id\":\"") : MR_STR(",{\"id\":\"")));
        MR_TRY(mr_buf_str(out, id));
        MR_TRY(mr_buf_str(out, MR_STR("\",\"sequence\":\"")));
        char *at;
        MR_TRY(mr_buf_reserve(out, 16, &at));
        uint8_t big_endian[8];
        mr_put_u64(big_endian, __builtin_bswap64(slot->pos));
        mr_hex_encode(big_endian, sizeof big_endian, at);
        mr_buf_commit(out, 16);
        MR_TRY(mr_buf_str(out, slot->verdict == JOURNAL_DUPLICATE
                                   ? MR_STR("\",\"duplicate\":true}")
                                   : MR_STR("\",\"duplicate\":false}")));
    }
    return mr_buf_str(out, MR_STR("]}"));
}

static mr_err write_tail_event(const struct api *api, const struct record_event *event,
                               uint64_t pos, const uint32_t *destinations, size_t n, mr_buf *out) {
    MR_TRY(mr_buf_printf(out,
                         "{\"sequence\":\"%016llx\",\"id\":\"%.*s\",\"source\":\"%.*s\","
                         "\"type\":\"%.*s\",\"destinations\":[",
                         (unsigned long long)pos, MR_FMT(record_event_member(event, RECORD_ID)),
                         MR_FMT(record_event_member(event, RECORD_SOURCE)),
                         MR_FMT(record_event_member(event, RECORD_TYPE_ATTRIBUTE))));
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        const struct model_destination *destination =
            snapshot_destination(api->snapshot, destinations[i]);
        if (destination != NULL) {
            MR_TRY(mr_buf_printf(out, "%s\"%s\"", first ? "" : ",", destination->object.id));
            first = false;
        }
    }
    return mr_buf_str(out, MR_STR("]}"));
}

/* Shows the stored events of a commit to readers of the live view. */
static void publish(struct ticket *ticket) {
    const struct api *api = ticket->ingest->api;
    mr_buf json;
    mr_buf_init(&json, 49152);
    for (size_t i = 0; i < ticket->n; i++) {
        const struct journal_slot *slot = &ticket->slots[i];
        if (slot->verdict != JOURNAL_KEEP) {
            continue;
        }
        struct record_event event;
        MR_ASSERT(mr_is_ok(record_event_decode(mr_str_of(slot->body, slot->len), &event)));
        uint32_t destinations[64];
        size_t n = 0;
        mr_str at = event.targets;
        struct record_target target;
        while (n < 64 && record_targets_next(&at, &target)) {
            destinations[n++] = target.destination;
        }
        mr_buf_reset(&json);
        if (mr_is_ok(write_tail_event(api, &event, slot->pos, destinations, n, &json))) {
            const struct tail_event shown = {.name = "accepted",
                                             .account = ticket->account,
                                             .destinations = destinations,
                                             .n_destinations = n,
                                             .type =
                                                 record_event_member(&event, RECORD_TYPE_ATTRIBUTE),
                                             .json = mr_buf_view(&json)};
            tail_publish(api->tail, &shown);
        }
    }
    mr_buf_done(&json);
}

static void refuse_conflict(struct ticket *ticket) {
    size_t index = 0;
    bool no_memory = false;
    for (size_t i = 0; i < ticket->n; i++) {
        if (ticket->slots[i].flags == INGEST_FLAG_CONFLICT) {
            index = i;
        }
        no_memory = no_memory || ticket->slots[i].flags == INGEST_FLAG_NOMEM;
    }
    if (no_memory) {
        refuse_call(ticket, 503, 31005,
                    "could not store the events: out of memory; send them again");
        return;
    }
    char members[160];
    snprintf(members, sizeof members,
             "\"errors\":[{\"index\":%zu,\"pointer\":\"/id\",\"offset\":null,\"rule\":\"conflict\","
             "\"message\":\"this source and id were used with other content\"}]",
             index);
    char message[120];
    snprintf(message, sizeof message,
             "event %zu: its source and id were used with other content; nothing was stored",
             index);
    refuse_with(ticket, 409, 31006, mr_str_c(message), mr_str_c(members), 0);
}

static void accept_ticket(struct ticket *ticket) {
    struct ingest *ingest = ticket->ingest;
    uint64_t n_duplicates = 0;
    uint64_t n_unmatched = 0;
    for (size_t i = 0; i < ticket->n; i++) {
        n_duplicates += ticket->slots[i].verdict == JOURNAL_DUPLICATE;
    }
    mr_metric_add(ingest->api->metrics, MR_METRIC_EVENTS_ACCEPTED,
                  (int64_t)(ticket->n - n_duplicates));
    mr_metric_add(ingest->api->metrics, MR_METRIC_EVENTS_DUPLICATE, (int64_t)n_duplicates);
    if (ticket->unit.reader_mask == 0) {
        n_unmatched = ticket->n - n_duplicates;
        mr_metric_add(ingest->api->metrics, MR_METRIC_EVENTS_UNMATCHED, (int64_t)n_unmatched);
    }
    if (tail_is_read(ingest->api->tail)) {
        publish(ticket);
    }
    if (mr_is_ok(write_accepted(ticket, n_duplicates, &ingest->answer))) {
        answer(ticket, 202, mr_buf_view(&ingest->answer), 0);
    } else {
        answer(ticket, 202, MR_STR_NONE, 0);
    }
    release_ticket(ticket);
}

static void on_commit(struct mail *mail) {
    struct ticket *ticket = MR_CONTAINER(mail, struct ticket, unit.mail);
    struct ingest *ingest = ticket->ingest;
    ingest->n_waiting--;
    ingest->queued_bytes -= ticket->bytes.len;
    ingest->queued_events -= ticket->n;
    set_paused(ingest);
    switch (ticket->unit.result) {
    case JOURNAL_RESULT_OK:
        accept_ticket(ticket);
        return;
    case JOURNAL_RESULT_CONFLICT:
        refuse_conflict(ticket);
        return;
    case JOURNAL_RESULT_FULL:
        refuse_with(ticket, 503, 31005,
                    MR_STR("could not store the events: the disk is full; send them again later"),
                    MR_STR_NONE, 10);
        return;
    case JOURNAL_RESULT_LIMIT:
        refuse_call(ticket, 413, 20413, "the call is larger than the journal takes at once");
        return;
    case JOURNAL_RESULT_NONE:
    case JOURNAL_RESULT_FENCED:
    case JOURNAL_RESULT_FAILED:
        break;
    }
    refuse_with(ticket, 503, 31005,
                MR_STR("could not store the events: the journal failed; send them again"),
                MR_STR_NONE, 5);
}

/* ---- the end of a turn, of an exchange, of all ---- */

static void on_turn_end(struct loop_hook *hook) {
    struct ingest *ingest = MR_CONTAINER(hook, struct ingest, hook);
    struct ticket *ticket = ingest->first;
    ingest->first = NULL;
    ingest->last = &ingest->first;
    while (ticket != NULL) {
        struct ticket *next = ticket->next;
        writer_post(ingest->api->writer, &ticket->unit, ingest->api->metrics);
        ticket = next;
    }
}

bool ingest_owns(const struct ingest *ingest, const struct http_exchange *ex) {
    return ex->user != NULL && *(struct ingest *const *)ex->user == ingest;
}

void ingest_on_end(struct ingest *ingest, struct http_exchange *ex) {
    (void)ingest;
    struct ticket *ticket = ex->user;
    ex->user = NULL;
    ticket->ex = NULL;
    if (ticket->n == 0) {
        release_ticket(ticket); /* lost before its body: no unit holds it */
    }
}

size_t ingest_waiting(const struct ingest *ingest) {
    return ingest->n_waiting;
}

mr_err ingest_new(struct api *api, struct ingest **ret_ingest) {
    struct ingest *ingest = MR_NEW(struct ingest);
    if (ingest == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = filter_run_new(&ingest->filter_run);
    if (mr_is_err(err)) {
        mr_free(ingest);
        return err;
    }
    ingest->api = api;
    route_content_init(&ingest->content);
    event_parser_init(&ingest->parser, &api->limits);
    route_result_init(&ingest->routes);
    mr_buf_init(&ingest->answer, ANSWER_BYTES_MAX);
    ingest->last = &ingest->first;
    loop_on_turn_end(api->loop, &ingest->hook, on_turn_end);
    *ret_ingest = ingest;
    return MR_OK;
}

void ingest_free(struct ingest *ingest) {
    if (ingest == NULL) {
        return;
    }
    MR_ASSERT(ingest->n_waiting == 0);
    loop_hook_remove(&ingest->hook);
    while (ingest->free != NULL) {
        struct ticket *next = ingest->free->next;
        free_ticket(ingest->free);
        ingest->free = next;
    }
    event_parser_done(&ingest->parser);
    validator_done(&ingest->validator);
    route_result_done(&ingest->routes);
    route_content_done(&ingest->content);
    filter_run_free(ingest->filter_run);
    mr_free(ingest->targets);
    mr_free(ingest->rules);
    mr_buf_done(&ingest->answer);
    mr_free(ingest);
}
