/* Destinations: their life, from creation through changes to deletion.
 *
 * A row holds the public settings as JSON, the write-only ones and the signing keys as sealed
 * boxes. The chapters beside it: draft.c judges a body, rows.c reads rows and lists, object.c makes
 * the snapshot's objects of them, signing.c makes keys, told.c takes what dispatch and the keeper
 * tell, claims.c keeps external ids apart, shape.c writes JSON.
 *
 * Deleting leaves the row with deleted_ms set: its number and id stay known to whatever names them
 * in the journal. The sealed columns go at once. */
#include "control/destinations.h"

#include "control/destinations/parts.h"
#include "os/clock.h"

/* ---- create ---- */

static mr_err insert_row(struct control *control, uint32_t account, uint32_t number, mr_str id,
                         const struct destination_draft *draft, mr_str settings, mr_str box) {
    struct query query = query_begin(
        &control->store,
        "INSERT INTO destinations(number, id, account, name, description, kind, status,"
        " disabled_by, disabled_ms, settings, private_sealed, metadata, version, created_ms,"
        " updated_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?13, ?6, ?7, ?8, ?9, ?10, ?11, 1, ?12, ?12)");
    bool is_disabled = draft->status == MODEL_DISABLED;
    int64_t now_ms = mr_wall_ms(os_wall_now());
    query_i64(&query, number);
    query_text(&query, id);
    query_i64(&query, account);
    query_text(&query, draft->name);
    query_text(&query, draft->description);
    query_i64(&query, (int64_t)draft->status);
    query_i64(&query, is_disabled ? MODEL_DISABLED_BY_CALL : MODEL_DISABLED_BY_NOBODY);
    query_i64(&query, is_disabled ? now_ms : 0);
    query_text(&query, settings);
    query_blob(&query, box.len == 0 ? MR_STR_NONE : box);
    query_text(&query, draft->metadata);
    query_i64(&query, now_ms);
    query_i64(&query, (int64_t)draft->settings.kind);
    return query_run(&query);
}

static mr_err store_new(struct control *control, uint32_t account,
                        const struct destination_draft *draft, mr_arena *arena,
                        struct destination_view *ret_view, struct refusal *ret_refusal) {
    uint32_t number = 0;
    char id[CRYPTO_ID_SIZE];
    mr_buf settings;
    mr_buf box;
    MR_TRY(destination_claim(control, account, draft, ret_refusal));
    MR_TRY(number_take(control, "destination", &number));
    crypto_id_make(MR_STR("dst_"), os_wall_now(), id);
    mr_buf_init(&settings, DOCUMENT_MAX);
    mr_buf_init(&box, DOCUMENT_MAX);
    mr_err err = destination_draft_encode(control, number, draft, &settings, &box);
    if (mr_is_ok(err)) {
        err = insert_row(control, account, number, mr_str_c(id), draft, mr_buf_view(&settings),
                         mr_buf_view(&box));
    }
    mr_buf_done(&settings);
    mr_buf_done(&box);
    MR_TRY(err);
    MR_TRY(change_mark(control, MODEL_DESTINATION, number));
    MR_TRY(destination_find(control, account, mr_str_c(id), arena, ret_view, ret_refusal));
    return destination_tell(control, account, "destination.create", NULL, ret_view, false);
}

static mr_err create_inner(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct destination_view *ret_view, struct refusal *ret_refusal) {
    struct destination_draft draft = {0};
    mr_err err = destination_draft_read(control, body, arena, &draft, ret_refusal);
    if (mr_is_ok(err)) {
        err = store_new(control, account, &draft, arena, ret_view, ret_refusal);
    }
    destination_draft_done(&draft);
    return err;
}

mr_err destinations_create(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct destination_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, create_inner(control, account, body, arena, ret_view, ret_refusal),
                      ret_refusal);
}

/* ---- change ---- */

static mr_err update_row(struct control *control, const struct destination_view *view,
                         const struct destination_draft *draft, mr_str settings, mr_str box) {
    struct query query = query_begin(
        &control->store,
        "UPDATE destinations SET name = ?1, description = ?2, status = ?3, disabled_by = ?4,"
        " disabled_ms = ?5, settings = ?6, private_sealed = ?7, metadata = ?8,"
        " version = version + 1, updated_ms = ?9 WHERE number = ?10");
    int64_t now_ms = mr_wall_ms(os_wall_now());
    enum model_disabled_by by = MODEL_DISABLED_BY_NOBODY;
    int64_t disabled_ms = 0;
    if (draft->status == MODEL_DISABLED) {
        bool was = view->status == MODEL_DISABLED;
        by = was ? view->disabled_by : MODEL_DISABLED_BY_CALL;
        disabled_ms = was ? view->disabled_ms : now_ms;
    }
    query_text(&query, draft->name);
    query_text(&query, draft->description);
    query_i64(&query, (int64_t)draft->status);
    query_i64(&query, (int64_t)by);
    query_i64(&query, disabled_ms);
    query_text(&query, settings);
    query_blob(&query, box.len == 0 ? MR_STR_NONE : box);
    query_text(&query, draft->metadata);
    query_i64(&query, now_ms);
    query_i64(&query, view->number);
    return query_run(&query);
}

static mr_err store_changed(struct control *control, const struct destination_view *view,
                            const struct destination_draft *draft) {
    mr_buf settings;
    mr_buf box;
    mr_buf_init(&settings, DOCUMENT_MAX);
    mr_buf_init(&box, DOCUMENT_MAX);
    mr_err err = destination_draft_encode(control, view->number, draft, &settings, &box);
    if (mr_is_ok(err)) {
        err = update_row(control, view, draft, mr_buf_view(&settings), mr_buf_view(&box));
    }
    mr_buf_done(&settings);
    mr_buf_done(&box);
    MR_TRY(err);
    return view->status == MODEL_DISABLED && draft->status != MODEL_DISABLED
               ? change_mark_enabling(control, view->number)
               : change_mark(control, MODEL_DESTINATION, view->number);
}

static mr_err check_version(uint32_t if_version, uint32_t version, struct refusal *ret_refusal) {
    return if_version == 0 || if_version == version
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_PRECONDITION,
                        "The destination was changed meanwhile.");
}

static mr_err patch_inner(struct control *control, uint32_t account,
                          const struct destination_view *before, mr_str body, mr_arena *arena,
                          bool *ret_hides_change, struct refusal *ret_refusal) {
    struct destination_draft draft = {0};
    mr_err err = destination_draft_patch(control, before, body, arena, &draft, ret_refusal);
    if (mr_is_ok(err)) {
        err = destination_claim(control, account, &draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = store_changed(control, before, &draft);
    }
    *ret_hides_change = draft.hides_change;
    destination_draft_done(&draft);
    return err;
}

mr_err destinations_patch(struct control *control, uint32_t account, mr_str id, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct destination_view *ret_view,
                          enum model_destination_status *ret_before, int64_t *ret_disabled_ms,
                          struct refusal *ret_refusal) {
    struct destination_view before;
    bool hides_change = false;
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = destination_find(control, account, id, arena, &before, ret_refusal);
    if (mr_is_ok(err)) {
        err = check_version(if_version, before.version, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = patch_inner(control, account, &before, body, arena, &hides_change, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = destination_find(control, account, id, arena, ret_view, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = destination_tell(control, account, "destination.change", &before, ret_view,
                               hides_change);
    }
    err = change_end(control, err, ret_refusal);
    if (mr_is_ok(err) && ret_before != NULL) {
        *ret_before = before.status;
    }
    if (mr_is_ok(err) && ret_disabled_ms != NULL) {
        *ret_disabled_ms = before.disabled_ms;
    }
    return err;
}

/* ---- delete ---- */

static mr_err refuse_in_use(const struct destination_view *view, struct refusal *ret_refusal) {
    mr_buf list;
    mr_buf_init(&list, REFUSAL_MESSAGE_SIZE - 200);
    for (size_t i = 0; i < view->n_rules; i++) {
        size_t before = list.len;
        if (mr_is_err(
                mr_buf_printf(&list, "%s%.*s", i > 0 ? ", " : "", MR_FMT(view->rule_ids[i])))) {
            mr_buf_truncate(&list, before);
            break;
        }
    }
    mr_err err = refuse(ret_refusal, REFUSAL_DESTINATION_IN_USE,
                        "%zu streaming rule%s to this destination: %.*s.", view->n_rules,
                        view->n_rules == 1 ? " leads" : "s lead", MR_FMT(mr_buf_view(&list)));
    mr_buf_done(&list);
    return err;
}

static mr_err delete_inner(struct control *control, uint32_t account, mr_str id,
                           uint32_t if_version, mr_arena *arena, uint32_t *ret_number,
                           struct refusal *ret_refusal) {
    struct destination_view view;
    MR_TRY(destination_find(control, account, id, arena, &view, ret_refusal));
    MR_TRY(check_version(if_version, view.version, ret_refusal));
    if (view.n_rules > 0) {
        return refuse_in_use(&view, ret_refusal);
    }
    struct query query =
        query_begin(&control->store, "UPDATE destinations SET deleted_ms = ?1, settings = '{}',"
                                     " private_sealed = NULL, signing_sealed = NULL,"
                                     " last_test = NULL, metadata = '{}', version = version + 1"
                                     " WHERE number = ?2");
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, view.number);
    MR_TRY(query_run(&query));
    MR_TRY(destination_tell(control, account, "destination.delete", &view, NULL, false));
    *ret_number = view.number;
    return change_mark(control, MODEL_DESTINATION, view.number);
}

mr_err destinations_delete(struct control *control, uint32_t account, mr_str id,
                           uint32_t if_version, uint32_t *ret_number, struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init(&arena, DOCUMENT_MAX * 4);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(
            control,
            delete_inner(control, account, id, if_version, &arena, ret_number, ret_refusal),
            ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}
