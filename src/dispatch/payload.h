/* Bytes of stored events for requests: from the slabs of recent commits, else from the page cache
 * without waiting, else by a disk reader thread, from journal or archive.
 *
 * The cache belongs to one worker; the readers are shared by all and answer by mail. */
#ifndef MR_DISPATCH_PAYLOAD_H
#define MR_DISPATCH_PAYLOAD_H

#include "base/arena.h"
#include "json/tape.h"
#include "journal/reader.h"
#include "journal/slab.h"
#include "ledger/archive.h"
#include "ledger/record.h"
#include "model/catalogue.h"
#include "os/thread.h"

/* The newest slabs with events, in order of position: as many as bytes_max allows, at least one. A
 * lane that is SLAB_CACHE_MS behind reads from the page cache. */
#define SLAB_CACHE_MAX 256
#define SLAB_CACHE_MS  5000
struct slab_cache {
    size_t bytes_max; /* set by the owner; of their memory */
    size_t bytes;
    struct slab *slabs[SLAB_CACHE_MAX]; /* a ring: n from `first` on; a reference each */
    int64_t put_ms[SLAB_CACHE_MAX];     /* when they came, monotonic */
    size_t first;
    size_t n;
};
/* Takes over one reference. Old ones leave, also where this one holds no event and is not kept. */
void slab_cache_put(struct slab_cache *cache, struct slab *slab, int64_t now_ms);
/* The EVENT body at pos, or absent; valid until the next slab_cache_put. */
mr_str slab_cache_find(const struct slab_cache *cache, uint64_t pos);
void slab_cache_done(struct slab_cache *cache);

struct payload_reader;

/* One record to be loaded. */
struct payload_item {
    uint64_t pos;
    mr_err err;
    uint32_t offset; /* of its body in `bytes` */
    uint32_t len;
};

/* A list of records being loaded by a disk reader. Memory of the asker. */
struct payload_load {
    struct mail mail; /* first */
    struct mailbox *reply;
    void (*on_done)(struct payload_load *load); /* in the thread of reply */
    struct payload_item *items;
    size_t n;
    uint32_t size_hint; /* about the size of a record's body; 0: unknown */
    mr_buf bytes;       /* initialised by the asker; the bodies one after another */
    void *user;
    struct payload_reader *reader; /* set by the call */
};

struct payload_readers;
/* Starts n_threads (≤ 4) readers. archive may be NULL. MR_E_NOMEM, MR_E_IO. */
mr_err payload_readers_new(struct journal *journal, struct archive *archive, size_t n_threads,
                           struct payload_readers **ret_readers);
/* Waits for what is being read, then ends the threads. NULL is fine. */
void payload_readers_free(struct payload_readers *readers);
/* Any thread. Items keep the first error each: MR_E_NOT_FOUND (in neither), JOURNAL_E_CORRUPT,
 * MR_E_IO, MR_E_NOMEM. */
void payload_load_start(struct payload_readers *readers, struct payload_load *load);
/* Reads what it can without touching the disk, in the calling thread: an item that is not in memory
 * gets MR_E_AGAIN. scratch is overwritten; its maximum is PAYLOAD_SCRATCH_MAX. */
#define PAYLOAD_SCRATCH_MAX ((size_t)64 << 20)
void payload_load_now(struct journal *journal, struct payload_load *load, mr_buf *scratch);

/* Other work that waits for the disk: run is called in a reader's thread, on_done by mail in that
 * of reply. Memory of the asker. */
struct payload_task {
    struct mail mail; /* first */
    struct mailbox *reply;
    void (*run)(struct payload_task *task);
    void (*on_done)(struct payload_task *task);
};
/* Any thread. */
void payload_task_start(struct payload_readers *readers, struct payload_task *task);

/* The envelope of an EVENT body; absent where it is not one. */
mr_str payload_envelope(mr_str body);

/* Takes events back to older versions of their schema. Worker only. */
struct payload_projector {
    json_tape tape;
    mr_buf data;
};
void payload_projector_init(struct payload_projector *projector);
void payload_projector_done(struct payload_projector *projector);
/* The envelope of an EVENT body as a destination gets it that asked for that version of its schema
 * (0: the event's own): an older one leaves out of `data` what only later versions declare, and
 * dataschema names it. Never upward. A slice of body, or made in arena; the same every time, as
 * versions never change. Absent where body is no EVENT; MR_E_NOMEM, MR_E_LIMIT. */
mr_err payload_envelope_as(struct payload_projector *projector, const struct catalogue *catalogue,
                           mr_str body, uint16_t version, mr_arena *arena, mr_str *ret_envelope);

#endif
