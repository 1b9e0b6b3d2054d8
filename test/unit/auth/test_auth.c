/* Rights, scopes, tokens and their cache. */
#include "auth/cache.h"

#include "base/num.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define assert_ok(err)       assert_int_equal((err).code, 0)
#define assert_text(str, c)  assert_true(mr_str_eq((str), mr_str_c(c)))
#define assert_code(err, is) assert_int_equal((err).code, (is))

#define ISSUER   MR_STR("urn:millrace:test")
#define AUDIENCE MR_STR("millrace")
#define NOW      INT64_C(1700000000)

struct fixture {
    struct secret_slab *slab;
    mr_secret private_der;
    mr_buf public_der;
    struct auth_keyring *ring;
    struct auth_signer *signer;
    struct auth_claims claims;
};

static struct auth_keyring *ring_of(struct fixture *f, const char *kid, int64_t until,
                                    mr_str issuer, mr_str audience) {
    struct auth_key key = {.public_der = mr_buf_view(&f->public_der), .verify_until_s = until};
    struct auth_keyring *ring = NULL;
    (void)snprintf(key.kid, sizeof key.kid, "%s", kid);
    assert_ok(auth_keyring_new(&key, 1, issuer, audience, &ring));
    return ring;
}

static int setup(void **state) {
    static struct fixture fixture;
    struct fixture *f = &fixture;
    memset(f, 0, sizeof *f);
    assert_ok(secret_slab_new((size_t)1 << 20, &f->slab));
    mr_buf_init(&f->public_der, 4096);
    assert_ok(auth_key_generate(f->slab, &f->private_der, &f->public_der));
    f->ring = ring_of(f, "k1", INT64_MAX, ISSUER, AUDIENCE);
    assert_ok(auth_signer_new(f->private_der, MR_STR("k1"), &f->signer));
    struct auth_claims *claims = &f->claims;
    (void)snprintf(claims->account_id, AUTH_ID_SIZE, "acct_1");
    (void)snprintf(claims->client_id, AUTH_ID_SIZE, "apiclient_1");
    (void)snprintf(claims->jti, AUTH_ID_SIZE, "tok_1");
    claims->generation = 3;
    claims->issued_s = NOW;
    claims->expires_s = NOW + 3600;
    claims->scopes.access[AUTH_RES_EVENTS] = AUTH_WRITE;
    claims->scopes.access[AUTH_RES_EVENT_STREAMS] = AUTH_READ | AUTH_DELETE;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    auth_signer_free(f->signer);
    auth_keyring_unref(f->ring);
    mr_secret_unref(&f->private_der);
    mr_buf_done(&f->public_der);
    secret_slab_free(f->slab);
    return 0;
}

static void sign(struct fixture *f, mr_buf *token) {
    mr_buf_init(token, AUTH_TOKEN_BYTES_MAX);
    assert_ok(auth_token_sign(f->signer, ISSUER, AUDIENCE, &f->claims, token));
}

static void a_signed_token_verifies_to_the_same_claims(void **state) {
    struct fixture *f = *state;
    struct auth_claims claims;
    mr_buf token;
    sign(f, &token);
    assert_ok(auth_token_verify(f->ring, mr_buf_view(&token), NOW, &claims));
    assert_memory_equal(&claims.scopes, &f->claims.scopes, sizeof claims.scopes);
    assert_string_equal(claims.account_id, "acct_1");
    assert_string_equal(claims.client_id, "apiclient_1");
    assert_string_equal(claims.jti, "tok_1");
    assert_int_equal(claims.generation, 3);
    assert_true(claims.expires_s == NOW + 3600 && claims.issued_s == NOW);
    /* The payload, as others read it. */
    mr_buf payload;
    mr_buf_init(&payload, AUTH_TOKEN_BYTES_MAX);
    mr_str text = mr_buf_view(&token);
    size_t first = mr_str_find_byte(text, '.', 0);
    size_t second = mr_str_find_byte(text, '.', first + 1);
    assert_ok(mr_base64url_decode(mr_str_slice(text, first + 1, second), &payload));
    assert_text(mr_buf_view(&payload),
                "{\"iss\":\"urn:millrace:test\",\"aud\":\"millrace\",\"sub\":\"apiclient_1\","
                "\"exp\":1700003600,\"iat\":1700000000,\"jti\":\"tok_1\",\"account-id\":\"acct_1\","
                "\"client-type\":\"standard\",\"client_id\":\"apiclient_1\",\"scopes\":{"
                "\"globalResources\":[],\"products\":[{\"resourceName\":\"Events\",\"access\":["
                "\"Write\"]},{\"resourceName\":\"Event Streams\",\"access\":[\"Read\",\"Delete\"]}"
                "]},\"gen\":3}");
    mr_buf_done(&payload);
    mr_buf_done(&token);
}

static void time_issuer_audience_and_key_are_checked(void **state) {
    struct fixture *f = *state;
    struct auth_claims claims;
    mr_buf token;
    sign(f, &token);
    mr_str text = mr_buf_view(&token);
    assert_code(auth_token_verify(f->ring, text, NOW + 3600, &claims), AUTH_E_EXPIRED);
    assert_ok(auth_token_verify(f->ring, text, NOW + 3599, &claims));
    assert_ok(auth_token_verify(f->ring, text, NOW - AUTH_SKEW_S, &claims));
    assert_code(auth_token_verify(f->ring, text, NOW - AUTH_SKEW_S - 1, &claims), AUTH_E_NOT_YET);
    static const struct {
        const char *kid;
        int64_t until;
        const char *issuer;
        const char *audience;
        uint32_t code;
    } rows[] = {
        {"k2", INT64_MAX, "urn:millrace:test", "millrace", AUTH_E_KEY},
        {"k1", NOW - 1, "urn:millrace:test", "millrace", AUTH_E_KEY},
        {"k1", NOW, "urn:millrace:test", "millrace", 0},
        {"k1", INT64_MAX, "urn:millrace:other", "millrace", AUTH_E_ISSUER},
        {"k1", INT64_MAX, "urn:millrace:test", "other", AUTH_E_AUDIENCE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct auth_keyring *ring = ring_of(f, rows[i].kid, rows[i].until, mr_str_c(rows[i].issuer),
                                            mr_str_c(rows[i].audience));
        assert_code(auth_token_verify(ring, text, NOW, &claims), rows[i].code);
        auth_keyring_unref(ring);
    }
    mr_buf_done(&token);
}

static void any_changed_byte_is_refused(void **state) {
    struct fixture *f = *state;
    struct auth_claims claims;
    mr_buf token;
    sign(f, &token);
    for (size_t i = 0; i < token.len; i += 7) {
        char old = token.ptr[i];
        token.ptr[i] = old == 'A' ? 'B' : 'A';
        assert_true(mr_is_err(auth_token_verify(f->ring, mr_buf_view(&token), NOW, &claims)));
        token.ptr[i] = old;
    }
    for (size_t n = 0; n < token.len; n += 11) {
        assert_true(mr_is_err(auth_token_verify(f->ring, mr_str_of(token.ptr, n), NOW, &claims)));
    }
    assert_ok(auth_token_verify(f->ring, mr_buf_view(&token), NOW, &claims));
    /* A change in the middle of the signature itself. */
    char *middle = &token.ptr[token.len - 40];
    *middle = *middle == 'A' ? 'B' : 'A';
    assert_code(auth_token_verify(f->ring, mr_buf_view(&token), NOW, &claims), AUTH_E_SIGNATURE);
    mr_buf_done(&token);
}

static void other_algorithms_are_refused(void **state) {
    struct fixture *f = *state;
    struct auth_claims claims;
    mr_buf token;
    mr_buf forged;
    sign(f, &token);
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{\"alg\":\"RS512\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
        "{}",
    };
    mr_str text = mr_buf_view(&token);
    mr_str rest = mr_str_slice(text, mr_str_find_byte(text, '.', 0), text.len);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        mr_buf_init(&forged, AUTH_TOKEN_BYTES_MAX);
        assert_ok(mr_base64url_encode(mr_str_c(headers[i]), &forged));
        assert_ok(mr_buf_str(&forged, rest));
        assert_code(auth_token_verify(f->ring, mr_buf_view(&forged), NOW, &claims), AUTH_E_KEY);
        mr_buf_done(&forged);
    }
    static const char *const junk[] = {"", ".", "..", "a.b", "a.b.c", "a.b.c.d"};
    for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++) {
        assert_true(mr_is_err(auth_token_verify(f->ring, mr_str_c(junk[i]), NOW, &claims)));
    }
    static char long_token[AUTH_TOKEN_BYTES_MAX + 2];
    memset(long_token, 'a', sizeof long_token - 1);
    assert_code(auth_token_verify(f->ring, mr_str_c(long_token), NOW, &claims), AUTH_E_MALFORMED);
    mr_buf_done(&token);
}

static void the_jwks_document_names_the_key(void **state) {
    struct fixture *f = *state;
    mr_buf jwks;
    mr_buf_init(&jwks, 8192);
    assert_ok(auth_keyring_write_jwks(f->ring, NOW, &jwks));
    mr_str text = mr_buf_view(&jwks);
    assert_true(mr_str_starts(text, MR_STR("{\"keys\":[{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":"
                                           "\"RS256\",\"kid\":\"k1\",\"n\":\"")));
    assert_true(mr_str_ends(text, MR_STR("\",\"e\":\"AQAB\"}]}")));
    /* The document alone is enough to verify a token. */
    json_tape tape;
    json_tape_init(&tape, 8);
    assert_ok(json_tape_read(&tape, text, NULL));
    mr_str n64 =
        json_raw(json_find(json_item(json_find(json_root(&tape), MR_STR("keys")), 0), MR_STR("n")));
    mr_buf n;
    mr_buf_init(&n, 1024);
    assert_ok(mr_base64url_decode(mr_str_slice(n64, 1, n64.len - 1), &n));
    assert_int_equal(n.len, 384);
    BIGNUM *modulus = BN_bin2bn((const uint8_t *)n.ptr, (int)n.len, NULL);
    BIGNUM *exponent = BN_new();
    BN_set_word(exponent, 65537);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;
    assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
    assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    mr_buf token;
    mr_buf signature;
    sign(f, &token);
    mr_buf_init(&signature, 1024);
    mr_str whole = mr_buf_view(&token);
    size_t last = mr_str_find_byte(whole, '.', mr_str_find_byte(whole, '.', 0) + 1);
    assert_ok(mr_base64url_decode(mr_str_slice(whole, last + 1, whole.len), &signature));
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(digest, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(digest, (const uint8_t *)signature.ptr, signature.len,
                                      (const uint8_t *)whole.ptr, last),
                     1);
    EVP_MD_CTX_free(digest);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(modulus);
    BN_free(exponent);
    mr_buf_done(&signature);
    mr_buf_done(&token);
    mr_buf_done(&n);
    json_tape_done(&tape);
    mr_buf_reset(&jwks);
    struct auth_keyring *retired = ring_of(f, "k0", NOW - 1, ISSUER, AUDIENCE);
    assert_ok(auth_keyring_write_jwks(retired, NOW, &jwks));
    assert_text(mr_buf_view(&jwks), "{\"keys\":[]}");
    auth_keyring_unref(retired);
    mr_buf_done(&jwks);
}

static void bad_keys_are_refused(void **state) {
    struct fixture *f = *state;
    struct auth_keyring *ring = NULL;
    struct auth_signer *signer = NULL;
    struct auth_key key = {.kid = "x", .public_der = MR_STR("junk")};
    assert_code(auth_keyring_new(&key, 1, ISSUER, AUDIENCE, &ring), MR_E_INVALID);
    assert_code(auth_keyring_new(&key, 0, ISSUER, AUDIENCE, &ring), MR_E_INVALID);
    mr_secret junk = MR_SECRET_NONE;
    assert_ok(mr_secret_new(f->slab, MR_STR("junk"), &junk));
    assert_code(auth_signer_new(junk, MR_STR("x"), &signer), MR_E_INVALID);
    mr_secret_unref(&junk);
}

static void the_cache_answers_hits_and_forgets_expired_ones(void **state) {
    struct fixture *f = *state;
    struct auth_cache *cache = NULL;
    const struct auth_claims *claims = NULL;
    mr_buf token;
    sign(f, &token);
    mr_str text = mr_buf_view(&token);
    assert_ok(auth_cache_new(16, &cache));
    for (int i = 0; i < 3; i++) {
        assert_ok(auth_cache_check(cache, f->ring, text, NOW, &claims));
        assert_string_equal(claims->client_id, "apiclient_1");
    }
    assert_int_equal(auth_cache_hits(cache), 2);
    assert_int_equal(auth_cache_count(cache), 1);
    assert_code(auth_cache_check(cache, f->ring, text, NOW + 3600, &claims), AUTH_E_EXPIRED);
    assert_int_equal(auth_cache_count(cache), 0);
    assert_code(auth_cache_check(cache, f->ring, text, NOW + 3600, &claims), AUTH_E_EXPIRED);
    assert_ok(auth_cache_check(cache, f->ring, text, NOW, &claims));
    /* Another ring: nothing is taken over from the old one. */
    struct auth_keyring *other = ring_of(f, "k2", INT64_MAX, ISSUER, AUDIENCE);
    assert_code(auth_cache_check(cache, other, text, NOW, &claims), AUTH_E_KEY);
    assert_int_equal(auth_cache_count(cache), 0);
    auth_keyring_unref(other);
    auth_cache_free(cache);
    mr_buf_done(&token);
}

static void the_cache_is_bounded(void **state) {
    struct fixture *f = *state;
    struct auth_cache *cache = NULL;
    const struct auth_claims *claims = NULL;
    assert_ok(auth_cache_new(16, &cache));
    for (uint32_t i = 0; i < 64; i++) {
        mr_buf token;
        f->claims.generation = i;
        sign(f, &token);
        assert_ok(auth_cache_check(cache, f->ring, mr_buf_view(&token), NOW, &claims));
        assert_int_equal(claims->generation, i);
        mr_buf_done(&token);
    }
    assert_true(auth_cache_count(cache) <= 16);
    auth_cache_free(cache);
}

static void scopes_are_read_and_written(void **state) {
    (void)state;
    struct auth_scopes scopes;
    const char *why = NULL;
    mr_buf out;
    mr_buf_init(&out, 8192);
    struct auth_scopes all = auth_scopes_all();
    assert_ok(auth_scopes_write(&all, &out));
    assert_ok(auth_scopes_parse(mr_buf_view(&out), &scopes, &why));
    assert_memory_equal(&scopes, &all, sizeof all);
    assert_ok(auth_scopes_parse(MR_STR("{\"products\":[\"SuperSIM\"]}"), &scopes, &why));
    assert_int_equal(scopes.access[AUTH_RES_SUPER_SIM], AUTH_ALL);
    assert_int_equal(scopes.access[AUTH_RES_EVENT_STREAMS], AUTH_ALL);
    assert_int_equal(scopes.access[AUTH_RES_WEBHOOKS], AUTH_ALL);
    assert_int_equal(scopes.access[AUTH_RES_EVENTS], 0);
    assert_int_equal(scopes.access[AUTH_RES_ACCOUNTS], 0);
    assert_false(auth_scopes_within(&all, &scopes));
    assert_true(auth_scopes_within(&scopes, &all));
    static const char *const bad[] = {
        "1",
        "{\"products\":1}",
        "{\"products\":[\"Nothing\"]}",
        "{\"products\":[\"Accounts\"]}",
        "{\"globalResources\":[\"Accounts\"]}",
        "{\"globalResources\":[{\"resourceName\":\"Events\",\"access\":[\"Read\"]}]}",
        "{\"products\":[{\"resourceName\":\"Events\",\"access\":[\"Own\"]}]}",
        "{\"products\":[{\"resourceName\":\"Events\"}]}",
        "{\"products\":[{\"resourceName\":\"Events\",\"access\":[],\"x\":1}]}",
        "{\"more\":[]}",
        "{",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why = NULL;
        assert_true(mr_is_err(auth_scopes_parse(mr_str_c(bad[i]), &scopes, &why)));
        assert_non_null(why);
    }
    mr_buf_done(&out);
}

static void routes_are_found_with_their_rights(void **state) {
    (void)state;
    struct auth_route_match m = auth_route_find(MR_STR("POST"), MR_STR("/v1/events"));
    assert_true(m.found);
    assert_int_equal(m.route, AUTH_ROUTE_EVENTS_PUBLISH);
    m = auth_route_find(MR_STR("GET"), MR_STR("/schemas/SuperSim.ConnectionEvent/2"));
    assert_true(m.found);
    assert_int_equal(m.n_params, 2);
    assert_text(m.params[0], "SuperSim.ConnectionEvent");
    assert_text(m.params[1], "2");
    m = auth_route_find(MR_STR("HEAD"), MR_STR("/v1/destinations/dst_1"));
    assert_int_equal(m.route, AUTH_ROUTE_DESTINATION_GET);
    assert_text(m.params[0], "dst_1");
    m = auth_route_find(MR_STR("POST"), MR_STR("/v1/dead-letters/redrive"));
    assert_int_equal(m.route, AUTH_ROUTE_DEAD_LETTERS_REDRIVE);
    /* What stands in the table as it is, is no parameter. */
    m = auth_route_find(MR_STR("GET"), MR_STR("/v1/streaming-rules/preview"));
    assert_true(!m.found && m.path_known);
    m = auth_route_find(MR_STR("PUT"), MR_STR("/v1/secrets"));
    assert_true(!m.found && m.path_known);
    assert_int_equal(m.errors, AUTH_ERRORS_SECRETS);
    static const char *const unknown[] = {"",
                                          "/",
                                          "/v1",
                                          "/v1/",
                                          "/v1/events/",
                                          "//v1/events",
                                          "/v1/%65vents",
                                          "/v1/destinations/",
                                          "v1/events"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        m = auth_route_find(MR_STR("POST"), mr_str_c(unknown[i]));
        assert_false(m.found || m.path_known);
    }
    m = auth_route_find(MR_STR("GET"), MR_STR("/v1/secrets/a/b/c"));
    assert_false(m.found || m.path_known);
    assert_int_equal(m.errors, AUTH_ERRORS_SECRETS);
    mr_buf methods;
    mr_buf_init(&methods, 256);
    assert_ok(auth_route_methods(MR_STR("/v1/destinations/x"), &methods));
    assert_text(mr_buf_view(&methods), "GET, HEAD, PATCH, DELETE");
    mr_buf_reset(&methods);
    assert_ok(auth_route_methods(MR_STR("/v1/streaming-rules/preview"), &methods));
    assert_text(mr_buf_view(&methods), "POST");
    mr_buf_done(&methods);
    /* Access follows the method, and every route that asks for a token names a resource. */
    for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
        const struct auth_route_info *info = auth_route_info((enum auth_route)i);
        enum auth_access wanted = AUTH_NO_ACCESS;
        if (info->resource != AUTH_RES_NONE) {
            wanted = i == AUTH_ROUTE_OWNERSHIP_TRANSFER          ? AUTH_MODIFY /* of the account */
                     : mr_str_eq(info->method, MR_STR("GET"))    ? AUTH_READ
                     : mr_str_eq(info->method, MR_STR("POST"))   ? AUTH_WRITE
                     : mr_str_eq(info->method, MR_STR("PATCH"))  ? AUTH_MODIFY
                     : mr_str_eq(info->method, MR_STR("DELETE")) ? AUTH_DELETE
                                                                 : AUTH_NO_ACCESS;
            assert_int_not_equal(wanted, AUTH_NO_ACCESS);
            struct auth_scopes none = {{0}};
            assert_false(auth_route_allows((enum auth_route)i, &none));
            none.access[info->resource] = (uint8_t)wanted;
            assert_true(auth_route_allows((enum auth_route)i, &none));
        }
        assert_int_equal(info->access, wanted);
    }
}

static void bearer_fields_are_read_strictly(void **state) {
    (void)state;
    assert_text(auth_bearer_of(MR_STR("Bearer a.b-c_d")), "a.b-c_d");
    assert_text(auth_bearer_of(MR_STR("bearer  abc==")), "abc==");
    static const char *const bad[] = {
        "",           "Bearer",       "Bearer ",  "Basic abc", "Bearerabc",
        "Bearer a b", "Bearer \"a\"", "Bearer =", "Bearer a,b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(mr_str_is_absent(auth_bearer_of(mr_str_c(bad[i]))));
    }
    assert_true(mr_str_is_absent(auth_bearer_of(MR_STR_NONE)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signed_token_verifies_to_the_same_claims),
        cmocka_unit_test(time_issuer_audience_and_key_are_checked),
        cmocka_unit_test(any_changed_byte_is_refused),
        cmocka_unit_test(other_algorithms_are_refused),
        cmocka_unit_test(the_jwks_document_names_the_key),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(the_cache_answers_hits_and_forgets_expired_ones),
        cmocka_unit_test(the_cache_is_bounded),
        cmocka_unit_test(scopes_are_read_and_written),
        cmocka_unit_test(routes_are_found_with_their_rights),
        cmocka_unit_test(bearer_fields_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
