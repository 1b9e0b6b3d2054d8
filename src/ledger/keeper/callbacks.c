/* What the keeper answers about callbacks. See keeper.h. */
#include "ledger/keeper/parts.h"

/* The callbacks' texts, as text of the asker's. */
static mr_err give_texts(struct keeper_query *query) {
    mr_buf *text = query->type_text;
    MR_ASSERT(text->len == 0);
    for (size_t i = 0; i < query->n_letters; i++) {
        MR_TRY(mr_buf_str(text, query->callbacks[i].record.url));
        MR_TRY(mr_buf_str(text, query->callbacks[i].record.reference));
    }
    const char *at = text->ptr;
    for (size_t i = 0; i < query->n_letters; i++) {
        struct record_callback *record = &query->callbacks[i].record;
        record->url.ptr = at;
        record->reference.ptr = at + record->url.len;
        record->body = MR_STR("");
        at += record->url.len + record->reference.len;
    }
    return MR_OK;
}

mr_err keeper_tell_callbacks(const struct keeper *keeper, struct keeper_query *query) {
    if (query->ask == KEEPER_ASK_CALLBACK) {
        MR_TRY(book_callback_find(keeper->book, &query->letter_id, &query->callbacks[0]));
        if (query->callbacks[0].record.account != query->callback_filter.account) {
            return MR_ERR(MR_E_NOT_FOUND);
        }
        query->n_letters = 1;
        query->n_total = 1;
    } else {
        book_callbacks_list(keeper->book, &query->callback_filter, query->skip, query->callbacks,
                            query->n_max, &query->n_letters, &query->n_total);
    }
    return give_texts(query);
}
