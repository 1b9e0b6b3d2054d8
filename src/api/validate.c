/* Validation at ingest. See validate.h.
 *
 * `data` lies on the call's tape already, so judging it costs no second reading. Where it came as
 * text (binary form, text/…) it is a JSON string that stands on no tape: it is read for this alone.
 * An event whose data is binary or absent cannot keep a contract of JSON. */
#include "api/validate.h"

#define POINTER_MAX 1024
#define DEPTH       64

void validator_done(struct validator *validator) {
    schema_run_free(validator->run);
    if (validator->has_tape) {
        json_tape_done(&validator->tape);
    }
    *validator = (struct validator){0};
}

static mr_err prepare(struct validator *validator) {
    if (!validator->has_tape) {
        json_tape_init(&validator->tape, DEPTH);
        validator->has_tape = true;
    }
    return validator->run != NULL ? MR_OK : schema_run_new(&validator->run);
}

/* The data as a value; absent where it is no JSON. */
static mr_err data_of(struct validator *validator, const struct event *event,
                      json_value *ret_data) {
    *ret_data = event->data_value;
    if (event->data_kind != EVENT_DATA_JSON || !json_is_absent(event->data_value)) {
        return MR_OK;
    }
    MR_TRY(json_tape_read(&validator->tape, event->data, NULL));
    *ret_data = json_root(&validator->tape);
    return MR_OK;
}

static void tell(const struct schema_error *error, uint32_t index, bool has_offset,
                 struct event_errors *errors) {
    char memory[POINTER_MAX];
    mr_buf pointer = {.ptr = memory, .cap = sizeof memory, .max = sizeof memory};
    mr_ignore(mr_buf_str(&pointer, MR_STR("/data")), "it fits");
    mr_ignore(mr_buf_str(&pointer, error->instance), "too deep to be told: /data itself");
    event_errors_add(errors, 400, index, mr_buf_view(&pointer),
                     has_offset ? (int64_t)error->offset : EVENT_OFFSET_NONE, error->rule,
                     "%.*s (schema: #%.*s)", MR_FMT(error->message), MR_FMT(error->schema));
}

mr_err validate_event(struct validator *validator, const struct catalogue *catalogue,
                      const struct event *event, const struct event_resolution *resolution,
                      uint32_t index, struct event_errors *errors, bool *ret_valid) {
    *ret_valid = true;
    if (resolution->form != EVENT_SCHEMA_OWN) {
        return MR_OK;
    }
    const struct catalogue_schema *schema =
        catalogue_schema_find(catalogue, resolution->schema, resolution->version);
    if (schema == NULL || schema->compiled == NULL) {
        return MR_OK;
    }
    if (validator->n_steps > VALIDATE_STEPS_CALL_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    MR_TRY(prepare(validator));
    json_value data;
    MR_TRY(data_of(validator, event, &data));
    if (json_is_absent(data)) {
        *ret_valid = false;
        if (errors != NULL) {
            event_errors_add(errors, 400, index, MR_STR("/data"), event->offset, "data",
                             "The event's schema wants JSON data; it has none.");
        }
        return MR_OK;
    }
    const struct schema_error *found = NULL;
    size_t n = 0;
    *ret_valid = schema_validate(schema->compiled, data, validator->run,
                                 errors != NULL ? &found : NULL, errors != NULL ? &n : NULL);
    validator->n_steps += schema_run_steps(validator->run);
    for (size_t i = 0; i < n; i++) {
        tell(&found[i], index, !json_is_absent(event->data_value), errors);
    }
    return MR_OK;
}
