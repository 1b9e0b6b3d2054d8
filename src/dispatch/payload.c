/* Payload reading. See payload.h.
 *
 * In the common case a request is rendered in the very turn in which its events became durable, and
 * their slab is still held. A lane that falls behind reads from the page cache with RWF_NOWAIT,
 * which never blocks the loop; only what is cold goes to a reader thread. A record that the journal
 * has trimmed is looked for in the archive, which keeps what is still owed. */
#include "dispatch/payload.h"

#include "base/list.h"
#include "base/mem.h"
#include "schema/schema.h"

#include <stdatomic.h>

#define READERS_MAX 4
#define LOAD_WANTS  256 /* that one call of the journal reads */

static void drop_oldest(struct slab_cache *cache) {
    struct slab *oldest = cache->slabs[cache->first];
    cache->bytes -= oldest->capacity;
    cache->first = (cache->first + 1) % SLAB_CACHE_MAX;
    cache->n--;
    slab_unref(oldest);
}

static bool has_event(const struct slab *slab) {
    for (uint32_t i = 0; i < slab->n_records; i++) {
        if (slab->records[i].type == RECORD_EVENT) {
            return true;
        }
    }
    return false;
}

void slab_cache_put(struct slab_cache *cache, struct slab *slab, int64_t now_ms) {
    while (cache->n > 0 && cache->put_ms[cache->first] + SLAB_CACHE_MS < now_ms) {
        drop_oldest(cache);
    }
    if (!has_event(slab)) {
        slab_unref(slab);
        return;
    }
    while (cache->n == SLAB_CACHE_MAX ||
           (cache->n > 0 && cache->bytes + slab->capacity > cache->bytes_max)) {
        drop_oldest(cache);
    }
    size_t at = (cache->first + cache->n) % SLAB_CACHE_MAX;
    cache->slabs[at] = slab;
    cache->put_ms[at] = now_ms;
    cache->bytes += slab->capacity;
    cache->n++;
}

mr_str slab_cache_find(const struct slab_cache *cache, uint64_t pos) {
    /* The last slab that begins at or before pos. */
    size_t low = 0;
    size_t high = cache->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cache->slabs[(cache->first + middle) % SLAB_CACHE_MAX]->first_pos <= pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return MR_STR_NONE;
    }
    const struct slab *slab = cache->slabs[(cache->first + low - 1) % SLAB_CACHE_MAX];
    const struct slab_entry *entry = pos < slab->end_pos ? slab_record_at(slab, pos) : NULL;
    return entry == NULL || entry->type != RECORD_EVENT ? MR_STR_NONE : slab_body(slab, entry);
}

void slab_cache_done(struct slab_cache *cache) {
    while (cache->n > 0) {
        drop_oldest(cache);
    }
}

mr_str payload_envelope(mr_str body) {
    struct record_event event;
    return mr_is_ok(record_event_decode(body, &event)) ? event.envelope : MR_STR_NONE;
}

/* ---- older versions ---- */

#define PROJECTED_MAX ((size_t)1 << 20)
#define DATA_DEPTH    64

void payload_projector_init(struct payload_projector *projector) {
    json_tape_init(&projector->tape, DATA_DEPTH);
    mr_buf_init(&projector->data, PROJECTED_MAX);
}

void payload_projector_done(struct payload_projector *projector) {
    json_tape_done(&projector->tape);
    mr_buf_done(&projector->data);
}

/* The event's data by that version; the stored text where nothing is left out. */
static mr_err project_data(struct payload_projector *projector,
                           const struct schema_projection *projection, mr_str data,
                           mr_str *ret_data) {
    *ret_data = data;
    if (projection == NULL || data.len == 0) {
        return MR_OK;
    }
    mr_err err = json_tape_read(&projector->tape, data, NULL);
    if (mr_is_err(err)) {
        return mr_err_is(err, MR_E_NOMEM) ? err : MR_OK; /* it was JSON when it was accepted */
    }
    mr_buf_reset(&projector->data);
    MR_TRY(schema_project(projection, json_root(&projector->tape), &projector->data));
    *ret_data = mr_buf_view(&projector->data);
    return MR_OK;
}

/* The envelope with other data, and with another version at the end of its dataschema. */
static mr_err rewrite(const struct record_event *event, mr_str data, uint16_t version,
                      mr_arena *arena, mr_str *ret_envelope) {
    mr_str whole = event->envelope;
    struct record_span at_data = event->spans[RECORD_DATA];
    struct record_span at_schema = event->spans[RECORD_DATASCHEMA];
    mr_str name = mr_str_slice(whole, at_schema.offset, at_schema.offset + at_schema.len);
    while (name.len > 0 && name.ptr[name.len - 1] != '/') {
        name.len--;
    }
    mr_str behind_data =
        mr_str_slice(whole, at_data.offset + at_data.len, at_schema.offset + name.len);
    mr_str rest = mr_str_slice(whole, at_schema.offset + at_schema.len, whole.len);
    mr_buf out;
    mr_buf_init(&out, whole.len + data.len + 8);
    mr_err err = mr_buf_str(&out, mr_str_slice(whole, 0, at_data.offset));
    err = mr_is_ok(err) ? mr_buf_str(&out, data) : err;
    err = mr_is_ok(err) ? mr_buf_str(&out, behind_data) : err;
    err = mr_is_ok(err) ? mr_buf_u64(&out, version) : err;
    err = mr_is_ok(err) ? mr_buf_str(&out, rest) : err;
    if (mr_is_ok(err)) {
        *ret_envelope = mr_arena_str(arena, mr_buf_view(&out));
        err = mr_str_is_absent(*ret_envelope) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&out);
    return err;
}

mr_err payload_envelope_as(struct payload_projector *projector, const struct catalogue *catalogue,
                           mr_str body, uint16_t version, mr_arena *arena, mr_str *ret_envelope) {
    struct record_event event;
    if (mr_is_err(record_event_decode(body, &event))) {
        *ret_envelope = MR_STR_NONE;
        return MR_OK;
    }
    *ret_envelope = event.envelope;
    if (version == 0 || version >= event.schema_version) {
        return MR_OK;
    }
    mr_str name;
    MR_TRY(json_inner_decode(record_event_member(&event, RECORD_TYPE_ATTRIBUTE), arena, &name));
    const struct catalogue_type *type = catalogue_type_find(catalogue, name);
    if (type == NULL || catalogue_schema_find(catalogue, type->schema, version) == NULL) {
        return MR_OK; /* the catalogue never forgets: a folder without its control.db */
    }
    const struct schema_projection *projection =
        catalogue_projection(catalogue, type->schema, event.schema_version, version);
    bool is_base64 = mr_str_starts(event.envelope, MR_STR("{\"data_base64\""));
    mr_str data = record_event_member(&event, RECORD_DATA);
    MR_TRY(project_data(projector, is_base64 ? NULL : projection, data, &data));
    return rewrite(&event, data, version, arena, ret_envelope);
}

/* One of the reader threads. */
struct payload_reader {
    struct payload_readers *readers;
    struct os_thread thread;
    struct mailbox mailbox;
    struct mail stop;
    mr_buf scratch; /* reader thread only */
    bool is_started;
    bool is_stopping; /* reader thread only */
};

struct payload_readers {
    struct journal *journal;
    struct archive *archive;
    size_t n;
    _Atomic uint32_t next;
    struct payload_reader reader[READERS_MAX];
};

/* One item's record came, or did not. */
static void take_item(struct payload_load *load, struct payload_item *item, mr_err err,
                      const struct journal_record *record) {
    if (mr_is_ok(err) && record->type != RECORD_EVENT) {
        err = MR_ERR(JOURNAL_E_CORRUPT);
    }
    size_t at = load->bytes.len;
    if (mr_is_ok(err)) {
        err = mr_buf_str(&load->bytes, record->body);
    }
    item->err = err;
    if (mr_is_ok(err)) {
        item->offset = (uint32_t)at;
        item->len = (uint32_t)record->body.len;
    }
}

/* Some of a load's items, ascending. */
struct stretch {
    struct payload_load *load;
    size_t first;
};

static void take_of_stretch(void *ctx, size_t i, mr_err err, const struct journal_record *record) {
    const struct stretch *stretch = ctx;
    take_item(stretch->load, &stretch->load->items[stretch->first + i], err, record);
}

/* Neighbours in one read, as far as the items ascend: those of a part that was redriven may not. */
static void load_all(struct journal *journal, int flags, struct payload_load *load,
                     mr_buf *scratch) {
    struct journal_want wants[LOAD_WANTS];
    size_t n;
    for (size_t first = 0; first < load->n; first += n) {
        const struct payload_item *items = load->items + first;
        struct stretch stretch = {load, first};
        n = 0;
        do {
            wants[n] = (struct journal_want){items[n].pos, load->size_hint};
            n++;
        } while (n < LOAD_WANTS && first + n < load->n && items[n].pos > items[n - 1].pos);
        mr_err err =
            journal_read_many(journal, wants, n, flags, scratch, take_of_stretch, &stretch);
        for (size_t i = 0; i < n && mr_is_err(err); i++) {
            load->items[first + i].err = err;
        }
    }
}

void payload_load_now(struct journal *journal, struct payload_load *load, mr_buf *scratch) {
    load_all(journal, OS_READ_NOWAIT, load, scratch);
}

static void answer(struct mail *mail) {
    struct payload_load *load = (struct payload_load *)(void *)mail;
    load->on_done(load);
}

static void on_load(struct mail *mail) {
    struct payload_load *load = (struct payload_load *)(void *)mail;
    struct payload_readers *readers = load->reader->readers;
    load_all(readers->journal, OS_READ_WAIT, load, &load->reader->scratch);
    for (size_t i = 0; i < load->n; i++) {
        struct payload_item *item = &load->items[i];
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
    struct payload_reader *reader = MR_CONTAINER(mail, struct payload_reader, stop);
    reader->is_stopping = true;
}

static void reader_main(void *arg) {
    struct payload_reader *reader = arg;
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
        struct payload_reader *reader = &readers->reader[i];
        reader->readers = readers;
        mailbox_init(&reader->mailbox);
        mr_buf_init(&reader->scratch, PAYLOAD_SCRATCH_MAX);
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
        struct payload_reader *reader = &readers->reader[i];
        if (reader->is_started) {
            reader->stop.run = on_stop;
            mailbox_post(&reader->mailbox, &reader->stop, NULL);
            os_thread_join(&reader->thread);
        }
        mr_buf_done(&reader->scratch);
    }
    mr_free(readers);
}

static struct payload_reader *next_reader(struct payload_readers *readers) {
    uint32_t at = atomic_fetch_add_explicit(&readers->next, 1, memory_order_relaxed);
    return &readers->reader[at % readers->n];
}

void payload_load_start(struct payload_readers *readers, struct payload_load *load) {
    load->reader = next_reader(readers);
    load->mail.run = on_load;
    mailbox_post(&load->reader->mailbox, &load->mail, NULL);
}

static void task_done(struct mail *mail) {
    struct payload_task *task = (struct payload_task *)(void *)mail;
    task->on_done(task);
}

static void on_task(struct mail *mail) {
    struct payload_task *task = (struct payload_task *)(void *)mail;
    task->run(task);
    task->mail.run = task_done;
    mailbox_post(task->reply, &task->mail, NULL);
}

void payload_task_start(struct payload_readers *readers, struct payload_task *task) {
    task->mail.run = on_task;
    mailbox_post(&next_reader(readers)->mailbox, &task->mail, NULL);
}
