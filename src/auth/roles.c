/* The table of roles. See roles.h. */
#include "auth/roles.h"

#define LITERAL(text)                                                                              \
    { (text), sizeof(text) - 1 }

static const mr_str names[AUTH_ROLE_COUNT] = {
    [AUTH_ROLE_OWNER] = LITERAL("owner"),
    [AUTH_ROLE_ADMIN] = LITERAL("admin"),
    [AUTH_ROLE_DEVELOPER] = LITERAL("developer"),
    [AUTH_ROLE_DEFAULT] = LITERAL("default"),
};

/* X(resource, Owner, Admin, Developer, Default). */
#define ROLE_TABLE(X)                                                                              \
    X(API_CLIENTS, ALL, ALL, ALL, READ)                                                            \
    X(ACCOUNTS, ALL, ALL, READ, READ)                                                              \
    X(USERS, ALL, ALL, READ, READ)                                                                 \
    X(AUDIT_LOG, ALL, ALL, NO_ACCESS, NO_ACCESS)                                                   \
    X(SUPER_SIM, ALL, ALL, ALL, READ)                                                              \
    X(PROGRAMMABLE_WIRELESS, ALL, ALL, ALL, READ)                                                  \
    X(EVENTS, ALL, ALL, ALL, READ)                                                                 \
    X(EVENT_STREAMS, ALL, ALL, ALL, READ)                                                          \
    X(WEBHOOKS, ALL, ALL, ALL, READ)                                                               \
    X(EVENT_CATALOGUE, ALL, ALL, ALL, READ)                                                        \
    X(SESSION, ALL, ALL, ALL, ALL)

static const uint8_t table[AUTH_RESOURCE_COUNT + 1][AUTH_ROLE_COUNT] = {
#define ROLE_ROW(res, owner, admin, developer, other)                                              \
    [AUTH_RES_##res] = {AUTH_##owner, AUTH_##admin, AUTH_##developer, AUTH_##other},
    ROLE_TABLE(ROLE_ROW)
#undef ROLE_ROW
};
/* A resource without a row would be nobody's. */
#define ROLE_COUNT(...) +1
_Static_assert(0 ROLE_TABLE(ROLE_COUNT) == AUTH_RESOURCE_COUNT + 1, "one row per resource");

mr_str auth_role_name(enum auth_role role) {
    MR_ASSERT(role < AUTH_ROLE_COUNT);
    return names[role];
}

bool auth_role_parse(mr_str name, enum auth_role *ret_role) {
    for (size_t i = 0; i < AUTH_ROLE_COUNT; i++) {
        if (mr_str_eq(name, names[i])) {
            *ret_role = (enum auth_role)i;
            return true;
        }
    }
    return false;
}

uint8_t auth_role_access(enum auth_role role, enum auth_resource resource) {
    MR_ASSERT(role < AUTH_ROLE_COUNT && resource <= AUTH_RES_SESSION);
    return table[resource][role];
}

static mr_err mark_product(json_value name, bool is_allowed[static AUTH_RESOURCE_COUNT]) {
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        enum auth_resource resource = (enum auth_resource)i;
        if (auth_resource_is_global(resource) ||
            !json_string_eq(name, auth_resource_name(resource))) {
            continue;
        }
        is_allowed[i] = true;
        if (resource == AUTH_RES_SUPER_SIM || resource == AUTH_RES_PROGRAMMABLE_WIRELESS) {
            is_allowed[AUTH_RES_EVENT_STREAMS] = true;
            is_allowed[AUTH_RES_WEBHOOKS] = true;
            is_allowed[AUTH_RES_EVENT_CATALOGUE] = true;
        }
        return MR_OK;
    }
    return MR_ERR(MR_E_INVALID);
}

static mr_err read_products(mr_str products, bool is_allowed[static AUTH_RESOURCE_COUNT]) {
    json_tape tape;
    json_tape_init(&tape, 4);
    mr_err err = json_tape_read(&tape, products, NULL);
    if (mr_is_ok(err) && json_kind_of(json_root(&tape)) != JSON_ARRAY) {
        err = MR_ERR(MR_E_INVALID);
    }
    if (mr_is_ok(err)) {
        for (json_iter it = json_iter_of(json_root(&tape)); mr_is_ok(err) && json_next(&it);) {
            err = mark_product(it.value, is_allowed);
        }
    }
    json_tape_done(&tape);
    return mr_is_ok(err) || mr_err_is(err, MR_E_NOMEM) ? err : MR_ERR(MR_E_INVALID);
}

mr_err auth_role_scopes(enum auth_role role, mr_str products, struct auth_scopes *ret_scopes) {
    MR_ASSERT(role < AUTH_ROLE_COUNT);
    bool is_restricted = !mr_str_is_absent(products);
    bool is_allowed[AUTH_RESOURCE_COUNT] = {false};
    if (is_restricted) {
        MR_TRY(read_products(products, is_allowed));
    }
    struct auth_scopes scopes = {{0}};
    for (size_t i = 0; i <= AUTH_RESOURCE_COUNT; i++) {
        bool is_cut = is_restricted && i < AUTH_RESOURCE_COUNT &&
                      !auth_resource_is_global((enum auth_resource)i) && !is_allowed[i];
        scopes.access[i] = is_cut ? 0 : table[i][role];
    }
    *ret_scopes = scopes;
    return MR_OK;
}
