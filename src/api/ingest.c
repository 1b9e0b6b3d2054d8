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
#include "api/ingest/parts.h"

#include "api/caller.h"
#include "base/mem.h"

#define RECORD_MORE 192 /* about what a record is longer than its event */

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
        ticket_refuse(ticket, 404, 20404, "there is no such account");
        return false;
    case API_ACCOUNT_MALFORMED:
        ticket_refuse(ticket, 400, 20400,
                      "account_id stands twice in the query, or with a bad percent escape");
        return false;
    case API_ACCOUNT_FOUND:
        break;
    }
    if (query.has_others) {
        ticket_refuse(ticket, 400, 20001, "unknown parameter; account_id is known here");
        return false;
    }
    ticket->account = query.account->object.number;
    return true;
}

void ingest_on_head(struct ingest *ingest, struct http_exchange *ex) {
    struct api *api = ingest->api;
    struct ticket *ticket = ticket_take(ingest);
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
        ticket_refuse(ticket, 401, 20401, api_verdict_text(verdict));
        return;
    case API_DENIED:
    case API_FORGED:
    case API_SETUP_NEEDED:
        ticket_refuse_with(ticket, 403, 20006, mr_str_c(api_verdict_text(verdict)),
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
        ticket_refuse(ticket, 415, 20415, API_BODY_CODED);
        return;
    }
    if (ex->content_length > api->limits.body_bytes_max) {
        ticket_refuse(ticket, 413, 20413, "the call is larger than 8 MiB");
        return;
    }
    if (queue_is_full(ingest)) {
        ticket_refuse(ticket, 503, 31005,
                      "more events wait for the disk than may; send them again");
        return;
    }
    http_exchange_want_body(ex, api->limits.body_bytes_max);
}

/* ---- the body and the commit ---- */

static void on_commit(struct mail *mail) {
    struct ticket *ticket = MR_CONTAINER(mail, struct ticket, unit.mail);
    struct ingest *ingest = ticket->ingest;
    ingest->n_waiting--;
    ingest->queued_bytes -= ticket->bytes.len;
    ingest->queued_events -= ticket->n;
    set_paused(ingest);
    switch (ticket->unit.result) {
    case JOURNAL_RESULT_OK:
        ticket_accept(ticket);
        return;
    case JOURNAL_RESULT_CONFLICT:
        ticket_refuse_conflict(ticket);
        return;
    case JOURNAL_RESULT_FULL:
        ticket_refuse_with(
            ticket, 503, 31005,
            MR_STR("could not store the events: the disk is full; send them again later"),
            MR_STR_NONE, 10);
        return;
    case JOURNAL_RESULT_LIMIT:
        ticket_refuse(ticket, 413, 20413, "the call is larger than the journal takes at once");
        return;
    case JOURNAL_RESULT_NONE:
    case JOURNAL_RESULT_FENCED:
    case JOURNAL_RESULT_FAILED:
        break;
    }
    ticket_refuse_with(ticket, 503, 31005,
                       MR_STR("could not store the events: the journal failed; send them again"),
                       MR_STR_NONE, 5);
}

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
        ticket_refuse(ticket, 404, 20404, "the account is gone");
        return;
    }
    struct event_batch batch;
    if (mr_is_err(event_parse(&ingest->parser, ex->fields, body, &batch))) {
        ticket_refuse(ticket, 503, 20503, "could not read the call: out of memory; send it again");
        return;
    }
    if (batch.errors.http_status != 0) {
        ticket_refuse_errors(ticket, &batch.errors);
        return;
    }
    int64_t wait_ms = 0;
    if (!rate_take(api->rates, ticket->account, account->events_per_second, (uint32_t)batch.len,
                   loop_now(api->loop), &wait_ms)) {
        ticket_refuse_with(ticket, 429, 31004,
                           MR_STR("the account's events per second are used up"), MR_STR_NONE,
                           (int)((wait_ms + 999) / 1000));
        return;
    }
    if (batch.len == 0) {
        ticket_answer(ticket, 202, MR_STR("{\"accepted\":0,\"duplicates\":0,\"events\":[]}"), 0);
        ticket_release(ticket);
        return;
    }
    mr_ignore(mr_buf_reserve(&ticket->bytes, body.len + batch.len * RECORD_MORE, NULL),
              "it grows as events need it");
    mr_err err = ingest_encode(ticket, &batch, account);
    if (mr_err_is(err, MR_E_INVALID)) {
        ticket_refuse_errors(ticket, &batch.errors);
    } else if (mr_err_is(err, MR_E_LIMIT) && ingest->filter_steps > FILTER_STEPS_CALL_MAX) {
        ticket_refuse(
            ticket, 413, 20413,
            "the call's events take the account's filters too much work; send fewer at once");
    } else if (mr_err_is(err, MR_E_LIMIT) && ingest->validator.n_steps > VALIDATE_STEPS_CALL_MAX) {
        ticket_refuse(ticket, 413, 20413,
                      "the call's events take their schemas too much work; send fewer at once");
    } else if (mr_err_is(err, MR_E_LIMIT)) {
        ticket_refuse(ticket, 413, 20413, "the call is larger than the journal takes at once");
    } else if (mr_is_err(err)) {
        ticket_refuse(ticket, 503, 20503, "could not take the call: out of memory; send it again");
    } else {
        queue_ticket(ticket);
    }
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
        ticket_release(ticket); /* lost before its body: no unit holds it */
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
        ticket_free(ingest->free);
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
