/* The catalogue as JSON, for answers. Shapes as in the reference of the API. */
#ifndef MR_CONTROL_CATALOGUE_SHAPES_H
#define MR_CONTROL_CATALOGUE_SHAPES_H

#include "base/buf.h"
#include "control/shape.h"
#include "json/write.h"
#include "model/catalogue.h"

extern const struct shape schema_answer;
extern const struct shape schema_overview_answer;
extern const struct shape schema_version_answer;
extern const struct shape schema_whole_answer;
extern const struct shape event_type_answer;

/* {"name","latest_version","shipped","url","date_created","date_updated"}; with_versions: also
 * "versions", each as schema_version_write without whole. The dates of what is shipped are null. */
void schema_write(const struct catalogue *catalogue, const struct catalogue_schema *latest,
                  mr_str public_url, bool with_versions, json_out *out);
/* {"schema","version","url","shipped","ignored","breaking","date_published"}; whole: also
 * "document" and "examples". */
void schema_version_write(const struct catalogue_schema *version, mr_str public_url, bool whole,
                          json_out *out);
/* {"name","product","product_group","description","status","schema","schema_version","schema_url",
 * "shipped","example","date_created","date_updated"}; schema_version is the latest. */
void event_type_write(const struct catalogue_type *type, mr_str public_url, json_out *out);

#endif
