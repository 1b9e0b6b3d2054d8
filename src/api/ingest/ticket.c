/* Tickets, their memory, and the answers that calls get by them. See ingest/parts.h. */
#include "api/ingest/parts.h"

#include "base/mem.h"
#include "json/write.h"

#include <stdio.h>

#define RECORDS_BYTES_MAX ((size_t)16 << 20)
#define KEPT_BYTES_MAX    ((size_t)4 << 20) /* of the records of all free tickets */
#define FREE_MAX          256

/* ---- tickets ---- */

struct ticket *ticket_take(struct ingest *ingest) {
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

void ticket_free(struct ticket *ticket) {
    mr_buf_done(&ticket->bytes);
    mr_free(ticket->slots);
    mr_free(ticket->offsets);
    mr_free(ticket->ids);
    mr_free(ticket);
}

void ticket_release(struct ticket *ticket) {
    struct ingest *ingest = ticket->ingest;
    if (ingest->n_free >= FREE_MAX || ticket->bytes.cap > KEPT_BYTES_MAX - ingest->kept_bytes) {
        ticket_free(ticket);
        return;
    }
    mr_buf_reset(&ticket->bytes);
    ticket->ex = NULL;
    ticket->next = ingest->free;
    ingest->free = ticket;
    ingest->n_free++;
    ingest->kept_bytes += ticket->bytes.cap;
}

bool ticket_reserve(struct ticket *ticket, size_t n) {
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

void ticket_answer(struct ticket *ticket, int status, mr_str body, int retry_after_s) {
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
void ticket_refuse_with(struct ticket *ticket, int status, uint32_t code, mr_str message,
                        mr_str members, int retry_after_s) {
    struct ingest *ingest = ticket->ingest;
    mr_metric_add(ingest->api->metrics, MR_METRIC_EVENTS_REFUSED, 1);
    mr_buf_reset(&ingest->answer);
    mr_ignore(
        api_error_write(ingest->api->public_url, status, code, message, members, &ingest->answer),
        "without memory the refusal has no body");
    ticket_answer(ticket, status, mr_buf_view(&ingest->answer), retry_after_s);
    ticket_release(ticket);
}

void ticket_refuse(struct ticket *ticket, int status, uint32_t code, const char *message) {
    int retry_after_s = status == 503 || status == 429 ? 1 : 0;
    ticket_refuse_with(ticket, status, code, mr_str_c(message), MR_STR_NONE, retry_after_s);
}

void ticket_refuse_errors(struct ticket *ticket, const struct event_errors *errors) {
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
    ticket_refuse_with(ticket, errors->http_status, code, mr_str_c(message),
                       mr_is_ok(err) ? mr_buf_view(&members) : MR_STR_NONE, 0);
    mr_buf_done(&members);
}
