/* The list of dead letters: in the order they came, found by id, counted by destination elsewhere.
 * Private to the book. */
#ifndef MR_LEDGER_BOOK_LETTERS_H
#define MR_LEDGER_BOOK_LETTERS_H

#include "ledger/book.h"

/* Invariants: n_live of items[0 … n) are alive; slots holds each live one's index + 1 by the hash
 * of its id, zero elsewhere. Zero it to begin. */
struct letters {
    struct letter *items; /* owned */
    size_t n, capacity, n_live;
    size_t first;    /* no live one before */
    uint32_t *slots; /* owned */
    size_t n_slots;  /* a power of two, or 0 */
};

struct letter {
    struct book_letter letter;
    bool is_live;
};

void letters_done(struct letters *letters);
/* Makes room so that letters_add of n more cannot fail. MR_E_NOMEM. May renumber. */
mr_err letters_reserve(struct letters *letters, size_t n);
/* False: that id is there already. */
bool letters_add(struct letters *letters, const struct book_letter *letter);
/* NULL: not there. Valid until the next reserve. */
struct book_letter *letters_find(const struct letters *letters, const struct record_letter_id *id);
/* False: not there. */
bool letters_remove(struct letters *letters, const struct record_letter_id *id,
                    struct book_letter *ret_letter);
size_t letters_memory_bytes(const struct letters *letters);

#endif
