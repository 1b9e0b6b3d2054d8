/* A YAML file of declarations, read strictly into JSON that remembers where each value stood. What
 * YAML readers disagree on is refused with its place: aliases, anchors, merge keys, duplicate keys,
 * more than one document, plain words that some readers take for something else (yes, on, 0x1F,
 * 1:30, 2024-01-01), unknown tags. Three tags are known, on texts: `!file PATH` is the content of a
 * file (one line end at its end left out), `!env NAME` a variable of the environment, `!json PATH`
 * the JSON value in a file. Paths begin at the folder of the YAML file. */
#ifndef MR_CLI_APPLY_DOCUMENT_H
#define MR_CLI_APPLY_DOCUMENT_H

#include "json/tape.h"

#define DOCUMENT_BYTES_MAX ((size_t)8 << 20)  /* of the file */
#define DOCUMENT_JSON_MAX  ((size_t)64 << 20) /* with what its tags bring in */

struct document_place {
    size_t offset;         /* of a key or value in the JSON */
    uint32_t line, column; /* from 1 */
};

struct document {
    const char *path; /* for messages: as the caller gave it; not owned */
    mr_buf json;
    json_tape tape;
    struct document_place *places; /* owned, by offset */
    size_t n_places, cap_places;
};

/* Reads text, which came from path. False: printed; *document needs document_done all the same. */
bool document_read(struct document *document, const char *path, mr_str text);
/* Wipes: values may be secrets. */
void document_done(struct document *document);
/* Prints `millrace: PATH:LINE:COLUMN: problem`; gives false. at: a key or value of the document. */
bool document_problem(const struct document *document, json_value at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether readers of YAML disagree on what this word without quotes is. */
bool document_is_doubtful(mr_str text);

#endif
