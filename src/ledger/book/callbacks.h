/* The callbacks of a book: open ones whole, the newest of those that are over, counters of
 * accounts. Private to the book. */
#ifndef MR_LEDGER_BOOK_CALLBACKS_H
#define MR_LEDGER_BOOK_CALLBACKS_H

#include "base/list.h"
#include "ledger/book.h"

/* One callback. Its texts stand behind it in the same block: URL, reference, and while it is open
 * the body. */
struct callback {
    mr_list all;  /* in callbacks.all: by position */
    mr_list over; /* in callbacks.over, once it is over: in the order in which they ended */
    mr_list mine; /* likewise, in its account's */
    struct callback *next_slot;
    struct book_callback is;
};
/* counters.pending = its open ones */
struct callback_account {
    uint32_t number;
    uint32_t n_over;
    mr_list over;
    struct record_counters counters;
};
struct callbacks {
    mr_list all, over; /* next NULL: nothing was ever added */
    uint32_t n_all, n_over;
    struct callback **slots; /* by id; chains */
    uint32_t n_slots;
    struct callback_account **accounts; /* by number, ascending; owned */
    uint32_t n_accounts, accounts_capacity;
    struct record_counters totals;
};

void book_callbacks_done(struct callbacks *callbacks);
/* NULL: unknown. */
struct callback *book_callbacks_find(const struct callbacks *callbacks,
                                     const struct record_letter_id *id);
/* The account's row, made where there is none; NULL without memory. */
struct callback_account *book_callbacks_account(struct callbacks *callbacks, uint32_t number);
/* Adds one, its texts copied; it stands last by position. No counter is touched. MR_E_NOMEM,
 * MR_E_EXISTS: the id is there. */
mr_err book_callbacks_add(struct callbacks *callbacks, const struct book_callback *is,
                          struct callback **ret_callback);
/* Into the lists of those that are over, last. */
void book_callbacks_link_over(struct callbacks *callbacks, struct callback *callback);
/* It is over: lets its body go, links it there, and forgets who are too many or too old; maybe
 * `callback` is another block then. */
void book_callbacks_end(struct callbacks *callbacks, struct callback *callback);
bool book_callbacks_equal(const struct callbacks *a, const struct callbacks *b);
void book_callbacks_assert_valid(const struct callbacks *callbacks);
uint64_t book_callbacks_memory_bytes(const struct callbacks *callbacks);

#endif
