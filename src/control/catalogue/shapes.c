/* Shapes of the catalogue. See shapes.h. */
#include "control/catalogue/shapes.h"

#include "base/time.h"
#include "control/catalogue/types.h"

#include <stdio.h>

#define URL_SIZE 4096

#define LIST_SCHEMA "{\"type\":\"array\",\"items\":{}}"

#define VERSION_MEMBERS                                                                            \
    {"schema", .kind = SHAPE_TEXT}, {"version", SHAPE_NUMBER, .min = 1},                           \
        {"url", .kind = SHAPE_TEXT},                                                               \
        {"shipped", SHAPE_BOOL, 0, .what = "It comes with the program"},                           \
        {"ignored", SHAPE_OWN, 0, .schema = LIST_SCHEMA}, {                                        \
        "breaking", SHAPE_OWN, 0, .schema = LIST_SCHEMA                                            \
    }
static const struct shape_member version_table[] = {
    VERSION_MEMBERS,
    {"date_published", SHAPE_TIME, .flags = SHAPE_NULLABLE},
};
const struct shape schema_version_answer = {"SchemaVersion", version_table,
                                            sizeof version_table / sizeof version_table[0]};
static const struct shape_member whole_members[] = {
    VERSION_MEMBERS,
    {"document", SHAPE_OWN, 0, .schema = "{\"type\":[\"object\",\"boolean\"]}"},
    {"examples", SHAPE_OWN, 0, .schema = LIST_SCHEMA},
    {"date_published", SHAPE_TIME, .flags = SHAPE_NULLABLE},
};
const struct shape schema_whole_answer = {"SchemaVersionWhole", whole_members,
                                          sizeof whole_members / sizeof whole_members[0]};

#define SCHEMA_MEMBERS                                                                             \
    {"name", .kind = SHAPE_TEXT}, {"latest_version", SHAPE_NUMBER, .min = 1},                      \
        {"shipped", .kind = SHAPE_BOOL}, {"url", .kind = SHAPE_TEXT},                              \
        {"date_created", SHAPE_TIME, .flags = SHAPE_NULLABLE}, {                                   \
        "date_updated", SHAPE_TIME, .flags = SHAPE_NULLABLE                                        \
    }
static const struct shape_member schema_members[] = {SCHEMA_MEMBERS};
const struct shape schema_answer = {"Schema", schema_members,
                                    sizeof schema_members / sizeof schema_members[0]};
static const struct shape_member overview_members[] = {
    SCHEMA_MEMBERS,
    {"versions", SHAPE_INNERS, 0, .inner = &schema_version_answer},
};
const struct shape schema_overview_answer = {"SchemaOverview", overview_members,
                                             sizeof overview_members / sizeof overview_members[0]};

static const struct shape_member type_members[] = {
    {"name", .kind = SHAPE_TEXT},
    {"product", .kind = SHAPE_TEXT},
    {"product_group", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"description", .kind = SHAPE_LINES},
    {"status", SHAPE_ENUM, 0, .names = event_type_status_names, .n_names = EVENT_TYPE_STATUSES},
    {"schema", .kind = SHAPE_TEXT},
    {"schema_version", SHAPE_NUMBER, .min = 1},
    {"schema_url", .kind = SHAPE_TEXT},
    {"shipped", .kind = SHAPE_BOOL},
    {"example", SHAPE_OWN, 0, .schema = "{\"description\":\"Of data\"}"},
    {"date_created", SHAPE_TIME, .flags = SHAPE_NULLABLE},
    {"date_updated", SHAPE_TIME, .flags = SHAPE_NULLABLE},
};
const struct shape event_type_answer = {"EventType", type_members,
                                        sizeof type_members / sizeof type_members[0]};

static void write_date(json_out *out, const char *name, int64_t ms) {
    char text[MR_TIME_TEXT_SIZE];
    if (ms == 0) {
        json_out_member_null(out, name);
        return;
    }
    mr_time_format_ms(mr_wall_of_ms(ms), text);
    json_out_member_c(out, name, text);
}

/* Where the document is served to everyone. */
static void write_url(json_out *out, const char *name, mr_str public_url, mr_str schema,
                      uint32_t version) {
    char url[URL_SIZE];
    (void)snprintf(url, sizeof url, "%.*s/schemas/%.*s/%u", MR_FMT(public_url), MR_FMT(schema),
                   version);
    json_out_member_c(out, name, url);
}

static void version_members(const struct catalogue_schema *version, mr_str public_url, bool whole,
                            json_out *out) {
    json_out_member_str(out, "schema", version->name);
    json_out_member_u64(out, "version", version->version);
    write_url(out, "url", public_url, version->name, version->version);
    json_out_member_bool(out, "shipped", version->is_shipped);
    json_out_member_raw(out, "ignored", version->ignored);
    json_out_member_raw(out, "breaking", version->breaking);
    if (whole) {
        json_out_member_raw(out, "document", version->document);
        json_out_member_array(out, "examples");
        for (size_t i = 0; i < version->n_examples; i++) {
            json_out_raw(out, version->examples[i]);
        }
        json_out_end(out);
    }
    write_date(out, "date_published", version->published_ms);
}

void schema_version_write(const struct catalogue_schema *version, mr_str public_url, bool whole,
                          json_out *out) {
    json_out_object(out);
    version_members(version, public_url, whole, out);
    json_out_end(out);
}

void schema_write(const struct catalogue *catalogue, const struct catalogue_schema *latest,
                  mr_str public_url, bool with_versions, json_out *out) {
    const struct catalogue_schema *first = catalogue_schema_find(catalogue, latest->name, 1);
    json_out_object(out);
    json_out_member_str(out, "name", latest->name);
    json_out_member_u64(out, "latest_version", latest->version);
    json_out_member_bool(out, "shipped", latest->is_shipped);
    write_url(out, "url", public_url, latest->name, latest->version);
    if (with_versions) {
        json_out_member_array(out, "versions");
        for (uint32_t i = 1; i <= latest->version; i++) {
            schema_version_write(catalogue_schema_find(catalogue, latest->name, i), public_url,
                                 false, out);
        }
        json_out_end(out);
    }
    write_date(out, "date_created", first->published_ms);
    write_date(out, "date_updated", latest->published_ms);
    json_out_end(out);
}

void event_type_write(const struct catalogue_type *type, mr_str public_url, json_out *out) {
    json_out_object(out);
    json_out_member_str(out, "name", type->name);
    json_out_member_str(out, "product", type->product);
    json_out_member_str(out, "product_group", type->product_group);
    json_out_member_str(out, "description", type->description);
    json_out_member_str(out, "status", type->status);
    json_out_member_str(out, "schema", type->schema);
    json_out_member_u64(out, "schema_version", type->latest);
    write_url(out, "schema_url", public_url, type->schema, type->latest);
    json_out_member_bool(out, "shipped", !mr_str_is_absent(type->shipped_name));
    json_out_member_raw(out, "example", type->example);
    write_date(out, "date_created", type->created_ms);
    write_date(out, "date_updated", type->updated_ms);
    json_out_end(out);
}
