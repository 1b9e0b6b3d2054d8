/* Errors that the compiler will not let be ignored. mr_err is a struct of one field, so that it
 * cannot stand as a boolean; code 0 is ok. A code is (room << 8) | number; each room's header lists
 * its own as an enum. Text for people is made at the boundary, not here. */
#ifndef MR_BASE_ERR_H
#define MR_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

/* clang warns of any dropped value of the type; gcc knows the attribute on functions only. */
#if defined(__clang__)
#define MR_ERR_MUST_USE __attribute__((warn_unused_result))
#else
#define MR_ERR_MUST_USE
#endif

typedef struct MR_ERR_MUST_USE mr_err {
    uint32_t code;
} mr_err;

/* Rooms that have codes of their own; the number stands in the upper bits of the code. */
enum mr_err_room {
    MR_ROOM_BASE = 0,
    MR_ROOM_OS = 1,
    MR_ROOM_JSON = 2,
    MR_ROOM_EVENT = 3,
    MR_ROOM_CRYPTO = 4,
    MR_ROOM_JOURNAL = 5,
    MR_ROOM_LEDGER = 6,
    MR_ROOM_NET = 7,
    MR_ROOM_HTTP = 8,
    MR_ROOM_ROUTE = 9,
    MR_ROOM_SCHEMA = 10,
    MR_ROOM_AUTH = 11,
    MR_ROOM_CONTROL = 12,
    MR_ROOM_SINK = 13,
    MR_ROOM_CONFIG = 14,
};
#define MR_ERR_CODE(room, n) (((uint32_t)(room) << 8) | (uint32_t)(n))

/* What every room may return. */
enum mr_err_base {
    MR_E_OK = 0,
    MR_E_NOMEM = 1,     /* allocation failed */
    MR_E_LIMIT = 2,     /* a stated bound is reached */
    MR_E_INVALID = 3,   /* input that breaks a rule */
    MR_E_NOT_FOUND = 4, /* what was asked for is absent */
    MR_E_EXISTS = 5,    /* it is there already */
    MR_E_IO = 6,        /* the system refused; errno where the contract says so */
    MR_E_AGAIN = 7,     /* not now; nothing happened */
    MR_E_RANGE = 8,     /* a number outside its range */
    MR_E_CLOSED = 9,    /* the other side or the object is gone */
    MR_E_TIMEOUT = 10,
    MR_E_NO_SPACE = 11, /* the disk is full */
    MR_E_BUSY = 12,     /* held by another */
    MR_E_FAILED = 13,   /* a sticky failure; nothing more is accepted */
    MR_E_DENIED = 14,
};

#define MR_OK     ((mr_err){0})
#define MR_ERR(c) ((mr_err){(uint32_t)(c)})

static inline bool mr_is_ok(mr_err e) {
    return e.code == 0;
}
static inline bool mr_is_err(mr_err e) {
    return e.code != 0;
}
static inline bool mr_err_is(mr_err e, uint32_t code) {
    return e.code == code;
}
/* A deliberate discard, with its reason. */
static inline void mr_ignore(mr_err e, const char *why) {
    (void)e;
    (void)why;
}

/* The only macro that returns. */
#define MR_TRY(expr)                                                                               \
    do {                                                                                           \
        mr_err mr_try_err_ = (expr);                                                               \
        if (mr_try_err_.code != 0) {                                                               \
            return mr_try_err_;                                                                    \
        }                                                                                          \
    } while (0)

/* A programmer's mistake: prints expression and place to standard error and aborts, in release
 * builds too. */
#define MR_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            mr_assert_failed(#cond, __FILE__, __LINE__);                                           \
        }                                                                                          \
    } while (0)
_Noreturn void mr_assert_failed(const char *expr, const char *file, int line);

#endif
