/* argon2id on threads of its own. See passwords.h.
 *
 * Two threads, each with its mailbox; a task goes to the one with fewer waiting. What bounds memory
 * is that a thread computes one at a time; what bounds waiting is the count of tasks under way,
 * raised before a task is sent and taken back where it would be one too many.
 *
 * Equal time: an unknown e-mail gives no hashes, and is computed against one that stands here and
 * whose outcome nobody looks at. All hashes are computed, whatever matched first. */
#include "control/people/passwords.h"

#include "base/list.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "os/thread.h"

#include <sodium.h>
#include <stdatomic.h>

#define THREADS 2

/* RFC 9106 leaves the choice; OWASP's least is 19 MiB and 2 passes. Some 0.1 s of one core. */
#define OPS_LIMIT 2U
#define MEM_LIMIT ((size_t)64 << 20)
#define BOTH_MAX  (PASSWORDS_QUEUE_MAX + THREADS)

/* With the parameters above (a test holds it to that). */
static const char nobodys_hash[PASSWORD_HASH_SIZE] =
    "$argon2id$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

_Static_assert(PASSWORD_HASH_SIZE >= crypto_pwhash_argon2id_STRBYTES, "libsodium's form fits");

struct hash_thread {
    os_thread thread;
    bool is_started;
    struct mailbox mailbox;
    struct mail stop_mail;
    bool is_stopping; /* its own */
    _Atomic uint32_t waiting;
};

struct passwords {
    struct hash_thread threads[THREADS];
    _Atomic uint32_t under_way;
};

/* ---- one computation ---- */

static mr_err hash_password(const char *password, size_t len, char out[static PASSWORD_HASH_SIZE]) {
    memset(out, 0, PASSWORD_HASH_SIZE);
    return crypto_pwhash_str_alg(out, password, len, OPS_LIMIT, MEM_LIMIT,
                                 crypto_pwhash_ALG_ARGON2ID13) == 0
               ? MR_OK
               : MR_ERR(MR_E_NOMEM);
}

static bool matches(const struct password_task *task, const char *hash) {
    return crypto_pwhash_str_verify(hash, task->password, task->password_len) == 0;
}

static void verify(struct password_task *task) {
    for (size_t i = 0; i < task->n_hashes; i++) {
        if (matches(task, task->hashes[i].ptr) && task->matched < 0) {
            task->matched = (int)i;
        }
    }
    if (task->n_hashes == 0) {
        (void)matches(task, nobodys_hash);
        return;
    }
    if (task->matched >= 0 && crypto_pwhash_str_needs_rehash(task->hashes[task->matched].ptr,
                                                             OPS_LIMIT, MEM_LIMIT) != 0) {
        task->err = hash_password(task->password, task->password_len, task->new_hash);
    }
}

static void compute(struct password_task *task) {
    task->err = MR_OK;
    task->matched = -1;
    task->new_hash[0] = '\0';
    if (task->is_hashing) {
        task->err = hash_password(task->password, task->password_len, task->new_hash);
    } else {
        verify(task);
    }
    crypto_wipe(task->password, sizeof task->password);
    task->password_len = 0;
}

bool password_task_set(struct password_task *task, mr_str password) {
    if (password.len > PASSWORD_BYTES_MAX) {
        return false;
    }
    if (password.len > 0) {
        memcpy(task->password, password.ptr, password.len);
    }
    task->password_len = password.len;
    return true;
}

void passwords_run_here(struct password_task *task) {
    task->err = sodium_init() < 0 ? MR_ERR(MR_E_FAILED) : MR_OK;
    if (mr_is_ok(task->err)) {
        compute(task);
    }
}

/* ---- the threads ---- */

static struct password_task *task_of(struct mail *mail) {
    return MR_CONTAINER(mail, struct password_task, mail);
}

static void arrived_back(struct mail *mail) {
    struct password_task *task = task_of(mail);
    task->done(task);
}

static void arrived(struct mail *mail) {
    struct password_task *task = task_of(mail);
    struct passwords *passwords = task->passwords;
    struct hash_thread *thread = &passwords->threads[task->thread];
    compute(task);
    atomic_fetch_sub_explicit(&thread->waiting, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&passwords->under_way, 1, memory_order_relaxed);
    task->mail.run = arrived_back;
    mailbox_post(task->reply_to, &task->mail, NULL);
}

static void stop_arrived(struct mail *mail) {
    MR_CONTAINER(mail, struct hash_thread, stop_mail)->is_stopping = true;
}

static void thread_main(void *arg) {
    struct hash_thread *thread = arg;
    while (!thread->is_stopping) {
        mailbox_run(mailbox_wait(&thread->mailbox, MR_MONO_NEVER));
    }
}

bool passwords_submit(struct passwords *passwords, struct password_task *task, mr_metrics *mine) {
    MR_ASSERT(task->n_hashes <= PASSWORDS_TRIES_MAX && task->done != NULL);
    uint32_t before = atomic_fetch_add_explicit(&passwords->under_way, 1, memory_order_relaxed);
    if (before >= BOTH_MAX) {
        atomic_fetch_sub_explicit(&passwords->under_way, 1, memory_order_relaxed);
        return false;
    }
    uint32_t at = 0;
    for (uint32_t i = 1; i < THREADS; i++) {
        if (atomic_load_explicit(&passwords->threads[i].waiting, memory_order_relaxed) <
            atomic_load_explicit(&passwords->threads[at].waiting, memory_order_relaxed)) {
            at = i;
        }
    }
    atomic_fetch_add_explicit(&passwords->threads[at].waiting, 1, memory_order_relaxed);
    task->passwords = passwords;
    task->thread = at;
    task->mail.run = arrived;
    mailbox_post(&passwords->threads[at].mailbox, &task->mail, mine);
    return true;
}

mr_err passwords_new(struct passwords **ret_passwords) {
    if (sodium_init() < 0) {
        return MR_ERR(MR_E_FAILED);
    }
    struct passwords *passwords = MR_NEW(struct passwords);
    mr_err err = passwords == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
    for (size_t i = 0; i < THREADS && mr_is_ok(err); i++) {
        struct hash_thread *thread = &passwords->threads[i];
        mailbox_init(&thread->mailbox);
        err = os_thread_start(&thread->thread, "passwords", thread_main, thread);
        thread->is_started = mr_is_ok(err);
    }
    if (mr_is_err(err)) {
        passwords_free(passwords);
        return err;
    }
    *ret_passwords = passwords;
    return MR_OK;
}

void passwords_free(struct passwords *passwords) {
    if (passwords == NULL) {
        return;
    }
    for (size_t i = 0; i < THREADS; i++) {
        struct hash_thread *thread = &passwords->threads[i];
        if (thread->is_started) {
            thread->stop_mail.run = stop_arrived;
            mailbox_post(&thread->mailbox, &thread->stop_mail, NULL);
            os_thread_join(&thread->thread);
        }
    }
    mr_free(passwords);
}
