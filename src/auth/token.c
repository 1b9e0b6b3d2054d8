/* Tokens.
 *
 *   base64url({"alg":"RS256","typ":"JWT","kid":…}) . base64url(claims) . base64url(signature)
 *
 * Only this program issues the tokens that it accepts, so a header is not read at all: each key of
 * the ring knows the encoded header of its own tokens, and a token whose first part is none of them
 * is refused. "alg":"none", HMAC with the public key, `jku` and `crit` tricks have nowhere to
 * stand. The signature is checked before the claims are looked at.
 *
 * Claims: iss, aud, sub, exp, iat, jti, account-id, client-type, client_id, scopes, and gen, the
 * client's generation when the token was issued: revoking raises the generation, which ends all
 * earlier tokens without a list of them. */
#include "auth/token.h"

#include "base/mem.h"
#include "base/num.h"
#include "json/write.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <stdatomic.h>

#define KEYS_MAX      16
#define SIGNATURE_MAX 1024
#define CLAIMS_DEPTH  8
#define HEADER_MAX    256
#define TEXT_MAX      512

struct ring_key {
    struct auth_key key; /* public_der is not kept */
    EVP_PKEY *public_key;
    char header[HEADER_MAX]; /* encoded */
    size_t header_len;
};

struct auth_keyring {
    _Atomic uint32_t refs;
    char issuer[TEXT_MAX];
    char audience[TEXT_MAX];
    size_t n_keys;
    struct ring_key keys[KEYS_MAX];
};

struct auth_signer {
    EVP_PKEY *private_key;
    char header[HEADER_MAX];
    size_t header_len;
};

mr_str auth_client_type_name(enum auth_client_type type) {
    return type == AUTH_CLIENT_ADMIN ? MR_STR("admin") : MR_STR("standard");
}

/* The encoded header of tokens of that key. */
static mr_err header_make(mr_str kid, char out[static HEADER_MAX], size_t *ret_len) {
    mr_buf json;
    mr_buf encoded;
    mr_buf_init(&json, HEADER_MAX);
    mr_buf_init(&encoded, HEADER_MAX);
    json_out writer;
    json_out_init(&writer, &json);
    json_out_object(&writer);
    json_out_member_c(&writer, "alg", "RS256");
    json_out_member_c(&writer, "typ", "JWT");
    json_out_member_str(&writer, "kid", kid);
    json_out_end(&writer);
    mr_err err = json_out_finish(&writer);
    if (mr_is_ok(err)) {
        err = mr_base64url_encode(mr_buf_view(&json), &encoded);
    }
    if (mr_is_ok(err)) {
        memcpy(out, encoded.ptr, encoded.len);
        *ret_len = encoded.len;
    }
    mr_buf_done(&json);
    mr_buf_done(&encoded);
    return err;
}

/* ---- the ring ---- */

static mr_err ring_key_init(struct ring_key *ring_key, const struct auth_key *key) {
    const uint8_t *at = (const uint8_t *)key->public_der.ptr;
    if (key->public_der.len == 0 || key->public_der.len > INT32_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    ring_key->key = *key;
    ring_key->key.public_der = MR_STR_NONE;
    ring_key->public_key = d2i_PUBKEY(NULL, &at, (long)key->public_der.len);
    ERR_clear_error();
    if (ring_key->public_key == NULL || !EVP_PKEY_is_a(ring_key->public_key, "RSA")) {
        return MR_ERR(MR_E_INVALID);
    }
    return header_make(mr_str_c(key->kid), ring_key->header, &ring_key->header_len);
}

mr_err auth_keyring_new(const struct auth_key *keys, size_t n, mr_str issuer, mr_str audience,
                        struct auth_keyring **ret_keyring) {
    if (n == 0 || n > KEYS_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    struct auth_keyring *ring = MR_NEW(struct auth_keyring);
    if (ring == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    atomic_init(&ring->refs, 1);
    mr_err err = MR_OK;
    if (!mr_str_to_c(issuer, ring->issuer, sizeof ring->issuer) ||
        !mr_str_to_c(audience, ring->audience, sizeof ring->audience)) {
        err = MR_ERR(MR_E_INVALID);
    }
    while (mr_is_ok(err) && ring->n_keys < n) {
        err = ring_key_init(&ring->keys[ring->n_keys], &keys[ring->n_keys]);
        ring->n_keys++; /* also where it failed half-way: unref frees what is there */
    }
    if (mr_is_err(err)) {
        auth_keyring_unref(ring);
        return err;
    }
    *ret_keyring = ring;
    return MR_OK;
}

struct auth_keyring *auth_keyring_ref(struct auth_keyring *keyring) {
    atomic_fetch_add_explicit(&keyring->refs, 1, memory_order_relaxed);
    return keyring;
}

void auth_keyring_unref(struct auth_keyring *keyring) {
    if (keyring == NULL || atomic_fetch_sub_explicit(&keyring->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < keyring->n_keys; i++) {
        EVP_PKEY_free(keyring->keys[i].public_key);
    }
    mr_free(keyring);
}

mr_str auth_keyring_issuer(const struct auth_keyring *keyring) {
    return mr_str_c(keyring->issuer);
}

mr_str auth_keyring_audience(const struct auth_keyring *keyring) {
    return mr_str_c(keyring->audience);
}

/* A number of the key, big-endian without leading zeros, in base64url. */
static mr_err write_number(json_out *out, const char *name, EVP_PKEY *key, const char *param) {
    BIGNUM *number = NULL;
    uint8_t bytes[SIGNATURE_MAX];
    if (EVP_PKEY_get_bn_param(key, param, &number) != 1 ||
        (size_t)BN_num_bytes(number) > sizeof bytes) {
        BN_free(number);
        return MR_ERR(MR_E_FAILED);
    }
    int n = BN_bn2bin(number, bytes);
    BN_free(number);
    mr_buf text;
    mr_buf_init(&text, (size_t)2 * SIGNATURE_MAX);
    mr_err err = mr_base64url_encode(mr_str_of((const char *)bytes, (size_t)n), &text);
    if (mr_is_ok(err)) {
        json_out_member_str(out, name, mr_buf_view(&text));
    }
    mr_buf_done(&text);
    return err;
}

mr_err auth_keyring_write_jwks(const struct auth_keyring *keyring, int64_t now_s, mr_buf *out) {
    json_out writer;
    mr_err err = MR_OK;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_array(&writer, "keys");
    for (size_t i = 0; i < keyring->n_keys && mr_is_ok(err); i++) {
        const struct ring_key *key = &keyring->keys[i];
        if (now_s > key->key.verify_until_s) {
            continue;
        }
        json_out_object(&writer);
        json_out_member_c(&writer, "kty", "RSA");
        json_out_member_c(&writer, "use", "sig");
        json_out_member_c(&writer, "alg", "RS256");
        json_out_member_c(&writer, "kid", key->key.kid);
        err = write_number(&writer, "n", key->public_key, OSSL_PKEY_PARAM_RSA_N);
        if (mr_is_ok(err)) {
            err = write_number(&writer, "e", key->public_key, OSSL_PKEY_PARAM_RSA_E);
        }
        json_out_end(&writer);
    }
    json_out_end(&writer);
    json_out_end(&writer);
    mr_err finished = json_out_finish(&writer);
    return mr_is_err(err) ? err : finished;
}

/* ---- making keys and tokens ---- */

static mr_err export_private(EVP_PKEY *key, struct secret_slab *slab, mr_secret *ret_private) {
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    uint8_t *der = NULL;
    int n = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (n <= 0) {
        return MR_ERR(MR_E_FAILED);
    }
    mr_err err = mr_secret_new(slab, mr_str_of((const char *)der, (size_t)n), ret_private);
    OPENSSL_clear_free(der, (size_t)n);
    return err;
}

static mr_err export_public(EVP_PKEY *key, mr_buf *out) {
    uint8_t *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0) {
        return MR_ERR(MR_E_FAILED);
    }
    mr_err err = mr_buf_append(out, der, (size_t)n);
    OPENSSL_free(der);
    return err;
}

mr_err auth_key_generate(struct secret_slab *slab, mr_secret *ret_private, mr_buf *ret_public_der) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)AUTH_KEY_BITS);
    if (key == NULL) {
        return MR_ERR(MR_E_FAILED);
    }
    mr_secret private_der = MR_SECRET_NONE;
    mr_err err = export_private(key, slab, &private_der);
    if (mr_is_ok(err)) {
        err = export_public(key, ret_public_der);
    }
    EVP_PKEY_free(key);
    if (mr_is_err(err)) {
        mr_secret_unref(&private_der);
        return err;
    }
    *ret_private = private_der;
    return MR_OK;
}

mr_err auth_signer_new(mr_secret private_der, mr_str kid, struct auth_signer **ret_signer) {
    struct auth_signer *signer = MR_NEW(struct auth_signer);
    if (signer == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_str der = mr_secret_reveal(private_der);
    const uint8_t *at = (const uint8_t *)der.ptr;
    signer->private_key = der.len > 0 ? d2i_AutoPrivateKey(NULL, &at, (long)der.len) : NULL;
    ERR_clear_error();
    mr_err err = MR_ERR(MR_E_INVALID);
    if (signer->private_key != NULL && EVP_PKEY_is_a(signer->private_key, "RSA")) {
        err = header_make(kid, signer->header, &signer->header_len);
    }
    if (mr_is_err(err)) {
        auth_signer_free(signer);
        return err;
    }
    *ret_signer = signer;
    return MR_OK;
}

int auth_signer_bits(const struct auth_signer *signer) {
    return EVP_PKEY_get_bits(signer->private_key);
}

void auth_signer_free(struct auth_signer *signer) {
    if (signer != NULL) {
        EVP_PKEY_free(signer->private_key);
        mr_free(signer);
    }
}

static mr_err write_claims(mr_str issuer, mr_str audience, const struct auth_claims *claims,
                           mr_buf *out) {
    mr_buf scopes;
    mr_buf_init(&scopes, AUTH_TOKEN_BYTES_MAX);
    mr_err err = auth_scopes_write(&claims->scopes, &scopes);
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "iss", issuer);
    json_out_member_str(&writer, "aud", audience);
    json_out_member_c(&writer, "sub", claims->client_id);
    json_out_member_i64(&writer, "exp", claims->expires_s);
    json_out_member_i64(&writer, "iat", claims->issued_s);
    json_out_member_c(&writer, "jti", claims->jti);
    json_out_member_c(&writer, "account-id", claims->account_id);
    json_out_member_str(&writer, "client-type", auth_client_type_name(claims->client_type));
    json_out_member_c(&writer, "client_id", claims->client_id);
    json_out_member_raw(&writer, "scopes", mr_buf_view(&scopes));
    json_out_member_u64(&writer, "gen", claims->generation);
    json_out_end(&writer);
    mr_err finished = json_out_finish(&writer);
    mr_buf_done(&scopes);
    return mr_is_err(err) ? err : finished;
}

static mr_err sign_bytes(EVP_PKEY *key, mr_str bytes, uint8_t out[static SIGNATURE_MAX],
                         size_t *ret_n) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    size_t n = SIGNATURE_MAX;
    bool ok = EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
              EVP_DigestSign(context, out, &n, (const uint8_t *)bytes.ptr, bytes.len) == 1;
    EVP_MD_CTX_free(context);
    if (!ok) {
        ERR_clear_error();
        return MR_ERR(MR_E_FAILED);
    }
    *ret_n = n;
    return MR_OK;
}

mr_err auth_token_sign(struct auth_signer *signer, mr_str issuer, mr_str audience,
                       const struct auth_claims *claims, mr_buf *out) {
    mr_buf payload;
    mr_buf token;
    mr_buf_init(&payload, AUTH_TOKEN_BYTES_MAX);
    mr_buf_init_private(&token, AUTH_TOKEN_BYTES_MAX);
    uint8_t signature[SIGNATURE_MAX];
    size_t n_signature = 0;
    mr_err err = write_claims(issuer, audience, claims, &payload);
    if (mr_is_ok(err)) {
        err = mr_buf_append(&token, signer->header, signer->header_len);
    }
    if (mr_is_ok(err)) {
        err = mr_buf_byte(&token, '.');
    }
    if (mr_is_ok(err)) {
        err = mr_base64url_encode(mr_buf_view(&payload), &token);
    }
    if (mr_is_ok(err)) {
        err = sign_bytes(signer->private_key, mr_buf_view(&token), signature, &n_signature);
    }
    if (mr_is_ok(err)) {
        err = mr_buf_byte(&token, '.');
    }
    if (mr_is_ok(err)) {
        err = mr_base64url_encode(mr_str_of((const char *)signature, n_signature), &token);
    }
    if (mr_is_ok(err)) {
        err = mr_buf_str(out, mr_buf_view(&token));
    }
    mr_buf_done(&payload);
    mr_buf_done(&token);
    return err;
}

/* ---- checking ---- */

static const struct ring_key *key_of_header(const struct auth_keyring *ring, mr_str header) {
    for (size_t i = 0; i < ring->n_keys; i++) {
        if (mr_str_eq(header, mr_str_of(ring->keys[i].header, ring->keys[i].header_len))) {
            return &ring->keys[i];
        }
    }
    return NULL;
}

static mr_err check_signature(EVP_PKEY *key, mr_str signed_part, mr_str encoded) {
    mr_buf signature;
    mr_buf_init(&signature, SIGNATURE_MAX);
    mr_err err = mr_base64url_decode(encoded, &signature);
    if (mr_is_err(err)) {
        mr_buf_done(&signature);
        return mr_err_is(err, MR_E_NOMEM) ? err : MR_ERR(AUTH_E_MALFORMED);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && signature.len > 0 &&
              EVP_DigestVerifyInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(context, (const uint8_t *)signature.ptr, signature.len,
                               (const uint8_t *)signed_part.ptr, signed_part.len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    mr_buf_done(&signature);
    return ok ? MR_OK : MR_ERR(AUTH_E_SIGNATURE);
}

/* A string member into a place of AUTH_ID_SIZE. */
static mr_err claim_text(json_value claims, const char *name, char out[static AUTH_ID_SIZE]) {
    json_value value = json_find(claims, mr_str_c(name));
    if (json_kind_of(value) != JSON_STRING || !json_string_is_plain(value)) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    mr_str raw = json_raw(value);
    mr_str text = mr_str_slice(raw, 1, raw.len - 1);
    if (text.len == 0 || !mr_str_to_c(text, out, AUTH_ID_SIZE)) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    return MR_OK;
}

static mr_err claim_seconds(json_value claims, const char *name, int64_t *ret_s) {
    if (mr_is_err(json_i64(json_find(claims, mr_str_c(name)), 0, INT64_MAX / 2, ret_s))) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    return MR_OK;
}

/* nbf is none of our claims: where a token has it, it counts all the same. */
static mr_err check_times(json_value root, int64_t now_s, const struct auth_claims *claims) {
    int64_t not_before_s = 0;
    if (!json_is_absent(json_find(root, MR_STR("nbf")))) {
        MR_TRY(claim_seconds(root, "nbf", &not_before_s));
    }
    if (claims->expires_s <= claims->issued_s) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    if (now_s >= claims->expires_s) {
        return MR_ERR(AUTH_E_EXPIRED);
    }
    return claims->issued_s > now_s + AUTH_SKEW_S || not_before_s > now_s + AUTH_SKEW_S
               ? MR_ERR(AUTH_E_NOT_YET)
               : MR_OK;
}

static mr_err claims_read(const struct auth_keyring *ring, json_value root, int64_t now_s,
                          struct auth_claims *out) {
    if (!json_string_eq(json_find(root, MR_STR("iss")), auth_keyring_issuer(ring))) {
        return MR_ERR(AUTH_E_ISSUER);
    }
    if (!json_string_eq(json_find(root, MR_STR("aud")), auth_keyring_audience(ring))) {
        return MR_ERR(AUTH_E_AUDIENCE);
    }
    MR_TRY(claim_seconds(root, "exp", &out->expires_s));
    MR_TRY(claim_seconds(root, "iat", &out->issued_s));
    MR_TRY(claim_text(root, "jti", out->jti));
    MR_TRY(claim_text(root, "account-id", out->account_id));
    MR_TRY(claim_text(root, "client_id", out->client_id));
    if (!json_string_eq(json_find(root, MR_STR("sub")), mr_str_c(out->client_id))) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    json_value type = json_find(root, MR_STR("client-type"));
    if (json_string_eq(type, MR_STR("admin"))) {
        out->client_type = AUTH_CLIENT_ADMIN;
    } else if (json_string_eq(type, MR_STR("standard"))) {
        out->client_type = AUTH_CLIENT_STANDARD;
    } else {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    uint64_t generation = 0;
    const char *why = NULL;
    if (mr_is_err(json_u64(json_find(root, MR_STR("gen")), 0, UINT32_MAX, &generation)) ||
        mr_is_err(auth_scopes_of_json(json_find(root, MR_STR("scopes")), &out->scopes, &why))) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    out->generation = (uint32_t)generation;
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if (out->client_type == AUTH_CLIENT_STANDARD && out->scopes.access[i] != 0 &&
            auth_resource_is_global((enum auth_resource)i)) {
            return MR_ERR(AUTH_E_MALFORMED);
        }
    }
    return check_times(root, now_s, out);
}

static mr_err payload_read(const struct auth_keyring *ring, mr_str encoded, int64_t now_s,
                           struct auth_claims *ret_claims) {
    mr_buf payload;
    json_tape tape;
    struct auth_claims claims;
    memset(&claims, 0, sizeof claims);
    mr_buf_init(&payload, AUTH_TOKEN_BYTES_MAX);
    json_tape_init(&tape, CLAIMS_DEPTH);
    mr_err err = mr_base64url_decode(encoded, &payload);
    if (mr_is_ok(err)) {
        err = json_tape_read(&tape, mr_buf_view(&payload), NULL);
    }
    if (mr_is_ok(err)) {
        err = claims_read(ring, json_root(&tape), now_s, &claims);
    } else if (!mr_err_is(err, MR_E_NOMEM)) {
        err = MR_ERR(AUTH_E_MALFORMED);
    }
    if (mr_is_ok(err)) {
        *ret_claims = claims;
    }
    json_tape_done(&tape);
    mr_buf_done(&payload);
    return err;
}

mr_err auth_token_verify(const struct auth_keyring *keyring, mr_str token, int64_t now_s,
                         struct auth_claims *ret_claims) {
    if (token.len > AUTH_TOKEN_BYTES_MAX) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    size_t first = mr_str_find_byte(token, '.', 0);
    size_t second = first == SIZE_MAX ? SIZE_MAX : mr_str_find_byte(token, '.', first + 1);
    if (second == SIZE_MAX) {
        return MR_ERR(AUTH_E_MALFORMED);
    }
    const struct ring_key *key = key_of_header(keyring, mr_str_slice(token, 0, first));
    if (key == NULL || now_s > key->key.verify_until_s) {
        return MR_ERR(AUTH_E_KEY);
    }
    MR_TRY(check_signature(key->public_key, mr_str_slice(token, 0, second),
                           mr_str_slice(token, second + 1, token.len)));
    return payload_read(keyring, mr_str_slice(token, first + 1, second), now_s, ret_claims);
}

mr_str auth_bearer_text(mr_str authorization) {
    const mr_str scheme = MR_STR("Bearer");
    if (authorization.len <= scheme.len + 1 ||
        !mr_str_eq_nocase(mr_str_slice(authorization, 0, scheme.len), scheme) ||
        authorization.ptr[scheme.len] != ' ') {
        return MR_STR_NONE;
    }
    mr_str token = mr_str_slice(authorization, scheme.len, authorization.len);
    while (token.len > 0 && token.ptr[0] == ' ') {
        token = mr_str_slice(token, 1, token.len);
    }
    return token.len == 0 ? MR_STR_NONE : token;
}

mr_str auth_bearer_of(mr_str authorization) {
    mr_str token = auth_bearer_text(authorization);
    size_t n = token.len;
    while (n > 0 && token.ptr[n - 1] == '=') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        char c = token.ptr[i];
        bool is_token68 = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~' ||
                          c == '+' || c == '/';
        if (!is_token68) {
            return MR_STR_NONE;
        }
    }
    return n == 0 ? MR_STR_NONE : token;
}
