/* The chain of the audit log: how a row's hash is made. Private to control/.
 *
 *   hash(n) = SHA-256( "millrace-audit-1," then these eleven fields, each as LENGTH ":" BYTES "," )
 *
 *   hash(n-1) as 64 hex digits (of the first row: 64 zeros), number, at_ms, account (its number),
 *   actor_kind, actor, action, object, detail, address, request_id
 *
 * Numbers are decimal, lengths count bytes, texts are UTF-8, what is absent is empty; detail is the
 * JSON text as it is stored. The lengths make it unambiguous: no two rows give the same bytes. */
#ifndef MR_CONTROL_AUDIT_CHAIN_H
#define MR_CONTROL_AUDIT_CHAIN_H

#include "control/audit.h"
#include "crypto/hash.h"

#define AUDIT_HASH_HEX (CRYPTO_SHA256_BYTES * 2)

/* A row as it is stored; texts live where they came from. */
struct audit_row {
    int64_t number;
    int64_t at_ms;
    int64_t account;
    mr_str actor_kind, actor, action, object, detail, address, request_id;
};

/* hash: of the row before, in; of this one, out. MR_E_FAILED. */
mr_err audit_chain(struct crypto_hasher *hasher, const struct audit_row *row,
                   uint8_t hash[static CRYPTO_SHA256_BYTES]);

/* The row that tells that others left at the beginning, and its whole detail: the number and hash
 * of the last of them (retention.c). */
#define AUDIT_TRIM_ACTION "audit.trim"
#define AUDIT_TRIM_SIZE   160
size_t audit_trim_detail(const struct record_audit *base, char out[static AUDIT_TRIM_SIZE]);

#endif
