/* From the events of a call to the records of its ticket: each is resolved against the catalogue,
 * judged by its schema, matched with the account's rules and encoded. The first refusal decides
 * over the call; what is wrong with the others is told with it, but they are not encoded. */
#include "api/ingest/parts.h"

#include "base/mem.h"
#include "event/envelope.h"

#define TARGETS_MIN 64

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

mr_err ingest_encode(struct ticket *ticket, struct event_batch *batch,
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
    if (!ticket_reserve(ticket, batch->len)) {
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
