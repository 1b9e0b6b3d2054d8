/* Destinations: every setting's bounds, merge patch, write-only values, status, tombstones. */
#include "support_control.h"

#include "base/num.h"
#include "control/destinations.h"
#include "control/rules.h"
#include "json/tape.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <stdio.h>
#include <string.h>

static mr_err create(struct fixture *f, const char *body, struct destination_view *view) {
    return destinations_create(f->control, f->account, mr_str_c(body), &f->arena, view,
                               &f->refusal);
}

/* A destination with these further settings, which begin with a comma. */
static mr_err create_with(struct fixture *f, const char *settings, struct destination_view *view) {
    static char body[200000];
    (void)snprintf(body, sizeof body,
                   "{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{\"url\":\"https://x.test/\""
                   "%s}}",
                   settings);
    return create(f, body, view);
}

static mr_err patch(struct fixture *f, mr_str id, const char *body, struct destination_view *view) {
    return destinations_patch(f->control, f->account, id, mr_str_c(body), 0, &f->arena, view, NULL,
                              NULL, &f->refusal);
}

static const struct model_destination *in_snapshot(struct fixture *f, uint32_t number,
                                                   struct snapshot **ret_snapshot) {
    *ret_snapshot = control_snapshot(f->control);
    return snapshot_destination(*ret_snapshot, number);
}

static void creation_gives_defaults(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    assert_ok(create_with(f, "", &view));
    assert_text(view.settings_json,
                "{\"url\":\"https://x.test/\",\"method\":\"POST\",\"batch_max\":50,"
                "\"batch_bytes_max\":1048576,\"linger_ms\":50,\"timeout_ms\":5000,"
                "\"retry_policy\":\"kore\",\"rate_per_second\":null,\"concurrency_max\":32,"
                "\"headers\":{},\"signatures\":[\"kore\"],\"escape_non_ascii\":false,"
                "\"format\":\"kore\",\"client_cert_pem\":null,\"client_key_pem\":null,"
                "\"ca_pem\":null}");
    assert_int_equal(view.status, MODEL_ACTIVE);
    assert_int_equal(view.version, 1);
    assert_int_equal(view.id.len, 30);
    assert_memory_equal(view.id.ptr, "dst_", 4);
    assert_text(view.metadata_json, "{}");
    mr_buf json;
    mr_buf_init(&json, 65536);
    struct destination_counters counters = {.pending = 3};
    assert_ok(destination_write_json(&view, &counters, &json));
    json_tape tape;
    json_tape_init(&tape, 16);
    assert_ok(json_tape_read(&tape, mr_buf_view(&json), NULL));
    assert_int_equal(json_count(json_root(&tape)), 13);
    assert_int_equal(json_kind_of(json_find(json_root(&tape), MR_STR("last_test"))), JSON_NULL);
    json_tape_done(&tape);
    mr_buf_done(&json);
}

static void all_settings_reach_the_snapshot(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    struct snapshot *snapshot = NULL;
    assert_ok(create_with(f,
                          ",\"method\":\"GET\",\"batch_max\":7,\"batch_bytes_max\":2048,"
                          "\"linger_ms\":0,\"timeout_ms\":30000,\"retry_policy\":{\"delays_ms\":"
                          "[0,5,1e3]},\"rate_per_second\":9,\"concurrency_max\":4,\"headers\":{"
                          "\"X-Key\":\"v 1\"},\"escape_non_ascii\":true,\"format\":\"ce-binary\"",
                          &view));
    const struct model_destination *d = in_snapshot(f, view.number, &snapshot);
    const struct model_webhook *w = &d->webhook;
    assert_int_equal(w->method, MODEL_GET);
    assert_int_equal(d->delivery.batch_max, 7);
    assert_int_equal(d->delivery.batch_bytes_max, 2048);
    assert_int_equal(d->delivery.linger_ms, 0);
    assert_int_equal(d->delivery.timeout_ms, 30000);
    assert_int_equal(d->delivery.retry.kind, MODEL_RETRY_DELAYS);
    assert_int_equal(d->delivery.retry.n_delays, 3);
    assert_int_equal(d->delivery.retry.delays_ms[2], 1000);
    assert_int_equal(d->delivery.rate_per_second, 9);
    assert_int_equal(d->delivery.concurrency_max, 4);
    assert_true(w->escape_non_ascii);
    assert_int_equal(w->format, MODEL_FORMAT_CE_BINARY);
    assert_int_equal(w->n_headers, 1);
    assert_text(w->headers[0].name, "X-Key");
    assert_text(mr_secret_reveal(w->headers[0].value), "v 1");
    assert_text(mr_secret_text(w->headers[0].value), "[redacted]");
    assert_text(w->url, "https://x.test/");
    snapshot_unref(snapshot);
    /* The same after a restart. */
    fixture_reopen(f);
    d = in_snapshot(f, view.number, &snapshot);
    assert_int_equal(d->delivery.retry.delays_ms[2], 1000);
    assert_text(mr_secret_reveal(d->webhook.headers[0].value), "v 1");
    snapshot_unref(snapshot);
}

static void each_bad_setting_is_refused_by_name(void **state) {
    static const struct {
        const char *settings;
        int code;
        const char *part;
    } rows[] = {
        {",\"method\":\"PUT\"", 20400, "settings.method must be one of: POST, GET"},
        {",\"method\":1", 20400, "settings.method"},
        {",\"batch_max\":0", 20400, "settings.batch_max must be a whole number from 1 to 50"},
        {",\"batch_max\":51", 20400, "settings.batch_max"},
        {",\"batch_max\":1.5", 20400, "settings.batch_max"},
        {",\"batch_max\":\"5\"", 20400, "settings.batch_max"},
        {",\"batch_bytes_max\":1023", 20400, "settings.batch_bytes_max"},
        {",\"batch_bytes_max\":1048577", 20400, "settings.batch_bytes_max"},
        {",\"linger_ms\":-1", 20400, "settings.linger_ms"},
        {",\"linger_ms\":60001", 20400, "settings.linger_ms"},
        {",\"timeout_ms\":99", 20400, "settings.timeout_ms"},
        {",\"timeout_ms\":30001", 20400, "settings.timeout_ms"},
        {",\"retry_policy\":\"none\"", 20400, "settings.retry_policy"},
        {",\"retry_policy\":{}", 20002, "settings.retry_policy.delays_ms"},
        {",\"retry_policy\":{\"delays_ms\":[-1]}", 20400, "delays_ms"},
        {",\"retry_policy\":{\"delays_ms\":[86400001]}", 20400, "delays_ms"},
        {",\"retry_policy\":{\"delays_ms\":1}", 20400, "delays_ms"},
        {",\"retry_policy\":{\"delays_ms\":[],\"x\":1}", 20001, "settings.retry_policy.x"},
        {",\"rate_per_second\":0", 20400, "settings.rate_per_second"},
        {",\"concurrency_max\":0", 20400, "settings.concurrency_max"},
        {",\"concurrency_max\":257", 20400, "settings.concurrency_max"},
        {",\"headers\":[]", 20400, "settings.headers"},
        {",\"headers\":{\"Host\":\"x\"}", 20400, "\"Host\" is not allowed"},
        {",\"headers\":{\"content-type\":\"x\"}", 20400, "not allowed"},
        {",\"headers\":{\"Kore-Signature\":\"x\"}", 20400, "not allowed"},
        {",\"headers\":{\"webhook-id\":\"x\"}", 20400, "not allowed"},
        {",\"headers\":{\"Connection\":\"x\"}", 20400, "not allowed"},
        {",\"headers\":{\"transfer-encoding\":\"x\"}", 20400, "not allowed"},
        {",\"headers\":{\"a b\":\"x\"}", 20400, "not allowed"},
        {",\"headers\":{\"\":\"x\"}", 20400, "not allowed"},
        {",\"headers\":{\"a\":\"x\\r\\nb: c\"}", 20400, "visible"},
        {",\"headers\":{\"a\":\" x\"}", 20400, "visible"},
        {",\"headers\":{\"a\":\"\\u00e4\"}", 20400, "visible"},
        {",\"headers\":{\"a\":1}", 20400, "visible"},
        {",\"headers\":{\"a\":\"1\",\"A\":\"2\"}", 20400, "twice"},
        {",\"headers\":{\"a\":\"[redacted]\"}", 20400, "no stored value"},
        {",\"signatures\":[]", 20400, "settings.signatures"},
        {",\"signatures\":\"kore\"", 20400, "settings.signatures"},
        {",\"signatures\":[\"md5\"]", 20400, "settings.signatures"},
        {",\"signatures\":[\"kore\",\"standard-webhooks\"]", 20400, "make a signing secret first"},
        {",\"escape_non_ascii\":1", 20400, "settings.escape_non_ascii"},
        {",\"format\":\"xml\"", 20400, "settings.format"},
        {",\"client_cert_pem\":\"x\"", 20002, "settings.client_key_pem"},
        {",\"client_key_pem\":\"x\"", 20002, "settings.client_cert_pem"},
        {",\"client_key_pem\":\"[redacted]\"", 20400, "settings.client_key_pem"},
        {",\"client_key_pem\":\"x\",\"client_cert_pem\":\"y\"", 20400, "settings.client_cert_pem"},
        {",\"ca_pem\":\"x\"", 20400, "settings.ca_pem"},
        {",\"colour\":1,\"size\":2", 20001, "settings.colour, settings.size"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct destination_view view;
        assert_refused(f, create_with(f, rows[i].settings, &view), rows[i].code, rows[i].part);
    }
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_int_equal(snapshot_count(snapshot, MODEL_DESTINATION), 0);
    snapshot_unref(snapshot);
}

static void each_bad_body_is_refused_by_name(void **state) {
#define OK "\"kind\":\"webhook\",\"settings\":{\"url\":\"https://x.test/\"}"
    static const struct {
        const char *body;
        int code;
        const char *part;
    } rows[] = {
        {"", 20400, "not valid JSON"},
        {"[]", 20400, "must be a JSON object"},
        {"{\"name\":\"D\",\"name\":\"E\"," OK "}", 20400, "duplicate"},
        {"{" OK "}", 20002, "name"},
        {"{\"name\":null," OK "}", 20002, "name"},
        {"{\"name\":\"\"," OK "}", 20400, "name"},
        {"{\"name\":\"a\\nb\"," OK "}", 20400, "control"},
        {"{\"name\":3," OK "}", 20400, "name must be a string"},
        {"{\"name\":\"D\",\"settings\":{\"url\":\"https://x.test/\"}}", 20002, "kind"},
        {"{\"name\":\"D\",\"kind\":\"webhook\"}", 20002, "settings"},
        {"{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{}}", 20002, "settings.url"},
        {"{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":1}", 20400, "settings"},
        {"{\"name\":\"D\",\"kind\":\"queue\",\"settings\":{}}", 20400, "kind"},
        {"{\"name\":\"D\",\"kind\":\"kinesis\",\"settings\":{}}", 20002, "settings.stream_arn"},
        {"{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{\"url\":\"ftp://x\"}}", 20400,
         "settings.url is not valid: the scheme must be https"},
        {"{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{\"url\":\"https://127.0.0.1/\"}}",
         31010, "loopback"},
        {"{\"name\":\"D\",\"status\":\"failed\"," OK "}", 20400, "status"},
        {"{\"name\":\"D\",\"status\":\"on\"," OK "}", 20400, "status"},
        {"{\"name\":\"D\",\"metadata\":[]," OK "}", 20400, "metadata"},
        {"{\"name\":\"D\",\"description\":1," OK "}", 20400, "description"},
        {"{\"name\":\"D\",\"id\":\"x\"," OK "}", 20001, "id"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct destination_view view;
        assert_refused(f, create(f, rows[i].body, &view), rows[i].code, rows[i].part);
    }
}

static void patch_merges_and_keeps_what_it_does_not_name(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    assert_ok(create(f,
                     "{\"name\":\"D\",\"description\":\"text\",\"kind\":\"webhook\",\"settings\":{"
                     "\"url\":\"https://x.test/\",\"batch_max\":5},\"metadata\":{\"a\":1,\"b\":2}}",
                     &view));
    mr_str id = view.id;
    assert_ok(patch(f, id,
                    "{\"name\":\"E\",\"settings\":{\"timeout_ms\":700},\"metadata\":{\"a\":null,"
                    "\"c\":{\"d\":3}}}",
                    &view));
    assert_text(view.name, "E");
    assert_text(view.description, "text");
    assert_text(view.metadata_json, "{\"b\":2,\"c\":{\"d\":3}}");
    assert_int_equal(view.version, 2);
    assert_true(mr_str_find(view.settings_json, MR_STR("\"timeout_ms\":700")) != SIZE_MAX);
    assert_true(mr_str_find(view.settings_json, MR_STR("\"batch_max\":5,")) != SIZE_MAX);
    /* null gives the default back. */
    assert_ok(patch(f, id, "{\"settings\":{\"batch_max\":null},\"description\":null}", &view));
    assert_true(mr_str_find(view.settings_json, MR_STR("\"batch_max\":50,")) != SIZE_MAX);
    assert_text(view.description, "");
    assert_refused(f, patch(f, id, "{\"settings\":{\"url\":null}}", &view), 20002, "settings.url");
    assert_refused(f, patch(f, id, "{\"name\":null}", &view), 20002, "name");
    assert_refused(f, patch(f, id, "{\"settings\":null}", &view), 20002, "settings");
    assert_refused(f, patch(f, id, "{\"kind\":\"kinesis\"}", &view), 20400, "kind");
    assert_refused(f, patch(f, id, "{\"counters\":{}}", &view), 20001, "counters");
    assert_refused(f, patch(f, id, "[]", &view), 20400, "object");
    assert_refused(f, patch(f, MR_STR("dst_x"), "{}", &view), 20404, "no such destination");
    assert_refused(f,
                   destinations_patch(f->control, f->account, id, MR_STR("{}"), 1, &f->arena, &view,
                                      NULL, NULL, &f->refusal),
                   20412, "meanwhile");
    assert_refused(f,
                   destinations_get(f->control, f->account + 1, id, &f->arena, &view, &f->refusal),
                   20404, "no such");
}

static void write_only_values_show_redacted_and_survive_a_round_trip(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    struct snapshot *snapshot = NULL;
    assert_ok(create_with(f, ",\"headers\":{\"X-A\":\"one\",\"X-B\":\"two\"}", &view));
    mr_str id = view.id;
    assert_true(
        mr_str_find(view.settings_json,
                    MR_STR("\"headers\":{\"X-A\":\"[redacted]\",\"X-B\":\"[redacted]\"}")) !=
        SIZE_MAX);
    /* All of it sent back, one value changed, one removed, one added. */
    assert_ok(patch(f, id,
                    "{\"settings\":{\"headers\":{\"X-A\":\"[redacted]\",\"X-B\":null,\"X-C\":"
                    "\"three\"}}}",
                    &view));
    const struct model_destination *d = in_snapshot(f, view.number, &snapshot);
    assert_int_equal(d->webhook.n_headers, 2);
    assert_text(mr_secret_reveal(d->webhook.headers[0].value), "one");
    assert_text(mr_secret_reveal(d->webhook.headers[1].value), "three");
    snapshot_unref(snapshot);
    assert_refused(f, patch(f, id, "{\"settings\":{\"headers\":{\"X-D\":\"[redacted]\"}}}", &view),
                   20400, "X-D");
}

/* A self-signed certificate with its key, as PEM inside JSON strings. */
static void make_pair(char *cert_json, char *key_json, size_t size) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    for (int i = 0; i < 2; i++) {
        char *out = i == 0 ? cert_json : key_json;
        char *text = NULL;
        size_t n = 0;
        BIO *bio = BIO_new(BIO_s_mem());
        if (i == 0) {
            PEM_write_bio_X509(bio, cert);
        } else {
            PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
        }
        long len = BIO_get_mem_data(bio, &text);
        for (long k = 0; k < len && n + 2 < size; k++) {
            if (text[k] == '\n') {
                out[n++] = '\\';
                out[n++] = 'n';
            } else {
                out[n++] = text[k];
            }
        }
        out[n] = '\0';
        BIO_free(bio);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void client_certificates_are_checked_against_their_key(void **state) {
    struct fixture *f = *state;
    static char cert[8192];
    static char key[8192];
    static char other_cert[8192];
    static char other_key[8192];
    static char settings[40000];
    struct destination_view view;
    struct snapshot *snapshot = NULL;
    make_pair(cert, key, sizeof cert);
    make_pair(other_cert, other_key, sizeof other_cert);
    (void)snprintf(settings, sizeof settings,
                   ",\"client_cert_pem\":\"%s\",\"client_key_pem\":\"%s\",\"ca_pem\":\"%s\"", cert,
                   key, other_cert);
    assert_ok(create_with(f, settings, &view));
    assert_true(mr_str_find(view.settings_json, MR_STR("PRIVATE KEY")) == SIZE_MAX);
    const struct model_destination *d = in_snapshot(f, view.number, &snapshot);
    assert_true(mr_str_find(mr_secret_reveal(d->webhook.client_key_pem), MR_STR("PRIVATE KEY")) !=
                SIZE_MAX);
    snapshot_unref(snapshot);
    (void)snprintf(settings, sizeof settings,
                   ",\"client_cert_pem\":\"%s\",\"client_key_pem\":\"%s\"", cert, other_key);
    assert_refused(f, create_with(f, settings, &view), 20400, "not the key");
    (void)snprintf(settings, sizeof settings,
                   ",\"client_cert_pem\":\"%s\",\"client_key_pem\":\"x\"", cert);
    assert_refused(f, create_with(f, settings, &view), 20400, "private key in PEM");
}

static void status_is_changed_by_calls_and_by_dispatch(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    enum model_destination_status before = MODEL_ACTIVE;
    int64_t disabled_ms = 0;
    assert_ok(create_with(f, "", &view));
    mr_str id = view.id;
    uint32_t number = view.number;
    assert_ok(destinations_set_status(f->control, number, MODEL_FAILED, MODEL_DISABLED_BY_NOBODY,
                                      &f->refusal));
    assert_ok(destinations_get(f->control, f->account, id, &f->arena, &view, &f->refusal));
    assert_int_equal(view.status, MODEL_FAILED);
    /* A change of something else leaves failed as it is. */
    assert_ok(patch(f, id, "{\"name\":\"E\",\"status\":\"failed\"}", &view));
    assert_int_equal(view.status, MODEL_FAILED);
    assert_ok(destinations_set_status(f->control, number, MODEL_DISABLED, MODEL_DISABLED_BY_GONE,
                                      &f->refusal));
    assert_ok(destinations_get(f->control, f->account, id, &f->arena, &view, &f->refusal));
    assert_int_equal(view.disabled_by, MODEL_DISABLED_BY_GONE);
    assert_true(view.disabled_ms > 0);
    /* Dispatch does not enable. */
    assert_ok(destinations_set_status(f->control, number, MODEL_ACTIVE, MODEL_DISABLED_BY_NOBODY,
                                      &f->refusal));
    struct snapshot *snapshot = NULL;
    assert_int_equal(in_snapshot(f, number, &snapshot)->status, MODEL_DISABLED);
    snapshot_unref(snapshot);
    assert_ok(destinations_patch(f->control, f->account, id, MR_STR("{\"status\":\"active\"}"), 0,
                                 &f->arena, &view, &before, &disabled_ms, &f->refusal));
    assert_int_equal(before, MODEL_DISABLED);
    assert_true(disabled_ms > 0);
    assert_int_equal(view.status, MODEL_ACTIVE);
    assert_int_equal(view.disabled_ms, 0);
    assert_ok(destinations_set_status(f->control, 999, MODEL_FAILED, MODEL_DISABLED_BY_NOBODY,
                                      &f->refusal));
}

static void the_last_test_is_kept(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    assert_ok(create_with(f, "", &view));
    assert_ok(
        destinations_set_last_test(f->control, view.number, MR_STR("{\"ok\":true}"), &f->refusal));
    assert_ok(destinations_get(f->control, f->account, view.id, &f->arena, &view, &f->refusal));
    assert_text(view.last_test_json, "{\"ok\":true}");
    assert_int_equal(view.version, 1);
}

static void deleting_is_refused_while_rules_lead_there_and_leaves_a_tombstone(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    uint32_t number = 0;
    mr_str id = make_destination(f);
    mr_str rule = make_rule(f, id);
    mr_err err = destinations_delete(f->control, f->account, id, 0, &number, &f->refusal);
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "%.*s", MR_FMT(rule));
    assert_refused(f, err, 31011, wanted);
    assert_int_equal(f->refusal.status, 409);
    assert_ok(destinations_get(f->control, f->account, id, &f->arena, &view, &f->refusal));
    assert_int_equal(view.n_rules, 1);
    assert_true(mr_str_eq(view.rule_ids[0], rule));
    assert_ok(rules_delete(f->control, f->account, rule, 0, &f->refusal));
    assert_ok(destinations_delete(f->control, f->account, id, 0, &number, &f->refusal));
    assert_int_equal(number, view.number);
    struct snapshot *snapshot = NULL;
    assert_null(in_snapshot(f, number, &snapshot));
    assert_null(snapshot_destination_by_id(snapshot, id));
    snapshot_unref(snapshot);
    uint32_t numbers[4];
    size_t n = 0;
    mr_str known;
    assert_ok(destinations_tombstones(f->control, numbers, 4, &n, &f->refusal));
    assert_int_equal(n, 1);
    assert_int_equal(numbers[0], number);
    assert_ok(destinations_id_of(f->control, number, &f->arena, &known, &f->refusal));
    assert_true(mr_str_eq(known, id));
    assert_ok(
        rules_ids_of(f->control, (uint32_t[]){1, 77}, 2, &f->arena, (mr_str[2]){{0}}, &f->refusal));
    assert_ok(destinations_forget(f->control, number, &f->refusal));
    assert_ok(destinations_id_of(f->control, number, &f->arena, &known, &f->refusal));
    assert_true(mr_str_is_absent(known));
    /* The number is not used again, not even after a restart. */
    fixture_reopen(f);
    make_destination(f);
    snapshot = control_snapshot(f->control);
    assert_int_equal(snapshot_next(snapshot, MODEL_DESTINATION, 1)->number, number + 1);
    snapshot_unref(snapshot);
}

static void a_signing_secret_is_shown_once_and_overlaps(void **state) {
    struct fixture *f = *state;
    struct snapshot *snapshot = NULL;
    struct destination_view view;
    mr_str secret;
    mr_str second;
    mr_str public_key;
    mr_wall now = {INT64_C(1700000000) * MR_NS_PER_S};
    mr_str id = make_destination(f);
    assert_ok(destinations_signing_secret(f->control, f->account, id, now, &f->arena, &secret,
                                          &public_key, &f->refusal));
    assert_memory_equal(secret.ptr, "whsec_", 6);
    assert_memory_equal(public_key.ptr, "whpk_", 5);
    assert_ok(
        patch(f, id, "{\"settings\":{\"signatures\":[\"kore\",\"standard-webhooks\"]}}", &view));
    const struct model_destination *d = in_snapshot(f, view.number, &snapshot);
    assert_int_equal(d->webhook.signatures, MODEL_SIGN_KORE | MODEL_SIGN_STANDARD);
    assert_int_equal(mr_secret_reveal(d->webhook.signing.hmac_key).len, 32);
    assert_true(mr_secret_is_none(d->webhook.signing.previous_hmac_key));
    mr_secret old = mr_secret_ref(d->webhook.signing.hmac_key);
    snapshot_unref(snapshot);
    assert_ok(destinations_signing_secret(f->control, f->account, id, now, &f->arena, &second,
                                          &public_key, &f->refusal));
    assert_false(mr_str_eq(secret, second));
    d = in_snapshot(f, view.number, &snapshot);
    assert_true(mr_secret_eq(d->webhook.signing.previous_hmac_key, mr_secret_reveal(old)));
    assert_true(d->webhook.signing.previous_until_ms == mr_wall_ms(now) + 24 * 3600 * 1000);
    uint8_t signature[ED25519_SIGNATURE_BYTES];
    mr_buf key;
    mr_buf_init(&key, 64);
    assert_ok(mr_base64_decode(mr_str_slice(public_key, 5, public_key.len), &key));
    assert_ok(ed25519_sign(d->webhook.signing.ed25519_key, MR_STR("m"), signature));
    assert_true(ed25519_verify((const uint8_t *)key.ptr, MR_STR("m"), signature));
    mr_buf_done(&key);
    mr_secret_unref(&old);
    snapshot_unref(snapshot);
}

static void lists_page_and_filter(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    struct destination_view *rows = NULL;
    size_t n = 0;
    uint64_t count = 0;
    for (int i = 0; i < 5; i++) {
        assert_ok(create_with(f, "", &view));
    }
    assert_ok(patch(f, view.id, "{\"status\":\"disabled\"}", &view));
    struct control_page page = {.size = 2, .number = 3};
    assert_ok(destinations_list(f->control, f->account, MR_STR_NONE, MR_STR_NONE, page, &f->arena,
                                &rows, &n, &count, &f->refusal));
    assert_int_equal(count, 5);
    assert_int_equal(n, 1);
    assert_true(mr_str_eq(rows[0].id, view.id));
    page = (struct control_page){.size = 50, .number = 1};
    assert_ok(destinations_list(f->control, f->account, MR_STR("active"), MR_STR("webhook"), page,
                                &f->arena, &rows, &n, &count, &f->refusal));
    assert_int_equal(count, 4);
    assert_refused(f,
                   destinations_list(f->control, f->account, MR_STR("on"), MR_STR_NONE, page,
                                     &f->arena, &rows, &n, &count, &f->refusal),
                   20400, "status");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(creation_gives_defaults),
        TEST(all_settings_reach_the_snapshot),
        TEST(each_bad_setting_is_refused_by_name),
        TEST(each_bad_body_is_refused_by_name),
        TEST(patch_merges_and_keeps_what_it_does_not_name),
        TEST(write_only_values_show_redacted_and_survive_a_round_trip),
        TEST(client_certificates_are_checked_against_their_key),
        TEST(status_is_changed_by_calls_and_by_dispatch),
        TEST(the_last_test_is_kept),
        TEST(deleting_is_refused_while_rules_lead_there_and_leaves_a_tombstone),
        TEST(a_signing_secret_is_shown_once_and_overlaps),
        TEST(lists_page_and_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
