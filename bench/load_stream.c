/* The receiver as a stream on AWS: answers AssumeRole, and PutRecords record by record. The body is
 * read as the JSON it is and each record's data decoded, so that what counts as delivered was
 * readable, whole, and under the partition key that it belongs to. Signatures are not verified
 * here; the tests' rig does that. */
#include "load.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECORDS_MAX = 500, RECORD_BYTES_MAX = 1 << 20, RESULT_MAX = 160, CREDENTIALS_S = 3600 };

/* ---- reading ----------------------------------------------------------------------------------
 */

struct text {
    const char *at, *end;
};
struct slice {
    const char *at;
    size_t len;
};

static bool take(struct text *t, char wanted) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t')) {
        t->at++;
    }
    if (t->at == t->end || *t->at != wanted) {
        return false;
    }
    t->at++;
    return true;
}

/* A string without escapes: nothing that the product sends here needs one. */
static bool take_string(struct text *t, struct slice *ret) {
    if (!take(t, '"')) {
        return false;
    }
    const char *quote = memchr(t->at, '"', (size_t)(t->end - t->at));
    if (quote == NULL) {
        return false;
    }
    *ret = (struct slice){t->at, (size_t)(quote - t->at)};
    t->at = quote + 1;
    return memchr(ret->at, '\\', ret->len) == NULL;
}

static bool is(struct slice s, const char *text) {
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* {"Data":"…","PartitionKey":"…"}, the members in any order, no other. */
static bool take_record(struct text *t, struct slice *ret_data, struct slice *ret_key) {
    struct slice name, value;
    *ret_data = *ret_key = (struct slice){NULL, 0};
    if (!take(t, '{')) {
        return false;
    }
    do {
        if (!take_string(t, &name) || !take(t, ':') || !take_string(t, &value)) {
            return false;
        }
        if (is(name, "Data")) {
            *ret_data = value;
        } else if (is(name, "PartitionKey")) {
            *ret_key = value;
        } else {
            return false;
        }
    } while (take(t, ','));
    return take(t, '}') && ret_data->at != NULL && ret_key->at != NULL;
}

/* ---- records ----------------------------------------------------------------------------------
 */

/* One record: an event of this run, whole, under its id. */
static bool on_record(struct load *l, struct slice data, struct slice key, uint64_t now) {
    static unsigned char event[RECORD_BYTES_MAX + 4];
    if (data.len == 0 || data.len > RECORD_BYTES_MAX) {
        return false;
    }
    int len = EVP_DecodeBlock(event, (const unsigned char *)data.at, (int)data.len);
    for (size_t i = data.len; len > 0 && data.at[i - 1] == '='; i--) {
        len--; /* EVP_DecodeBlock counts the padding */
    }
    if (len < 2 || event[0] != '{' || event[len - 1] != '}') {
        return false;
    }
    const char *id = memmem(event, (size_t)len, l->needle, strlen(l->needle));
    size_t before_id = strlen("\"id\":\"");
    if (id == NULL || (size_t)(id - (const char *)event) + before_id + key.len >= (size_t)len ||
        memcmp(id + before_id, key.at, key.len) != 0 || id[before_id + key.len] != '"') {
        return false;
    }
    load_count(l, load_number(id + strlen(l->needle)), now);
    l->records++;
    return true;
}

static bool take_records(struct load *l, struct text *t, uint64_t now, size_t *ret_n) {
    struct slice data, key;
    if (!take(t, '[')) {
        return false;
    }
    for (size_t n = 1; n <= RECORDS_MAX; n++) {
        if (!take_record(t, &data, &key) || !on_record(l, data, key, now)) {
            return false;
        }
        if (!take(t, ',')) {
            *ret_n = n;
            return take(t, ']');
        }
    }
    return false;
}

/* Counts the records of a request; 0: it is not what PutRecords takes. */
static size_t read_put(struct load *l, const struct wire_message *m, uint64_t now) {
    struct text t = {m->body, m->body + m->body_len};
    struct slice name, value;
    size_t n = 0;
    bool has_stream = false;
    if (!take(&t, '{')) {
        return 0;
    }
    do {
        if (!take_string(&t, &name) || !take(&t, ':')) {
            return 0;
        }
        if (is(name, "Records") && n == 0) {
            if (!take_records(l, &t, now, &n)) {
                return 0;
            }
        } else if (is(name, "StreamARN") && take_string(&t, &value)) {
            has_stream = true;
        } else {
            return 0;
        }
    } while (take(&t, ','));
    return take(&t, '}') && t.at == t.end && has_stream ? n : 0;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void answer(struct peer *p, int status, const char *type, const char *body, size_t len) {
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d X\r\nx-amzn-requestid: 0a8b9e2c-1d2f-4f2e-9a51-2f3b8b6f7c11\r\n"
                     "content-type: %s\r\ncontent-length: %zu\r\n\r\n",
                     status, type, len);
    wire_put(&p->wire, head, (size_t)n);
    wire_put(&p->wire, body, len);
}

static void answer_put(struct load *l, struct peer *p, const struct wire_message *m, uint64_t now) {
    static const char wrong[] = "{\"__type\":\"SerializationException\"}";
    static char body[RECORDS_MAX * RESULT_MAX + RESULT_MAX];
    static uint64_t sequence;
    size_t n = read_put(l, m, now);
    if (n == 0) {
        if (l->errors++ == 0) {
            fprintf(stderr, "load: no PutRecords: %.*s\n", (int)m->head_len, m->head);
        }
        answer(p, 400, "application/x-amz-json-1.1", wrong, sizeof wrong - 1);
        return;
    }
    l->puts++;
    int len = snprintf(body, sizeof body, "{\"FailedRecordCount\":0,\"Records\":[");
    for (size_t i = 0; i < n; i++) {
        len += snprintf(body + len, RESULT_MAX,
                        "%s{\"SequenceNumber\":\"4954346307654800757710509270303956%022llu\","
                        "\"ShardId\":\"shardId-000000000000\"}",
                        i > 0 ? "," : "", (unsigned long long)sequence++);
    }
    len += snprintf(body + len, RESULT_MAX, "]}");
    answer(p, 200, "application/x-amz-json-1.1", body, (size_t)len);
}

static void answer_role(struct peer *p) {
    char body[1024], until[32];
    time_t end = time(NULL) + CREDENTIALS_S;
    struct tm parts;
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&end, &parts));
    int len = snprintf(
        body, sizeof body,
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
        "<AssumeRoleResult><Credentials><AccessKeyId>ASIABENCHBENCHBENCH1</AccessKeyId>"
        "<SecretAccessKey>bench</SecretAccessKey><SessionToken>bench</SessionToken>"
        "<Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>",
        until);
    answer(p, 200, "text/xml", body, (size_t)len);
}

bool load_on_stream(struct load *l, struct peer *p, const struct wire_message *m, uint64_t now) {
    if (m->head_len < 7 || memcmp(m->head, "POST / ", 7) != 0) {
        return false;
    }
    if (memmem(m->head, m->head_len, "Kinesis_20131202.PutRecords\r\n", 29) != NULL) {
        answer_put(l, p, m, now);
    } else if (memmem(m->body, m->body_len, "Action=AssumeRole", 17) != NULL) {
        answer_role(p);
    } else {
        return false;
    }
    return true;
}
