/* The pages /errors and /errors/{code}, and the reference of codes: all of the one table of codes
 * (control/refusal.h). Plain HTML without script or anything from elsewhere, so that they can be
 * read where only the server can be reached; light or dark as the reader has it. */
#include "api/call.h"

#include "base/num.h"
#include "crypto/hash.h"

#include <stdio.h>

/* Its hash stands in the pages' Content-Security-Policy. */
#define STYLE                                                                                      \
    ":root{color-scheme:light dark}"                                                               \
    "body{margin:0 auto;max-width:44rem;padding:1.5rem 1rem;"                                      \
    "font:1rem/1.55 system-ui,sans-serif;color:#1b1f24;background:#fff}"                           \
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem}h2{font-size:1.05rem;margin:1.5rem 0 "  \
    ".25rem}p{margin:.25rem 0}"                                                                    \
    "a{color:#0a58ca}pre{margin:.5rem 0;padding:.75rem;overflow-x:auto;background:#f2f4f7;"        \
    "border-radius:.4rem;font-size:.875rem;white-space:pre-wrap;overflow-wrap:anywhere}"           \
    "ul{padding:0;list-style:none}li{padding:.4rem 0;border-bottom:1px solid #d7dce2}"             \
    "@media(prefers-color-scheme:dark){body{color:#e6e9ed;background:#14171b}"                     \
    "a{color:#8ab8ff}pre{background:#1f242b}li{border-color:#333a43}}"

static mr_err page_begin(mr_buf *out, const char *title) {
    return mr_buf_printf(out,
                         "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                         "<title>%s</title><style>%s</style></head>\n<body><main>\n",
                         title, STYLE);
}

static mr_err page_end(mr_buf *out) {
    return mr_buf_str(out, MR_STR("</main></body></html>\n"));
}

/* Text of the table as HTML. */
static mr_err put_text(mr_buf *out, mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        MR_TRY(c == '<'   ? mr_buf_str(out, MR_STR("&lt;"))
               : c == '&' ? mr_buf_str(out, MR_STR("&amp;"))
               : c == '"' ? mr_buf_str(out, MR_STR("&quot;"))
                          : mr_buf_byte(out, (uint8_t)c));
    }
    return MR_OK;
}

static mr_err put_part(mr_buf *out, const char *title, mr_str text) {
    MR_TRY(mr_buf_printf(out, "<h2>%s</h2>\n<p>", title));
    MR_TRY(put_text(out, text));
    return mr_buf_str(out, MR_STR("</p>\n"));
}

static mr_err put_example(mr_str base_url, const struct refusal_info *row, mr_buf *out) {
    mr_buf example;
    mr_buf_init(&example, 4096);
    mr_err err = api_error_write(base_url, row->status, (uint32_t)row->code, row->example,
                                 MR_STR_NONE, &example);
    if (mr_is_ok(err)) {
        err = mr_buf_printf(out,
                            "<h2>An answer with this code</h2>\n<pre>HTTP/1.1 %d\n"
                            "content-type: application/json\n\n",
                            row->status);
    }
    if (mr_is_ok(err)) {
        err = put_text(out, mr_buf_view(&example));
    }
    mr_buf_done(&example);
    return mr_is_ok(err) ? mr_buf_str(out, MR_STR("</pre>\n")) : err;
}

/* Codes of HTTP's own statuses that are not answered with a status of the API. */
static mr_err write_page(mr_str base_url, const struct refusal_info *row, mr_buf *out) {
    char title[128];
    snprintf(title, sizeof title, "Error %d: %.*s", row->code, MR_FMT(row->title));
    MR_TRY(page_begin(out, title));
    MR_TRY(mr_buf_printf(out, "<h1>%.*s</h1>\n<p>Code %d, HTTP status %d.</p>\n",
                         MR_FMT(row->title), row->code, row->status));
    MR_TRY(put_part(out, "Why", row->cause));
    MR_TRY(put_part(out, "What to do", row->todo));
    MR_TRY(put_example(base_url, row, out));
    MR_TRY(mr_buf_str(out, MR_STR("<p><a href=\"/errors\">All codes</a></p>\n")));
    return page_end(out);
}

static mr_err write_index(mr_buf *out) {
    const struct refusal_info *row;
    MR_TRY(page_begin(out, "Error codes"));
    MR_TRY(mr_buf_str(out, MR_STR("<h1>Error codes</h1>\n<p>Every refusal names one of these in "
                                  "its member code.</p>\n<ul>\n")));
    for (size_t i = 0; (row = refusal_row(i)) != NULL; i++) {
        MR_TRY(mr_buf_printf(out, "<li><a href=\"/errors/%d\">%d</a> %.*s (HTTP status %d)</li>\n",
                             row->code, row->code, MR_FMT(row->title), row->status));
    }
    MR_TRY(mr_buf_str(out, MR_STR("</ul>\n")));
    return page_end(out);
}

mr_err api_error_reference(mr_buf *out) {
    MR_TRY(mr_buf_printf(
        out, "| code | status | title | cause | what to do |\n|---|---|---|---|---|\n"));
    const struct refusal_info *row;
    for (size_t i = 0; (row = refusal_row(i)) != NULL; i++) {
        MR_TRY(mr_buf_printf(out, "| %d | %d | %.*s | %.*s | %.*s |\n", row->code, row->status,
                             MR_FMT(row->title), MR_FMT(row->cause), MR_FMT(row->todo)));
    }
    return MR_OK;
}

/* ---- handlers ---- */

/* "default-src 'none'; style-src 'sha256-…'". */
static mr_err make_policy(mr_buf *out) {
    const mr_str style = MR_STR(STYLE);
    uint8_t digest[CRYPTO_SHA256_BYTES];
    struct crypto_hasher *hasher;
    MR_TRY(crypto_hasher_new(&hasher));
    mr_err err = crypto_sha256(hasher, &style, 1, digest);
    crypto_hasher_free(hasher);
    MR_TRY(err);
    MR_TRY(mr_buf_str(out, MR_STR("default-src 'none'; base-uri 'none'; form-action 'none'; "
                                  "frame-ancestors 'none'; style-src 'sha256-")));
    MR_TRY(mr_base64_encode(mr_str_of((const char *)digest, sizeof digest), out));
    return mr_buf_byte(out, '\'');
}

static void answer_page(struct api_call *call) {
    mr_buf policy;
    mr_buf_init(&policy, 512);
    if (mr_is_err(make_policy(&policy))) {
        api_refuse_memory(call);
    } else {
        const mr_field fields[] = {{MR_STR("cache-control"), MR_STR("public, max-age=3600")},
                                   {MR_STR("content-security-policy"), mr_buf_view(&policy)},
                                   {MR_STR("x-content-type-options"), MR_STR("nosniff")}};
        api_answer_as(call, MR_STR("text/html; charset=utf-8"), fields, 3);
    }
    mr_buf_done(&policy);
}

#define PAGE_SCHEMA "{\"type\":\"string\"}"

const struct api_doc api_doc_ERROR_INDEX = {.summary = "Read the list of error codes",
                                            .status = 200,
                                            .answer_schema = PAGE_SCHEMA,
                                            .answer_media = "text/html"};

void api_error_index(struct api_call *call) {
    if (!api_query_take(call, NULL)) {
        return;
    }
    if (mr_is_err(write_index(&call->out))) {
        api_refuse_memory(call);
        return;
    }
    answer_page(call);
}

const struct api_doc api_doc_ERROR_PAGE = {.summary = "Read what an error code means",
                                           .status = 200,
                                           .answer_schema = PAGE_SCHEMA,
                                           .answer_media = "text/html"};

void api_error_page_get(struct api_call *call) {
    if (!api_query_take(call, NULL)) {
        return;
    }
    uint64_t code;
    const struct refusal_info *row = NULL;
    if (mr_is_ok(mr_u64_parse(call->params[0], 1, 99999, &code))) {
        row = refusal_info((int)code);
    }
    if (row == NULL) {
        api_refuse(call, 404, 20404, "there is no such error code");
        return;
    }
    if (mr_is_err(write_page(call->api->public_url, row, &call->out))) {
        api_refuse_memory(call);
        return;
    }
    answer_page(call);
}
