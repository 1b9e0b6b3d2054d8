/* Streaming rules: create, read, list, change, delete. Shape as in the reference of the API. */
#ifndef MR_CONTROL_RULES_H
#define MR_CONTROL_RULES_H

#include "control/control.h"
#include "control/shape.h"

struct rule_view {
    uint32_t number;
    mr_str id;
    mr_str account_id;
    mr_str name;
    bool is_enabled;
    mr_str destination_id;
    mr_str product_group; /* absent: null */
    const struct model_rule_type *types;
    size_t n_types;
    uint32_t sampling;
    mr_str metadata_json;
    mr_str filter_json; /* absent: none */
    int64_t created_ms;
    int64_t updated_ms;
    uint32_t version;
};

#define RULE_NAME_MAX     255
#define RULE_SAMPLING_MAX 1000000

#define RULE_VERSION_MAX 65535

/* Of both directions. */
#define RULE_FILTER_SCHEMA                                                                         \
    "{\"description\":\"What events must hold beside the type\",\"anyOf\":[{\"type\":\"null\"},"   \
    "{\"type\":\"object\",\"properties\":{\"pattern\":{\"type\":\"object\"}},\"required\":"        \
    "[\"pattern\"],\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{"          \
    "\"cesql\":"                                                                                   \
    "{\"type\":\"string\"}},\"required\":[\"cesql\"],\"additionalProperties\":false}]}"

/* Bodies of creation and change, and of a preview; answers. */
extern const struct shape rule_shape;
extern const struct shape rule_preview_shape;
extern const struct shape rule_answer;
extern const char *const rule_status_names[2]; /* enabled, disabled */

/* body: of rule_shape. Refusals: 20400, 20001, 20002, and 31020 for what is wrong with the rule
 * itself, the filter included. */
mr_err rules_create(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                    struct rule_view *ret_view, struct refusal *ret_refusal);
mr_err rules_get(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                 struct rule_view *ret_view, struct refusal *ret_refusal);
/* A rule that is only tried out, and on what. */
struct rule_draft {
    bool is_enabled;
    mr_str product_group; /* absent: none */
    const struct model_rule_type *types;
    size_t n_types;
    uint32_t sampling;
    mr_str filter_json; /* compiles; absent: none */
    mr_str events;      /* a JSON array; absent: none were given */
};
/* body: of rule_preview_shape. Stores nothing. Texts in the arena, or slices of body. Refusals as
 * rules_create; 20400 where events is no array; what is in it is not looked at. */
mr_err rules_draft(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                   struct rule_draft *ret_draft, struct refusal *ret_refusal);
/* In order of creation. status, destination_id: absent or a value to select by. */
mr_err rules_list(struct control *control, uint32_t account, mr_str status, mr_str destination_id,
                  struct control_page page, mr_arena *arena, struct rule_view **ret_rows,
                  size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal);
/* JSON Merge Patch (RFC 7396), but that a filter is replaced as a whole. */
mr_err rules_patch(struct control *control, uint32_t account, mr_str id, mr_str body,
                   uint32_t if_version, mr_arena *arena, struct rule_view *ret_view,
                   struct refusal *ret_refusal);
/* Leaves a tombstone until rules_forget: deliveries and dead letters go on naming it. */
mr_err rules_delete(struct control *control, uint32_t account, mr_str id, uint32_t if_version,
                    struct refusal *ret_refusal);
/* Removes the tombstones of deleted rules with a number < below that were deleted before
 * deleted_before_ms: no segment names them any more. */
mr_err rules_forget(struct control *control, uint32_t below, int64_t deleted_before_ms,
                    struct refusal *ret_refusal);
/* Ids of numbers, also of deleted ones; absent where one is unknown. ret_ids has n places. */
mr_err rules_ids_of(struct control *control, const uint32_t *numbers, size_t n, mr_arena *arena,
                    mr_str *ret_ids, struct refusal *ret_refusal);

/* {"id","account_id","name","status","destination_id","product_group","event_types","filter",
 * "sampling","metadata","date_created","date_updated"} */
mr_err rule_write_json(const struct rule_view *view, mr_buf *out);

#endif
