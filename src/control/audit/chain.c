/* See control/audit/chain.h. */
#include "control/audit/chain.h"

#include "base/num.h"

#include <stdio.h>

#define FIELDS    11
#define LEAD_SIZE 24 /* "12345:" */
#define PARTS     (1 + FIELDS * 3)

mr_err audit_chain(struct crypto_hasher *hasher, const struct audit_row *row,
                   uint8_t hash[static CRYPTO_SHA256_BYTES]) {
    char previous[AUDIT_HASH_HEX + 1];
    char numbers[3][24];
    const int64_t of_row[3] = {row->number, row->at_ms, row->account};
    mr_hex_encode(hash, CRYPTO_SHA256_BYTES, previous);
    mr_str fields[FIELDS] = {mr_str_of(previous, AUDIT_HASH_HEX)};
    for (size_t i = 0; i < 3; i++) {
        int n = snprintf(numbers[i], sizeof numbers[i], "%lld", (long long)of_row[i]);
        fields[1 + i] = mr_str_of(numbers[i], (size_t)n);
    }
    fields[4] = row->actor_kind;
    fields[5] = row->actor;
    fields[6] = row->action;
    fields[7] = row->object;
    fields[8] = row->detail;
    fields[9] = row->address;
    fields[10] = row->request_id;
    char leads[FIELDS][LEAD_SIZE];
    mr_str parts[PARTS] = {MR_STR("millrace-audit-1,")};
    for (size_t i = 0; i < FIELDS; i++) {
        int n = snprintf(leads[i], LEAD_SIZE, "%zu:", fields[i].len);
        parts[1 + i * 3] = mr_str_of(leads[i], (size_t)n);
        parts[2 + i * 3] = fields[i];
        parts[3 + i * 3] = MR_STR(",");
    }
    return crypto_sha256(hasher, parts, PARTS, hash);
}
