/* The live view. See tail.h.
 *
 * Each worker keeps its own readers in a list. The hub counts readers per worker in atomics, so
 * that the common case (nobody reads) costs one load. Publishing writes to the own readers at once
 * and sends one mail with a copy of the event to every other worker that has some; order per worker
 * is kept, order between workers is not promised.
 *
 * A reader whose connection does not take a piece (http_exchange_chunk says MR_E_AGAIN) goes to a
 * state of missing: events are counted, not kept. When the connection drains it gets `missed` with
 * the count, then the live events again. A comment line every fifteen seconds keeps idle streams
 * open. */
#include "dispatch/tail.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdio.h>

#define WORKERS_MAX   64
#define READERS_MAX   256 /* of one worker */
#define ACCOUNT_MAX   64  /* of them one account's, so that none shuts out the others */
#define LINE_SIZE_MAX 60000
#define BEAT_MS       15000

struct tail_hub {
    size_t n_workers;
    _Atomic uint32_t readers; /* of all */
    _Atomic uint32_t by_worker[WORKERS_MAX];
    struct tail *tails[WORKERS_MAX]; /* set before the workers run */
};

struct reader {
    mr_list node;
    struct http_exchange *ex;
    struct tail *tail;
    struct tail_filter filter;
    char *type;
    uint64_t missed;
    bool is_ended; /* finished; its end is on the way */
};

struct tail {
    struct tail_hub *hub;
    size_t worker;
    struct loop *loop;
    mr_list readers;
    size_t n_readers;
    struct loop_timer beat;
    mr_buf line;
};

/* A copy of an event on its way to another worker. */
struct parcel {
    struct mail mail; /* first */
    struct tail *to;
    struct tail_event event;
    char memory[];
};

mr_err tail_hub_new(size_t n_workers, struct tail_hub **ret_hub) {
    MR_ASSERT(n_workers <= WORKERS_MAX);
    struct tail_hub *hub = MR_NEW(struct tail_hub);
    if (hub == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    hub->n_workers = n_workers;
    *ret_hub = hub;
    return MR_OK;
}

void tail_hub_free(struct tail_hub *hub) {
    mr_free(hub);
}

static void end_stream(struct reader *reader) {
    if (!reader->is_ended) {
        reader->is_ended = true;
        http_exchange_finish(reader->ex);
    }
}

void tail_recheck(struct tail *tail) {
    for (mr_list *at = tail->readers.next; at != &tail->readers; at = at->next) {
        struct reader *reader = MR_CONTAINER(at, struct reader, node);
        if (!reader->filter.may_read(reader->filter.ctx, &reader->filter.caller)) {
            end_stream(reader);
        }
    }
}

static void send_piece(struct reader *reader, mr_str piece) {
    mr_err err = http_exchange_chunk(reader->ex, piece);
    if (mr_is_err(err)) {
        reader->missed++;
    }
}

static void on_beat(struct loop_timer *timer) {
    struct tail *tail = MR_CONTAINER(timer, struct tail, beat);
    tail_recheck(tail);
    for (mr_list *at = tail->readers.next; at != &tail->readers; at = at->next) {
        struct reader *reader = MR_CONTAINER(at, struct reader, node);
        if (reader->missed == 0 && !reader->is_ended) {
            mr_ignore(http_exchange_chunk(reader->ex, MR_STR(": still here\n\n")),
                      "a full stream needs no sign of life");
        }
    }
    if (tail->n_readers > 0) {
        loop_timer_set(tail->loop, &tail->beat, mr_mono_add_ms(loop_now(tail->loop), BEAT_MS));
    }
}

mr_err tail_new(struct tail_hub *hub, size_t worker, struct loop *loop, struct tail **ret_tail) {
    struct tail *tail = MR_NEW(struct tail);
    if (tail == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    tail->hub = hub;
    tail->worker = worker;
    tail->loop = loop;
    mr_list_init(&tail->readers);
    loop_timer_init(&tail->beat, on_beat);
    mr_buf_init(&tail->line, LINE_SIZE_MAX);
    hub->tails[worker] = tail;
    *ret_tail = tail;
    return MR_OK;
}

void tail_free(struct tail *tail) {
    if (tail == NULL) {
        return;
    }
    MR_ASSERT(tail->n_readers == 0);
    loop_timer_cancel(tail->loop, &tail->beat);
    mr_buf_done(&tail->line);
    mr_free(tail);
}

bool tail_is_read(const struct tail *tail) {
    return atomic_load_explicit(&tail->hub->readers, memory_order_relaxed) > 0;
}

static size_t readers_of(const struct tail *tail, uint32_t account) {
    size_t n = 0;
    for (mr_list *at = tail->readers.next; at != &tail->readers; at = at->next) {
        n += MR_CONTAINER(at, struct reader, node)->filter.account == account;
    }
    return n;
}

mr_err tail_open(struct tail *tail, struct http_exchange *ex, const struct tail_filter *filter) {
    if (tail->n_readers >= READERS_MAX || readers_of(tail, filter->account) >= ACCOUNT_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    struct reader *reader = MR_NEW(struct reader);
    if (reader == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    reader->ex = ex;
    reader->tail = tail;
    reader->filter = *filter;
    if (filter->type.len > 0) {
        reader->type = mr_strdup_n(filter->type.ptr, filter->type.len);
        if (reader->type == NULL) {
            mr_free(reader);
            return MR_ERR(MR_E_NOMEM);
        }
        reader->filter.type.ptr = reader->type;
    }
    ex->user = reader;
    mr_list_push_back(&tail->readers, &reader->node);
    tail->n_readers++;
    atomic_fetch_add(&tail->hub->by_worker[tail->worker], 1);
    atomic_fetch_add(&tail->hub->readers, 1);
    const mr_field fields[] = {
        {MR_STR("content-type"), MR_STR("text/event-stream")},
        {MR_STR("cache-control"), MR_STR("no-store")},
        {MR_STR("access-control-allow-origin"), MR_STR("*")},
    };
    http_exchange_start(ex, 200, fields, sizeof fields / sizeof fields[0]);
    send_piece(reader, MR_STR(": reading\n\n"));
    if (tail->n_readers == 1) {
        loop_timer_set(tail->loop, &tail->beat, mr_mono_add_ms(loop_now(tail->loop), BEAT_MS));
    }
    return MR_OK;
}

static struct reader *reader_of(const struct tail *tail, const struct http_exchange *ex) {
    for (mr_list *at = tail->readers.next; at != &tail->readers; at = at->next) {
        struct reader *reader = MR_CONTAINER(at, struct reader, node);
        if (reader->ex == ex) {
            return reader;
        }
    }
    return NULL;
}

bool tail_owns(const struct tail *tail, const struct http_exchange *ex) {
    return reader_of(tail, ex) != NULL;
}

void tail_on_end(struct tail *tail, struct http_exchange *ex) {
    struct reader *reader = reader_of(tail, ex);
    if (reader == NULL) {
        return;
    }
    ex->user = NULL;
    mr_list_remove(&reader->node);
    tail->n_readers--;
    atomic_fetch_sub(&tail->hub->by_worker[tail->worker], 1);
    atomic_fetch_sub(&tail->hub->readers, 1);
    mr_free(reader->type);
    mr_free(reader);
}

void tail_on_drain(struct tail *tail, struct http_exchange *ex) {
    struct reader *reader = reader_of(tail, ex);
    if (reader == NULL || reader->missed == 0 || reader->is_ended) {
        return;
    }
    /* Not in tail->line: publishing calls this while the line holds what others are to get. */
    char text[64];
    int len = snprintf(text, sizeof text, "event: missed\ndata: {\"count\":%llu}\n\n",
                       (unsigned long long)reader->missed);
    if (mr_is_ok(http_exchange_chunk(ex, mr_str_of(text, (size_t)len)))) {
        reader->missed = 0;
    }
}

void tail_close_all(struct tail *tail) {
    for (mr_list *at = tail->readers.next; at != &tail->readers; at = at->next) {
        end_stream(MR_CONTAINER(at, struct reader, node));
    }
}

static bool wants(const struct reader *reader, const struct tail_event *event) {
    if (reader->filter.account != event->account || reader->is_ended) {
        return false;
    }
    if (reader->filter.type.len > 0 && !mr_str_is_absent(event->type) &&
        !mr_str_eq(reader->filter.type, event->type)) {
        return false;
    }
    bool concerned = reader->filter.destination == 0;
    for (size_t i = 0; i < event->n_destinations && !concerned; i++) {
        concerned = event->destinations[i] == reader->filter.destination;
    }
    return concerned;
}

static void publish_here(struct tail *tail, const struct tail_event *event) {
    mr_buf_reset(&tail->line);
    bool whole = mr_is_ok(mr_buf_printf(&tail->line, "event: %s\ndata: ", event->name)) &&
                 mr_is_ok(mr_buf_str(&tail->line, event->json)) &&
                 mr_is_ok(mr_buf_str(&tail->line, MR_STR("\n\n")));
    for (mr_list *at = tail->readers.next; at != &tail->readers; at = at->next) {
        struct reader *reader = MR_CONTAINER(at, struct reader, node);
        if (!wants(reader, event)) {
            continue;
        }
        if (!whole || reader->missed > 0) {
            reader->missed++;
            tail_on_drain(tail, reader->ex);
            continue;
        }
        send_piece(reader, mr_buf_view(&tail->line));
    }
}

static void on_parcel(struct mail *mail) {
    struct parcel *parcel = (struct parcel *)(void *)mail;
    publish_here(parcel->to, &parcel->event);
    mr_free(parcel);
}

static void send_parcel(struct tail *to, const struct tail_event *event) {
    size_t n_bytes = event->n_destinations * sizeof *event->destinations;
    struct parcel *parcel = mr_alloc(sizeof *parcel + n_bytes + event->type.len + event->json.len);
    if (parcel == NULL) {
        return; /* a live view without memory shows less; nothing depends on it */
    }
    parcel->mail.run = on_parcel;
    parcel->to = to;
    parcel->event = *event;
    char *at = parcel->memory;
    if (n_bytes > 0) {
        memcpy(at, event->destinations, n_bytes);
    }
    parcel->event.destinations = (const uint32_t *)(const void *)at;
    at += n_bytes;
    if (event->type.len > 0) {
        memcpy(at, event->type.ptr, event->type.len);
        parcel->event.type.ptr = at;
        at += event->type.len;
    }
    memcpy(at, event->json.ptr, event->json.len);
    parcel->event.json.ptr = at;
    mailbox_post(loop_mailbox(to->loop), &parcel->mail, NULL);
}

void tail_publish(struct tail *tail, const struct tail_event *event) {
    if (!tail_is_read(tail)) {
        return;
    }
    for (size_t i = 0; i < tail->hub->n_workers; i++) {
        if (atomic_load_explicit(&tail->hub->by_worker[i], memory_order_relaxed) == 0) {
            continue;
        }
        if (i == tail->worker) {
            publish_here(tail, event);
        } else {
            send_parcel(tail->hub->tails[i], event);
        }
    }
}
