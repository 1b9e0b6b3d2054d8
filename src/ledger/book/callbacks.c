/* Callbacks in the book: folding their records, and what is asked of them. See callbacks.h; what is
 * kept, and for how long, is told in book.h.
 *
 * A callback that is open lies here whole, not only its position: bodies are small and bounded
 * where they are taken (dispatch/callbacks/limits.h), a checkpoint holds them, and so a segment of
 * the journal may go whatever stands in it. The price is that they are written with every
 * checkpoint.
 *
 * What is forgotten of those that are over depends on the records alone and not on a clock, so that
 * folding the same records gives the same book. */
#include "ledger/book/callbacks.h"

#include "base/mem.h"
#include "ledger/book/parts.h"

#define SLOTS_MIN 64U

static struct callback *of_all(mr_list *node) {
    return MR_CONTAINER(node, struct callback, all);
}

static uint32_t home_of(const struct callbacks *callbacks, const struct record_letter_id *id) {
    uint64_t bits = mr_get_u64(id->bytes + 8) ^ mr_get_u64(id->bytes);
    return (uint32_t)(bits * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (callbacks->n_slots - 1);
}

void book_callbacks_done(struct callbacks *callbacks) {
    mr_list *node;
    while (callbacks->all.next != NULL && (node = mr_list_pop_front(&callbacks->all)) != NULL) {
        mr_free(of_all(node));
    }
    for (uint32_t i = 0; i < callbacks->n_accounts; i++) {
        mr_free(callbacks->accounts[i]);
    }
    mr_free(callbacks->accounts);
    mr_free(callbacks->slots);
    *callbacks = (struct callbacks){0};
}

struct callback *book_callbacks_find(const struct callbacks *callbacks,
                                     const struct record_letter_id *id) {
    if (callbacks->n_slots == 0) {
        return NULL;
    }
    struct callback *at = callbacks->slots[home_of(callbacks, id)];
    while (at != NULL && memcmp(&at->is.record.id, id, sizeof *id) != 0) {
        at = at->next_slot;
    }
    return at;
}

/* ---- accounts ---- */

/* The place of that number, or where it would go. */
static uint32_t account_place(const struct callbacks *callbacks, uint32_t number) {
    uint32_t low = 0;
    uint32_t high = callbacks->n_accounts;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (callbacks->accounts[middle]->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct callback_account *book_callbacks_account(struct callbacks *callbacks, uint32_t number) {
    uint32_t place = account_place(callbacks, number);
    if (place < callbacks->n_accounts && callbacks->accounts[place]->number == number) {
        return callbacks->accounts[place];
    }
    if (callbacks->n_accounts == callbacks->accounts_capacity) {
        uint32_t capacity = callbacks->accounts_capacity * 2 + 8;
        struct callback_account **accounts =
            mr_realloc(callbacks->accounts, capacity * sizeof(struct callback_account *));
        if (accounts == NULL) {
            return NULL;
        }
        callbacks->accounts = accounts;
        callbacks->accounts_capacity = capacity;
    }
    struct callback_account *account = MR_NEW(struct callback_account);
    if (account == NULL) {
        return NULL;
    }
    account->number = number;
    mr_list_init(&account->over);
    memmove(callbacks->accounts + place + 1, callbacks->accounts + place,
            (callbacks->n_accounts - place) * sizeof(struct callback_account *));
    callbacks->accounts[place] = account;
    callbacks->n_accounts++;
    return account;
}

/* Unsigned wrap-around makes a difference of -1 work. */
static void count(struct callbacks *callbacks, struct callback_account *account,
                  struct record_counters by) {
    struct record_counters *c = &account->counters;
    book_counters_add(c, &by);
    book_counters_add(&callbacks->totals, &by);
    MR_ASSERT(c->created == c->pending + c->delivered + c->dead);
}

/* ---- adding, ending, forgetting ---- */

static mr_err reserve_slot(struct callbacks *callbacks) {
    if (callbacks->n_all < callbacks->n_slots) {
        return MR_OK;
    }
    uint32_t n_slots = callbacks->n_slots == 0 ? SLOTS_MIN : callbacks->n_slots * 2;
    struct callback **slots = mr_calloc(n_slots, sizeof(struct callback *));
    if (slots == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (callbacks->all.next == NULL) {
        mr_list_init(&callbacks->all);
        mr_list_init(&callbacks->over);
    }
    mr_free(callbacks->slots);
    callbacks->slots = slots;
    callbacks->n_slots = n_slots;
    for (mr_list *at = callbacks->all.next; at != &callbacks->all; at = at->next) {
        struct callback *callback = of_all(at);
        struct callback **slot = &slots[home_of(callbacks, &callback->is.record.id)];
        callback->next_slot = *slot;
        *slot = callback;
    }
    return MR_OK;
}

static mr_str copy_text(char **at, mr_str text) {
    mr_str copy = {*at, text.len};
    if (text.len > 0) {
        memcpy(*at, text.ptr, text.len);
    }
    *at += text.len;
    return copy;
}

mr_err book_callbacks_add(struct callbacks *callbacks, const struct book_callback *is,
                          struct callback **ret_callback) {
    const struct record_callback *record = &is->record;
    if (book_callbacks_find(callbacks, &record->id) != NULL) {
        return MR_ERR(MR_E_EXISTS);
    }
    MR_TRY(reserve_slot(callbacks));
    struct callback *callback =
        mr_alloc(sizeof *callback + record->url.len + record->reference.len + record->body.len);
    if (callback == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    char *text = (char *)(callback + 1);
    callback->is = *is;
    callback->is.record.url = copy_text(&text, record->url);
    callback->is.record.reference = copy_text(&text, record->reference);
    callback->is.record.body = copy_text(&text, record->body);
    struct callback **slot = &callbacks->slots[home_of(callbacks, &record->id)];
    callback->next_slot = *slot;
    *slot = callback;
    mr_list_init(&callback->over);
    mr_list_init(&callback->mine);
    mr_list_push_back(&callbacks->all, &callback->all);
    callbacks->n_all++;
    *ret_callback = callback;
    return MR_OK;
}

/* Gives the body's memory back: puts a smaller block in its place. Without memory it stays. */
static struct callback *drop_body(struct callbacks *callbacks, struct callback *callback) {
    const struct record_callback *record = &callback->is.record;
    struct callback **slot = &callbacks->slots[home_of(callbacks, &record->id)];
    size_t size = sizeof *callback + record->url.len + record->reference.len;
    struct callback *smaller = record->body.len == 0 ? NULL : mr_alloc(size);
    callback->is.record.body.len = 0;
    if (smaller == NULL) {
        return callback;
    }
    memcpy(smaller, callback, size);
    char *text = (char *)(smaller + 1);
    smaller->is.record.url.ptr = text;
    smaller->is.record.reference.ptr = text + record->url.len;
    smaller->is.record.body.ptr = text + record->url.len + record->reference.len;
    while (*slot != callback) {
        slot = &(*slot)->next_slot;
    }
    *slot = smaller;
    smaller->all.prev->next = &smaller->all;
    smaller->all.next->prev = &smaller->all;
    mr_list_init(&smaller->over); /* in neither yet */
    mr_list_init(&smaller->mine);
    mr_free(callback);
    return smaller;
}

static void forget(struct callbacks *callbacks, struct callback *callback) {
    struct callback **slot = &callbacks->slots[home_of(callbacks, &callback->is.record.id)];
    while (*slot != callback) {
        slot = &(*slot)->next_slot;
    }
    *slot = callback->next_slot;
    struct callback_account *account =
        callbacks->accounts[account_place(callbacks, callback->is.record.account)];
    mr_list_remove(&callback->all);
    mr_list_remove(&callback->over);
    mr_list_remove(&callback->mine);
    account->n_over--;
    callbacks->n_over--;
    callbacks->n_all--;
    mr_free(callback);
}

static struct callback_account *account_of(const struct callbacks *callbacks,
                                           const struct callback *callback) {
    return callbacks->accounts[account_place(callbacks, callback->is.record.account)];
}

void book_callbacks_link_over(struct callbacks *callbacks, struct callback *callback) {
    struct callback_account *account = account_of(callbacks, callback);
    mr_list_push_back(&callbacks->over, &callback->over);
    mr_list_push_back(&account->over, &callback->mine);
    account->n_over++;
    callbacks->n_over++;
}

void book_callbacks_end(struct callbacks *callbacks, struct callback *callback) {
    callback = drop_body(callbacks, callback);
    struct callback_account *account = account_of(callbacks, callback);
    int64_t now_ms = callback->is.finished_ms;
    book_callbacks_link_over(callbacks, callback);
    if (account->n_over > BOOK_CALLBACKS_KEPT_ACCOUNT) {
        forget(callbacks, MR_CONTAINER(account->over.next, struct callback, mine));
    }
    if (callbacks->n_over > BOOK_CALLBACKS_KEPT) {
        forget(callbacks, MR_CONTAINER(callbacks->over.next, struct callback, over));
    }
    for (;;) {
        struct callback *oldest = MR_CONTAINER(callbacks->over.next, struct callback, over);
        if (oldest->is.finished_ms >= now_ms - BOOK_CALLBACKS_KEPT_MS) {
            return; /* at the latest with the one that ended now */
        }
        forget(callbacks, oldest);
    }
}

/* ---- records ---- */

mr_err book_apply_callback(struct book *book, uint64_t pos, mr_str body) {
    struct book_callback is = {.pos = pos, .status = BOOK_CALLBACK_PENDING};
    MR_TRY(record_callback_decode(body, &is.record));
    struct callback_account *account = book_callbacks_account(&book->callbacks, is.record.account);
    struct callback *callback;
    mr_err err =
        account == NULL ? MR_ERR(MR_E_NOMEM) : book_callbacks_add(&book->callbacks, &is, &callback);
    if (mr_err_is(err, MR_E_EXISTS)) {
        return MR_ERR(LEDGER_E_RECORD); /* 80 random bits: nobody here wrote it */
    }
    if (mr_is_err(err)) {
        return book_broken(book);
    }
    count(&book->callbacks, account, (struct record_counters){.created = 1, .pending = 1});
    return MR_OK;
}

mr_err book_apply_callback_outcome(struct book *book, mr_str body) {
    struct record_callback_outcome outcome;
    MR_TRY(record_callback_outcome_decode(body, &outcome));
    struct callbacks *callbacks = &book->callbacks;
    struct callback_account *account = book_callbacks_account(callbacks, outcome.account);
    if (account == NULL) {
        return book_broken(book);
    }
    if (outcome.kind != RECORD_CALLBACK_DELIVERED) {
        count(callbacks, account, (struct record_counters){.failed_attempts = 1});
    }
    struct callback *callback = book_callbacks_find(callbacks, &outcome.id);
    if (callback == NULL || callback->is.status != BOOK_CALLBACK_PENDING ||
        callback->is.pos != outcome.pos) {
        book->late++;
        return MR_OK;
    }
    struct book_callback *is = &callback->is;
    is->attempts[outcome.attempt - 1] =
        (struct book_callback_attempt){.at_ms = outcome.at_ms,
                                       .duration_ms = outcome.duration_ms,
                                       .status = outcome.status,
                                       .reason = outcome.reason};
    is->n_attempts = outcome.attempt;
    is->due_ms = outcome.due_ms;
    switch ((enum record_callback_kind)outcome.kind) {
    case RECORD_CALLBACK_DELIVERED:
        is->status = BOOK_CALLBACK_DELIVERED;
        count(callbacks, account, (struct record_counters){.delivered = 1, .pending = UINT64_MAX});
        break;
    case RECORD_CALLBACK_FAILED:
        is->status = BOOK_CALLBACK_FAILED;
        count(callbacks, account, (struct record_counters){.dead = 1, .pending = UINT64_MAX});
        break;
    case RECORD_CALLBACK_RETRY:
        return MR_OK;
    }
    is->finished_ms = outcome.at_ms + outcome.duration_ms;
    book_callbacks_end(callbacks, callback);
    return MR_OK;
}

/* ---- questions ---- */

mr_err book_callback_find(const struct book *book, const struct record_letter_id *id,
                          struct book_callback *ret_callback) {
    const struct callback *callback = book_callbacks_find(&book->callbacks, id);
    if (callback == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    *ret_callback = callback->is;
    return MR_OK;
}

static bool is_chosen(const struct book_callback_filter *filter, const struct book_callback *is) {
    return is->record.account == filter->account &&
           (filter->status == NULL || is->status == *filter->status) &&
           (mr_str_is_absent(filter->reference) ||
            mr_str_eq(is->record.reference, filter->reference)) &&
           is->record.created_ms >= filter->from_ms &&
           (filter->to_ms == 0 || is->record.created_ms < filter->to_ms);
}

void book_callbacks_list(const struct book *book, const struct book_callback_filter *filter,
                         uint64_t skip, struct book_callback *out, size_t n_max, size_t *ret_n,
                         uint64_t *ret_total) {
    const mr_list *all = &book->callbacks.all;
    uint64_t total = 0;
    size_t n = 0;
    for (mr_list *at = all->prev; at != NULL && at != all; at = at->prev) {
        const struct callback *callback = of_all(at);
        if (!is_chosen(filter, &callback->is)) {
            continue;
        }
        if (total >= skip && n < n_max) {
            out[n++] = callback->is;
        }
        total++;
    }
    *ret_n = n;
    *ret_total = total;
}

mr_err book_each_open_callback(const struct book *book,
                               mr_err (*each)(void *ctx, const struct book_callback *callback),
                               void *ctx) {
    const mr_list *all = &book->callbacks.all;
    for (mr_list *at = all->next; at != NULL && at != all; at = at->next) {
        const struct callback *callback = of_all(at);
        if (callback->is.status == BOOK_CALLBACK_PENDING) {
            MR_TRY(each(ctx, &callback->is));
        }
    }
    return MR_OK;
}

mr_err book_each_callback_account(const struct book *book,
                                  mr_err (*each)(void *ctx, uint32_t account,
                                                 const struct record_counters *counters),
                                  void *ctx) {
    for (uint32_t i = 0; i < book->callbacks.n_accounts; i++) {
        const struct callback_account *account = book->callbacks.accounts[i];
        MR_TRY(each(ctx, account->number, &account->counters));
    }
    return MR_OK;
}

void book_callback_totals(const struct book *book, struct record_counters *ret_counters) {
    *ret_counters = book->callbacks.totals;
}

/* ---- looking after itself ---- */

static bool same_callback(const struct book_callback *a, const struct book_callback *b) {
    const struct record_callback *x = &a->record;
    const struct record_callback *y = &b->record;
    bool is_same = a->pos == b->pos && a->status == b->status && a->n_attempts == b->n_attempts &&
                   a->due_ms == b->due_ms && a->finished_ms == b->finished_ms &&
                   x->method == y->method && x->content == y->content && x->account == y->account &&
                   x->created_ms == y->created_ms && memcmp(&x->id, &y->id, sizeof x->id) == 0 &&
                   mr_str_eq(x->url, y->url) && mr_str_eq(x->reference, y->reference) &&
                   mr_str_eq(x->body, y->body);
    for (uint8_t i = 0; i < a->n_attempts && is_same; i++) {
        const struct book_callback_attempt *s = &a->attempts[i];
        const struct book_callback_attempt *t = &b->attempts[i];
        is_same = s->at_ms == t->at_ms && s->duration_ms == t->duration_ms &&
                  s->status == t->status && s->reason == t->reason;
    }
    return is_same;
}

bool book_callbacks_equal(const struct callbacks *a, const struct callbacks *b) {
    if (a->n_all != b->n_all || a->n_over != b->n_over || a->n_accounts != b->n_accounts) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_accounts; i++) {
        if (a->accounts[i]->number != b->accounts[i]->number ||
            memcmp(&a->accounts[i]->counters, &b->accounts[i]->counters,
                   sizeof a->accounts[i]->counters) != 0) {
            return false;
        }
    }
    mr_list *at = a->all.next;
    mr_list *other = b->all.next;
    for (uint32_t i = 0; i < a->n_all; i++) {
        if (!same_callback(&of_all(at)->is, &of_all(other)->is)) {
            return false;
        }
        at = at->next;
        other = other->next;
    }
    at = a->over.next;
    other = b->over.next;
    for (uint32_t i = 0; i < a->n_over; i++) { /* who is forgotten next */
        if (MR_CONTAINER(at, struct callback, over)->is.pos !=
            MR_CONTAINER(other, struct callback, over)->is.pos) {
            return false;
        }
        at = at->next;
        other = other->next;
    }
    return true;
}

void book_callbacks_assert_valid(const struct callbacks *callbacks) {
    struct record_counters sum = {0};
    uint64_t n_open = 0;
    uint32_t n_over = 0;
    uint64_t last_pos = 0;
    for (mr_list *at = callbacks->all.next; at != NULL && at != &callbacks->all; at = at->next) {
        const struct book_callback *is = &of_all(at)->is;
        MR_ASSERT(is->pos > last_pos);
        MR_ASSERT(book_callbacks_find(callbacks, &is->record.id) == of_all(at));
        last_pos = is->pos;
        n_open += is->status == BOOK_CALLBACK_PENDING;
    }
    for (uint32_t i = 0; i < callbacks->n_accounts; i++) {
        const struct callback_account *account = callbacks->accounts[i];
        MR_ASSERT(i == 0 || callbacks->accounts[i - 1]->number < account->number);
        book_counters_add(&sum, &account->counters);
        n_over += account->n_over;
        MR_ASSERT(account->n_over <= BOOK_CALLBACKS_KEPT_ACCOUNT);
    }
    MR_ASSERT(memcmp(&sum, &callbacks->totals, sizeof sum) == 0);
    MR_ASSERT(n_open == sum.pending && n_over == callbacks->n_over);
    MR_ASSERT(callbacks->n_all == n_open + n_over && n_over <= BOOK_CALLBACKS_KEPT);
}

uint64_t book_callbacks_memory_bytes(const struct callbacks *callbacks) {
    uint64_t bytes = callbacks->n_slots * sizeof(struct callback *) +
                     callbacks->accounts_capacity * sizeof(struct callback_account *) +
                     callbacks->n_accounts * sizeof(struct callback_account);
    for (mr_list *at = callbacks->all.next; at != NULL && at != &callbacks->all; at = at->next) {
        const struct record_callback *record = &of_all(at)->is.record;
        bytes +=
            sizeof(struct callback) + record->url.len + record->reference.len + record->body.len;
    }
    return bytes;
}
