/* Ledger records: every decoder over any bytes; what is accepted is walked to its end and folded
 * into a book, which must stay valid. Input: records of {type u8, length u16, body}. */
#include "base/mem.h"
#include "ledger/book.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_event(mr_str body) {
    struct record_event event;
    struct record_target target;
    if (mr_is_err(record_event_decode(body, &event))) {
        return;
    }
    uint64_t sum = 0;
    mr_str walk = event.targets;
    while (record_targets_next(&walk, &target)) {
        for (uint32_t i = 0; i < target.n_rules; i++) {
            sum += record_target_rule(&target, i);
        }
    }
    for (int m = 0; m < RECORD_MEMBERS; m++) {
        mr_str member = record_event_member(&event, (enum record_member)m);
        for (size_t i = 0; i < member.len; i++) {
            sum += (unsigned char)member.ptr[i];
        }
    }
    MR_ASSERT(sum != UINT64_MAX); /* the sum is used, so the bytes are read */
}

static void walk_totals(mr_str body) {
    struct record_totals totals;
    struct record_totals_entry entry;
    mr_str entries;
    uint64_t pos;
    uint32_t n = 0;
    if (mr_is_err(record_totals_decode(body, &totals, &entries))) {
        return;
    }
    while (record_totals_next(&entries, &entry)) {
        while (record_positions_next(&entry.pending, &pos)) {
            MR_ASSERT(pos != 0);
        }
        n++;
    }
    MR_ASSERT(n == totals.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct book_options options = {0};
    struct book *book;
    uint64_t pos = 8;
    if (mr_is_err(book_new(&options, &book))) {
        return 0;
    }
    while (size >= 3) {
        uint8_t type = data[0];
        size_t len = mr_get_u16(data + 1);
        len = len < size - 3 ? len : size - 3;
        /* Of its exact size, so that reading past it is seen. */
        char *body = mr_alloc(len + (len == 0));
        if (body == NULL) {
            break;
        }
        memcpy(body, data + 3, len);
        walk_event((mr_str){body, len});
        walk_totals((mr_str){body, len});
        mr_ignore(book_apply(book, pos, pos + 8, type, (mr_str){body, len}),
                  "refused or not, the book stays valid");
        mr_free(body);
        data += 3 + len;
        size -= 3 + len;
        pos += 8;
    }
    book_assert_valid(book);
    book_free(book);
    return 0;
}
