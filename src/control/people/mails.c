/* The queue of mail. See mails.h.
 *
 * A row is deleted when its mail was handed over, or given up. What the server accepted a moment
 * before a crash is sent again after it: a mail may come twice, never not at all. */
#include "control/people/mails.h"

#include "control/private.h"
#include "os/clock.h"

#include <stdio.h>

#define ROW_SIZE 24

bool mail_is_configured(const struct control *control) {
    return control->options.mail_wanted != NULL;
}

static mr_err count_waiting(struct control *control, int64_t *ret_n) {
    struct query query = query_begin(&control->store, "SELECT count(*) FROM mails");
    while (query_row(&query)) {
        *ret_n = query_col_i64(&query, 0);
    }
    return query_end(&query);
}

static mr_err put(struct control *control, uint32_t number, mr_str recipient, mr_str box,
                  int64_t now_ms, int64_t expires_ms) {
    struct query query = query_begin(
        &control->store, "INSERT INTO mails(number, recipient, text_sealed, attempts, next_ms,"
                         " expires_ms, created_ms) VALUES(?1, ?2, ?3, 0, ?4, ?5, ?4)");
    query_i64(&query, number);
    query_text(&query, recipient);
    query_blob(&query, box);
    query_i64(&query, now_ms);
    query_i64(&query, expires_ms);
    return query_run(&query);
}

static mr_err seal_and_put(struct control *control, mr_str recipient, mr_str content,
                           int64_t expires_ms) {
    uint32_t number = 0;
    char row[ROW_SIZE];
    mr_buf box;
    MR_TRY(number_take(control, "mail", &number));
    snprintf(row, sizeof row, "%u", number);
    mr_buf_init(&box, MAIL_TEXT_MAX + MAIL_SUBJECT_MAX + 256);
    mr_err err = control_seal(control, "mails", mr_str_c(row), "text", content, &box);
    if (mr_is_ok(err)) {
        err = put(control, number, recipient, mr_buf_view(&box), mr_wall_ms(os_wall_now()),
                  expires_ms);
    }
    mr_buf_done(&box);
    return err;
}

mr_err mail_queue_until(struct control *control, mr_str recipient, mr_str subject, mr_str text,
                        int64_t expires_ms, struct refusal *ret_refusal) {
    if (!mail_is_configured(control) || mr_str_ends(recipient, MR_STR(".invalid"))) {
        return MR_OK; /* RFC 6761: nobody is there; portal users have such an address */
    }
    MR_ASSERT(control->store.depth > 0);
    int64_t waiting = 0;
    MR_TRY(count_waiting(control, &waiting));
    if (waiting >= MAIL_QUEUE_MAX) {
        return refuse(ret_refusal, REFUSAL_UNAVAILABLE,
                      "Could not queue the mail: too many wait to be sent already.");
    }
    mr_buf content;
    mr_buf_init_private(&content, MAIL_TEXT_MAX + MAIL_SUBJECT_MAX + 1);
    mr_err err = mr_buf_reserve(&content, subject.len + 1 + text.len, NULL); /* no copies left */
    mr_str rest = subject;
    mr_str line;
    bool is_first = true;
    while (mr_is_ok(err) && mr_str_split(&rest, '\n', &line)) { /* the subject is one line */
        err = is_first ? MR_OK : mr_buf_byte(&content, ' ');
        err = mr_is_ok(err) ? mr_buf_str(&content, line) : err;
        is_first = false;
    }
    if (mr_is_ok(err)) {
        err = mr_buf_byte(&content, '\n');
    }
    if (mr_is_ok(err)) {
        err = mr_buf_str(&content, text);
    }
    if (mr_is_ok(err)) {
        err = seal_and_put(control, recipient, mr_buf_view(&content), expires_ms);
    }
    if (content.len > 0) {
        crypto_wipe(content.ptr, content.len);
    }
    mr_buf_done(&content);
    if (mr_is_ok(err)) {
        control->options.mail_wanted(control->options.mail_ctx);
    }
    return err;
}

mr_err mail_queue(struct control *control, mr_str recipient, mr_str subject, mr_str text,
                  struct refusal *ret_refusal) {
    return mail_queue_until(control, recipient, subject, text,
                            mr_wall_ms(os_wall_now()) + MAIL_NOTICE_MS, ret_refusal);
}

/* ---- for the sender ---- */

static mr_err drop_expired(struct control *control, int64_t now_ms, uint32_t *ret_n) {
    struct query query = query_begin(&control->store, "DELETE FROM mails WHERE expires_ms <= ?1");
    query_i64(&query, now_ms);
    MR_TRY(query_run(&query));
    *ret_n = (uint32_t)store_changes(&control->store);
    return MR_OK;
}

static mr_err unseal(struct control *control, int64_t number, mr_str box, mr_secret *ret_content) {
    char row[ROW_SIZE];
    snprintf(row, sizeof row, "%lld", (long long)number);
    mr_err err = control_unseal(control, "mails", mr_str_c(row), "text", box, ret_content);
    /* A box that does not open was logged; the mail is given up by the sender. */
    return mr_err_is(err, MR_E_NOMEM) || mr_err_is(err, MR_E_LIMIT) ? err : MR_OK;
}

static mr_err read_first(struct control *control, int64_t now_ms, mr_arena *arena,
                         struct mail_due *due) {
    struct query query =
        query_begin(&control->store, "SELECT number, recipient, text_sealed, attempts, next_ms,"
                                     " created_ms FROM mails ORDER BY next_ms, number LIMIT 1");
    mr_err err = MR_OK;
    due->next_ms = INT64_MAX;
    while (query_row(&query)) {
        due->next_ms = query_col_i64(&query, 4);
        if (due->next_ms > now_ms) {
            continue;
        }
        due->number = query_col_i64(&query, 0);
        due->recipient = query_col_text(&query, 1, arena);
        due->attempts = (uint32_t)query_col_i64(&query, 3);
        due->created_ms = query_col_i64(&query, 5);
        err = unseal(control, due->number, query_col_bytes(&query, 2), &due->content);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(ended) ? ended : err;
}

mr_err mails_next(struct control *control, mr_wall now, mr_arena *arena, struct mail_due *ret_due,
                  struct refusal *ret_refusal) {
    struct mail_due due = {.number = 0};
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = drop_expired(control, mr_wall_ms(now), &due.expired);
    if (mr_is_ok(err)) {
        err = read_first(control, mr_wall_ms(now), arena, &due);
    }
    err = change_end(control, err, ret_refusal);
    if (mr_is_err(err)) {
        mr_secret_unref(&due.content);
        return err;
    }
    *ret_due = due;
    return MR_OK;
}

mr_err mails_remove(struct control *control, int64_t number, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    struct query query = query_begin(&control->store, "DELETE FROM mails WHERE number = ?1");
    query_i64(&query, number);
    return change_end(control, query_run(&query), ret_refusal);
}

mr_err mails_postpone(struct control *control, int64_t number, int64_t next_ms,
                      struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    struct query query =
        query_begin(&control->store,
                    "UPDATE mails SET attempts = attempts + 1, next_ms = ?1 WHERE number = ?2");
    query_i64(&query, next_ms);
    query_i64(&query, number);
    return change_end(control, query_run(&query), ret_refusal);
}
