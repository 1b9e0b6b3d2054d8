/* What POST /v1/events takes and answers, for /openapi.json. It reads its bodies and writes its
 * answers itself, for speed (ingest.h); the end-to-end tests hold each of them against this. */
#include "api/docs.h"

static const struct shape_member told_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"sequence", SHAPE_TEXT, 0, .what = "Opaque; sorts as events were accepted"},
    {"duplicate", SHAPE_BOOL, 0, .what = "It was accepted before and is not stored again"},
};
static const struct shape told_answer = {"AcceptedEvent", told_members,
                                         sizeof told_members / sizeof told_members[0]};
static const struct shape_member accepted_members[] = {
    {"accepted", .kind = SHAPE_NUMBER},
    {"duplicates", .kind = SHAPE_NUMBER},
    {"events", SHAPE_INNERS, 0, .inner = &told_answer},
};
static const struct shape accepted_answer = {"Accepted", accepted_members,
                                             sizeof accepted_members / sizeof accepted_members[0]};
#define EVENT_SCHEMA                                                                               \
    "{\"description\":\"One CloudEvent 1.0\",\"type\":\"object\",\"required\":[\"id\",\"source\"," \
    "\"type\",\"specversion\"],\"properties\":{\"id\":{\"type\":\"string\",\"minLength\":1},"      \
    "\"source\":{\"type\":\"string\",\"minLength\":1},\"type\":{\"type\":\"string\","              \
    "\"minLength\":1},"                                                                            \
    "\"specversion\":{\"const\":\"1.0\"}},\"additionalProperties\":true}"
const struct api_doc api_doc_EVENTS_PUBLISH = {
    .summary = "Publish events",
    .what =
        "CloudEvents 1.0 in structured, batched or binary form (ce-… fields, the body is data). "
        "The answer comes when they are on disk; a refusal stores nothing.",
    .media = API_MEDIA_EVENTS,
    .body_schema = EVENT_SCHEMA,
    .status = 202,
    .answer = &accepted_answer,
    .refused = "\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
               "\"index\":{\"type\":\"integer\"},\"pointer\":{\"type\":\"string\"},"
               "\"offset\":{\"type\":[\"integer\",\"null\"]},\"rule\":{\"type\":\"string\"},"
               "\"message\":{\"type\":\"string\"}},\"required\":[\"index\",\"pointer\",\"offset\","
               "\"rule\",\"message\"],\"additionalProperties\":false}}",
    API_REFUSALS(409, 429)};
