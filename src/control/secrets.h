/* Webhook secrets of an account: one active, at most one pending. The first is active at once,
 * later ones wait; creating again overwrites the pending one; activating it ends the old one at
 * once and for good. The value is shown at creation only and lies sealed. Source: KORE's webhook
 * document. */
#ifndef MR_CONTROL_SECRETS_H
#define MR_CONTROL_SECRETS_H

#include "control/control.h"
#include "control/shape.h"

extern const char *const secret_status_names[2]; /* active, pending */
/* Of bodies and of answers; KORE's webhook document. */
extern const struct shape secret_shape;
extern const struct shape secret_answer;

enum secret_status {
    SECRET_ACTIVE = 0,
    SECRET_PENDING,
};

struct secret_view {
    mr_str id; /* "whs_…", 30 characters */
    mr_str name;
    enum secret_status status;
    int64_t modified_ms;
    mr_str value; /* at creation only, else absent; in arena: wipe with crypto_wipe */
    uint32_t version;
};

#define SECRET_NAME_MAX    255
#define SECRET_VALUE_BYTES 32 /* random bytes behind the 64 hex digits */
#define SECRET_IMPORT_MIN  16
#define SECRET_IMPORT_MAX  1024

/* A new random value. name: 1–255 bytes of UTF-8 without control characters (20002 absent, 20400).
 */
mr_err secrets_create(struct control *control, uint32_t account, mr_str name, mr_arena *arena,
                      struct secret_view *ret_view, struct refusal *ret_refusal);
/* A given value of 16–1,024 printable ASCII characters without spaces; for the Owner, by portal and
 * command line. ret_view->value stays absent. */
mr_err secrets_import(struct control *control, uint32_t account, mr_str name, mr_str value,
                      mr_arena *arena, struct secret_view *ret_view, struct refusal *ret_refusal);
/* status: absent, "active" or "pending" (else 20400). Active first. */
mr_err secrets_list(struct control *control, uint32_t account, mr_str status,
                    struct control_page page, mr_arena *arena, struct secret_view **ret_rows,
                    size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal);
/* name and status absent: unchanged. Active to pending: 20400; to the present status: nothing
 * changes. 20404. if_version: 0 or the version it must have. */
mr_err secrets_patch(struct control *control, uint32_t account, mr_str id, mr_str name,
                     mr_str status, uint32_t if_version, mr_arena *arena,
                     struct secret_view *ret_view, struct refusal *ret_refusal);
/* Reads a body of secret_shape; absent members give absent strings. 20001, 20002, 20400. */
struct secret_body {
    mr_str name;
    mr_str status;
    mr_str value; /* to be imported */
};
mr_err secrets_body_parse(mr_str json, enum shape_use use, mr_arena *arena,
                          struct secret_body *ret_body, struct refusal *ret_refusal);

/* {"id","name","status","last_modified"}, and "secret" where the view has the value. */
mr_err secret_write_json(const struct secret_view *view, mr_buf *out);
/* {"data":[…],"meta_data":{…}}; url as for control_page_write. */
mr_err secret_list_write_json(const struct secret_view *rows, size_t n,
                              const struct control_page *page, uint64_t count, mr_str url,
                              mr_buf *out);

#endif
