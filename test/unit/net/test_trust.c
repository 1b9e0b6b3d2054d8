/* Trust profiles: what is refused at creation, and handshakes in memory: names, chains, dates,
 * client certificates, versions. */
#include "net/trust.h"

#include "net/tls.h"
#include "support_certs.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define DAY (24L * 3600)

struct certs {
    struct cert ca, other_ca, middle, good, client;
};
static struct certs certs; /* made once, by the group's setup */

static int make_certs(void **state) {
    (void)state;
    cert_make(&(struct cert_spec){.cn = "Test CA", .from_s = -60, .to_s = DAY, .is_ca = true},
              &certs.ca);
    cert_make(&(struct cert_spec){.cn = "Other CA", .from_s = -60, .to_s = DAY, .is_ca = true},
              &certs.other_ca);
    cert_make(
        &(struct cert_spec){
            .cn = "Middle CA", .issuer = &certs.ca, .from_s = -60, .to_s = DAY, .is_ca = true},
        &certs.middle);
    cert_make(&(struct cert_spec){.cn = "good",
                                  .alt_names = "DNS:hooks.acme.com,DNS:*.wild.example,IP:::1",
                                  .issuer = &certs.ca,
                                  .from_s = -60,
                                  .to_s = DAY},
              &certs.good);
    cert_make(&(struct cert_spec){.cn = "client", .issuer = &certs.ca, .from_s = -60, .to_s = DAY},
              &certs.client);
    return 0;
}

/* Hands all bytes over between the two until both are done or one fails. */
static bool shake(SSL *client, SSL *server) {
    BIO *to_server = BIO_new(BIO_s_mem());
    BIO *to_client = BIO_new(BIO_s_mem());
    BIO_up_ref(to_server);
    BIO_up_ref(to_client);
    SSL_set_bio(client, to_client, to_server);
    SSL_set_bio(server, to_server, to_client);
    for (int i = 0; i < 20; i++) {
        ERR_clear_error();
        int mine = SSL_do_handshake(client);
        if (mine != 1 && SSL_get_error(client, mine) != SSL_ERROR_WANT_READ) {
            return false;
        }
        int theirs = SSL_do_handshake(server);
        if (theirs != 1 && SSL_get_error(server, theirs) != SSL_ERROR_WANT_READ) {
            SSL_do_handshake(client);
            return false;
        }
        if (mine == 1 && theirs == 1) {
            return true;
        }
    }
    return false;
}

/* A handshake with that server certificate; true where it was accepted, else why. */
static bool try_host(const struct net_trust *trust, const struct cert *cert, const char *host,
                     int server_max, struct net_trust_problem *why) {
    SSL_CTX *ctx;
    assert_true(mr_is_ok(
        tls_server_context(mr_str_c(cert->cert_pem), mr_str_c(cert->key_pem), NULL, &ctx)));
    SSL *server = SSL_new(ctx);
    if (server_max != 0) {
        SSL_set_min_proto_version(server, TLS1_VERSION);
        SSL_set_max_proto_version(server, server_max);
        SSL_set_security_level(server, 0);
    }
    SSL_set_accept_state(server);
    SSL *client = net_trust_ssl_new(trust, mr_str_c(host), NULL, NULL);
    assert_non_null(client);
    bool is_ok = shake(client, server);
    if (is_ok) {
        net_trust_describe(client, why);
    } else {
        mr_buf text;
        mr_buf_init(&text, 200);
        tls_problem_take(&text);
        net_trust_explain(client, mr_str_c(host), mr_buf_view(&text), why);
        mr_buf_done(&text);
    }
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(ctx);
    return is_ok;
}

static struct net_trust *profile(const char *extra, const struct net_trust_spec *spec) {
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct net_trust_problem problem;
    assert_true(mr_is_ok(net_trust_roots_new(mr_str_c(extra), &roots, &problem)));
    assert_true(mr_is_ok(net_trust_new(roots, spec, &trust, &problem)));
    net_trust_roots_free(roots); /* a profile keeps what it needs */
    return trust;
}

static void names_are_matched_by_alternative_names_only(void **state) {
    (void)state;
    static const struct {
        const char *host;
        bool is_ok;
    } rows[] = {{"hooks.acme.com", true}, {"HOOKS.acme.com", true},
                {"a.wild.example", true}, {"a.b.wild.example", false},
                {"wild.example", false},  {"good", false},
                {"acme.com", false},      {"::1", true},
                {"::2", false},           {"127.0.0.1", false}};
    struct net_trust *trust = profile(certs.ca.cert_pem, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_trust_problem why;
        if (try_host(trust, &certs.good, rows[i].host, 0, &why) != rows[i].is_ok) {
            fail_msg("%s: %s", rows[i].host, why.text);
        }
        if (!rows[i].is_ok) {
            assert_non_null(strstr(why.text, "the certificate is for hooks.acme.com, "
                                             "*.wild.example, ::1, the URL says "));
            assert_non_null(strstr(why.text, rows[i].host));
        } else {
            assert_non_null(strstr(why.text, "TLSv1.3, "));
        }
    }
    net_trust_unref(trust);
}

static void chains_and_dates_are_explained(void **state) {
    (void)state;
    struct net_trust *trust = profile(certs.ca.cert_pem, NULL);
    struct net_trust_problem why;
    struct cert bad;
    cert_make(&(struct cert_spec){.cn = "x",
                                  .alt_names = "DNS:a.example",
                                  .issuer = &certs.other_ca,
                                  .from_s = -60,
                                  .to_s = DAY},
              &bad);
    assert_false(try_host(trust, &bad, "a.example", 0, &why));
    assert_non_null(strstr(why.text, "issued by Other CA, which is not trusted here"));
    cert_make(&(struct cert_spec){.cn = "x",
                                  .alt_names = "DNS:a.example",
                                  .issuer = &certs.middle,
                                  .from_s = -60,
                                  .to_s = DAY},
              &bad);
    assert_false(try_host(trust, &bad, "a.example", 0, &why));
    assert_non_null(strstr(why.text, "issued by Middle CA"));
    assert_non_null(strstr(why.text, "intermediate"));
    cert_make(&(struct cert_spec){.cn = "x",
                                  .alt_names = "DNS:a.example",
                                  .issuer = &certs.ca,
                                  .from_s = DAY / 2,
                                  .to_s = DAY},
              &bad);
    assert_false(try_host(trust, &bad, "a.example", 0, &why));
    assert_non_null(strstr(why.text, "the certificate is not valid before 20"));
    cert_make(
        &(struct cert_spec){.cn = "x", .alt_names = "DNS:a.example", .from_s = -60, .to_s = DAY},
        &bad);
    assert_false(try_host(trust, &bad, "a.example", 0, &why));
    assert_string_equal(why.text, "the certificate is self-signed");
    net_trust_unref(trust);
}

static void own_authorities_replace_the_roots(void **state) {
    (void)state;
    struct net_trust_problem why;
    struct net_trust_spec spec = {.ca_pem = mr_str_c(certs.other_ca.cert_pem)};
    struct net_trust *trust = profile(certs.ca.cert_pem, &spec);
    assert_false(try_host(trust, &certs.good, "hooks.acme.com", 0, &why));
    net_trust_unref(trust);
    spec.ca_pem = mr_str_c(certs.middle.cert_pem); /* an intermediate one will do */
    trust = profile(NULL, &spec);
    struct cert leaf;
    cert_make(&(struct cert_spec){.cn = "x",
                                  .alt_names = "DNS:a.example",
                                  .issuer = &certs.middle,
                                  .from_s = -60,
                                  .to_s = DAY},
              &leaf);
    assert_true(try_host(trust, &leaf, "a.example", 0, &why));
    net_trust_unref(trust);
}

static void old_versions_are_refused(void **state) {
    (void)state;
    struct net_trust_problem why;
    struct net_trust *trust = profile(certs.ca.cert_pem, NULL);
    assert_true(try_host(trust, &certs.good, "hooks.acme.com", TLS1_2_VERSION, &why));
    assert_non_null(strstr(why.text, "TLSv1.2"));
    assert_false(try_host(trust, &certs.good, "hooks.acme.com", TLS1_1_VERSION, &why));
    assert_true(strlen(why.text) > 10);
    net_trust_unref(trust);
}

static void bad_pem_is_refused_by_its_name(void **state) {
    (void)state;
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct net_trust_problem problem;
    assert_true(mr_err_is(net_trust_roots_new(MR_STR("no pem"), &roots, &problem), MR_E_INVALID));
    assert_string_equal(problem.text, "extra_ca_file: it holds no PEM certificate");
    assert_true(mr_is_ok(net_trust_roots_new(MR_STR_NONE, &roots, &problem)));
    struct {
        struct net_trust_spec spec;
        const char *text;
    } rows[] = {
        {{.ca_pem = MR_STR("")}, "ca_pem: it holds no PEM certificate"},
        {{.ca_pem = mr_str_c(certs.good.cert_pem)},
         "ca_pem: it holds a certificate that is not an authority's"},
        {{.ca_pem = mr_str_of(certs.ca.cert_pem, 200)}, "ca_pem: "},
        {{.cert_pem = mr_str_c(certs.client.cert_pem)}, "one is given without the other"},
        {{.cert_pem = mr_str_c(certs.client.cert_pem), .key_pem = mr_str_c(certs.good.key_pem)},
         "client_key_pem: "},
        {{.cert_pem = MR_STR("x"), .key_pem = mr_str_c(certs.good.key_pem)}, "client_cert_pem: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        problem.text[0] = '\0';
        assert_true(mr_err_is(net_trust_new(roots, &rows[i].spec, &trust, &problem), MR_E_INVALID));
        if (strstr(problem.text, rows[i].text) == NULL) {
            fail_msg("row %zu: %s", i, problem.text);
        }
    }
    struct net_trust_spec good = {.cert_pem = mr_str_c(certs.client.cert_pem),
                                  .key_pem = mr_str_c(certs.client.key_pem)};
    assert_true(mr_is_ok(net_trust_new(roots, &good, &trust, &problem)));
    struct net_trust *second;
    assert_true(mr_is_ok(net_trust_new(roots, NULL, &second, &problem)));
    assert_int_not_equal(net_trust_id(trust), net_trust_id(second));
    net_trust_unref(second);
    net_trust_unref(net_trust_ref(trust));
    net_trust_unref(trust);
    net_trust_unref(NULL);
    net_trust_roots_free(roots);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_matched_by_alternative_names_only),
        cmocka_unit_test(chains_and_dates_are_explained),
        cmocka_unit_test(own_authorities_replace_the_roots),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(bad_pem_is_refused_by_its_name),
    };
    return cmocka_run_group_tests(tests, make_certs, NULL);
}
