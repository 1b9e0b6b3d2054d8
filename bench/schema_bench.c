/* What validating the `data` of a connection event of about 1 KiB against its schema costs, on the
 * tape already made. Prints nanoseconds, the best of several rounds, which is the one that was
 * disturbed least. */
#include "os/clock.h"
#include "schema/schema.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 25
#define TURNS  20000

static const char data_text[] =
    "{\"event_sid\":\"EZ00000000000000000000000000000003\",\"event_type\":"
    "\"com.kore.iot.supersim.connection.data-session.updated\",\"account_sid\":"
    "\"AC0c1d2e3f405162738495a6b7c8d9eaf0\",\"sim_sid\":\"HS5f6071829304a5b6c7d8e9fa0b1c2d3e\","
    "\"sim_iccid\":\"89883070000044236204\",\"timestamp\":\"2025-11-26T09:11:44Z\",\"fleet_sid\":"
    "\"HF11223344556677889900aabbccddeeff\",\"sim_unique_name\":\"cold-chain-truck-17\","
    "\"network\":{\"mcc\":\"310\",\"mnc\":\"170\",\"sid\":\"HWb90542dc0d8b4276a694d0fe5c794168\","
    "\"friendly_name\":\"AT&T\",\"iso_country\":\"US\"},\"location\":{\"lac\":\"602\","
    "\"cell_id\":\"40026625\",\"lat\":26.2721,\"lon\":-81.809},\"rat_type\":\"4G LTE\",\"imsi\":"
    "\"732123206640719\",\"imei\":\"353785726123176\",\"apn\":\"super\",\"ip_address\":"
    "\"100.65.109.189\",\"data_session_sid\":\"PI9a8b7c6d5e4f30211203f4e5d6c7b8a9\","
    "\"data_session_start_time\":\"2025-11-26T08:11:44Z\",\"data_upload\":10240,"
    "\"data_download\":40960,\"data_total\":51200}";

int main(int argc, char **argv) {
    struct schema *schema;
    struct schema_run *run;
    struct schema_fault fault;
    json_tape tape;
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen(argc > 1 ? argv[1] : MR_SCHEMA_FILE, "r");
    MR_ASSERT(file != NULL);
    ssize_t n = getdelim(&text, &size, '\0', file);
    fclose(file);
    MR_ASSERT(n > 0);
    MR_ASSERT(mr_is_ok(schema_compile((mr_str){text, (size_t)n}, NULL, &schema, NULL, &fault)));
    MR_ASSERT(mr_is_ok(schema_run_new(&run)));
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    MR_ASSERT(mr_is_ok(json_tape_read(&tape, mr_str_c(data_text), NULL)));
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        mr_mono from = os_mono_now();
        for (int i = 0; i < TURNS; i++) {
            bool good = schema_validate(schema, json_root(&tape), run, NULL, NULL);
            MR_ASSERT(good);
        }
        int64_t ns = mr_mono_diff_ns(os_mono_now(), from);
        best = ns < best ? ns : best;
    }
    printf("%-46s %6lld ns\n", "validate a connection event's data on its tape",
           (long long)(best / TURNS));
    printf("%-46s %6zu bytes\n", "the compiled schema", schema_bytes(schema));
    json_tape_done(&tape);
    schema_run_free(run);
    schema_free(schema);
    free(text);
    return 0;
}
