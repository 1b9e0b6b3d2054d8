/* What the chapters of the lane share with each other; nobody else includes this. The contracts are
 * short because the rules stand in the essays of the chapters. */
#ifndef MR_DELIVER_LANE_PARTS_H
#define MR_DELIVER_LANE_PARTS_H

#include "deliver/lane.h"

#define LANE_ONE        256u /* a window of one request, in fixed point */
#define LANE_WINDOW_1ST (2 * LANE_ONE)
#define LANE_PAIR_NONE  UINT16_MAX

static inline int64_t lane_ms(mr_mono t) {
    return t.ns / MR_NS_PER_MS;
}
static inline bool lane_is_enabled(const struct lane *lane) {
    return lane->settings.enabled && !lane->self_disabled;
}
static inline bool lane_is_single(const struct lane *lane, struct lane_now now) {
    return mr_mono_before(now.mono, lane->single_until);
}
static inline uint32_t lane_window(const struct lane *lane) {
    return lane->window / LANE_ONE;
}

/* request.c: open requests, their heap, what they count for. */

/* A waiting request outside the heap, with room for cap positions (and keys) and n = 0; NULL
 * without memory. Room in the heap is taken with it, so that lane_request_wait cannot fail. */
struct lane_request *lane_request_new(struct lane *lane, uint32_t cap, bool has_keys);
/* A request for n of the positions of `from`, taken over with what holds for all of it: form,
 * origin, attempts. NULL without memory. */
struct lane_request *lane_request_like(struct lane *lane, const struct lane_request *from,
                                       const uint64_t *positions, const uint64_t *keys, uint32_t n);
void lane_request_free(struct lane *lane, struct lane_request *request);
/* Sets n_positions = hi once the positions stand there; bytes: of the whole body. */
void lane_request_fill(struct lane *lane, struct lane_request *request, uint32_t n, uint64_t bytes);
void lane_request_wait(struct lane *lane, struct lane_request *request, mr_mono due);
void lane_request_unwait(struct lane *lane, struct lane_request *request);
struct lane_request *lane_request_first(const struct lane *lane);
/* Counts it as in flight and calls the send hook. */
void lane_request_fly(struct lane *lane, struct lane_request *request, struct lane_now now,
                      bool is_probe);
void lane_request_land(struct lane *lane, struct lane_request *request);
/* Takes out of [lo, n) the positions for which out[i] (indexed from lo) is set, writes them to
 * gone and their keys to gone_keys (may be NULL), and returns their number. Marks and the ends of
 * the parts move along; the present part may be empty afterwards. */
uint32_t lane_request_remove(struct lane *lane, struct lane_request *request, const bool *out,
                             uint64_t *gone, uint64_t *gone_keys);
/* What becomes of a position when the request lands, unless it was delivered. */
#define LANE_MARK_SETTLED 1u /* leaves without a record */
#define LANE_MARK_DISCARD 2u /* leaves by a DISCARDED record */
/* Marks those for which out[i] (indexed from lo) is set. MR_E_NOMEM: nothing changed. */
mr_err lane_request_mark(struct lane_request *request, const bool *out, uint8_t mark);
/* Goes on to the next part of a request under isolation; false: there is none, and lo == hi. */
bool lane_request_advance(struct lane *lane, struct lane_request *request);

/* window.c: window, generations, probing, failing, gates. */
void lane_window_reset(struct lane *lane);
void lane_window_limit(struct lane *lane);
void lane_health_success(struct lane *lane, const struct lane_request *request,
                         struct lane_now now);
/* An attempt without a 2xx. */
void lane_health_failure(struct lane *lane, const struct lane_request *request, struct lane_now now,
                         const struct lane_result *result);
void lane_health_disable(struct lane *lane, enum lane_notice_kind kind,
                         const struct lane_result *result);
void lane_health_set(struct lane *lane);
void lane_gate(struct lane *lane, struct lane_now now, int64_t retry_after_ms);
/* Half the window, a new generation. */
void lane_window_cut(struct lane *lane);
/* Of n events n_throttled were throttled, the others not: longer or shorter apart. */
void lane_pace(struct lane *lane, uint32_t n, uint32_t n_throttled, struct lane_now now);
/* True where the rate lets a request leave; else *ret_at is when. */
bool lane_rate_allows(const struct lane *lane, struct lane_now now, mr_mono *ret_at);
void lane_rate_take(struct lane *lane, struct lane_now now);
void lane_notify(struct lane *lane, struct lane_notice notice);
enum lane_reason lane_reason_of(const struct lane_result *result);
/* 400, 413 and 422 judge the content, not the destination's health. */
bool lane_judges_content(const struct lane_result *result);

/* isolate.c: batches taken apart. */
/* Splits the part that was refused; the request then is ready to wait. */
void lane_isolate_split(struct lane *lane, struct lane_request *request, struct lane_now now);
/* A part was accepted. */
void lane_isolate_accepted(struct lane *lane, struct lane_request *request, struct lane_now now);
/* A part failed otherwise. */
void lane_isolate_failed(struct lane_request *request);
/* In single mode a part of several becomes its first event and the rest. */
void lane_isolate_narrow(const struct lane *lane, struct lane_request *request,
                         struct lane_now now);
/* True where the part may leave now; else *ret_at is when. Does not take. */
bool lane_isolate_allows(const struct lane *lane, const struct lane_request *request,
                         struct lane_now now, mr_mono *ret_at);
void lane_isolate_take(struct lane *lane, struct lane_request *request, struct lane_now now);

/* It is under isolation no more. */
void lane_isolate_release(struct lane *lane, const struct lane_request *request);

/* result.c */
/* Records what happened to the positions of part (absent: to the request's part). */
void lane_record(struct lane *lane, const struct lane_request *request, struct lane_now now,
                 struct lane_record part);
/* The request's part, landed and in no heap, waits for its next attempt: RETRY. */
void lane_request_retry(struct lane *lane, struct lane_request *request, struct lane_now now,
                        struct lane_record part, mr_mono due);
/* The part is done with: on to the next one, or the request ends. */
void lane_request_finish_part(struct lane *lane, struct lane_request *request, struct lane_now now);
/* Out goes what was settled or discarded while the request flew, and with it their items, which are
 * those of the part (NULL: none); the present part may be empty afterwards. */
void lane_request_shed(struct lane *lane, struct lane_request *request, struct lane_now now,
                       struct lane_item *items);
void lane_record_discarded(struct lane *lane, struct lane_now now, uint64_t key, uint32_t origin,
                           const uint64_t *positions, uint32_t n, int64_t first_attempt_ms);
/* Takes out of an idle request the positions for which out[i] (indexed from lo) is set, without a
 * record; frees it where nothing is left. */
void lane_request_drop(struct lane *lane, struct lane_request *request, const bool *out,
                       struct lane_now now);
/* Discards of an idle request those for which out[i] is set; frees it where nothing is left. */
uint32_t lane_request_discard(struct lane *lane, struct lane_request *request, const bool *out,
                              struct lane_now now);

#endif
