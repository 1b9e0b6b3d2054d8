/* See support_rig.h. */
#include "support_rig.h"

#include "base/list.h"
#include "base/mem.h"

#include <stdio.h>

static void give_random(void *ctx, void *out, size_t n) {
    struct rig *rig = ctx;
    uint8_t *at = out;
    for (size_t i = 0; i < n; i++) {
        rig->random = rig->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        at[i] = (uint8_t)(rig->random >> 56);
    }
}

static void note_damage(void *ctx, const struct journal_damage *damage) {
    struct rig *rig = ctx;
    MR_ASSERT(rig->n_damage < 64);
    rig->damage[rig->n_damage++] = *damage;
}

void rig_init(struct rig *rig, uint64_t seed) {
    *rig = (struct rig){.disk = disk_new(seed), .random = seed ^ 77, .now = {MR_NS_PER_S}};
    MR_ASSERT(rig->disk != NULL);
    mailbox_init(&rig->replies);
    rig->files = *disk_files(rig->disk);
    rig->options = (struct journal_options){.dir = "/j",
                                            .segment_bytes = 65536,
                                            .random = give_random,
                                            .random_ctx = rig,
                                            .now = {MR_NS_PER_S * 1000},
                                            .on_damage = note_damage,
                                            .damage_ctx = rig};
}

mr_err rig_try_open(struct rig *rig) {
    rig->n_damage = 0;
    return journal_open(&rig->files, &rig->options, &rig->journal, &rig->recovery);
}

void rig_open(struct rig *rig) {
    mr_err err = rig_try_open(rig);
    if (mr_is_err(err)) {
        fprintf(stderr, "journal_open: %x\n", err.code);
    }
    MR_ASSERT(mr_is_ok(err));
    while (!rig->options.read_only && journal_spare_step(rig->journal)) {
    }
    rig->writer_options.journal = rig->journal;
    MR_ASSERT(mr_is_ok(writer_new(&rig->writer_options, &rig->writer)));
}

/* The answers of the dead are read by nobody; here they only free the writer's lists. */
void rig_drop(struct rig *rig) {
    if (rig->writer != NULL) {
        if (!disk_is_down(rig->disk)) {
            disk_kill(rig->disk);
        }
        writer_finish(rig->writer, rig->now, rig->options.now);
        writer_free(rig->writer);
        rig->writer = NULL;
    }
    journal_close(rig->journal);
    rig->journal = NULL;
    mailbox_run(mailbox_drain(&rig->replies));
    disk_restart(rig->disk);
}

void rig_stop(struct rig *rig) {
    writer_finish(rig->writer, rig->now, rig->options.now);
    writer_free(rig->writer);
    rig->writer = NULL;
    journal_close(rig->journal);
    rig->journal = NULL;
    mailbox_run(mailbox_drain(&rig->replies));
}

void rig_done(struct rig *rig) {
    rig_drop(rig);
    disk_free(rig->disk);
}

mr_mono rig_step(struct rig *rig) {
    mr_mono next = writer_step(rig->writer, rig->now, rig->options.now);
    mailbox_run(mailbox_drain(&rig->replies));
    return next;
}

static void on_done(struct mail *mail) {
    struct journal_unit *unit = MR_CONTAINER(mail, struct journal_unit, mail);
    MR_ASSERT(unit->result != JOURNAL_RESULT_NONE);
    struct rig_unit *own = MR_CONTAINER(unit, struct rig_unit, unit);
    MR_ASSERT(!own->is_done);
    own->is_done = true;
}

void rig_post(struct rig *rig, struct rig_unit *unit, enum journal_class klass, uint32_t n,
              uint32_t len, uint8_t tag) {
    MR_ASSERT(n <= RIG_RECORDS_MAX);
    uint64_t mask = unit->unit.reader_mask;
    unit->is_done = false;
    journal_unit_init(&unit->unit, klass, unit->slots, n, &rig->replies, on_done, rig);
    unit->unit.reader_mask = mask;
    for (uint32_t i = 0; i < n; i++) {
        char *body = mr_alloc(len + 1);
        MR_ASSERT(body != NULL);
        for (uint32_t b = 0; b < len; b++) {
            body[b] = (char)(tag + b * 7);
        }
        unit->slots[i] = journal_slot_of((uint8_t)(i + 1), tag, mr_str_of(body, len));
    }
    writer_post(rig->writer, &unit->unit, NULL);
}

void rig_unit_done(struct rig_unit *unit) {
    for (uint32_t i = 0; i < unit->unit.n_records; i++) {
        char *body;
        memcpy(&body, &unit->slots[i].body, sizeof body);
        mr_free(body);
        unit->slots[i].body = NULL;
    }
}

enum journal_result rig_append(struct rig *rig, uint32_t n, uint32_t len, uint8_t tag,
                               uint64_t *ret_pos) {
    struct rig_unit unit = {.unit = {.reader_mask = 0}};
    rig_post(rig, &unit, JOURNAL_INGEST, n, len, tag);
    (void)rig_step(rig);
    MR_ASSERT(unit.is_done);
    if (ret_pos != NULL) {
        *ret_pos = unit.slots[0].pos;
    }
    rig_unit_done(&unit);
    return unit.unit.result;
}

size_t rig_tags(struct rig *rig, uint8_t *tags, size_t max) {
    struct journal_iter iter;
    struct journal_item item;
    size_t n = 0;
    rig->n_damage = 0;
    journal_iter_init(&iter, rig->journal, JOURNAL_POS_NONE);
    for (;;) {
        MR_ASSERT(mr_is_ok(journal_iter_next(&iter, journal_durable(rig->journal), &item)));
        if (item.kind == JOURNAL_ITEM_END) {
            break;
        }
        if (item.kind == JOURNAL_ITEM_DAMAGE) {
            note_damage(rig, &item.damage);
            continue;
        }
        for (size_t b = 0; b < item.record.body.len; b++) {
            MR_ASSERT(item.record.body.ptr[b] == (char)(item.record.flags + b * 7));
        }
        if (n < max) {
            tags[n] = item.record.flags;
        }
        n++;
    }
    journal_iter_done(&iter);
    return n;
}

struct path_search {
    size_t left;
    char path[64];
};

static void match_path(void *arg, const char *path, uint64_t size) {
    struct path_search *search = arg;
    (void)size;
    size_t n = strlen(path);
    if (n > 4 && strcmp(path + n - 4, ".seg") == 0 && search->left-- == 0) {
        (void)snprintf(search->path, sizeof search->path, "%s", path);
    }
}

const char *rig_segment_path(const struct rig *rig, size_t i) {
    static _Thread_local struct path_search search;
    search = (struct path_search){.left = i};
    disk_each(rig->disk, match_path, &search);
    return search.path;
}
