/* The simulated world of one seed: the real journal, ledger and lanes as actors on a simulated
 * disk, and around them a producer, five sinks, a network and a clock that do what chance says. One
 * thread; all chance comes from the seed. */
#ifndef MR_TEST_SIM_WORLD_H
#define MR_TEST_SIM_WORLD_H

#include "disk.h"
#include "oracle.h"

#include "deliver/callback.h"
#include "deliver/lane.h"
#include "dispatch/outcome.h"
#include "dispatch/types.h"
#include "journal/journal.h"
#include "journal/writer.h"
#include "ledger/book.h"
#include "ledger/dedupe.h"
#include "ledger/keeper.h"
#include "ledger/recover.h"
#include "loop/mailbox.h"

/* What recovery and failure handling can do; each must be seen over all seeds. */
enum sim_branch {
    SIM_BOOT_NEW = 0,       /* an empty store */
    SIM_BOOT_CHECKPOINT,    /* a checkpoint was loaded */
    SIM_BOOT_NO_CHECKPOINT, /* none: all was replayed */
    SIM_BOOT_REPLAYED,      /* records were folded in behind the checkpoint */
    SIM_BOOT_TAIL,          /* a tail was rewritten before serving */
    SIM_BOOT_CUT,           /* a torn tail was cut */
    SIM_BOOT_CRASHED,       /* a crash during recovery */
    SIM_BOOT_WAITING,       /* deliveries never attempted were handed over */
    SIM_BOOT_OPEN,          /* open requests were handed over */
    SIM_BOOT_PARTS,         /* parts of a split among them */
    SIM_BOOT_IDS,           /* ids were given back to the de-duplication */
    SIM_FAILED,             /* a failed write or sync ended the process */
    SIM_FULL,               /* no space: a unit was refused */
    SIM_FULL_OVER,          /* space again: a unit was taken after that */
    SIM_CLEAN_STOP,
    SIM_UNKNOWN,   /* a unit whose answer nobody saw */
    SIM_DUPLICATE, /* an id came again and was known */
    SIM_CONFLICT,  /* an id came again with other content */
    SIM_RETRIED,
    SIM_SPLIT,
    SIM_DIED,
    SIM_SINGLE,
    SIM_PROBED,
    SIM_THROTTLED,
    SIM_ITEMS_TAKEN,     /* events of a request fared differently: some were taken, … */
    SIM_ITEMS_FAILED,    /* … failed, … */
    SIM_ITEMS_THROTTLED, /* … were throttled, … */
    SIM_ITEMS_REFUSED,   /* … or refused for good */
    SIM_BOOT_MIXED,      /* an open request of several keys was handed over */
    SIM_REPEATED,        /* a delivery was repeated after a crash, as it may be */
    SIM_READ_FAILED,
    SIM_CALLBACK_DELIVERED,
    SIM_CALLBACK_RETRIED,
    SIM_CALLBACK_FAILED,
    SIM_CALLBACK_REPEATED,    /* sent again after a crash, as it may be */
    SIM_BOOT_CALLBACKS,       /* pending callbacks were handed over, … */
    SIM_BOOT_CALLBACKS_TRIED, /* … some with an attempt spent */
    SIM_FLIPPED,              /* a bit flipped at rest, in a copy of the disk */
    SIM_BRANCHES
};
extern const char *const sim_branch_names[SIM_BRANCHES];

struct sim_result {
    uint64_t trace; /* of everything that happened */
    uint64_t steps;
    uint64_t crashes;
    uint64_t faults[DISK_FAULT_COUNT];
    uint64_t branches[SIM_BRANCHES];
    bool failed;
    char why[240];
};

struct sim_options {
    uint64_t seed;
    uint32_t steps;
    uint32_t crashes_min;
    bool no_sync; /* the disk's sync does nothing: the oracle must notice */
    bool verbose; /* the journal's and ledger's log lines on standard error */
};

void sim_run(const struct sim_options *options, struct sim_result *ret_result);

/* --- between the files of the simulator --------------------------------------------------------
 */

#define SIM_FLIGHTS_MAX 512
#define SIM_MARKS_MAX   512

/* What an outcome unit says, kept until it is durable. */
struct sim_mark {
    enum oracle_kind kind;
    uint32_t destination;
    uint32_t n;
    uint64_t token;
    uint32_t *events; /* owned */
    struct sim_callback
        *callback; /* of a callback's outcome; then kind, token, events mean nothing */
    bool is_end;
    uint8_t attempt;
};

/* The marks of one outcome unit. */
struct sim_marks {
    struct sim_marks *next;
    size_t n;
    struct sim_mark items[SIM_MARKS_MAX];
};

/* A request under way to a sink. */
struct sim_flight {
    bool used;
    bool arrived;
    struct lane *lane; /* NULL: its process is gone */
    struct lane_request *request;
    uint32_t destination;
    uint32_t n;
    struct lane_result result; /* once arrived */
    bool by_item;              /* the sink answered for each event */
    struct lane_item items[LANE_BATCH_MAX];
    int64_t answer_at_ns;
    uint32_t events[LANE_BATCH_MAX];
    uint64_t positions[LANE_BATCH_MAX];
};

/* A unit of events handed in. */
struct sim_ingest {
    struct journal_unit unit; /* first */
    struct world *world;
    struct sim_ingest *next;
    uint32_t n;
    bool expects_conflict;
    uint32_t events[16];
    bool known[16];
    struct journal_slot slots[16];
    uint8_t *bodies[16];
};

/* Heads of an audit log on their way; numbers are those of their order. */
struct sim_audit {
    struct journal_unit unit;
    struct journal_slot slot;
    uint8_t body[RECORD_AUDIT_BYTES];
    bool is_out; /* unit is the writer's */
    uint64_t turns;
    uint64_t posted;  /* the newest handed over by any process */
    uint64_t durable; /* the newest that must survive */
};

#define SIM_CALLBACKS_MAX    400
#define SIM_CALLBACK_FLIGHTS 16

/* What the oracle knows of a callback. */
struct sim_callback {
    uint8_t account, host;
    bool acknowledged, sent;
    bool refused;         /* nothing is stored, for sure */
    bool refused_by_host; /* it may fail without a second attempt */
    bool ended;           /* an outcome that ends it was handed in, once at least */
    bool over;            /* durably */
    uint8_t attempts;     /* durably */
    uint32_t received;    /* at its host, with 2xx */
    uint32_t known_run;   /* of the process that knows its end; 0: none */
};
struct sim_callback_flight {
    struct callback *callback; /* NULL: free */
    struct sim_callback *known;
    bool has_arrived;
    struct lane_result result;
};
struct sim_hand_in {
    struct journal_unit unit; /* first */
    struct journal_slot slot;
    struct world *world;
    uint32_t i;
    uint8_t bytes[256];
};
struct sim_callbacks {
    struct sim_callback items[SIM_CALLBACKS_MAX];
    uint32_t n, n_open; /* handed in; not answered */
    uint32_t accounts_seen;
    uint8_t moods[8];
    struct sim_callback_flight flights[SIM_CALLBACK_FLIGHTS];
    struct callback_set set; /* of the process */
    bool is_up;
};

enum sim_mood {
    SIM_MOOD_GOOD = 0,
    SIM_MOOD_FLAKY,
    SIM_MOOD_DOWN,
    SIM_MOOD_THROTTLE,
    SIM_MOOD_POISON,
    SIM_MOOD_PAIRS,
    SIM_MOOD_ITEMS, /* events fare differently */
    SIM_MOODS
};

struct world {
    struct sim_options options;
    struct sim_result *result;
    struct oracle *oracle;
    uint64_t rng;
    struct disk *disk;
    struct os_files files;
    mr_mono mono;
    mr_wall wall;
    mr_log log;
    enum sim_mood moods[SIM_DESTINATIONS];
    struct sim_flight *flights; /* SIM_FLIGHTS_MAX */
    struct sim_ingest *ingests; /* not answered */
    bool was_full;
    bool draining; /* no more faults, everything is accepted */
    bool stopping; /* a clean stop; given_up: outcomes that it had no room for */
    uint32_t given_up;
    uint64_t boots;
    struct sim_audit audit;
    struct sim_callbacks callbacks;

    /* of the process: gone with it */
    bool is_up;
    struct journal *journal;
    struct writer *writer;
    struct dedupe *dedupe;
    struct archive *archive;
    struct keeper *keeper;
    struct type_table *types;
    struct mailbox box;
    struct siphash_key store_key;
    struct lane_shared shared;
    struct lane lanes[SIM_DESTINATIONS];
    struct outcome_out outcomes;
    struct sim_marks *marks_open;
    struct sim_marks *marks_first; /* handed in, not answered */
    struct sim_marks *marks_last;
};

uint64_t world_random(struct world *world);
uint64_t world_below(struct world *world, uint64_t n);
void world_fill_random(void *ctx, void *out, size_t n);
void world_trace(struct world *world, uint64_t what);
void world_hit(struct world *world, enum sim_branch branch);

/* process.c: the life of the process. */
/* Starts it; false where the disk went down or an error ended the start: the caller restarts. */
bool process_boot(struct world *world);
/* Takes it away, with what it knew. */
void process_end(struct world *world);
/* Finishes as SIGTERM does: sends nothing new, lets what flies end, syncs, checkpoints. */
void process_stop(struct world *world);
/* One turn of the worker: messages, answers, decisions, outcomes. */
void process_turn(struct world *world);
/* The outcomes handed in are answered. */
void process_on_durable(void *ctx);
void process_answer(struct world *world, struct sim_flight *flight);
void process_free_marks(struct world *world);
/* Keeps it until the outcome that is being added is durable. */
void process_mark(struct world *world, const struct sim_mark *mark);

/* callbacks.c */
void sim_callbacks_hand_in(struct world *world);
void sim_callbacks_slab(struct world *world, uint64_t pos, mr_str body);
mr_err sim_callbacks_boot(struct world *world, const struct book *book);
void sim_callbacks_turn(struct world *world);
void sim_callbacks_net(struct world *world);
void sim_callbacks_mark_durable(const struct sim_mark *mark);
bool sim_callbacks_fly(const struct world *world);
bool sim_callbacks_quiet(const struct world *world);
void sim_callbacks_end(struct world *world);  /* before the last outcomes are written */
void sim_callbacks_gone(struct world *world); /* after them */
void sim_callbacks_finish(struct world *world, const struct book *book);

/* audit.c */
void audit_step(struct world *world);
void audit_boot(struct world *world, const struct book *book);
void audit_end(struct world *world);

/* producer.c */
void producer_hand_in(struct world *world);
void producer_forget(struct world *world);

/* flips.c: flips one bit of a copy of the disk and looks what recovery says. The process is down.
 */
void flips_try(struct world *world);

/* sinks.c */
void sinks_step(struct world *world);
struct sim_flight *sinks_flight(struct world *world);

#endif
