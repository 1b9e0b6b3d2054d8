/* Destinations: create, read, list, change, delete, and what dispatch tells about them. Names of
 * members as in the reference of the API. */
#ifndef MR_CONTROL_DESTINATIONS_H
#define MR_CONTROL_DESTINATIONS_H

#include "control/control.h"
#include "control/shape.h"

/* A destination as the API shows it. Texts in the caller's arena. */
struct destination_view {
    uint32_t number;
    mr_str id;
    mr_str account_id;
    mr_str name;
    mr_str description;
    enum model_destination_kind kind;
    mr_str settings_json; /* public form: write-only values show as "[redacted]" */
    enum model_destination_status status;
    enum model_disabled_by disabled_by;
    mr_str last_test_json; /* absent: never tested */
    const mr_str *rule_ids;
    size_t n_rules;
    mr_str metadata_json; /* an object */
    int64_t created_ms;
    int64_t updated_ms;
    int64_t disabled_ms; /* since when it is disabled; 0 */
    uint32_t version;
};

/* From the ledger; the caller fills it. */
struct destination_counters {
    uint64_t pending;
    uint64_t delivered;
    uint64_t dead;
    uint64_t discarded;
    uint64_t skipped;
    uint64_t failed_attempts;
};

#define DESTINATION_NAME_MAX        255
#define DESTINATION_DESCRIPTION_MAX 4096
#define METADATA_BYTES_MAX          16384

/* Of bodies; of answers. */
extern const struct shape destination_shape;
extern const struct shape destination_answer;
extern const struct shape destination_counters_answer;
#define DESTINATION_KINDS    2
#define DESTINATION_STATUSES 3
extern const char *const destination_kind_names[DESTINATION_KINDS];
extern const char *const destination_status_names[DESTINATION_STATUSES];

/* body: of destination_shape. Refusals: 20400 (not JSON, bad values), 20001 (unknown members,
 * named), 20002 (missing ones, named), 31010, 20409 (an external id of another account). */
mr_err destinations_create(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct destination_view *ret_view, struct refusal *ret_refusal);
/* 20404 also for another account's. */
mr_err destinations_get(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct destination_view *ret_view, struct refusal *ret_refusal);
/* In order of creation. status and kind: absent, or a name (20400 for others). */
mr_err destinations_list(struct control *control, uint32_t account, mr_str status, mr_str kind,
                         struct control_page page, mr_arena *arena,
                         struct destination_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                         struct refusal *ret_refusal);
/* JSON Merge Patch (RFC 7396) of name, description, settings, status (active, disabled), metadata.
 * A write-only value given as "[redacted]" stays as it is. The kind cannot be changed (20400).
 * *ret_before: the status it had; where the change enables it, *ret_disabled_ms tells since when it
 * was disabled, for the gap in the answer (both may be NULL). */
mr_err destinations_patch(struct control *control, uint32_t account, mr_str id, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct destination_view *ret_view,
                          enum model_destination_status *ret_before, int64_t *ret_disabled_ms,
                          struct refusal *ret_refusal);
/* 31011 naming the rules that lead to it. Leaves a tombstone that keeps number and id known until
 * destinations_forget. *ret_number for the discard record. */
mr_err destinations_delete(struct control *control, uint32_t account, mr_str id,
                           uint32_t if_version, uint32_t *ret_number, struct refusal *ret_refusal);

/* Makes new signing keys of a webhook (20400 for another kind); the present ones sign along for 24
 * hours. *ret_secret ("whsec_…") is shown this once, *ret_public_key is "whpk_…"; both in arena,
 * the caller wipes the first. */
mr_err destinations_signing_secret(struct control *control, uint32_t account, mr_str id,
                                   mr_wall now, mr_arena *arena, mr_str *ret_secret,
                                   mr_str *ret_public_key, struct refusal *ret_refusal);

/* What dispatch tells. Unknown or deleted numbers: MR_OK, nothing happens. */
/* active ⇄ failed, or disabled by `by` (410, five days of failure); a disabled one is never enabled
 * here: asking for active or failed leaves it as it is. */
mr_err destinations_set_status(struct control *control, uint32_t number,
                               enum model_destination_status status, enum model_disabled_by by,
                               struct refusal *ret_refusal);
/* json: an object of at most 16 KiB. */
mr_err destinations_set_last_test(struct control *control, uint32_t number, mr_str json,
                                  struct refusal *ret_refusal);

/* Deleted ones that segments may still name, at most numbers_max of them, in order. */
mr_err destinations_tombstones(struct control *control, uint32_t *numbers, size_t numbers_max,
                               size_t *ret_n, struct refusal *ret_refusal);
/* No segment names it any more: the tombstone goes; the number stays used. */
mr_err destinations_forget(struct control *control, uint32_t number, struct refusal *ret_refusal);
/* The id of a number, also of a deleted one; absent where it is unknown. In arena. */
mr_err destinations_id_of(struct control *control, uint32_t number, mr_arena *arena, mr_str *ret_id,
                          struct refusal *ret_refusal);

/* {"id","account_id","name","description","kind","settings","status","last_test","counters",
 * "rules","metadata","date_created","date_updated"}; counters NULL writes null. */
mr_err destination_write_json(const struct destination_view *view,
                              const struct destination_counters *counters, mr_buf *out);
/* The same members into an object that the caller has opened and will close. */
struct json_out;
void destination_write_members(const struct destination_view *view,
                               const struct destination_counters *counters, struct json_out *out);
/* Its member counters alone. */
void destination_write_counters(const struct destination_counters *counters, struct json_out *out);

#endif
