/* Window and health of a lane.
 *
 * The window is the number of requests that may be in flight, in 1/256 so that "+1 per window" is
 * an integer sum. It starts at 2; a success that left with the window full adds 1 up to the
 * threshold (half of the window at the last cut), then 1/window. A generation is what was sent
 * since the last failure that counted: the first unhealthy failure of a generation ends it, halves
 * the window if it was 429, 5xx or a timeout, and what of it is still in flight changes nothing
 * more. So a burst of failures costs one halving.
 *
 *              ten generations failed, no success between
 *      ACTIVE ────────────────────────────────────────────▶ FAILED (probing: one request at a time,
 *        ▲  ◀──────────── a probe was answered ─────────────  1 s, 2 s, … 60 s)
 *        │                                                     │ 410, or 5 days without a success
 *        └────── enabled again (settings.enabled_epoch) ── DISABLED ◀┘
 *
 * 400, 413 and 422 judge what was sent, not the destination: they end no generation, and a probe
 * answered so found it alive. They do count towards the five days, which also want ten failures in
 * a row, so that two bad events in a quiet week disable nothing.
 *
 * A window of one request is still 500 events many times a second, so throttling by single events
 * (a stream's shards) also spaces requests. The pace between them changes with each answer by the
 * share f of events that were throttled: by the factor 7/8 + 9/8 f, so it doubles where all were,
 * and falls where fewer than one in nine were; up to 10 s. It begins with f × 100 ms. A request of
 * few events counts as one of 64, most of which were taken: the throttled rest of a large one,
 * tried again, says little. Some of what is sent is taken meanwhile, so that this is no failure of
 * the destination.
 *
 * The rate is a leaky bucket by theoretical arrival time: spaced evenly, with 50 ms of slack so
 * that fast rates do not need a timer per request. */
#include "deliver/lane_parts.h"

#define RATE_SLACK_NS       (50 * MR_NS_PER_MS)
#define FAILURES_TO_DISABLE 10
#define PACE_MS_FIRST       100
#define PACE_MS_MAX         10000
#define PACE_EVENTS_MIN     64
#define STATUS_TOO_MANY     429
#define STATUS_SERVER_ERROR 500

void lane_notify(struct lane *lane, struct lane_notice notice) {
    notice.failing_since_ms = lane->failures > 0 ? lane->failing_since_ms : 0;
    lane->shared->hooks.notice(lane->shared->hooks.ctx, lane, &notice);
}

enum lane_reason lane_reason_of(const struct lane_result *result) {
    if (result->reason != LANE_REASON_NONE) {
        return (enum lane_reason)result->reason;
    }
    switch ((enum lane_result_kind)result->kind) {
    case LANE_RESULT_STATUS:
        return LANE_REASON_STATUS;
    case LANE_RESULT_TIMEOUT:
        return LANE_REASON_TIMEOUT;
    case LANE_RESULT_NAME:
        return LANE_REASON_NAME;
    case LANE_RESULT_ADDRESS:
        return LANE_REASON_ADDRESS;
    case LANE_RESULT_CONNECT:
        return LANE_REASON_CONNECT;
    case LANE_RESULT_TLS:
        return LANE_REASON_TLS;
    case LANE_RESULT_RESET:
        return LANE_REASON_RESET;
    case LANE_RESULT_RESPONSE:
        return LANE_REASON_RESPONSE;
    case LANE_RESULT_REQUEST:
        return LANE_REASON_REQUEST;
    case LANE_RESULT_CANCELLED:
        return LANE_REASON_NONE;
    }
    return LANE_REASON_NONE;
}

const char *lane_reason_name(enum lane_reason reason) {
    static const char *const names[LANE_REASON_COUNT] = {
        [LANE_REASON_NONE] = "none",
        [LANE_REASON_STATUS] = "status",
        [LANE_REASON_TIMEOUT] = "timeout",
        [LANE_REASON_NAME] = "name",
        [LANE_REASON_ADDRESS] = "address_refused",
        [LANE_REASON_CONNECT] = "connect",
        [LANE_REASON_TLS] = "tls",
        [LANE_REASON_RESET] = "reset",
        [LANE_REASON_RESPONSE] = "response",
        [LANE_REASON_REQUEST] = "request",
        [LANE_REASON_GONE] = "gone",
        [LANE_REASON_UNREADABLE] = "unreadable",
        [LANE_REASON_THROTTLED] = "throttled",
        [LANE_REASON_REJECTED] = "rejected",
        [LANE_REASON_STREAM_MISSING] = "stream_missing",
        [LANE_REASON_ACCESS_DENIED] = "access_denied",
        [LANE_REASON_KMS] = "kms",
        [LANE_REASON_CREDENTIALS] = "credentials",
        [LANE_REASON_RECORD_TOO_LARGE] = "record_too_large",
        [LANE_REASON_INTERNAL] = "internal",
    };
    MR_ASSERT((unsigned)reason < LANE_REASON_COUNT);
    return names[reason] != NULL ? names[reason] : "unknown";
}

bool lane_judges_content(const struct lane_result *result) {
    return result->kind == LANE_RESULT_STATUS && result->reason == LANE_REASON_NONE &&
           (result->status == 400 || result->status == 413 || result->status == 422);
}

static bool is_congestion(const struct lane_result *result) {
    return result->kind == LANE_RESULT_TIMEOUT || result->reason == LANE_REASON_THROTTLED ||
           result->reason == LANE_REASON_INTERNAL ||
           (result->kind == LANE_RESULT_STATUS &&
            (result->status == STATUS_TOO_MANY || result->status >= STATUS_SERVER_ERROR));
}

void lane_window_limit(struct lane *lane) {
    uint32_t max = lane->settings.concurrency_max * LANE_ONE;
    lane->window = lane->window > max ? max : lane->window;
    lane->threshold = lane->threshold > max ? max : lane->threshold;
}

void lane_window_reset(struct lane *lane) {
    lane->window = LANE_WINDOW_1ST;
    lane->threshold = lane->settings.concurrency_max * LANE_ONE;
    lane->generation++;
    lane->failed_generations = 0;
    lane->window_failed = false;
    lane->probing = false;
    lane->failures = 0;
    lane->warned_percent = 0;
    lane->failing_since_ms = 0;
    lane->gate_until = (mr_mono){0};
    lane->pace_ms = 0;
    lane_window_limit(lane);
}

void lane_health_set(struct lane *lane) {
    lane->health = !lane_is_enabled(lane) ? LANE_DISABLED
                   : lane->probing        ? LANE_FAILED
                                          : LANE_ACTIVE;
}

static void leave_probing(struct lane *lane, const struct lane_result *result) {
    lane->probing = false;
    lane->failed_generations = 0;
    lane->window_failed = false;
    lane->window = LANE_WINDOW_1ST;
    lane->generation++;
    lane_window_limit(lane);
    lane_health_set(lane);
    if (lane->health == LANE_ACTIVE) {
        lane_notify(lane, (struct lane_notice){.kind = LANE_NOTICE_ACTIVE,
                                               .status = result == NULL ? 0 : result->status});
    }
}

void lane_health_success(struct lane *lane, const struct lane_request *request,
                         struct lane_now now) {
    (void)now;
    lane->failures = 0;
    lane->failing_since_ms = 0;
    lane->warned_percent = 0;
    lane->failed_generations = 0;
    lane->window_failed = false;
    if (lane->probing) {
        leave_probing(lane, NULL);
        return;
    }
    if (request->window_used) {
        lane->window +=
            lane->window < lane->threshold ? LANE_ONE : LANE_ONE * LANE_ONE / lane->window;
        lane_window_limit(lane);
    }
}

void lane_health_disable(struct lane *lane, enum lane_notice_kind kind,
                         const struct lane_result *result) {
    if (lane->self_disabled) {
        return;
    }
    lane->self_disabled = true;
    lane->disabled_epoch = lane->settings.enabled_epoch;
    lane_health_set(lane);
    lane_notify(lane, (struct lane_notice){.kind = (uint8_t)kind,
                                           .status = result->status,
                                           .reason = (uint8_t)lane_reason_of(result)});
}

/* Warns at 50, 70 and 90 % of five days without a success, and disables at the end. */
static void age_failing(struct lane *lane, struct lane_now now, const struct lane_result *result) {
    static const uint8_t steps[] = {50, 70, 90};
    int64_t failing_ms = mr_mono_diff_ms(now.mono, lane->failing_since);
    if (lane->failures < FAILURES_TO_DISABLE || lane->self_disabled) {
        return;
    }
    if (failing_ms >= LANE_FAILING_MS) {
        lane_health_disable(lane, LANE_NOTICE_DISABLE_FAILING, result);
        return;
    }
    for (size_t i = sizeof steps; i-- > 0;) {
        if (failing_ms * 100 >= LANE_FAILING_MS * steps[i]) {
            if (lane->warned_percent < steps[i]) {
                lane->warned_percent = steps[i];
                lane_notify(lane, (struct lane_notice){.kind = LANE_NOTICE_WARN,
                                                       .percent = steps[i],
                                                       .status = result->status,
                                                       .reason = (uint8_t)lane_reason_of(result)});
            }
            return;
        }
    }
}

static void halve(struct lane *lane) {
    lane->window = lane->window / 2 < LANE_ONE ? LANE_ONE : lane->window / 2;
    lane->threshold = lane->window;
}

static void fail_generation(struct lane *lane, struct lane_now now,
                            const struct lane_result *result) {
    lane->generation++;
    lane->window_failed = true;
    if (lane->failed_generations < LANE_GENERATIONS_TO_PROBE) {
        lane->failed_generations++;
    }
    if (is_congestion(result)) {
        halve(lane);
    }
    if (!lane->probing && lane->failed_generations >= LANE_GENERATIONS_TO_PROBE) {
        lane->probing = true;
        lane->probe_ms = LANE_PROBE_MS_MIN;
        lane->probe_at = mr_mono_add_ms(now.mono, lane->probe_ms);
        lane->window = LANE_ONE;
        lane_health_set(lane);
        lane_notify(lane, (struct lane_notice){.kind = LANE_NOTICE_FAILED,
                                               .status = result->status,
                                               .reason = (uint8_t)lane_reason_of(result)});
    }
}

void lane_health_failure(struct lane *lane, const struct lane_request *request, struct lane_now now,
                         const struct lane_result *result) {
    if (lane->failures == 0) {
        lane->failing_since = now.mono;
        lane->failing_since_ms = mr_wall_ms(now.wall);
    }
    if (lane->failures < UINT32_MAX) {
        lane->failures++;
    }
    bool was_probing = lane->probing;
    if (lane_judges_content(result)) {
        if (was_probing && request->is_probe) {
            leave_probing(lane, result);
        }
    } else if (request->generation == lane->generation) {
        fail_generation(lane, now, result);
    }
    if (was_probing && lane->probing && request->is_probe) {
        lane->probe_ms =
            lane->probe_ms * 2 > LANE_PROBE_MS_MAX ? LANE_PROBE_MS_MAX : lane->probe_ms * 2;
        lane->probe_at = mr_mono_add_ms(now.mono, lane->probe_ms);
    }
    age_failing(lane, now, result);
}

void lane_gate(struct lane *lane, struct lane_now now, int64_t retry_after_ms) {
    int64_t wait = retry_after_ms < LANE_GATE_MS_MIN   ? LANE_GATE_MS_MIN
                   : retry_after_ms > LANE_GATE_MS_MAX ? LANE_GATE_MS_MAX
                                                       : retry_after_ms;
    mr_mono until = mr_mono_add_ms(now.mono, wait);
    if (mr_mono_before(lane->gate_until, until)) {
        lane->gate_until = until;
    }
}

void lane_window_cut(struct lane *lane) {
    lane->generation++;
    halve(lane);
}

void lane_pace(struct lane *lane, uint32_t n, uint32_t n_throttled, struct lane_now now) {
    if (lane->pace_ms == 0 && n_throttled == 0) {
        return;
    }
    uint64_t of = n < PACE_EVENTS_MIN ? PACE_EVENTS_MIN : n;
    uint64_t pace = lane->pace_ms == 0 ? PACE_MS_FIRST * (uint64_t)n_throttled / of
                                       : lane->pace_ms * (7 * of + 9 * n_throttled) / (8 * of);
    lane->pace_ms = pace > PACE_MS_MAX ? PACE_MS_MAX : (uint32_t)pace;
    mr_mono until = mr_mono_add_ms(now.mono, lane->pace_ms);
    lane->gate_until = mr_mono_before(lane->gate_until, until) ? until : lane->gate_until;
}

bool lane_rate_allows(const struct lane *lane, struct lane_now now, mr_mono *ret_at) {
    if (lane->settings.rate_per_second == 0) {
        return true;
    }
    int64_t interval = MR_NS_PER_S / lane->settings.rate_per_second;
    int64_t slack = interval >= RATE_SLACK_NS ? 0 : RATE_SLACK_NS - interval;
    if (now.mono.ns >= lane->rate_at.ns - slack) {
        return true;
    }
    *ret_at = (mr_mono){lane->rate_at.ns - slack};
    return false;
}

void lane_rate_take(struct lane *lane, struct lane_now now) {
    if (lane->settings.rate_per_second != 0) {
        int64_t from = lane->rate_at.ns > now.mono.ns ? lane->rate_at.ns : now.mono.ns;
        lane->rate_at = (mr_mono){from + MR_NS_PER_S / lane->settings.rate_per_second};
    }
}
