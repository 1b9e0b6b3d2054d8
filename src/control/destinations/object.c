/* Rows as objects of the snapshot: settings, write-only ones and signing keys read back by the
 * parser that judges bodies. */
#include "control/destinations/parts.h"

#include "control/settings.h"
#include "model/signing.h"

/* Reads settings text with the private form (absent: none). */
static mr_err parse_stored(struct control *control, enum model_destination_kind kind,
                           mr_str settings, mr_secret private_form, mr_arena *arena,
                           struct model_settings *ret_settings) {
    static const struct body_place place = {.path = "settings.", .wrong = REFUSAL_MALFORMED};
    json_tape tape;
    json_tape stored;
    struct refusal refusal;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    json_tape_init(&stored, JSON_DEPTH_DEFAULT);
    mr_err err = json_tape_read(&tape, settings, NULL);
    if (mr_is_ok(err) && !mr_secret_is_none(private_form)) {
        err = json_tape_read(&stored, mr_secret_reveal(private_form), NULL);
    }
    if (mr_is_ok(err)) {
        err = shape_check(json_root(&tape), settings_shapes[kind], SHAPE_CREATE, &place, &refusal);
    }
    if (mr_is_ok(err)) {
        struct settings_context context = {
            .options = &control->options,
            .has_signing = true,
            .is_trusted = true,
            .kind = kind,
            .stored = json_root(&stored),
        };
        err = settings_parse(&context, json_root(&tape), arena, ret_settings, &refusal);
    }
    if (mr_err_is(err, CONTROL_E_REFUSED)) {
        mr_error(control->options.log, "stored_settings_invalid",
                 mr_kv_c("reason", refusal.message));
        err = MR_ERR(MR_E_INVALID);
    }
    json_tape_done(&tape);
    json_tape_done(&stored);
    return err;
}

/* The settings of the row under query's columns (settings, private, signing, kind), secrets
 * included. */
static mr_err read_settings(struct control *control, struct query *query, int first,
                            uint32_t number, mr_arena *arena, struct model_settings *ret_settings) {
    mr_secret private_form = MR_SECRET_NONE;
    mr_secret signing = MR_SECRET_NONE;
    mr_err err =
        destination_box_open(control, query, first + 1, number, "private_sealed", &private_form);
    if (mr_is_ok(err)) {
        err = destination_box_open(control, query, first + 2, number, "signing_sealed", &signing);
    }
    if (mr_is_ok(err)) {
        err = parse_stored(control, (enum model_destination_kind)query_col_i64(query, first + 3),
                           query_col_bytes(query, first), private_form, arena, ret_settings);
        if (mr_is_ok(err)) {
            err = mr_secret_is_none(signing)
                      ? MR_OK
                      : signing_form_read(control->options.slab, mr_secret_reveal(signing),
                                          &ret_settings->webhook.signing);
            if (mr_is_err(err)) {
                model_settings_release(ret_settings);
            }
        }
    }
    mr_secret_unref(&private_form);
    mr_secret_unref(&signing);
    return err;
}

static mr_err make_object(struct control *control, struct query *query, uint32_t number,
                          struct model_object **ret_object) {
    mr_arena arena;
    mr_arena_init(&arena, DOCUMENT_MAX);
    struct model_settings settings;
    mr_err err = read_settings(control, query, 6, number, &arena, &settings);
    if (mr_is_err(err)) {
        mr_arena_done(&arena);
        return err;
    }
    struct model_destination *destination =
        model_destination_new(number, query_col_bytes(query, 0), (uint32_t)query_col_i64(query, 1));
    err = MR_ERR(MR_E_NOMEM);
    if (destination != NULL &&
        model_text(&destination->object, query_col_bytes(query, 2), &destination->name)) {
        destination->status = (enum model_destination_status)query_col_i64(query, 3);
        destination->disabled_by = (enum model_disabled_by)query_col_i64(query, 4);
        destination->version = (uint32_t)query_col_i64(query, 5);
        err = model_destination_set(destination, &settings);
    }
    model_settings_release(&settings);
    mr_arena_done(&arena);
    if (mr_is_err(err)) {
        model_object_unref(destination == NULL ? NULL : &destination->object);
        return err;
    }
    *ret_object = &destination->object;
    return MR_OK;
}

mr_err destination_load(struct control *control, uint32_t number,
                        struct model_object **ret_object) {
    struct query query = query_begin(
        &control->store,
        "SELECT id, account, name, status, disabled_by, version, settings, private_sealed,"
        " signing_sealed, kind FROM destinations WHERE number = ?1 AND deleted_ms IS NULL");
    query_i64(&query, number);
    mr_err err = MR_OK;
    *ret_object = NULL;
    if (query_row(&query)) {
        err = make_object(control, &query, number, ret_object);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}
