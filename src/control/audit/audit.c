/* Rows of the audit log. See control/audit.h.
 *
 * Each row's hash covers the row before it, so that none can be changed, taken out or put between
 * without every later one showing it. */
#include "control/audit.h"

#include "control/private.h"
#include "os/clock.h"

#include <stdio.h>

static const char *const actor_kinds[] = {"system", "client", "user", "nobody"};

static mr_err read_last(struct control *control, int64_t *ret_number,
                        uint8_t hash[static CRYPTO_SHA256_BYTES]) {
    struct query query =
        query_begin(&control->store, "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1");
    *ret_number = 0;
    memset(hash, 0, CRYPTO_SHA256_BYTES);
    while (query_row(&query)) {
        *ret_number = query_col_i64(&query, 0);
        mr_str bytes = query_col_bytes(&query, 1);
        if (bytes.len == CRYPTO_SHA256_BYTES) {
            memcpy(hash, bytes.ptr, CRYPTO_SHA256_BYTES);
        }
    }
    return query_end(&query);
}

/* Parts are separated by a NUL, which none of them can hold. */
static mr_err chain(struct control *control, int64_t number, int64_t at_ms,
                    const struct audit_entry *entry, mr_str detail,
                    uint8_t hash[static CRYPTO_SHA256_BYTES]) {
    const struct control_actor *actor = &control->actor;
    char numbers[96];
    int n = snprintf(numbers, sizeof numbers, "%lld %lld %u", (long long)number, (long long)at_ms,
                     entry->account);
    const mr_str nul = mr_str_of("", 1);
    const mr_str parts[] = {mr_str_of((const char *)hash, CRYPTO_SHA256_BYTES),
                            mr_str_of(numbers, (size_t)n),
                            nul,
                            mr_str_c(actor_kinds[actor->kind]),
                            nul,
                            actor->id,
                            nul,
                            mr_str_c(entry->action),
                            nul,
                            entry->object,
                            nul,
                            detail,
                            nul,
                            actor->address,
                            nul,
                            actor->request_id};
    return crypto_sha256(control->hasher, parts, sizeof parts / sizeof parts[0], hash);
}

static mr_str or_empty(mr_str text) {
    return mr_str_is_absent(text) ? MR_STR("") : text;
}

mr_err audit_add(struct control *control, const struct audit_entry *entry) {
    MR_ASSERT(control->store.depth > 0);
    const struct control_actor *actor = &control->actor;
    int64_t number = 0;
    int64_t at_ms = mr_wall_ms(os_wall_now());
    uint8_t hash[CRYPTO_SHA256_BYTES];
    mr_str detail = mr_str_is_absent(entry->detail) ? MR_STR("{}") : entry->detail;
    MR_TRY(read_last(control, &number, hash));
    number++;
    MR_TRY(chain(control, number, at_ms, entry, detail, hash));
    struct query query = query_begin(
        &control->store,
        "INSERT INTO audit(number, account, actor_kind, actor, action, object, detail, at_ms,"
        " address, request_id, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
    query_i64(&query, number);
    query_i64(&query, entry->account);
    query_text(&query, mr_str_c(actor_kinds[actor->kind]));
    query_text(&query, or_empty(actor->id));
    query_text(&query, mr_str_c(entry->action));
    query_text(&query, or_empty(entry->object));
    query_text(&query, detail);
    query_i64(&query, at_ms);
    query_text(&query, or_empty(actor->address));
    query_text(&query, or_empty(actor->request_id));
    query_blob(&query, mr_str_of((const char *)hash, sizeof hash));
    return query_run(&query);
}
