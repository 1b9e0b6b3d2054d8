/* The book against a naive model: random records, checkpoints at any cut, damage, no memory. */
#include "ledger/book.h"

#include "../../sim/disk.h"
#include "base/mem.h"
#include "ledger/book/parts.h"
#include "support_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DESTS   5U
#define EVENTS  600U
#define ORIGINS 3U

/* --- the model: one word per delivery
 * ------------------------------------------------------------- */

enum fate { NEVER = 0, PENDING, DELIVERED, DEAD, DISCARDED };

struct model {
    uint64_t pos[EVENTS];
    int64_t accepted[EVENTS];
    uint8_t type[EVENTS];
    uint32_t n_events;
    uint8_t fate[DESTS][EVENTS][ORIGINS];
    bool attempted[DESTS][EVENTS][ORIGINS];
    uint64_t skipped[DESTS], failed[DESTS];
    uint64_t letters;
};

#define CALLBACKS 200U
#define ACCOUNTS  3U

struct callbacks_model {
    uint64_t pos[CALLBACKS];
    uint8_t fate[CALLBACKS]; /* DEAD: failed */
    uint8_t attempts[CALLBACKS];
    uint64_t failed[ACCOUNTS];
    uint32_t n;
};

static const char *const types[] = {"t.a", "t.b", "t.c"};

struct world {
    struct chance chance;
    struct model *model;
    struct callbacks_model callbacks;
    struct book *book;
    uint64_t next_pos;
    uint64_t next_letter;
    /* what was applied, to be applied again */
    struct log_entry {
        uint64_t pos, next;
        uint8_t type;
        size_t len;
        uint8_t *bytes;
    } * log;
    size_t n_log;
};

static struct body body;

static void append_log(struct world *world, uint64_t pos, uint8_t type) {
    struct log_entry *entry = &world->log[world->n_log++];
    *entry = (struct log_entry){.pos = pos,
                                .next = world->next_pos,
                                .type = type,
                                .len = body.len,
                                .bytes = (uint8_t *)mr_strdup_n((char *)body.bytes, body.len)};
    mr_err err = book_apply(world->book, pos, world->next_pos, type, body_view(&body));
    assert_int_equal(err.code, 0);
}

static uint64_t take_pos(struct world *world) {
    uint64_t pos = world->next_pos;
    world->next_pos += 64 + 8 * chance_below(&world->chance, 200);
    return pos;
}

static void do_event(struct world *world) {
    struct model *model = world->model;
    struct record_target targets[DESTS + 1];
    uint32_t n = 0;
    uint32_t e = model->n_events;
    if (e == EVENTS) {
        return;
    }
    model->pos[e] = take_pos(world);
    model->accepted[e] = (int64_t)(1000 + e + chance_below(&world->chance, 50));
    model->type[e] = (uint8_t)chance_below(&world->chance, 3);
    model->n_events++;
    for (uint32_t d = 0; d < DESTS; d++) {
        if (chance_below(&world->chance, 3) == 0) {
            continue;
        }
        bool is_skipped = chance_below(&world->chance, 20) == 0;
        targets[n++] = (struct record_target){.destination = d * 1000,
                                              .flags = is_skipped ? RECORD_TARGET_SKIPPED : 0};
        if (is_skipped) {
            model->skipped[d]++;
        } else {
            model->fate[d][e][0] = PENDING;
        }
    }
    if (n > 0 && chance_below(&world->chance, 10) == 0) {
        targets[n] = targets[n - 1]; /* named twice: the first counts */
        if ((targets[n].flags & RECORD_TARGET_SKIPPED) != 0) {
            model->skipped[targets[n].destination / 1000]++;
        }
        n++;
    }
    char id[32];
    (void)snprintf(id, sizeof id, "id-%u", e);
    make_event(&body, types[model->type[e]], id, model->accepted[e], targets, n);
    append_log(world, model->pos[e], RECORD_EVENT);
}

/* Some positions of a destination and origin: pending ones, and at times ones that are over. */
static uint32_t choose(struct world *world, uint32_t d, uint32_t origin, uint64_t *out,
                       uint32_t *events, uint32_t max) {
    struct model *model = world->model;
    uint32_t n = 0;
    uint32_t start = model->n_events == 0 ? 0 : chance_below(&world->chance, model->n_events);
    for (uint32_t i = 0; i < model->n_events && n < max; i++) {
        uint32_t e = (start + i) % model->n_events;
        bool is_open = model->fate[d][e][origin] == PENDING;
        if (is_open ||
            (model->fate[d][e][origin] != NEVER && chance_below(&world->chance, 40) == 0)) {
            events[n] = e;
            out[n++] = model->pos[e];
        }
    }
    return n;
}

static void do_outcome(struct world *world) {
    uint64_t positions[20];
    uint32_t events[20];
    uint32_t d = chance_below(&world->chance, DESTS);
    uint32_t origin = chance_below(&world->chance, ORIGINS);
    uint32_t n = choose(world, d, origin, positions, events, 1 + chance_below(&world->chance, 20));
    if (n == 0) {
        return;
    }
    struct record_outcome outcome = {.destination = d * 1000,
                                     .origin = origin,
                                     .n_positions = n,
                                     .attempt = chance_below(&world->chance, 4),
                                     .at_ms = (int64_t)world->next_pos,
                                     .first_ms = 5,
                                     .form = 3};
    uint32_t kind = chance_below(&world->chance, 4);
    outcome.kind = kind < 2 ? RECORD_DELIVERED : kind == 2 || n < 2 ? RECORD_RETRY : RECORD_SPLIT;
    if (outcome.kind != RECORD_DELIVERED) {
        outcome.flags = RECORD_OUTCOME_FAILED;
        outcome.reason = RECORD_REASON_STATUS;
        outcome.last_status = 503;
        outcome.due_ms = outcome.at_ms + 1000;
        world->model->failed[d]++;
    }
    if (outcome.kind == RECORD_SPLIT) {
        outcome.split_at = 1 + chance_below(&world->chance, n - 1);
        outcome.flags |= RECORD_OUTCOME_PART;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *fate = &world->model->fate[d][events[i]][origin];
        world->model->attempted[d][events[i]][origin] = true;
        *fate = outcome.kind == RECORD_DELIVERED && *fate == PENDING ? DELIVERED : *fate;
    }
    make_outcome(&body, &outcome, positions);
    append_log(world, take_pos(world), RECORD_OUTCOME);
}

static void do_dead(struct world *world) {
    uint64_t positions[8];
    uint32_t events[8];
    struct record_dead_item items[8];
    uint32_t d = chance_below(&world->chance, DESTS);
    uint32_t origin = chance_below(&world->chance, ORIGINS);
    uint32_t n = choose(world, d, origin, positions, events, 8);
    if (n == 0) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *fate = &world->model->fate[d][events[i]][origin];
        items[i] = (struct record_dead_item){
            .pos = positions[i],
            .id = letter_id((int64_t)(world->next_letter * 3), world->next_letter)};
        world->next_letter++;
        world->model->letters += *fate == PENDING;
        *fate = *fate == PENDING ? DEAD : *fate;
    }
    struct record_dead dead = {.reason = RECORD_REASON_TIMEOUT,
                               .destination = d * 1000,
                               .origin = origin,
                               .attempts = 4,
                               .n = n};
    assert_true(mr_is_ok(record_dead_encode(&dead, items, body.bytes, BODY_MAX, &body.len)));
    append_log(world, take_pos(world), RECORD_DEAD);
}

static void do_redrive(struct world *world) {
    struct book_letter letters[6];
    struct book_letter_filter filter = {0};
    uint64_t n_all = book_letters_ready(world->book, &filter, letters, 6);
    uint32_t n = n_all < 6 ? (uint32_t)n_all : 6;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t d = letters[i].destination / 1000;
        uint32_t origin = 1 + chance_below(&world->chance, ORIGINS - 1);
        uint32_t e = 0;
        while (world->model->pos[e] != letters[i].pos) {
            e++;
        }
        if (world->model->fate[d][e][origin] != NEVER) {
            continue; /* a job makes a delivery once */
        }
        struct book_key key = book_key(world->book, letters[i].key);
        struct record_add add = {.kind = RECORD_ADD_REDRIVE,
                                 .version = key.version,
                                 .account = 3,
                                 .destination = letters[i].destination,
                                 .origin = origin,
                                 .type = key.type,
                                 .n = 1};
        struct record_add_item item = {.pos = letters[i].pos,
                                       .accepted_ms = letters[i].accepted_ms,
                                       .size = letters[i].size,
                                       .letter = letters[i].id};
        assert_true(mr_is_ok(record_add_encode(&add, &item, body.bytes, BODY_MAX, &body.len)));
        append_log(world, take_pos(world), RECORD_ADD);
        world->model->fate[d][e][origin] = PENDING;
        world->model->letters--;
    }
}

static void do_discard(struct world *world) {
    struct model *model = world->model;
    uint32_t d = chance_below(&world->chance, DESTS);
    struct record_discard discard = {.destination = d * 1000, .before_ms = INT64_MAX};
    uint64_t positions[10];
    uint32_t events[10];
    mr_str type = mr_str_c(types[1]);
    uint32_t kind = chance_below(&world->chance, 4);
    if (kind == 0) {
        discard.n_positions = choose(world, d, 0, positions, events, 10);
    } else if (kind == 1) {
        discard.n_types = 1;
    } else if (kind == 2) {
        discard.before_ms = 1000 + chance_below(&world->chance, EVENTS);
    }
    if (kind == 0 && discard.n_positions == 0) {
        return;
    }
    for (uint32_t e = 0; e < model->n_events; e++) {
        for (uint32_t o = 0; o < ORIGINS; o++) {
            bool is_meant = kind == 3 || (kind == 1 && model->type[e] == 1) ||
                            (kind == 2 && model->accepted[e] < discard.before_ms);
            for (uint32_t i = 0; kind == 0 && i < discard.n_positions; i++) {
                is_meant = is_meant || (o == 0 && events[i] == e);
            }
            if (is_meant && model->fate[d][e][o] == PENDING) {
                model->fate[d][e][o] = DISCARDED;
            }
        }
    }
    assert_true(mr_is_ok(
        record_discard_encode(&discard, &type, positions, body.bytes, BODY_MAX, &body.len)));
    append_log(world, take_pos(world), RECORD_DISCARD);
}

static void do_erased(struct world *world) {
    struct model *model = world->model;
    if (model->n_events == 0) {
        return;
    }
    uint32_t e = chance_below(&world->chance, model->n_events);
    for (uint32_t d = 0; d < DESTS; d++) {
        for (uint32_t o = 0; o < ORIGINS; o++) {
            uint8_t *fate = &model->fate[d][e][o];
            *fate = *fate == PENDING ? DISCARDED : *fate;
        }
    }
    assert_true(mr_is_ok(record_erased_encode(&model->pos[e], 1, body.bytes, BODY_MAX, &body.len)));
    append_log(world, take_pos(world), RECORD_ERASED);
}

static void do_expire(struct world *world) {
    struct record_letter_id ids[3];
    size_t n = book_letters_oldest(world->book, UINT32_MAX, ids, 3);
    assert_true(mr_is_ok(record_expire_encode(RECORD_EXPIRE_AGE, ids, (uint32_t)n, body.bytes,
                                              BODY_MAX, &body.len)));
    append_log(world, take_pos(world), RECORD_EXPIRE);
    world->model->letters -= n;
}

static void do_audit(struct world *world) {
    struct record_audit audit = {.number = 1 + chance_below(&world->chance, 1000)};
    chance_bytes(&world->chance, audit.hash, sizeof audit.hash);
    assert_true(mr_is_ok(record_audit_encode(&audit, body.bytes, BODY_MAX, &body.len)));
    append_log(world, take_pos(world), RECORD_AUDIT);
    assert_int_equal(book_audit(world->book)->number, audit.number);
    assert_memory_equal(book_audit(world->book)->hash, audit.hash, sizeof audit.hash);
}

static void do_callback(struct world *world) {
    struct callbacks_model *model = &world->callbacks;
    static char text[300];
    uint32_t i = model->n;
    if (i == CALLBACKS) {
        return;
    }
    memset(text, 'x', sizeof text);
    struct record_callback callback = {.account = 1 + i % ACCOUNTS,
                                       .created_ms = 1000 + i,
                                       .id = letter_id(1000 + i, i),
                                       .method =
                                           i % 5 == 0 ? RECORD_CALLBACK_GET : RECORD_CALLBACK_POST,
                                       .url = MR_STR("https://a/"),
                                       .reference = mr_str_of(text, i % 7),
                                       .body = mr_str_of(text, chance_below(&world->chance, 300))};
    assert_true(mr_is_ok(record_callback_encode(&callback, body.bytes, BODY_MAX, &body.len)));
    model->pos[i] = take_pos(world);
    model->fate[i] = PENDING;
    model->n++;
    append_log(world, model->pos[i], RECORD_CALLBACK);
}

/* Of any callback, also of one that is over: then it says nothing any more. */
static void do_callback_outcome(struct world *world) {
    struct callbacks_model *model = &world->callbacks;
    if (model->n == 0) {
        return;
    }
    uint32_t i = chance_below(&world->chance, model->n);
    uint8_t attempt = (uint8_t)(model->attempts[i] + (model->fate[i] == PENDING ? 1 : 0));
    uint8_t kind = (uint8_t)(1 + chance_below(&world->chance, 3));
    if (attempt == RECORD_CALLBACK_ATTEMPTS_MAX && kind == RECORD_CALLBACK_RETRY) {
        kind = RECORD_CALLBACK_FAILED;
    }
    const struct record_callback_outcome outcome = {
        .kind = kind,
        .reason = kind == RECORD_CALLBACK_DELIVERED ? 0 : RECORD_REASON_STATUS,
        .status = kind == RECORD_CALLBACK_DELIVERED ? 200 : 500,
        .attempt = attempt,
        .account = 1 + i % ACCOUNTS,
        .duration_ms = i,
        .pos = model->pos[i],
        .at_ms = 2000 + i,
        .due_ms = kind == RECORD_CALLBACK_RETRY ? 3000 + i : 0,
        .id = letter_id(1000 + i, i)};
    assert_true(
        mr_is_ok(record_callback_outcome_encode(&outcome, body.bytes, BODY_MAX, &body.len)));
    append_log(world, take_pos(world), RECORD_CALLBACK_OUTCOME);
    model->failed[i % ACCOUNTS] += kind != RECORD_CALLBACK_DELIVERED;
    if (model->fate[i] == PENDING) {
        model->attempts[i] = attempt;
        model->fate[i] = kind == RECORD_CALLBACK_DELIVERED ? DELIVERED
                         : kind == RECORD_CALLBACK_FAILED  ? DEAD
                                                           : PENDING;
    }
}

static void do_any(struct world *world) {
    uint32_t what = chance_below(&world->chance, 121);
    if (what >= 111) {
        do_callback_outcome(world);
    } else if (what >= 101) {
        do_callback(world);
    } else if (what == 100) {
        do_audit(world);
    } else if (what < 45) {
        do_event(world);
    } else if (what < 80) {
        do_outcome(world);
    } else if (what < 88) {
        do_dead(world);
    } else if (what < 92) {
        do_redrive(world);
    } else if (what < 94) {
        do_discard(world);
    } else if (what < 96) {
        do_erased(world);
    } else {
        do_expire(world);
    }
}

/* --- comparing
 * ------------------------------------------------------------------------------------ */

struct seen {
    const struct model *model;
    uint32_t d;
    uint64_t n;
};

static uint32_t event_at(const struct model *model, uint64_t pos) {
    for (uint32_t e = 0; e < model->n_events; e++) {
        if (model->pos[e] == pos) {
            return e;
        }
    }
    fail_msg("no event at %llu", (unsigned long long)pos);
    return 0;
}

static mr_err see_waiting(void *ctx, const struct book_waiting *waiting) {
    struct seen *seen = ctx;
    uint32_t e = event_at(seen->model, waiting->pos);
    assert_int_equal(seen->model->fate[seen->d][e][waiting->origin], PENDING);
    assert_false(seen->model->attempted[seen->d][e][waiting->origin]);
    assert_int_equal(seen->model->accepted[e], waiting->accepted_ms);
    seen->n++;
    return MR_OK;
}

static mr_err see_request(void *ctx, const struct book_request *request) {
    struct seen *seen = ctx;
    for (uint32_t i = 0; i < request->n; i++) {
        uint32_t e = event_at(seen->model, request->positions[i]);
        assert_int_equal(seen->model->fate[seen->d][e][request->origin], PENDING);
        assert_true(seen->model->attempted[seen->d][e][request->origin]);
        seen->n++;
    }
    return MR_OK;
}

/* The page of a list. *ret_total is all that match. */
static size_t list_letters(const struct book *book, const struct book_letter_filter *filter,
                           const struct record_letter_id *behind, uint64_t skip,
                           struct book_letter *out, size_t n_max, uint64_t *ret_total) {
    size_t n;
    bool has_more;
    const struct book_letter_page page = {behind, skip};
    assert_true(
        mr_is_ok(book_letters_list(book, filter, page, out, n_max, &n, ret_total, &has_more)));
    assert_int_equal(has_more, behind == NULL ? skip + n < *ret_total : has_more);
    return n;
}

static mr_err see_account(void *ctx, uint32_t account, const struct record_counters *counters) {
    const struct callbacks_model *model = ctx;
    uint64_t n[5] = {0};
    for (uint32_t i = 0; i < model->n; i++) {
        n[model->fate[i]] += 1 + i % ACCOUNTS == account;
    }
    assert_int_equal(counters->pending, n[PENDING]);
    assert_int_equal(counters->delivered, n[DELIVERED]);
    assert_int_equal(counters->dead, n[DEAD]);
    assert_int_equal(counters->created, n[PENDING] + n[DELIVERED] + n[DEAD]);
    assert_int_equal(counters->failed_attempts, model->failed[account - 1]);
    return MR_OK;
}

static void assert_callbacks_agree(const struct world *world) {
    const struct callbacks_model *model = &world->callbacks;
    static const uint8_t fates[] = {PENDING, DELIVERED, DEAD};
    assert_true(
        mr_is_ok(book_each_callback_account(world->book, see_account, (void *)(uintptr_t)model)));
    for (uint32_t i = 0; i < model->n; i++) {
        struct book_callback found;
        struct record_letter_id id = letter_id(1000 + i, i);
        assert_true(mr_is_ok(book_callback_find(world->book, &id, &found)));
        assert_int_equal(fates[found.status], model->fate[i]);
        assert_int_equal(found.n_attempts, model->attempts[i]);
        assert_int_equal(found.pos, model->pos[i]);
        assert_true(mr_str_eq(found.record.url, MR_STR("https://a/")));
        assert_int_equal(found.record.reference.len, i % 7);
        assert_true(found.status == BOOK_CALLBACK_PENDING || found.record.body.len == 0);
    }
}

static void assert_agrees(const struct world *world) {
    const struct model *model = world->model;
    book_assert_valid(world->book);
    assert_callbacks_agree(world);
    for (uint32_t d = 0; d < DESTS; d++) {
        uint64_t n[5] = {0};
        for (uint32_t e = 0; e < model->n_events; e++) {
            for (uint32_t o = 0; o < ORIGINS; o++) {
                n[model->fate[d][e][o]]++;
            }
        }
        struct book_destination row = {0};
        mr_ignore(book_destination_get(world->book, d * 1000, &row), "never met: zeros");
        assert_int_equal(row.counters.pending, n[PENDING]);
        assert_int_equal(row.counters.delivered, n[DELIVERED]);
        assert_int_equal(row.counters.dead, n[DEAD]);
        assert_int_equal(row.counters.discarded, n[DISCARDED]);
        assert_int_equal(row.counters.skipped, model->skipped[d]);
        assert_int_equal(row.counters.failed_attempts, model->failed[d]);
        struct seen seen = {.model = model, .d = d};
        assert_true(
            mr_is_ok(book_each_waiting(world->book, d * 1000, 0, UINT64_MAX, see_waiting, &seen)));
        assert_true(mr_is_ok(book_each_request(world->book, d * 1000, see_request, &seen)));
        assert_int_equal(seen.n, n[PENDING]);
    }
    uint64_t pending_from = book_position(world->book);
    for (uint32_t e = 0; e < model->n_events; e++) {
        for (uint32_t d = 0; d < DESTS; d++) {
            for (uint32_t o = 0; o < ORIGINS; o++) {
                if (model->fate[d][e][o] == PENDING && model->pos[e] < pending_from) {
                    pending_from = model->pos[e];
                }
            }
        }
    }
    assert_int_equal(book_pending_from(world->book), pending_from);
    struct book_letter_filter filter = {0};
    uint64_t total;
    (void)list_letters(world->book, &filter, NULL, 0, NULL, 0, &total);
    assert_int_equal(total, model->letters);
}

static void world_init(struct world *world, uint64_t seed) {
    *world = (struct world){.chance = {seed}, .next_pos = 4096, .next_letter = 1};
    world->model = mr_calloc(1, sizeof *world->model);
    world->log = mr_calloc(8192, sizeof *world->log);
    struct book_options options = {0};
    assert_true(mr_is_ok(book_new(&options, &world->book)));
}

static void world_done(struct world *world) {
    for (size_t i = 0; i < world->n_log; i++) {
        mr_free(world->log[i].bytes);
    }
    mr_free(world->log);
    mr_free(world->model);
    book_free(world->book);
}

static void random_records_agree_with_a_naive_model(void **state) {
    (void)state;
    uint64_t seed = test_seed(1);
    for (uint64_t round = 0; round < 12; round++) {
        struct world world;
        world_init(&world, seed + round);
        for (int i = 0; i < 1500; i++) {
            do_any(&world);
            if (i % 97 == 0) {
                assert_agrees(&world);
            }
        }
        assert_agrees(&world);
        world_done(&world);
    }
}

static const uint8_t store_id[16] = {1, 2, 3};

static void replay(struct book *book, const struct world *world, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        const struct log_entry *e = &world->log[i];
        assert_true(mr_is_ok(
            book_apply(book, e->pos, e->next, e->type, (mr_str){(const char *)e->bytes, e->len})));
    }
}

static void assert_same(const struct book *a, const struct book *b) {
    mr_buf why;
    mr_buf_init(&why, 1000);
    if (!book_equal(a, b, &why)) {
        fail_msg("%.*s", MR_FMT(mr_buf_view(&why)));
    }
    mr_buf_done(&why);
}

static void saved_at_any_cut_and_replayed_it_is_the_same_book(void **state) {
    (void)state;
    struct world world;
    struct book_options options = {0};
    world_init(&world, test_seed(7));
    for (int i = 0; i < 900; i++) {
        do_any(&world);
    }
    struct disk *disk = disk_new(1);
    const struct os_files *files = disk_files(disk);
    for (size_t cut = 0; cut <= world.n_log; cut += 1 + cut / 12) {
        struct book *book;
        struct book *loaded;
        struct book_loaded how;
        assert_true(mr_is_ok(book_new(&options, &book)));
        replay(book, &world, 0, cut);
        assert_true(mr_is_ok(book_save(book, files, "/c", store_id, (mr_wall){0})));
        assert_true(mr_is_ok(book_load(&options, files, "/c", store_id, &loaded, &how)));
        assert_int_equal(how.pos, book_position(book));
        assert_same(book, loaded);
        book_assert_valid(loaded);
        replay(loaded, &world, cut, world.n_log);
        assert_same(world.book, loaded);
        book_free(book);
        book_free(loaded);
    }
    world_done(&world);
    disk_free(disk);
}

/* --- files
 * ---------------------------------------------------------------------------------------- */

struct paths {
    char path[4][64];
    size_t n;
};

static void add_path(void *arg, mr_str name) {
    struct paths *paths = arg;
    assert_true(paths->n < 4);
    (void)snprintf(paths->path[paths->n++], 64, "/c/%.*s", MR_FMT(name));
}

static struct paths list_paths(const struct os_files *files) {
    struct paths paths = {.n = 0};
    assert_true(mr_is_ok(files->list(files->ctx, "/c", add_path, &paths)));
    return paths;
}

static void flip(const struct os_files *files, const char *path, uint64_t offset, uint8_t mask) {
    os_file file;
    uint8_t byte;
    size_t got;
    assert_true(mr_is_ok(files->open(files->ctx, path, OS_OPEN_WRITE, &file)));
    assert_true(mr_is_ok(files->read(files->ctx, file, &byte, 1, offset, OS_READ_WAIT, &got)));
    byte ^= mask;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    assert_true(mr_is_ok(files->write(files->ctx, file, &iov, 1, offset)));
    files->close(files->ctx, file);
}

static void damaged_checkpoint_falls_back_to_the_older(void **state) {
    (void)state;
    struct world world;
    struct book_options options = {0};
    struct disk *disk = disk_new(1);
    const struct os_files *files = disk_files(disk);
    struct book *loaded;
    struct book_loaded how;
    uint64_t floor;
    assert_true(
        mr_err_is(book_load(&options, files, "/c", store_id, &loaded, &how), MR_E_NOT_FOUND));
    world_init(&world, 3);
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 50; i++) {
            do_any(&world);
        }
        assert_true(mr_is_ok(book_save(world.book, files, "/c", store_id, (mr_wall){0})));
        assert_true(mr_is_ok(book_saved_floor(files, "/c", &floor)));
        assert_true((floor == 0) == (k == 0));
    }
    struct paths paths = list_paths(files);
    assert_int_equal(paths.n, 2);
    uint64_t size;
    os_file file;
    assert_true(mr_is_ok(files->open(files->ctx, paths.path[1], OS_OPEN_READ, &file)));
    assert_true(mr_is_ok(files->size(files->ctx, file, &size)));
    files->close(files->ctx, file);
    for (uint64_t at = 0; at < size; at += 1 + size / 200) {
        flip(files, paths.path[1], at, 0x10);
        assert_true(mr_is_ok(book_load(&options, files, "/c", store_id, &loaded, &how)));
        assert_int_equal(how.damaged, 1);
        assert_int_equal(how.pos, floor);
        book_free(loaded);
        flip(files, paths.path[1], at, 0x10);
    }
    flip(files, paths.path[0], size / 2 < 100 ? 70 : 100, 1);
    flip(files, paths.path[1], 100, 1);
    assert_true(
        mr_err_is(book_load(&options, files, "/c", store_id, &loaded, &how), LEDGER_E_CORRUPT));
    flip(files, paths.path[1], 100, 1);
    const uint8_t other[16] = {9};
    assert_true(
        mr_err_is(book_load(&options, files, "/c", other, &loaded, &how), LEDGER_E_FOREIGN));
    world_done(&world);
    disk_free(disk);
}

static void newer_format_is_told_apart(void **state) {
    (void)state;
    struct disk *disk = disk_new(1);
    const struct os_files *files = disk_files(disk);
    struct book_options options = {0};
    struct book *book;
    struct book_loaded how;
    assert_true(mr_is_ok(book_new(&options, &book)));
    assert_true(mr_is_ok(book_save(book, files, "/c", store_id, (mr_wall){0})));
    book_free(book);
    struct paths paths = list_paths(files);
    mr_str text;
    assert_true(mr_is_ok(os_file_load(files, paths.path[0], 100000, &text)));
    uint8_t head[64];
    memcpy(head, text.ptr, 64);
    mr_free((void *)(uintptr_t)text.ptr);
    mr_put_u32(head + 8, 4);
    uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);
    mr_put_u32(head + 60, crc32c(0, head, 60));
    os_file file;
    struct iovec iov = {.iov_base = head, .iov_len = 64};
    assert_true(mr_is_ok(files->open(files->ctx, paths.path[0], OS_OPEN_WRITE, &file)));
    assert_true(mr_is_ok(files->write(files->ctx, file, &iov, 1, 0)));
    files->close(files->ctx, file);
    assert_true(mr_err_is(book_load(&options, files, "/c", store_id, &book, &how), LEDGER_E_NEWER));
    disk_free(disk);
}

/* A checkpoint of before the audit log (1), or of before callbacks (2): its body ends sooner, and
 * its head says so. Of an empty book what came with each is one zero, then two. */
static void read_older(uint32_t format, size_t missing) {
    struct disk *disk = disk_new(1);
    const struct os_files *files = disk_files(disk);
    struct book_options options = {0};
    struct book *book;
    struct book_loaded how;
    assert_true(mr_is_ok(book_new(&options, &book)));
    assert_true(mr_is_ok(book_save(book, files, "/c", store_id, (mr_wall){0})));
    book_free(book);
    struct paths paths = list_paths(files);
    mr_str text;
    uint8_t bytes[256];
    uint32_t crc32c(uint32_t crc, const void *data, size_t n);
    assert_true(mr_is_ok(os_file_load(files, paths.path[0], 100000, &text)));
    size_t len = text.len - missing;
    assert_true(len < sizeof bytes && text.ptr[text.len - 13] == 0);
    memcpy(bytes, text.ptr, len - 12);
    mr_free((void *)(uintptr_t)text.ptr);
    mr_put_u32(bytes + 8, format);
    mr_put_u32(bytes + 60, crc32c(0, bytes, 60));
    mr_put_u64(bytes + len - 12, len - 64 - 12);
    mr_put_u32(bytes + len - 4, crc32c(0, bytes, len - 4));
    os_file file;
    struct iovec iov = {.iov_base = bytes, .iov_len = len};
    assert_true(mr_is_ok(files->unlink(files->ctx, paths.path[0])));
    assert_true(
        mr_is_ok(files->open(files->ctx, paths.path[0], OS_OPEN_WRITE | OS_OPEN_CREATE, &file)));
    assert_true(mr_is_ok(files->write(files->ctx, file, &iov, 1, 0)));
    files->close(files->ctx, file);
    assert_true(mr_is_ok(book_load(&options, files, "/c", store_id, &book, &how)));
    assert_int_equal(book_audit(book)->number, 0);
    book_free(book);
    disk_free(disk);
}

static void older_formats_are_read(void **state) {
    (void)state;
    read_older(1, 3);
    read_older(2, 2);
}

static void crash_while_saving_leaves_a_whole_checkpoint(void **state) {
    (void)state;
    uint64_t seed = test_seed(11);
    struct book_options options = {0};
    size_t n_crashed = 0;
    for (uint64_t k = 1; k < 60; k++) {
        struct world world;
        struct disk *disk = disk_new(seed + k);
        const struct os_files *files = disk_files(disk);
        world_init(&world, 5);
        for (int i = 0; i < 60; i++) {
            do_any(&world);
        }
        assert_true(mr_is_ok(book_save(world.book, files, "/c", store_id, (mr_wall){0})));
        uint64_t first = book_position(world.book);
        for (int i = 0; i < 60; i++) {
            do_any(&world);
        }
        disk_fault_at(disk, k % 2 == 0 ? DISK_FAULT_CRASH : DISK_FAULT_SYNC_IO, 1 + k / 4);
        mr_err err = book_save(world.book, files, "/c", store_id, (mr_wall){0});
        if (!disk_is_down(disk)) {
            disk_crash(disk);
        }
        n_crashed += mr_is_err(err);
        disk_restart(disk);
        struct book *loaded;
        struct book_loaded how;
        assert_true(mr_is_ok(book_load(&options, files, "/c", store_id, &loaded, &how)));
        assert_int_equal(how.damaged, 0);
        assert_true(how.pos == book_position(world.book) || (mr_is_err(err) && how.pos == first));
        book_free(loaded);
        world_done(&world);
        disk_free(disk);
    }
    assert_true(n_crashed > 5);
}

/* --- the rest
 * ------------------------------------------------------------------------------------- */

static void damage_makes_dead_letters(void **state) {
    (void)state;
    struct world world;
    world_init(&world, 9);
    for (int i = 0; i < 400; i++) {
        do_any(&world);
    }
    struct record_counters before;
    book_totals(world.book, &before);
    uint64_t first = world.model->pos[20];
    uint64_t end = world.model->pos[120];
    uint64_t n_owed = 0;
    for (uint32_t d = 0; d < DESTS; d++) {
        for (uint32_t e = 20; e < 120; e++) {
            for (uint32_t o = 0; o < ORIGINS; o++) {
                n_owed += world.model->fate[d][e][o] == PENDING;
            }
        }
    }
    assert_true(n_owed > 0);
    assert_true(mr_is_ok(book_damage(world.book, first, end)));
    size_t len;
    uint64_t n = 0;
    while (mr_is_ok(book_unreadable_next(world.book, 5, chance_bytes, &world.chance, body.bytes,
                                         BODY_MAX, &len))) {
        struct record_dead dead;
        const uint8_t *items;
        assert_true(mr_is_ok(record_dead_decode((mr_str){(char *)body.bytes, len}, &dead, &items)));
        assert_int_equal(dead.reason, RECORD_REASON_UNREADABLE);
        n += dead.n;
        body.len = len;
        append_log(&world, take_pos(&world), RECORD_DEAD);
    }
    assert_int_equal(n, n_owed);
    struct record_counters after;
    book_totals(world.book, &after);
    assert_int_equal(after.dead, before.dead + n_owed);
    book_assert_valid(world.book);
    world_done(&world);
}

static void unreadable_records_change_nothing(void **state) {
    (void)state;
    struct book_options options = {0};
    struct book *book;
    struct record_counters totals;
    assert_true(mr_is_ok(book_new(&options, &book)));
    assert_true(
        mr_err_is(book_apply(book, 8, 16, RECORD_EVENT, MR_STR("\1garbage")), LEDGER_E_RECORD));
    assert_true(mr_err_is(book_apply(book, 16, 24, RECORD_DEAD, MR_STR("\2")), LEDGER_E_NEWER));
    assert_true(mr_err_is(book_apply(book, 24, 32, 200, MR_STR("\1")), LEDGER_E_RECORD));
    book_totals(book, &totals);
    assert_int_equal(totals.created, 0);
    assert_int_equal(book_position(book), 32);
    book_free(book);
}

static void letters_are_listed_by_filter_and_page(void **state) {
    (void)state;
    struct world world;
    world_init(&world, 21);
    for (int i = 0; i < 300; i++) {
        do_event(&world);
    }
    for (int i = 0; i < 60; i++) {
        do_dead(&world);
    }
    do_expire(&world);
    struct book_letter *all = mr_calloc(2000, sizeof *all);
    struct book_letter page[7];
    struct book_letter_filter none = {0};
    uint64_t total;
    size_t n_all = list_letters(world.book, &none, NULL, 0, all, 2000, &total);
    assert_true(n_all == total && n_all > 40);
    for (size_t i = 1; i < n_all; i++) {
        assert_true(memcmp(all[i - 1].id.bytes, all[i].id.bytes, 16) > 0);
    }
    uint32_t destination = all[5].destination;
    mr_str type = MR_STR("t.b");
    struct book_letter_filter filter = {.destination = &destination,
                                        .type = type,
                                        .from_ms = record_letter_id_ms(&all[n_all - 3].id),
                                        .to_ms = record_letter_id_ms(&all[2].id)};
    size_t want = 0;
    for (size_t i = 0; i < n_all; i++) {
        int64_t ms = record_letter_id_ms(&all[i].id);
        if (all[i].destination != destination || ms < filter.from_ms || ms >= filter.to_ms ||
            !mr_str_eq(book_key(world.book, all[i].key).type, type)) {
            continue;
        }
        assert_true(list_letters(world.book, &filter, NULL, want, page, 7, &total) > 0);
        assert_memory_equal(page[0].id.bytes, all[i].id.bytes, 16);
        want++;
    }
    assert_int_equal(total, want);
    assert_true(want > 2);
    struct book_letter one;
    assert_true(mr_is_ok(book_letter_find(world.book, &all[3].id, &one)));
    struct record_letter_id unknown = {{9}};
    assert_true(mr_err_is(book_letter_find(world.book, &unknown, &one), MR_E_NOT_FOUND));
    filter = (struct book_letter_filter){.reason = RECORD_REASON_GONE};
    assert_true(list_letters(world.book, &filter, NULL, 0, page, 7, &total) == 0 && total == 0);
    mr_free(all);
    world_done(&world);
}

/* Letters whose ids come in no order: the list is by falling id, and who walks it behind the last
 * one seen meets each of those that stay exactly once, though letters come and go meanwhile. */
static void a_walk_behind_the_last_letter_seen_misses_and_repeats_nothing(void **state) {
    (void)state;
    struct letters_model {
        uint8_t seen[512];
        bool is_there[512];
    } *model = mr_calloc(1, sizeof *model);
    struct book *book;
    struct book_options options = {0};
    const struct book_letter_filter none = {0};
    assert_true(mr_is_ok(book_new(&options, &book)));
    struct record_letter_id ids[512];
    for (uint32_t i = 0; i < 512; i++) { /* every place once, far from order */
        const uint8_t bits[10] = {0};
        ids[i] = record_letter_id_make((int64_t)(i * 197 % 512), bits);
    }
    assert_true(mr_is_ok(letters_reserve(&book->letters, 512)));
    for (uint32_t i = 0; i < 400; i++) {
        model->is_there[i] = letters_add(&book->letters, &(struct book_letter){.id = ids[i]});
    }
    uint64_t total;
    struct record_letter_id last;
    struct book_letter page[7];
    int64_t before_ms = INT64_MAX;
    uint32_t added = 400;
    size_t n = list_letters(book, &none, NULL, 0, page, 7, &total);
    for (uint32_t turn = 0; n > 0; turn++) {
        for (size_t i = 0; i < n; i++) {
            int64_t ms = record_letter_id_ms(&page[i].id);
            assert_true(ms < before_ms);
            before_ms = ms;
            model->seen[ms]++;
        }
        last = page[n - 1].id;
        struct book_letter gone; /* the very one that the walk goes on behind */
        assert_true(letters_remove(&book->letters, &last, &gone));
        if (added < 512) {
            assert_true(letters_add(&book->letters, &(struct book_letter){.id = ids[added++]}));
        }
        assert_true(mr_is_ok(letters_reserve(&book->letters, 1)));
        n = list_letters(book, &none, &last, 0, page, 7, &total);
    }
    for (uint32_t i = 0; i < 512; i++) {
        int64_t ms = record_letter_id_ms(&ids[i]);
        assert_true(model->seen[ms] == 1 || (i >= 400 && model->seen[ms] == 0));
    }
    mr_free(model);
    book_free(book);
}

/* Each allocation fails in turn: the call says so, the book refuses from then on, nothing leaks. */
static void without_memory_the_book_says_so(void **state) {
    (void)state;
    struct world world;
    struct book_options options = {0};
    world_init(&world, 33);
    for (int i = 0; i < 120; i++) {
        do_any(&world);
    }
    /* The system's files, for the simulated disk's own memory must not fail. */
    const struct os_files *files = &os_files_system;
    char dir[] = "/tmp/millrace-book-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_true(mr_is_ok(book_save(world.book, files, dir, store_id, (mr_wall){0})));
    uint64_t fail_at = 1;
    bool has_failed = true;
    while (has_failed) {
        struct book *book = NULL;
        has_failed = false;
        mr_alloc_fail_at(fail_at++);
        mr_err err = book_new(&options, &book);
        for (size_t i = 0; i < world.n_log && mr_is_ok(err); i++) {
            const struct log_entry *e = &world.log[i];
            err = book_apply(book, e->pos, e->next, e->type,
                             (mr_str){(const char *)e->bytes, e->len});
        }
        mr_alloc_fail_at(0);
        if (mr_is_err(err)) {
            has_failed = true;
            assert_true(mr_err_is(err, MR_E_NOMEM));
            if (book != NULL) {
                assert_true(mr_err_is(
                    book_apply(book, UINT64_MAX - 1, UINT64_MAX, RECORD_EVENT, MR_STR("x")),
                    MR_E_NOMEM));
            }
        } else {
            assert_same(book, world.book);
        }
        book_free(book);
    }
    assert_true(fail_at > 50);
    for (fail_at = 1;; fail_at++) {
        struct book *book;
        struct book_loaded how;
        mr_alloc_fail_at(fail_at);
        mr_err err = book_load(&options, files, dir, store_id, &book, &how);
        mr_alloc_fail_at(0);
        if (mr_is_ok(err)) {
            book_free(book);
            break;
        }
        assert_true(mr_err_is(err, MR_E_NOMEM));
    }
    assert_true(fail_at > 20);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/checkpoint-%016llx", dir,
                   (unsigned long long)book_position(world.book));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    world_done(&world);
}

static void a_million_pending_stay_small(void **state) {
    (void)state;
    struct book_options options = {0};
    struct book *book;
    struct record_target targets[100];
    uint64_t pos = 4096;
    assert_true(mr_is_ok(book_new(&options, &book)));
    for (uint32_t i = 0; i < 10000; i++) {
        char id[32];
        for (uint32_t t = 0; t < 100; t++) {
            targets[t] = (struct record_target){.destination = (i * 100 + t * 101) % 10000};
        }
        (void)snprintf(id, sizeof id, "%u", i);
        make_event(&body, types[i % 3], id, 1700000000000 + i, targets, 100);
        assert_true(mr_is_ok(book_apply(book, pos, pos + 1400, RECORD_EVENT, body_view(&body))));
        pos += 1400;
    }
    struct record_counters totals;
    book_totals(book, &totals);
    assert_int_equal(totals.pending, 1000000);
    printf("memory %llu\n", (unsigned long long)book_memory_bytes(book));
    assert_true(book_memory_bytes(book) < 40U * 1024 * 1024);
    book_free(book);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_records_agree_with_a_naive_model),
        cmocka_unit_test(saved_at_any_cut_and_replayed_it_is_the_same_book),
        cmocka_unit_test(damaged_checkpoint_falls_back_to_the_older),
        cmocka_unit_test(newer_format_is_told_apart),
        cmocka_unit_test(older_formats_are_read),
        cmocka_unit_test(crash_while_saving_leaves_a_whole_checkpoint),
        cmocka_unit_test(damage_makes_dead_letters),
        cmocka_unit_test(unreadable_records_change_nothing),
        cmocka_unit_test(letters_are_listed_by_filter_and_page),
        cmocka_unit_test(a_walk_behind_the_last_letter_seen_misses_and_repeats_nothing),
        cmocka_unit_test(without_memory_the_book_says_so),
        cmocka_unit_test(a_million_pending_stay_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
