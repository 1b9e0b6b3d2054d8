/* Bits that flip at rest. On a copy of the disk, while the process is down, one bit of one record
 * that is known durable is flipped; recovery must report that record, from its first position to
 * its last, and nothing else, and every other record must be read as before. The copy is thrown
 * away: what a store does without such a record is not this simulator's. */
#include "world.h"

#include "base/mem.h"
#include "base/num.h"
#include "journal/format.h"
#include "journal/reader.h"

#include <string.h>

#define DIR_JOURNAL "/store/journal"

struct place {
    uint64_t pos, next_pos, hash;
};

/* What a recovery of the copy finds. */
struct found {
    struct place *places;
    size_t n, cap;
    uint64_t durable_known;
    uint32_t n_damage;
    struct journal_damage damage; /* the last */
    bool is_corrupt;              /* reading the record asked for said so */
};

static void on_damage(void *ctx, const struct journal_damage *damage) {
    struct found *found = ctx;
    found->n_damage++;
    found->damage = *damage;
}

static void add_place(struct found *found, const struct journal_record *record) {
    if (found->n == found->cap) {
        found->cap = found->cap == 0 ? 256 : found->cap * 2;
        found->places = mr_realloc(found->places, found->cap * sizeof *found->places);
        MR_ASSERT(found->places != NULL);
    }
    found->places[found->n++] =
        (struct place){record->pos, record->next_pos, mr_str_hash(record->body, 5)};
}

/* Reads all records; pos: one that is read on its own too, or none. */
static mr_err read_all(struct journal *journal, uint64_t pos, struct found *found) {
    struct journal_iter iter;
    struct journal_item item;
    mr_err err;
    journal_iter_init(&iter, journal, JOURNAL_POS_NONE);
    for (;;) {
        err = journal_iter_next(&iter, journal_durable(journal), &item);
        if (mr_is_err(err) || item.kind == JOURNAL_ITEM_END) {
            break;
        }
        if (item.kind == JOURNAL_ITEM_RECORD) {
            add_place(found, &item.record);
        }
    }
    journal_iter_done(&iter);
    if (pos != JOURNAL_POS_NONE) {
        mr_buf scratch;
        struct journal_record record;
        mr_buf_init(&scratch, 4 << 20);
        found->is_corrupt = mr_err_is(
            journal_read(journal, pos, 0, OS_READ_WAIT, &scratch, &record), JOURNAL_E_CORRUPT);
        mr_buf_done(&scratch);
    }
    return err;
}

static bool look(struct world *world, struct disk *disk, bool read_only, uint64_t pos,
                 struct found *found) {
    *found = (struct found){0};
    struct journal_options options = {.dir = DIR_JOURNAL,
                                      .segment_bytes = 64 * 1024,
                                      .now = world->wall,
                                      .read_only = read_only,
                                      .random = world_fill_random,
                                      .random_ctx = world,
                                      .on_damage = on_damage,
                                      .damage_ctx = found};
    struct journal *journal;
    struct journal_recovery recovery;
    if (mr_is_err(journal_open(disk_files(disk), &options, &journal, &recovery))) {
        return false;
    }
    found->durable_known = recovery.durable_known;
    bool ok = mr_is_ok(read_all(journal, pos, found));
    journal_close(journal);
    return ok;
}

/* The file that holds a position: of the segments that begin at or before it, the one opened last.
 */
struct holder {
    const struct disk *disk;
    uint64_t pos, sequence, offset;
    char path[64];
};

static void consider(void *arg, const char *path, uint64_t size) {
    struct holder *holder = arg;
    struct format_segment header;
    bool damaged;
    mr_str bytes = disk_peek(holder->disk, path);
    size_t len = strlen(path);
    if (size < FORMAT_BLOCK || len >= sizeof holder->path ||
        strncmp(path, DIR_JOURNAL "/", sizeof DIR_JOURNAL) != 0 ||
        format_segment_decode((const uint8_t *)bytes.ptr, bytes.len, &header, &damaged) !=
            FORMAT_SEGMENT_USED) {
        return;
    }
    if (header.first_pos <= holder->pos && header.sequence > holder->sequence) {
        holder->sequence = header.sequence;
        holder->offset = FORMAT_BLOCK + (holder->pos - header.first_pos);
        memcpy(holder->path, path, len + 1);
    }
}

static void flip(struct world *world, struct disk *disk, const struct place *place) {
    struct holder holder = {.disk = disk, .pos = place->pos};
    disk_each(disk, consider, &holder);
    MR_ASSERT(holder.sequence > 0);
    uint64_t offset = holder.offset + world_below(world, place->next_pos - place->pos);
    mr_str bytes = disk_peek(disk, holder.path);
    MR_ASSERT(offset < bytes.len);
    uint8_t byte = (uint8_t)((uint8_t)bytes.ptr[offset] ^ (1u << world_below(world, 8)));
    bool done = disk_poke(disk, holder.path, offset, &byte, 1);
    MR_ASSERT(done);
}

/* Whether `after` is `before` without the one place. */
static bool is_all_but(const struct found *before, const struct place *lost,
                       const struct found *after) {
    size_t k = 0;
    for (size_t i = 0; i < before->n; i++) {
        if (before->places[i].pos == lost->pos) {
            continue;
        }
        if (k == after->n || memcmp(&before->places[i], &after->places[k], sizeof *lost) != 0) {
            return false;
        }
        k++;
    }
    return k == after->n;
}

static void flip_one(struct world *world, struct disk *copy, const struct found *before) {
    size_t n = 0;
    while (n < before->n && before->places[n].next_pos <= before->durable_known) {
        n++;
    }
    if (n == 0) {
        return;
    }
    const struct place *place = &before->places[world_below(world, n)];
    struct found after;
    flip(world, copy, place);
    if (!look(world, copy, false, place->pos, &after)) {
        oracle_fail(world->oracle, "a flipped bit keeps the journal from opening");
    } else if (after.n_damage != 1 || after.damage.pos != place->pos ||
               after.damage.end_pos != place->next_pos) {
        oracle_fail(world->oracle, "a flipped bit at %llu–%llu: %u damages, the last at %llu–%llu",
                    (unsigned long long)place->pos, (unsigned long long)place->next_pos,
                    after.n_damage, (unsigned long long)after.damage.pos,
                    (unsigned long long)after.damage.end_pos);
    } else if (!after.is_corrupt) {
        oracle_fail(world->oracle, "a record with a flipped bit is given to a reader");
    } else if (!is_all_but(before, place, &after)) {
        oracle_fail(world->oracle, "a flipped bit takes other records with it");
    }
    world_hit(world, SIM_FLIPPED);
    mr_free(after.places);
}

void flips_try(struct world *world) {
    struct disk *copy = disk_clone(world->disk);
    MR_ASSERT(copy != NULL);
    disk_restart(copy);
    disk_set_capacity(copy, UINT64_MAX);
    struct found before;
    if (look(world, copy, true, JOURNAL_POS_NONE, &before)) {
        if (before.n_damage > 0) {
            oracle_fail(world->oracle, "promise 1: damage at %llu where nothing was damaged",
                        (unsigned long long)before.damage.pos);
        }
        flip_one(world, copy, &before);
    }
    mr_free(before.places);
    disk_free(copy);
}
