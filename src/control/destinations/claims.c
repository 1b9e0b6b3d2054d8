/* External ids belong to one account each.
 *
 * Millrace assumes the roles of many customers with one identity of its own. What keeps a customer
 * from entering the ARN of another one's role is the external id that the role asks for; so an id
 * that an account has used once is never taken from another one, also after its destination was
 * deleted or changed: the role may trust it still. Accounts below or above one another are others
 * too. */
#include "control/destinations/parts.h"

static mr_err find_owner(struct control *control, mr_str external_id, uint32_t *ret_account) {
    struct query query =
        query_begin(&control->store, "SELECT account FROM external_ids WHERE external_id = ?1");
    query_text(&query, external_id);
    *ret_account = 0;
    while (query_row(&query)) {
        *ret_account = (uint32_t)query_col_i64(&query, 0);
    }
    return query_end(&query);
}

mr_err destination_claim(struct control *control, uint32_t account,
                         const struct destination_draft *draft, struct refusal *ret_refusal) {
    uint32_t owner = 0;
    if (draft->settings.kind != MODEL_KIND_KINESIS) {
        return MR_OK;
    }
    mr_str external_id = draft->settings.kinesis.external_id;
    MR_TRY(find_owner(control, external_id, &owner));
    if (owner == account) {
        return MR_OK;
    }
    if (owner != 0) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "settings.external_id belongs to another account. Leave it out, and a random "
                      "one is made.");
    }
    struct query query = query_begin(
        &control->store, "INSERT INTO external_ids(external_id, account) VALUES(?1, ?2)");
    query_text(&query, external_id);
    query_i64(&query, account);
    return query_run(&query);
}
