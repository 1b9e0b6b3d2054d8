/* Accounts: a tree below the root account that init makes. An account owns rules, destinations,
 * secrets, clients, users, settings; nothing of it is inherited. Accounts never move and are never
 * deleted, so "lies below" holds once it is true. Source: KORE's IAM document for the members of an
 * account and of a mapping. */
#ifndef MR_CONTROL_ACCOUNTS_H
#define MR_CONTROL_ACCOUNTS_H

#include "control/control.h"
#include "control/shape.h"

/* Bounds of the tree; its levels: MODEL_ACCOUNT_LEVELS_MAX. A list of all accounts must fit into an
 * answer. */
#define ACCOUNTS_MAX         10000
#define ACCOUNT_CHILDREN_MAX 5000

struct account_view {
    uint32_t number;
    mr_str id;
    mr_str parent_id; /* absent for the root */
    mr_str friendly_name;
    mr_str description; /* perhaps empty */
    mr_str owner_email; /* empty: none was named */
    mr_str owner_url;   /* of a creation: the Owner's invite, where it was not mailed; wipe it */
    mr_str status;      /* ACTIVE, … */
    enum model_validate validate;
    enum model_unknown_types unknown_types;
    uint32_t events_per_second; /* 0: unlimited */
    bool has_own_rate;          /* false: the installation's default stands above */
    bool needs_second_factor;   /* of all its users */
    mr_str twilio_id;           /* the account's id at that platform; absent: not mapped */
    int64_t created_ms;
    uint32_t version;
};

/* Bodies of a creation and of a change; answers. */
extern const struct shape account_shape;
extern const struct shape account_answer;
extern const struct shape account_list_answer;
extern const struct shape platform_list_answer;

/* Texts in arena. 20404. */
mr_err accounts_get(struct control *control, uint32_t account, mr_arena *arena,
                    struct account_view *ret_view, struct refusal *ret_refusal);
/* The number of the account with this id, which must be `home` or lie below it; else 20404. */
mr_err accounts_find_within(struct control *control, uint32_t home, mr_str id, uint32_t *ret_number,
                            struct refusal *ret_refusal);
/* A child of parent, from {"friendly_name","description","owner_email","settings"}; owner_email is
 * invited as its Owner, by a link that begins with base_url; 20006 where held (NULL: no bound)
 * lacks Write on Users. 20409: the tree has no room for it. Workers know it when the job is
 * answered. */
mr_err accounts_create(struct control *control, const struct auth_scopes *held, uint32_t parent,
                       mr_str body, mr_str base_url, mr_arena *arena, struct account_view *ret_view,
                       struct refusal *ret_refusal);
/* JSON Merge Patch of {"friendly_name","description","settings":{"validate","unknown_types",
 * "events_per_second","second_factor"},"platforms":[{"platform","legacy_account_id"}]}. if_version:
 * 0 or the version it must have (20412). */
mr_err accounts_patch(struct control *control, uint32_t account, mr_str body, uint32_t if_version,
                      mr_arena *arena, struct account_view *ret_view, struct refusal *ret_refusal);

/* {"id","parent_id","date_created","friendly_name","status"} as KORE has it, and our own members;
 * the root has no parent_id. */
mr_err account_write_json(const struct account_view *view, mr_buf *out);
/* {"accounts":[…]}: the account, then, unless is_alone, all below it; parents before children. */
mr_err accounts_write_list(struct control *control, uint32_t account, bool is_alone, mr_buf *out,
                           struct refusal *ret_refusal);
/* {"platforms":[{"id","legacy_account_id","platform"}]} of the same accounts. */
mr_err accounts_write_mappings(struct control *control, uint32_t account, bool is_alone,
                               mr_buf *out, struct refusal *ret_refusal);

#endif
