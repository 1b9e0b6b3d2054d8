/* Texts of a small XML document by the path of their elements: what the answers of STS need.
 * Strict: well-formed, no document type, no processing instructions, no comments, no CDATA, no
 * entities but the five and characters by number; bounded in size and depth. Prefixes and
 * attributes are read and forgotten. W3C XML 1.0, narrowed. */
#ifndef MR_SINK_AWS_XML_H
#define MR_SINK_AWS_XML_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define XML_BYTES_MAX ((size_t)64 << 10)
#define XML_DEPTH_MAX 16
#define XML_PATH_MAX  512

/* The text of the one element at path, "Root/Child/Leaf", appended to out, white space at its ends
 * left out. An element that is wanted holds text alone. */
struct xml_want {
    const char *path;
    mr_buf *out;
    bool is_found; /* set by xml_read */
};

/* Reads the whole document. MR_E_INVALID: not such a document, or a wanted element twice;
 * MR_E_LIMIT: too long, too deep, or a text longer than its buffer takes; MR_E_NOMEM. */
mr_err xml_read(mr_str document, struct xml_want *wants, size_t n_wants);

#endif
