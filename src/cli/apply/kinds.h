/* What a file of declarations may hold: its sections, each a kind of object, and the members of
 * each, as tables. The strict check of a file, the comparison with the account and the export read
 * the same tables. */
#ifndef MR_CLI_APPLY_KINDS_H
#define MR_CLI_APPLY_KINDS_H

#include "cli/apply/document.h"

/* In the order in which they are applied: each refers only to those above. */
enum declared_kind {
    DECLARED_SCHEMA = 0,
    DECLARED_TYPE,
    DECLARED_DESTINATION,
    DECLARED_RULE,
    DECLARED_CLIENT,
    DECLARED_KINDS,
};

/* Bits: what a value may be. */
enum declared_value {
    DECLARED_TEXT = 1,
    DECLARED_NUMBER = 2,
    DECLARED_BOOL = 4,
    DECLARED_NULL = 8,
    DECLARED_OBJECT = 16,
    DECLARED_ARRAY = 32,
    DECLARED_ANY = 63,
};

/* How a member is compared with the account and changed. */
enum declared_manner {
    DECLARED_WHOLE = 0, /* as one value */
    DECLARED_PARTS,     /* an object: each member that the file names */
    DECLARED_MAP,       /* an object: every member; what the file lacks goes */
    DECLARED_SECRETS,   /* the same, values shown as "[redacted]" */
    DECLARED_SECRET,    /* a text shown as "[redacted]" */
    DECLARED_SCOPES,    /* an API client's scopes: compared by what they grant */
    DECLARED_LINK,      /* the name of a destination; the API has `destination_id` */
    DECLARED_OWN,       /* not by the table */
};

struct declared_members;
struct declared_member {
    const char *name;
    uint8_t values; /* of enum declared_value */
    bool is_needed;
    enum declared_manner manner;
    const struct declared_members *inner; /* of an object, or of an array's objects; NULL: any */
};
struct declared_members {
    const struct declared_member *members;
    size_t n;
};

struct declared_kind_info {
    const char *section;  /* "event_types" */
    const char *singular; /* "event type" */
    const char *plural;   /* "event types" */
    const char *path;     /* "/v1/event-types" */
    const char *rows;     /* member of a list's answer */
    const char *meta;     /* member that holds the page */
    const char *id;       /* member of a row that stands in paths */
    const char *wrapper;  /* member around an object that was asked for alone; NULL: none */
    bool can_delete;
    bool is_catalogue; /* of the installation, not of the account */
    /* Several may have one name. Then an object's `id` member tells them apart, in the account that
     * it came from; an id that the account does not know says no more than the name. */
    bool shares_names;
    const struct declared_members *members;
};
const struct declared_kind_info *declared_kind_info(enum declared_kind kind);

/* The value of a file's `millrace:` member, the format. */
#define DECLARED_FORMAT 1

/* Holds a whole file against the tables: unknown and missing members, values of the wrong kind,
 * names that stand twice in a section (but for objects that each have an id of their own). False:
 * the first problem was printed with its place. */
bool declared_check(const struct document *document);
/* The file's objects of a kind; absent where it has no such section. */
json_value declared_section(const struct document *document, enum declared_kind kind);
/* The id that an object of the file has, of a kind that shares names; absent where it has none. */
json_value declared_id(enum declared_kind kind, json_value object);

#endif
