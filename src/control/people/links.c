/* Links. See links.h.
 *
 * The row's key is the SHA-256 of the token: with 256 bits of chance nothing slower is needed, and
 * looking it up by the hash tells nothing by its timing. A row goes when it is used; those whose
 * time is over are swept whenever one is made, a bounded number each time. */
#include "control/people/links.h"

#include "base/num.h"
#include "control/private.h"

#define SECRET_BYTES 32
#define SWEPT_MAX    "100"

#define MINUTE_MS (INT64_C(60) * 1000)

const char *const link_kind_names[LINK_KIND_COUNT] = {
    [LINK_SETUP] = "setup",
    [LINK_INVITE] = "invite",
    [LINK_RESET] = "reset",
    [LINK_PORTAL] = "portal",
};
static const int64_t lasts_ms[LINK_KIND_COUNT] = {
    [LINK_SETUP] = 0, /* until it is used */
    [LINK_INVITE] = 7 * 24 * 60 * MINUTE_MS,
    [LINK_RESET] = 60 * MINUTE_MS,
    [LINK_PORTAL] = 5 * MINUTE_MS,
};

const char *link_kind_name(enum link_kind kind) {
    MR_ASSERT(kind < LINK_KIND_COUNT);
    return link_kind_names[kind];
}

mr_str link_url(mr_str base_url, const char *token, mr_arena *arena) {
    mr_buf url;
    mr_buf_init_private(&url, LINK_URL_MAX);
    mr_str copy = MR_STR_NONE;
    if (mr_is_ok(mr_buf_printf(&url, "%.*s/links/%s", MR_FMT(base_url), token))) {
        copy = mr_arena_str(arena, mr_buf_view(&url));
        crypto_wipe(url.ptr, url.len);
    }
    mr_buf_done(&url);
    return copy;
}

static mr_err hash_of(struct control *control, mr_str token,
                      uint8_t hash[static CRYPTO_SHA256_BYTES]) {
    return crypto_sha256(control->hasher, &token, 1, hash);
}

/* ---- making ---- */

static mr_err sweep(struct control *control, int64_t now_ms) {
    struct query query = query_begin(
        &control->store, "DELETE FROM links WHERE token_hash IN (SELECT token_hash FROM links"
                         " WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT " SWEPT_MAX ")");
    query_i64(&query, now_ms);
    return query_run(&query);
}

mr_err links_end(struct control *control, enum link_kind kind, uint32_t user) {
    struct query query = query_begin(
        &control->store, "DELETE FROM links WHERE kind = ?1 AND coalesce(user, 0) = ?2");
    query_text(&query, mr_str_c(link_kind_names[kind]));
    query_i64(&query, user);
    return query_run(&query);
}

static mr_err insert(struct control *control, mr_str hash, const struct link_view *link,
                     mr_wall now) {
    struct query query = query_begin(
        &control->store, "INSERT INTO links(token_hash, kind, account, user, created_ms,"
                         " expires_ms, detail) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    query_blob(&query, hash);
    query_text(&query, mr_str_c(link_kind_names[link->kind]));
    query_i64(&query, link->account);
    if (link->user == 0) {
        query_null(&query);
    } else {
        query_i64(&query, link->user);
    }
    query_i64(&query, mr_wall_ms(now));
    query_i64(&query, link->expires_ms);
    query_text(&query, mr_str_is_absent(link->detail) ? MR_STR("{}") : link->detail);
    return query_run(&query);
}

/* 256 random bits as text. */
static mr_err make_token(char token[static LINK_TOKEN_SIZE]) {
    uint8_t bytes[SECRET_BYTES];
    mr_buf text;
    mr_buf_init_private(&text, LINK_TOKEN_CHARS);
    crypto_random(bytes, sizeof bytes);
    mr_err err = mr_base64url_encode(mr_str_of((const char *)bytes, sizeof bytes), &text);
    crypto_wipe(bytes, sizeof bytes);
    if (mr_is_ok(err)) {
        MR_ASSERT(text.len == LINK_TOKEN_CHARS &&
                  mr_str_to_c(mr_buf_view(&text), token, LINK_TOKEN_SIZE));
        crypto_wipe(text.ptr, text.len);
    }
    mr_buf_done(&text);
    return err;
}

mr_err links_make(struct control *control, enum link_kind kind, uint32_t account, uint32_t user,
                  mr_str detail, mr_wall now, char ret_token[static LINK_TOKEN_SIZE],
                  int64_t *ret_expires_ms) {
    MR_ASSERT(control->store.depth > 0 && kind < LINK_KIND_COUNT);
    MR_ASSERT((user == 0) == (kind == LINK_SETUP));
    const struct link_view link = {
        .kind = kind,
        .account = account,
        .user = user,
        .expires_ms = lasts_ms[kind] == 0 ? INT64_MAX : mr_wall_ms(now) + lasts_ms[kind],
        .detail = detail};
    char token[LINK_TOKEN_SIZE];
    uint8_t hash[CRYPTO_SHA256_BYTES];
    MR_TRY(sweep(control, mr_wall_ms(now)));
    if (kind != LINK_PORTAL) {
        MR_TRY(links_end(control, kind, user));
    }
    MR_TRY(make_token(token));
    mr_err err = hash_of(control, mr_str_of(token, LINK_TOKEN_CHARS), hash);
    if (mr_is_ok(err)) {
        err = insert(control, mr_str_of((const char *)hash, sizeof hash), &link, now);
    }
    if (mr_is_ok(err)) {
        memcpy(ret_token, token, sizeof token);
        *ret_expires_ms = link.expires_ms;
    }
    crypto_wipe(token, sizeof token);
    return err;
}

/* ---- finding ---- */

static mr_err refuse_link(struct refusal *ret_refusal) {
    return refuse(ret_refusal, REFUSAL_NOT_FOUND,
                  "This link is not valid: it was used, has expired, or never was one. Ask for a "
                  "new one.");
}

static enum link_kind kind_of(mr_str name) {
    size_t i = 0;
    while (i + 1 < LINK_KIND_COUNT && !mr_str_eq(name, mr_str_c(link_kind_names[i]))) {
        i++;
    }
    return (enum link_kind)i;
}

static mr_err read_row(struct query *query, mr_arena *arena, struct link_view *link,
                       bool *ret_found) {
    while (query_row(query)) {
        *link = (struct link_view){
            .kind = kind_of(query_col_bytes(query, 0)),
            .account = (uint32_t)query_col_i64(query, 1),
            .user = query_col_is_null(query, 2) ? 0 : (uint32_t)query_col_i64(query, 2),
            .expires_ms = query_col_i64(query, 3),
            .detail = query_col_text(query, 4, arena),
        };
        *ret_found = true;
    }
    return query_end(query);
}

/* sql reads or removes the row; what it gives is the link. */
static mr_err look_up(struct control *control, const char *sql, mr_str token, mr_wall now,
                      mr_arena *arena, struct link_view *ret_link, struct refusal *ret_refusal) {
    uint8_t hash[CRYPTO_SHA256_BYTES];
    struct link_view link = {.kind = LINK_SETUP};
    bool found = false;
    if (token.len != LINK_TOKEN_CHARS) {
        return refuse_link(ret_refusal);
    }
    MR_TRY(hash_of(control, token, hash));
    struct query query = query_begin(&control->store, sql);
    query_blob(&query, mr_str_of((const char *)hash, sizeof hash));
    query_i64(&query, mr_wall_ms(now));
    MR_TRY(read_row(&query, arena, &link, &found));
    if (!found) {
        return refuse_link(ret_refusal);
    }
    *ret_link = link;
    return MR_OK;
}

#define COLUMNS "kind, account, user, expires_ms, detail"

mr_err links_find(struct control *control, mr_str token, mr_wall now, mr_arena *arena,
                  struct link_view *ret_link, struct refusal *ret_refusal) {
    return refuse_error(
        control,
        look_up(control, "SELECT " COLUMNS " FROM links WHERE token_hash = ?1 AND expires_ms > ?2",
                token, now, arena, ret_link, ret_refusal),
        ret_refusal);
}

mr_err links_take(struct control *control, mr_str token, mr_wall now, mr_arena *arena,
                  struct link_view *ret_link, struct refusal *ret_refusal) {
    MR_ASSERT(control->store.depth > 0);
    return refuse_error(control,
                        look_up(control,
                                "DELETE FROM links WHERE token_hash = ?1 AND expires_ms > ?2"
                                " RETURNING " COLUMNS,
                                token, now, arena, ret_link, ret_refusal),
                        ret_refusal);
}

mr_err links_setup_waits(struct control *control, bool *ret_waits) {
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM links WHERE kind = 'setup'");
    bool waits = false;
    while (query_row(&query)) {
        waits = query_col_i64(&query, 0) > 0;
    }
    MR_TRY(query_end(&query));
    *ret_waits = waits;
    return MR_OK;
}
