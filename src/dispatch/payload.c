/* Payload reading. See payload.h.
 *
 * In the common case a request is rendered in the very turn in which its events became durable, and
 * their slab is still held. A lane that falls behind reads from the page cache with RWF_NOWAIT,
 * which never blocks the loop; only what is cold goes to a reader thread. A record that the journal
 * has trimmed is looked for in the archive, which keeps what is still owed. */
#include "dispatch/payload.h"

#include "base/list.h"
#include "base/mem.h"

#include <stdatomic.h>

#define READERS_MAX 4

void slab_cache_put(struct slab_cache *cache, struct slab *slab) {
    if (cache->n == SLAB_CACHE_MAX) {
        slab_unref(cache->slabs[cache->first]);
        cache->first = (cache->first + 1) % SLAB_CACHE_MAX;
        cache->n--;
    }
    cache->slabs[(cache->first + cache->n) % SLAB_CACHE_MAX] = slab;
    cache->n++;
}

mr_str slab_cache_find(const struct slab_cache *cache, uint64_t pos) {
    for (size_t i = cache->n; i > 0; i--) {
        const struct slab *slab = cache->slabs[(cache->first + i - 1) % SLAB_CACHE_MAX];
        if (pos >= slab->end_pos) {
            return MR_STR_NONE;
        }
        if (pos >= slab->first_pos) {
            const struct slab_entry *entry = slab_record_at(slab, pos);
            return entry == NULL || entry->type != RECORD_EVENT ? MR_STR_NONE
                                                                : slab_body(slab, entry);
        }
    }
    return MR_STR_NONE;
}

void slab_cache_done(struct slab_cache *cache) {
    for (size_t i = 0; i < cache->n; i++) {
        slab_unref(cache->slabs[(cache->first + i) % SLAB_CACHE_MAX]);
    }
    cache->n = 0;
}

mr_str payload_envelope(mr_str body) {
    struct record_event event;
    return mr_is_ok(record_event_decode(body, &event)) ? event.envelope : MR_STR_NONE;
}

/* One of the reader threads. */
struct reader {
    struct payload_readers *readers;
    struct os_thread thread;
    struct mailbox mailbox;
    struct mail stop;
    bool is_started;
    bool is_stopping; /* reader thread only */
};

struct payload_readers {
    struct journal *journal;
    struct archive *archive;
    size_t n;
    _Atomic uint32_t next;
    struct reader reader[READERS_MAX];
};

static void load_one(struct journal *journal, int flags, struct payload_load *load,
                     struct payload_item *item) {
    size_t before = load->bytes.len;
    struct journal_record record;
    item->err = journal_read(journal, item->pos, item->len, flags, &load->bytes, &record);
    if (mr_is_err(item->err)) {
        mr_buf_truncate(&load->bytes, before);
        return;
    }
    item->offset = (uint32_t)(record.body.ptr - load->bytes.ptr);
    item->len = (uint32_t)record.body.len;
    if (record.type != RECORD_EVENT) {
        item->err = MR_ERR(JOURNAL_E_CORRUPT);
    }
}

void payload_load_now(struct journal *journal, struct payload_load *load) {
    for (size_t i = 0; i < load->n; i++) {
        load_one(journal, OS_READ_NOWAIT, load, &load->items[i]);
    }
}

static void answer(struct mail *mail) {
    struct payload_load *load = (struct payload_load *)(void *)mail;
    load->on_done(load);
}

static void on_load(struct mail *mail) {
    struct payload_load *load = (struct payload_load *)(void *)mail;
    struct payload_readers *readers = load->readers;
    for (size_t i = 0; i < load->n; i++) {
        struct payload_item *item = &load->items[i];
        load_one(readers->journal, OS_READ_WAIT, load, item);
        bool elsewhere = mr_err_is(item->err, JOURNAL_E_TRIMMED) ||
                         mr_err_is(item->err, JOURNAL_E_CORRUPT) ||
                         mr_err_is(item->err, MR_E_NOT_FOUND);
        if (elsewhere && readers->archive != NULL) {
            size_t before = load->bytes.len;
            mr_err err = archive_read(readers->archive, item->pos, &load->bytes);
            if (mr_is_ok(err)) {
                item->err = MR_OK;
                item->offset = (uint32_t)before;
                item->len = (uint32_t)(load->bytes.len - before);
            } else {
                mr_buf_truncate(&load->bytes, before);
            }
        }
    }
    load->mail.run = answer;
    mailbox_post(load->reply, &load->mail, NULL);
}

static void on_stop(struct mail *mail) {
    struct reader *reader = MR_CONTAINER(mail, struct reader, stop);
    reader->is_stopping = true;
}

static void reader_main(void *arg) {
    struct reader *reader = arg;
    while (!reader->is_stopping) {
        mailbox_run(mailbox_wait(&reader->mailbox, MR_MONO_NEVER));
    }
}

mr_err payload_readers_new(struct journal *journal, struct archive *archive, size_t n_threads,
                           struct payload_readers **ret_readers) {
    MR_ASSERT(n_threads >= 1 && n_threads <= READERS_MAX);
    struct payload_readers *readers = MR_NEW(struct payload_readers);
    if (readers == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    readers->journal = journal;
    readers->archive = archive;
    readers->n = n_threads;
    for (size_t i = 0; i < n_threads; i++) {
        struct reader *reader = &readers->reader[i];
        reader->readers = readers;
        mailbox_init(&reader->mailbox);
        mr_err err = os_thread_start(&reader->thread, "mr-reader", reader_main, reader);
        if (mr_is_err(err)) {
            payload_readers_free(readers);
            return err;
        }
        reader->is_started = true;
    }
    *ret_readers = readers;
    return MR_OK;
}

void payload_readers_free(struct payload_readers *readers) {
    if (readers == NULL) {
        return;
    }
    for (size_t i = 0; i < readers->n; i++) {
        struct reader *reader = &readers->reader[i];
        if (reader->is_started) {
            reader->stop.run = on_stop;
            mailbox_post(&reader->mailbox, &reader->stop, NULL);
            os_thread_join(&reader->thread);
        }
    }
    mr_free(readers);
}

void payload_load_start(struct payload_readers *readers, struct payload_load *load) {
    uint32_t at = atomic_fetch_add_explicit(&readers->next, 1, memory_order_relaxed);
    load->readers = readers;
    load->mail.run = on_load;
    mailbox_post(&readers->reader[at % readers->n].mailbox, &load->mail, NULL);
}
