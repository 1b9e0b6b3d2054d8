/* Strings by value: a pointer and a length, not owned, perhaps without a NUL.
 * Absent is {NULL,0}, empty is {"",0}. Nothing here allocates. */
#ifndef MR_BASE_STR_H
#define MR_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct mr_str {
    const char *ptr;
    size_t len;
} mr_str;

#define MR_STR(lit) ((mr_str){"" lit, sizeof(lit) - 1})
#define MR_STR_NONE ((mr_str){NULL, 0})
/* For printf's "%.*s". */
#define MR_FMT(s) (int)(s).len, ((s).ptr != NULL ? (s).ptr : "")

static inline mr_str mr_str_of(const char *ptr, size_t len) {
    return (mr_str){ptr, len};
}
/* From a NUL-terminated string; NULL gives an absent one. */
static inline mr_str mr_str_c(const char *c) {
    return c == NULL ? MR_STR_NONE : (mr_str){c, strlen(c)};
}
static inline bool mr_str_is_absent(mr_str s) {
    return s.ptr == NULL;
}
static inline bool mr_str_eq(mr_str a, mr_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
/* Orders by bytes, a prefix first; <0, 0, >0. */
int mr_str_cmp(mr_str a, mr_str b);
/* ASCII case folded, nothing else. */
bool mr_str_eq_nocase(mr_str a, mr_str b);
bool mr_str_starts(mr_str s, mr_str prefix);
bool mr_str_ends(mr_str s, mr_str suffix);
/* Index of the first byte c at or after from, or SIZE_MAX. */
size_t mr_str_find_byte(mr_str s, char c, size_t from);
/* Index of the first occurrence of needle, or SIZE_MAX. */
size_t mr_str_find(mr_str s, mr_str needle);
/* Part of s; from and to are clamped to its length. */
mr_str mr_str_slice(mr_str s, size_t from, size_t to);
/* The first bytes of valid UTF-8, at most max: no character is cut. */
mr_str mr_str_head(mr_str s, size_t max);
/* Spaces and tabs off both ends. */
mr_str mr_str_trim(mr_str s);
/* Takes what stands before sep off the front of *rest (and sep itself); false when *rest is
 * absent. A string without sep is given whole once, after which *rest is absent. */
bool mr_str_split(mr_str *rest, char sep, mr_str *ret_part);
/* True where s is valid UTF-8 (RFC 3629: no surrogates, shortest forms). */
bool mr_str_is_utf8(mr_str s);
/* Copies into buf with a NUL; false (buf holds "") when it does not fit. */
bool mr_str_to_c(mr_str s, char *buf, size_t buf_size);
/* A stable, seeded 64-bit hash for in-memory tables (not for storage, not against attackers who
 * know the seed). */
uint64_t mr_str_hash(mr_str s, uint64_t seed);

#endif
