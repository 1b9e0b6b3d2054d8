/* Objects: counting references and taking down.
 *
 * An object is filled by the control thread, then only read; so its count is all that is shared.
 * Whoever lets the last reference go frees it, in whatever thread: a worker that swaps snapshots
 * frees the destinations that only the old one held. Freeing takes no lock but that of the secret
 * slab. */
#include "model/object.h"

#include "base/list.h"
#include "base/mem.h"
#include "model/account.h"
#include "model/destination.h"
#include "model/rule.h"
#include "model/user.h"
#include "route/route.h"

/* A piece of an object's memory, chained. */
struct model_memory {
    struct model_memory *next;
    size_t size; /* keeps what follows at 16 bytes */
    char bytes[];
};

void *model_alloc(struct model_object *object, size_t size) {
    struct model_memory *piece = mr_calloc(1, sizeof *piece + size);
    if (piece == NULL) {
        return NULL;
    }
    piece->next = object->memory;
    piece->size = size;
    object->memory = piece;
    return piece->bytes;
}

bool model_text(struct model_object *object, mr_str text, mr_str *ret_copy) {
    if (mr_str_is_absent(text)) {
        *ret_copy = MR_STR_NONE;
        return true;
    }
    char *copy = model_alloc(object, text.len + 1);
    if (copy == NULL) {
        return false;
    }
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    *ret_copy = mr_str_of(copy, text.len);
    return true;
}

void model_object_ref(struct model_object *object) {
    uint32_t old = atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
    MR_ASSERT(old > 0);
}

void model_object_unref(struct model_object *object) {
    if (object == NULL || atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    switch (object->kind) {
    case MODEL_ACCOUNT: {
        struct model_account *account = MR_CONTAINER(object, struct model_account, object);
        mr_secret_unref(&account->webhook_secret);
        route_index_free(account->routes);
        break;
    }
    case MODEL_DESTINATION:
        model_webhook_release(&MR_CONTAINER(object, struct model_destination, object)->webhook);
        break;
    case MODEL_RULE:
        route_filter_unref(MR_CONTAINER(object, struct model_rule, object)->filter);
        break;
    case MODEL_CLIENT:
    case MODEL_USER:
    case MODEL_SESSION:
    case MODEL_CATALOGUE:
    case MODEL_KEYS:
    case MODEL_KIND_COUNT:
        break;
    }
    struct model_memory *piece = object->memory;
    while (piece != NULL) {
        struct model_memory *next = piece->next;
        mr_free(piece);
        piece = next;
    }
    mr_free(object); /* the first member of what was allocated */
}

static bool object_init(struct model_object *object, enum model_kind kind, uint32_t number,
                        mr_str id) {
    atomic_init(&object->refs, 1);
    object->kind = kind;
    object->number = number;
    return number > 0 && mr_str_to_c(id, object->id, sizeof object->id);
}

struct model_account *model_account_new(uint32_t number, mr_str id, mr_str friendly_name) {
    struct model_account *account = MR_NEW(struct model_account);
    if (account == NULL) {
        return NULL;
    }
    bool is_sound = object_init(&account->object, MODEL_ACCOUNT, number, id);
    MR_ASSERT(is_sound);
    if (!model_text(&account->object, friendly_name, &account->friendly_name)) {
        model_object_unref(&account->object);
        return NULL;
    }
    return account;
}

struct model_client *model_client_new(uint32_t number, mr_str id, uint32_t account) {
    struct model_client *client = MR_NEW(struct model_client);
    if (client != NULL) {
        bool is_sound = object_init(&client->object, MODEL_CLIENT, number, id);
        MR_ASSERT(is_sound);
        client->account = account;
    }
    return client;
}

struct model_destination *model_destination_new(uint32_t number, mr_str id, uint32_t account) {
    struct model_destination *destination = MR_NEW(struct model_destination);
    if (destination != NULL) {
        bool is_sound = object_init(&destination->object, MODEL_DESTINATION, number, id);
        MR_ASSERT(is_sound);
        destination->account = account;
        struct model_settings defaults;
        model_settings_init(&defaults, MODEL_KIND_WEBHOOK);
        destination->delivery = defaults.delivery;
        destination->webhook = defaults.webhook;
        destination->kinesis = defaults.kinesis;
    }
    return destination;
}

struct model_rule *model_rule_new(uint32_t number, mr_str id, uint32_t account) {
    struct model_rule *rule = MR_NEW(struct model_rule);
    if (rule != NULL) {
        bool is_sound = object_init(&rule->object, MODEL_RULE, number, id);
        MR_ASSERT(is_sound);
        rule->account = account;
        rule->sampling = 1;
    }
    return rule;
}

struct model_user *model_user_new(uint32_t number, mr_str id, uint32_t account) {
    struct model_user *user = MR_NEW(struct model_user);
    if (user != NULL) {
        bool is_sound = object_init(&user->object, MODEL_USER, number, id);
        MR_ASSERT(is_sound);
        user->account = account;
    }
    return user;
}

struct model_session *model_session_new(uint32_t number, mr_str id, uint32_t user) {
    struct model_session *session = MR_NEW(struct model_session);
    if (session != NULL) {
        bool is_sound = object_init(&session->object, MODEL_SESSION, number, id);
        MR_ASSERT(is_sound);
        session->user = user;
    }
    return session;
}
