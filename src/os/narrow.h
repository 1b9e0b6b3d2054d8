/* Files of a folder for their owner alone: what an older version, a copy or a hand left wider is
 * narrowed. Blocks; for start-up only. */
#ifndef MR_OS_NARROW_H
#define MR_OS_NARROW_H

#include "base/err.h"

#include <stddef.h>

/* Regular files below dir that others than the owner may read, write or run get mode 0600, folders
 * 0700; links are neither followed nor changed. What belongs to somebody else, whose mode is not
 * ours to change, is left. *ret_narrowed: how many were wider. MR_E_NOT_FOUND, MR_E_IO: of dir
 * itself. */
mr_err os_narrow(const char *dir, size_t *ret_narrowed);

#endif
