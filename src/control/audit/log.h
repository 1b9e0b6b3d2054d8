/* The audit log, read: pages for people, newest first, and an export for auditors, oldest first,
 * which holds all that the chain is made of. Control thread. */
#ifndef MR_CONTROL_AUDIT_LOG_H
#define MR_CONTROL_AUDIT_LOG_H

#include "control/audit.h"
#include "control/shape.h"

#define AUDIT_DEPTH_MAX   100000U /* rows that page numbers reach; cursors reach all */
#define AUDIT_EXPORT_MAX  10000U  /* rows of one export call */
#define AUDIT_EXPORT_ROWS 1000U   /* where the caller does not say */

/* Absent and zero members do not restrict; to_ms 0: no end. */
struct audit_filter {
    uint32_t account;
    mr_str actor;
    mr_str action; /* whole, or a prefix that ends in a dot: "destination." */
    mr_str object;
    int64_t from_ms, to_ms; /* [from, to) */
    uint64_t before;        /* rows of smaller numbers only; 0: any */
};

extern const struct shape audit_row_answer; /* of a page's rows */

/* What a page was cut from. */
struct audit_found {
    uint64_t count; /* rows that match, told by control_count_told */
    uint64_t last;  /* number of the page's last row; 0: it has none */
    bool has_more;  /* rows follow behind it */
};
/* Writes the page's rows into the open array, newest first: filter->account must be set. behind:
 * the number of the row that the page begins behind; 0: it begins after so many as page says.
 * Refusals: a page beyond AUDIT_DEPTH_MAX (20400). */
mr_err audit_list(struct control *control, const struct audit_filter *filter,
                  struct control_page page, uint64_t behind, struct json_out *out,
                  struct audit_found *ret_found, struct refusal *ret_refusal);

/* Appends up to rows_max rows of numbers above `after` as one JSON object a line. *ret_last: number
 * of the last one; 0: none. *ret_more: there are further ones. It ends early, but not before the
 * first row, where out would go over bytes_max. */
mr_err audit_export(struct control *control, uint32_t account, uint64_t after, uint32_t rows_max,
                    size_t bytes_max, mr_buf *out, uint64_t *ret_last, bool *ret_more,
                    struct refusal *ret_refusal);

#endif
