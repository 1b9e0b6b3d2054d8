/* Credentials by name. See cache.h. */
#include "sink/aws/cache.h"

#include "base/mem.h"

#include <stdio.h>

void aws_cache_init(struct aws_cache *cache, struct aws_cache_hooks hooks) {
    cache->hooks = hooks;
    cache->n_entries = 0;
    cache->n_waiting = 0;
    mr_list_init(&cache->entries);
}

static void free_entry(struct aws_entry *entry) {
    MR_ASSERT(!entry->is_fetching && mr_list_is_empty(&entry->waiting));
    mr_list_remove(&entry->node);
    entry->cache->n_entries--;
    aws_credentials_unref(entry->credentials);
    mr_free((void *)(uintptr_t)entry->name.ptr);
    mr_free(entry);
}

void aws_cache_done(struct aws_cache *cache) {
    MR_ASSERT(cache->n_waiting == 0);
    while (!mr_list_is_empty(&cache->entries)) {
        free_entry(MR_CONTAINER(cache->entries.next, struct aws_entry, node));
    }
}

static struct aws_entry *find(struct aws_cache *cache, mr_str name) {
    for (mr_list *node = cache->entries.next; node != &cache->entries; node = node->next) {
        struct aws_entry *entry = MR_CONTAINER(node, struct aws_entry, node);
        if (mr_str_eq(entry->name, name)) {
            return entry;
        }
    }
    return NULL;
}

/* Those that were not asked for in a long while; with no room left, the one that was asked for
 * longest ago. */
static void make_room(struct aws_cache *cache, mr_mono now) {
    mr_list *node = cache->entries.prev;
    while (node != &cache->entries) {
        struct aws_entry *entry = MR_CONTAINER(node, struct aws_entry, node);
        node = node->prev;
        bool is_old = mr_mono_diff_ms(now, entry->used) > AWS_IDLE_MS;
        if (!is_old && cache->n_entries < AWS_CACHE_ENTRIES_MAX) {
            return;
        }
        if (!entry->is_fetching) {
            free_entry(entry);
        }
    }
}

static struct aws_entry *add(struct aws_cache *cache, mr_str name, mr_mono now) {
    make_room(cache, now);
    if (cache->n_entries >= AWS_CACHE_ENTRIES_MAX || name.len > AWS_CACHE_NAME_MAX) {
        return NULL;
    }
    struct aws_entry *entry = MR_NEW(struct aws_entry);
    char *copy = entry != NULL ? mr_strdup_n(name.ptr, name.len) : NULL;
    if (copy == NULL) {
        mr_free(entry);
        return NULL;
    }
    entry->cache = cache;
    entry->name = mr_str_of(copy, name.len);
    entry->failed_until = now;
    mr_list_init(&entry->waiting);
    mr_list_push_front(&cache->entries, &entry->node);
    cache->n_entries++;
    return entry;
}

static void remember(struct aws_entry *entry, enum aws_failure failure, const char *why,
                     mr_mono now) {
    entry->failure = failure;
    entry->failed_until =
        mr_mono_add_ms(now, failure == AWS_FAILURE_REFUSED ? AWS_REFUSED_MS : AWS_TROUBLE_MS);
    snprintf(entry->why, sizeof entry->why, "%s", why);
}

/* Starts a fetch where none is under way and none failed just now. */
static void fetch(struct aws_entry *entry, mr_mono now) {
    if (entry->is_fetching || mr_mono_before(now, entry->failed_until)) {
        return;
    }
    const char *why = "";
    entry->is_fetching = true;
    enum aws_failure failure = entry->cache->hooks.fetch(entry->cache->hooks.ctx, entry, &why);
    if (failure != AWS_FAILURE_NONE) {
        entry->is_fetching = false;
        remember(entry, failure, why, now);
    }
}

static bool is_usable(const struct aws_entry *entry, int64_t wall_ms) {
    return entry->credentials != NULL && (entry->credentials->expires_ms == AWS_NEVER_MS ||
                                          entry->credentials->expires_ms - wall_ms > AWS_MARGIN_MS);
}

enum aws_got aws_cache_get(struct aws_cache *cache, mr_str name, struct aws_now now,
                           struct aws_ticket *ticket, struct aws_credentials **ret_credentials,
                           enum aws_failure *ret_failure, const char **ret_why) {
    struct aws_entry *entry = find(cache, name);
    entry = entry != NULL ? entry : add(cache, name, now.mono);
    if (entry == NULL) {
        *ret_failure = AWS_FAILURE_CANCELLED;
        *ret_why = "there is no room for more credentials";
        return AWS_GOT_FAILURE;
    }
    entry->used = now.mono;
    mr_list_remove(&entry->node);
    mr_list_push_front(&cache->entries, &entry->node);
    bool usable = is_usable(entry, now.wall_ms);
    if (!usable || now.wall_ms >= entry->renew_ms) {
        fetch(entry, now.mono);
    }
    if (usable) {
        *ret_credentials = aws_credentials_ref(entry->credentials);
        return AWS_GOT_CREDENTIALS;
    }
    if (!entry->is_fetching) {
        *ret_failure = entry->failure;
        *ret_why = entry->why;
        return AWS_GOT_FAILURE;
    }
    if (cache->n_waiting >= AWS_CACHE_WAITING_MAX) {
        *ret_failure = AWS_FAILURE_CANCELLED;
        *ret_why = "too many requests wait for credentials";
        return AWS_GOT_FAILURE;
    }
    mr_list_push_back(&entry->waiting, &ticket->node);
    cache->n_waiting++;
    return AWS_GOT_TICKET;
}

void aws_ticket_cancel(struct aws_cache *cache, struct aws_ticket *ticket) {
    if (!mr_list_is_empty(&ticket->node)) {
        mr_list_remove(&ticket->node);
        cache->n_waiting--;
    }
}

static void keep(struct aws_entry *entry, struct aws_credentials *credentials, int64_t wall_ms) {
    aws_credentials_unref(entry->credentials);
    entry->credentials = credentials;
    entry->renew_ms = AWS_NEVER_MS;
    if (credentials->expires_ms != AWS_NEVER_MS) {
        int64_t life = credentials->expires_ms - wall_ms;
        entry->renew_ms =
            credentials->expires_ms - (life / 4 < AWS_RENEW_MS ? life / 4 : AWS_RENEW_MS);
    }
}

void aws_cache_fetched(struct aws_entry *entry, struct aws_credentials *credentials,
                       enum aws_failure failure, const char *why, struct aws_now now) {
    struct aws_cache *cache = entry->cache;
    MR_ASSERT(entry->is_fetching);
    entry->is_fetching = false;
    if (credentials != NULL) {
        keep(entry, credentials, now.wall_ms);
        if (!is_usable(entry, now.wall_ms)) {
            failure = AWS_FAILURE_TROUBLE;
            why = "the credentials had ended when they came: is a clock wrong?";
            credentials = NULL;
        }
    }
    if (credentials == NULL) {
        remember(entry, failure, why, now.mono);
    }
    /* The callees may ask again, cancel each other, and have this very entry fetch again. */
    mr_list waiting;
    mr_list_init(&waiting);
    mr_list *node;
    while ((node = mr_list_pop_front(&entry->waiting)) != NULL) {
        mr_list_push_back(&waiting, node);
    }
    struct aws_credentials *held = credentials != NULL ? aws_credentials_ref(credentials) : NULL;
    char text[AWS_WHY_MAX];
    snprintf(text, sizeof text, "%s", entry->why);
    while ((node = mr_list_pop_front(&waiting)) != NULL) {
        struct aws_ticket *ticket = MR_CONTAINER(node, struct aws_ticket, node);
        cache->n_waiting--;
        ticket->on_done(ticket, held != NULL ? aws_credentials_ref(held) : NULL,
                        held != NULL ? AWS_FAILURE_NONE : failure, held != NULL ? "" : text);
    }
    aws_credentials_unref(held);
}

void aws_cache_reject(struct aws_cache *cache, mr_str name,
                      const struct aws_credentials *credentials) {
    struct aws_entry *entry = find(cache, name);
    if (entry != NULL && entry->credentials == credentials) {
        aws_credentials_unref(entry->credentials);
        entry->credentials = NULL;
    }
}
