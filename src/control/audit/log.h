/* The audit log, read: pages for people, newest first, and an export for auditors, oldest first,
 * which holds all that the chain is made of. Control thread. */
#ifndef MR_CONTROL_AUDIT_LOG_H
#define MR_CONTROL_AUDIT_LOG_H

#include "control/audit.h"
#include "control/shape.h"

#define AUDIT_DEPTH_MAX   100000U /* rows that page numbers reach, and that are counted at most */
#define AUDIT_EXPORT_MAX  10000U  /* rows of one export call */
#define AUDIT_EXPORT_ROWS 1000U   /* where the caller does not say */

/* Absent and zero members do not restrict; to_ms 0: no end. */
struct audit_filter {
    uint32_t account; /* 0: rows of all accounts */
    mr_str actor;
    mr_str action; /* whole, or a prefix that ends in a dot: "destination." */
    mr_str object;
    int64_t from_ms, to_ms; /* [from, to) */
    uint64_t before;        /* rows of smaller numbers only; 0: any */
};

extern const struct shape audit_row_answer; /* of a page's rows */

/* Appends the page as the API shows it; list_url: of the list without page parameters. Refusals:
 * a page beyond AUDIT_DEPTH_MAX (20400). */
mr_err audit_list(struct control *control, const struct audit_filter *filter,
                  struct control_page page, mr_str list_url, mr_buf *out,
                  struct refusal *ret_refusal);

/* Appends up to rows_max rows of numbers above `after` as one JSON object a line. *ret_last: number
 * of the last one; 0: none. *ret_more: there are further ones. It ends early, but not before the
 * first row, where out would go over bytes_max. */
mr_err audit_export(struct control *control, uint32_t account, uint64_t after, uint32_t rows_max,
                    size_t bytes_max, mr_buf *out, uint64_t *ret_last, bool *ret_more,
                    struct refusal *ret_refusal);

#endif
