/* Mail as it goes over the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mail/message.h"
#include "mail/smtp.h"

static struct mail_message plain(void) {
    return (struct mail_message){.from = MR_STR("millrace@example.com"),
                                 .recipient = MR_STR("ada@example.org"),
                                 .subject = MR_STR("Hello"),
                                 .text = MR_STR("One line.\n"),
                                 .id = MR_STR("inst_1.7"),
                                 .date = {INT64_C(1727291388) * MR_NS_PER_S}};
}

/* The whole mail as text in buf. */
static mr_str written(const struct mail_message *message, mr_buf *buf) {
    mr_buf_init(buf, 65536);
    assert_true(mr_is_ok(mail_message_write(message, buf)));
    return mr_buf_view(buf);
}

static void a_plain_mail_has_every_field(void **state) {
    (void)state;
    struct mail_message message = plain();
    mr_buf buf;
    mr_str text = written(&message, &buf);
    assert_true(
        mr_str_eq(text, MR_STR("Date: Wed, 25 Sep 2024 19:09:48 +0000\r\n"
                               "From: Millrace <millrace@example.com>\r\nTo: <ada@example.org>\r\n"
                               "Subject: Hello\r\nMessage-ID: <inst_1.7@example.com>\r\n"
                               "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                               "Content-Transfer-Encoding: quoted-printable\r\n"
                               "Auto-Submitted: auto-generated\r\n\r\nOne line.\r\n")));
    mr_buf_done(&buf);
}

static void a_subject_cannot_add_a_field(void **state) {
    (void)state;
    const char *const subjects[] = {"a\r\nBcc: x@example.com", "a\nBcc: x@example.com",
                                    "a\rBcc: x@example.com", "=?utf-8?q?=0D=0ABcc: x@y.z?="};
    for (size_t i = 0; i < 4; i++) {
        struct mail_message message = plain();
        message.subject = mr_str_c(subjects[i]);
        mr_buf buf;
        mr_str text = written(&message, &buf);
        assert_int_equal(mr_str_find(text, MR_STR("Bcc")), SIZE_MAX);
        assert_true(mr_str_find(text, MR_STR("Subject: =?UTF-8?B?")) != SIZE_MAX);
        mr_buf_done(&buf);
    }
}

static void a_long_subject_is_cut_between_characters(void **state) {
    (void)state;
    struct mail_message message = plain();
    /* 38 ASCII bytes, then characters of three bytes: the cut must not fall into one. */
    message.subject = MR_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa€€€€€€€€€€€€€€€€€€");
    mr_buf buf;
    mr_str text = written(&message, &buf);
    assert_true(mr_str_find(text, MR_STR("YWFhYWFhYWE=?=\r\n =?UTF-8?B?4oKs")) != SIZE_MAX);
    mr_str rest = text;
    mr_str line;
    while (mr_str_split(&rest, '\n', &line)) {
        assert_true(line.len <= 77);
    }
    mr_buf_done(&buf);
}

static void lines_of_text_are_short_and_seven_bits(void **state) {
    (void)state;
    struct mail_message message = plain();
    char body[400];
    memset(body, 'x', sizeof body);
    memcpy(body, "caf\xc3\xa9 = ok \n.\n\nend", 18);
    message.text = mr_str_of(body, sizeof body);
    mr_buf buf;
    mr_str text = written(&message, &buf);
    assert_true(mr_str_find(text, MR_STR("\r\n\r\ncaf=C3=A9 =3D ok=20\r\n.\r\n\r\nend")) !=
                SIZE_MAX);
    mr_str rest = text;
    mr_str line;
    while (mr_str_split(&rest, '\n', &line)) {
        assert_true(line.len <= 77);
        for (size_t i = 0; i < line.len; i++) {
            assert_true((unsigned char)line.ptr[i] < 0x80);
        }
    }
    mr_buf_done(&buf);
}

static void unfit_addresses_are_refused(void **state) {
    (void)state;
    const char *const wrong[] = {"",       "a",         "@b",      "a@",           "a@b@c",
                                 "a b@c",  "a@b\r\nX:", "<a@b>",   "a@b,c@d",      "a@b>",
                                 "a;b@c",  "\"a\"@b",   "a(x)@b",  "\xc3\xa9@b.c", "a@[1]",
                                 "a@b\tc", "a@b\x7f",   "a:b@c.d", "a\\b@c"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(mail_address_is_fit(mr_str_c(wrong[i])));
        struct mail_message message = plain();
        message.recipient = mr_str_c(wrong[i]);
        mr_buf buf;
        mr_buf_init(&buf, 65536);
        assert_true(mr_err_is(mail_message_write(&message, &buf), MR_E_INVALID));
        assert_int_equal(buf.len, 0);
        mr_buf_done(&buf);
    }
    assert_true(mail_address_is_fit(MR_STR("o'hara+tag@mail.example.com")));
}

static void only_this_machine_is_loopback(void **state) {
    (void)state;
    const char *const here[] = {"smtp://127.0.0.1:25", "smtp://127.3.2.1:25", "smtps://[::1]:465",
                                "smtp://localhost:25", "smtp://LOCALHOST:25"};
    const char *const there[] = {"smtp://10.0.0.1:25", "smtp://127.example.com:25",
                                 "smtp://[::2]:25", "smtp://localhost.example.com:25",
                                 "smtp://mail.example.com:127"};
    for (size_t i = 0; i < 5; i++) {
        assert_true(smtp_url_is_loopback(mr_str_c(here[i])));
        assert_false(smtp_url_is_loopback(mr_str_c(there[i])));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_mail_has_every_field),
        cmocka_unit_test(a_subject_cannot_add_a_field),
        cmocka_unit_test(a_long_subject_is_cut_between_characters),
        cmocka_unit_test(lines_of_text_are_short_and_seven_bits),
        cmocka_unit_test(unfit_addresses_are_refused),
        cmocka_unit_test(only_this_machine_is_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
