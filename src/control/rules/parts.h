/* Private to the chapters of streaming rules. */
#ifndef MR_CONTROL_RULES_PARTS_H
#define MR_CONTROL_RULES_PARTS_H

#include "control/destinations.h"
#include "control/private.h"
#include "control/rules.h"
#include "json/write.h"

#define RULE_DOCUMENT_MAX ((size_t)1 << 20)

/* ---- draft.c ---- */

/* A rule while it is made or changed; texts in the call's arena. */
struct rule_row {
    mr_str name;
    bool is_enabled;
    mr_str destination_id;
    uint32_t destination;
    mr_str product_group;
    struct model_rule_type *types;
    size_t n_types;
    uint32_t sampling;
    mr_str metadata;
    mr_str filter; /* JSON; absent: none */
};

/* Of the body of a creation. Refusals as in rules_create. */
mr_err rule_row_read(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                     struct rule_row *row, struct refusal *ret_refusal);
/* Of a rule and a merge patch. Refusals as in rules_patch. */
mr_err rule_row_patch(struct control *control, uint32_t account, const struct rule_view *before,
                      mr_str body, mr_arena *arena, struct rule_row *row,
                      struct refusal *ret_refusal);

/* ---- write.c ---- */

/* [{"type","schema_version"}] of a stored row or a call that was judged. */
void rule_types_write(const struct model_rule_type *types, size_t n, json_out *out);
/* The same read back, into arena. */
mr_err rule_types_read(mr_str json, mr_arena *arena, const struct model_rule_type **ret_types,
                       size_t *ret_n);

#endif
