/* The simulated fleet. See fleet.h.
 *
 * Every device is a small state machine with its own stream of random numbers; the one whose next
 * step comes first (a binary heap over time and number) makes the next event:
 *
 *            ┌─ rejected, failed: again in a while ─┐
 *   OFFLINE ─┴─ accepted ─▶ ATTACHED ─┬─ failed: again in a while
 *      ▲                        ▲     └─ started ─▶ IN SESSION ─ updated, every 360 s ─┐
 *      │                        └─────────────────── ended ◀───────────────────────────┘
 *      └──────────────── now and then after a session
 *
 * Devices come up spread over the first simulated hour; the first one comes at once and meets
 * every kind of event in its first seven steps, so that a short run shows all of them. What a
 * device is (its ids, name, network) follows from its number alone and is not stored.
 *
 * Sums hold by construction: an interval's total is its upload plus its download, a session's
 * counters are the sums over its intervals, and an interval begins where the last one ended. Some
 * names are awkward on purpose: receivers must cope with quotes, controls and every plane of
 * Unicode. */
#include "cli/fleet.h"

#include "base/mem.h"
#include "base/num.h"
#include "json/write.h"

#define SPREAD_S   3600
#define SCRIPT_LEN 7

enum device_state {
    DEVICE_OFFLINE = 0, /* next: an attachment */
    DEVICE_ATTACHED,    /* next: the start of a session */
    DEVICE_IN_SESSION,  /* next: an update or the end */
};

struct device {
    uint64_t random;
    uint64_t session_upload, session_download;
    uint64_t session; /* what its id is made of */
    int64_t next_s;
    int64_t start_s, interval_s, end_s; /* of the session; start of the open interval */
    uint8_t state;
    uint8_t made; /* steps of the script done */
};

struct fleet {
    struct fleet_options options;
    uint64_t key;    /* of identities and courses */
    uint64_t id_key; /* of event ids */
    uint64_t serial; /* events made */
    struct device *devices;
    uint32_t *heap; /* device numbers, the earliest first */
};

struct network {
    const char *mcc, *mnc, *sid, *name, *country, *apn;
    int32_t lat, lon; /* ten-thousandths of a degree */
};

static const struct network networks[] = {
    {"310", "170", "HWb90542dc0d8b4276a694d0fe5c794168", "AT&T", "US", "super", 262721, -818090},
    {"310", "260", "HW2b1e47f7c5d64b2f8c7d1a3c0f6e9d85", "T-Mobile USA", "US", "super", 475673,
     -1223321},
    {"262", "01", "HW7f3a52c8e9104dd5b6a7c8d90e1f2a3b", "Telekom Deutschland", "DE", "super",
     525163, 133777},
    {"214", "07", "HW64c0d1e2f3a4b5c6d7e8f90a1b2c3d4e", "Telefónica España", "ES", "super", 404169,
     -37033},
    {"440", "10", "HW0a9b8c7d6e5f40312233445566778899", "NTT ドコモ", "JP", "super.kore", 356762,
     1396503},
};
#define N_NETWORKS (sizeof networks / sizeof networks[0])

/* A device's number is put behind these. */
static const char *const plain_names[] = {"cold-chain-truck", "meter", "pump-station", "kiosk",
                                          "tracker"};
#define N_PLAIN (sizeof plain_names / sizeof plain_names[0])
static const char *const awkward_names[] = {
    "Zähler-Köln-Süd \"A/7\" 東京",
    "back\\slash \\\" and 'quotes' \\u0041",
    "tab\there, line\nfeed, bell\a, escape\x1b[31m, nul-free\x01\x1f",
    "emoji 🚚❄️ 👩🏽‍🔧 and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "\xe2\x80\xa8line separator\xe2\x80\xa9paragraph\xc2\xa0no-break\177delete",
    "مقياس \xe2\x80\x8fRTL\xe2\x80\x8f שלום",
    "</script><b>&amp;%00%0a{{7*7}}${x}",
    "",
    "combining e\xcc\x81 n\xcc\x83, private \xee\x80\x80, last \xf4\x8f\xbf\xbd",
};
#define N_AWKWARD (sizeof awkward_names / sizeof awkward_names[0])

static const struct {
    const char *name;
    int error; /* 0: no error member */
    const char *message;
} kinds[FLEET_KINDS] = {
    [FLEET_ATTACHMENT_ACCEPTED] = {"attachment.accepted", 0, NULL},
    [FLEET_ATTACHMENT_REJECTED] = {"attachment.rejected", 83702,
                                   "Attachment rejected: network not allowed"},
    [FLEET_ATTACHMENT_FAILED] = {"attachment.failed", 83700,
                                 "Attachment failed due to internal error"},
    [FLEET_SESSION_STARTED] = {"data-session.started", 0, NULL},
    [FLEET_SESSION_UPDATED] = {"data-session.updated", 0, NULL},
    [FLEET_SESSION_ENDED] = {"data-session.ended", 0, NULL},
    [FLEET_SESSION_FAILED] = {"data-session.failed", 83701,
                              "Data session establishment failed due to internal error"},
};

const char *fleet_kind_name(enum fleet_kind kind) {
    return kinds[kind].name;
}

/* ---- random numbers ---- */

/* The finaliser of SplitMix64: a bijection. */
static uint64_t mix(uint64_t n) {
    n = (n ^ (n >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ (n >> 27)) * UINT64_C(0x94d049bb133111eb);
    return n ^ (n >> 31);
}

static uint64_t mix2(uint64_t a, uint64_t b) {
    return mix(mix(a + UINT64_C(0x9e3779b97f4a7c15)) ^ b);
}

/* In [low, high]. */
static int64_t pick(struct device *device, int64_t low, int64_t high) {
    device->random += UINT64_C(0x9e3779b97f4a7c15);
    return low + (int64_t)(mix(device->random) % (uint64_t)(high - low + 1));
}

static bool chance(struct device *device, int64_t percent) {
    return pick(device, 1, 100) <= percent;
}

/* ---- the heap ---- */

static bool is_before(const struct fleet *fleet, uint32_t a, uint32_t b) {
    int64_t at_a = fleet->devices[a].next_s;
    int64_t at_b = fleet->devices[b].next_s;
    return at_a != at_b ? at_a < at_b : a < b;
}

/* The entry at index i may be too late for its place. */
static void sift_down(struct fleet *fleet, size_t i) {
    size_t n = fleet->options.devices;
    uint32_t moving = fleet->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && is_before(fleet, fleet->heap[child + 1], fleet->heap[child])) {
            child++;
        }
        if (!is_before(fleet, fleet->heap[child], moving)) {
            break;
        }
        fleet->heap[i] = fleet->heap[child];
        i = child;
    }
    fleet->heap[i] = moving;
}

/* ---- making ---- */

mr_err fleet_new(const struct fleet_options *options, struct fleet **ret_fleet) {
    MR_ASSERT(options->devices > 0 && options->devices <= FLEET_DEVICES_MAX);
    struct fleet *fleet = MR_NEW(struct fleet);
    if (fleet == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    fleet->options = *options;
    fleet->key = mix2(options->seed, options->devices);
    fleet->id_key = mix2(fleet->key, mr_str_hash(options->type_prefix, options->id_salt));
    fleet->devices = mr_calloc(options->devices, sizeof *fleet->devices);
    fleet->heap = mr_calloc(options->devices, sizeof *fleet->heap);
    if (fleet->devices == NULL || fleet->heap == NULL) {
        fleet_free(fleet);
        return MR_ERR(MR_E_NOMEM);
    }
    for (uint32_t i = 0; i < options->devices; i++) {
        struct device *device = &fleet->devices[i];
        device->random = mix2(fleet->key, i);
        device->next_s = FLEET_START_S + (i == 0 ? 0 : pick(device, 1, SPREAD_S));
        fleet->heap[i] = i;
    }
    for (size_t i = options->devices / 2; i > 0; i--) {
        sift_down(fleet, i - 1);
    }
    *ret_fleet = fleet;
    return MR_OK;
}

void fleet_free(struct fleet *fleet) {
    if (fleet == NULL) {
        return;
    }
    mr_free(fleet->devices);
    mr_free(fleet->heap);
    mr_free(fleet);
}

/* ---- the course of a device ---- */

/* The kind of the next event. The first device follows a script at first: every kind once. */
static enum fleet_kind choose_kind(const struct fleet *fleet, uint32_t number, bool is_scripted) {
    static const enum fleet_kind script[SCRIPT_LEN] = {
        FLEET_ATTACHMENT_REJECTED, FLEET_ATTACHMENT_FAILED, FLEET_ATTACHMENT_ACCEPTED,
        FLEET_SESSION_FAILED,      FLEET_SESSION_STARTED,   FLEET_SESSION_UPDATED,
        FLEET_SESSION_ENDED};
    struct device *device = &fleet->devices[number];
    if (is_scripted) {
        return script[device->made];
    }
    switch ((enum device_state)device->state) {
    case DEVICE_OFFLINE:
        return chance(device, 88)   ? FLEET_ATTACHMENT_ACCEPTED
               : chance(device, 60) ? FLEET_ATTACHMENT_REJECTED
                                    : FLEET_ATTACHMENT_FAILED;
    case DEVICE_ATTACHED:
        return chance(device, 94) ? FLEET_SESSION_STARTED : FLEET_SESSION_FAILED;
    case DEVICE_IN_SESSION:
        break;
    }
    return device->next_s == device->end_s ? FLEET_SESSION_ENDED : FLEET_SESSION_UPDATED;
}

static void start_session(struct device *device, uint64_t serial, bool is_scripted) {
    int64_t length_s = is_scripted ? FLEET_UPDATE_S + 138 : pick(device, 25, 5400);
    length_s += length_s % FLEET_UPDATE_S == 0 ? 1 : 0;
    device->state = DEVICE_IN_SESSION;
    device->session = serial;
    device->session_upload = 0;
    device->session_download = 0;
    device->start_s = device->next_s;
    device->interval_s = device->next_s;
    device->end_s = device->next_s + length_s;
}

/* After the event at next_s was written: state and time of the next one. */
static void advance(struct device *device, enum fleet_kind kind) {
    int64_t now_s = device->next_s;
    switch (kind) {
    case FLEET_ATTACHMENT_ACCEPTED:
        device->state = DEVICE_ATTACHED;
        device->next_s += pick(device, 1, 8);
        break;
    case FLEET_ATTACHMENT_REJECTED:
    case FLEET_ATTACHMENT_FAILED:
        device->next_s += pick(device, 10, 60);
        break;
    case FLEET_SESSION_FAILED:
        device->next_s += pick(device, 5, 30);
        break;
    case FLEET_SESSION_STARTED:
    case FLEET_SESSION_UPDATED: {
        int64_t update_s = now_s + FLEET_UPDATE_S;
        device->interval_s = now_s;
        device->next_s = update_s < device->end_s ? update_s : device->end_s;
        break;
    }
    case FLEET_SESSION_ENDED:
        device->state = chance(device, 70) ? DEVICE_ATTACHED : DEVICE_OFFLINE;
        device->next_s +=
            device->state == DEVICE_ATTACHED ? pick(device, 5, 300) : pick(device, 600, 2400);
        break;
    case FLEET_KINDS:
        MR_ASSERT(false);
    }
}

/* ---- writing ---- */

/* A two-letter prefix and 32 hexadecimal digits. */
static void member_sid(json_out *out, const char *name, const char *prefix, uint64_t key,
                       uint64_t n) {
    char sid[34];
    uint64_t halves[2] = {mix(key ^ mix(n)), mix2(key, n)};
    memcpy(sid, prefix, 2);
    mr_hex_encode(halves, sizeof halves, sid + 2);
    json_out_member_str(out, name, mr_str_of(sid, sizeof sid));
}

static void member_time(json_out *out, const char *name, int64_t time_s) {
    char text[MR_TIME_TEXT_SIZE];
    size_t len = mr_time_format_s(mr_wall_of_ms(time_s * 1000), text);
    json_out_member_str(out, name, mr_str_of(text, len));
}

/* A prefix and n with that many digits. */
static void member_digits(json_out *out, const char *name, const char *prefix, int digits,
                          uint64_t n) {
    char text[32];
    size_t len = strlen(prefix);
    memcpy(text, prefix, len);
    for (int i = digits - 1; i >= 0; i--) {
        text[len + (size_t)i] = (char)('0' + n % 10);
        n /= 10;
    }
    json_out_member_str(out, name, mr_str_of(text, len + (size_t)digits));
}

/* Ten-thousandths as a decimal number in its shortest form: the last digit is never 0. */
static void member_degrees(json_out *out, const char *name, int32_t n) {
    char text[16];
    size_t at = sizeof text;
    uint32_t left = (uint32_t)(n < 0 ? -n : n);
    left += left % 10 == 0 ? 1 : 0;
    for (int i = 0; i < 4 || left > 0 || i == 4; i++) {
        if (i == 4) {
            text[--at] = '.';
        }
        text[--at] = (char)('0' + left % 10);
        left /= 10;
    }
    if (n < 0) {
        text[--at] = '-';
    }
    json_out_member_raw(out, name, mr_str_of(text + at, sizeof text - at));
}

static void write_name(json_out *out, uint32_t number, uint64_t identity) {
    char name[64];
    mr_buf plain;
    if (number % 3 == 2) {
        const char *awkward = awkward_names[number / 3 % N_AWKWARD];
        json_out_member_c(out, "sim_unique_name", awkward);
    } else if (identity % 16 == 7) {
        json_out_member_null(out, "sim_unique_name");
    } else {
        const char *stem = plain_names[identity % N_PLAIN];
        size_t len = strlen(stem);
        memcpy(name, stem, len);
        plain = (mr_buf){.ptr = name, .len = len, .cap = sizeof name, .max = sizeof name};
        mr_ignore(mr_buf_byte(&plain, '-'), "there is room");
        mr_ignore(mr_buf_u64(&plain, number + 1), "there is room");
        json_out_member_str(out, "sim_unique_name", mr_buf_view(&plain));
    }
}

static void write_network(json_out *out, const struct network *network, uint64_t identity,
                          bool has_location) {
    json_out_member_object(out, "network");
    json_out_member_c(out, "mcc", network->mcc);
    json_out_member_c(out, "mnc", network->mnc);
    json_out_member_c(out, "sid", network->sid);
    json_out_member_c(out, "friendly_name", network->name);
    json_out_member_c(out, "iso_country", network->country);
    json_out_end(out);
    if (!has_location) {
        json_out_member_null(out, "location");
        return;
    }
    json_out_member_object(out, "location");
    member_digits(out, "lac", "", 3, 100 + identity % 900);
    member_digits(out, "cell_id", "", 8, 10000000 + identity % 89999999);
    member_degrees(out, "lat", network->lat + (int32_t)(identity >> 8 & 0xfff) - 2048);
    member_degrees(out, "lon", network->lon + (int32_t)(identity >> 20 & 0xfff) - 2048);
    json_out_end(out);
}

/* What the open interval carried, closed at next_s. */
static void write_usage(json_out *out, struct device *device) {
    static const int64_t most[] = {512, 65536, 4194304, 268435456};
    bool is_blocked = chance(device, 7);
    int64_t max = is_blocked ? 0 : most[pick(device, 0, 3)];
    uint64_t upload = (uint64_t)pick(device, 0, max / 4);
    uint64_t download = (uint64_t)pick(device, 0, max);
    device->session_upload += upload;
    device->session_download += download;
    member_time(out, "data_session_update_start_time", device->interval_s);
    member_time(out, "data_session_update_end_time", device->next_s);
    json_out_member_u64(out, "data_upload", upload);
    json_out_member_u64(out, "data_download", download);
    json_out_member_u64(out, "data_total", upload + download);
    json_out_member_u64(out, "data_session_data_upload", device->session_upload);
    json_out_member_u64(out, "data_session_data_download", device->session_download);
    json_out_member_u64(out, "data_session_data_total",
                        device->session_upload + device->session_download);
    if (is_blocked) {
        json_out_member_c(out, "data_modifier", "blocked");
    }
}

static void write_session(json_out *out, const struct fleet *fleet, struct device *device,
                          enum fleet_kind kind) {
    uint64_t session = mix2(fleet->key, device->session);
    char address[24] = "100.";
    mr_buf text = {.ptr = address, .len = 4, .cap = sizeof address, .max = sizeof address};
    mr_ignore(mr_buf_printf(&text, "%u.%u.%u", (unsigned)(64 + session % 64),
                            (unsigned)(session >> 8 & 0xff), (unsigned)(1 + (session >> 16) % 254)),
              "there is room");
    json_out_member_str(out, "ip_address", mr_buf_view(&text));
    member_sid(out, "data_session_sid", "PI", fleet->id_key, ~device->session);
    member_time(out, "data_session_start_time", device->start_s);
    if (kind == FLEET_SESSION_ENDED) {
        member_time(out, "data_session_end_time", device->next_s);
    }
    if (kind != FLEET_SESSION_STARTED) {
        write_usage(out, device);
    }
}

static void write_data(json_out *out, struct fleet *fleet, uint32_t number, enum fleet_kind kind,
                       mr_str type) {
    struct device *device = &fleet->devices[number];
    uint64_t identity = mix2(fleet->key ^ UINT64_C(0x51d), number);
    const struct network *network = &networks[identity % N_NETWORKS];
    bool is_rejected = kind == FLEET_ATTACHMENT_REJECTED;
    json_out_member_object(out, "data");
    member_sid(out, "event_sid", "EZ", fleet->id_key, fleet->serial);
    json_out_member_str(out, "event_type", type);
    member_sid(out, "account_sid", "AC", fleet->key, UINT64_MAX);
    member_sid(out, "sim_sid", "HS", fleet->key, number);
    member_digits(out, "sim_iccid", "8988307", 13, number);
    member_time(out, "timestamp", device->next_s);
    member_sid(out, "fleet_sid", "HF", fleet->key ^ 1, identity >> 4 & 3);
    write_name(out, number, identity);
    write_network(out, network, identity, !is_rejected);
    json_out_member_c(out, "rat_type", identity % 7 == 0 ? "5G NSA" : "4G LTE");
    member_digits(out, "imsi", "732123", 9, number);
    if (is_rejected) {
        json_out_member_null(out, "imei");
    } else {
        member_digits(out, "imei", "35378572", 7, number);
    }
    if (kind >= FLEET_SESSION_STARTED) {
        json_out_member_c(out, "apn", network->apn);
    }
    if (kind >= FLEET_SESSION_STARTED && kind != FLEET_SESSION_FAILED) {
        write_session(out, fleet, device, kind);
    }
    if (kinds[kind].error != 0) {
        json_out_member_object(out, "error");
        json_out_member_i64(out, "code", kinds[kind].error);
        json_out_member_c(out, "message", kinds[kind].message);
        json_out_end(out);
    }
    json_out_end(out);
}

static mr_err write_event(struct fleet *fleet, uint32_t number, enum fleet_kind kind,
                          mr_str published, mr_buf *to) {
    char type_text[256];
    mr_buf type = {.ptr = type_text, .cap = sizeof type_text, .max = sizeof type_text};
    MR_TRY(mr_buf_printf(&type, "%.*s.supersim.connection.%s", MR_FMT(fleet->options.type_prefix),
                         kinds[kind].name));
    json_out out;
    json_out_init(&out, to);
    json_out_object(&out);
    json_out_member_c(&out, "specversion", "1.0");
    member_sid(&out, "id", "EZ", fleet->id_key, fleet->serial);
    json_out_member_c(&out, "source", "kore-events");
    json_out_member_str(&out, "type", mr_buf_view(&type));
    member_time(&out, "time", fleet->devices[number].next_s);
    json_out_member_c(&out, "datacontenttype", "application/json");
    json_out_member_c(&out, "dataschema", "/schemas/SuperSim.ConnectionEvent/2");
    write_data(&out, fleet, number, kind, mr_buf_view(&type));
    if (!mr_str_is_absent(published)) {
        json_out_member_str(&out, "published", published);
    }
    json_out_end(&out);
    return json_out_finish(&out);
}

mr_err fleet_next(struct fleet *fleet, mr_str published, mr_buf *out,
                  struct fleet_event *ret_event) {
    uint32_t number = fleet->heap[0];
    struct device *device = &fleet->devices[number];
    bool is_scripted = number == 0 && device->made < SCRIPT_LEN;
    enum fleet_kind kind = choose_kind(fleet, number, is_scripted);
    struct fleet_event event = {kind, number, device->next_s};
    fleet->serial++;
    if (kind == FLEET_SESSION_STARTED) {
        start_session(device, fleet->serial, is_scripted);
    }
    size_t before = out->len;
    mr_err err = write_event(fleet, number, kind, published, out);
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    if (is_scripted) {
        device->made++;
    }
    advance(device, kind);
    sift_down(fleet, 0);
    if (mr_is_ok(err) && ret_event != NULL) {
        *ret_event = event;
    }
    return err;
}
