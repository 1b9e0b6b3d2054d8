/* Private to control/destinations: what its chapters share. Control thread. */
#ifndef MR_CONTROL_DESTINATIONS_PARTS_H
#define MR_CONTROL_DESTINATIONS_PARTS_H

#include "control/destinations.h"
#include "control/private.h"

#define DOCUMENT_MAX ((size_t)1 << 20)

/* Of kind and status in the API, in the order of their enums in model/. */

/* ---- rows.c ---- */

/* The row of an account's destination; 20404 where there is none. Texts in arena. */
mr_err destination_find(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct destination_view *ret_view, struct refusal *ret_refusal);
/* The sealed column of the row under query, *ret_value MR_SECRET_NONE where it is NULL. The
 * caller's to unref. */
mr_err destination_box_open(struct control *control, struct query *query, int column,
                            uint32_t number, const char *name, mr_secret *ret_value);
/* Appends plain, sealed for that column of that row. */
mr_err destination_box_make(struct control *control, uint32_t number, const char *name,
                            mr_str plain, mr_buf *out);

/* ---- change.c ---- */

/* A row of the audit log: before NULL for a new one, after NULL for a deleted one. hides_change:
 * what is never shown was changed, too. */
mr_err destination_tell(struct control *control, uint32_t account, const char *action,
                        const struct destination_view *before, const struct destination_view *after,
                        bool hides_change);

/* ---- draft.c ---- */

/* A row while it is made or changed. Texts in the caller's arena. Starts as {0}. */
struct destination_draft {
    mr_str name;
    mr_str description;
    mr_str metadata;
    enum model_destination_status status;
    bool hides_change; /* of a patch: what is never shown is another than it was */
    /* Holds secrets: destination_draft_done, also after an error. */
    struct model_settings settings;
};

void destination_draft_done(struct destination_draft *draft);
/* Of the body of a creation. Refusals as in destinations_create. */
mr_err destination_draft_read(struct control *control, mr_str body, mr_arena *arena,
                              struct destination_draft *draft, struct refusal *ret_refusal);
/* Of a row and a merge patch. Refusals as in destinations_patch. */
mr_err destination_draft_patch(struct control *control, const struct destination_view *before,
                               mr_str body, mr_arena *arena, struct destination_draft *draft,
                               struct refusal *ret_refusal);
/* The settings as the two stored forms; box stays empty where nothing is write-only. */
mr_err destination_draft_encode(struct control *control, uint32_t number,
                                const struct destination_draft *draft, mr_buf *public_form,
                                mr_buf *box);

/* ---- claims.c ---- */

/* A stream's external id is the account's from now on, for good. 20409 where it is another's. */
mr_err destination_claim(struct control *control, uint32_t account,
                         const struct destination_draft *draft, struct refusal *ret_refusal);

#endif
