/* What an account has, asked of the server: lists whole, and objects alone with their ETag. */
#ifndef MR_CLI_APPLY_HELD_H
#define MR_CLI_APPLY_HELD_H

#include "cli/apply/kinds.h"
#include "cli/client.h"

struct held_object {
    mr_str name;
    mr_str id;     /* as it stands in paths, escaped */
    mr_str json;   /* its row */
    bool is_self;  /* the API client that this command runs with */
    size_t place;  /* in the server's list: the order in which they were made */
    bool is_taken; /* plan.c: an object of the file stands for it */
};
/* By name, those of one name by place. */
struct held_list {
    struct held_object *objects; /* in the arena of the call */
    size_t n;
};

/* All pages. Own texts in arena. False: printed. */
bool held_fetch(struct cli_client *client, enum declared_kind kind, mr_arena *arena,
                struct held_list *ret_list);
/* False, printed: two have one name, in a kind that needs names to differ. */
bool held_names_differ(enum declared_kind kind, const struct held_list *list);
/* NULL: none. */
const struct held_object *held_find(const struct held_list *list, mr_str name);
/* How many have that name, but for is_self, and is_taken where only_free. */
size_t held_count(const struct held_list *list, mr_str name, bool only_free);
const struct held_object *held_find_id(const struct held_list *list, mr_str id);

/* The object alone, out of its wrapper, in arena; its ETag ("" where it has none). False: printed.
 */
bool held_get(struct cli_client *client, enum declared_kind kind, mr_str id, mr_arena *arena,
              mr_str *ret_json, char ret_etag[static CLI_ETAG_SIZE]);
/* A version of a schema with document and examples. False: printed. */
bool held_get_version(struct cli_client *client, mr_str schema_id, uint64_t version,
                      mr_arena *arena, mr_str *ret_json);

#endif
