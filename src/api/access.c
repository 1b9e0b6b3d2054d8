/* See api/access.h.
 *
 *   noted ─▶ slot of (caller, address, route, what)
 *              new: a row at once       known: counted ─▶ at the window's end: a row with the count
 *
 * Bounds: slots are few, so rows are too, however many addresses ask: callers that are known have
 * 64, strangers 16, sign-ins 128, and what finds none free is counted in a slot of its kind alone,
 * without a caller. A slot has one job and is not sent again before that came back, so no more than
 * that wait for the control thread. A row that could not be stored (disk full) is counted on, and
 * told with the next. */
#include "api/access.h"

#include "base/mem.h"
#include "model/object.h"
#include "os/socket.h"

#include <stdio.h>

#define KNOWN          64
#define STRANGERS      16
#define SIGN_INS       128
#define SINGLE         (KNOWN + STRANGERS + SIGN_INS)
#define SLOTS          (SINGLE + ACCESS_COUNT)
#define REFUSED_MS     60000
#define SIGN_IN_MS     3600000
#define AGAIN_MS       1000
#define REQUEST_ID_MAX 128

struct slot {
    struct control_job job; /* first */
    struct access_log *log;
    bool is_used;
    bool is_sent; /* the job is with the control thread */
    /* what is told; not changed while is_sent */
    enum access_what what;
    enum auth_route route;
    enum control_actor_kind actor;
    uint32_t account;
    char caller[MODEL_ID_SIZE];
    char address[OS_ADDR_TEXT_SIZE];
    char request_id[REQUEST_ID_MAX + 1];
    bool is_of_many; /* callers and routes are not told apart */
    uint64_t sent;   /* how many the job tells of */
    /* */
    uint64_t count; /* not told yet */
    mr_mono until;  /* then the count is told */
};

struct access_log {
    struct loop *loop;
    struct control *control;
    struct loop_timer timer;
    bool is_ending;
    struct slot slots[SLOTS];
};

/* NULL: no refusal. */
static const char *const whys[ACCESS_COUNT] = {"token",  "revoked",     "scope",
                                               "rights", "credentials", NULL};

/* ---- the row ---- */

static const char *action_of(enum access_what what) {
    switch (what) {
    case ACCESS_BAD_TOKEN:
    case ACCESS_REVOKED:
    case ACCESS_NO_SCOPE:
    case ACCESS_NO_RIGHTS:
        return "access.refuse";
    case ACCESS_BAD_CREDENTIALS:
        return "sign-in.refuse";
    case ACCESS_SIGN_IN:
    case ACCESS_COUNT:
        break;
    }
    return "sign-in";
}

static mr_err add_row(struct control *control, struct control_job *job) {
    const struct slot *slot = (const struct slot *)(const void *)job;
    const struct auth_route_info *info = auth_route_info(slot->route);
    char object[160];
    char detail[128];
    int n_object =
        snprintf(object, sizeof object, "%.*s %.*s", MR_FMT(info->method), MR_FMT(info->path));
    const char *why = whys[slot->what];
    int n_detail =
        snprintf(detail, sizeof detail, "{%s%s%s\"count\":%llu%s}", why != NULL ? "\"why\":\"" : "",
                 why != NULL ? why : "", why != NULL ? "\"," : "", (unsigned long long)slot->sent,
                 slot->is_of_many ? ",\"of_many\":true" : "");
    return audit_add(
        control, &(struct audit_entry){
                     .account = slot->account,
                     .action = action_of(slot->what),
                     .object = slot->is_of_many ? MR_STR_NONE : mr_str_of(object, (size_t)n_object),
                     .detail = mr_str_of(detail, (size_t)n_detail),
                 });
}

static int64_t window_ms(enum access_what what) {
    return what == ACCESS_SIGN_IN ? SIGN_IN_MS : REFUSED_MS;
}

static void on_added(struct control_job *job);

static void send(struct slot *slot) {
    struct access_log *log = slot->log;
    slot->sent = slot->count;
    slot->count = 0;
    slot->is_sent = true;
    slot->until = mr_mono_add_ms(loop_now(log->loop), window_ms(slot->what));
    slot->job = (struct control_job){.run = add_row,
                                     .done = on_added,
                                     .reply_to = loop_mailbox(log->loop),
                                     .actor = {.kind = slot->actor, .account = slot->account}};
    if (!slot->is_of_many) {
        slot->job.actor.id = slot->caller[0] == '\0' ? MR_STR_NONE : mr_str_c(slot->caller);
        slot->job.actor.address = mr_str_c(slot->address);
        slot->job.actor.request_id = mr_str_c(slot->request_id);
    }
    control_submit(log->control, &slot->job);
}

static void on_added(struct control_job *job) {
    struct slot *slot = (struct slot *)(void *)job;
    slot->is_sent = false;
    if (mr_is_err(job->err)) {
        slot->count += slot->sent;
    } else if (slot->log->is_ending && slot->count > 0) {
        send(slot);
    }
}

static void set_timer(struct access_log *log) {
    mr_mono first = MR_MONO_NEVER;
    for (size_t i = 0; i < SLOTS; i++) {
        if (log->slots[i].is_used) {
            first = mr_mono_min(first, log->slots[i].until);
        }
    }
    if (mr_mono_before(first, MR_MONO_NEVER)) {
        loop_timer_set(log->loop, &log->timer, first);
    }
}

static void on_timer(struct loop_timer *timer) {
    struct access_log *log = MR_CONTAINER(timer, struct access_log, timer);
    mr_mono now = loop_now(log->loop);
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &log->slots[i];
        if (!slot->is_used || mr_mono_before(now, slot->until)) {
            continue;
        }
        if (slot->is_sent) {
            slot->until = mr_mono_add_ms(now, AGAIN_MS);
        } else if (slot->count > 0) {
            send(slot);
        } else {
            slot->is_used = false;
        }
    }
    set_timer(log);
}

/* ---- noting ---- */

static bool is_like(const struct slot *slot, const struct control_actor *actor,
                    enum auth_route route, enum access_what what) {
    return slot->is_used && slot->route == route && slot->what == what &&
           slot->actor == actor->kind && mr_str_eq(mr_str_c(slot->caller), actor->id) &&
           mr_str_eq(mr_str_c(slot->address), actor->address);
}

/* The slot of its like, else a free one of its kind, else the one of many. */
static struct slot *find(struct access_log *log, const struct control_actor *actor,
                         enum auth_route route, enum access_what what) {
    bool is_known = actor->kind == CONTROL_ACTOR_CLIENT || actor->kind == CONTROL_ACTOR_USER;
    size_t from = is_known ? 0 : KNOWN;
    size_t to = is_known ? KNOWN : KNOWN + STRANGERS;
    if (what == ACCESS_SIGN_IN) {
        from = KNOWN + STRANGERS;
        to = SINGLE;
    }
    struct slot *found = &log->slots[SINGLE + what];
    for (size_t i = from; i < to; i++) {
        struct slot *slot = &log->slots[i];
        if (is_like(slot, actor, route, what)) {
            return slot;
        }
        if (!slot->is_used && found == &log->slots[SINGLE + what]) {
            found = slot;
        }
    }
    return found;
}

static void keep(char *to, size_t size, mr_str text) {
    size_t n = text.len < size - 1 ? text.len : size - 1;
    if (n > 0) {
        memcpy(to, text.ptr, n);
    }
    to[n] = '\0';
}

void access_note(struct access_log *log, const struct control_actor *actor, enum auth_route route,
                 enum access_what what) {
    struct slot *slot = find(log, actor, route, what);
    if (slot->is_used) {
        slot->count++;
        return;
    }
    MR_ASSERT(!slot->is_sent);
    bool is_of_many = slot == &log->slots[SINGLE + what];
    *slot = (struct slot){.log = log,
                          .is_used = true,
                          .what = what,
                          .route = route,
                          .actor = is_of_many ? CONTROL_ACTOR_NOBODY : actor->kind,
                          .account = is_of_many ? 0 : actor->account,
                          .is_of_many = is_of_many,
                          .count = 1};
    keep(slot->caller, sizeof slot->caller, actor->id);
    keep(slot->address, sizeof slot->address, actor->address);
    keep(slot->request_id, sizeof slot->request_id, actor->request_id);
    send(slot);
    set_timer(log);
}

bool access_log_flush(struct access_log *log) {
    bool is_first = !log->is_ending;
    bool is_over = true;
    log->is_ending = true;
    loop_timer_cancel(log->loop, &log->timer);
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &log->slots[i];
        if (is_first && slot->is_used && !slot->is_sent && slot->count > 0) {
            send(slot);
        }
        is_over = is_over && !slot->is_sent;
    }
    return is_over;
}

/* ---- life ---- */

mr_err access_log_new(struct loop *loop, struct control *control, struct access_log **ret_log) {
    struct access_log *log = MR_NEW(struct access_log);
    if (log == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    log->loop = loop;
    log->control = control;
    loop_timer_init(&log->timer, on_timer);
    *ret_log = log;
    return MR_OK;
}

void access_log_free(struct access_log *log) {
    if (log == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        MR_ASSERT(!log->slots[i].is_sent);
    }
    loop_timer_cancel(log->loop, &log->timer);
    mr_free(log);
}
