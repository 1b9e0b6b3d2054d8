/* Snapshots.
 *
 * A snapshot holds one table per kind of object. A table names its objects twice:
 *
 *   by number   pages of 128 places, found through a directory: an array access
 *   by id       256 buckets, sorted by a hash of the id: a search in some forty entries at ten
 *               thousand objects
 *
 * Tables, pages, buckets and objects are refcounted and never change once a snapshot is published.
 * A builder copies what it is about to change and shares the rest (a part with one reference is the
 * builder's own and is changed in place), so one change beside n objects costs one page, one bucket
 * and the directory: n/128 + 256 counts, 3 µs at ten thousand.
 *
 * Pages own references to their objects; buckets borrow: a bucket's entry is always in a page of
 * the same table, since both are changed together. */
#include "model/snapshot.h"

#include "base/mem.h"

#include <stdatomic.h>

#define PAGE_PLACES 128u
#define BUCKETS     256u
#define ID_SEED     UINT64_C(0x736e617073686f74)

struct page {
    _Atomic uint32_t refs;
    struct model_object *places[PAGE_PLACES];
};

struct bucket_entry {
    uint64_t hash;
    struct model_object *object; /* borrowed */
};
struct bucket {
    _Atomic uint32_t refs;
    uint32_t len;
    uint32_t cap;
    struct bucket_entry entries[]; /* by hash */
};

struct table {
    _Atomic uint32_t refs;
    size_t count;
    size_t n_pages;
    struct page **pages;             /* NULL: none of its numbers */
    struct bucket *buckets[BUCKETS]; /* NULL: empty */
};

struct snapshot {
    _Atomic uint32_t refs;
    uint64_t version;
    struct auth_keyring *keyring;
    struct catalogue *catalogue;
    struct table *tables[MODEL_KIND_COUNT];
};

struct snapshot_builder {
    struct snapshot *next; /* not seen by anyone yet */
};

/* ---- parts ---- */

static void page_unref(struct page *page) {
    if (page == NULL || atomic_fetch_sub_explicit(&page->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < PAGE_PLACES; i++) {
        model_object_unref(page->places[i]);
    }
    mr_free(page);
}

static void bucket_unref(struct bucket *bucket) {
    if (bucket != NULL && atomic_fetch_sub_explicit(&bucket->refs, 1, memory_order_acq_rel) == 1) {
        mr_free(bucket);
    }
}

static void table_unref(struct table *table) {
    if (table == NULL || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < table->n_pages; i++) {
        page_unref(table->pages[i]);
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        bucket_unref(table->buckets[i]);
    }
    mr_free(table->pages);
    mr_free(table);
}

/* Is this part the builder's own? Only builders add references to parts, and there is one. */
static bool is_own(_Atomic uint32_t *refs) {
    return atomic_load_explicit(refs, memory_order_acquire) == 1;
}

static struct table *table_clone(const struct table *from) {
    struct table *table = MR_NEW(struct table);
    if (table == NULL) {
        return NULL;
    }
    atomic_init(&table->refs, 1);
    if (from == NULL) {
        return table;
    }
    if (from->n_pages > 0) {
        table->pages = mr_calloc(from->n_pages, sizeof(struct page *));
        if (table->pages == NULL) {
            mr_free(table);
            return NULL;
        }
    }
    table->count = from->count;
    table->n_pages = from->n_pages;
    for (size_t i = 0; i < from->n_pages; i++) {
        table->pages[i] = from->pages[i];
        if (table->pages[i] != NULL) {
            atomic_fetch_add_explicit(&table->pages[i]->refs, 1, memory_order_relaxed);
        }
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        table->buckets[i] = from->buckets[i];
        if (table->buckets[i] != NULL) {
            atomic_fetch_add_explicit(&table->buckets[i]->refs, 1, memory_order_relaxed);
        }
    }
    return table;
}

/* The page of a number, the table's own; made where it is missing. NULL without memory. */
static struct page *page_own(struct table *table, uint32_t number) {
    size_t at = number / PAGE_PLACES;
    if (at >= table->n_pages) {
        struct page **pages = mr_realloc(table->pages, (at + 1) * sizeof *pages);
        if (pages == NULL) {
            return NULL;
        }
        memset(pages + table->n_pages, 0, (at + 1 - table->n_pages) * sizeof(struct page *));
        table->pages = pages;
        table->n_pages = at + 1;
    }
    struct page *old = table->pages[at];
    if (old != NULL && is_own(&old->refs)) {
        return old;
    }
    struct page *page = MR_NEW(struct page);
    if (page == NULL) {
        return NULL;
    }
    atomic_init(&page->refs, 1);
    for (size_t i = 0; old != NULL && i < PAGE_PLACES; i++) {
        page->places[i] = old->places[i];
        if (page->places[i] != NULL) {
            model_object_ref(page->places[i]);
        }
    }
    page_unref(old);
    table->pages[at] = page;
    return page;
}

/* The bucket of a hash, the table's own, with room for one more entry. NULL without memory. */
static struct bucket *bucket_own(struct table *table, uint64_t hash) {
    size_t at = (size_t)(hash % BUCKETS);
    struct bucket *old = table->buckets[at];
    if (old != NULL && is_own(&old->refs) && old->len < old->cap) {
        return old;
    }
    uint32_t len = old == NULL ? 0 : old->len;
    uint32_t cap = len + 1 + len / 2;
    struct bucket *bucket = mr_alloc(sizeof *bucket + cap * sizeof bucket->entries[0]);
    if (bucket == NULL) {
        return NULL;
    }
    atomic_init(&bucket->refs, 1);
    bucket->len = len;
    bucket->cap = cap;
    if (len > 0) {
        memcpy(bucket->entries, old->entries, len * sizeof bucket->entries[0]);
    }
    bucket_unref(old);
    table->buckets[at] = bucket;
    return bucket;
}

/* First entry with a hash ≥ this one. */
static uint32_t bucket_at(const struct bucket *bucket, uint64_t hash) {
    uint32_t from = 0;
    uint32_t to = bucket == NULL ? 0 : bucket->len;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (bucket->entries[middle].hash < hash) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static struct model_object *table_by_id(const struct table *table, mr_str id) {
    if (table == NULL) {
        return NULL;
    }
    uint64_t hash = mr_str_hash(id, ID_SEED);
    const struct bucket *bucket = table->buckets[hash % BUCKETS];
    uint32_t at = bucket_at(bucket, hash);
    for (; bucket != NULL && at < bucket->len && bucket->entries[at].hash == hash; at++) {
        struct model_object *object = bucket->entries[at].object;
        if (mr_str_eq(mr_str_c(object->id), id)) {
            return object;
        }
    }
    return NULL;
}

static struct model_object *table_by_number(const struct table *table, uint32_t number) {
    size_t at = number / PAGE_PLACES;
    if (table == NULL || at >= table->n_pages || table->pages[at] == NULL) {
        return NULL;
    }
    return table->pages[at]->places[number % PAGE_PLACES];
}

static void bucket_remove(struct bucket *bucket, const struct model_object *object) {
    for (uint32_t i = 0; i < bucket->len; i++) {
        if (bucket->entries[i].object == object) {
            memmove(bucket->entries + i, bucket->entries + i + 1,
                    (bucket->len - i - 1) * sizeof bucket->entries[0]);
            bucket->len--;
            return;
        }
    }
    MR_ASSERT(false && "every object is in its bucket");
}

/* Takes object's reference; old, where there is one of that number, is replaced. */
static mr_err table_put(struct table *table, struct model_object *object) {
    mr_str id = mr_str_c(object->id);
    const struct model_object *named = table_by_id(table, id);
    if (named != NULL && named->number != object->number) {
        return MR_ERR(MR_E_EXISTS);
    }
    struct model_object *old = table_by_number(table, object->number);
    MR_ASSERT(old == NULL || strcmp(old->id, object->id) == 0);
    uint64_t hash = mr_str_hash(id, ID_SEED);
    struct page *page = page_own(table, object->number);
    struct bucket *bucket = page == NULL ? NULL : bucket_own(table, hash);
    if (bucket == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (old != NULL) {
        bucket_remove(bucket, old);
        table->count--;
    }
    uint32_t at = bucket_at(bucket, hash);
    memmove(bucket->entries + at + 1, bucket->entries + at,
            (bucket->len - at) * sizeof bucket->entries[0]);
    bucket->entries[at] = (struct bucket_entry){.hash = hash, .object = object};
    bucket->len++;
    page->places[object->number % PAGE_PLACES] = object;
    table->count++;
    model_object_unref(old);
    return MR_OK;
}

static mr_err table_remove(struct table *table, uint32_t number) {
    struct model_object *old = table_by_number(table, number);
    if (old == NULL) {
        return MR_OK;
    }
    struct page *page = page_own(table, number);
    struct bucket *bucket =
        page == NULL ? NULL : bucket_own(table, mr_str_hash(mr_str_c(old->id), ID_SEED));
    if (bucket == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    bucket_remove(bucket, old);
    page->places[number % PAGE_PLACES] = NULL;
    table->count--;
    model_object_unref(old);
    return MR_OK;
}

/* ---- reading ---- */

struct snapshot *snapshot_ref(struct snapshot *snapshot) {
    uint32_t old = atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    MR_ASSERT(old > 0);
    return snapshot;
}

void snapshot_unref(struct snapshot *snapshot) {
    if (snapshot == NULL ||
        atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < MODEL_KIND_COUNT; i++) {
        table_unref(snapshot->tables[i]);
    }
    auth_keyring_unref(snapshot->keyring);
    catalogue_unref(snapshot->catalogue);
    mr_free(snapshot);
}

uint64_t snapshot_version(const struct snapshot *snapshot) {
    return snapshot->version;
}

struct auth_keyring *snapshot_keyring(const struct snapshot *snapshot) {
    return snapshot->keyring;
}

struct catalogue *snapshot_catalogue(const struct snapshot *snapshot) {
    return snapshot->catalogue;
}

/* The object is the first member of every kind. */
const struct model_account *snapshot_account(const struct snapshot *snapshot, uint32_t number) {
    return (const void *)table_by_number(snapshot->tables[MODEL_ACCOUNT], number);
}

const struct model_account *snapshot_account_by_id(const struct snapshot *snapshot, mr_str id) {
    return (const void *)table_by_id(snapshot->tables[MODEL_ACCOUNT], id);
}

bool snapshot_account_is_within(const struct snapshot *snapshot,
                                const struct model_account *account, uint32_t ancestor) {
    for (int level = 0; account != NULL && level < MODEL_ACCOUNT_LEVELS_MAX; level++) {
        if (account->object.number == ancestor) {
            return true;
        }
        account = snapshot_account(snapshot, account->parent);
    }
    return false;
}

const struct model_client *snapshot_client_by_id(const struct snapshot *snapshot, mr_str id) {
    return (const void *)table_by_id(snapshot->tables[MODEL_CLIENT], id);
}

const struct model_user *snapshot_user(const struct snapshot *snapshot, uint32_t number) {
    return (const void *)table_by_number(snapshot->tables[MODEL_USER], number);
}

const struct model_session *snapshot_session_by_id(const struct snapshot *snapshot, mr_str id) {
    return (const void *)table_by_id(snapshot->tables[MODEL_SESSION], id);
}

const struct model_destination *snapshot_destination(const struct snapshot *snapshot,
                                                     uint32_t number) {
    return (const void *)table_by_number(snapshot->tables[MODEL_DESTINATION], number);
}

const struct model_destination *snapshot_destination_by_id(const struct snapshot *snapshot,
                                                           mr_str id) {
    return (const void *)table_by_id(snapshot->tables[MODEL_DESTINATION], id);
}

const struct model_rule *snapshot_rule(const struct snapshot *snapshot, uint32_t number) {
    return (const void *)table_by_number(snapshot->tables[MODEL_RULE], number);
}

size_t snapshot_count(const struct snapshot *snapshot, enum model_kind kind) {
    const struct table *table = snapshot->tables[kind];
    return table == NULL ? 0 : table->count;
}

const struct model_object *snapshot_next(const struct snapshot *snapshot, enum model_kind kind,
                                         uint32_t from) {
    const struct table *table = snapshot->tables[kind];
    for (size_t at = from / PAGE_PLACES; table != NULL && at < table->n_pages; at++) {
        const struct page *page = table->pages[at];
        size_t first = at == from / PAGE_PLACES ? from % PAGE_PLACES : 0;
        for (size_t i = first; page != NULL && i < PAGE_PLACES; i++) {
            if (page->places[i] != NULL) {
                return page->places[i];
            }
        }
    }
    return NULL;
}

mr_err snapshot_check_claims(const struct snapshot *snapshot, const struct auth_claims *claims,
                             const struct model_account **ret_account,
                             const struct model_client **ret_client) {
    const struct model_client *client =
        snapshot_client_by_id(snapshot, mr_str_c(claims->client_id));
    if (client == NULL || !client->is_enabled || client->generation != claims->generation) {
        return MR_ERR(AUTH_E_REVOKED);
    }
    const struct model_account *account = snapshot_account(snapshot, client->account);
    if (account == NULL || strcmp(account->object.id, claims->account_id) != 0) {
        return MR_ERR(AUTH_E_REVOKED);
    }
    *ret_account = account;
    *ret_client = client;
    return MR_OK;
}

mr_err snapshot_check_session(const struct snapshot *snapshot, mr_str id, int64_t now_ms,
                              int64_t idle_ms, const struct model_account **ret_account,
                              const struct model_user **ret_user,
                              const struct model_session **ret_session) {
    const struct model_session *session = snapshot_session_by_id(snapshot, id);
    if (session == NULL || now_ms >= session->expires_ms) {
        return MR_ERR(AUTH_E_REVOKED);
    }
    int64_t seen_ms = atomic_load_explicit(&session->seen_ms, memory_order_relaxed);
    const struct model_user *user = snapshot_user(snapshot, session->user);
    if (now_ms - seen_ms > idle_ms || user == NULL || !user->is_active) {
        return MR_ERR(AUTH_E_REVOKED);
    }
    const struct model_account *account = snapshot_account(snapshot, user->account);
    if (account == NULL) {
        return MR_ERR(AUTH_E_REVOKED);
    }
    *ret_account = account;
    *ret_user = user;
    *ret_session = session;
    return MR_OK;
}

/* ---- building ---- */

mr_err snapshot_build(struct snapshot *base, struct snapshot_builder **ret_builder) {
    struct snapshot_builder *builder = MR_NEW(struct snapshot_builder);
    struct snapshot *next = MR_NEW(struct snapshot);
    if (builder == NULL || next == NULL) {
        mr_free(builder);
        mr_free(next);
        return MR_ERR(MR_E_NOMEM);
    }
    atomic_init(&next->refs, 1);
    next->version = 1;
    if (base != NULL) {
        next->version = base->version + 1;
        next->keyring = base->keyring == NULL ? NULL : auth_keyring_ref(base->keyring);
        next->catalogue = base->catalogue == NULL ? NULL : catalogue_ref(base->catalogue);
        for (size_t i = 0; i < MODEL_KIND_COUNT; i++) {
            next->tables[i] = base->tables[i];
            if (next->tables[i] != NULL) {
                atomic_fetch_add_explicit(&next->tables[i]->refs, 1, memory_order_relaxed);
            }
        }
    }
    builder->next = next;
    *ret_builder = builder;
    return MR_OK;
}

/* The builder's own table of a kind. NULL without memory. */
static struct table *table_own(struct snapshot_builder *builder, enum model_kind kind) {
    struct table *table = builder->next->tables[kind];
    if (table != NULL && is_own(&table->refs)) {
        return table;
    }
    struct table *copy = table_clone(table);
    if (copy != NULL) {
        table_unref(table);
        builder->next->tables[kind] = copy;
    }
    return copy;
}

mr_err snapshot_put(struct snapshot_builder *builder, struct model_object *object) {
    struct table *table = table_own(builder, object->kind);
    mr_err err = table == NULL ? MR_ERR(MR_E_NOMEM) : table_put(table, object);
    if (mr_is_err(err)) {
        model_object_unref(object);
    }
    return err;
}

mr_err snapshot_remove(struct snapshot_builder *builder, enum model_kind kind, uint32_t number) {
    if (table_by_number(builder->next->tables[kind], number) == NULL) {
        return MR_OK;
    }
    struct table *table = table_own(builder, kind);
    return table == NULL ? MR_ERR(MR_E_NOMEM) : table_remove(table, number);
}

void snapshot_set_keyring(struct snapshot_builder *builder, struct auth_keyring *keyring) {
    struct auth_keyring *old = builder->next->keyring;
    builder->next->keyring = auth_keyring_ref(keyring);
    auth_keyring_unref(old);
}

void snapshot_set_catalogue(struct snapshot_builder *builder, struct catalogue *catalogue) {
    struct catalogue *old = builder->next->catalogue;
    builder->next->catalogue = catalogue_ref(catalogue);
    catalogue_unref(old);
}

const struct snapshot *snapshot_of_builder(const struct snapshot_builder *builder) {
    return builder->next;
}

struct snapshot *snapshot_finish(struct snapshot_builder *builder) {
    struct snapshot *next = builder->next;
    mr_free(builder);
    return next;
}

void snapshot_abandon(struct snapshot_builder *builder) {
    if (builder != NULL) {
        snapshot_unref(builder->next);
        mr_free(builder);
    }
}
