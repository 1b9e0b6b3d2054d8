/* What others tell of destinations: dispatch their status and last test, the keeper that no segment
 * names a deleted one any more. */
#include "control/destinations/parts.h"

#include "os/clock.h"

#define LAST_TEST_MAX 16384

/* That a receiver fails and recovers is no change of anyone's; that it was given up is. */
static mr_err tell_disabled(struct control *control, uint32_t number, enum model_disabled_by by) {
    char id[MODEL_ID_SIZE] = "";
    uint32_t account = 0;
    struct query query =
        query_begin(&control->store, "SELECT id, account FROM destinations WHERE number = ?1");
    query_i64(&query, number);
    while (query_row(&query)) {
        MR_ASSERT(mr_str_to_c(query_col_bytes(&query, 0), id, sizeof id));
        account = (uint32_t)query_col_i64(&query, 1);
    }
    MR_TRY(query_end(&query));
    return audit_add(control, &(struct audit_entry){
                                  .account = account,
                                  .action = "destination.disable",
                                  .object = mr_str_c(id),
                                  .detail = by == MODEL_DISABLED_BY_GONE
                                                ? MR_STR("{\"why\":\"the receiver answered 410\"}")
                                                : MR_STR_NONE,
                              });
}

static mr_err status_inner(struct control *control, uint32_t number,
                           enum model_destination_status status, enum model_disabled_by by) {
    struct query query =
        query_begin(&control->store,
                    "UPDATE destinations SET status = ?1, disabled_by = ?2,"
                    " disabled_ms = CASE WHEN ?1 = 2 THEN ?3 ELSE 0 END, version = version + 1,"
                    " updated_ms = ?3 WHERE number = ?4 AND deleted_ms IS NULL AND status <> 2"
                    " AND status <> ?1");
    query_i64(&query, (int64_t)status);
    query_i64(&query, (int64_t)(status == MODEL_DISABLED ? by : MODEL_DISABLED_BY_NOBODY));
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, number);
    MR_TRY(query_run(&query));
    if (store_changes(&control->store) == 0) {
        return MR_OK;
    }
    if (status == MODEL_DISABLED) {
        MR_TRY(tell_disabled(control, number, by));
    }
    return change_mark(control, MODEL_DESTINATION, number);
}

mr_err destinations_set_status(struct control *control, uint32_t number,
                               enum model_destination_status status, enum model_disabled_by by,
                               struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, status_inner(control, number, status, by), ret_refusal);
}

mr_err destinations_set_last_test(struct control *control, uint32_t number, mr_str json,
                                  struct refusal *ret_refusal) {
    if (json.len > LAST_TEST_MAX) {
        return refuse_error(control, MR_ERR(MR_E_FAILED), ret_refusal);
    }
    /* Workers do not read it: no new object. */
    MR_TRY(change_begin(control, ret_refusal));
    struct query query =
        query_begin(&control->store, "UPDATE destinations SET last_test = ?1 WHERE number = ?2"
                                     " AND deleted_ms IS NULL");
    query_text(&query, json);
    query_i64(&query, number);
    return change_end(control, query_run(&query), ret_refusal);
}

mr_err destinations_tombstones(struct control *control, uint32_t *numbers, size_t numbers_max,
                               size_t *ret_n, struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "SELECT number FROM destinations WHERE deleted_ms IS NOT NULL"
                                     " ORDER BY number LIMIT ?1");
    query_i64(&query, (int64_t)numbers_max);
    size_t n = 0;
    while (n < numbers_max && query_row(&query)) {
        numbers[n++] = (uint32_t)query_col_i64(&query, 0);
    }
    *ret_n = n;
    return refuse_error(control, query_end(&query), ret_refusal);
}

mr_err destinations_forget(struct control *control, uint32_t number, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    struct query query = query_begin(
        &control->store, "DELETE FROM destinations WHERE number = ?1 AND deleted_ms IS NOT NULL");
    query_i64(&query, number);
    return change_end(control, query_run(&query), ret_refusal);
}

mr_err destinations_id_of(struct control *control, uint32_t number, mr_arena *arena, mr_str *ret_id,
                          struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "SELECT id FROM destinations WHERE number = ?1");
    query_i64(&query, number);
    *ret_id = MR_STR_NONE;
    while (query_row(&query)) {
        *ret_id = query_col_text(&query, 0, arena);
    }
    return refuse_error(control, query_end(&query), ret_refusal);
}
