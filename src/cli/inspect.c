/* Judging and counting of received webhooks. See inspect.h.
 *
 * Events are known again by a keyed 64-bit hash of source and id in a table of hashes that doubles
 * up to a bound: among four million ids the chance of one false duplicate is below one in a
 * million, which a tool for looking may have.
 *
 * The way of an event is timed from its extension attribute `published` (`millrace simulate
 * --stamp`), else from its `time` where that lies within the last hour: a simulated or historical
 * time would tell nothing. Both clocks are wall clocks, on one machine the same. */
#include "cli/inspect.h"

#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/ids.h"
#include "crypto/secret.h"
#include "crypto/siphash.h"
#include "json/write.h"
#include "sink/signature.h"

#define IDS_START     ((size_t)4096)
#define REAL_TIME_MS  INT64_C(3600000)
#define ARENA_MAX     ((size_t)64 << 20)
#define URL_MAX       ((size_t)32768)
#define TIMES_EXACT   128U /* milliseconds below are buckets of their own */
#define TIMES_BUCKETS 2048U

struct inspector {
    struct inspect_options options;
    struct crypto_hasher *hasher;
    struct siphash_key key;
    uint64_t *ids; /* 0: a free slot */
    size_t ids_mask, n_ids;
    uint64_t times[TIMES_BUCKETS];
    json_tape tape;
    mr_arena arena;
    mr_buf url;
    struct inspect_summary sums; /* p50, p99 are found when asked for */
};

mr_err inspector_new(const struct inspect_options *options, struct inspector **ret_inspector) {
    struct inspector *inspector = MR_NEW(struct inspector);
    if (inspector == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    inspector->options = *options;
    if (options->ids_max == 0) {
        inspector->options.ids_max = INSPECT_IDS_MAX;
    }
    crypto_random(&inspector->key, sizeof inspector->key);
    json_tape_init(&inspector->tape, JSON_DEPTH_DEFAULT);
    mr_arena_init(&inspector->arena, ARENA_MAX);
    mr_buf_init(&inspector->url, URL_MAX);
    inspector->ids = mr_calloc(IDS_START, sizeof *inspector->ids);
    inspector->ids_mask = IDS_START - 1;
    mr_err err =
        inspector->ids == NULL ? MR_ERR(MR_E_NOMEM) : crypto_hasher_new(&inspector->hasher);
    if (mr_is_err(err)) {
        inspector_free(inspector);
        return err;
    }
    *ret_inspector = inspector;
    return MR_OK;
}

void inspector_free(struct inspector *inspector) {
    if (inspector == NULL) {
        return;
    }
    crypto_hasher_free(inspector->hasher);
    json_tape_done(&inspector->tape);
    mr_arena_done(&inspector->arena);
    mr_buf_done(&inspector->url);
    mr_free(inspector->ids);
    mr_free(inspector);
}

/* ---- ids ---- */

static bool grow_ids(struct inspector *inspector) {
    size_t n = (inspector->ids_mask + 1) * 2;
    uint64_t *bigger = mr_calloc(n, sizeof *bigger);
    if (bigger == NULL) {
        return false;
    }
    for (size_t i = 0; i <= inspector->ids_mask; i++) {
        if (inspector->ids[i] != 0) {
            size_t at = inspector->ids[i] & (n - 1);
            while (bigger[at] != 0) {
                at = (at + 1) & (n - 1);
            }
            bigger[at] = inspector->ids[i];
        }
    }
    mr_free(inspector->ids);
    inspector->ids = bigger;
    inspector->ids_mask = n - 1;
    return true;
}

/* True where it was there already; else it is from now on, as long as there is room. */
static bool remember(struct inspector *inspector, uint64_t id) {
    id += id == 0 ? 1 : 0;
    size_t at = id & inspector->ids_mask;
    while (inspector->ids[at] != 0) {
        if (inspector->ids[at] == id) {
            return true;
        }
        at = (at + 1) & inspector->ids_mask;
    }
    if (inspector->n_ids >= inspector->options.ids_max ||
        (inspector->n_ids >= inspector->ids_mask / 4 * 3 && !grow_ids(inspector))) {
        inspector->sums.is_full = true;
        return false;
    }
    at = id & inspector->ids_mask;
    while (inspector->ids[at] != 0) {
        at = (at + 1) & inspector->ids_mask;
    }
    inspector->ids[at] = id;
    inspector->n_ids++;
    return false;
}

/* ---- times ---- */

/* Exact below TIMES_EXACT, then 64 buckets for each power of two. */
static size_t bucket_of(uint64_t ms) {
    if (ms < TIMES_EXACT) {
        return (size_t)ms;
    }
    unsigned power = 63U - (unsigned)__builtin_clzll(ms); /* ≥ 7 */
    size_t bucket = TIMES_EXACT + (size_t)(power - 7) * 64 + (size_t)(ms >> (power - 6) & 63);
    return bucket < TIMES_BUCKETS ? bucket : TIMES_BUCKETS - 1;
}

/* The least time of a bucket. */
static uint64_t time_of(size_t bucket) {
    if (bucket < TIMES_EXACT) {
        return bucket;
    }
    size_t power = 7 + (bucket - TIMES_EXACT) / 64;
    return (UINT64_C(64) + (bucket - TIMES_EXACT) % 64) << (power - 6);
}

static uint64_t quantile(const struct inspector *inspector, uint64_t percent) {
    uint64_t wanted = (inspector->sums.timed * percent + 99) / 100;
    uint64_t seen = 0;
    for (size_t i = 0; i < TIMES_BUCKETS; i++) {
        seen += inspector->times[i];
        if (seen >= wanted && seen > 0) {
            return time_of(i);
        }
    }
    return 0;
}

static void take_time(struct inspector *inspector, mr_str published, mr_str time, mr_wall now) {
    mr_wall from;
    bool is_stamped = mr_is_ok(mr_time_parse_rfc3339(published, &from));
    if (!is_stamped && mr_is_err(mr_time_parse_rfc3339(time, &from))) {
        return;
    }
    int64_t ms = mr_wall_ms(now) - mr_wall_ms(from);
    if (ms < 0 || (!is_stamped && ms > REAL_TIME_MS)) {
        return;
    }
    inspector->times[bucket_of((uint64_t)ms)]++;
    inspector->sums.timed++;
}

/* ---- events ---- */

/* What is looked at in an event. Absent: not there, or no string. */
struct seen_event {
    mr_str id, source, published, time;
};

static void count_event(struct inspector *inspector, const struct seen_event *event, mr_wall now) {
    inspector->sums.events++;
    struct siphash_key key = inspector->key;
    key.k0 ^= siphash_64(key, event->source.ptr, event->source.len);
    if (remember(inspector, siphash_64(key, event->id.ptr, event->id.len))) {
        inspector->sums.duplicates++;
    } else {
        inspector->sums.unique++;
    }
    take_time(inspector, event->published, event->time, now);
}

static mr_str text_of(struct inspector *inspector, json_value event, const char *name) {
    mr_str text;
    return mr_is_ok(json_string(json_find(event, mr_str_c(name)), &inspector->arena, &text))
               ? text
               : MR_STR_NONE;
}

static void take_envelope(struct inspector *inspector, json_value envelope, mr_wall now,
                          json_out *out) {
    const struct seen_event event = {.id = text_of(inspector, envelope, "id"),
                                     .source = text_of(inspector, envelope, "source"),
                                     .published = text_of(inspector, envelope, "published"),
                                     .time = text_of(inspector, envelope, "time")};
    json_out_str(out, event.id);
    count_event(inspector, &event, now);
}

/* Counts the events of the body and writes their ids. */
static void take_events(struct inspector *inspector, const struct inspect_request *request,
                        json_out *out) {
    mr_arena_reset(&inspector->arena);
    mr_str id = mr_fields_find(request->fields, MR_STR("ce-id"));
    if (!mr_str_is_absent(id)) {
        const struct seen_event event = {
            .id = id,
            .source = mr_fields_find(request->fields, MR_STR("ce-source")),
            .published = mr_fields_find(request->fields, MR_STR("ce-published")),
            .time = mr_fields_find(request->fields, MR_STR("ce-time"))};
        json_out_str(out, mr_str_is_utf8(id) ? id : MR_STR_NONE);
        count_event(inspector, &event, request->now);
        return;
    }
    if (mr_is_err(json_tape_read(&inspector->tape, request->body, NULL))) {
        return;
    }
    json_value root = json_root(&inspector->tape);
    if (json_kind_of(root) == JSON_ARRAY) {
        for (json_iter it = json_iter_of(root); json_next(&it);) {
            take_envelope(inspector, it.value, request->now, out);
        }
    } else if (!json_is_absent(json_find(root, MR_STR("id")))) {
        take_envelope(inspector, root, request->now, out);
    }
}

/* ---- signature and token ---- */

static const char *judge_signature(struct inspector *inspector,
                                   const struct inspect_request *request) {
    if (mr_str_is_absent(inspector->options.secret)) {
        return "unchecked";
    }
    mr_str name = MR_STR("kore-signature");
    mr_str given = mr_fields_find(request->fields, name);
    if (mr_fields_count(request->fields, name) == 1 && given.len == 0) {
        return "empty";
    }
    mr_str url = inspector->options.url;
    if (mr_str_is_absent(url)) {
        mr_buf_reset(&inspector->url);
        if (mr_is_err(mr_buf_str(&inspector->url, inspector->options.is_tls ? MR_STR("https://")
                                                                            : MR_STR("http://"))) ||
            mr_is_err(mr_buf_str(&inspector->url, request->host)) ||
            mr_is_err(mr_buf_str(&inspector->url, request->path))) {
            return "wrong";
        }
        url = mr_buf_view(&inspector->url);
    }
    char right[SIGNATURE_HEX_LEN];
    bool is_right = mr_fields_count(request->fields, name) == 1 && given.len == SIGNATURE_HEX_LEN &&
                    mr_is_ok(signature_kore(inspector->hasher, inspector->options.secret,
                                            request->method, url, &request->body, 1, right)) &&
                    crypto_equal(given.ptr, right, SIGNATURE_HEX_LEN);
    return is_right ? "right" : "wrong";
}

/* 8-4-4-4-12 hexadecimal digits (RFC 9562 §4). */
static bool is_uuid(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (is_hyphen ? c != '-' : !is_hex) {
            return false;
        }
    }
    return text.len == 36;
}

/* ---- requests ---- */

static void member_text(json_out *out, const char *name, mr_str text) {
    json_out_member_str(out, name, mr_str_is_utf8(text) ? text : MR_STR_NONE);
}

mr_err inspector_take(struct inspector *inspector, const struct inspect_request *request,
                      mr_buf *to) {
    char time[MR_TIME_TEXT_SIZE];
    mr_str token = mr_fields_find(request->fields, MR_STR("kore-idempotency-token"));
    bool token_ok =
        is_uuid(token) && mr_fields_count(request->fields, MR_STR("kore-idempotency-token")) == 1;
    const char *signature = judge_signature(inspector, request);
    inspector->sums.requests++;
    inspector->sums.bad_tokens += token_ok ? 0 : 1;
    inspector->sums.bad_signatures += signature[0] == 'w' || signature[0] == 'e' ? 1 : 0;
    uint64_t events_before = inspector->sums.events;
    size_t before = to->len;
    json_out out;
    json_out_init(&out, to);
    json_out_object(&out);
    json_out_member_str(&out, "time", mr_str_of(time, mr_time_format_ms(request->now, time)));
    member_text(&out, "method", request->method);
    member_text(&out, "path", request->path);
    if (!mr_str_is_absent(request->query)) {
        member_text(&out, "query", request->query);
    }
    member_text(&out, "token", token);
    json_out_member_bool(&out, "token_ok", token_ok);
    json_out_member_c(&out, "signature", signature);
    json_out_member_array(&out, "events");
    take_events(inspector, request, &out);
    json_out_end(&out);
    json_out_member_u64(&out, "n", inspector->sums.events - events_before);
    json_out_member_u64(&out, "duplicates", inspector->sums.duplicates);
    if (request->status != 0) {
        json_out_member_i64(&out, "status", request->status);
    } else {
        json_out_member_null(&out, "status");
        json_out_member_c(&out, "misbehaviour", request->misbehaviour);
    }
    json_out_end(&out);
    mr_err err = json_out_finish(&out);
    err = mr_is_ok(err) ? mr_buf_byte(to, '\n') : err;
    if (mr_is_err(err)) {
        mr_buf_truncate(to, before);
    }
    return err;
}

void inspector_summary(const struct inspector *inspector, struct inspect_summary *ret_summary) {
    *ret_summary = inspector->sums;
    ret_summary->p50_ms = quantile(inspector, 50);
    ret_summary->p99_ms = quantile(inspector, 99);
}

mr_err inspect_summary_write(const struct inspect_summary *summary, mr_buf *to) {
    json_out out;
    json_out_init(&out, to);
    json_out_object(&out);
    json_out_member_u64(&out, "requests", summary->requests);
    json_out_member_u64(&out, "events", summary->events);
    json_out_member_u64(&out, "unique", summary->unique);
    json_out_member_u64(&out, "duplicates", summary->duplicates);
    json_out_member_u64(&out, "bad_signatures", summary->bad_signatures);
    json_out_member_u64(&out, "bad_tokens", summary->bad_tokens);
    if (summary->timed > 0) {
        json_out_member_u64(&out, "p50_ms", summary->p50_ms);
        json_out_member_u64(&out, "p99_ms", summary->p99_ms);
    } else {
        json_out_member_null(&out, "p50_ms");
        json_out_member_null(&out, "p99_ms");
    }
    if (summary->is_full) {
        json_out_member_bool(&out, "ids_full", true);
    }
    json_out_end(&out);
    MR_TRY(json_out_finish(&out));
    return mr_buf_byte(to, '\n');
}
