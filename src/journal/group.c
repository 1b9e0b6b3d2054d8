/* How the writer forms, writes and, where it must, takes back a group.
 *
 * Admission and placing go unit by unit, so that the hook sees the positions of all units before
 * the one it judges, those of the same group too. A duplicate is answered with the commit of its
 * original: as groups commit in order, the original is durable already or in the group being built.
 *
 * When the group cannot be stored for want of space, hooks are told in reverse order (undone);
 * events and control units are answered FULL, outcomes go back to the head of the queue and are
 * tried again each second: a lane that sent a request has nowhere else to put its outcome. What
 * bounds them is the lanes' outcome credit. */
#include "journal/group.h"

#include "journal/format.h"

/* A group being built. */
struct group {
    struct slab *slab;
    struct append_place place;
    struct journal_unit *placed; /* newest first */
    uint64_t n_bytes;
    bool is_urgent; /* holds more than outcomes */
};

/* Takes units from the head of the queue that fit into one group; the bytes of their frames. */
static uint64_t take_units(struct writer *writer, struct unit_list *taken, bool *ret_events,
                           bool *ret_urgent) {
    uint64_t bytes = 0;
    while (writer->queue.head != NULL) {
        struct journal_unit *unit = writer->queue.head;
        if (bytes > 0 && bytes + unit->bytes > writer->options.group_bytes_max) {
            break;
        }
        bytes += unit->bytes;
        *ret_events = *ret_events || unit->klass == JOURNAL_INGEST;
        *ret_urgent = *ret_urgent || unit->klass != JOURNAL_OUTCOME;
        list_push(taken, list_pop(&writer->queue));
    }
    return bytes;
}

/* No space: outcomes stay (at the head of the queue, in their order), and with keep_control control
 * units too; the rest is answered. */
static void refuse(struct writer *writer, struct unit_list *taken, bool keep_control) {
    struct unit_list kept = {NULL, NULL};
    struct journal_unit *unit;
    while ((unit = list_pop(taken)) != NULL) {
        bool keep =
            unit->klass == JOURNAL_OUTCOME || (keep_control && unit->klass == JOURNAL_CONTROL);
        if (keep) {
            list_push(&kept, unit);
        } else {
            writer_answer(writer, unit, JOURNAL_RESULT_FULL);
        }
    }
    if (kept.head != NULL) {
        kept.tail->next = writer->queue.head;
        writer->queue.tail = writer->queue.head == NULL ? kept.tail : writer->queue.tail;
        writer->queue.head = kept.head;
    }
}

/* Refuses over the whole queue. */
void group_refuse_queue(struct writer *writer, bool keep_control) {
    struct unit_list all = writer->queue;
    writer->queue = (struct unit_list){NULL, NULL};
    refuse(writer, &all, keep_control);
}

static const uint32_t no_index = UINT32_MAX;

/* Settles duplicates of the unit; the index of its last record to keep, or no_index. */
static uint32_t resolve(struct writer *writer, struct journal_unit *unit) {
    uint32_t last = no_index;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        struct journal_slot *slot = &unit->records[i];
        if (slot->verdict == JOURNAL_KEEP) {
            last = i;
        } else if (slot->verdict == JOURNAL_DROP) {
            slot->pos = JOURNAL_POS_NONE;
        } else {
            count(&writer->n_duplicates, 1);
        }
    }
    return last;
}

static void encode_record(struct group *group, const struct journal_unit *unit,
                          struct journal_slot *slot, uint32_t unit_index, bool is_last) {
    struct slab *slab = group->slab;
    slot->pos = group->place.pos + group->n_bytes;
    struct format_frame frame = {.body = {slot->body, slot->len},
                                 .unit_index = unit_index,
                                 .type = slot->type,
                                 .flags = slot->flags,
                                 .is_last_of_unit = is_last};
    uint64_t size =
        format_record_encode(group->place.seed, slot->pos, &frame, slab->memory + group->n_bytes);
    slab->index[slab->n_records++] =
        (struct slab_entry){.pos = slot->pos,
                            .offset = (uint32_t)group->n_bytes + FORMAT_FRAME_BYTES,
                            .len = slot->len,
                            .type = slot->type,
                            .flags = slot->flags,
                            .is_last_of_unit = is_last,
                            .klass = (uint8_t)unit->klass,
                            .unit_index = unit_index};
    group->n_bytes += size;
    MR_ASSERT(group->n_bytes <= slab->capacity);
}

/* Puts what the unit keeps into the group. The position behind which it is durable. */
static uint64_t place_unit(struct group *group, struct journal_unit *unit, uint32_t last) {
    uint64_t end = 0;
    uint32_t unit_index = 0;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        struct journal_slot *slot = &unit->records[i];
        if (slot->verdict == JOURNAL_KEEP) {
            encode_record(group, unit, slot, unit_index++, i == last);
        } else if (slot->verdict == JOURNAL_DUPLICATE) {
            if (slot->original_index != JOURNAL_INDEX_NONE) {
                MR_ASSERT(slot->original_index < i);
                slot->pos = unit->records[slot->original_index].pos;
            }
            MR_ASSERT(slot->pos != JOURNAL_POS_NONE);
        }
        if (slot->pos >= end) {
            end = slot->pos + 1;
        }
    }
    return end;
}

/* Judges one unit and puts it into the group, or answers it. */
static void add_unit(struct writer *writer, struct group *group, struct journal_unit *unit) {
    const struct writer_hooks *hooks = &writer->options.hooks;
    bool judged = unit->klass == JOURNAL_INGEST && hooks->admit != NULL;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        unit->records[i].verdict = JOURNAL_KEEP;
        unit->records[i].original_index = JOURNAL_INDEX_NONE;
        unit->records[i].pos = JOURNAL_POS_NONE;
    }
    if (judged && !hooks->admit(hooks->ctx, unit)) {
        count(&writer->n_conflicts, 1);
        writer_answer(writer, unit, JOURNAL_RESULT_CONFLICT);
        return;
    }
    uint32_t last = resolve(writer, unit);
    unit->end_pos = place_unit(group, unit, last);
    if (last == no_index && unit->end_pos <= journal_durable(writer->journal)) {
        writer_answer(writer, unit, JOURNAL_RESULT_OK);
        return;
    }
    if (last != no_index) {
        group->slab->mask |= unit->reader_mask;
        group->is_urgent = group->is_urgent || unit->klass != JOURNAL_OUTCOME;
    }
    if (hooks->placed != NULL && last != no_index) {
        hooks->placed(hooks->ctx, unit);
    }
    unit->next = group->placed;
    group->placed = unit;
}

/* The group was not stored for want of space. */
static void take_back(struct writer *writer, struct group *group, mr_mono now) {
    const struct writer_hooks *hooks = &writer->options.hooks;
    struct unit_list back = {NULL, NULL};
    while (group->placed != NULL) {
        struct journal_unit *unit = group->placed;
        group->placed = unit->next;
        bool has_own = false;
        for (uint32_t i = 0; i < unit->n_records && !has_own; i++) {
            has_own = unit->records[i].verdict == JOURNAL_KEEP;
        }
        if (has_own && hooks->undone != NULL) {
            hooks->undone(hooks->ctx, unit);
        }
        list_push_front(&back, unit);
    }
    refuse(writer, &back, false);
    writer->retry_at = mr_mono_add_ms(now, GROUP_SPACE_RETRY_MS);
}

/* The group was written. */
static void take_over(struct writer *writer, struct group *group, mr_mono now) {
    struct slab *slab = group->slab;
    struct journal_unit *in_order = NULL;
    while (group->placed != NULL) {
        struct journal_unit *unit = group->placed;
        group->placed = unit->next;
        unit->next = in_order;
        in_order = unit;
    }
    while (in_order != NULL) {
        struct journal_unit *next = in_order->next;
        list_push(&writer->waiting, in_order);
        in_order = next;
    }
    if (writer->written_head == NULL) {
        writer->written_head = slab;
    } else {
        writer->written_tail->next = slab;
    }
    writer->written_tail = slab;
    count(&writer->n_groups, 1);
    count(&writer->n_records, slab->n_records);
    count(&writer->n_bytes, slab->n_bytes);
    writer->needs_witness = true;
    writer->witness_due = mr_mono_add_ms(now, writer->options.witness_ms);
    writer->sync_due =
        mr_mono_min(writer->sync_due, mr_mono_add_ms(now, writer->options.outcome_sync_ms));
}

static void finish_header(const struct writer *writer, struct group *group, mr_wall wall) {
    struct slab *slab = group->slab;
    struct format_group header = {.epoch = journal_epoch(writer->journal),
                                  .number = group->place.group_number,
                                  .durable_pos = journal_durable(writer->journal),
                                  .bytes = (uint32_t)group->n_bytes,
                                  .n_records = slab->n_records,
                                  .wall_ms = mr_wall_ms(wall)};
    format_group_encode(group->place.seed, group->place.pos, &header, slab->memory);
    slab->n_bytes = (uint32_t)group->n_bytes;
    slab->first_pos = group->place.pos;
    slab->end_pos = group->place.pos + group->n_bytes;
    slab->wall_ms = header.wall_ms;
}

/* Room in memory: the slab for `bytes`, with an index for all records. */
static mr_err take_slab(struct writer *writer, const struct unit_list *units, uint64_t bytes,
                        struct slab **ret_slab) {
    uint64_t n_records = 0;
    for (const struct journal_unit *unit = units->head; unit != NULL; unit = unit->next) {
        n_records += unit->n_records;
    }
    struct slab *slab;
    mr_err err = slab_pool_take(writer->pool, (size_t)bytes, &slab);
    if (mr_err_is(err, MR_E_AGAIN)) {
        writer_commit(writer); /* may give back our own */
        err = slab_pool_take(writer->pool, (size_t)bytes, &slab);
    }
    MR_TRY(err);
    err = slab_reserve_records(slab, (uint32_t)n_records);
    if (mr_is_err(err)) {
        slab_unref(slab);
        return err;
    }
    *ret_slab = slab;
    return MR_OK;
}

/* Writes what was placed, or takes it back. */
static enum progress write_group(struct writer *writer, struct group *group, mr_mono now,
                                 mr_wall wall) {
    if (group->slab->n_records == 0) {
        MR_ASSERT(group->placed == NULL); /* nothing to wait for */
        slab_unref(group->slab);
        return PROGRESS_MADE;
    }
    finish_header(writer, group, wall);
    mr_err err = journal_append_write(writer->journal, group->slab->bytes, group->slab->n_bytes);
    if (mr_is_ok(err)) {
        take_over(writer, group, now);
        if (group->is_urgent) {
            writer_commit(writer);
        }
        return writer_has_failed(writer) ? PROGRESS_FAILED : PROGRESS_MADE;
    }
    slab_unref(group->slab);
    if (mr_err_is(err, MR_E_NO_SPACE)) {
        writer_settle(writer); /* sealing synced what was written before */
        take_back(writer, group, now);
        return PROGRESS_NO_SPACE;
    }
    while (group->placed != NULL) {
        struct journal_unit *unit = group->placed;
        group->placed = unit->next;
        list_push_front(&writer->queue, unit);
    }
    return PROGRESS_FAILED;
}

/* Forms and writes one group from the head of the queue. */
enum progress group_step(struct writer *writer, mr_mono now, mr_wall wall) {
    struct unit_list taken = {NULL, NULL};
    struct group group = {.n_bytes = FORMAT_GROUP_BYTES};
    bool has_events = false;
    bool is_urgent = false;
    uint64_t bytes = take_units(writer, &taken, &has_events, &is_urgent) + FORMAT_GROUP_BYTES;
    mr_err err = take_slab(writer, &taken, bytes, &group.slab);
    if (mr_is_ok(err) && !writer_has_failed(writer)) {
        err =
            journal_append_prepare(writer->journal, bytes,
                                   has_events ? APPEND_EVENTS : APPEND_RESERVE, wall, &group.place);
        writer_settle(writer); /* going to a new segment syncs the old one */
        if (mr_is_err(err)) {
            slab_unref(group.slab);
        }
    } else if (mr_is_ok(err)) {
        slab_unref(group.slab);
        err = MR_ERR(MR_E_FAILED);
    }
    if (mr_err_is(err, MR_E_NO_SPACE) && has_events) {
        refuse(writer, &taken, true);
        group_refuse_queue(writer, true);
        return PROGRESS_MADE;
    }
    if (mr_err_is(err, MR_E_NO_SPACE) || mr_err_is(err, MR_E_NOMEM)) {
        refuse(writer, &taken, false);
        group_refuse_queue(writer, false);
        writer->retry_at = mr_mono_add_ms(now, GROUP_SPACE_RETRY_MS);
        return PROGRESS_NO_SPACE;
    }
    if (mr_is_err(err)) {
        struct unit_list rest = writer->queue;
        writer->queue = taken;
        struct journal_unit *unit;
        while ((unit = list_pop(&rest)) != NULL) {
            list_push(&writer->queue, unit);
        }
        return mr_err_is(err, MR_E_AGAIN) ? PROGRESS_NO_SLAB : PROGRESS_FAILED;
    }
    struct journal_unit *unit;
    while ((unit = list_pop(&taken)) != NULL) {
        add_unit(writer, &group, unit);
    }
    return write_group(writer, &group, now, wall);
}
