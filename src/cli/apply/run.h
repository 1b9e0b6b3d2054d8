/* Carrying out a plan: one call after the other, in the order of the kinds, deletions last and in
 * the opposite order; the first refusal ends it, and what was done stays done, so that the same
 * file can be applied again. */
#ifndef MR_CLI_APPLY_RUN_H
#define MR_CLI_APPLY_RUN_H

#include "cli/apply/plan.h"

struct run_options {
    const char *secrets_dir; /* new secrets go to files there; NULL: printed, this once */
    bool as_json;            /* nothing is printed on the way: plan_print tells all */
};

/* True where all was done. Else the refusal and what was not done were printed. */
bool run_plan(struct plan *plan, struct cli_client *client, const struct run_options *options);

#endif
