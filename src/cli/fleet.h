/* A simulated fleet of Super SIMs as a source of connection events, in the order of simulated time:
 * attachments, data sessions with an update every six minutes, failures. The same options give the
 * same events, byte for byte. One thread. */
#ifndef MR_CLI_FLEET_H
#define MR_CLI_FLEET_H

#include "base/buf.h"
#include "base/time.h"

struct fleet;

/* The seven types, in the order of the catalogue. */
enum fleet_kind {
    FLEET_ATTACHMENT_ACCEPTED = 0,
    FLEET_ATTACHMENT_REJECTED,
    FLEET_ATTACHMENT_FAILED,
    FLEET_SESSION_STARTED,
    FLEET_SESSION_UPDATED,
    FLEET_SESSION_ENDED,
    FLEET_SESSION_FAILED,
    FLEET_KINDS,
};

#define FLEET_DEVICES_MAX 1000000U
/* Simulated seconds between the updates of a data session. */
#define FLEET_UPDATE_S 360
/* 2025-11-26T09:00:00Z: where simulated time begins. */
#define FLEET_START_S INT64_C(1764147600)

struct fleet_options {
    uint32_t devices; /* 1 … FLEET_DEVICES_MAX */
    uint64_t seed;
    uint64_t id_salt;   /* changes the ids and nothing else */
    mr_str type_prefix; /* "com.kore.iot"; must outlive the fleet; of [a-z0-9.-] */
};

/* MR_E_NOMEM. */
mr_err fleet_new(const struct fleet_options *options, struct fleet **ret_fleet);
/* NULL is fine. */
void fleet_free(struct fleet *fleet);

/* What was written. */
struct fleet_event {
    enum fleet_kind kind;
    uint32_t device;
    int64_t time_s; /* simulated, since 1970 */
};
/* Appends the next event's envelope, minified, to out; there is always a next one. published: when
 * not absent, the value of an extension attribute `published`. MR_E_NOMEM, MR_E_LIMIT: the event is
 * lost to this fleet. ret_event may be NULL. */
mr_err fleet_next(struct fleet *fleet, mr_str published, mr_buf *out,
                  struct fleet_event *ret_event);
/* The end of the type: "attachment.accepted". */
const char *fleet_kind_name(enum fleet_kind kind);

#endif
