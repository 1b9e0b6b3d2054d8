/* Files that were compiled into the program (cmake/embed.cmake makes the tables).
 * Read-only, alive as long as the program. */
#ifndef MR_BASE_EMBED_H
#define MR_BASE_EMBED_H

#include "base/str.h"

struct mr_embedded {
    mr_str path; /* as it was named, relative to its folder */
    mr_str bytes;
};

#endif
