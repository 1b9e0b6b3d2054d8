/* The list of dead letters. See letters.h, and book.h for the questions asked of it.
 *
 * An array in order of arrival with holes, and a hash table from id to index. Questions with
 * filters walk the array: half a million letters are some milliseconds on a thread that has time,
 * and no index by destination, reason, type and time has to be kept right. When more than half are
 * holes the array is packed. The order follows the journal, so that it is the same after a restart;
 * lists are ordered by id (ask_letters.c), which differs where several workers made them. */
#include "ledger/book/letters.h"

#include "base/mem.h"

#define SLOTS_MIN 64U

void letters_done(struct letters *letters) {
    mr_free(letters->items);
    mr_free(letters->slots);
    *letters = (struct letters){0};
}

static size_t home_of(const struct letters *letters, const struct record_letter_id *id) {
    /* The last 8 bytes are random; mixed, for ids that a test or a hostile hand made are not. */
    uint64_t bits = mr_get_u64(id->bytes + 8) ^ mr_get_u64(id->bytes);
    bits *= UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(bits >> 32) & (letters->n_slots - 1);
}

static bool same_id(const struct record_letter_id *a, const struct record_letter_id *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* The slot that holds the id, or the free one where it would go. */
static size_t find_slot(const struct letters *letters, const struct record_letter_id *id) {
    size_t slot = home_of(letters, id);
    while (letters->slots[slot] != 0 &&
           !same_id(&letters->items[letters->slots[slot] - 1].letter.id, id)) {
        slot = (slot + 1) & (letters->n_slots - 1);
    }
    return slot;
}

/* Packs the items and fills the slots anew. */
static void rebuild(struct letters *letters) {
    memset(letters->slots, 0, letters->n_slots * sizeof *letters->slots);
    size_t n = 0;
    for (size_t i = letters->first; i < letters->n; i++) {
        if (letters->items[i].is_live) {
            letters->items[n] = letters->items[i];
            letters->slots[find_slot(letters, &letters->items[n].letter.id)] = (uint32_t)(n + 1);
            n++;
        }
    }
    letters->n = n;
    letters->first = 0;
}

mr_err letters_reserve(struct letters *letters, size_t n) {
    size_t n_slots = letters->n_slots == 0 ? SLOTS_MIN : letters->n_slots;
    while (n_slots < 2 * (letters->n_live + n)) {
        n_slots *= 2;
    }
    bool is_full = letters->n + n > letters->capacity;
    bool is_sparse = is_full && letters->n_live + n <= letters->capacity / 2;
    if (is_full && !is_sparse) {
        size_t capacity = letters->capacity + letters->capacity / 2 + n;
        if (capacity >= UINT32_MAX) {
            return MR_ERR(MR_E_NOMEM);
        }
        struct letter *items = mr_realloc(letters->items, capacity * sizeof *items);
        if (items == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        letters->items = items;
        letters->capacity = capacity;
    }
    if (n_slots != letters->n_slots) {
        uint32_t *slots = mr_calloc(n_slots, sizeof *slots);
        if (slots == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        mr_free(letters->slots);
        letters->slots = slots;
        letters->n_slots = n_slots;
        rebuild(letters);
    } else if (is_sparse) {
        rebuild(letters);
    }
    return MR_OK;
}

bool letters_add(struct letters *letters, const struct book_letter *letter) {
    MR_ASSERT(letters->n < letters->capacity && 2 * letters->n_live < letters->n_slots);
    size_t slot = find_slot(letters, &letter->id);
    if (letters->slots[slot] != 0) {
        return false;
    }
    letters->items[letters->n] = (struct letter){.letter = *letter, .is_live = true};
    letters->n++;
    letters->n_live++;
    letters->slots[slot] = (uint32_t)letters->n;
    return true;
}

struct book_letter *letters_find(const struct letters *letters, const struct record_letter_id *id) {
    if (letters->n_live == 0) {
        return NULL;
    }
    size_t slot = find_slot(letters, id);
    return letters->slots[slot] == 0 ? NULL : &letters->items[letters->slots[slot] - 1].letter;
}

/* Empties a slot and moves those behind it that would not be found any more. */
static void free_slot(struct letters *letters, size_t hole) {
    size_t mask = letters->n_slots - 1;
    size_t slot = hole;
    for (;;) {
        slot = (slot + 1) & mask;
        if (letters->slots[slot] == 0) {
            break;
        }
        size_t home = home_of(letters, &letters->items[letters->slots[slot] - 1].letter.id);
        if (((slot - home) & mask) >= ((slot - hole) & mask)) {
            letters->slots[hole] = letters->slots[slot];
            hole = slot;
        }
    }
    letters->slots[hole] = 0;
}

bool letters_remove(struct letters *letters, const struct record_letter_id *id,
                    struct book_letter *ret_letter) {
    if (letters->n_live == 0) {
        return false;
    }
    size_t slot = find_slot(letters, id);
    if (letters->slots[slot] == 0) {
        return false;
    }
    struct letter *item = &letters->items[letters->slots[slot] - 1];
    *ret_letter = item->letter;
    free_slot(letters, slot);
    item->is_live = false;
    letters->n_live--;
    while (letters->first < letters->n && !letters->items[letters->first].is_live) {
        letters->first++;
    }
    return true;
}

size_t letters_memory_bytes(const struct letters *letters) {
    return letters->capacity * sizeof *letters->items + letters->n_slots * sizeof *letters->slots;
}
