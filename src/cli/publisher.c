/* Batches and their calls. See publisher.h.
 *
 * A batch grows in one buffer as the text of a JSON array and is sent as it stands: envelopes are
 * never re-written here, so that what the server stores is what the producer wrote. A call is all
 * or nothing; 429 and 503 say "later" and are obeyed as long as the waits stay below a bound, after
 * which the refusal is shown. Any other refusal ends the work: what was answered before is safe. */
#include "cli/publisher.h"

#include "cli/cli.h"

#include "json/tape.h"
#include "os/clock.h"

#include <stdio.h>

#define BATCH_MAX         ((size_t)128 << 20) /* one oversized envelope is the server's to refuse */
#define WAIT_MS_MAX       30000
#define WAIT_TOTAL_MS_MAX 300000
#define PROGRESS_MS       2000

bool publisher_init(struct publisher *publisher, bool prints_answers) {
    *publisher = (struct publisher){.prints_answers = prints_answers, .told = os_mono_now()};
    publisher->client = cli_client_new();
    if (publisher->client == NULL) {
        publisher->code = CLI_USAGE;
        return false;
    }
    mr_buf_init(&publisher->batch, BATCH_MAX);
    return true;
}

void publisher_done(struct publisher *publisher) {
    if (publisher->client == NULL) {
        return;
    }
    cli_answer_done(&publisher->answer);
    mr_buf_done(&publisher->batch);
    cli_client_free(publisher->client);
    publisher->client = NULL;
}

static void count_answer(struct publisher *publisher) {
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    uint64_t accepted = 0;
    uint64_t duplicates = 0;
    if (mr_is_ok(json_tape_read(&tape, mr_buf_view(&publisher->answer.body), NULL))) {
        json_value root = json_root(&tape);
        mr_ignore(json_u64(json_find(root, MR_STR("accepted")), 0, UINT32_MAX, &accepted),
                  "counted as 0");
        mr_ignore(json_u64(json_find(root, MR_STR("duplicates")), 0, UINT32_MAX, &duplicates),
                  "counted as 0");
    }
    json_tape_done(&tape);
    publisher->accepted += accepted;
    publisher->duplicates += duplicates;
}

/* One call, repeated while the server asks for it. */
static bool send_batch(struct publisher *publisher) {
    struct cli_answer *answer = &publisher->answer;
    int64_t waited_ms = 0;
    int64_t backoff_ms = 1000;
    for (;;) {
        cli_call(publisher->client, "POST", "/v1/events", "application/cloudevents-batch+json",
                 mr_buf_view(&publisher->batch), answer);
        publisher->calls++;
        if ((answer->status != 429 && answer->status != 503) || waited_ms >= WAIT_TOTAL_MS_MAX) {
            break;
        }
        int64_t wait_ms =
            answer->retry_after_s > 0 ? (int64_t)answer->retry_after_s * 1000 : backoff_ms;
        wait_ms = wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX;
        backoff_ms = backoff_ms * 2 < WAIT_MS_MAX ? backoff_ms * 2 : WAIT_MS_MAX;
        if (waited_ms == 0) {
            fprintf(stderr, "millrace: the server asks to wait (status %ld); trying again\n",
                    answer->status);
        }
        os_pause_ms(wait_ms);
        waited_ms += wait_ms;
        publisher->waits++;
    }
    bool ok = answer->status >= 200 && answer->status < 300;
    if (ok) {
        count_answer(publisher);
    }
    if (!ok || publisher->prints_answers) {
        int code = cli_show_answer(answer);
        publisher->code = ok ? publisher->code : code;
    }
    mr_buf_reset(&publisher->batch);
    publisher->n = 0;
    return ok;
}

static bool no_memory(struct publisher *publisher) {
    cli_problem("could not gather events: an event is too large or memory lacks");
    publisher->code = CLI_NO;
    return false;
}

bool publisher_add(struct publisher *publisher, mr_str envelope) {
    size_t size_after = publisher->batch.len + 1 + envelope.len + 1;
    if (publisher->n > 0 &&
        (publisher->n == PUBLISHER_EVENTS_MAX || size_after > PUBLISHER_BYTES_MAX) &&
        !publisher_flush(publisher)) {
        return false;
    }
    if (publisher->n == 0) {
        publisher->since = os_mono_now();
    }
    mr_buf *batch = &publisher->batch;
    if (mr_is_err(mr_buf_byte(batch, publisher->n == 0 ? '[' : ',')) ||
        mr_is_err(mr_buf_str(batch, envelope))) {
        return no_memory(publisher);
    }
    publisher->n++;
    return true;
}

bool publisher_flush(struct publisher *publisher) {
    if (publisher->n == 0) {
        return true;
    }
    return mr_is_ok(mr_buf_byte(&publisher->batch, ']')) ? send_batch(publisher)
                                                         : no_memory(publisher);
}

bool publisher_send_empty(struct publisher *publisher) {
    mr_buf_reset(&publisher->batch);
    return mr_is_ok(mr_buf_str(&publisher->batch, MR_STR("[]"))) ? send_batch(publisher)
                                                                 : no_memory(publisher);
}

void publisher_progress(struct publisher *publisher, uint64_t total) {
    mr_mono now = os_mono_now();
    if (mr_mono_diff_ms(now, publisher->told) < PROGRESS_MS) {
        return;
    }
    publisher->told = now;
    publisher->was_told = true;
    unsigned long long done = publisher->accepted + publisher->duplicates;
    if (total > 0) {
        fprintf(stderr, "millrace: %llu of %llu events published\n", done,
                (unsigned long long)total);
    } else {
        fprintf(stderr, "millrace: %llu events published\n", done);
    }
}
