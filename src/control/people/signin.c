/* Signing in. See signin.h.
 *
 * What is kept between calls lies in memory only, and a restart forgets it: how often whom and from
 * where was tried in vain (auth/slow.h), and the tickets of those whose password was right. A
 * ticket is 256 random bits, kept as the start of its hash, like a session.
 *
 * Memory follows the store: an attempt is noted while its job runs, and signin_settle makes it
 * count once the transaction is on disk, or takes it back where that failed. */
#include "control/people/signin.h"

#include "auth/slow.h"
#include "base/mem.h"
#include "control/audit.h"
#include "control/people/totp.h"
#include "control/private.h"
#include "os/clock.h"
#include "os/socket.h"

#include <stdio.h>

#define TICKETS     1024
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const struct shape_member signin_members[] = {
    {.name = "email",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 1,
     .max = USER_EMAIL_MAX,
     .what = "The user's e-mail"},
    {.name = "password",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED | SHAPE_SECRET,
     .min = 1,
     .max = PASSWORD_BYTES_MAX,
     .what = "The user's password"},
    {.name = "account_id",
     .kind = SHAPE_TEXT,
     .min = 1,
     .max = 64,
     .what = "Where the e-mail is a user in several accounts: which one; else the one that had "
             "it first"},
};
const struct shape signin_shape = {"Session", signin_members, COUNT(signin_members)};

static const struct shape_member second_members[] = {
    {.name = "ticket",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED | SHAPE_SECRET,
     .min = 1,
     .max = 64,
     .what = "From the answer to POST /v1/session"},
    {.name = "code",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED | SHAPE_SECRET,
     .min = 1,
     .max = 64,
     .what = "Six digits of the authenticator app, or a recovery code"},
};
const struct shape second_factor_shape = {"SecondFactor", second_members, COUNT(second_members)};

struct ticket {
    char id[SESSION_ID_SIZE]; /* "": free */
    uint32_t user;
    uint32_t generation; /* of the user, when it was made */
    uint32_t tries;
    mr_mono ends;
};

/* Of the job that runs. */
struct attempt {
    struct slow_door *door; /* NULL: none */
    char who[USER_EMAIL_MAX + 1];
    char address[OS_ADDR_TEXT_SIZE];
    bool is_judged; /* else: it has entered, no more */
    bool is_right;
    struct ticket *ticket; /* of a second factor; else NULL */
};

struct signin {
    struct slow_door *passwords; /* by e-mail */
    struct slow_door *codes;     /* by user */
    struct slow_door *again;     /* by user */
    struct attempt attempt;
    size_t next; /* ticket to be taken */
    struct ticket tickets[TICKETS];
};

void signin_free(struct signin *signin) {
    if (signin != NULL) {
        slow_door_free(signin->passwords);
        slow_door_free(signin->codes);
        slow_door_free(signin->again);
        mr_free(signin);
    }
}

/* Made when somebody first signs in: the command line never does. */
static mr_err signin_of(struct control *control, struct signin **ret_signin) {
    if (control->signin != NULL) {
        *ret_signin = control->signin;
        return MR_OK;
    }
    struct signin *signin = MR_NEW(struct signin);
    mr_err err = signin == NULL ? MR_ERR(MR_E_NOMEM) : slow_door_new(&signin->passwords);
    if (mr_is_ok(err)) {
        err = slow_door_new(&signin->codes);
    }
    if (mr_is_ok(err)) {
        err = slow_door_new(&signin->again);
    }
    if (mr_is_err(err)) {
        signin_free(signin);
        return err;
    }
    control->signin = signin;
    *ret_signin = signin;
    return MR_OK;
}

static mr_err enter(struct slow_door *door, mr_str who, mr_str address,
                    struct refusal *ret_refusal) {
    int64_t wait_ms = slow_door_enter(door, who, address, os_mono_now());
    if (wait_ms == 0) {
        return MR_OK;
    }
    int64_t wait_s = (wait_ms + 999) / 1000;
    mr_err err = refuse(ret_refusal, REFUSAL_TOO_MANY,
                        "Too many wrong attempts: try again in %lld s.", (long long)wait_s);
    ret_refusal->retry_after_s = (int)wait_s;
    return err;
}

/* ---- attempts ---- */

static struct attempt *note(struct control *control, struct slow_door *door, mr_str who,
                            mr_str address) {
    struct attempt *attempt = &control->signin->attempt;
    *attempt = (struct attempt){.door = door};
    bool fits = mr_str_to_c(who, attempt->who, sizeof attempt->who) &&
                mr_str_to_c(mr_str_is_absent(address) ? MR_STR("") : address, attempt->address,
                            sizeof attempt->address);
    MR_ASSERT(fits);
    return attempt;
}

static void settle_ticket(const struct attempt *attempt) {
    struct ticket *ticket = attempt->ticket;
    if (ticket != NULL && (attempt->is_right || ++ticket->tries >= SIGNIN_TICKET_TRIES)) {
        ticket->id[0] = '\0';
    }
}

void signin_settle(struct control *control, bool is_stored) {
    if (control->signin == NULL || control->signin->attempt.door == NULL) {
        return;
    }
    struct attempt attempt = control->signin->attempt;
    control->signin->attempt = (struct attempt){.door = NULL};
    mr_str who = mr_str_c(attempt.who);
    mr_str address = mr_str_c(attempt.address);
    if (!is_stored) {
        slow_door_take_back(attempt.door, who, address);
    } else if (attempt.is_judged) {
        settle_ticket(&attempt);
        if (attempt.is_right) {
            slow_door_opened(attempt.door, who, address, os_mono_now());
        }
    }
}

/* Where no job does it: calls without one, in tests. */
static mr_err settled(struct control *control, mr_err err) {
    if (control->store.depth == 0) {
        signin_settle(control, mr_is_ok(err));
    }
    return err;
}

/* ---- e-mail and password ---- */

static mr_err find_candidate(struct control *control, mr_str email, mr_str account_id,
                             mr_arena *arena, struct signin_candidates *candidates) {
    struct query query = query_begin(
        &control->store,
        "SELECT u.number, u.password FROM users u JOIN accounts a ON a.number = u.account"
        " WHERE u.email = ?1 AND u.status = 'ACTIVE' AND u.password IS NOT NULL"
        " AND (?2 IS NULL OR a.id = ?2) ORDER BY u.number LIMIT 1");
    query_text(&query, email);
    query_text(&query, account_id);
    candidates->n = 0;
    while (query_row(&query)) {
        candidates->n = 1;
        candidates->user = (uint32_t)query_col_i64(&query, 0);
        candidates->hash = query_col_text(&query, 1, arena);
        /* A damaged row matches nothing. */
        if (candidates->hash.len >= PASSWORD_HASH_SIZE) {
            candidates->hash = MR_STR("");
        }
    }
    return query_end(&query);
}

mr_err signin_begin(struct control *control, mr_str email, mr_str account_id, mr_str address,
                    mr_arena *arena, struct signin_candidates *ret_candidates,
                    struct refusal *ret_refusal) {
    struct signin *signin = NULL;
    mr_str folded = user_email_fold(arena, email);
    mr_err err = mr_str_is_absent(folded) ? MR_ERR(MR_E_NOMEM) : signin_of(control, &signin);
    if (mr_is_ok(err)) {
        err = enter(signin->passwords, folded, address, ret_refusal);
    }
    if (mr_is_ok(err)) {
        (void)note(control, signin->passwords, folded, address);
        err = find_candidate(control, folded, account_id, arena, ret_candidates);
    }
    return settled(control, refuse_error(control, err, ret_refusal));
}

void signin_give_up(struct control *control, mr_str email, mr_str address) {
    mr_arena arena;
    mr_arena_init(&arena, 4096);
    mr_str folded = user_email_fold(&arena, email);
    if (!mr_str_is_absent(folded) && control->signin != NULL) {
        slow_door_take_back(control->signin->passwords, folded, address);
    }
    mr_arena_done(&arena);
}

/* Stands for an e-mail that nobody here has, because people type passwords into the wrong field:
 * "unknown-" and a hash by the store's key, which tells attempts with the same text from others and
 * cannot be guessed at by who has the log alone. */
#define UNKNOWN_SIZE 32
static mr_err format_unknown(struct control *control, mr_str folded,
                             char out[static UNKNOWN_SIZE]) {
    const mr_str parts[] = {MR_STR("millrace-unknown-email,"), folded};
    uint8_t mac[CRYPTO_SHA256_BYTES];
    char hex[17] = "";
    MR_TRY(crypto_hmac_sha256(
        control->hasher, mr_str_of((const char *)control->store_key, sizeof control->store_key),
        parts, 2, mac));
    mr_hex_encode(mac, 8, hex);
    (void)snprintf(out, UNKNOWN_SIZE, "unknown-%s", hex);
    return MR_OK;
}

/* Whose attempt it was; user 0: of nobody known, `unknown` stands for the e-mail. */
static mr_err audit_wrong(struct control *control, uint32_t user, mr_str unknown,
                          const char *step) {
    char detail[64];
    (void)snprintf(detail, sizeof detail, "{\"step\":\"%s\"}", step);
    struct audit_entry entry = {.account = control->root_account,
                                .action = "session.refused",
                                .object = unknown,
                                .detail = mr_str_c(detail)};
    struct user_view view;
    struct refusal refusal;
    mr_arena arena;
    mr_arena_init_private(&arena, 65536);
    mr_err err = user == 0 ? MR_ERR(MR_E_NOT_FOUND)
                           : users_get_number(control, user, &arena, &view, &refusal);
    if (mr_is_ok(err)) {
        entry.account = view.account;
        entry.object = view.id;
    }
    err = audit_add(control, &entry);
    mr_arena_done(&arena);
    return err;
}

/* The rows as they are now: the password may have been changed while it was computed. */
static mr_err take_user(struct control *control, uint32_t user, mr_str hash,
                        uint32_t *ret_generation, bool *ret_has_factor, bool *ret_is_right) {
    struct query query = query_begin(
        &control->store, "SELECT generation, totp_confirmed FROM users WHERE number = ?1"
                         " AND password = ?2 AND status = 'ACTIVE'");
    query_i64(&query, user);
    query_text(&query, hash);
    *ret_is_right = false;
    while (query_row(&query)) {
        *ret_generation = (uint32_t)query_col_i64(&query, 0);
        *ret_has_factor = query_col_i64(&query, 1) != 0;
        *ret_is_right = true;
    }
    return query_end(&query);
}

/* The same password under today's parameters: nothing else changes with it. */
static mr_err store_rehashed(struct control *control, uint32_t user, mr_str hash) {
    struct query query =
        query_begin(&control->store, "UPDATE users SET password = ?1 WHERE number = ?2");
    query_text(&query, hash);
    query_i64(&query, user);
    return query_run(&query);
}

static mr_err open_session(struct control *control, uint32_t user,
                           const struct signin_caller *caller, struct signin_outcome *outcome) {
    outcome->kind = SIGNIN_DONE;
    outcome->user = user;
    return sessions_open(control, user, caller->address, caller->agent, caller->now,
                         outcome->cookie, outcome->session_id);
}

static mr_err make_ticket(struct control *control, uint32_t user, uint32_t generation,
                          struct signin_outcome *outcome) {
    struct signin *signin = control->signin;
    struct ticket *ticket = &signin->tickets[signin->next++ % TICKETS];
    MR_TRY(session_cookie_make(outcome->ticket));
    MR_TRY(session_id_of(control->hasher, mr_str_c(outcome->ticket), ticket->id));
    ticket->user = user;
    ticket->generation = generation;
    ticket->tries = 0;
    ticket->ends = mr_mono_add_ms(os_mono_now(), INT64_C(1000) * SIGNIN_TICKET_S);
    outcome->kind = SIGNIN_TICKET;
    outcome->user = user;
    return MR_OK;
}

static mr_err finish_inner(struct control *control, const struct signin_candidates *candidates,
                           int matched, mr_str new_hash, mr_str folded,
                           const struct signin_caller *caller, struct signin_outcome *outcome) {
    uint32_t user = 0;
    uint32_t generation = 0;
    bool has_factor = false;
    bool is_right = false;
    if (matched >= 0) {
        user = candidates->user;
        MR_TRY(take_user(control, user, candidates->hash, &generation, &has_factor, &is_right));
    }
    if (!is_right && candidates->n > 0) {
        return audit_wrong(control, candidates->user, MR_STR_NONE, "password");
    }
    if (!is_right) {
        char unknown[UNKNOWN_SIZE];
        MR_TRY(format_unknown(control, folded, unknown));
        return audit_wrong(control, 0, mr_str_c(unknown), "password");
    }
    if (new_hash.len > 0) {
        MR_TRY(store_rehashed(control, user, new_hash));
    }
    return has_factor ? make_ticket(control, user, generation, outcome)
                      : open_session(control, user, caller, outcome);
}

mr_err signin_finish(struct control *control, mr_str email,
                     const struct signin_candidates *candidates, int matched, mr_str new_hash,
                     const struct signin_caller *caller, struct signin_outcome *ret_outcome,
                     struct refusal *ret_refusal) {
    struct signin_outcome outcome = {.kind = SIGNIN_WRONG};
    mr_arena arena;
    mr_arena_init_private(&arena, 65536);
    mr_str folded = user_email_fold(&arena, email);
    mr_err err = mr_str_is_absent(folded) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    struct attempt *attempt = NULL;
    if (mr_is_ok(err)) {
        attempt = note(control, control->signin->passwords, folded, caller->address);
        err = change_begin(control, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = change_end(
            control, finish_inner(control, candidates, matched, new_hash, folded, caller, &outcome),
            ret_refusal);
        attempt->is_judged = true;
        attempt->is_right = outcome.kind != SIGNIN_WRONG;
    }
    err = settled(control, err);
    mr_arena_done(&arena);
    if (mr_is_ok(err)) {
        *ret_outcome = outcome;
    }
    crypto_wipe(&outcome, sizeof outcome);
    return err;
}

/* ---- the second factor ---- */

/* NULL: none of that name, or past its time. */
static struct ticket *find_ticket(struct control *control, mr_str text) {
    char id[SESSION_ID_SIZE];
    struct signin *signin = control->signin;
    if (signin == NULL || mr_is_err(session_id_of(control->hasher, text, id))) {
        return NULL;
    }
    mr_mono now = os_mono_now();
    for (size_t i = 0; i < TICKETS; i++) {
        struct ticket *ticket = &signin->tickets[i];
        if (strcmp(ticket->id, id) == 0) {
            return ticket->ends.ns > now.ns ? ticket : NULL;
        }
    }
    return NULL;
}

/* The user behind it stands as when it was made. */
static mr_err check_ticket(struct control *control, const struct ticket *ticket, mr_arena *arena,
                           mr_str *ret_user_id, bool *ret_is_sound) {
    struct query query =
        query_begin(&control->store, "SELECT id FROM users WHERE number = ?1 AND generation = ?2"
                                     " AND status = 'ACTIVE'");
    query_i64(&query, ticket->user);
    query_i64(&query, ticket->generation);
    *ret_is_sound = false;
    while (query_row(&query)) {
        *ret_user_id = query_col_text(&query, 0, arena);
        *ret_is_sound = true;
    }
    return query_end(&query);
}

static mr_err second_inner(struct control *control, mr_str text, mr_str code,
                           const struct signin_caller *caller, mr_arena *arena,
                           struct signin_outcome *outcome, struct refusal *ret_refusal) {
    struct ticket *ticket = find_ticket(control, text);
    mr_str user_id = MR_STR_NONE;
    bool is_sound = false;
    if (ticket == NULL) {
        return MR_OK;
    }
    uint32_t user = ticket->user;
    MR_TRY(check_ticket(control, ticket, arena, &user_id, &is_sound));
    if (!is_sound) {
        ticket->id[0] = '\0';
        return MR_OK;
    }
    MR_TRY(enter(control->signin->codes, user_id, caller->address, ret_refusal));
    struct attempt *attempt = note(control, control->signin->codes, user_id, caller->address);
    attempt->ticket = ticket;
    MR_TRY(totp_judge(control, user, code, caller->now, &attempt->is_right));
    attempt->is_judged = true;
    return attempt->is_right ? open_session(control, user, caller, outcome)
                             : audit_wrong(control, user, MR_STR_NONE, "second_factor");
}

mr_err signin_second(struct control *control, mr_str ticket, mr_str code,
                     const struct signin_caller *caller, struct signin_outcome *ret_outcome,
                     struct refusal *ret_refusal) {
    struct signin_outcome outcome = {.kind = SIGNIN_WRONG};
    mr_arena arena;
    mr_arena_init_private(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control,
                         second_inner(control, ticket, code, caller, &arena, &outcome, ret_refusal),
                         ret_refusal);
    }
    err = settled(control, err);
    mr_arena_done(&arena);
    if (mr_is_ok(err)) {
        *ret_outcome = outcome;
    }
    crypto_wipe(&outcome, sizeof outcome);
    return err;
}

/* ---- the password once more ---- */

static mr_err again_inner(struct control *control, uint32_t user, mr_str address, mr_arena *arena,
                          struct user_view *view, mr_str *account_name, mr_str *hash,
                          struct refusal *ret_refusal) {
    struct signin *signin = NULL;
    MR_TRY(users_get_number(control, user, arena, view, ret_refusal));
    MR_TRY(signin_of(control, &signin));
    MR_TRY(enter(signin->again, view->id, address, ret_refusal));
    (void)note(control, signin->again, view->id, address);
    struct query query = query_begin(
        &control->store, "SELECT coalesce(u.password, ''), a.friendly_name FROM users u"
                         " JOIN accounts a ON a.number = u.account WHERE u.number = ?1");
    query_i64(&query, user);
    while (query_row(&query)) {
        *hash = query_col_text(&query, 0, arena);
        *account_name = query_col_text(&query, 1, arena);
    }
    return query_end(&query);
}

mr_err signin_again_begin(struct control *control, uint32_t user, mr_str address, mr_arena *arena,
                          struct user_view *ret_view, mr_str *ret_account_name, mr_str *ret_hash,
                          struct refusal *ret_refusal) {
    return settled(control, refuse_error(control,
                                         again_inner(control, user, address, arena, ret_view,
                                                     ret_account_name, ret_hash, ret_refusal),
                                         ret_refusal));
}

mr_err signin_again_finish(struct control *control, uint32_t user, mr_str address, bool is_right,
                           struct refusal *ret_refusal) {
    mr_arena arena;
    struct user_view view;
    mr_arena_init_private(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = users_get_number(control, user, &arena, &view, ret_refusal);
        if (mr_is_ok(err)) {
            struct attempt *attempt = note(control, control->signin->again, view.id, address);
            attempt->is_judged = true;
            attempt->is_right = is_right;
        }
        if (mr_is_ok(err) && !is_right) {
            err = audit_wrong(control, user, MR_STR_NONE, "password_again");
        }
        err = change_end(control, err, ret_refusal);
    }
    mr_arena_done(&arena);
    return settled(control, err);
}

void signin_again_give_up(struct control *control, uint32_t user, mr_str address) {
    mr_arena arena;
    struct user_view view;
    struct refusal refusal;
    mr_arena_init_private(&arena, 65536);
    if (control->signin != NULL &&
        mr_is_ok(users_get_number(control, user, &arena, &view, &refusal))) {
        slow_door_take_back(control->signin->again, view.id, address);
    }
    mr_arena_done(&arena);
}
