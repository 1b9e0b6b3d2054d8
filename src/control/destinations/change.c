/* Rows of the audit log for destinations. */
#include "control/destinations/parts.h"

mr_err destination_tell(struct control *control, uint32_t account, const char *action,
                        const struct destination_view *before, const struct destination_view *after,
                        bool hides_change) {
    struct audit_change change;
    audit_change_begin(&change);
    change.note = hides_change ? "\"hidden_changed\":true" : NULL;
    mr_err err = before == NULL ? MR_OK : destination_write_json(before, NULL, &change.before);
    if (mr_is_ok(err) && after != NULL) {
        err = destination_write_json(after, NULL, &change.after);
    }
    return audit_change_end(control, &change, err, account, action,
                            after != NULL ? after->id : before->id);
}
