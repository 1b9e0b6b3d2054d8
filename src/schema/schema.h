/* JSON Schema draft-07, compiled once into a flat program over the JSON tape (SPEC of the product:
 * docs/reference). A compiled schema is immutable: any number of threads at once, each with a run
 * of its own. Validation takes bounded work: every step is counted, and a pattern that backtracks
 * too long is an error of the instance, never a hang.
 *
 * `$ref` reaches into the same document, to documents of the catalogue and to the draft-07
 * meta-schema, nothing remote. Keywords and formats that are unknown are ignored and listed. */
#ifndef MR_SCHEMA_SCHEMA_H
#define MR_SCHEMA_SCHEMA_H

#include "base/buf.h"
#include "json/tape.h"

enum schema_err {
    SCHEMA_E_REFUSED = MR_ERR_CODE(MR_ROOM_SCHEMA, 1), /* the document is no schema we take */
};

/* Where other documents of the catalogue come from while a schema is compiled. */
struct schema_library {
    const void *ctx;
    /* The document that the path of a reference ("/schemas/{name}/{version}") names, or absent. Its
     * text must live until schema_compile returns. NULL: there are none. */
    mr_str (*find)(const void *ctx, mr_str path);
    /* Absolute bases under which the catalogue is reached: "https://events.example.com". */
    const mr_str *bases;
    size_t n_bases;
};

/* Why a document was refused. */
struct schema_fault {
    char pointer[512];  /* in the document, RFC 6901 */
    char expected[256]; /* a sentence for people; for a limit, with the limit's name */
    int64_t offset;     /* byte in the document, or -1 */
};

#define SCHEMA_DOCUMENT_BYTES_MAX ((size_t)256 << 10)

struct schema;

/* Compiles; copies what it needs. *ret_ignored (may be NULL) gets a JSON array of the pointers of
 * keywords and formats that are ignored. SCHEMA_E_REFUSED with *ret_fault; MR_E_NOMEM. */
mr_err schema_compile(mr_str document, const struct schema_library *library,
                      struct schema **ret_schema, mr_buf *ret_ignored,
                      struct schema_fault *ret_fault);
/* NULL is fine. */
void schema_free(struct schema *schema);
size_t schema_bytes(const struct schema *schema);

/* What one thread needs to validate; kept from instance to instance: warm, it allocates nothing. */
struct schema_run;
mr_err schema_run_new(struct schema_run **ret_run);
void schema_run_free(struct schema_run *run);

/* One thing that is wrong. Texts live until the run is used again. */
struct schema_error {
    mr_str instance;  /* pointer into the instance */
    mr_str schema;    /* pointer into the schema, through references as they were followed */
    const char *rule; /* the keyword: "required", "type", …; "limit": too much work */
    mr_str message;   /* a sentence for people */
    size_t offset;    /* of the value in the tape's text */
};
#define SCHEMA_ERRORS_MAX 20

/* True: valid. Else *ret_errors are up to SCHEMA_ERRORS_MAX errors (in the run's memory) and
 * *ret_n their number. Both may be NULL: then it stops at the first. */
bool schema_validate(const struct schema *schema, json_value instance, struct schema_run *run,
                     const struct schema_error **ret_errors, size_t *ret_n);
/* The steps that the last validation took: some 10 ns each at worst. */
uint64_t schema_run_steps(const struct schema_run *run);

/* --- versions ----------------------------------------------------------------------------------
 */

/* Compares a new version with the one before: appends to `out` a JSON array of the changes that
 * break (what does is told in compare.c): [{"pointer","rule","message"}], pointer into the new
 * document (of what is gone, into the old). *ret_n: how many; the first 1,000 are listed.
 * MR_E_NOMEM; MR_E_LIMIT where the documents take too much work; the errors of json_tape_read for
 * what is no JSON. On error `out` is as it was. */
mr_err schema_compare(mr_str older, mr_str newer, mr_buf *out, size_t *ret_n);

/* What takes a newer version's `data` back to an older one: members that only later versions
 * declare are left out, at every level (properties, items, references within the document, allOf
 * and the other branches; project_build.c tells what declares). Members that neither declares are
 * kept. Immutable; any thread. NULL in *ret_projection where nothing need be left out. MR_E_NOMEM;
 * MR_E_LIMIT where the documents are too entangled to compile within bounds; the errors of
 * json_tape_read for what is no JSON. */
struct schema_projection;
mr_err schema_projection_new(mr_str older, mr_str newer, struct schema_projection **ret_projection);
void schema_projection_free(struct schema_projection *projection);
/* Appends the projected value, minified, members in their order, numbers as they came; NULL
 * projects to the same. On error `out` is as it was. MR_E_NOMEM, MR_E_LIMIT; MR_E_INVALID for an
 * absent value. */
mr_err schema_project(const struct schema_projection *projection, json_value data, mr_buf *out);

#endif
