/* What users change of themselves. Control thread only. */
#ifndef MR_CONTROL_PEOPLE_PROFILE_H
#define MR_CONTROL_PEOPLE_PROFILE_H

#include "control/people/users.h"

extern const struct shape profile_shape;         /* {name} */
extern const struct shape password_change_shape; /* {current_password, new_password} */
extern const struct shape password_again_shape;  /* {password} */
extern const struct shape totp_confirm_shape;    /* {code} */

/* JSON Merge Patch of {"name"}. 20412. Audit row. */
mr_err profile_patch(struct control *control, uint32_t user, mr_str body, uint32_t if_version,
                     mr_arena *arena, struct user_view *ret_view, struct refusal *ret_refusal);
/* The new hash in place of old_hash (20409 where another call was quicker); other sessions than
 * except_session end. Audit row, e-mail. */
mr_err profile_set_password(struct control *control, uint32_t user, mr_str old_hash,
                            mr_str new_hash, mr_str except_session, struct refusal *ret_refusal);

#endif
