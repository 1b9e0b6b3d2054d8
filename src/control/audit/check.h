/* The audit log checked row by row, read-only, while nobody has the store open: for `millrace
 * check`. No state beside struct audit_check; any thread; blocks. */
#ifndef MR_CONTROL_AUDIT_CHECK_H
#define MR_CONTROL_AUDIT_CHECK_H

#include "ledger/record.h"

struct audit_check;

/* Opens control.db at path. MR_E_IO, MR_E_NOMEM. A database of before the chain has no rows. */
mr_err audit_check_open(const char *path, struct audit_check **ret_check);
void audit_check_close(struct audit_check *check); /* NULL is fine */

/* Walks the chain from its first row; each finding is text for people, valid during the call.
 * *ret_rows: rows read. MR_E_IO, MR_E_NOMEM, MR_E_FAILED. */
mr_err audit_check_chain(struct audit_check *check, void (*on_finding)(void *ctx, const char *what),
                         void *ctx, uint64_t *ret_rows);

/* Gathers the heads that the journal names (any order). */
void audit_check_head(struct audit_check *check, uint64_t pos, const struct record_audit *head);
/* Tells of those that the log lacks. */
void audit_check_heads(struct audit_check *check, void (*on_finding)(void *ctx, const char *what),
                       void *ctx);

#endif
