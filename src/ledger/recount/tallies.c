/* What the recount keeps: every open delivery as a key (position, destination, origin) in one flat
 * hash set, and the counters of destinations in another. Nothing of the book's own structures is
 * used, so that a mistake there is not made twice. */
#include "ledger/recount/parts.h"

#include "base/mem.h"

static size_t set_home(const struct recount *recount, const struct open *key) {
    uint64_t bits = key->pos * UINT64_C(0x9E3779B97F4A7C15) ^
                    ((uint64_t)key->destination << 32 | key->origin) * UINT64_C(0xC2B2AE3D27D4EB4F);
    bits ^= bits >> 29;
    return (size_t)(bits * UINT64_C(0x165667B19E3779F9) >> 20) & (recount->set_size - 1);
}

size_t recount_set_find(const struct recount *recount, const struct open *key) {
    size_t at = set_home(recount, key);
    while (recount->set[at].pos != 0 &&
           (recount->set[at].pos != key->pos || recount->set[at].destination != key->destination ||
            recount->set[at].origin != key->origin)) {
        at = (at + 1) & (recount->set_size - 1);
    }
    return at;
}

static mr_err set_grow(struct recount *recount) {
    size_t old_size = recount->set_size;
    struct open *old = recount->set;
    size_t size = old_size == 0 ? 1024 : old_size * 2;
    struct open *set = mr_calloc(size, sizeof *set);
    if (set == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    recount->set = set;
    recount->set_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].pos != 0) {
            set[recount_set_find(recount, &old[i])] = old[i];
        }
    }
    mr_free(old);
    return MR_OK;
}

mr_err recount_set_add(struct recount *recount, struct open key, bool *ret_added) {
    if (10 * (recount->n_set + 1) > 6 * recount->set_size) {
        MR_TRY(set_grow(recount));
    }
    size_t at = recount_set_find(recount, &key);
    *ret_added = recount->set[at].pos == 0;
    recount->n_set += *ret_added;
    recount->set[at] = key;
    return MR_OK;
}

static void set_remove_at(struct recount *recount, size_t hole) {
    size_t mask = recount->set_size - 1;
    for (size_t at = (hole + 1) & mask; recount->set[at].pos != 0; at = (at + 1) & mask) {
        size_t home = set_home(recount, &recount->set[at]);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            recount->set[hole] = recount->set[at];
            hole = at;
        }
    }
    recount->set[hole].pos = 0;
    recount->n_set--;
}

bool recount_set_take(struct recount *recount, struct open key) {
    if (recount->n_set == 0) {
        return false;
    }
    size_t at = recount_set_find(recount, &key);
    if (recount->set[at].pos == 0) {
        return false;
    }
    set_remove_at(recount, at);
    return true;
}

struct tally *recount_tally_at(const struct recount *recount, uint32_t destination) {
    size_t mask = recount->tallies_size - 1;
    size_t at = (size_t)(destination * UINT64_C(0x9E3779B97F4A7C15) >> 32) & mask;
    while (recount->tallies[at].is_used && recount->tallies[at].destination != destination) {
        at = (at + 1) & mask;
    }
    return &recount->tallies[at];
}

static mr_err tallies_grow(struct recount *recount) {
    size_t old_size = recount->tallies_size;
    struct tally *old = recount->tallies;
    size_t size = old_size == 0 ? 64 : old_size * 2;
    struct tally *tallies = mr_calloc(size, sizeof *tallies);
    if (tallies == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    recount->tallies = tallies;
    recount->tallies_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].is_used) {
            *recount_tally_at(recount, old[i].destination) = old[i];
        }
    }
    mr_free(old);
    return MR_OK;
}

/* The counters of a destination, made when new. */
mr_err recount_tally(struct recount *recount, uint32_t destination,
                     struct record_counters **ret_counters) {
    if (2 * (recount->n_tallies + 1) > recount->tallies_size) {
        MR_TRY(tallies_grow(recount));
    }
    struct tally *at = recount_tally_at(recount, destination);
    if (!at->is_used) {
        *at = (struct tally){.destination = destination, .is_used = true};
        recount->n_tallies++;
    }
    *ret_counters = &at->counters;
    return MR_OK;
}

void recount_forget(struct recount *recount) {
    mr_free(recount->set);
    mr_free(recount->tallies);
    recount->set = NULL;
    recount->tallies = NULL;
    recount->n_set = recount->set_size = 0;
    recount->n_tallies = recount->tallies_size = 0;
}
