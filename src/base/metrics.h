/* Counters and gauges of the program: one table of names, one slot array per thread (no sharing on
 * the hot path), summed when read. The reference page of metrics is made from this table. */
#ifndef MR_BASE_METRICS_H
#define MR_BASE_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>

/* X(symbol, name, labels or "", kind, help). Rows of one name stand together. */
#define MR_METRICS(X)                                                                              \
    X(EVENTS_ACCEPTED, "millrace_events_accepted_total", "", "counter",                            \
      "Events stored durably and acknowledged")                                                    \
    X(EVENTS_DUPLICATE, "millrace_events_duplicate_total", "", "counter",                          \
      "Events answered as duplicates")                                                             \
    X(EVENTS_REFUSED, "millrace_events_refused_total", "", "counter",                              \
      "Ingest requests refused, whole")                                                            \
    X(EVENTS_UNMATCHED, "millrace_events_unmatched_total", "", "counter",                          \
      "Events that matched no streaming rule")                                                     \
    X(FILTER_ERRORS, "millrace_filter_errors_total", "", "counter",                                \
      "Evaluations of rules' filters that failed; the rule does not match")                        \
    X(EVENTS_INVALID, "millrace_events_invalid_total", "", "counter",                              \
      "Events whose data broke their schema, refused or, where the account warns, taken")          \
    X(JOURNAL_SYNCS, "millrace_journal_syncs_total", "", "counter",                                \
      "fdatasync calls of the journal")                                                            \
    X(JOURNAL_BYTES, "millrace_journal_bytes_total", "", "counter",                                \
      "Bytes appended to the journal")                                                             \
    X(JOURNAL_GROUPS, "millrace_journal_groups_total", "", "counter", "Groups appended")           \
    X(JOURNAL_FAILED, "millrace_journal_failed", "", "gauge", "1 after a failed sync")             \
    X(JOURNAL_FULL, "millrace_journal_full", "", "gauge", "1 while the disk takes no more events") \
    X(ATTEMPTS_DELIVERED, "millrace_attempts_total", "outcome=\"delivered\"", "counter",           \
      "Attempts by outcome")                                                                       \
    X(ATTEMPTS_RETRY, "millrace_attempts_total", "outcome=\"retry\"", "counter", "")               \
    X(ATTEMPTS_DEAD, "millrace_attempts_total", "outcome=\"dead\"", "counter", "")                 \
    X(ATTEMPTS_SPLIT, "millrace_attempts_total", "outcome=\"split\"", "counter", "")               \
    X(ATTEMPTS_PARTIAL, "millrace_attempts_partial_total", "", "counter",                          \
      "Attempts of which some records were taken and some were not")                               \
    X(RECORDS_TAKEN, "millrace_records_total", "outcome=\"taken\"", "counter",                     \
      "Records of requests to streams by what became of each: taken, failed, throttled, or "       \
      "refused for good")                                                                          \
    X(RECORDS_FAILED, "millrace_records_total", "outcome=\"failed\"", "counter", "")               \
    X(RECORDS_THROTTLED, "millrace_records_total", "outcome=\"throttled\"", "counter", "")         \
    X(RECORDS_REFUSED, "millrace_records_total", "outcome=\"refused\"", "counter", "")             \
    X(DELIVERIES_PENDING, "millrace_deliveries", "state=\"pending\"", "gauge",                     \
      "Deliveries by state")                                                                       \
    X(DELIVERIES_DELIVERED, "millrace_deliveries", "state=\"delivered\"", "gauge", "")             \
    X(DELIVERIES_DEAD, "millrace_deliveries", "state=\"dead\"", "gauge", "")                       \
    X(DELIVERIES_DISCARDED, "millrace_deliveries", "state=\"discarded\"", "gauge", "")             \
    X(DELIVERIES_SKIPPED, "millrace_deliveries", "state=\"skipped\"", "gauge", "")                 \
    X(CALLBACK_DELIVERED, "millrace_callbacks_total", "outcome=\"delivered\"", "counter",          \
      "Attempts of callbacks by outcome")                                                          \
    X(CALLBACK_RETRY, "millrace_callbacks_total", "outcome=\"retry\"", "counter", "")              \
    X(CALLBACK_FAILED, "millrace_callbacks_total", "outcome=\"failed\"", "counter", "")            \
    X(CALLBACKS_PENDING, "millrace_callbacks", "state=\"pending\"", "gauge", "Callbacks by state") \
    X(CALLBACKS_DELIVERED, "millrace_callbacks", "state=\"delivered\"", "gauge", "")               \
    X(CALLBACKS_FAILED, "millrace_callbacks", "state=\"failed\"", "gauge", "")                     \
    X(DESTINATIONS_FAILED, "millrace_destinations_failed", "", "gauge",                            \
      "Destinations in probe mode")                                                                \
    X(WAKES, "millrace_wakes_total", "", "counter", "eventfd writes that woke a thread")           \
    X(LOOP_TURNS, "millrace_loop_turns_total", "", "counter", "Turns of the worker loops")         \
    X(LOOP_TURN_US_MAX, "millrace_loop_turn_us_max", "", "gauge",                                  \
      "Longest turn since the start, microseconds")                                                \
    X(HTTP_REQUESTS, "millrace_http_requests_total", "", "counter", "Requests served")             \
    X(HTTP_CONNECTIONS, "millrace_http_connections", "", "gauge", "Open client connections")       \
    X(HTTP_REFUSED, "millrace_http_refused_total", "", "counter",                                  \
      "Requests that the HTTP engine itself refused")                                              \
    X(OUT_CONNECTS, "millrace_out_connects_total", "", "counter",                                  \
      "Connections dialled to destinations")                                                       \
    X(OUT_HANDSHAKES, "millrace_out_handshakes_total", "", "counter", "TLS handshakes as client")  \
    X(OUT_CONNECTIONS, "millrace_out_connections", "", "gauge",                                    \
      "Open connections to destinations")                                                          \
    X(GUARD_REFUSED, "millrace_guard_refused_total", "", "counter",                                \
      "Connects refused by the address guard")                                                     \
    X(CHECKPOINTS, "millrace_checkpoints_total", "", "counter", "Checkpoints written")             \
    X(JOURNAL_SEGMENTS, "millrace_journal_segments", "", "gauge", "Segments kept")                 \
    X(UNREADABLE, "millrace_unreadable_total", "", "counter",                                      \
      "Deliveries lost to corruption and made dead letters")                                       \
    X(MAILS_SENT, "millrace_mails_total", "outcome=\"sent\"", "counter",                           \
      "Mails handed to the SMTP server, tried again later, or given up")                           \
    X(MAILS_RETRIED, "millrace_mails_total", "outcome=\"retried\"", "counter", "")                 \
    X(MAILS_DROPPED, "millrace_mails_total", "outcome=\"dropped\"", "counter", "")                 \
    X(TOKENS_ISSUED, "millrace_tokens_issued_total", "", "counter", "Access tokens issued")        \
    X(CREDENTIALS_WRONG, "millrace_credentials_refused_total", "reason=\"wrong\"", "counter",      \
      "Credentials of API clients refused")                                                        \
    X(CREDENTIALS_SLOWED, "millrace_credentials_refused_total", "reason=\"slowed\"", "counter", "")

enum mr_metric {
#define MR_METRIC_ENUM(symbol, name, labels, kind, help) MR_METRIC_##symbol,
    MR_METRICS(MR_METRIC_ENUM)
#undef MR_METRIC_ENUM
        MR_METRIC_COUNT
};

/* Slots of one thread. Written by that thread only, read by any. */
typedef struct mr_metrics {
    _Atomic int64_t slot[MR_METRIC_COUNT];
} mr_metrics;

/* m may be NULL (nothing happens). */
static inline void mr_metric_add(mr_metrics *m, enum mr_metric which, int64_t n) {
    if (m != NULL) {
        int64_t old = atomic_load_explicit(&m->slot[which], memory_order_relaxed);
        atomic_store_explicit(&m->slot[which], old + n, memory_order_relaxed);
    }
}
static inline void mr_metric_set(mr_metrics *m, enum mr_metric which, int64_t n) {
    if (m != NULL) {
        atomic_store_explicit(&m->slot[which], n, memory_order_relaxed);
    }
}
static inline int64_t mr_metric_get(const mr_metrics *m, enum mr_metric which) {
    return atomic_load_explicit(&m->slot[which], memory_order_relaxed);
}

/* Prometheus text (version 0.0.4) of the sums over n arrays; of those named …_max the largest. */
mr_err mr_metrics_format(const mr_metrics *const *arrays, size_t n, mr_buf *out);

#endif
