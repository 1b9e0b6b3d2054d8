/* Tokens that are signed with the right key and are wrong all the same, and tokens whose header
 * wants something else to be checked: what a thief of nothing but time would try. */
#include "auth/cache.h"

#include "base/num.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define assert_ok(err) assert_int_equal((err).code, 0)

#define NOW     INT64_C(1700000000)
#define HEADER  "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"
#define SCOPES  "\"scopes\":{\"globalResources\":[],\"products\":[\"Events\"]}"
#define ISS     "\"iss\":\"urn:millrace:test\","
#define AUD     "\"aud\":\"millrace\","
#define SUB     "\"sub\":\"apiclient_1\","
#define EXP     "\"exp\":1700003600,"
#define IAT     "\"iat\":1700000000,"
#define JTI     "\"jti\":\"tok_1\","
#define ACCOUNT "\"account-id\":\"acct_1\","
#define TYPE    "\"client-type\":\"standard\","
#define CLIENT  "\"client_id\":\"apiclient_1\","
#define GEN     "\"gen\":3,"

struct fixture {
    struct secret_slab *slab;
    EVP_PKEY *key;
    struct auth_keyring *ring;
};

static int setup(void **state) {
    static struct fixture f;
    mr_secret private_der = MR_SECRET_NONE;
    mr_buf public_der;
    mr_buf_init(&public_der, 4096);
    assert_ok(secret_slab_new((size_t)1 << 20, &f.slab));
    assert_ok(auth_key_generate(f.slab, &private_der, &public_der));
    mr_str der = mr_secret_reveal(private_der);
    const uint8_t *at = (const uint8_t *)der.ptr;
    f.key = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
    assert_non_null(f.key);
    struct auth_key key = {
        .kid = "k1", .public_der = mr_buf_view(&public_der), .verify_until_s = INT64_MAX};
    assert_ok(auth_keyring_new(&key, 1, MR_STR("urn:millrace:test"), MR_STR("millrace"), &f.ring));
    mr_secret_unref(&private_der);
    mr_buf_done(&public_der);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    auth_keyring_unref(f->ring);
    secret_slab_free(f->slab);
    return 0;
}

/* The header and payload as they stand, with a true signature over them. */
static void sign(struct fixture *f, const char *header, const char *payload, mr_buf *token) {
    uint8_t signature[512];
    size_t n = sizeof signature;
    mr_buf_init(token, (size_t)4 * AUTH_TOKEN_BYTES_MAX);
    assert_ok(mr_base64url_encode(mr_str_c(header), token));
    assert_ok(mr_buf_byte(token, '.'));
    assert_ok(mr_base64url_encode(mr_str_c(payload), token));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, f->key, NULL), 1);
    assert_int_equal(
        EVP_DigestSign(context, signature, &n, (const uint8_t *)token->ptr, token->len), 1);
    EVP_MD_CTX_free(context);
    assert_ok(mr_buf_byte(token, '.'));
    assert_ok(mr_base64url_encode(mr_str_of((const char *)signature, n), token));
}

static int verify(struct fixture *f, const char *header, const char *payload) {
    struct auth_claims claims;
    mr_buf token;
    sign(f, header, payload, &token);
    mr_err err = auth_token_verify(f->ring, mr_buf_view(&token), NOW, &claims);
    mr_buf_done(&token);
    return err.code;
}

static const struct {
    const char *payload;
    int code;
} rows[] = {
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", 0},
    {"{" AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_ISSUER},
    {"{\"iss\":[\"urn:millrace:test\"]," AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_ISSUER},
    {"{\"iss\":\"urn:millrace:tes\"," AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_ISSUER},
    {"{" ISS SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_AUDIENCE},
    {"{" ISS "\"aud\":[\"millrace\"]," SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_AUDIENCE},
    {"{" ISS "\"aud\":\"Millrace\"," SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_AUDIENCE},
    {"{" ISS AUD EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD "\"sub\":\"apiclient_2\"," EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB "\"exp\":\"1700003600\"," IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB "\"exp\":1.7e9," IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB "\"exp\":-1," IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB "\"exp\":99999999999999999999," IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB "\"exp\":1700000000," IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED}, /* expires as it is issued */
    {"{" ISS AUD SUB EXP JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP "\"iat\":1700000061," JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_NOT_YET},
    {"{" ISS AUD SUB EXP IAT "\"nbf\":1700000061," JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_NOT_YET},
    {"{" ISS AUD SUB EXP IAT "\"nbf\":1700000000," JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", 0},
    {"{" ISS AUD SUB EXP IAT "\"nbf\":\"now\"," JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT "\"nbf\":null," JTI ACCOUNT TYPE CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT "\"jti\":\"\"," ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT "\"jti\":7," ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI "\"account-id\":\"acct_1\\u0000\"," TYPE CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI
     "\"account-id\":\"acct_00000000000000000000000000000000000000000000\"," TYPE CLIENT GEN SCOPES
     "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT "\"client-type\":\"root\"," CLIENT GEN SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE GEN SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT SCOPES "}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT "\"gen\":4294967296," SCOPES "}",
     AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT "\"gen\":3}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN "\"scopes\":\"all\"}", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN
     "\"scopes\":{\"globalResources\":[{\"resourceName\":\"Users\",\"access\":[\"Read\"]}]}}",
     AUTH_E_MALFORMED}, /* a standard client has none */
    {"{" ISS ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", AUTH_E_MALFORMED},
    {"[]", AUTH_E_ISSUER},
    {"", AUTH_E_MALFORMED},
    {"{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}}", AUTH_E_MALFORMED},
};

static void every_claim_must_be_there_and_right(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int code = verify(f, HEADER, rows[i].payload);
        if (code != rows[i].code) {
            print_error("row %zu: %s\n", i, rows[i].payload);
        }
        assert_int_equal(code, rows[i].code);
    }
}

static void a_header_is_ours_or_refused_also_where_the_signature_is_right(void **state) {
    struct fixture *f = *state;
    static const char payload[] = "{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}";
    static const char *const headers[] = {
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\",\"b64\":false,\"crit\":[\"b64\"]}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\",\"jku\":\"https://x.test/\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\",\"zip\":\"DEF\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"../../../etc/passwd\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1' OR '1'='1\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"K1\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"\"}",
        "{\"alg\":\"PS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{\"alg\":\"none\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{\"alg\":\"rs256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"k1\"}",
        "{ \"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "",
    };
    assert_int_equal(verify(f, HEADER, payload), 0);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        assert_int_equal(verify(f, headers[i], payload), AUTH_E_KEY);
    }
}

static void a_token_that_is_too_long_is_refused_before_any_work(void **state) {
    struct fixture *f = *state;
    static char payload[AUTH_TOKEN_BYTES_MAX];
    struct auth_cache *cache = NULL;
    const struct auth_claims *claims = NULL;
    mr_buf token;
    (void)snprintf(payload, sizeof payload,
                   "{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES ",\"pad\":\"%0*d\"}",
                   AUTH_TOKEN_BYTES_MAX - 512, 0);
    sign(f, HEADER, payload, &token);
    assert_true(token.len > AUTH_TOKEN_BYTES_MAX);
    assert_ok(auth_cache_new(16, &cache));
    assert_int_equal(auth_cache_check(cache, f->ring, mr_buf_view(&token), NOW, &claims).code,
                     AUTH_E_MALFORMED);
    assert_int_equal(auth_cache_count(cache), 0);
    auth_cache_free(cache);
    mr_buf_done(&token);
}

/* A remembered token must not lend its place to one that differs from it in a single character. */
static void a_remembered_token_is_the_whole_token(void **state) {
    struct fixture *f = *state;
    struct auth_cache *cache = NULL;
    const struct auth_claims *claims = NULL;
    mr_buf token;
    sign(f, HEADER, "{" ISS AUD SUB EXP IAT JTI ACCOUNT TYPE CLIENT GEN SCOPES "}", &token);
    assert_ok(auth_cache_new(16, &cache));
    assert_ok(auth_cache_check(cache, f->ring, mr_buf_view(&token), NOW, &claims));
    for (size_t i = 0; i < token.len; i++) {
        char kept = token.ptr[i];
        token.ptr[i] = kept == 'A' ? 'B' : 'A';
        assert_true(mr_is_err(auth_cache_check(cache, f->ring, mr_buf_view(&token), NOW, &claims)));
        token.ptr[i] = kept;
    }
    assert_true(mr_is_err(
        auth_cache_check(cache, f->ring, mr_str_of(token.ptr, token.len - 1), NOW, &claims)));
    assert_int_equal(auth_cache_hits(cache), 0);
    assert_ok(auth_cache_check(cache, f->ring, mr_buf_view(&token), NOW, &claims));
    assert_int_equal(auth_cache_hits(cache), 1);
    auth_cache_free(cache);
    mr_buf_done(&token);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_claim_must_be_there_and_right),
        cmocka_unit_test(a_header_is_ours_or_refused_also_where_the_signature_is_right),
        cmocka_unit_test(a_token_that_is_too_long_is_refused_before_any_work),
        cmocka_unit_test(a_remembered_token_is_the_whole_token),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
