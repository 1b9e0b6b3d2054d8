/* The way from what an account has to what a file says, step by step; made before anything is
 * changed, shown by --dry-run, carried out by run.h. */
#ifndef MR_CLI_APPLY_PLAN_H
#define MR_CLI_APPLY_PLAN_H

#include "cli/apply/compare.h"

enum step_op {
    STEP_UNCHANGED = 0,
    STEP_CREATE,
    STEP_CHANGE,
    STEP_EXTRA,  /* the account has it, the file does not; it stays */
    STEP_DELETE, /* the same, and it goes */
    STEP_SELF,   /* the API client that this command runs with: never touched */
    STEP_OPS,
};

struct step {
    enum declared_kind kind;
    enum step_op op;
    mr_str name;
    json_value wanted; /* of the file; absent: extra, delete */
    mr_str id;         /* "" until it is made */
    bool has_twins;    /* the account has others of its name */
    char etag[CLI_ETAG_SIZE];
    mr_str patch; /* of a change */
    bool relinks; /* the patch needs the id of the rule's destination, whose name is: */
    mr_str link;
    struct change *changes;
    uint64_t published; /* of a schema: versions that the account has */
    bool is_done;
    /* What the server showed once, for whoever asked; wiped when printed. */
    mr_str shown_secret;
};

struct plan_options {
    bool prunes;
    bool rewrites;
};

struct plan {
    const struct document *document;
    struct plan_options options;
    mr_arena arena;
    struct held_list lists[DECLARED_KINDS]; /* of the kinds that the file has, and destinations
                                                  where it has rules */
    struct step *steps; /* in arena; by kind, in the file's order, then what it lacks */
    size_t n, cap;
    size_t counts[STEP_OPS];
};

/* Asks the account and compares. False: printed. *plan needs plan_done all the same. */
bool plan_make(struct plan *plan, const struct document *document,
               const struct plan_options *options, struct cli_client *client);
void plan_done(struct plan *plan);
/* Whether apply would change something. */
bool plan_has_work(const struct plan *plan);
/* Prints each step and a line that sums them up, or all as one JSON object. */
void plan_print(const struct plan *plan, bool as_json);
/* The last line of what apply did. */
void plan_print_done(const struct plan *plan);
const char *plan_op_name(enum step_op op);

/* For objects of any kind: the steps' destination of that name, NULL where there is none. */
const struct step *plan_find(const struct plan *plan, enum declared_kind kind, mr_str name);

#endif
