/* Chunks of long backlogs, on their way back from the spill.
 *
 * A chunk is 4 KiB that was written not long ago: nearly always in the page cache, from where it is
 * read without waiting. One that is not is fetched by a disk reader, and the lane goes on when it
 * is here; the loop waits for no disk.
 *
 *   get ─┬─ in the page cache ─▶ here
 *        └─ EAGAIN ─▶ refill, with a reader ──mail──▶ here: marks its lane, which asks again
 *
 * What was fetched is kept until the backlog drops the chunk, so that a pass over many cold chunks
 * (backlog_filter) comes further each time. The number of refills is bounded; at the bound the
 * oldest that is here makes room, and its chunk is read again if it is asked for again.
 *
 * A chunk may be dropped while it is being read (its deliveries were discarded); what arrives is
 * then freed. */
#include "dispatch/shard_parts.h"

#include "base/mem.h"

#define REFILLS_MAX 1024

struct refill {
    struct payload_task task; /* first */
    mr_list node;             /* in the shard's refills */
    struct shard *shard;
    struct shard_lane *owner; /* whose backlog it is */
    struct spill_place place;
    uint64_t ref;
    mr_err err;
    uint16_t size;
    bool is_here;    /* false: a reader has it */
    bool is_dropped; /* nobody wants it any more */
    uint8_t bytes[SPILL_CHUNK_MAX];
};

static struct refill *find(const struct shard *shard, uint64_t ref) {
    for (mr_list *at = shard->refills.next; at != &shard->refills; at = at->next) {
        struct refill *refill = MR_CONTAINER(at, struct refill, node);
        if (refill->ref == ref && !refill->is_dropped) {
            return refill;
        }
    }
    return NULL;
}

static void free_refill(struct refill *refill) {
    mr_list_remove(&refill->node);
    refill->shard->n_refills--;
    mr_free(refill);
}

/* Reader's thread. */
static void read_chunk(struct payload_task *task) {
    struct refill *refill = (struct refill *)(void *)task;
    refill->err = spill_read(&refill->place, refill->bytes, OS_READ_WAIT);
}

static void on_read(struct payload_task *task) {
    struct refill *refill = (struct refill *)(void *)task;
    struct shard *shard = refill->shard;
    shard->n_refilling--;
    refill->is_here = true;
    if (refill->is_dropped) {
        free_refill(refill);
    } else {
        shard_mark(refill->owner);
    }
}

/* The oldest that is here leaves; false: readers have all of them. */
static bool make_room(struct shard *shard) {
    for (mr_list *at = shard->refills.next; at != &shard->refills; at = at->next) {
        struct refill *refill = MR_CONTAINER(at, struct refill, node);
        if (refill->is_here) {
            free_refill(refill);
            return true;
        }
    }
    return false;
}

static mr_err start(struct shard *shard, uint64_t ref, size_t size) {
    MR_ASSERT(shard->at_work != NULL && size <= SPILL_CHUNK_MAX);
    if (shard->n_refills >= REFILLS_MAX && !make_room(shard)) {
        return MR_ERR(MR_E_BUSY);
    }
    struct refill *refill = MR_NEW(struct refill);
    if (refill == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    refill->shard = shard;
    refill->owner = shard->at_work;
    refill->place = spill_place_of(shard->options.spill, ref);
    refill->ref = ref;
    refill->size = (uint16_t)size;
    mr_list_push_back(&shard->refills, &refill->node);
    shard->n_refills++;
    shard->n_refilling++;
    refill->task = (struct payload_task){
        .reply = loop_mailbox(shard->options.loop), .run = read_chunk, .on_done = on_read};
    payload_task_start(shard->options.readers, &refill->task);
    return MR_ERR(MR_E_AGAIN);
}

/* ---- the hooks of backlogs ---- */

static mr_err put_chunk(void *ctx, const void *bytes, size_t size, uint64_t *ret_ref) {
    struct shard *shard = ctx;
    return spill_put(shard->options.spill, bytes, size, ret_ref);
}

static mr_err get_chunk(void *ctx, uint64_t ref, void *bytes, size_t size) {
    struct shard *shard = ctx;
    struct refill *refill = find(shard, ref);
    if (refill == NULL) {
        mr_err err = spill_get(shard->options.spill, ref, bytes, size, OS_READ_NOWAIT);
        return mr_err_is(err, MR_E_AGAIN) ? start(shard, ref, size) : err;
    }
    if (!refill->is_here) {
        return MR_ERR(MR_E_AGAIN);
    }
    MR_ASSERT(size == refill->size);
    mr_err err = refill->err;
    if (mr_is_ok(err)) {
        memcpy(bytes, refill->bytes, size);
    } else {
        free_refill(refill); /* tried anew when it is asked for again */
    }
    return err;
}

static void drop_chunk(void *ctx, uint64_t ref) {
    struct shard *shard = ctx;
    struct refill *refill = find(shard, ref);
    spill_drop(shard->options.spill, ref);
    if (refill != NULL && refill->is_here) {
        free_refill(refill);
    } else if (refill != NULL) {
        refill->is_dropped = true;
    }
}

struct backlog_spill shard_spill(struct shard *shard) {
    return shard->options.spill == NULL
               ? (struct backlog_spill){.ctx = NULL}
               : (struct backlog_spill){shard, put_chunk, get_chunk, drop_chunk};
}

void shard_refills_done(struct shard *shard) {
    MR_ASSERT(shard->n_refilling == 0);
    while (make_room(shard)) {
    }
    MR_ASSERT(shard->n_refills == 0);
}
