/* Error answers of the API, the pages /errors/{code} and the reference of codes, all made from the
 * one table of codes (control/refusal.h). Families: 20000 + status, 40000 + status for API clients
 * (KORE's), 31001 and following for event streams (Millrace's own). */
#ifndef MR_API_ERRORS_H
#define MR_API_ERRORS_H

#include "auth/rights.h"
#include "base/buf.h"
#include "control/refusal.h"

/* The code of a status without one of its own, in a family of routes. */
uint32_t api_error_code_of(enum auth_errors family, int status);

/* A code as that family has it: of API clients, 20000 + status becomes 40000 + status where there
 * is one; any other stays. */
uint32_t api_error_code_in(enum auth_errors family, uint32_t code);

/* Appends the answer: {"status","message","code","info","more_info"} with `members` (perhaps
 * absent; text such as `"errors":[…]`) at its end. info is base_url + /errors/code. */
mr_err api_error_write(mr_str base_url, int status, uint32_t code, mr_str message, mr_str members,
                       mr_buf *out);
/* The reference of all codes in Markdown. */
mr_err api_error_reference(mr_buf *out);

#endif
