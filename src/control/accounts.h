/* Accounts: the root account that init makes, its settings. Further accounts form a tree below it.
 * Source: KORE's IAM document for the members of an account. */
#ifndef MR_CONTROL_ACCOUNTS_H
#define MR_CONTROL_ACCOUNTS_H

#include "control/control.h"
#include "control/shape.h"

/* Of changes; of answers. */
extern const struct shape account_shape;
extern const struct shape account_answer;

struct account_view {
    uint32_t number;
    mr_str id;
    mr_str parent_id; /* absent for the root */
    mr_str friendly_name;
    mr_str owner_email;
    mr_str status; /* ACTIVE, … */
    enum model_validate validate;
    enum model_unknown_types unknown_types;
    uint32_t events_per_second; /* 0: unlimited */
    bool has_own_rate;          /* false: the installation's default stands above */
    int64_t created_ms;
    uint32_t version;
};

/* Texts in arena. 20404. */
mr_err accounts_get(struct control *control, uint32_t account, mr_arena *arena,
                    struct account_view *ret_view, struct refusal *ret_refusal);
/* JSON Merge Patch of {"friendly_name","settings":{"validate","unknown_types",
 * "events_per_second"}}. if_version: 0 or the version it must have (20412). */
mr_err accounts_patch(struct control *control, uint32_t account, mr_str body, uint32_t if_version,
                      mr_arena *arena, struct account_view *ret_view, struct refusal *ret_refusal);
/* {"id","parent_id","date_created","friendly_name","status","settings":{…}} */
mr_err account_write_json(const struct account_view *view, mr_buf *out);

#endif
