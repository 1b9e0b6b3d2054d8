/* The master key of a store: taken at start, proved by the canary, rotated.
 *
 *   key ── rotation: key.new written, synced ──▶ key, key.new
 *              │ one transaction seals everything anew     the canary says which one is right:
 *              ▼ (and it is in the database's own file)       before it `key`, after it `key.new`
 *          key, key.new ── rename, synced ──▶ key (the new one)
 *
 * So a rotation that was cut off leaves both keys, and the next start finds by the canary whether
 * it has to finish it. A key in a file that the operator names (--new-key-file) takes nobody's
 * place: both files stay, and the setting is the operator's to change. */
#ifndef MR_CONTROL_STORE_MASTER_H
#define MR_CONTROL_STORE_MASTER_H

#include "control/control.h"

#define MASTER_CANARY "millrace canary 1"

/* The key into control->sealer. may_make: where none is there, one is made. CONTROL_E_MASTER_KEY
 * with a message. */
mr_err master_take(struct control *control, bool may_make, struct refusal *ret_refusal);
/* Whether the store was sealed with it; finishes a rotation that was cut off. CONTROL_E_MASTER_KEY
 * with a message; MR_E_INVALID: a damaged store. */
mr_err master_check(struct control *control, struct refusal *ret_refusal);

#endif
