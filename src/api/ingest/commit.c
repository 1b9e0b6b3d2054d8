/* What a call is told once the journal has answered, and what readers of the live view see of it.
 * A record's bytes are read where they lie in the ticket; nothing is kept of them. */
#include "api/ingest/parts.h"

#include "json/write.h"

#include <stdio.h>

/* Of an event in the answer, without its id. */
#define EVENT_TEXT_BYTES 80
#define IDS_AHEAD        8

static char *put(char *at, mr_str text) {
    memcpy(at, text.ptr, text.len);
    return at + text.len;
}

/* One event of the answer, in a room of EVENT_TEXT_BYTES and its id. Returns its end. */
static char *put_event(char *at, mr_str id, uint64_t pos, bool is_duplicate) {
    uint8_t big_endian[8];
    mr_put_u64(big_endian, __builtin_bswap64(pos));
    at = put(at, MR_STR("{\"id\":\""));
    at = put(at, id);
    at = put(at, MR_STR("\",\"sequence\":\""));
    mr_hex_encode(big_endian, sizeof big_endian, at);
    at += 2 * sizeof big_endian;
    return put(at,
               is_duplicate ? MR_STR("\",\"duplicate\":true}") : MR_STR("\",\"duplicate\":false}"));
}

static mr_err write_accepted(struct ticket *ticket, uint64_t n_duplicates, mr_buf *out) {
    mr_buf_reset(out);
    MR_TRY(mr_buf_printf(out, "{\"accepted\":%llu,\"duplicates\":%llu,\"events\":[",
                         (unsigned long long)(ticket->n - n_duplicates),
                         (unsigned long long)n_duplicates));
    for (size_t i = 0; i < ticket->n; i++) {
        const struct journal_slot *slot = &ticket->slots[i];
        const char *body = slot->body;
        mr_str id = mr_str_of(body + ticket->ids[i].offset, ticket->ids[i].len);
        if (i + IDS_AHEAD < ticket->n) { /* each lies in a record of its own, out of the cache */
            body = ticket->slots[i + IDS_AHEAD].body;
            __builtin_prefetch(body + ticket->ids[i + IDS_AHEAD].offset);
        }
        char *from;
        MR_TRY(mr_buf_reserve(out, id.len + EVENT_TEXT_BYTES, &from));
        char *at = from;
        if (i > 0) {
            *at++ = ',';
        }
        at = put_event(at, id, slot->pos, slot->verdict == JOURNAL_DUPLICATE);
        mr_buf_commit(out, (size_t)(at - from));
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

void ticket_refuse_conflict(struct ticket *ticket) {
    size_t index = 0;
    bool no_memory = false;
    for (size_t i = 0; i < ticket->n; i++) {
        if (ticket->slots[i].flags == INGEST_FLAG_CONFLICT) {
            index = i;
        }
        no_memory = no_memory || ticket->slots[i].flags == INGEST_FLAG_NOMEM;
    }
    if (no_memory) {
        ticket_refuse(ticket, 503, 31005,
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
    ticket_refuse_with(ticket, 409, 31006, mr_str_c(message), mr_str_c(members), 0);
}

void ticket_accept(struct ticket *ticket) {
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
        ticket_answer(ticket, 202, mr_buf_view(&ingest->answer), 0);
    } else {
        ticket_answer(ticket, 202, MR_STR_NONE, 0);
    }
    ticket_release(ticket);
}
