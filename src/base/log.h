/* Log lines: an event name and key=value pairs, one line each, to a sink that the owner gives
 * (standard error in the program, a buffer in tests). Never payloads or secrets. A value is quoted
 * and escaped where it holds anything but [A-Za-z0-9_./:@+-]. Thread-safe where the sink is. */
#ifndef MR_BASE_LOG_H
#define MR_BASE_LOG_H

#include "base/str.h"
#include "base/time.h"

enum mr_log_level {
    MR_LOG_DEBUG = 0,
    MR_LOG_INFO,
    MR_LOG_WARN,
    MR_LOG_ERROR,
};

/* Where lines go. `write` gets a whole line with its newline; `now` stamps it. */
typedef struct mr_log {
    enum mr_log_level level; /* lines below it are dropped */
    void (*write)(void *ctx, mr_str line);
    mr_wall (*now)(void *ctx);
    void *ctx;
} mr_log;

/* A pair; build with the helpers below. */
typedef struct mr_log_pair {
    const char *key;
    mr_str text; /* used where is_number is false */
    int64_t number;
    bool is_number;
} mr_log_pair;

static inline mr_log_pair mr_kv_str(const char *key, mr_str text) {
    return (mr_log_pair){.key = key, .text = text};
}
static inline mr_log_pair mr_kv_c(const char *key, const char *text) {
    return (mr_log_pair){.key = key, .text = mr_str_c(text)};
}
static inline mr_log_pair mr_kv_i64(const char *key, int64_t number) {
    return (mr_log_pair){.key = key, .number = number, .is_number = true};
}

/* `2024-09-25T19:09:48.584Z level event key=value …`. log may be NULL (nothing happens). */
void mr_log_line(const mr_log *log, enum mr_log_level level, const char *event, size_t n_pairs,
                 const mr_log_pair *pairs);

#define mr_log_at(log, level, event, ...)                                                          \
    mr_log_line((log), (level), (event),                                                           \
                sizeof((mr_log_pair[]){__VA_ARGS__}) / sizeof(mr_log_pair),                        \
                (mr_log_pair[]){__VA_ARGS__})
#define mr_info(log, event, ...)  mr_log_at((log), MR_LOG_INFO, (event), __VA_ARGS__)
#define mr_warn(log, event, ...)  mr_log_at((log), MR_LOG_WARN, (event), __VA_ARGS__)
#define mr_error(log, event, ...) mr_log_at((log), MR_LOG_ERROR, (event), __VA_ARGS__)

#endif
