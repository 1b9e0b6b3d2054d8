/* Making signing keys: the form of model/signing, sealed, the present keys within it for a day. */
#include "control/destinations/parts.h"

#include "model/signing.h"

#define OVERLAP_MS (INT64_C(24) * 3600 * 1000)

/* Moves text into arena and wipes it. */
static mr_err keep_text(mr_err err, mr_buf *text, mr_arena *arena, mr_str *ret_text) {
    if (mr_is_ok(err)) {
        *ret_text = mr_arena_str(arena, mr_buf_view(text));
        err = mr_str_is_absent(*ret_text) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    if (text->ptr != NULL) {
        crypto_wipe(text->ptr, text->cap);
    }
    mr_buf_reset(text);
    return err;
}

/* New keys, with the present ones of the row to sign along. */
static mr_err make_form(struct control *control, uint32_t number, mr_wall now,
                        uint8_t form[static SIGNING_FORM_BYTES]) {
    mr_secret present = MR_SECRET_NONE;
    struct query query =
        query_begin(&control->store, "SELECT signing_sealed FROM destinations WHERE number = ?1");
    query_i64(&query, number);
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        err = destination_box_open(control, &query, 0, number, "signing_sealed", &present);
    }
    mr_err ended = query_end(&query);
    if (mr_is_ok(err)) {
        err = mr_is_err(ended) ? ended
                               : signing_form_make(mr_secret_reveal(present),
                                                   mr_wall_ms(now) + OVERLAP_MS, form);
    }
    mr_secret_unref(&present);
    return err;
}

static mr_err store_signing(struct control *control, uint32_t number, mr_str form, mr_wall now) {
    mr_buf box;
    mr_buf_init(&box, SIGNING_FORM_BYTES + SEAL_OVERHEAD);
    mr_err err = destination_box_make(control, number, "signing_sealed", form, &box);
    if (mr_is_ok(err)) {
        struct query query =
            query_begin(&control->store, "UPDATE destinations SET signing_sealed = ?1,"
                                         " version = version + 1, updated_ms = ?2"
                                         " WHERE number = ?3");
        query_blob(&query, mr_buf_view(&box));
        query_i64(&query, mr_wall_ms(now));
        query_i64(&query, number);
        err = query_run(&query);
    }
    mr_buf_done(&box);
    MR_TRY(err);
    return change_mark(control, MODEL_DESTINATION, number);
}

static mr_err signing_inner(struct control *control, uint32_t account, mr_str id, mr_wall now,
                            mr_arena *arena, uint8_t form[static SIGNING_FORM_BYTES],
                            mr_str *ret_secret, mr_str *ret_public_key,
                            struct refusal *ret_refusal) {
    struct destination_view view;
    MR_TRY(destination_find(control, account, id, arena, &view, ret_refusal));
    if (view.kind != MODEL_KIND_WEBHOOK) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "Destinations of kind %.*s take no signatures: only webhooks do.",
                      MR_FMT(model_kind_name(view.kind)));
    }
    MR_TRY(make_form(control, view.number, now, form));
    MR_TRY(store_signing(control, view.number, mr_str_of((const char *)form, SIGNING_FORM_BYTES),
                         now));
    MR_TRY(audit_add(control, &(struct audit_entry){.account = account,
                                                    .action = "destination.signing-secret",
                                                    .object = view.id,
                                                    .detail = MR_STR(AUDIT_SECRET_SHOWN)}));
    mr_buf text;
    mr_buf_init(&text, 128);
    mr_err err = keep_text(signing_secret_text(form, &text), &text, arena, ret_secret);
    if (mr_is_ok(err)) {
        err = keep_text(signing_public_text(control->options.slab, form, &text), &text, arena,
                        ret_public_key);
    }
    mr_buf_done(&text);
    return err;
}

mr_err destinations_signing_secret(struct control *control, uint32_t account, mr_str id,
                                   mr_wall now, mr_arena *arena, mr_str *ret_secret,
                                   mr_str *ret_public_key, struct refusal *ret_refusal) {
    uint8_t form[SIGNING_FORM_BYTES] = {0};
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control,
                         signing_inner(control, account, id, now, arena, form, ret_secret,
                                       ret_public_key, ret_refusal),
                         ret_refusal);
    }
    crypto_wipe(form, sizeof form);
    return err;
}
