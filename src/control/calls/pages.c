/* What calls of the API carry beside bodies: pages of lists, versions as ETags. */
#include "control/control.h"

#include "base/num.h"
#include "control/shape.h"
#include "json/write.h"

#include <stdio.h>

static const struct shape_member members[] = {
    {"count", SHAPE_NUMBER, 0, .what = "Rows there are; 10001: more than 10,000"},
    {"page_size", SHAPE_NUMBER, .min = 1, .max = CONTROL_PAGE_SIZE_MAX},
    {"page_number", SHAPE_NUMBER, .min = 1},
    {"previous_page_url", SHAPE_TEXT, 0,
     .what = "Empty: there is none, or this page was reached by a cursor"},
    {"next_page_url", SHAPE_TEXT, 0, .what = "Empty: there is none"},
};
const struct shape control_page_answer = {"Page", members, sizeof members / sizeof members[0]};

mr_err control_page_parse(mr_str size, mr_str number, struct control_page *ret_page,
                          struct refusal *ret_refusal) {
    uint64_t n_size = CONTROL_PAGE_SIZE_DEFAULT;
    uint64_t n_number = 1;
    if (!mr_str_is_absent(size) &&
        mr_is_err(mr_u64_parse(size, 1, CONTROL_PAGE_SIZE_MAX, &n_size))) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "page_size must be a whole number from 1 to %d.", CONTROL_PAGE_SIZE_MAX);
    }
    if (!mr_str_is_absent(number) && mr_is_err(mr_u64_parse(number, 1, INT32_MAX, &n_number))) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "page_number must be a whole number from 1 to %d.", INT32_MAX);
    }
    *ret_page = (struct control_page){.size = (uint32_t)n_size, .number = (uint32_t)n_number};
    return MR_OK;
}

static void write_neighbour(json_out *out, const char *name, mr_str url, uint32_t size,
                            uint64_t number) {
    char text[4096];
    text[0] = '\0';
    if (number > 0) {
        bool has_query = mr_str_find_byte(url, '?', 0) != SIZE_MAX;
        (void)snprintf(text, sizeof text, "%.*s%cpage_size=%u&page_number=%llu", MR_FMT(url),
                       has_query ? '&' : '?', size, (unsigned long long)number);
    }
    json_out_member_c(out, name, text);
}

void control_page_write(const struct control_page *page, uint64_t count, mr_str url,
                        struct json_out *out) {
    MR_ASSERT(url.len <= 4000);
    uint64_t pages = (count + page->size - 1) / page->size;
    uint64_t before = page->number - 1;
    json_out_member_u64(out, "count", count);
    json_out_member_u64(out, "page_size", page->size);
    json_out_member_u64(out, "page_number", page->number);
    write_neighbour(out, "previous_page_url", url, page->size, before > pages ? pages : before);
    write_neighbour(out, "next_page_url", url, page->size,
                    page->number < pages ? (uint64_t)page->number + 1 : 0);
}

void control_page_write_next(const struct control_page *page, uint64_t count, mr_str url,
                             mr_str cursor, struct json_out *out) {
    MR_ASSERT(url.len <= 4000 && cursor.len <= 64);
    char next[4200];
    next[0] = '\0';
    if (cursor.len > 0) {
        bool has_query = mr_str_find_byte(url, '?', 0) != SIZE_MAX;
        (void)snprintf(next, sizeof next, "%.*s%cpage_size=%u&cursor=%.*s", MR_FMT(url),
                       has_query ? '&' : '?', page->size, MR_FMT(cursor));
    }
    json_out_member_u64(out, "count", count);
    json_out_member_u64(out, "page_size", page->size);
    json_out_member_u64(out, "page_number", page->number);
    write_neighbour(out, "previous_page_url", url, page->size,
                    page->by_cursor ? 0 : page->number - 1);
    json_out_member_c(out, "next_page_url", next);
}

size_t control_etag_format(uint32_t version, char out[static CONTROL_ETAG_SIZE]) {
    int n = snprintf(out, CONTROL_ETAG_SIZE, "\"v%u\"", version);
    return (size_t)n;
}

uint32_t control_etag_parse(mr_str if_match) {
    mr_str text = mr_str_trim(if_match);
    if (mr_str_is_absent(if_match) || mr_str_eq(text, MR_STR("*"))) {
        return 0;
    }
    uint64_t version = 0;
    if (text.len < 4 || !mr_str_starts(text, MR_STR("\"v")) || !mr_str_ends(text, MR_STR("\"")) ||
        mr_is_err(mr_u64_parse(mr_str_slice(text, 2, text.len - 1), 1, UINT32_MAX - 1, &version))) {
        return UINT32_MAX;
    }
    return (uint32_t)version;
}
