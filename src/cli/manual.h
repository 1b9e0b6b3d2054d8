/* The manual page millrace(1), from the table of commands. */
#ifndef MR_CLI_MANUAL_H
#define MR_CLI_MANUAL_H

#include "base/buf.h"

/* Appends it in man(7). MR_E_NOMEM, MR_E_LIMIT. */
mr_err manual_write(mr_buf *out);

#endif
