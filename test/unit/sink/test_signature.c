/* Signatures against published and computed vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/num.h"
#include "sink/signature.h"
#include "sink/webhook.h"

struct vector {
    const char *name, *secret, *method, *url, *body, *signature;
};

/* KORE, "Validate webhook signatures", its older page, and what its rule gives for the rest. */
static const struct vector vectors[] = {
    {"form body, POST", "12345", "POST", "https://testendpoint.com", "field1=value1&field2=value2",
     "f562d3959f68b5a30fc7a63f8bbf40987f633575f4231ffceb4f76dd154ea3ce"},
    {"form body, POST, older page", "secret12345", "POST", "https://testendpoint.com",
     "field1=value1&field2=value2",
     "4fdba0cb1394cc8d17b8dabb04634aa9a951021a7b161f9c7a2186cd490b18b2"},
    {"json object body, POST, older page", "a35974bdf1c769b8bb", "POST", "https://testendpoint.com",
     "{\"field1\":\"value1\",\"field2\":\"value2\"}",
     "d21c555b37789cdb9433a85760d326f0c637d5c17676b8dc49918ec629c67d59"},
    {"test event as a one-element array, POST", "f4d430d03cff6f03e1", "POST",
     "https://testendpoint.com",
     "[{\"data\":{\"test_id\":\"88bf54a9-f2fb-40b6-8faf-e6c5a3c348d2\"},\"id\":\"fff521c2-c7db-"
     "4b53-a5a0-c5d5d01f66ce\",\"time\":\"2024-09-25T19:09:48.5842087+00:00\",\"type\":\"com.kore."
     "eventstreams.test.event\",\"source\":\"kore-events\",\"dataschema\":\"/schemas/test/"
     "1\",\"specversion\":\"1.0\",\"datacontenttype\":\"application/json\"}]",
     "ebada5751c4fea18becf9eea29f239fd3a62805e817bdc730a0c9fa589201592"},
    {"GET without a body", "f4d430d03cff6f03e1", "GET", "https://testendpoint.com", "",
     "fb5251ef6a8fbd8d892d6233d19c22fa741db6c3eb1b4438e1ee8fa38571ca69"},
    {"query is sent but not signed", "12345", "POST",
     "https://testendpoint.com?foo1=bar1&foo2=bar2", "field1=value1&field2=value2",
     "f562d3959f68b5a30fc7a63f8bbf40987f633575f4231ffceb4f76dd154ea3ce"},
    {"fragment is configuration: neither sent nor signed", "12345", "POST",
     "https://testendpoint.com#cbs=kore", "field1=value1&field2=value2",
     "f562d3959f68b5a30fc7a63f8bbf40987f633575f4231ffceb4f76dd154ea3ce"},
};

static void kore_signatures_match_the_vectors(void **state) {
    (void)state;
    struct crypto_hasher *hasher;
    assert_true(mr_is_ok(crypto_hasher_new(&hasher)));
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char hex[SIGNATURE_HEX_LEN + 1] = "";
        mr_str body = mr_str_c(vectors[i].body);
        assert_true(mr_is_ok(signature_kore(hasher, mr_str_c(vectors[i].secret),
                                            mr_str_c(vectors[i].method), mr_str_c(vectors[i].url),
                                            &body, 1, hex)));
        assert_string_equal(hex, vectors[i].signature);
    }
    crypto_hasher_free(hasher);
}

static void a_body_in_parts_signs_as_a_whole(void **state) {
    (void)state;
    struct crypto_hasher *hasher;
    assert_true(mr_is_ok(crypto_hasher_new(&hasher)));
    const mr_str parts[] = {MR_STR("field1=value1"), MR_STR(""), MR_STR("&field2=value2")};
    char hex[SIGNATURE_HEX_LEN + 1] = "";
    assert_true(mr_is_ok(signature_kore(hasher, MR_STR("12345"), MR_STR("POST"),
                                        MR_STR("https://testendpoint.com"), parts, 3, hex)));
    assert_string_equal(hex, vectors[0].signature);
    crypto_hasher_free(hasher);
}

static void every_part_of_the_request_counts(void **state) {
    (void)state;
    struct crypto_hasher *hasher;
    assert_true(mr_is_ok(crypto_hasher_new(&hasher)));
    const struct vector changed[] = {
        {"secret", "12346", "POST", "https://testendpoint.com", "field1=value1&field2=value2", ""},
        {"method", "12345", "GET", "https://testendpoint.com", "field1=value1&field2=value2", ""},
        {"url", "12345", "POST", "https://testendpoint.com/", "field1=value1&field2=value2", ""},
        {"body", "12345", "POST", "https://testendpoint.com", "field1=value1&field2=value3", ""}};
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        char hex[SIGNATURE_HEX_LEN + 1] = "";
        mr_str body = mr_str_c(changed[i].body);
        assert_true(mr_is_ok(signature_kore(hasher, mr_str_c(changed[i].secret),
                                            mr_str_c(changed[i].method), mr_str_c(changed[i].url),
                                            &body, 1, hex)));
        assert_string_not_equal(hex, vectors[0].signature);
    }
    crypto_hasher_free(hasher);
}

static void standard_webhooks_matches_its_reference_vector(void **state) {
    (void)state;
    struct crypto_hasher *hasher;
    mr_buf key;
    mr_buf out;
    mr_buf_init(&key, 256);
    mr_buf_init(&out, 256);
    assert_true(mr_is_ok(crypto_hasher_new(&hasher)));
    assert_true(mr_is_ok(mr_base64_decode(MR_STR("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &key)));
    assert_true(mr_is_ok(
        signature_standard_hmac(hasher, mr_buf_view(&key), MR_STR("msg_p5jXN8AQM9LWM0D4loKWxJek"),
                                MR_STR("1614265330"), MR_STR("{\"test\": 2432232314}"), &out)));
    assert_true(
        mr_str_eq(mr_buf_view(&out), MR_STR("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")));
    mr_buf_done(&key);
    mr_buf_done(&out);
    crypto_hasher_free(hasher);
}

static void retry_after_is_seconds_or_a_date(void **state) {
    (void)state;
    mr_wall now;
    assert_true(mr_is_ok(mr_time_parse_rfc3339(MR_STR("2024-09-25T19:09:48Z"), &now)));
    const struct {
        mr_str text;
        int64_t ms;
    } rows[] = {{MR_STR("0"), 0},
                {MR_STR("120"), 120000},
                {MR_STR("Wed, 25 Sep 2024 19:10:48 GMT"), 60000},
                {MR_STR("Wed, 25 Sep 2024 19:00:00 GMT"), 0},
                {MR_STR("-1"), -1},
                {MR_STR("soon"), -1},
                {MR_STR("1.5"), -1},
                {MR_STR(""), -1},
                {MR_STR("99999999999999999999"), -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(sink_retry_after_parse(rows[i].text, now), rows[i].ms);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kore_signatures_match_the_vectors),
        cmocka_unit_test(a_body_in_parts_signs_as_a_whole),
        cmocka_unit_test(every_part_of_the_request_counts),
        cmocka_unit_test(standard_webhooks_matches_its_reference_vector),
        cmocka_unit_test(retry_after_is_seconds_or_a_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
