/* Asking a book about dead letters: by id, lists by filter, and which are to expire. See book.h. */
#include "ledger/book/parts.h"

#include "base/mem.h"

mr_err book_letter_find(const struct book *book, const struct record_letter_id *id,
                        struct book_letter *ret_letter) {
    const struct book_letter *letter = letters_find(&book->letters, id);
    if (letter == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    *ret_letter = *letter;
    return MR_OK;
}

static bool matches(const struct book *book, const struct book_letter_filter *filter,
                    const struct book_letter *letter) {
    int64_t created_ms = record_letter_id_ms(&letter->id);
    if ((filter->account != NULL && letter->account != *filter->account) ||
        (filter->destination != NULL && letter->destination != *filter->destination) ||
        (filter->reason != RECORD_REASON_NONE && letter->reason != filter->reason) ||
        created_ms < filter->from_ms || (filter->to_ms != 0 && created_ms >= filter->to_ms)) {
        return false;
    }
    return mr_str_is_absent(filter->type) ||
           (letter->key < book->n_keys && mr_str_eq(book->keys[letter->key].type, filter->type));
}

/* Orders the list of dead letters. Ids are made by the wall clock of several threads, so the order
 * of arrival, which is that of the array, is nearly but not quite theirs; and the list must be the
 * same for who reads it page by page while letters come and go. So a question picks the newest by
 * id that it wants: a heap with the oldest of them on top, which walking the array from its end
 * leaves nearly untouched once it is full. */
struct newest {
    const struct letter *items;
    uint32_t *heap; /* indices of items; the parent is older than its children */
    size_t n;
    size_t n_max;
};

static int compare_ids(const struct record_letter_id *a, const struct record_letter_id *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static bool is_older(const struct newest *newest, size_t a, size_t b) {
    return compare_ids(&newest->items[newest->heap[a]].letter.id,
                       &newest->items[newest->heap[b]].letter.id) < 0;
}

static void swap(struct newest *newest, size_t a, size_t b) {
    uint32_t index = newest->heap[a];
    newest->heap[a] = newest->heap[b];
    newest->heap[b] = index;
}

static void sink_top(struct newest *newest) {
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= newest->n) {
            return;
        }
        child += child + 1 < newest->n && is_older(newest, child + 1, child);
        if (!is_older(newest, child, at)) {
            return;
        }
        swap(newest, at, child);
        at = child;
    }
}

static void take(struct newest *newest, uint32_t index) {
    if (newest->n < newest->n_max) {
        size_t at = newest->n++;
        newest->heap[at] = index;
        while (at > 0 && is_older(newest, at, (at - 1) / 2)) {
            swap(newest, at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    } else if (newest->n > 0 && compare_ids(&newest->items[newest->heap[0]].letter.id,
                                            &newest->items[index].letter.id) < 0) {
        newest->heap[0] = index;
        sink_top(newest);
    }
}

/* Newest first. */
static void sort(struct newest *newest) {
    size_t n = newest->n;
    while (newest->n > 1) {
        swap(newest, 0, --newest->n);
        sink_top(newest);
    }
    newest->n = n;
}

mr_err book_letters_list(const struct book *book, const struct book_letter_filter *filter,
                         struct book_letter_page page, struct book_letter *out, size_t n_max,
                         size_t *ret_n, uint64_t *ret_total, bool *ret_more) {
    struct newest newest = {.items = book->letters.items};
    size_t live = book->letters.n_live;
    size_t skip = page.skip < live ? (size_t)page.skip : live;
    newest.n_max = n_max < live - skip ? skip + n_max : live;
    newest.heap = mr_calloc(newest.n_max + 1, sizeof *newest.heap);
    if (newest.heap == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    uint64_t total = 0;
    uint64_t behind = 0;
    for (size_t i = book->letters.n; i-- > book->letters.first;) {
        const struct letter *item = &book->letters.items[i];
        if (item->is_live && matches(book, filter, &item->letter)) {
            total++;
            if (page.behind == NULL || compare_ids(&item->letter.id, page.behind) < 0) {
                behind++;
                take(&newest, (uint32_t)i);
            }
        }
    }
    sort(&newest);
    size_t n = 0;
    while (skip + n < newest.n && n < n_max) {
        out[n] = newest.items[newest.heap[skip + n]].letter;
        n++;
    }
    mr_free(newest.heap);
    *ret_n = n;
    *ret_total = total;
    *ret_more = behind > skip + n;
    return MR_OK;
}

uint64_t book_letters_ready(const struct book *book, const struct book_letter_filter *filter,
                            struct book_letter *out, size_t n_max) {
    uint64_t n = 0;
    for (size_t i = book->letters.first; i < book->letters.n; i++) {
        const struct letter *item = &book->letters.items[i];
        if (item->is_live && item->letter.has_payload && item->letter.key != BOOK_KEY_NONE &&
            matches(book, filter, &item->letter)) {
            if (n < n_max) {
                out[n] = item->letter;
            }
            n++;
        }
    }
    return n;
}

size_t book_letters_older(const struct book *book, int64_t created_before_ms,
                          struct record_letter_id *out, size_t n_max) {
    size_t n = 0;
    for (size_t i = book->letters.first; i < book->letters.n && n < n_max; i++) {
        const struct letter *item = &book->letters.items[i];
        if (!item->is_live) {
            continue;
        }
        if (record_letter_id_ms(&item->letter.id) >= created_before_ms) {
            break; /* ids rise with the list, but for what several threads made at one time */
        }
        out[n++] = item->letter.id;
    }
    return n;
}

size_t book_letters_oldest(const struct book *book, uint32_t destination,
                           struct record_letter_id *out, size_t n_max) {
    size_t n = 0;
    for (size_t i = book->letters.first; i < book->letters.n && n < n_max; i++) {
        const struct letter *item = &book->letters.items[i];
        if (item->is_live &&
            (destination == UINT32_MAX || item->letter.destination == destination)) {
            out[n++] = item->letter.id;
        }
    }
    return n;
}

size_t book_letters_holding(const struct book *book, uint32_t destination, uint64_t pos,
                            struct record_letter_id *out, size_t n_max) {
    size_t n = 0;
    for (size_t i = book->letters.first; i < book->letters.n && n < n_max; i++) {
        const struct letter *item = &book->letters.items[i];
        if (item->is_live && item->letter.has_payload && item->letter.destination == destination &&
            item->letter.pos < pos) {
            out[n++] = item->letter.id;
        }
    }
    return n;
}

uint64_t book_n_letters(const struct book *book) {
    return book->letters.n_live;
}

uint64_t book_letters_over(const struct book *book, uint32_t *ret_destination) {
    if (book->letters.n_live <= book->options.dead_letters_max) {
        return 0;
    }
    const struct dest *most = book->dests[0];
    for (uint32_t i = 1; i < book->n_dests; i++) {
        most = book->dests[i]->dead_letters > most->dead_letters ? book->dests[i] : most;
    }
    *ret_destination = most->number;
    return book->letters.n_live - book->options.dead_letters_max;
}
