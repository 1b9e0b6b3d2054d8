/* The audit log: who did what to which object, when, from where. Rows are only added, in the
 * transaction of the change they tell of, and chained by hash; the chain's head goes into the
 * journal, so that neither a changed row nor one that was cut off stays unseen by `millrace check`.
 * The form of the chain is told in audit/chain.h and, for auditors, in docs/guides/audit-log.md. */
#ifndef MR_CONTROL_AUDIT_H
#define MR_CONTROL_AUDIT_H

#include "base/buf.h"
#include "control/control.h"
#include "ledger/record.h"

/* Who acts. Set for a job by its maker (control_job.actor); the command line and the program itself
 * act as CONTROL_ACTOR_SYSTEM. Texts live as long as the job. */
enum control_actor_kind {
    CONTROL_ACTOR_SYSTEM = 0,
    CONTROL_ACTOR_CLIENT,
    CONTROL_ACTOR_USER,
    CONTROL_ACTOR_NOBODY, /* not signed in: a failed sign-in, a wrong token */
};
struct control_actor {
    enum control_actor_kind kind;
    uint32_t account; /* home account's number; 0: none */
    mr_str id;        /* "apiclient_…", "user_…"; absent: none */
    mr_str address;   /* of the client; absent: none */
    mr_str request_id;
};

#define AUDIT_DETAIL_MAX 4096 /* bytes of a row's detail */
#define AUDIT_VALUE_MAX  256  /* of one value told in it; longer ones are told by their length */

struct audit_entry {
    uint32_t account;   /* whose log shows it; 0: the root account's */
    const char *action; /* "destination.create", a literal */
    mr_str object;      /* its id; absent: none */
    mr_str detail;      /* a JSON object without any secret, at most AUDIT_DETAIL_MAX; absent: {} */
};

/* Detail of a row whose call's answer showed a secret, for the only time. */
#define AUDIT_SECRET_SHOWN "{\"secret_shown\":true}"

/* Adds a row to the open change, with the present actor. Errors of the store; MR_E_LIMIT. */
mr_err audit_add(struct control *control, const struct audit_entry *entry);

/* A row for a resource that was made, changed or deleted, told by the difference of the documents
 * that the API shows of it: {"changed":{"name":{"from":…,"to":…}}}. Fill before (not for a new
 * resource) and after (not for a deleted one) with what the API shows, which holds no secret:
 *
 *   struct audit_change change;
 *   audit_change_begin(&change);
 *   mr_err err = rule_write_json(&before, &change.before);
 *   …
 *   return audit_change_end(control, &change, err, account, "rule.change", id);
 *
 * Members named "secret", dates and versions are left out, objects are compared member by member,
 * of an address the query is left out. Where the documents differ in nothing there is no row: who
 * changed a value that is never shown gives a note. */
struct audit_change {
    mr_buf before;
    mr_buf after;
    const char *note; /* further members, a literal: "\"secret_shown\":true"; NULL: none */
};
void audit_change_begin(struct audit_change *change);
/* Adds the row where err is ok, and gives the buffers back in any case. */
mr_err audit_change_end(struct control *control, struct audit_change *change, mr_err err,
                        uint32_t account, const char *action, mr_str object);

/* ---- the head in the journal ---- */

struct journal_unit;

/* Where heads go: hands a unit of one record to the journal's writer, which answers it into the
 * control thread's mailbox. */
struct audit_journal {
    void (*post)(void *ctx, struct journal_unit *unit);
    void *ctx;
};
/* Before control_start: from now on the newest head is journaled after commits that added rows, at
 * most once a second, and before the thread ends. known: the newest head of the journal. Where the
 * log does not hold it (it was cut off, or an older copy put in its place), that is logged, and
 * becomes a row of the log itself: "audit.broken". Errors of the store. */
mr_err audit_journal_to(struct control *control, const struct audit_journal *journal,
                        const struct record_audit *known);

#endif
