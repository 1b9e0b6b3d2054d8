/* What differs between an object of the file and the account's, by the table of its kind: the list
 * of changed members for people, and the merge patch (RFC 7396) that makes the one of the other.
 * What the file does not name stays as it is; `metadata`, `headers`, lists and filters are compared
 * whole. Values that the API never shows are written where the account has none, or where the
 * caller asks for it. */
#ifndef MR_CLI_APPLY_COMPARE_H
#define MR_CLI_APPLY_COMPARE_H

#include "cli/apply/held.h"
#include "json/write.h"

#define COMPARE_REDACTED "[redacted]"

struct change {
    struct change *next;
    mr_str member; /* "settings.url" */
    mr_str from;   /* JSON, cut where it is long; absent: there was none */
    mr_str to;     /* absent: it goes */
};

struct comparison {
    const struct document *document; /* of the wanted values, for places */
    const struct held_list *targets; /* destinations, for DECLARED_LINK */
    mr_arena *arena;                 /* changes and their texts */
    bool rewrites;                   /* hidden values are written again */
    struct change *first, *last;
    size_t n;
    bool relinks; /* DECLARED_LINK differs: the patch lacks destination_id, which is not known */
};

/* Appends to comparison and writes the patch's members. present: the account's object, an absent
 * one for an object to be made (then nothing but hidden values is judged). False: printed. */
bool compare_members(struct comparison *comparison, const struct declared_members *members,
                     json_value wanted, json_value present, json_out *patch);
/* Appends one change. MR_E_NOMEM. */
mr_err compare_note(struct comparison *comparison, mr_str member, mr_str from, mr_str to);
/* Equal as JSON: strings by what they decode to, objects whatever the order of their members,
 * numbers by their text or as whole numbers. null and absent are the same. */
bool compare_equal(json_value a, json_value b);
/* The scopes in the one form of the API. MR_E_INVALID with *ret_why. */
mr_err compare_scopes_text(json_value scopes, mr_buf *out, const char **ret_why);

#endif
