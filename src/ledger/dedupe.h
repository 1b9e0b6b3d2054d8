/* The memory of ids: has this account sent this (source, id) within the window? Tag, position of
 * the original, digest of its content: 32 bytes an id, in generations; full ones become immutable
 * files. One index in memory (8 bytes a slot) over all of them.
 *
 * Threads: everything by the journal writer's thread, but dedupe_store_step and dedupe_floor. */
#ifndef MR_LEDGER_DEDUPE_H
#define MR_LEDGER_DEDUPE_H

#include "base/log.h"
#include "crypto/siphash.h"
#include "journal/unit.h"
#include "os/files.h"

struct dedupe;

#define DEDUPE_WINDOW_IDS  4000000U
#define DEDUPE_WINDOW_MS   (INT64_C(24) * 3600 * 1000)
#define DEDUPE_GENERATIONS 16U

struct dedupe_options {
    const struct os_files *files; /* outlives it */
    const char *dir;              /* of the generation files; made when absent. Copied. */
    const uint8_t *store_id;      /* 16 bytes: files of another store are refused. Copied. */
    uint32_t window_ids;          /* 0: DEDUPE_WINDOW_IDS; at least these many are remembered … */
    int64_t window_ms;            /* 0: DEDUPE_WINDOW_MS; … but none for longer than this and a
                                     generation's span (a 16th of it) */
    const mr_log *log;
};

/* Reads the generation files (all, with their checksums; a damaged one is logged, removed and its
 * range replayed where the journal still has it). Blocks. MR_E_NOMEM, MR_E_IO, LEDGER_E_NEWER,
 * LEDGER_E_FOREIGN. */
mr_err dedupe_open(const struct dedupe_options *options, mr_wall now, struct dedupe **ret_dedupe);
/* Checks every file's checksums and changes nothing, for `check`: each damaged one is told by its
 * name. MR_E_IO, MR_E_NOMEM, LEDGER_E_NEWER, LEDGER_E_FOREIGN. Blocks. */
mr_err dedupe_verify(const struct os_files *files, const char *dir, const uint8_t *store_id,
                     void (*on_damage)(void *ctx, const char *file), void *ctx);
/* NULL is fine. */
void dedupe_close(struct dedupe *dedupe);

/* After open: EVENT records from here on must be given to dedupe_replay, in order. */
uint64_t dedupe_replay_from(const struct dedupe *dedupe);
/* One EVENT record found in the journal. Ones that a file covers are ignored; of two with one tag
 * the first stays. body: the record's. MR_E_NOMEM; LEDGER_E_RECORD. */
mr_err dedupe_replay(struct dedupe *dedupe, uint64_t pos, mr_str body);

/* --- the writer's hooks (ctx = the dedupe); see journal/writer.h --------------------------------
 */

/* Judges an INGEST unit's EVENT slots: same tag and digest as a remembered id, or as an earlier
 * slot of the unit → DUPLICATE; other digest → false (conflict): see dedupe_conflict. Slots of
 * other types are kept. Reserves the memory that `placed` needs; without it the unit is refused
 * with conflict.out_of_memory. */
bool dedupe_admit(void *ctx, struct journal_unit *unit);
/* Remembers the kept EVENT slots with their positions. */
void dedupe_placed(void *ctx, const struct journal_unit *unit);
/* Forgets them again (reverse order of placed). */
void dedupe_undone(void *ctx, const struct journal_unit *unit);
/* Everything below is durable: full generations whose ids all are get sealed. */
void dedupe_committed(void *ctx, uint64_t durable);

/* Why the last dedupe_admit said false. */
struct dedupe_conflict {
    uint32_t slot;      /* index in the unit */
    bool out_of_memory; /* not a conflict: answer as unavailable */
};
struct dedupe_conflict dedupe_conflict(const struct dedupe *dedupe);

/* Now and then (each second or so): `now` stamps new ids and ends old generations. age_rules false
 * (the clock stepped): nothing ends by age. Does a bounded bit of work. */
void dedupe_tick(struct dedupe *dedupe, mr_wall now, bool age_rules);

/* Looks an id up. MR_E_NOT_FOUND. (Also for tests; the hooks are what production uses.) */
struct dedupe_found {
    uint64_t pos;
    uint64_t digest;
};
mr_err dedupe_find(struct dedupe *dedupe, struct siphash_128 tag, struct dedupe_found *ret_found);
struct dedupe_stats {
    uint64_t ids;
    uint32_t generations, stored;
    uint64_t memory_bytes;
    uint64_t file_reads; /* entries looked up in files */
};
struct dedupe_stats dedupe_stats(const struct dedupe *dedupe);

/* --- maintenance thread -------------------------------------------------------------------------
 */

/* Writes at most one sealed generation to its file and syncs it. Blocks. True: call again at once.
 * A failure is logged; the generation stays in memory and is tried again by a later call. */
bool dedupe_store_step(struct dedupe *dedupe);
/* Any thread: records from here on are not covered by files yet: the journal must keep them. */
uint64_t dedupe_floor(const struct dedupe *dedupe);

#endif
