/* The XML reader and what reads STS's answers by it, on any bytes. What must hold besides not
 * crashing: a wanted text is UTF-8 and no longer than the document; what a refusal says to people
 * is printable. */
#include "base/mem.h"
#include "sink/aws/sts.h"
#include "sink/aws/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printable(const char *text) {
    for (; *text != '\0'; text++) {
        MR_ASSERT(*text >= ' ' && *text < 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_str text = mr_str_of(size > 0 ? (const char *)data : "", size);
    mr_buf out;
    mr_buf_init(&out, XML_BYTES_MAX);
    struct xml_want want = {"a/b", &out, false};
    mr_err err = xml_read(text, &want, 1);
    MR_ASSERT(out.len <= size);
    if (mr_is_ok(err) && want.is_found) {
        MR_ASSERT(mr_str_is_utf8(mr_buf_view(&out)));
    }
    mr_buf_done(&out);
    struct sts_problem problem;
    sts_problem_read(text, &problem);
    check_printable(problem.code);
    check_printable(problem.message);
    struct secret_slab *slab;
    struct aws_credentials *credentials = NULL;
    MR_ASSERT(mr_is_ok(secret_slab_new(1 << 20, &slab)));
    if (mr_is_ok(sts_assume_role_read(slab, text, &credentials))) {
        check_printable(credentials->access_key);
        MR_ASSERT(mr_secret_reveal(credentials->secret_key).len > 0);
        aws_credentials_unref(credentials);
    }
    secret_slab_free(slab);
    return 0;
}
