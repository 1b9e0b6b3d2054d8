/* What the audit log tells of an API client: what it is when it is made, what changed from what to
 * what. Rights are told by resource, so that a row stays short and says which were given or taken:
 * {"changed":{"scopes.Users":{"from":"Read","to":"Read Write"}}}. */
#include "control/access/parts.h"

#include "json/write.h"

static const struct {
    enum auth_access bit;
    const char *word;
} accesses[] = {
    {AUTH_READ, "Read"}, {AUTH_WRITE, "Write"}, {AUTH_MODIFY, "Modify"}, {AUTH_DELETE, "Delete"}};

static mr_err write_rights(const struct auth_scopes *scopes, json_out *out) {
    json_out_member_object(out, "scopes");
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        mr_buf words;
        mr_buf_init(&words, 64);
        mr_err err = MR_OK;
        for (size_t k = 0; mr_is_ok(err) && k < sizeof accesses / sizeof accesses[0]; k++) {
            if (auth_scopes_allow(scopes, (enum auth_resource)i, accesses[k].bit)) {
                err = mr_buf_printf(&words, "%s%s", words.len > 0 ? " " : "", accesses[k].word);
            }
        }
        if (words.len > 0) {
            json_out_name(out, auth_resource_name((enum auth_resource)i));
            json_out_str(out, mr_buf_view(&words));
        }
        mr_buf_done(&words);
        MR_TRY(err);
    }
    json_out_end(out);
    return MR_OK;
}

static mr_err write_told(const struct client_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_str(&writer, "client_owner", view->client_owner);
    json_out_member_str(&writer, "client_type", auth_client_type_name(view->type));
    if (view->locked < 0) {
        json_out_member_null(&writer, "locked");
    } else {
        json_out_member_bool(&writer, "locked", view->locked != 0);
    }
    json_out_member_bool(&writer, "enabled", view->is_enabled);
    json_out_member_u64(&writer, "token_expiry_s", view->token_expiry_s);
    mr_err err = write_rights(&view->scopes, &writer);
    json_out_end(&writer);
    mr_err finished = json_out_finish(&writer);
    return mr_is_err(err) ? err : finished;
}

mr_err client_tell(struct control *control, uint32_t account, const char *action,
                   const struct client_view *before, const struct client_view *after,
                   const char *remark) {
    struct audit_change change;
    audit_change_begin(&change);
    change.note = remark;
    mr_err err = before == NULL ? MR_OK : write_told(before, &change.before);
    if (mr_is_ok(err) && after != NULL) {
        err = write_told(after, &change.after);
    }
    MR_ASSERT(before != NULL || after != NULL);
    mr_str id = before != NULL ? before->client_id : after->client_id;
    return audit_change_end(control, &change, err, account, action, id);
}
