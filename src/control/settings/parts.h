/* Private to control/settings: what its chapters share. */
#ifndef MR_CONTROL_SETTINGS_PARTS_H
#define MR_CONTROL_SETTINGS_PARTS_H

#include "control/shape.h"
#include "json/tape.h"
#include "json/write.h"
#include "model/destination.h"

/* ---- delivery.c: options that every kind has ---- */

#define RETRY_SCHEMA                                                                               \
    "{\"description\":\"When an attempt that failed is made again\",\"anyOf\":["                   \
    "{\"enum\":[\"kore\",\"standard\",null]},{\"type\":\"object\",\"properties\":{\"delays_ms\":"  \
    "{\"type\":\"array\",\"maxItems\":" TEXT_OF(                                                   \
        MODEL_RETRY_DELAYS_MAX) ",\"items\":"                                                      \
                                "{\"type\":\"integer\",\"minimum\":0,\"maximum\":" TEXT_OF(        \
                                    MODEL_RETRY_DELAY_MS_MAX) "}}},"                               \
                                                              "\"required\":[\"delays_ms\"],"      \
                                                              "\"additionalProperties\":false}]}"

/* Their rows in a kind's shape, with its own bounds. */
#define SETTINGS_DELIVERY(batch_most, bytes_most)                                                  \
    {"batch_max", SHAPE_NUMBER, 0, 1, batch_most, .what = "Events of one request"},                \
        {"batch_bytes_max",     SHAPE_NUMBER, 0,                                                   \
         MODEL_BATCH_BYTES_MIN, bytes_most,   .what = "Bytes of one request's body"},              \
        {"linger_ms", SHAPE_NUMBER,        0,                                                      \
         0,           MODEL_LINGER_MS_MAX, .what = "How long the oldest event waits for others"},  \
        {"timeout_ms",                                                                             \
         SHAPE_NUMBER,                                                                             \
         0,                                                                                        \
         MODEL_TIMEOUT_MS_MIN,                                                                     \
         MODEL_TIMEOUT_MS_MAX,                                                                     \
         .what = "Of one request, from connecting to the answer's head"},                          \
        {"retry_policy", SHAPE_OWN, 0, .schema = RETRY_SCHEMA},                                    \
        {"rate_per_second", SHAPE_NUMBER,                                                          \
         SHAPE_NULLABLE,    1,                                                                     \
         MODEL_RATE_MAX,    .what = "Requests a second at most; null: as many as there are"},      \
    {                                                                                              \
        "concurrency_max", SHAPE_NUMBER, 0, 1, MODEL_CONCURRENCY_MAX,                              \
            .what = "Requests under way at once"                                                   \
    }
/* Of an object that its shape was asked about; absent members leave *out as it is. 20400. */
mr_err settings_parse_delivery(json_value settings, struct model_delivery *out,
                               struct refusal *ret_refusal);
/* Its members, into an object that is open. */
void settings_write_delivery(const struct model_delivery *delivery, json_out *out);

/* ---- kinesis.c ---- */

extern const struct shape settings_kinesis_shape;
/* As settings_parse; nothing in it is a secret. Without external_id one is made. */
mr_err settings_parse_kinesis(json_value settings, mr_arena *arena, struct model_settings *out,
                              struct refusal *ret_refusal);
void settings_write_kinesis(const struct model_settings *settings, json_out *out);

#endif
