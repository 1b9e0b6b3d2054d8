/* Heads of an audit log that lies elsewhere: handed to the journal one at a time, numbered up. What
 * was answered as durable must be in the book of every later start, by replay or by checkpoint; no
 * head may come out of nothing. */
#include "world.h"

#include <string.h>

#define EVERY_TURNS 13

static void hash_of(uint64_t number, uint8_t hash[static RECORD_AUDIT_HASH_BYTES]) {
    for (size_t i = 0; i < RECORD_AUDIT_HASH_BYTES; i++) {
        hash[i] = (uint8_t)(number * (i + 3) ^ i);
    }
}

static void on_done(struct mail *mail) {
    struct journal_unit *unit = (struct journal_unit *)(void *)mail;
    struct world *world = unit->user;
    struct sim_audit *audit = &world->audit;
    audit->is_out = false;
    if (unit->result == JOURNAL_RESULT_OK) {
        audit->durable = audit->posted;
    }
}

void audit_step(struct world *world) {
    struct sim_audit *audit = &world->audit;
    if (audit->is_out || ++audit->turns % EVERY_TURNS != 0) {
        return;
    }
    size_t len = 0;
    struct record_audit head = {.number = ++audit->posted};
    hash_of(head.number, head.hash);
    mr_err err = record_audit_encode(&head, audit->body, sizeof audit->body, &len);
    MR_ASSERT(mr_is_ok(err));
    audit->is_out = true;
    audit->slot = journal_slot_of(RECORD_AUDIT, 0, mr_str_of((const char *)audit->body, len));
    journal_unit_init(&audit->unit, JOURNAL_CONTROL, &audit->slot, 1, &world->box, on_done, world);
    writer_post(world->writer, &audit->unit, NULL);
}

void audit_boot(struct world *world, const struct book *book) {
    struct sim_audit *audit = &world->audit;
    const struct record_audit *head = book_audit(book);
    uint8_t hash[RECORD_AUDIT_HASH_BYTES];
    hash_of(head->number, hash);
    if (head->number < audit->durable || head->number > audit->posted) {
        oracle_fail(world->oracle,
                    "promise 1: head %llu of the audit log was durable, %llu is there, %llu was "
                    "handed over",
                    (unsigned long long)audit->durable, (unsigned long long)head->number,
                    (unsigned long long)audit->posted);
    } else if (head->number > 0 && memcmp(head->hash, hash, sizeof hash) != 0) {
        oracle_fail(world->oracle, "promise 4: head %llu of the audit log is another",
                    (unsigned long long)head->number);
    }
    /* What survived counts from now on, answered or not. */
    audit->durable = head->number > audit->durable ? head->number : audit->durable;
}

void audit_end(struct world *world) {
    world->audit.is_out = false; /* answered, or gone with the process */
}
