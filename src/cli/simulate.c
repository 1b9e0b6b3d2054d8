/* `millrace simulate`: the events of a simulated fleet, published at a rate or as fast as they are
 * accepted, or printed line by line.
 *
 * With a rate, what is due is sent every TICK_MS in one call, so that a slow call makes the next
 * batch larger and the rate is kept as long as the server keeps up. Simulated time has nothing to
 * do with the rate. `--stamp` adds to each event when it was really sent, as the extension
 * attribute `published`, from which `millrace receive` tells the time to arrival; ids differ from
 * run to run then, since the same id with other content would be a conflict. */
#include "cli/cli.h"
#include "cli/fleet.h"
#include "cli/publisher.h"

#include "base/num.h"
#include "os/clock.h"

#include <stdio.h>

#define TICK_MS         20
#define RATE_MAX        10000000U
#define RATE_DEFAULT    10U
#define DEVICES_DEFAULT 10U
#define EVENT_MAX       ((size_t)1 << 20)
#define DEFAULT_PREFIX  "com.kore.iot"

enum simulate_option {
    SIMULATE_DEVICES = 0,
    SIMULATE_RATE,
    SIMULATE_EVENTS,
    SIMULATE_SEED,
    SIMULATE_PREFIX,
    SIMULATE_PRINT,
    SIMULATE_STAMP,
    SIMULATE_OPTIONS,
};

struct simulation {
    uint64_t devices, rate, events, seed; /* events 0: until stopped */
    mr_str prefix;
    bool prints, stamps;
    struct fleet *fleet;
    struct publisher publisher;
    mr_buf event;
    uint64_t made;
    uint64_t by_kind[FLEET_KINDS];
    mr_mono started;
};

static bool take_number(const struct cli_option *option, uint64_t min, uint64_t max,
                        uint64_t *number) {
    if (option->value == NULL) {
        return true;
    }
    if (mr_is_err(mr_u64_parse(mr_str_c(option->value), min, max, number))) {
        cli_usage_error("simulate", "--%s takes a whole number from %llu to %llu", option->name,
                        (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    return true;
}

static bool is_prefix(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-')) {
            return false;
        }
    }
    return text.len > 0 && text.len <= 128;
}

static bool take_options(int argc, char **argv, struct simulation *simulation) {
    struct cli_option options[SIMULATE_OPTIONS] = {
        [SIMULATE_DEVICES] = {.name = "devices"},  [SIMULATE_RATE] = {.name = "rate"},
        [SIMULATE_EVENTS] = {.name = "events"},    [SIMULATE_SEED] = {.name = "seed"},
        [SIMULATE_PREFIX] = {.name = "prefix"},    [SIMULATE_PRINT] = {.name = "print", true},
        [SIMULATE_STAMP] = {.name = "stamp", true}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, SIMULATE_OPTIONS, args, 0, &n, "simulate")) {
        return false;
    }
    os_random(&simulation->seed, sizeof simulation->seed);
    simulation->seed >>= 32; /* short enough to be typed again */
    simulation->devices = DEVICES_DEFAULT;
    simulation->prefix = options[SIMULATE_PREFIX].value != NULL
                             ? mr_str_c(options[SIMULATE_PREFIX].value)
                             : MR_STR(DEFAULT_PREFIX);
    simulation->prints = options[SIMULATE_PRINT].is_given;
    simulation->stamps = options[SIMULATE_STAMP].is_given;
    simulation->rate = options[SIMULATE_EVENTS].is_given || simulation->prints ? 0 : RATE_DEFAULT;
    if (!is_prefix(simulation->prefix)) {
        cli_usage_error("simulate", "--prefix takes letters a-z, digits, points and hyphens");
        return false;
    }
    return take_number(&options[SIMULATE_DEVICES], 1, FLEET_DEVICES_MAX, &simulation->devices) &&
           take_number(&options[SIMULATE_RATE], 0, RATE_MAX, &simulation->rate) &&
           take_number(&options[SIMULATE_EVENTS], 1, INT64_MAX, &simulation->events) &&
           take_number(&options[SIMULATE_SEED], 0, UINT64_MAX, &simulation->seed);
}

static int no_memory(void) {
    cli_problem("could not simulate: out of memory");
    return CLI_NO;
}

/* Makes one event and prints or adds it. */
static int make_one(struct simulation *simulation, mr_str published) {
    struct fleet_event made;
    mr_buf_reset(&simulation->event);
    if (mr_is_err(fleet_next(simulation->fleet, published, &simulation->event, &made))) {
        return no_memory();
    }
    simulation->made++;
    simulation->by_kind[made.kind]++;
    if (!simulation->prints) {
        return publisher_add(&simulation->publisher, mr_buf_view(&simulation->event))
                   ? CLI_OK
                   : simulation->publisher.code;
    }
    cli_print(mr_buf_view(&simulation->event));
    cli_print(MR_STR("\n"));
    return ferror(stdout) ? CLI_NO : CLI_OK;
}

/* Makes n events and sends them off. */
static int make(struct simulation *simulation, uint64_t n) {
    char stamp[MR_TIME_TEXT_SIZE];
    mr_str published = MR_STR_NONE;
    if (simulation->stamps) {
        published = mr_str_of(stamp, mr_time_format_ms(os_wall_now(), stamp));
    }
    int code = CLI_OK;
    for (uint64_t i = 0; i < n && code == CLI_OK; i++) {
        code = make_one(simulation, published);
    }
    if (code != CLI_OK) {
        return code;
    }
    if (simulation->prints) {
        return simulation->rate > 0 && fflush(stdout) != 0 ? CLI_NO : CLI_OK;
    }
    if (!publisher_flush(&simulation->publisher)) {
        return simulation->publisher.code;
    }
    publisher_progress(&simulation->publisher, simulation->events);
    return CLI_OK;
}

/* How many events are due now; waits until there is one. */
static uint64_t wait_for_due(const struct simulation *simulation) {
    if (simulation->rate == 0) {
        return PUBLISHER_EVENTS_MAX;
    }
    for (;;) {
        if (simulation->made > 0) {
            os_pause_ms(TICK_MS);
        }
        int64_t ms = mr_mono_diff_ms(os_mono_now(), simulation->started);
        uint64_t due = (uint64_t)ms / 1000 * simulation->rate +
                       (uint64_t)ms % 1000 * simulation->rate / 1000 + 1;
        if (due > simulation->made) {
            return due - simulation->made < PUBLISHER_EVENTS_MAX ? due - simulation->made
                                                                 : PUBLISHER_EVENTS_MAX;
        }
    }
}

static int run(struct simulation *simulation) {
    simulation->started = os_mono_now();
    int code = CLI_OK;
    while (code == CLI_OK && (simulation->events == 0 || simulation->made < simulation->events)) {
        uint64_t n = wait_for_due(simulation);
        if (simulation->events > 0 && n > simulation->events - simulation->made) {
            n = simulation->events - simulation->made;
        }
        code = make(simulation, n);
    }
    return code;
}

static void summarise(const struct simulation *simulation) {
    const struct publisher *publisher = &simulation->publisher;
    int64_t ms = mr_mono_diff_ms(os_mono_now(), simulation->started);
    printf("%llu events of %llu devices in %lld.%03lld s: accepted %llu, duplicates %llu, seed "
           "%llu\n",
           (unsigned long long)simulation->made, (unsigned long long)simulation->devices,
           (long long)(ms / 1000), (long long)(ms % 1000), (unsigned long long)publisher->accepted,
           (unsigned long long)publisher->duplicates, (unsigned long long)simulation->seed);
    for (size_t i = 0; i < FLEET_KINDS; i++) {
        printf("  %-22s %llu\n", fleet_kind_name((enum fleet_kind)i),
               (unsigned long long)simulation->by_kind[i]);
    }
}

int cli_simulate(int argc, char **argv) {
    struct simulation simulation = {0};
    if (!take_options(argc, argv, &simulation)) {
        return CLI_USAGE;
    }
    const struct fleet_options options = {
        .devices = (uint32_t)simulation.devices,
        .seed = simulation.seed,
        .id_salt = simulation.stamps ? (uint64_t)mr_wall_ms(os_wall_now()) : 0,
        .type_prefix = simulation.prefix};
    if (mr_is_err(fleet_new(&options, &simulation.fleet))) {
        return no_memory();
    }
    mr_buf_init(&simulation.event, EVENT_MAX);
    int code = CLI_USAGE;
    if (simulation.prints || publisher_init(&simulation.publisher, false)) {
        code = run(&simulation);
        if (!simulation.prints) {
            summarise(&simulation);
        }
    }
    publisher_done(&simulation.publisher);
    mr_buf_done(&simulation.event);
    fleet_free(simulation.fleet);
    return fflush(stdout) == 0 ? code : CLI_NO;
}
