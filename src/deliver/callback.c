/* Callbacks on their way. See callback.h.
 *
 * Lanes that could send stand in `ready` and take turns, one request each. A lane that may not,
 * because a share is used up, is put aside with those that wait for the same share: its account's
 * (account.held) or that of all lanes that are not trusted (set.held). Whoever ends gives the share
 * back and brings those that waited for it to `ready` again: of its account all, which are few, of
 * the set's a few.
 *
 * Trust is what keeps hosts apart. A lane whose host hangs is found out by its first request, for a
 * new lane has but one in flight; until then, and after, it takes from the share of the untrusted,
 * which leaves a quarter to lanes whose hosts answer; and no account has more than a quarter of all
 * in hosts that do not. A host that answers gets one more in flight with each answer, up to eight.
 *
 * A failed attempt that may be made once more rests for a second: long enough for a restart of a
 * worker process at the other side, short enough for the one who waits for the callback. */
#include "deliver/callback.h"

#include "base/mem.h"

#define HELD_PER_END 8

struct callback_lane {
    mr_list node; /* in set.ready, set.held, account.held, or none */
    mr_list mine; /* in account.lanes */
    struct callback_account *account;
    mr_list waiting;
    uint32_t n; /* callbacks: waiting, resting, in flight */
    uint32_t n_waiting;
    uint32_t flying;
    uint32_t window;
    bool is_trusted;
    size_t key_len;
    char key[CALLBACK_KEY_MAX];
};

struct callback_account {
    struct callback_account *next; /* in its chain */
    uint32_t number;
    uint32_t n; /* callbacks */
    uint32_t n_lanes;
    uint32_t flying, untrusted;
    mr_list lanes;
    mr_list held;    /* lanes that wait for the account's share */
    mr_list backlog; /* callbacks without a lane */
};

static struct callback_lane *lane_of(mr_list *node) {
    return MR_CONTAINER(node, struct callback_lane, node);
}

static struct callback *callback_of(mr_list *node) {
    return MR_CONTAINER(node, struct callback, node);
}

void callback_set_init(struct callback_set *set, const struct callback_hooks *hooks,
                       uint32_t *credits, uint32_t flying_max) {
    MR_ASSERT(flying_max > 0);
    *set = (struct callback_set){.hooks = *hooks, .credits = credits, .flying_max = flying_max};
    mr_list_init(&set->ready);
    mr_list_init(&set->held);
    mr_list_init(&set->resting);
}

/* ---- accounts and lanes ---- */

static struct callback_account **account_slot(struct callback_set *set, uint32_t number) {
    struct callback_account **at = &set->accounts[number % CALLBACK_SLOTS];
    while (*at != NULL && (*at)->number != number) {
        at = &(*at)->next;
    }
    return at;
}

static struct callback_account *account_ensure(struct callback_set *set, uint32_t number) {
    struct callback_account **slot = account_slot(set, number);
    if (*slot == NULL) {
        struct callback_account *account = MR_NEW(struct callback_account);
        if (account == NULL) {
            return NULL;
        }
        account->number = number;
        mr_list_init(&account->lanes);
        mr_list_init(&account->held);
        mr_list_init(&account->backlog);
        *slot = account;
        set->n_accounts++;
    }
    return *slot;
}

static void account_reclaim(struct callback_set *set, struct callback_account *account) {
    if (account->n > 0) {
        return;
    }
    MR_ASSERT(account->n_lanes == 0 && account->flying == 0 && account->untrusted == 0);
    struct callback_account **slot = account_slot(set, account->number);
    *slot = account->next;
    set->n_accounts--;
    mr_free(account);
}

static struct callback_lane *lane_find(const struct callback_account *account, mr_str key) {
    for (mr_list *at = account->lanes.next; at != &account->lanes; at = at->next) {
        struct callback_lane *lane = MR_CONTAINER(at, struct callback_lane, mine);
        if (mr_str_eq(mr_str_of(lane->key, lane->key_len), key)) {
            return lane;
        }
    }
    return NULL;
}

/* It is that host's now, of which nothing is known. */
static void lane_begin(struct callback_lane *lane, mr_str key) {
    lane->window = 1;
    lane->is_trusted = false;
    lane->key_len = key.len;
    memcpy(lane->key, key.ptr, key.len);
}

/* NULL without memory. */
static struct callback_lane *lane_new(struct callback_set *set, struct callback_account *account,
                                      mr_str key) {
    struct callback_lane *lane = MR_NEW(struct callback_lane);
    if (lane == NULL) {
        return NULL;
    }
    lane->account = account;
    lane_begin(lane, key);
    mr_list_init(&lane->node);
    mr_list_init(&lane->waiting);
    mr_list_push_back(&account->lanes, &lane->mine);
    account->n_lanes++;
    set->n_lanes++;
    return lane;
}

/* Puts it where it belongs now: ready, or in no list. */
static void lane_update(struct callback_set *set, struct callback_lane *lane) {
    mr_list_remove(&lane->node);
    if (lane->n_waiting > 0 && lane->flying < lane->window) {
        mr_list_push_back(&set->ready, &lane->node);
    }
}

static void put_waiting(struct callback_set *set, struct callback *callback, bool first) {
    struct callback_lane *lane = callback->lane;
    callback->place = CALLBACK_WAITING;
    if (first) {
        mr_list_push_front(&lane->waiting, &callback->node);
    } else {
        mr_list_push_back(&lane->waiting, &callback->node);
    }
    lane->n_waiting++;
    lane_update(set, lane);
}

/* Into the list by due time; most go to its end. */
static void put_resting(struct callback_set *set, struct callback *callback, mr_mono due) {
    mr_list *before = set->resting.prev;
    callback->place = CALLBACK_RESTING;
    callback->due = due;
    while (before != &set->resting && mr_mono_before(due, callback_of(before)->due)) {
        before = before->prev;
    }
    mr_list_push_front(before, &callback->node); /* behind `before` */
}

/* An empty lane becomes that of the oldest in the backlog and of all for the same host. So a
 * backlog never waits for memory. */
static void lane_pass_on(struct callback_set *set, struct callback_lane *lane) {
    struct callback_account *account = lane->account;
    mr_list *at = account->backlog.next;
    lane_begin(lane, callback_of(at)->key);
    while (at != &account->backlog) {
        struct callback *callback = callback_of(at);
        at = at->next;
        if (mr_str_eq(callback->key, mr_str_of(lane->key, lane->key_len))) {
            mr_list_remove(&callback->node);
            callback->lane = lane;
            lane->n++;
            put_waiting(set, callback, false);
        }
    }
}

static void lane_reclaim(struct callback_set *set, struct callback_lane *lane) {
    struct callback_account *account = lane->account;
    if (lane->n > 0) {
        return;
    }
    mr_list_remove(&lane->node);
    if (!mr_list_is_empty(&account->backlog)) {
        lane_pass_on(set, lane);
        return;
    }
    mr_list_remove(&lane->mine);
    account->n_lanes--;
    set->n_lanes--;
    mr_free(lane);
}

/* ---- in ---- */

static mr_str copy_text(char **at, mr_str text) {
    mr_str copy = {*at, text.len};
    if (text.len > 0) {
        memcpy(*at, text.ptr, text.len);
    }
    *at += text.len;
    return copy;
}

static struct callback *callback_new(const struct callback_spec *spec) {
    MR_ASSERT(spec->key.len > 0 && spec->key.len <= CALLBACK_KEY_MAX);
    struct callback *callback =
        mr_alloc(sizeof *callback + spec->key.len + spec->url.len + spec->body.len);
    if (callback == NULL) {
        return NULL;
    }
    char *text = (char *)(callback + 1);
    *callback = (struct callback){.account_number = spec->account,
                                  .pos = spec->pos,
                                  .size = spec->size,
                                  .method = spec->method,
                                  .content = spec->content,
                                  .key = copy_text(&text, spec->key),
                                  .url = copy_text(&text, spec->url),
                                  .body = copy_text(&text, spec->body)};
    memcpy(callback->id, spec->id, sizeof callback->id);
    mr_list_init(&callback->node);
    return callback;
}

/* Gives it a lane, or leaves it without. MR_E_NOMEM. */
static mr_err take_in(struct callback_set *set, struct callback *callback) {
    struct callback_account *account = account_ensure(set, callback->account_number);
    if (account == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    callback->lane = lane_find(account, callback->key);
    if (callback->lane == NULL && account->n_lanes < CALLBACK_LANES_MAX) {
        callback->lane = lane_new(set, account, callback->key);
        if (callback->lane == NULL) {
            account_reclaim(set, account);
            return MR_ERR(MR_E_NOMEM);
        }
    }
    callback->account = account;
    account->n++;
    set->n++;
    if (callback->lane != NULL) {
        callback->lane->n++;
    }
    return MR_OK;
}

mr_err callback_restore(struct callback_set *set, const struct callback_spec *spec,
                        uint8_t attempts, int64_t due_ms, struct lane_now now) {
    MR_ASSERT(attempts < CALLBACK_ATTEMPTS_MAX);
    struct callback *callback = callback_new(spec);
    if (callback == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    callback->attempts = attempts;
    mr_err err = take_in(set, callback);
    if (mr_is_err(err)) {
        mr_free(callback);
        return err;
    }
    int64_t wait_ms = attempts == 0 ? 0 : due_ms - mr_wall_ms(now.wall);
    wait_ms = wait_ms > CALLBACK_PAUSE_MS ? CALLBACK_PAUSE_MS : wait_ms;
    if (callback->lane == NULL) {
        mr_list_push_back(&callback->account->backlog, &callback->node);
    } else if (wait_ms > 0) {
        put_resting(set, callback, mr_mono_add_ms(now.mono, wait_ms));
    } else {
        put_waiting(set, callback, false);
    }
    return MR_OK;
}

mr_err callback_add(struct callback_set *set, const struct callback_spec *spec) {
    static const struct lane_now any;
    return callback_restore(set, spec, 0, 0, any);
}

/* ---- deciding ---- */

static void wake_rested(struct callback_set *set, mr_mono now) {
    while (!mr_list_is_empty(&set->resting)) {
        struct callback *callback = callback_of(set->resting.next);
        if (mr_mono_before(now, callback->due)) {
            return;
        }
        mr_list_remove(&callback->node);
        put_waiting(set, callback, true);
    }
}

/* The lane may not send now: puts it aside where a share is what it lacks. */
static bool is_held(struct callback_set *set, struct callback_lane *lane) {
    struct callback_account *account = lane->account;
    bool is_full =
        account->flying >= callback_flying_account(set) ||
        (!lane->is_trusted && account->untrusted >= callback_flying_account_untrusted(set));
    if (is_full) {
        mr_list_push_back(&account->held, &lane->node);
        return true;
    }
    if (!lane->is_trusted && set->untrusted >= callback_flying_untrusted(set)) {
        mr_list_push_back(&set->held, &lane->node);
        return true;
    }
    return false;
}

static void send_next(struct callback_set *set, struct callback_lane *lane, struct lane_now now) {
    mr_list *node = mr_list_pop_front(&lane->waiting);
    MR_ASSERT(node != NULL);
    struct callback *callback = callback_of(node);
    struct callback_account *account = lane->account;
    callback->place = CALLBACK_FLYING;
    callback->sent = now.mono;
    callback->sent_ms = mr_wall_ms(now.wall);
    callback->is_untrusted = !lane->is_trusted;
    lane->n_waiting--;
    lane->flying++;
    account->flying++;
    account->untrusted += callback->is_untrusted;
    set->flying++;
    set->untrusted += callback->is_untrusted;
    --*set->credits;
    lane_update(set, lane);
    set->hooks.send(set->hooks.ctx, callback);
}

void callback_decide(struct callback_set *set, struct lane_now now) {
    if (set->closed) {
        return;
    }
    wake_rested(set, now.mono);
    while (set->flying<set->flying_max && * set->credits> 0) {
        mr_list *node = mr_list_pop_front(&set->ready);
        if (node == NULL) {
            return;
        }
        struct callback_lane *lane = lane_of(node);
        if (!is_held(set, lane)) {
            send_next(set, lane, now);
        }
    }
}

mr_mono callback_deadline(const struct callback_set *set) {
    return set->closed || mr_list_is_empty(&set->resting) ? MR_MONO_NEVER
                                                          : callback_of(set->resting.next)->due;
}

/* ---- results ---- */

/* What the attempt says of the host. */
static bool is_answer(const struct lane_result *result) {
    return result->kind == LANE_RESULT_STATUS && result->status != 408 && result->status != 423 &&
           result->status < 500;
}

/* What is tried once more (KORE, callbacks): no connection, a timeout, 408, 423, 5xx. A refused
 * address is no connection that failed, it is one that may not be. */
static bool may_retry(const struct lane_result *result) {
    switch ((enum lane_result_kind)result->kind) {
    case LANE_RESULT_STATUS:
        return !is_answer(result);
    case LANE_RESULT_TIMEOUT:
    case LANE_RESULT_NAME:
    case LANE_RESULT_CONNECT:
    case LANE_RESULT_TLS:
    case LANE_RESULT_RESET:
        return true;
    case LANE_RESULT_ADDRESS:
    case LANE_RESULT_RESPONSE:
    case LANE_RESULT_REQUEST:
    case LANE_RESULT_CANCELLED:
        break;
    }
    return false;
}

static uint8_t reason_of(const struct lane_result *result) {
    static const uint8_t reasons[] = {
        [LANE_RESULT_STATUS] = LANE_REASON_STATUS,   [LANE_RESULT_TIMEOUT] = LANE_REASON_TIMEOUT,
        [LANE_RESULT_NAME] = LANE_REASON_NAME,       [LANE_RESULT_ADDRESS] = LANE_REASON_ADDRESS,
        [LANE_RESULT_CONNECT] = LANE_REASON_CONNECT, [LANE_RESULT_TLS] = LANE_REASON_TLS,
        [LANE_RESULT_RESET] = LANE_REASON_RESET,     [LANE_RESULT_RESPONSE] = LANE_REASON_RESPONSE,
        [LANE_RESULT_REQUEST] = LANE_REASON_REQUEST};
    return reasons[result->kind];
}

/* The shares are free again: those who waited for them may look. */
static void give_shares_back(struct callback_set *set, struct callback *callback) {
    struct callback_account *account = callback->account;
    callback->lane->flying--;
    account->flying--;
    account->untrusted -= callback->is_untrusted;
    set->flying--;
    set->untrusted -= callback->is_untrusted;
    mr_list *node;
    while ((node = mr_list_pop_front(&account->held)) != NULL) {
        lane_update(set, lane_of(node));
    }
    for (int i = 0; i < HELD_PER_END && (node = mr_list_pop_front(&set->held)) != NULL; i++) {
        lane_update(set, lane_of(node));
    }
}

static void judge_host(struct callback_lane *lane, const struct lane_result *result) {
    if (is_answer(result)) {
        lane->is_trusted = true;
        lane->window += lane->window < CALLBACK_WINDOW_MAX;
    } else if (may_retry(result)) {
        lane->is_trusted = false;
        lane->window = 1;
    }
}

static void leave(struct callback_set *set, struct callback *callback) {
    struct callback_lane *lane = callback->lane;
    struct callback_account *account = callback->account;
    lane->n--;
    account->n--;
    set->n--;
    mr_free(callback);
    lane_update(set, lane);
    lane_reclaim(set, lane);
    account_reclaim(set, account);
}

void callback_on_result(struct callback_set *set, struct callback *callback, struct lane_now now,
                        const struct lane_result *result) {
    MR_ASSERT(callback->place == CALLBACK_FLYING);
    give_shares_back(set, callback);
    if (result->kind == LANE_RESULT_CANCELLED) {
        ++*set->credits; /* no outcome will come of it */
        put_resting(set, callback, mr_mono_add_ms(now.mono, CALLBACK_AGAIN_MS));
        lane_update(set, callback->lane);
        return;
    }
    judge_host(callback->lane, result);
    callback->attempts++;
    bool is_delivered =
        result->kind == LANE_RESULT_STATUS && result->status >= 200 && result->status < 300;
    bool is_retry =
        !is_delivered && may_retry(result) && callback->attempts < CALLBACK_ATTEMPTS_MAX;
    int64_t duration_ms = mr_mono_diff_ms(now.mono, callback->sent);
    const struct callback_record record = {
        .kind = is_delivered ? CALLBACK_DELIVERED
                : is_retry   ? CALLBACK_RETRY
                             : CALLBACK_FAILED,
        .reason = is_delivered ? LANE_REASON_NONE : reason_of(result),
        .attempt = callback->attempts,
        .status = result->kind == LANE_RESULT_STATUS ? result->status : 0,
        .duration_ms = duration_ms < 0 ? 0 : (uint32_t)duration_ms,
        .at_ms = callback->sent_ms,
        .due_ms = is_retry ? mr_wall_ms(now.wall) + CALLBACK_PAUSE_MS : 0};
    set->hooks.record(set->hooks.ctx, callback, &record);
    if (is_retry) {
        put_resting(set, callback, mr_mono_add_ms(now.mono, CALLBACK_PAUSE_MS));
        lane_update(set, callback->lane);
    } else {
        leave(set, callback);
    }
}

/* ---- the end ---- */

static void free_list(mr_list *list) {
    mr_list *node;
    while ((node = mr_list_pop_front(list)) != NULL) {
        mr_free(callback_of(node));
    }
}

static void free_account(struct callback_account *account) {
    mr_list *node;
    while ((node = mr_list_pop_front(&account->lanes)) != NULL) {
        struct callback_lane *lane = MR_CONTAINER(node, struct callback_lane, mine);
        mr_list_remove(&lane->node);
        free_list(&lane->waiting);
        mr_free(lane);
    }
    free_list(&account->backlog);
    mr_free(account);
}

void callback_set_done(struct callback_set *set) {
    MR_ASSERT(set->flying == 0);
    free_list(&set->resting);
    for (size_t i = 0; i < CALLBACK_SLOTS; i++) {
        while (set->accounts[i] != NULL) {
            struct callback_account *next = set->accounts[i]->next;
            free_account(set->accounts[i]);
            set->accounts[i] = next;
        }
    }
    set->n = set->n_lanes = set->n_accounts = 0;
}

/* ---- looking after itself ---- */

/* Everything that can be counted, of an account or of all. */
struct count {
    uint32_t lanes, placed, waiting, flying;
};

static uint32_t length_of(const mr_list *list) {
    uint32_t n = 0;
    for (const mr_list *at = list->next; at != list; at = at->next) {
        n++;
    }
    return n;
}

static void count_account(const struct callback_set *set, const struct callback_account *account,
                          struct count *sum) {
    struct count mine = {0};
    for (mr_list *at = account->lanes.next; at != &account->lanes; at = at->next) {
        const struct callback_lane *lane = MR_CONTAINER(at, struct callback_lane, mine);
        MR_ASSERT(lane->n > 0 && lane->account == account);
        MR_ASSERT(lane->n_waiting == length_of(&lane->waiting));
        MR_ASSERT(lane->window >= 1 && lane->window <= CALLBACK_WINDOW_MAX);
        MR_ASSERT(lane->is_trusted || lane->window == 1);
        /* A lane that could send is in a list, from which someone takes it. */
        MR_ASSERT(mr_list_is_empty(&lane->node) !=
                  (lane->n_waiting > 0 && lane->flying < lane->window));
        mine.lanes++;
        mine.placed += lane->n;
        mine.waiting += lane->n_waiting;
        mine.flying += lane->flying;
    }
    MR_ASSERT(mine.lanes == account->n_lanes && mine.lanes <= CALLBACK_LANES_MAX);
    MR_ASSERT(mine.flying == account->flying && account->untrusted <= account->flying);
    MR_ASSERT(account->flying <= callback_flying_account(set));
    MR_ASSERT(account->untrusted <= callback_flying_account_untrusted(set));
    MR_ASSERT(account->n == mine.placed + length_of(&account->backlog) && account->n > 0);
    MR_ASSERT(mr_list_is_empty(&account->backlog) || mine.lanes == CALLBACK_LANES_MAX);
    sum->lanes += mine.lanes;
    sum->placed += account->n - length_of(&account->backlog);
    sum->waiting += mine.waiting;
    sum->flying += mine.flying;
}

void callback_assert_valid(const struct callback_set *set) {
    struct count sum = {0};
    uint32_t n = 0;
    uint32_t n_accounts = 0;
    mr_mono last = {INT64_MIN};
    for (size_t i = 0; i < CALLBACK_SLOTS; i++) {
        for (const struct callback_account *at = set->accounts[i]; at != NULL; at = at->next) {
            count_account(set, at, &sum);
            n += at->n;
            n_accounts++;
        }
    }
    for (mr_list *at = set->resting.next; at != &set->resting; at = at->next) {
        MR_ASSERT(!mr_mono_before(callback_of(at)->due, last));
        last = callback_of(at)->due;
    }
    MR_ASSERT(n == set->n && n_accounts == set->n_accounts && sum.lanes == set->n_lanes);
    MR_ASSERT(sum.flying == set->flying && set->flying <= set->flying_max);
    MR_ASSERT(set->untrusted <= callback_flying_untrusted(set));
    MR_ASSERT(sum.placed == sum.waiting + sum.flying + length_of(&set->resting));
}
