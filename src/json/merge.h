/* JSON Merge Patch (RFC 7396): what PATCH calls do to stored JSON. The result is text, minified;
 * members of the target keep their place, new ones follow in the patch's order. */
#ifndef MR_JSON_MERGE_H
#define MR_JSON_MERGE_H

#include "json/tape.h"

/* Appends the target with the patch applied. target may be absent (the patch creates). Values of
 * two tapes; both texts must live. MR_E_INVALID for an absent patch, MR_E_LIMIT, MR_E_NOMEM; the
 * buffer is left as it was on error. Recursion is bounded by the tapes' depth. */
mr_err json_merge(json_value target, json_value patch, mr_buf *out);

#endif
