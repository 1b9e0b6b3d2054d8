/* Credentials. See credentials.h. */
#include "sink/aws/credentials.h"

#include "base/arena.h"
#include "base/mem.h"
#include "json/tape.h"

#define JSON_MAX ((size_t)16 << 10)

/* What can stand in a header field and in a signature. */
static bool is_visible(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || (unsigned char)text.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return text.len > 0;
}

mr_err aws_credentials_new(struct secret_slab *slab, mr_str access_key, mr_str secret_key,
                           mr_str session_token, int64_t expires_ms,
                           struct aws_credentials **ret_credentials) {
    if (!is_visible(access_key) || access_key.len > AWS_ACCESS_KEY_MAX || !is_visible(secret_key) ||
        mr_str_find_byte(access_key, '/', 0) != SIZE_MAX ||
        mr_str_find_byte(access_key, ',', 0) != SIZE_MAX ||
        (!mr_str_is_absent(session_token) && !is_visible(session_token))) {
        return MR_ERR(MR_E_INVALID);
    }
    struct aws_credentials *credentials = MR_NEW(struct aws_credentials);
    if (credentials == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    credentials->refs = 1;
    credentials->expires_ms = expires_ms;
    MR_ASSERT(mr_str_to_c(access_key, credentials->access_key, sizeof credentials->access_key));
    mr_err err = mr_secret_new(slab, secret_key, &credentials->secret_key);
    if (mr_is_ok(err) && !mr_str_is_absent(session_token)) {
        err = mr_secret_new(slab, session_token, &credentials->session_token);
    }
    if (mr_is_err(err)) {
        aws_credentials_unref(credentials);
        return err;
    }
    *ret_credentials = credentials;
    return MR_OK;
}

struct aws_credentials *aws_credentials_ref(struct aws_credentials *credentials) {
    credentials->refs++;
    return credentials;
}

void aws_credentials_unref(struct aws_credentials *credentials) {
    if (credentials == NULL || --credentials->refs > 0) {
        return;
    }
    mr_secret_unref(&credentials->secret_key);
    mr_secret_unref(&credentials->session_token);
    sigv4_key_wipe(&credentials->key);
    mr_free(credentials);
}

static mr_err read_object(struct secret_slab *slab, json_value root, mr_arena *arena,
                          struct aws_credentials **ret_credentials) {
    json_value code = json_find(root, MR_STR("Code"));
    if (!json_is_absent(code) && !json_string_eq(code, MR_STR("Success"))) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_str texts[4];
    static const mr_str names[4] = {
        {"AccessKeyId", 11}, {"SecretAccessKey", 15}, {"Token", 5}, {"Expiration", 10}};
    for (size_t i = 0; i < 4; i++) {
        MR_TRY(json_string(json_find(root, names[i]), arena, &texts[i]));
    }
    mr_wall expires;
    MR_TRY(mr_time_parse_rfc3339(texts[3], &expires));
    return aws_credentials_new(slab, texts[0], texts[1], texts[2], mr_wall_ms(expires),
                               ret_credentials);
}

mr_err aws_credentials_read(struct secret_slab *slab, mr_str json,
                            struct aws_credentials **ret_credentials) {
    json_tape tape;
    mr_arena arena;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_arena_init(&arena, JSON_MAX);
    mr_err err = json.len > JSON_MAX ? MR_ERR(MR_E_INVALID) : json_tape_read(&tape, json, NULL);
    if (mr_is_ok(err)) {
        err = read_object(slab, json_root(&tape), &arena, ret_credentials);
    }
    json_tape_done(&tape);
    mr_arena_done(&arena);
    return mr_is_ok(err) || mr_err_is(err, MR_E_NOMEM) || mr_err_is(err, MR_E_LIMIT)
               ? err
               : MR_ERR(MR_E_INVALID);
}
