/* JSON values as YAML in block form, such that every reader of YAML takes them for the same: texts
 * stand in double quotes unless nobody could take them for something else. */
#ifndef MR_CLI_APPLY_EMIT_H
#define MR_CLI_APPLY_EMIT_H

#include "json/tape.h"

/* `key: value` and a line end, indent spaces before it; prefix stands in place of the last of them
 * ("- " for the first member of an item). drops_null: members of null are left out, at every level.
 * MR_E_NOMEM, MR_E_LIMIT. */
mr_err emit_member(mr_buf *out, size_t indent, const char *prefix, mr_str key, json_value value,
                   bool drops_null);
/* The same with a text for a value. */
mr_err emit_text_member(mr_buf *out, size_t indent, const char *prefix, mr_str key, mr_str text);

#endif
