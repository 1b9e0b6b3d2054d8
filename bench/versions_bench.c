/* What it costs to take a connection event of about 1 KiB back from schema version 2 to version 1,
 * beside copying the same bytes, and to compare and compile the two versions. Prints nanoseconds,
 * the best of several rounds. Run from the source folder: it reads data/schemas. */
#include "base/mem.h"
#include "json/write.h"
#include "os/clock.h"
#include "schema/schema.h"

#include <stdio.h>

#define ROUNDS 15

struct bench {
    mr_buf older, newer, event, minified, out;
    json_tape wide, tape;
    struct schema_projection *projection;
};

static void check(mr_err err) {
    MR_ASSERT(mr_is_ok(err));
}

static void read_file(const char *path, mr_buf *out) {
    char piece[4096];
    mr_buf_init(out, 1 << 20);
    FILE *file = fopen(path, "rb");
    MR_ASSERT(file != NULL);
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;) {
        check(mr_buf_append(out, piece, n));
    }
    fclose(file);
}

static void run_copy(struct bench *b) {
    mr_buf_reset(&b->out);
    check(json_minify(json_root(&b->tape), JSON_UTF8, &b->out));
}

static void run_project(struct bench *b) {
    mr_buf_reset(&b->out);
    check(schema_project(b->projection, json_root(&b->tape), &b->out));
}

static void run_project_wide(struct bench *b) {
    mr_buf_reset(&b->out);
    check(schema_project(b->projection, json_root(&b->wide), &b->out));
}

static void run_compile(struct bench *b) {
    struct schema_projection *p;
    check(schema_projection_new(mr_buf_view(&b->older), mr_buf_view(&b->newer), &p));
    schema_projection_free(p);
}

static void run_compare(struct bench *b) {
    size_t n;
    mr_buf_reset(&b->out);
    check(schema_compare(mr_buf_view(&b->older), mr_buf_view(&b->newer), &b->out, &n));
}

static void measure(struct bench *b, const char *name, void (*run)(struct bench *), int turns) {
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = os_mono_now().ns;
        for (int i = 0; i < turns; i++) {
            run(b);
        }
        int64_t ns = (os_mono_now().ns - start) / turns;
        best = ns < best ? ns : best;
    }
    printf("versions: %-34s %8lld ns\n", name, (long long)best);
}

int main(void) {
    struct bench b;
    read_file("data/schemas/SuperSim.ConnectionEvent.1.schema.json", &b.older);
    read_file("data/schemas/SuperSim.ConnectionEvent.2.schema.json", &b.newer);
    read_file("data/schemas/supersim.connection.data-session.ended.example.json", &b.event);
    mr_buf_init(&b.minified, 1 << 20);
    mr_buf_init(&b.out, 1 << 20);
    json_tape_init(&b.wide, JSON_DEPTH_DEFAULT);
    json_tape_init(&b.tape, JSON_DEPTH_DEFAULT);
    check(json_tape_read(&b.wide, mr_buf_view(&b.event), NULL));
    check(json_minify(json_root(&b.wide), JSON_UTF8, &b.minified));
    check(json_tape_read(&b.tape, mr_buf_view(&b.minified), NULL));
    check(schema_projection_new(mr_buf_view(&b.older), mr_buf_view(&b.newer), &b.projection));
    printf("versions: an event of %zu bytes, %zu members\n", b.minified.len,
           json_count(json_root(&b.tape)));
    measure(&b, "copied, minified already", run_copy, 20000);
    measure(&b, "projected, minified already", run_project, 20000);
    measure(&b, "projected, with white space", run_project_wide, 20000);
    measure(&b, "projection compiled", run_compile, 50);
    measure(&b, "versions compared", run_compare, 50);
    schema_projection_free(b.projection);
    json_tape_done(&b.wide);
    json_tape_done(&b.tape);
    mr_buf_done(&b.older);
    mr_buf_done(&b.newer);
    mr_buf_done(&b.event);
    mr_buf_done(&b.minified);
    mr_buf_done(&b.out);
    return 0;
}
