/* Who may do what, in one place: resources, kinds of access, and the table of routes with what each
 * one asks for. The HTTP surface finds its route here and checks the caller's scopes with one call;
 * reference pages are made from the same tables. Source of names: KORE's API management pages. */
#ifndef MR_AUTH_RIGHTS_H
#define MR_AUTH_RIGHTS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "json/tape.h"

/* Bits; GET = Read, POST and actions = Write, PATCH = Modify, DELETE = Delete. */
enum auth_access {
    AUTH_NO_ACCESS = 0,
    AUTH_READ = 1,
    AUTH_WRITE = 2,
    AUTH_MODIFY = 4,
    AUTH_DELETE = 8,
    AUTH_ALL = 15,
};

/* X(symbol, name in scopes, is_global). */
#define AUTH_RESOURCES(X)                                                                          \
    X(API_CLIENTS, "API Clients", true)                                                            \
    X(ACCOUNTS, "Accounts", true)                                                                  \
    X(USERS, "Users", true)                                                                        \
    X(AUDIT_LOG, "Audit Log", true)                                                                \
    X(SUPER_SIM, "SuperSIM", false)                                                                \
    X(PROGRAMMABLE_WIRELESS, "ProgrammableWireless", false)                                        \
    X(EVENTS, "Events", false)                                                                     \
    X(EVENT_STREAMS, "Event Streams", false)                                                       \
    X(WEBHOOKS, "Webhooks", false)                                                                 \
    X(EVENT_CATALOGUE, "Event Catalogue", false)

enum auth_resource {
#define AUTH_RESOURCE_ENUM(symbol, name, is_global) AUTH_RES_##symbol,
    AUTH_RESOURCES(AUTH_RESOURCE_ENUM)
#undef AUTH_RESOURCE_ENUM
        AUTH_RESOURCE_COUNT,
    /* What is a signed-in user's own: no scope has that name, so no token can hold it. */
    AUTH_RES_SESSION = AUTH_RESOURCE_COUNT,
    AUTH_RES_NONE = 255, /* the route asks for no token */
};

mr_str auth_resource_name(enum auth_resource resource);
bool auth_resource_is_global(enum auth_resource resource);

/* What a caller may do: per resource, bits of auth_access. A value. */
struct auth_scopes {
    uint8_t access[AUTH_RESOURCE_COUNT + 1]; /* the last one: AUTH_RES_SESSION, of users alone */
};

/* Everything that a token can hold: init's client. */
struct auth_scopes auth_scopes_all(void);
static inline bool auth_scopes_allow(const struct auth_scopes *scopes, enum auth_resource resource,
                                     enum auth_access access) {
    return (scopes->access[resource] & (uint8_t)access) == (uint8_t)access;
}
/* True where every right of inner is also one of outer (nobody grants more than they hold). */
bool auth_scopes_within(const struct auth_scopes *inner, const struct auth_scopes *outer);

/* {"globalResources":[{"resourceName":"Accounts","access":["Read"]}],"products":[same]}; resources
 * without access are left out. */
mr_err auth_scopes_write(const struct auth_scopes *scopes, mr_buf *out);
/* Reads that form, minified or not; a product given as a string grants all four, and a KORE product
 * (SuperSIM, ProgrammableWireless) also all of Event Streams and Webhooks. Both members are
 * optional. MR_E_INVALID with *ret_why (static text) for other shapes, unknown names and unknown
 * members. */
mr_err auth_scopes_parse(mr_str json, struct auth_scopes *ret_scopes, const char **ret_why);
/* The same of a value that was read already. */
mr_err auth_scopes_of_json(json_value value, struct auth_scopes *ret_scopes, const char **ret_why);
/* For the token answer's `scope`: the names with access, one space between, spaces inside a name
 * left out: "EventStreams Webhooks". */
mr_err auth_scopes_format_names(const struct auth_scopes *scopes, mr_buf *out);

/* Which family of error codes a route's refusals use. */
enum auth_errors {
    AUTH_ERRORS_PLAIN = 0, /* 20000 + status */
    AUTH_ERRORS_CLIENTS,   /* 40000 + status */
    AUTH_ERRORS_SECRETS,   /* as plain, 403 is 30010 */
    AUTH_ERRORS_TOKEN,     /* RFC 6749's error member */
};

/* X(symbol, method, path, resource, access, errors). A part in braces stands for one non-empty
 * segment. Order matters only for speed: the hot route is first. */
#define AUTH_ROUTES(X)                                                                             \
    X(EVENTS_PUBLISH, "POST", "/v1/events", EVENTS, WRITE, PLAIN)                                  \
    X(TOKEN, "POST", "/api-services/v1/auth/token", NONE, NO_ACCESS, TOKEN)                        \
    X(TOKEN_OPTIONS, "OPTIONS", "/api-services/v1/auth/token", NONE, NO_ACCESS, TOKEN)             \
    X(JWKS, "GET", "/.well-known/jwks.json", NONE, NO_ACCESS, PLAIN)                               \
    X(CLIENTS_LIST, "GET", "/v1/clients", API_CLIENTS, READ, CLIENTS)                              \
    X(CLIENTS_CREATE, "POST", "/v1/clients", API_CLIENTS, WRITE, CLIENTS)                          \
    X(CLIENT_GET, "GET", "/v1/clients/{client_id}", API_CLIENTS, READ, CLIENTS)                    \
    X(CLIENT_PATCH, "PATCH", "/v1/clients/{client_id}", API_CLIENTS, MODIFY, CLIENTS)              \
    X(CLIENT_DELETE, "DELETE", "/v1/clients/{client_id}", API_CLIENTS, DELETE, CLIENTS)            \
    X(CLIENT_ROTATE_SECRET, "POST", "/v1/clients/{client_id}/rotate-secret", API_CLIENTS, WRITE,   \
      CLIENTS)                                                                                     \
    X(CLIENT_REVOKE_TOKENS, "POST", "/v1/clients/{client_id}/revoke-tokens", API_CLIENTS, WRITE,   \
      CLIENTS)                                                                                     \
    X(SIGNING_KEYS_LIST, "GET", "/v1/signing-keys", API_CLIENTS, READ, CLIENTS)                    \
    X(SIGNING_KEYS_ROTATE, "POST", "/v1/signing-keys/rotate", API_CLIENTS, WRITE, CLIENTS)         \
    X(DESTINATIONS_LIST, "GET", "/v1/destinations", EVENT_STREAMS, READ, PLAIN)                    \
    X(DESTINATIONS_CREATE, "POST", "/v1/destinations", EVENT_STREAMS, WRITE, PLAIN)                \
    X(DESTINATION_GET, "GET", "/v1/destinations/{id}", EVENT_STREAMS, READ, PLAIN)                 \
    X(DESTINATION_PATCH, "PATCH", "/v1/destinations/{id}", EVENT_STREAMS, MODIFY, PLAIN)           \
    X(DESTINATION_DELETE, "DELETE", "/v1/destinations/{id}", EVENT_STREAMS, DELETE, PLAIN)         \
    X(DESTINATION_TEST, "POST", "/v1/destinations/{id}/test", EVENT_STREAMS, WRITE, PLAIN)         \
    X(DESTINATION_DISCARD, "POST", "/v1/destinations/{id}/discard", EVENT_STREAMS, WRITE, PLAIN)   \
    X(DESTINATION_SIGNING_SECRET, "POST", "/v1/destinations/{id}/signing-secret", EVENT_STREAMS,   \
      WRITE, PLAIN)                                                                                \
    X(DESTINATION_METRICS, "GET", "/v1/destinations/{id}/metrics", EVENT_STREAMS, READ, PLAIN)     \
    X(RULES_LIST, "GET", "/v1/streaming-rules", EVENT_STREAMS, READ, PLAIN)                        \
    X(RULES_CREATE, "POST", "/v1/streaming-rules", EVENT_STREAMS, WRITE, PLAIN)                    \
    X(RULES_PREVIEW, "POST", "/v1/streaming-rules/preview", EVENT_STREAMS, WRITE, PLAIN)           \
    X(RULE_GET, "GET", "/v1/streaming-rules/{id}", EVENT_STREAMS, READ, PLAIN)                     \
    X(RULE_PATCH, "PATCH", "/v1/streaming-rules/{id}", EVENT_STREAMS, MODIFY, PLAIN)               \
    X(RULE_DELETE, "DELETE", "/v1/streaming-rules/{id}", EVENT_STREAMS, DELETE, PLAIN)             \
    X(SECRETS_LIST, "GET", "/v1/secrets", WEBHOOKS, READ, SECRETS)                                 \
    X(SECRETS_CREATE, "POST", "/v1/secrets", WEBHOOKS, WRITE, SECRETS)                             \
    X(SECRET_PATCH, "PATCH", "/v1/secrets/{id}", WEBHOOKS, MODIFY, SECRETS)                        \
    X(SCHEMAS_LIST, "GET", "/v1/schemas", EVENT_CATALOGUE, READ, PLAIN)                            \
    X(SCHEMAS_CREATE, "POST", "/v1/schemas", EVENT_CATALOGUE, WRITE, PLAIN)                        \
    X(SCHEMA_OVERVIEW, "GET", "/v1/schemas/{name}", EVENT_CATALOGUE, READ, PLAIN)                  \
    X(SCHEMA_VERSIONS_LIST, "GET", "/v1/schemas/{name}/versions", EVENT_CATALOGUE, READ, PLAIN)    \
    X(SCHEMA_VERSIONS_CREATE, "POST", "/v1/schemas/{name}/versions", EVENT_CATALOGUE, WRITE,       \
      PLAIN)                                                                                       \
    X(SCHEMA_VERSION_GET, "GET", "/v1/schemas/{name}/versions/{n}", EVENT_CATALOGUE, READ, PLAIN)  \
    X(EVENT_TYPES_LIST, "GET", "/v1/event-types", EVENT_CATALOGUE, READ, PLAIN)                    \
    X(EVENT_TYPES_CREATE, "POST", "/v1/event-types", EVENT_CATALOGUE, WRITE, PLAIN)                \
    X(EVENT_TYPE_GET, "GET", "/v1/event-types/{type}", EVENT_CATALOGUE, READ, PLAIN)               \
    X(EVENT_TYPE_PATCH, "PATCH", "/v1/event-types/{type}", EVENT_CATALOGUE, MODIFY, PLAIN)         \
    X(ACCOUNTS_LIST, "GET", "/v1/accounts", ACCOUNTS, READ, PLAIN)                                 \
    X(ACCOUNTS_CREATE, "POST", "/v1/accounts", ACCOUNTS, WRITE, PLAIN)                             \
    X(PLATFORM_MAPPINGS, "GET", "/v1/platform_account_mappings", ACCOUNTS, READ, PLAIN)            \
    X(ACCOUNT_GET, "GET", "/v1/accounts/{id}", ACCOUNTS, READ, PLAIN)                              \
    X(ACCOUNT_PATCH, "PATCH", "/v1/accounts/{id}", ACCOUNTS, MODIFY, PLAIN)                        \
    X(OWNERSHIP_TRANSFER, "POST", "/v1/accounts/{id}/transfer-ownership", ACCOUNTS, MODIFY, PLAIN) \
    X(USERS_LIST, "GET", "/v1/users", USERS, READ, PLAIN)                                          \
    X(USER_GET, "GET", "/v1/users/{id}", USERS, READ, PLAIN)                                       \
    X(USER_PATCH, "PATCH", "/v1/users/{id}", USERS, MODIFY, PLAIN)                                 \
    X(USER_DELETE, "DELETE", "/v1/users/{id}", USERS, DELETE, PLAIN)                               \
    X(SESSION_CREATE, "POST", "/v1/session", NONE, NO_ACCESS, PLAIN)                               \
    X(SESSION_SECOND, "POST", "/v1/session/second-factor", NONE, NO_ACCESS, PLAIN)                 \
    X(SESSION_GET, "GET", "/v1/session", SESSION, READ, PLAIN)                                     \
    X(SESSION_DELETE, "DELETE", "/v1/session", SESSION, DELETE, PLAIN)                             \
    X(SESSIONS_LIST, "GET", "/v1/sessions", SESSION, READ, PLAIN)                                  \
    X(SESSIONS_DELETE, "DELETE", "/v1/sessions/{id}", SESSION, DELETE, PLAIN)                      \
    X(PROFILE_GET, "GET", "/v1/profile", SESSION, READ, PLAIN)                                     \
    X(PROFILE_PATCH, "PATCH", "/v1/profile", SESSION, MODIFY, PLAIN)                               \
    X(PROFILE_PASSWORD, "POST", "/v1/profile/password", SESSION, WRITE, PLAIN)                     \
    X(PROFILE_TOTP, "POST", "/v1/profile/totp", SESSION, WRITE, PLAIN)                             \
    X(PROFILE_TOTP_CONFIRM, "POST", "/v1/profile/totp/confirm", SESSION, WRITE, PLAIN)             \
    X(PROFILE_TOTP_REMOVE, "POST", "/v1/profile/totp/remove", SESSION, WRITE, PLAIN)               \
    X(PROFILE_RECOVERY_CODES, "POST", "/v1/profile/recovery-codes", SESSION, WRITE, PLAIN)         \
    X(DEAD_LETTERS_LIST, "GET", "/v1/dead-letters", EVENT_STREAMS, READ, PLAIN)                    \
    X(DEAD_LETTER_GET, "GET", "/v1/dead-letters/{id}", EVENT_STREAMS, READ, PLAIN)                 \
    X(DEAD_LETTERS_REDRIVE, "POST", "/v1/dead-letters/redrive", EVENT_STREAMS, WRITE, PLAIN)       \
    X(CALLBACKS_LIST, "GET", "/v1/callbacks", WEBHOOKS, READ, PLAIN)                               \
    X(CALLBACKS_CREATE, "POST", "/v1/callbacks", WEBHOOKS, WRITE, PLAIN)                           \
    X(CALLBACK_TEST, "POST", "/v1/callbacks/test", WEBHOOKS, WRITE, PLAIN)                         \
    X(CALLBACK_GET, "GET", "/v1/callbacks/{id}", WEBHOOKS, READ, PLAIN)                            \
    X(AUDIT_LOG_LIST, "GET", "/v1/audit-log", AUDIT_LOG, READ, PLAIN)                              \
    X(AUDIT_LOG_EXPORT, "GET", "/v1/audit-log/export", AUDIT_LOG, READ, PLAIN)                     \
    X(TAIL, "GET", "/v1/tail", EVENT_STREAMS, READ, PLAIN)                                         \
    X(USERS_INVITE, "POST", "/v1/users", USERS, WRITE, PLAIN)                                      \
    X(USER_INVITE, "POST", "/v1/users/{id}/invite", USERS, WRITE, PLAIN)                           \
    X(USER_RESET_LINK, "POST", "/v1/users/{id}/reset-link", USERS, WRITE, PLAIN)                   \
    X(PORTAL_LINKS_CREATE, "POST", "/v1/portal-links", USERS, WRITE, PLAIN)                        \
    X(PASSWORD_RESETS, "POST", "/v1/password-resets", NONE, NO_ACCESS, PLAIN)                      \
    X(LINK_GET, "GET", "/v1/links/{token}", NONE, NO_ACCESS, PLAIN)                                \
    X(LINK_USE, "POST", "/v1/links/{token}", NONE, NO_ACCESS, PLAIN)                               \
    X(LINK_PAGE, "GET", "/links/{token}", NONE, NO_ACCESS, PLAIN)                                  \
    X(LINK_PAGE_USE, "POST", "/links/{token}", NONE, NO_ACCESS, PLAIN)                             \
    X(PING, "GET", "/v1/ping", NONE, NO_ACCESS, CLIENTS)                                           \
    X(SCHEMA_GET, "GET", "/schemas/{name}/{version}", NONE, NO_ACCESS, PLAIN)                      \
    X(OPENAPI, "GET", "/openapi.json", NONE, NO_ACCESS, PLAIN)                                     \
    X(ERROR_INDEX, "GET", "/errors", NONE, NO_ACCESS, PLAIN)                                       \
    X(ERROR_PAGE, "GET", "/errors/{code}", NONE, NO_ACCESS, PLAIN)                                 \
    X(HEALTHZ, "GET", "/healthz", NONE, NO_ACCESS, PLAIN)                                          \
    X(READYZ, "GET", "/readyz", NONE, NO_ACCESS, PLAIN)                                            \
    X(METRICS, "GET", "/metrics", NONE, NO_ACCESS, PLAIN)

enum auth_route {
#define AUTH_ROUTE_ENUM(symbol, method, path, resource, access, errors) AUTH_ROUTE_##symbol,
    AUTH_ROUTES(AUTH_ROUTE_ENUM)
#undef AUTH_ROUTE_ENUM
        AUTH_ROUTE_COUNT,
};

#define AUTH_ROUTE_PARAMS_MAX 2

struct auth_route_info {
    mr_str symbol; /* "DESTINATION_GET" */
    mr_str method;
    mr_str path;
    enum auth_resource resource; /* AUTH_RES_NONE: no token asked */
    enum auth_access access;
    enum auth_errors errors;
};
const struct auth_route_info *auth_route_info(enum auth_route route);

/* What a request line leads to. */
struct auth_route_match {
    enum auth_route route;                /* valid where found */
    bool found;                           /* method and path known */
    bool path_known;                      /* the path is, for another method: 405 */
    enum auth_errors errors;              /* of the path, or of its nearest prefix, for refusals */
    mr_str params[AUTH_ROUTE_PARAMS_MAX]; /* segments for {…}, raw, slices of path */
    size_t n_params;
};
/* path is without query, still percent-encoded; HEAD is looked up as GET. Does not allocate. */
struct auth_route_match auth_route_find(mr_str method, mr_str path);
/* The methods of a known path for the Allow field: "GET, HEAD, POST". */
mr_err auth_route_methods(mr_str path, mr_buf *out);

/* The one check: may a caller with these scopes call this route? Routes without token: true. */
bool auth_route_allows(enum auth_route route, const struct auth_scopes *scopes);

#endif
