/* Judging a body.
 *
 * Creation and change go the same way: a whole document is made (for a change by applying the merge
 * patch to the present one), parsed and ranged by one parser; so nothing can be reached by PATCH
 * that POST would refuse. */
#include "control/destinations/parts.h"

#include "control/settings.h"
#include "json/write.h"

const char *const destination_kind_names[DESTINATION_KINDS] = {"webhook", "kinesis"};
const char *const destination_status_names[DESTINATION_STATUSES] = {"active", "failed", "disabled"};

static const struct shape_member members[] = {
    {"name", SHAPE_TEXT, SHAPE_NEEDED, 1, DESTINATION_NAME_MAX, .what = "For people"},
    {"description", SHAPE_LINES, 0, 0, DESTINATION_DESCRIPTION_MAX, .what = "For people"},
    {"kind", SHAPE_ENUM, SHAPE_NEEDED, .names = destination_kind_names,
     .n_names = DESTINATION_KINDS, .what = "What it leads to; never changes"},
    {"settings", SHAPE_CHOICE, SHAPE_NEEDED, .n_names = DESTINATION_KINDS,
     .choices = settings_shapes, .by = "kind", .what = "Of its kind"},
    {"status", SHAPE_ENUM, 0, .names = destination_status_names, .n_names = DESTINATION_STATUSES,
     .what = "active or disabled; failed may stand where it is failed already"},
    {"metadata", SHAPE_OBJECT, 0, .max = METADATA_BYTES_MAX, .what = "The caller's own"},
};
const struct shape destination_shape = {"Destination", members, sizeof members / sizeof members[0]};

static const struct body_place place = {.path = "", .wrong = REFUSAL_MALFORMED};

void destination_draft_done(struct destination_draft *draft) {
    model_settings_release(&draft->settings);
}

/* ---- a whole document ---- */

/* status in a call: active or disabled; failed stays what it is when it is sent back unchanged. */
static mr_err parse_status(json_value root, enum model_destination_status before,
                           struct destination_draft *draft, struct refusal *ret_refusal) {
    uint32_t status = (uint32_t)before;
    shape_enum(root, &destination_shape, "status", &status);
    if (status == (uint32_t)MODEL_FAILED && before != MODEL_FAILED) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "status must be one of: active, disabled (failed is set by tests and "
                      "attempts).");
    }
    draft->status = (enum model_destination_status)status;
    return MR_OK;
}

/* A whole document to a draft. before: the row it is made of; NULL for a new one. */
static mr_err parse_document(struct settings_context *context, json_value root,
                             const struct destination_view *before, mr_arena *arena,
                             struct destination_draft *draft, struct refusal *ret_refusal) {
    uint32_t kind = before != NULL ? (uint32_t)before->kind : 0;
    shape_enum(root, &destination_shape, "kind", &kind);
    if (before != NULL && kind != (uint32_t)before->kind) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "kind cannot be changed: create another destination.");
    }
    MR_TRY(shape_check(root, &destination_shape, SHAPE_CREATE, &place, ret_refusal));
    context->kind = (enum model_destination_kind)kind;
    draft->description = MR_STR("");
    draft->metadata = MR_STR("{}");
    MR_TRY(shape_text(root, "name", arena, &draft->name));
    MR_TRY(shape_text(root, "description", arena, &draft->description));
    MR_TRY(shape_object(root, "metadata", arena, &draft->metadata));
    MR_TRY(parse_status(root, before != NULL ? before->status : MODEL_ACTIVE, draft, ret_refusal));
    return settings_parse(context, json_find(root, MR_STR("settings")), arena, &draft->settings,
                          ret_refusal);
}

mr_err destination_draft_read(struct control *control, mr_str body, mr_arena *arena,
                              struct destination_draft *draft, struct refusal *ret_refusal) {
    json_tape tape;
    struct settings_context context = {.options = &control->options};
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = parse_document(&context, json_root(&tape), NULL, arena, draft, ret_refusal);
    }
    json_tape_done(&tape);
    return err;
}

/* ---- a change ---- */

/* The present row as the document that a merge patch is applied to. */
static mr_err write_document(const struct destination_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_str(&writer, "description", view->description);
    json_out_member_str(&writer, "kind", model_kind_name(view->kind));
    json_out_member_raw(&writer, "settings", view->settings_json);
    json_out_member_str(&writer, "status", model_status_name(view->status));
    json_out_member_raw(&writer, "metadata", view->metadata_json);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

/* The private form and whether signing keys are there, for judging the changed document. */
static mr_err read_stored(struct control *control, uint32_t number, mr_secret *ret_private,
                          bool *ret_has_signing) {
    struct query query =
        query_begin(&control->store, "SELECT private_sealed, signing_sealed IS NOT NULL"
                                     " FROM destinations WHERE number = ?1");
    query_i64(&query, number);
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        *ret_has_signing = query_col_i64(&query, 1) != 0;
        err = destination_box_open(control, &query, 0, number, "private_sealed", ret_private);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

/* Whether the draft's private form is another than the stored one. */
static mr_err compare_private(const struct destination_draft *draft, mr_secret stored,
                              bool *ret_differs) {
    mr_buf plain;
    mr_buf_init_private(&plain, DOCUMENT_MAX);
    bool has = false;
    mr_err err = settings_write_private(&draft->settings, &plain, &has);
    if (mr_is_ok(err)) {
        *ret_differs =
            has == mr_secret_is_none(stored) || (has && !mr_secret_eq(stored, mr_buf_view(&plain)));
    }
    mr_buf_done(&plain);
    return err;
}

/* The merged document to a draft. */
static mr_err parse_changed(struct control *control, const struct destination_view *view,
                            mr_str document, mr_arena *arena, struct destination_draft *draft,
                            struct refusal *ret_refusal) {
    mr_secret private_form = MR_SECRET_NONE;
    struct settings_context context = {.options = &control->options};
    json_tape tape;
    json_tape stored;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    json_tape_init(&stored, JSON_DEPTH_DEFAULT);
    mr_err err = read_stored(control, view->number, &private_form, &context.has_signing);
    if (mr_is_ok(err) && !mr_secret_is_none(private_form)) {
        err = json_tape_read(&stored, mr_secret_reveal(private_form), NULL);
        context.stored = json_root(&stored);
    }
    if (mr_is_ok(err)) {
        err = json_tape_read(&tape, document, NULL);
    }
    if (mr_is_ok(err)) {
        err = parse_document(&context, json_root(&tape), view, arena, draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = compare_private(draft, private_form, &draft->hides_change);
    }
    json_tape_done(&tape);
    json_tape_done(&stored);
    mr_secret_unref(&private_form);
    return err;
}

mr_err destination_draft_patch(struct control *control, const struct destination_view *before,
                               mr_str body, mr_arena *arena, struct destination_draft *draft,
                               struct refusal *ret_refusal) {
    mr_buf document;
    mr_buf_init_private(&document, DOCUMENT_MAX); /* a patch may carry header values, keys */
    mr_buf present;
    mr_buf_init(&present, DOCUMENT_MAX);
    mr_err err = write_document(before, &present);
    if (mr_is_ok(err)) {
        err = shape_merge(mr_buf_view(&present), body, &destination_shape, &document, ret_refusal);
    }
    mr_buf_done(&present);
    if (mr_is_ok(err)) {
        err = parse_changed(control, before, mr_buf_view(&document), arena, draft, ret_refusal);
    }
    mr_buf_done(&document);
    return err;
}

/* ---- to the store ---- */

mr_err destination_draft_encode(struct control *control, uint32_t number,
                                const struct destination_draft *draft, mr_buf *public_form,
                                mr_buf *box) {
    mr_buf plain;
    mr_buf_init_private(&plain, DOCUMENT_MAX);
    bool has = false;
    mr_err err = settings_write_public(&draft->settings, public_form);
    if (mr_is_ok(err)) {
        err = settings_write_private(&draft->settings, &plain, &has);
    }
    if (mr_is_ok(err) && has) {
        err = destination_box_make(control, number, "private_sealed", mr_buf_view(&plain), box);
    }
    mr_buf_done(&plain);
    return err;
}
