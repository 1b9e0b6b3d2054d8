/* Private to control/settings: what its chapters share. */
#ifndef MR_CONTROL_SETTINGS_PARTS_H
#define MR_CONTROL_SETTINGS_PARTS_H

#include "control/refusal.h"
#include "json/tape.h"
#include "json/write.h"
#include "model/destination.h"

/* ---- delivery.c: options that every kind has ---- */

/* A kind's own bounds. */
struct settings_limits {
    uint32_t batch_max;
    uint32_t batch_bytes_max;
};
/* Of the settings object; absent members leave *out as it is. 20400. */
mr_err settings_parse_delivery(json_value settings, const struct settings_limits *limits,
                               struct model_delivery *out, struct refusal *ret_refusal);
/* Its members, into an object that is open. */
void settings_write_delivery(const struct model_delivery *delivery, json_out *out);

/* ---- kinesis.c ---- */

/* As settings_parse; nothing in it is a secret. Without external_id one is made. */
mr_err settings_parse_kinesis(json_value settings, mr_arena *arena, struct model_settings *out,
                              struct refusal *ret_refusal);
void settings_write_kinesis(const struct model_settings *settings, json_out *out);

#endif
