/* The shipped catalogue. See shipped.h.
 *
 * Names and schemas are KORE's public documentation of Super SIM connection events and of the test
 * event; the files stand in data/schemas/. Examples there are written with the default prefix, as
 * they are also documentation; an installation with another prefix gets them re-written. */
#include "event/shipped.h"

#include "embed/schemas.h"
#include "json/tape.h"
#include "json/write.h"

#define TEXT(s)                                                                                    \
    { s, sizeof s - 1 }
#define FILE_TEXT(symbol)                                                                          \
    { (const char *)embed_schemas_##symbol, sizeof embed_schemas_##symbol }

static const struct shipped_schema schemas[SHIPPED_SCHEMAS_LEN] = {
    {TEXT("test"), 1, FILE_TEXT(test_1_schema_json), FILE_TEXT(test_1_example_json)},
    {TEXT("SuperSim.ConnectionEvent"), 1, FILE_TEXT(SuperSim_ConnectionEvent_1_schema_json),
     FILE_TEXT(SuperSim_ConnectionEvent_1_example_json)},
    {TEXT("SuperSim.ConnectionEvent"), 2, FILE_TEXT(SuperSim_ConnectionEvent_2_schema_json),
     FILE_TEXT(supersim_connection_data_session_ended_example_json)},
};

#define SUPER_SIM(suffix, symbol, prose)                                                           \
    {                                                                                              \
        .prefixed = true, .name = TEXT("supersim.connection." suffix),                             \
        .product = TEXT("Super SIM"), .product_group = TEXT("Connectivity"),                       \
        .description = TEXT(prose), .status = TEXT("available"),                                   \
        .schema = TEXT("SuperSim.ConnectionEvent"),                                                \
        .example = FILE_TEXT(supersim_connection_##symbol##_example_json)                          \
    }

static const struct shipped_type types[SHIPPED_TYPES_LEN] = {
    {.prefixed = false,
     .name = TEXT("com.kore.eventstreams.test.event"),
     .product = TEXT("Event Streams"),
     .product_group = TEXT("Event Streams"),
     .description = TEXT("Sent to test a destination."),
     .status = TEXT("available"),
     .schema = TEXT("test"),
     .example = FILE_TEXT(test_1_example_json)},
    SUPER_SIM("attachment.accepted", attachment_accepted,
              "A Super SIM attached to a cellular network."),
    SUPER_SIM("attachment.rejected", attachment_rejected,
              "A Super SIM's attempt to attach to a cellular network was rejected."),
    SUPER_SIM("attachment.failed", attachment_failed,
              "A Super SIM's attempt to attach to a cellular network failed."),
    SUPER_SIM("data-session.started", data_session_started, "A Super SIM began a data session."),
    SUPER_SIM("data-session.updated", data_session_updated,
              "A data session reported the data used since its last report."),
    SUPER_SIM("data-session.ended", data_session_ended, "A data session ended."),
    SUPER_SIM("data-session.failed", data_session_failed,
              "A Super SIM could not begin a data session."),
};

const struct shipped_type *shipped_type_at(size_t index) {
    MR_ASSERT(index < SHIPPED_TYPES_LEN);
    return &types[index];
}

const struct shipped_schema *shipped_schema_at(size_t index) {
    MR_ASSERT(index < SHIPPED_SCHEMAS_LEN);
    return &schemas[index];
}

mr_err shipped_type_name(const struct shipped_type *type, mr_str prefix, mr_buf *out) {
    size_t before = out->len;
    mr_err err = MR_OK;
    if (type->prefixed) {
        err = mr_buf_str(out, prefix);
        err = mr_is_ok(err) ? mr_buf_byte(out, '.') : err;
    }
    err = mr_is_ok(err) ? mr_buf_str(out, type->name) : err;
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    return err;
}

/* Writes a top-level string of an example; a type name with the default prefix gets the other. */
static mr_err write_value(json_out *out, json_value value, mr_str prefix, mr_buf *text) {
    mr_str head = MR_STR(SHIPPED_PREFIX_DEFAULT ".");
    mr_buf_reset(text);
    if (json_kind_of(value) == JSON_STRING) {
        MR_TRY(json_string_append(value, text));
    }
    mr_str old = mr_buf_view(text);
    if (!mr_str_starts(old, head)) {
        json_out_value(out, value);
        return MR_OK;
    }
    mr_buf renamed;
    mr_buf_init(&renamed, prefix.len + old.len);
    mr_err err = mr_buf_str(&renamed, prefix);
    err = mr_is_ok(err) ? mr_buf_str(&renamed, mr_str_slice(old, head.len - 1, old.len)) : err;
    if (mr_is_ok(err)) {
        json_out_str(out, mr_buf_view(&renamed));
    }
    mr_buf_done(&renamed);
    return err;
}

static mr_err write_example(json_value example, mr_str prefix, mr_buf *text, json_out *out) {
    json_out_object(out);
    for (json_iter it = json_iter_of(example); json_next(&it);) {
        mr_buf_reset(text);
        MR_TRY(json_string_append(it.name, text));
        json_out_name(out, mr_buf_view(text));
        MR_TRY(write_value(out, it.value, prefix, text));
    }
    json_out_end(out);
    return json_out_finish(out);
}

mr_err shipped_example(mr_str example, mr_str prefix, mr_buf *out) {
    size_t before = out->len;
    json_tape tape;
    mr_buf text;
    json_out writer;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&text, example.len);
    json_out_init(&writer, out);
    mr_err err = json_tape_read(&tape, example, NULL);
    if (mr_is_ok(err)) {
        err = write_example(json_root(&tape), prefix, &text, &writer);
    }
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    json_tape_done(&tape);
    mr_buf_done(&text);
    return err;
}
