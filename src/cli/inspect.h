/* What a receiver of webhooks learns from each request: is the signature right, is the token a
 * UUID, which events are in it, which came before, how long they took. Counts all of it. Used by
 * one thread. KORE, "Validate webhook signatures". */
#ifndef MR_CLI_INSPECT_H
#define MR_CLI_INSPECT_H

#include "base/buf.h"
#include "base/fields.h"
#include "base/time.h"

struct inspector;

struct inspect_options {
    mr_str secret; /* absent: signatures are not checked. Must outlive the inspector, as all here */
    mr_str url;    /* as configured; absent: scheme, Host field and path of the request */
    bool is_tls;   /* of the scheme */
    size_t ids_max; /* events remembered; 0: INSPECT_IDS_MAX */
};
/* In a table of 128 MiB; beyond it nothing more is recognised as a duplicate, which the summary
 * says.
 */
#define INSPECT_IDS_MAX ((size_t)12 << 20)

/* MR_E_NOMEM, MR_E_FAILED where hashing is not to be had. */
mr_err inspector_new(const struct inspect_options *options, struct inspector **ret_inspector);
/* NULL is fine. */
void inspector_free(struct inspector *inspector);

struct inspect_request {
    mr_str method, host, path; /* path: without query */
    mr_str query;              /* absent: none */
    mr_fields fields;
    mr_str body;
    mr_wall now;
    int status;               /* of the answer; 0: none is given, for a reason */
    const char *misbehaviour; /* that reason, or NULL */
};
/* Counts the request and appends one line of JSON with its line end to out:
 * {time, method, path, query where there is one, token, token_ok, signature:
 * right|wrong|empty|unchecked, events: [ids], n, duplicates (so far), status}. MR_E_NOMEM,
 * MR_E_LIMIT: counted, but the line is not written. */
mr_err inspector_take(struct inspector *inspector, const struct inspect_request *request,
                      mr_buf *out);

struct inspect_summary {
    uint64_t requests, events, unique, duplicates;
    uint64_t bad_signatures; /* wrong, or empty though there is a secret */
    uint64_t bad_tokens;
    bool is_full;   /* ids_max was reached: further duplicates are unknown */
    uint64_t timed; /* events whose way was timed: 0: p50, p99 mean nothing */
    uint64_t p50_ms, p99_ms;
};
void inspector_summary(const struct inspector *inspector, struct inspect_summary *ret_summary);
/* As one line of JSON: {requests, events, unique, duplicates, bad_signatures, bad_tokens, p50_ms,
 * p99_ms (null: nothing was timed)}. */
mr_err inspect_summary_write(const struct inspect_summary *summary, mr_buf *out);

#endif
