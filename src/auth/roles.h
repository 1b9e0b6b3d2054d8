/* Roles of users as scopes, in one table, so that auth_route_allows is the one check for users and
 * clients alike. What a table of scopes cannot say (nobody changes their own role, only the Owner
 * hands an account over, who may touch admin and locked clients) stands in control/.
 * SPEC.md, section 10; KORE, "Users and roles". */
#ifndef MR_AUTH_ROLES_H
#define MR_AUTH_ROLES_H

#include "auth/rights.h"

enum auth_role {
    AUTH_ROLE_OWNER = 0, /* one per account */
    AUTH_ROLE_ADMIN,
    AUTH_ROLE_DEVELOPER,
    AUTH_ROLE_DEFAULT,
    AUTH_ROLE_COUNT,
};

mr_str auth_role_name(enum auth_role role); /* "owner" */
bool auth_role_parse(mr_str name, enum auth_role *ret_role);
/* The right of a role on a resource, of AUTH_RES_SESSION too. */
uint8_t auth_role_access(enum auth_role role, enum auth_resource resource);
/* Everything the role may do. products: a JSON array of product names that it is restricted to
 * (KORE's own bring Event Streams, Webhooks and Event Catalogue with them); absent: all.
 * MR_E_INVALID where that is no such array, MR_E_NOMEM. */
mr_err auth_role_scopes(enum auth_role role, mr_str products, struct auth_scopes *ret_scopes);

#endif
