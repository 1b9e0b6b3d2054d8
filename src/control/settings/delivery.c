/* How requests are made and sent, whatever the kind of destination: batches, linger, timeout,
 * retries, rate, concurrency. */
#include "control/settings/parts.h"

static mr_err parse_delays(json_value delays, struct model_retry *retry,
                           struct refusal *ret_refusal) {
    static const struct body_place inside = {.path = "settings.retry_policy.",
                                             .wrong = REFUSAL_MALFORMED};
    static const char *const members[] = {"delays_ms"};
    MR_TRY(body_only(delays, &inside, members, 1, ret_refusal));
    MR_TRY(body_needs(delays, &inside, members, 1, ret_refusal));
    json_value list = json_find(delays, MR_STR("delays_ms"));
    if (json_kind_of(list) != JSON_ARRAY || json_count(list) > MODEL_RETRY_DELAYS_MAX) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "settings.retry_policy.delays_ms must be an array of at most %d numbers.",
                      MODEL_RETRY_DELAYS_MAX);
    }
    retry->kind = MODEL_RETRY_DELAYS;
    retry->n_delays = 0;
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        uint64_t ms = 0;
        if (mr_is_err(json_u64(it.value, 0, MODEL_RETRY_DELAY_MS_MAX, &ms))) {
            return refuse(ret_refusal, REFUSAL_MALFORMED,
                          "settings.retry_policy.delays_ms must hold whole numbers from 0 to %d.",
                          MODEL_RETRY_DELAY_MS_MAX);
        }
        retry->delays_ms[retry->n_delays++] = (uint32_t)ms;
    }
    return MR_OK;
}

static mr_err parse_retry(json_value settings, struct model_retry *retry,
                          struct refusal *ret_refusal) {
    json_value value = json_find(settings, MR_STR("retry_policy"));
    if (json_is_absent(value) || json_kind_of(value) == JSON_NULL ||
        json_string_eq(value, MR_STR("kore"))) {
        retry->kind = MODEL_RETRY_KORE;
        return MR_OK;
    }
    if (json_string_eq(value, MR_STR("standard"))) {
        retry->kind = MODEL_RETRY_STANDARD;
        return MR_OK;
    }
    if (json_kind_of(value) == JSON_OBJECT) {
        return parse_delays(value, retry, ret_refusal);
    }
    return refuse(ret_refusal, REFUSAL_MALFORMED,
                  "settings.retry_policy must be \"kore\", \"standard\" or {\"delays_ms\":[…]}.");
}

mr_err settings_parse_delivery(json_value settings, struct model_delivery *out,
                               struct refusal *ret_refusal) {
    shape_number(settings, "batch_max", &out->batch_max);
    shape_number(settings, "batch_bytes_max", &out->batch_bytes_max);
    shape_number(settings, "linger_ms", &out->linger_ms);
    shape_number(settings, "timeout_ms", &out->timeout_ms);
    shape_number(settings, "rate_per_second", &out->rate_per_second);
    shape_number(settings, "concurrency_max", &out->concurrency_max);
    return parse_retry(settings, &out->retry, ret_refusal);
}

static void write_retry(const struct model_retry *retry, json_out *out) {
    switch (retry->kind) {
    case MODEL_RETRY_KORE:
        json_out_member_c(out, "retry_policy", "kore");
        return;
    case MODEL_RETRY_STANDARD:
        json_out_member_c(out, "retry_policy", "standard");
        return;
    case MODEL_RETRY_DELAYS:
        json_out_member_object(out, "retry_policy");
        json_out_member_array(out, "delays_ms");
        for (uint32_t i = 0; i < retry->n_delays; i++) {
            json_out_u64(out, retry->delays_ms[i]);
        }
        json_out_end(out);
        json_out_end(out);
        return;
    }
}

void settings_write_delivery(const struct model_delivery *delivery, json_out *out) {
    json_out_member_u64(out, "batch_max", delivery->batch_max);
    json_out_member_u64(out, "batch_bytes_max", delivery->batch_bytes_max);
    json_out_member_u64(out, "linger_ms", delivery->linger_ms);
    json_out_member_u64(out, "timeout_ms", delivery->timeout_ms);
    write_retry(&delivery->retry, out);
    if (delivery->rate_per_second == 0) {
        json_out_member_null(out, "rate_per_second");
    } else {
        json_out_member_u64(out, "rate_per_second", delivery->rate_per_second);
    }
    json_out_member_u64(out, "concurrency_max", delivery->concurrency_max);
}
