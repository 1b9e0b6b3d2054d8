/* Private to the chapter of accounts. */
#ifndef MR_CONTROL_ACCOUNTS_PARTS_H
#define MR_CONTROL_ACCOUNTS_PARTS_H

#include "control/accounts.h"

/* By the values of the enums in model/account.h; second factor: by needs_second_factor. */
extern const char *const account_validate_names[3];
extern const char *const account_unknown_names[2];
extern const char *const account_factor_names[2];

/* accounts_get, its errors as they came. */
mr_err account_find(struct control *control, uint32_t account, mr_arena *arena,
                    struct account_view *ret_view, struct refusal *ret_refusal);

/* Of bodies and answers. */
extern const struct shape account_settings_shape;

#endif
