/* What an account has, asked of the server: lists whole, and objects alone with their ETag. */
#ifndef MR_CLI_APPLY_ACCOUNT_H
#define MR_CLI_APPLY_ACCOUNT_H

#include "cli/apply/kinds.h"
#include "cli/client.h"

struct account_object {
    mr_str name;
    mr_str id;    /* as it stands in paths, escaped */
    mr_str json;  /* its row */
    bool is_self; /* the API client that this command runs with */
};
/* By name. */
struct account_list {
    struct account_object *objects; /* in the arena of the call */
    size_t n;
};

/* All pages. Own texts in arena. False: printed. */
bool account_fetch(struct cli_client *client, enum declared_kind kind, mr_arena *arena,
                   struct account_list *ret_list);
/* False, printed: two have one name. */
bool account_names_differ(enum declared_kind kind, const struct account_list *list);
/* NULL: none. */
const struct account_object *account_find(const struct account_list *list, mr_str name);
const struct account_object *account_find_id(const struct account_list *list, mr_str id);

/* The object alone, out of its wrapper, in arena; its ETag ("" where it has none). False: printed.
 */
bool account_get(struct cli_client *client, enum declared_kind kind, mr_str id, mr_arena *arena,
                 mr_str *ret_json, char ret_etag[static CLI_ETAG_SIZE]);
/* A version of a schema with document and examples. False: printed. */
bool account_get_version(struct cli_client *client, mr_str schema_id, uint64_t version,
                         mr_arena *arena, mr_str *ret_json);

#endif
