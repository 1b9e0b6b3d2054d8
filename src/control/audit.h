/* The audit log: who did what to which object, when, from where. Rows are only added, in the
 * transaction of the change they tell of. */
#ifndef MR_CONTROL_AUDIT_H
#define MR_CONTROL_AUDIT_H

#include "control/control.h"

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
    mr_str address;   /* of the peer; absent: none */
    mr_str request_id;
};

struct audit_entry {
    uint32_t account;   /* whose log shows it */
    const char *action; /* "destination.create", a literal */
    mr_str object;      /* its id; absent: none */
    mr_str detail;      /* a JSON object without any secret; absent: {} */
};

/* Adds a row to the open change, with the present actor. */
mr_err audit_add(struct control *control, const struct audit_entry *entry);

#endif
