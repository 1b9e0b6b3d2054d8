/* What the settings that are texts must look like, beyond being texts. `millrace config` and
 * `serve` judge by this alone, so that a wrong one is told by both, with its place. */
#ifndef MR_SERVER_VALUES_H
#define MR_SERVER_VALUES_H

#include "base/str.h"

/* Most entries of dataschema_aliases. */
#define VALUES_ALIASES_MAX 64

/* NULL: it is right. Else what it must be, to stand after the setting's name ("must be …"). Of a
 * list, text is all its items with commas between. The default "" is right where a setting has one.
 */
const char *value_wrong(const char *key, mr_str text);

#endif
