/* AWS Signature Version 4. See sigv4.h.
 *
 *   canonical request   method, path, query, fields, names of fields, hash of the body
 *   string to sign      algorithm, time, scope (day/region/service), hash of the canonical request
 *   signature           HMAC by a key that is four HMACs away from the secret
 *
 * The path is encoded as it is sent, so that a percent sign in it is encoded again: AWS asks for
 * two encodings of every service but S3. Parameters are decoded and encoded, so that they count
 * once. Names and values are compared by bytes after encoding. */
#include "sink/aws/sigv4.h"

#include "crypto/secret.h"

#include <stdio.h>
#include <stdlib.h>

#define CANONICAL_MAX ((size_t)1 << 20)
#define TEXT_MAX      4096
#define ALGORITHM     "AWS4-HMAC-SHA256"

void sigv4_key_wipe(struct sigv4_key *key) {
    crypto_wipe(key, sizeof *key);
}

void sigv4_result_init(struct sigv4_result *result) {
    mr_buf_init(&result->canonical, CANONICAL_MAX);
    mr_buf_init(&result->to_sign, TEXT_MAX);
    mr_buf_init(&result->authorization, TEXT_MAX * 2);
}

void sigv4_result_done(struct sigv4_result *result) {
    mr_buf_done(&result->canonical);
    mr_buf_done(&result->to_sign);
    mr_buf_done(&result->authorization);
}

/* ---- encoding ---- */

static const char digits_upper[] = "0123456789ABCDEF";
static const char digits_lower[] = "0123456789abcdef";

static bool is_unreserved(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static mr_err put_encoded(mr_buf *out, char c) {
    if (is_unreserved(c)) {
        return mr_buf_byte(out, c);
    }
    const char code[3] = {'%', digits_upper[(unsigned char)c >> 4],
                          digits_upper[(unsigned char)c & 15]};
    return mr_buf_append(out, code, sizeof code);
}

static void put_hex(const uint8_t hash[static CRYPTO_SHA256_BYTES],
                    char out[static 2 * CRYPTO_SHA256_BYTES + 1]) {
    for (size_t i = 0; i < CRYPTO_SHA256_BYTES; i++) {
        out[2 * i] = digits_lower[hash[i] >> 4];
        out[2 * i + 1] = digits_lower[hash[i] & 15];
    }
    out[2 * CRYPTO_SHA256_BYTES] = '\0';
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static mr_err put_parameter(mr_buf *out, mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%' && text.len - i > 2 && hex_value(text.ptr[i + 1]) >= 0 &&
            hex_value(text.ptr[i + 2]) >= 0) {
            c = (char)(hex_value(text.ptr[i + 1]) * 16 + hex_value(text.ptr[i + 2]));
            i += 2;
        }
        MR_TRY(put_encoded(out, c));
    }
    return MR_OK;
}

/* ---- path ---- */

/* RFC 3986 §5.2.4, and empty segments left out but a last one. As AWS's own libraries do it, a last
 * dot segment leaves no slash behind. */
static mr_err put_normal_path(mr_buf *out, mr_str path) {
    size_t root = out->len;
    mr_str rest = path;
    mr_str segment;
    bool ends_in_slash = true;
    while (mr_str_split(&rest, '/', &segment)) {
        bool is_dot = mr_str_eq(segment, MR_STR("."));
        bool is_up = mr_str_eq(segment, MR_STR(".."));
        ends_in_slash = segment.len == 0;
        if (is_up) {
            while (out->len > root && out->ptr[out->len - 1] != '/') {
                mr_buf_truncate(out, out->len - 1);
            }
            mr_buf_truncate(out, out->len > root ? out->len - 1 : root);
        } else if (segment.len > 0 && !is_dot) {
            MR_TRY(mr_buf_byte(out, '/'));
            for (size_t i = 0; i < segment.len; i++) {
                MR_TRY(put_encoded(out, segment.ptr[i]));
            }
        }
    }
    return ends_in_slash || out->len == root ? mr_buf_byte(out, '/') : MR_OK;
}

static mr_err put_path(mr_buf *out, const struct sigv4_request *request) {
    if (request->path.len == 0) {
        return mr_buf_byte(out, '/');
    }
    if (!request->keeps_path) {
        return put_normal_path(out, request->path);
    }
    for (size_t i = 0; i < request->path.len; i++) {
        char c = request->path.ptr[i];
        MR_TRY(c == '/' ? mr_buf_byte(out, c) : put_encoded(out, c));
    }
    return MR_OK;
}

/* ---- query ---- */

struct pair {
    mr_str name;
    mr_str value;
};

static int pair_order(const void *a, const void *b) {
    const struct pair *x = a;
    const struct pair *y = b;
    int order = mr_str_cmp(x->name, y->name);
    return order != 0 ? order : mr_str_cmp(x->value, y->value);
}

static mr_err put_query(mr_buf *out, mr_str query) {
    struct pair pairs[SIGV4_PARAMS_MAX];
    size_t at[SIGV4_PARAMS_MAX][3]; /* of name, value and end in text */
    size_t n = 0;
    mr_buf text;
    mr_buf_init(&text, CANONICAL_MAX);
    mr_err err = MR_OK;
    mr_str rest = query;
    mr_str part;
    while (query.len > 0 && mr_is_ok(err) && mr_str_split(&rest, '&', &part)) {
        if (part.len == 0) {
            continue;
        }
        if (n == SIGV4_PARAMS_MAX) {
            err = MR_ERR(MR_E_INVALID);
            break;
        }
        size_t equals = mr_str_find_byte(part, '=', 0);
        size_t name_len = equals == SIZE_MAX ? part.len : equals;
        at[n][0] = text.len;
        err = put_parameter(&text, mr_str_slice(part, 0, name_len));
        at[n][1] = text.len;
        if (mr_is_ok(err) && equals != SIZE_MAX) {
            err = put_parameter(&text, mr_str_slice(part, equals + 1, part.len));
        }
        at[n++][2] = text.len;
    }
    mr_str all = mr_buf_view(&text);
    for (size_t i = 0; i < n; i++) {
        pairs[i] = (struct pair){mr_str_slice(all, at[i][0], at[i][1]),
                                 mr_str_slice(all, at[i][1], at[i][2])};
    }
    qsort(pairs, n, sizeof pairs[0], pair_order);
    for (size_t i = 0; i < n && mr_is_ok(err); i++) {
        err = mr_buf_printf(out, "%s%.*s=%.*s", i > 0 ? "&" : "", MR_FMT(pairs[i].name),
                            MR_FMT(pairs[i].value));
    }
    mr_buf_done(&text);
    return err;
}

/* ---- fields ---- */

struct signed_field {
    mr_str name;
    mr_str value;
    size_t order; /* of the request: values of one name stay in it */
};

struct field_set {
    struct signed_field list[SIGV4_FIELDS_MAX];
    size_t n;
};

/* What servers and proxies on the way change or take out. */
static bool is_unsigned(mr_str name) {
    static const char *const names[] = {"authorization",     "connection", "expect",
                                        "transfer-encoding", "upgrade",    "user-agent",
                                        "x-amzn-trace-id"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (mr_str_eq_nocase(name, mr_str_c(names[i]))) {
            return true;
        }
    }
    return false;
}

static mr_err add_field(struct field_set *set, const char *name, mr_str value) {
    if (set->n == SIGV4_FIELDS_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    set->list[set->n] = (struct signed_field){mr_str_c(name), value, set->n};
    set->n++;
    return MR_OK;
}

static int lower(char c) {
    return c >= 'A' && c <= 'Z' ? c + 32 : (unsigned char)c;
}

static int name_order(mr_str a, mr_str b) {
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i])) {
            return lower(a.ptr[i]) - lower(b.ptr[i]);
        }
    }
    return (a.len > b.len) - (a.len < b.len);
}

static int field_order(const void *a, const void *b) {
    const struct signed_field *x = a;
    const struct signed_field *y = b;
    int order = name_order(x->name, y->name);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static mr_err collect_fields(const struct sigv4_signer *signer, const struct sigv4_request *request,
                             const struct sigv4_result *result, struct field_set *set) {
    set->n = 0;
    for (size_t i = 0; i < request->fields.len; i++) {
        const mr_field *field = &request->fields.ptr[i];
        if (is_unsigned(field->name)) {
            continue;
        }
        if (set->n == SIGV4_FIELDS_MAX) {
            return MR_ERR(MR_E_INVALID);
        }
        set->list[set->n] = (struct signed_field){field->name, field->value, set->n};
        set->n++;
    }
    MR_TRY(add_field(set, "x-amz-date", mr_str_c(result->date)));
    if (request->signs_body) {
        MR_TRY(add_field(set, "x-amz-content-sha256", mr_str_c(result->body_hash)));
    }
    if (!mr_str_is_absent(signer->session_token)) {
        MR_TRY(add_field(set, "x-amz-security-token", signer->session_token));
    }
    qsort(set->list, set->n, sizeof set->list[0], field_order);
    return MR_OK;
}

static mr_err put_lower(mr_buf *out, mr_str name) {
    for (size_t i = 0; i < name.len; i++) {
        MR_TRY(mr_buf_byte(out, (char)lower(name.ptr[i])));
    }
    return MR_OK;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Trimmed, runs of white space as one space. */
static mr_err put_value(mr_buf *out, mr_str value) {
    bool owes_space = false;
    bool is_first = true;
    for (size_t i = 0; i < value.len; i++) {
        if (is_space(value.ptr[i])) {
            owes_space = !is_first;
            continue;
        }
        MR_TRY(owes_space ? mr_buf_byte(out, ' ') : MR_OK);
        MR_TRY(mr_buf_byte(out, value.ptr[i]));
        owes_space = false;
        is_first = false;
    }
    return MR_OK;
}

static mr_err put_fields(mr_buf *out, const struct field_set *set) {
    for (size_t i = 0; i < set->n; i++) {
        bool is_same = i > 0 && name_order(set->list[i - 1].name, set->list[i].name) == 0;
        if (is_same) {
            mr_buf_truncate(out, out->len - 1);
            MR_TRY(mr_buf_byte(out, ','));
        } else {
            MR_TRY(put_lower(out, set->list[i].name));
            MR_TRY(mr_buf_byte(out, ':'));
        }
        MR_TRY(put_value(out, set->list[i].value));
        MR_TRY(mr_buf_byte(out, '\n'));
    }
    return MR_OK;
}

static mr_err put_names(mr_buf *out, const struct field_set *set) {
    for (size_t i = 0; i < set->n; i++) {
        if (i > 0 && name_order(set->list[i - 1].name, set->list[i].name) == 0) {
            continue;
        }
        MR_TRY(i > 0 ? mr_buf_byte(out, ';') : MR_OK);
        MR_TRY(put_lower(out, set->list[i].name));
    }
    return MR_OK;
}

/* ---- the three texts ---- */

static mr_err put_canonical(const struct sigv4_request *request, const struct field_set *set,
                            struct sigv4_result *result) {
    mr_buf *out = &result->canonical;
    MR_TRY(mr_buf_str(out, request->method));
    MR_TRY(mr_buf_byte(out, '\n'));
    MR_TRY(put_path(out, request));
    MR_TRY(mr_buf_byte(out, '\n'));
    MR_TRY(put_query(out, request->query));
    MR_TRY(mr_buf_byte(out, '\n'));
    MR_TRY(put_fields(out, set));
    MR_TRY(mr_buf_byte(out, '\n'));
    MR_TRY(put_names(out, set));
    return mr_buf_printf(out, "\n%s", result->body_hash);
}

static mr_err hmac(struct crypto_hasher *hasher, mr_str key, mr_str text,
                   uint8_t out[static SIGV4_KEY_BYTES]) {
    return crypto_hmac_sha256(hasher, key, &text, 1, out);
}

static mr_str key_view(const uint8_t *key) {
    return mr_str_of((const char *)key, SIGV4_KEY_BYTES);
}

static mr_err derive(struct crypto_hasher *hasher, const struct sigv4_signer *signer, mr_str day,
                     uint8_t key[static SIGV4_KEY_BYTES]) {
    mr_buf first;
    mr_buf_init(&first, TEXT_MAX);
    mr_err err = mr_buf_printf(&first, "AWS4%.*s", MR_FMT(signer->secret_key));
    if (mr_is_ok(err)) {
        err = hmac(hasher, mr_buf_view(&first), day, key);
    }
    crypto_wipe(first.ptr, first.len);
    mr_buf_done(&first);
    const mr_str parts[] = {signer->region, signer->service, MR_STR("aws4_request")};
    for (size_t i = 0; i < 3 && mr_is_ok(err); i++) {
        err = hmac(hasher, key_view(key), parts[i], key);
    }
    return err;
}

static mr_err refresh_key(struct crypto_hasher *hasher, const struct sigv4_signer *signer,
                          const char *date, struct sigv4_key *key) {
    char scope[sizeof key->scope];
    uint8_t secret_hash[CRYPTO_SHA256_BYTES];
    if (signer->region.len > SIGV4_REGION_MAX || signer->service.len > SIGV4_REGION_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    snprintf(scope, sizeof scope, "%.8s/%.*s/%.*s/aws4_request", date, MR_FMT(signer->region),
             MR_FMT(signer->service));
    MR_TRY(crypto_sha256(hasher, &signer->secret_key, 1, secret_hash));
    if (key->is_derived && strcmp(scope, key->scope) == 0 &&
        crypto_equal(secret_hash, key->secret_hash, sizeof secret_hash)) {
        return MR_OK;
    }
    MR_TRY(derive(hasher, signer, mr_str_of(date, 8), key->key));
    memcpy(key->scope, scope, sizeof scope);
    memcpy(key->secret_hash, secret_hash, sizeof secret_hash);
    key->is_derived = true;
    return MR_OK;
}

static mr_err put_authorization(struct crypto_hasher *hasher, const struct sigv4_key *key,
                                const struct sigv4_signer *signer, const struct field_set *set,
                                struct sigv4_result *result) {
    uint8_t hash[CRYPTO_SHA256_BYTES];
    char hex[2 * CRYPTO_SHA256_BYTES + 1];
    mr_str canonical = mr_buf_view(&result->canonical);
    MR_TRY(crypto_sha256(hasher, &canonical, 1, hash));
    put_hex(hash, hex);
    MR_TRY(
        mr_buf_printf(&result->to_sign, ALGORITHM "\n%s\n%s\n%s", result->date, key->scope, hex));
    MR_TRY(hmac(hasher, key_view(key->key), mr_buf_view(&result->to_sign), hash));
    put_hex(hash, hex);
    mr_buf *out = &result->authorization;
    MR_TRY(mr_buf_printf(out, ALGORITHM " Credential=%.*s/%s, SignedHeaders=",
                         MR_FMT(signer->access_key), key->scope));
    MR_TRY(put_names(out, set));
    return mr_buf_printf(out, ", Signature=%s", hex);
}

mr_err sigv4_sign(struct crypto_hasher *hasher, struct sigv4_key *key,
                  const struct sigv4_signer *signer, const struct sigv4_request *request,
                  mr_wall now, struct sigv4_result *ret_result) {
    struct field_set set;
    uint8_t hash[CRYPTO_SHA256_BYTES];
    mr_civil t = mr_civil_of_wall(now);
    snprintf(ret_result->date, sizeof ret_result->date, "%04d%02d%02dT%02d%02d%02dZ",
             t.year % 10000, t.month % 100, t.day % 100, t.hour % 100, t.minute % 100,
             t.second % 100);
    MR_TRY(crypto_sha256(hasher, &request->body, 1, hash));
    put_hex(hash, ret_result->body_hash);
    MR_TRY(refresh_key(hasher, signer, ret_result->date, key));
    MR_TRY(collect_fields(signer, request, ret_result, &set));
    MR_TRY(put_canonical(request, &set, ret_result));
    return put_authorization(hasher, key, signer, &set, ret_result);
}
