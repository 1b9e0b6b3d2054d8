/* Settings: sources, order, and what is said of wrong ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/config.h"

static void defaults_are_those_of_the_table(void **state) {
    (void)state;
    struct config config;
    struct config_error error;
    assert_true(mr_is_ok(config_init(&config)));
    assert_string_equal(config.listen, "127.0.0.1:8080");
    assert_false(config.allow_http);
    assert_int_equal(config.batch_events_max, 1000);
    assert_true(mr_is_ok(config_check(&config, &error)));
    config_done(&config);
}

/* A YAML text that is refused, and what the message must hold. */
static void wrong_yaml_names_file_line_and_key(void **state) {
    (void)state;
    const struct {
        const char *text;
        const char *holds[3];
    } rows[] = {
        {"listen: 127.0.0.1:1\ncolour: red\n", {"f.yaml:2", "colour", "unknown"}},
        {"allow_http: yes please\n", {"f.yaml:1", "allow_http", "true or false"}},
        {"workers: 65\n", {"f.yaml:1", "workers", "from 0 to 64"}},
        {"workers: -1\n", {"f.yaml:1", "workers", "number"}},
        {"workers: 1\nworkers: 2\n", {"f.yaml:2", "workers", "twice"}},
        {"- a\n- b\n", {"f.yaml:1", "list", ""}},
        {"listen: [a]\n", {"f.yaml:1", "listen", "list"}},
        {"listen: {a: b}\n", {"f.yaml:1", "listen", "mapping"}},
        {"a: [\n", {"f.yaml:", "", ""}},
        {"just text\n", {"f.yaml:1", "mapping", ""}},
        {"\nlog_level: loud\n", {"f.yaml:2", "log_level", "\"loud\""}},
        {"public_url: ftp://x\n", {"f.yaml:1", "public_url", "https://"}},
        {"public_url: https://x/?a\n", {"f.yaml:1", "public_url", "query"}},
        {"listen: localhost\n", {"f.yaml:1", "listen", "address and port"}},
        {"metrics_listen: '1.2.3.4'\n", {"f.yaml:1", "metrics_listen", "address and port"}},
        {"allow_networks: 10.0.0.1/8\n", {"f.yaml:1", "allow_networks", "CIDR"}},
        {"allow_networks:\n- 10.0.0.0/8\n- nonsense\n", {"f.yaml:3", "allow_networks", "nonsense"}},
        {"allow_networks: ['10.0.0.0/8,']\n", {"f.yaml:1", "allow_networks", "comma"}},
        {"trusted_proxies: 10.0.0.1/8\n", {"f.yaml:1", "trusted_proxies", "CIDR"}},
        {"dataschema_aliases: [nowhere]\n", {"f.yaml:1", "dataschema_aliases", "base URLs"}},
        {"egress_proxy: http://proxy\n", {"f.yaml:1", "egress_proxy", "host:port"}},
        {"event_type_prefix: 'a b'\n", {"f.yaml:1", "event_type_prefix", "letters"}},
        {"metrics_token: short\n", {"f.yaml:1", "metrics_token", "16 characters"}},
        {"aws_region: frankfurt\n", {"f.yaml:1", "aws_region", "eu-central-1"}},
        {"aws_access_key_id: short\n", {"f.yaml:1", "aws_access_key_id", "16 to 128"}},
        {"kinesis_endpoint: http://a.example/x\n",
         {"f.yaml:1", "kinesis_endpoint", "https://host"}},
        {"sts_endpoint: a.example\n", {"f.yaml:1", "sts_endpoint", "https://host"}},
        {"aws_container_credentials: http://10.0.0.1/x\n",
         {"f.yaml:1", "aws_container_credentials", "link-local"}},
        {"aws_container_credentials: http://localhost/x\n",
         {"f.yaml:1", "aws_container_credentials", "loopback"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config config;
        struct config_error error;
        assert_true(mr_is_ok(config_init(&config)));
        mr_err err = config_load_yaml(&config, "f.yaml", mr_str_c(rows[i].text), &error);
        assert_true(mr_err_is(err, MR_E_INVALID));
        for (size_t h = 0; h < 3; h++) {
            assert_non_null(strstr(error.text, rows[i].holds[h]));
        }
        config_done(&config);
    }
}

static void yaml_sets_scalars_and_lists(void **state) {
    (void)state;
    struct config config;
    struct config_error error;
    assert_true(mr_is_ok(config_init(&config)));
    assert_true(mr_is_ok(config_load_yaml(&config, "f.yaml",
                                          MR_STR("# a comment\nlisten: \"[::1]:9\"\nallow_http: "
                                                 "true\nallow_networks:\n  - 10.0.0.0/8\n  - "
                                                 "::1/128\nworkers: 3\n"),
                                          &error)));
    assert_string_equal(config.listen, "[::1]:9");
    assert_true(config.allow_http);
    assert_string_equal(config.allow_networks, "10.0.0.0/8,::1/128");
    assert_int_equal(config.workers, 3);
    config_done(&config);
}

static void environment_wins_over_file_and_flags_over_both(void **state) {
    (void)state;
    struct config config;
    struct config_error error;
    char *env[] = {(char[]){"MILLRACE_WORKERS=5"}, (char[]){"PATH=/bin"},
                   (char[]){"MILLRACE_URL=http://x"}, (char[]){"MILLRACE_CLIENT_SECRET=s"}, NULL};
    assert_true(mr_is_ok(config_init(&config)));
    assert_true(mr_is_ok(config_load_yaml(&config, "f", MR_STR("workers: 3\n"), &error)));
    assert_true(mr_is_ok(config_load_env(&config, env, &error)));
    assert_int_equal(config.workers, 5);
    assert_true(mr_is_ok(config_set_flag(&config, MR_STR("workers"), MR_STR("7"), &error)));
    assert_int_equal(config.workers, 7);
    assert_true(mr_is_ok(config_set_flag(&config, MR_STR("allow-http"), MR_STR("true"), &error)));
    assert_true(config.allow_http);
    assert_true(
        mr_err_is(config_set_flag(&config, MR_STR("colour"), MR_STR("1"), &error), MR_E_NOT_FOUND));
    config_done(&config);
}

static void unknown_variables_are_named(void **state) {
    (void)state;
    struct config config;
    struct config_error error;
    char *env[] = {(char[]){"MILLRACE_COLOUR=red"}, NULL};
    assert_true(mr_is_ok(config_init(&config)));
    assert_true(mr_err_is(config_load_env(&config, env, &error), MR_E_INVALID));
    assert_non_null(strstr(error.text, "MILLRACE_COLOUR"));
    config_done(&config);
}

static void relations_between_keys_are_checked(void **state) {
    (void)state;
    const char *const rows[][2] = {{"tls-cert-file", "a.pem"},
                                   {"destination-in-flight-bytes-max", "1073741824"},
                                   {"aws-access-key-id", "AKIA0123456789ABCDEF"},
                                   {"aws-secret-access-key-file", "key"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config config;
        struct config_error error;
        assert_true(mr_is_ok(config_init(&config)));
        assert_true(
            mr_is_ok(config_set_flag(&config, mr_str_c(rows[i][0]), mr_str_c(rows[i][1]), &error)));
        assert_true(mr_err_is(config_check(&config, &error), MR_E_INVALID));
        assert_true(strlen(error.text) > 0);
        config_done(&config);
    }
}

static void secrets_are_not_printed(void **state) {
    (void)state;
    struct config config;
    struct config_error error;
    mr_buf out;
    mr_buf_init(&out, 1 << 20);
    assert_true(mr_is_ok(config_init(&config)));
    assert_true(mr_is_ok(
        config_set_flag(&config, MR_STR("metrics-token"), MR_STR("0123456789abcdef"), &error)));
    assert_true(mr_is_ok(config_print(&config, &out)));
    assert_true(mr_str_find(mr_buf_view(&out), MR_STR("0123456789abcdef")) == SIZE_MAX);
    assert_true(mr_str_find(mr_buf_view(&out), MR_STR("metrics_token: [redacted]")) != SIZE_MAX);
    mr_buf_done(&out);
    config_done(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(wrong_yaml_names_file_line_and_key),
        cmocka_unit_test(yaml_sets_scalars_and_lists),
        cmocka_unit_test(environment_wins_over_file_and_flags_over_both),
        cmocka_unit_test(unknown_variables_are_named),
        cmocka_unit_test(relations_between_keys_are_checked),
        cmocka_unit_test(secrets_are_not_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
