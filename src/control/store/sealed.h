/* What of the store is sealed with the master key: one table, from which a rotation seals
 * everything anew. A test holds it against the tables of the database. */
#ifndef MR_CONTROL_STORE_SEALED_H
#define MR_CONTROL_STORE_SEALED_H

#include "control/control.h"
#include "crypto/seal.h"

struct sealed_column {
    const char *table;
    const char *column;
    const char *place;  /* what the boxes call the column: struct seal_place */
    bool has_numbers;   /* the table's key is a number; a text else */
    bool has_plain;     /* other values stand in the column too */
    const char *select; /* the row behind the key ?1: its key and box */
    const char *update; /* box ?1 of the row ?2 */
};
const struct sealed_column *sealed_columns(size_t *ret_n);

/* Opens every sealed value and seals it with `to`, inside a change. A box that does not open is a
 * refusal that names it. *ret_n: how many there were. */
mr_err sealed_renew(struct control *control, const struct sealer *to, uint32_t *ret_n,
                    struct refusal *ret_refusal);

#endif
