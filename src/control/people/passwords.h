/* Passwords: what one must be like, and argon2id on threads of its own. SPEC.md, section 10; NIST
 * SP 800-63B, 3.1.1; OWASP ASVS 5.0, chapter 6.
 *
 *   worker ──passwords_submit──▶ one of two threads: argon2id ──▶ task->done in the worker
 *
 * One computation takes some 64 MiB and a tenth of a second, so it is never done on a worker or on
 * the control thread, at most two run at once, and at most PASSWORDS_QUEUE_MAX wait.
 *
 * A password is the bytes that were sent, UTF-8; it is not normalised (docs/architecture.md tells
 * why). */
#ifndef MR_CONTROL_PEOPLE_PASSWORDS_H
#define MR_CONTROL_PEOPLE_PASSWORDS_H

#include "base/metrics.h"
#include "control/refusal.h"
#include "loop/mailbox.h"

#define PASSWORD_CHARS_MIN  12
#define PASSWORD_CHARS_MAX  128
#define PASSWORD_BYTES_MAX  (PASSWORD_CHARS_MAX * 4)
#define PASSWORD_HASH_SIZE  128 /* argon2id's own form "$argon2id$…", and a NUL */
#define PASSWORDS_QUEUE_MAX 64
#define PASSWORDS_TRIES_MAX 8

/* ---- rules ---- */

/* What a password must not be equal to; absent ones are passed over. */
struct password_context {
    mr_str email;
    mr_str name;         /* of the user */
    mr_str account_name; /* friendly name */
};
/* 20400, in words for people that do not repeat it: too short, too long, not UTF-8, with control
 * characters, a common one, or one's own e-mail or name. Does not block; any thread. */
mr_err password_judge(mr_str password, const struct password_context *context,
                      struct refusal *ret_refusal);
/* Whether it is one of the commonly used ones, also with a few digits or signs around it, or
 * repeated. */
bool password_is_common(mr_str password);

/* ---- argon2id ---- */

struct passwords;

/* Starts the threads. MR_E_NOMEM, MR_E_IO, MR_E_FAILED (libsodium). */
mr_err passwords_new(struct passwords **ret_passwords);
/* Ends the threads; tasks that wait are still done. Nobody may submit any more. NULL is fine. */
void passwords_free(struct passwords *passwords);

/* One task: memory of the caller's, which must stay until done was called.
 *
 * Verifying: the password against hashes[0 … n), all of them, whatever matches first; n 0 costs
 * the same as 1 and matches none. *matched is the index, or -1. Where the matching hash was made
 * with other parameters than today's, new_hash is a fresh one, else "".
 * Hashing (is_hashing): new_hash. */
struct password_task {
    struct mail mail;                         /* private */
    void (*done)(struct password_task *task); /* in the reader's thread of reply_to */
    struct mailbox *reply_to;
    bool is_hashing;
    char password[PASSWORD_BYTES_MAX + 1]; /* wiped before done */
    size_t password_len;
    const mr_str *hashes; /* NUL-terminated each */
    size_t n_hashes;      /* ≤ PASSWORDS_TRIES_MAX */
    /* the outcome */
    mr_err err; /* MR_E_NOMEM */
    int matched;
    char new_hash[PASSWORD_HASH_SIZE];
    struct passwords *passwords; /* private */
    uint32_t thread;             /* private */
};
/* Takes a copy of the password into the task. False: it is longer than any can be (then it matches
 * nothing: the caller hashes a password that cannot be right, or refuses). */
bool password_task_set(struct password_task *task, mr_str password);
/* False: too many wait already, nothing was taken; answer 503. Any thread, does not block. */
bool passwords_submit(struct passwords *passwords, struct password_task *task, mr_metrics *mine);
/* The same in the calling thread, for the command line and tests. Blocks. Does not call done. */
void passwords_run_here(struct password_task *task);

#endif
