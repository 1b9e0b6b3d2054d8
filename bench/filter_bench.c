/* How long a filter takes on a connection event whose data is on a tape already.
 *
 *   filter_bench [ROUNDS]     prints nanoseconds per event for each pattern; exit 1 above NS_MAX */
#include "base/num.h"
#include "os/clock.h"
#include "route/filter.h"

#include <stdio.h>

#define NS_MAX 2000

static const char data_text[] =
    "{\"event_id\":\"01HJ8Y2QK5\",\"account_id\":\"AC1\",\"sim_sid\":\"HS0123456789\","
    "\"sim_iccid\":\"89883070000000000001\",\"fleet_sid\":\"HF01\",\"imsi\":\"310170800000001\","
    "\"network\":{\"mcc\":\"310\",\"mnc\":\"410\",\"name\":\"AT&T\",\"country\":\"US\"},"
    "\"ip_address\":\"10.64.3.77\",\"data_session_id\":\"DS77\",\"rat_type\":\"4G LTE\","
    "\"data_upload\":182733,\"data_download\":99182.5,\"data_total\":281915.5,"
    "\"locations\":[{\"cell\":\"a\",\"lac\":11},{\"cell\":\"b\",\"lac\":12}]}";

static const struct {
    const char *name;
    const char *pattern;
    bool matches;
} rows[] = {
    {"one value", "{\"data\":{\"sim_sid\":[\"HS0123456789\"]}}", true},
    {"one value, other", "{\"data\":{\"sim_sid\":[\"HS9999999999\"]}}", false},
    {"three members",
     "{\"data\":{\"network\":{\"country\":[\"US\",\"CA\"]},\"data_total\":[{\"numeric\":[\">\","
     "1000]}"
     "],\"ip_address\":[{\"cidr\":\"10.64.0.0/16\"}]}}",
     true},
    {"wildcard", "{\"data\":{\"sim_iccid\":[{\"wildcard\":\"8988*0*1\"}]}}", true},
    {"objects of an array", "{\"data\":{\"locations\":{\"cell\":[\"b\"],\"lac\":[12]}}}", true},
    {"$or",
     "{\"data\":{\"$or\":[{\"rat_type\":[\"5G\"]},{\"rat_type\":[{\"prefix\":\"4G\"}],\"imsi\":[{"
     "\"exists\":true}]}]}}",
     true},
    {"attributes", "{\"type\":[\"com.kore.ended\"],\"subject\":[{\"anything-but\":\"x\"}]}", true},
};

static const struct filter_attribute attributes[] = {
    {{"id", 2}, {"EZ0001", 6}, FILTER_STRING},
    {{"source", 6}, {"/v1/sims", 8}, FILTER_STRING},
    {{"type", 4}, {"com.kore.ended", 14}, FILTER_STRING},
    {{"subject", 7}, {"HS0123456789", 12}, FILTER_STRING},
};

/* Nanoseconds for one; negative where the verdict is wrong. */
static int64_t measure(size_t row, const struct filter_event *event, struct filter_run *run,
                       uint64_t rounds, size_t *ret_bytes) {
    struct filter *filter;
    struct filter_fault fault;
    if (mr_is_err(filter_compile_pattern(mr_str_c(rows[row].pattern), &filter, &fault))) {
        fprintf(stderr, "filter_bench: refused at %s: %s\n", fault.pointer, fault.expected);
        return -1;
    }
    uint64_t n_matches = 0;
    int64_t start = os_mono_now().ns;
    for (uint64_t i = 0; i < rounds; i++) {
        n_matches += filter_matches(filter, event, run, NULL);
    }
    int64_t ns = os_mono_now().ns - start;
    *ret_bytes = filter_bytes(filter);
    filter_free(filter);
    return n_matches == (rows[row].matches ? rounds : 0) ? ns / (int64_t)rounds : -1;
}

int main(int argc, char **argv) {
    uint64_t rounds = 1000000;
    if (argc > 1 && mr_is_err(mr_u64_parse(mr_str_c(argv[1]), 1, UINT32_MAX, &rounds))) {
        fprintf(stderr, "filter_bench: ROUNDS is a number from 1\n");
        return 2;
    }
    struct filter_run *run;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    if (mr_is_err(filter_run_new(&run)) ||
        mr_is_err(json_tape_read(&tape, mr_str_c(data_text), NULL))) {
        fprintf(stderr, "filter_bench: could not start\n");
        return 1;
    }
    struct filter_event event = {.attributes = attributes,
                                 .n_attributes = sizeof attributes / sizeof attributes[0],
                                 .data = json_root(&tape)};
    int status = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t bytes = 0;
        int64_t ns = measure(i, &event, run, rounds, &bytes);
        printf("%-20s %5lld ns, %4zu bytes\n", rows[i].name, (long long)ns, bytes);
        status |= ns < 0 || ns > NS_MAX;
    }
    filter_run_free(run);
    json_tape_done(&tape);
    return status;
}
