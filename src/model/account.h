/* Accounts and their API clients as workers read them. Immutable. */
#ifndef MR_MODEL_ACCOUNT_H
#define MR_MODEL_ACCOUNT_H

#include "auth/token.h"
#include "crypto/secret.h"
#include "model/object.h"

struct route_index; /* route/route.h */

enum model_validate {
    MODEL_VALIDATE_REJECT = 0,
    MODEL_VALIDATE_WARN,
    MODEL_VALIDATE_OFF,
};
enum model_unknown_types {
    MODEL_UNKNOWN_ACCEPT = 0,
    MODEL_UNKNOWN_REFUSE,
};

/* Levels of the tree of accounts, the root's included: bounds every walk up it. */
#define MODEL_ACCOUNT_LEVELS_MAX 8

struct model_account {
    struct model_object object;
    uint32_t parent; /* number; 0 for the root */
    mr_str friendly_name;
    enum model_validate validate;
    enum model_unknown_types unknown_types;
    uint32_t events_per_second; /* 0: unlimited */
    bool needs_second_factor;   /* of its users */
    mr_secret webhook_secret;   /* the active one; none: kore-signature has an empty value */
    char webhook_secret_id[MODEL_ID_SIZE];
    /* Index of the enabled rules of this account; NULL where it has none. Its rule numbers and
     * destination numbers are those of the snapshot. Owned. */
    struct route_index *routes;
};

struct model_client {
    struct model_object object; /* id "apiclient_…" */
    uint32_t account;           /* number */
    bool is_enabled;
    enum auth_client_type type;
    uint32_t generation; /* tokens of another generation are revoked */
};

/* New objects with one reference, owned by the caller, texts copied into their own memory. NULL
 * without memory. The caller fills the rest before anyone else sees it. */
struct model_account *model_account_new(uint32_t number, mr_str id, mr_str friendly_name);
struct model_client *model_client_new(uint32_t number, mr_str id, uint32_t account);

#endif
