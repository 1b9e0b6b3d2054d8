/* Bodies of API clients, in and out. The members are KORE's with its names and forms of dates, and
 * Millrace's own beside them (client_type, client_owner, token_expiry, enabled). */
#include "control/access/parts.h"

#include "control/people/users.h"
#include "json/merge.h"
#include "json/write.h"

static const char *const type_names[] = {"standard", "admin"};
static const char *const expiry_names[] = {"1 hour", "1 day", "30 days", "24 months"};
static const uint32_t expiries_s[] = {CLIENT_EXPIRY_HOUR, CLIENT_EXPIRY_DAY, CLIENT_EXPIRY_30_DAYS,
                                      CLIENT_EXPIRY_24_MONTHS};
#define EXPIRY_COUNT (sizeof expiries_s / sizeof expiries_s[0])

static const char *const global_names[] = {"API Clients", "Accounts", "Users", "Audit Log"};
static const char *const access_names[] = {"Read", "Write", "Modify", "Delete"};
#define PRODUCT_NAMES                                                                              \
    "[\"SuperSIM\",\"ProgrammableWireless\",\"Events\",\"Event Streams\",\"Webhooks\","            \
    "\"Event Catalogue\"]"

static const struct shape_member global_members[] = {
    {.name = "resourceName",
     .kind = SHAPE_ENUM,
     .flags = SHAPE_NEEDED,
     .names = global_names,
     .n_names = 4,
     .what = "the resource"},
    {.name = "access",
     .kind = SHAPE_TEXTS,
     .flags = SHAPE_NEEDED,
     .max = 4,
     .names = access_names,
     .n_names = 4,
     .what = "what may be done to it"},
};
static const struct shape global_shape = {
    .name = "GlobalResource", .members = global_members, .n = 2};

static const struct shape_member scopes_members[] = {
    {.name = "globalResources",
     .kind = SHAPE_INNERS,
     .max = 16,
     .inner = &global_shape,
     .what = "rights over the account itself; of admin clients only"},
    {.name = "products",
     .kind = SHAPE_OWN,
     .schema =
         "{\"type\":\"array\",\"maxItems\":32,\"items\":{\"anyOf\":[{\"enum\":" PRODUCT_NAMES
         "},{\"type\":\"object\",\"additionalProperties\":false,\"required\":"
         "[\"resourceName\",\"access\"],\"properties\":{\"resourceName\":{\"enum\":" PRODUCT_NAMES
         "},\"access\":{\"type\":\"array\",\"items\":{\"enum\":[\"Read\","
         "\"Write\",\"Modify\",\"Delete\"]}}}}]}}",
     .what = "rights over products; a name alone grants all four kinds of access"},
};
static const struct shape scopes_shape = {.name = "Scopes", .members = scopes_members, .n = 2};

static const struct shape_member client_members[] = {
    {.name = "name",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 1,
     .max = 255,
     .what = "what people call it"},
    {.name = "locked",
     .kind = SHAPE_BOOL,
     .flags = SHAPE_NEEDED | SHAPE_NULLABLE,
     .what = "true: only the Owner, Admins, its owner, and admin clients with all its rights "
             "change it"},
    {.name = "scopes",
     .kind = SHAPE_INNER,
     .flags = SHAPE_NEEDED,
     .inner = &scopes_shape,
     .what = "what its tokens may do; within the caller's own"},
    {.name = "account_id",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_CREATE_ONLY,
     .min = 1,
     .max = 64,
     .what = "the account it acts in; the caller's, or one below it"},
    {.name = "client_owner",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NULLABLE,
     .min = 3,
     .max = 254,
     .what = "e-mail address of its owner; null: the account owner's"},
    {.name = "client_type",
     .kind = SHAPE_ENUM,
     .names = type_names,
     .n_names = 2,
     .what = "standard: products only; admin: also global resources"},
    {.name = "token_expiry",
     .kind = SHAPE_ENUM,
     .flags = SHAPE_NULLABLE,
     .names = expiry_names,
     .n_names = EXPIRY_COUNT,
     .what = "how long its tokens are valid; null: 1 hour"},
    {.name = "enabled",
     .kind = SHAPE_BOOL,
     .flags = SHAPE_CHANGE_ONLY,
     .what = "false: it gets no tokens, and those it has are refused at once"},
};
const struct shape client_shape = {.name = "Client",
                                   .members = client_members,
                                   .n = sizeof client_members / sizeof client_members[0]};

static const struct shape_member rotation_members[] = {
    {.name = "revoke_tokens",
     .kind = SHAPE_BOOL,
     .what = "true: tokens got with the old secret are refused at once"},
};
const struct shape client_rotation_shape = {
    .name = "ClientSecretRotation", .members = rotation_members, .n = 1};

/* ---- in ---- */

mr_err client_check(const struct client_spec *spec, struct refusal *ret_refusal) {
    if (spec->name.len == 0 || spec->name.len > 255 || !mr_str_is_utf8(spec->name)) {
        return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED, "name must have 1 to 255 bytes.");
    }
    size_t at = 0;
    while (at < EXPIRY_COUNT && expiries_s[at] != spec->token_expiry_s) {
        at++;
    }
    if (at == EXPIRY_COUNT) {
        return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED,
                      "The token expiry must be 1 hour, 1 day, 30 days or 24 months.");
    }
    if (spec->client_owner.len > 0 && !user_email_is_plausible(spec->client_owner)) {
        return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED,
                      "client_owner must be an e-mail address.");
    }
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if (spec->type == AUTH_CLIENT_STANDARD && spec->scopes.access[i] != 0 &&
            auth_resource_is_global((enum auth_resource)i)) {
            return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED,
                          "A standard client cannot have global resources.");
        }
    }
    return MR_OK;
}

static mr_err refuse_scopes(const char *why, struct refusal *ret_refusal) {
    return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED, "scopes: %s.", why);
}

static void read_expiry(json_value body, uint32_t *out) {
    uint32_t at = EXPIRY_COUNT;
    shape_enum(body, &client_shape, "token_expiry", &at);
    if (at < EXPIRY_COUNT) {
        *out = expiries_s[at];
    }
}

static void read_type(json_value body, enum auth_client_type *out) {
    _Static_assert(AUTH_CLIENT_STANDARD == 0 && AUTH_CLIENT_ADMIN == 1, "the order of type_names");
    uint32_t at = (uint32_t)*out;
    shape_enum(body, &client_shape, "client_type", &at);
    *out = (enum auth_client_type)at;
}

static void read_locked(json_value body, int8_t *out) {
    if (shape_is_null(body, "locked")) {
        *out = -1;
    } else if (shape_has(body, "locked")) {
        bool is_locked = false;
        shape_bool(body, "locked", &is_locked);
        *out = is_locked ? 1 : 0;
    }
}

mr_err client_body_read(json_value body, mr_arena *arena, struct client_spec *ret_spec,
                        mr_str *ret_account_id, struct refusal *ret_refusal) {
    const char *why = NULL;
    struct client_spec spec = {.client_owner = MR_STR_NONE,
                               .type = AUTH_CLIENT_STANDARD,
                               .token_expiry_s = CLIENT_EXPIRY_HOUR};
    *ret_account_id = MR_STR_NONE;
    MR_TRY(shape_text(body, "name", arena, &spec.name));
    MR_TRY(shape_text(body, "account_id", arena, ret_account_id));
    MR_TRY(shape_text(body, "client_owner", arena, &spec.client_owner));
    read_locked(body, &spec.locked);
    read_type(body, &spec.type);
    read_expiry(body, &spec.token_expiry_s);
    mr_err err = auth_scopes_of_json(shape_value(body, "scopes"), &spec.scopes, &why);
    if (mr_err_is(err, MR_E_INVALID)) {
        return refuse_scopes(why, ret_refusal);
    }
    MR_TRY(err);
    *ret_spec = spec;
    return MR_OK;
}

/* A patch merges into the scopes member by member, as RFC 7396 has it. */
static mr_err merge_scopes(json_value patch, struct auth_scopes *scopes,
                           struct refusal *ret_refusal) {
    const char *why = NULL;
    mr_buf present;
    mr_buf merged;
    json_tape tape;
    mr_buf_init(&present, CLIENT_SCOPES_BYTES_MAX);
    mr_buf_init(&merged, (size_t)1 << 21);
    json_tape_init(&tape, 8);
    mr_err err = auth_scopes_write(scopes, &present);
    if (mr_is_ok(err)) {
        err = json_tape_read(&tape, mr_buf_view(&present), NULL);
    }
    if (mr_is_ok(err)) {
        err = json_merge(json_root(&tape), patch, &merged);
    }
    if (mr_is_ok(err)) {
        err = auth_scopes_parse(mr_buf_view(&merged), scopes, &why);
    }
    json_tape_done(&tape);
    mr_buf_done(&present);
    mr_buf_done(&merged);
    return mr_err_is(err, MR_E_INVALID) ? refuse_scopes(why != NULL ? why : "too deep", ret_refusal)
                                        : err;
}

static mr_err apply_judged(json_value body, mr_arena *arena, struct client_view *view,
                           bool *ret_takes_default, struct refusal *ret_refusal) {
    static const char *const never_null[] = {"name", "scopes", "client_type", "enabled"};
    for (size_t i = 0; i < sizeof never_null / sizeof never_null[0]; i++) {
        if (shape_is_null(body, never_null[i])) {
            return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED, "%s cannot be null.",
                          never_null[i]);
        }
    }
    MR_TRY(shape_text(body, "name", arena, &view->name));
    MR_TRY(shape_text(body, "client_owner", arena, &view->client_owner));
    *ret_takes_default = shape_is_null(body, "client_owner");
    read_locked(body, &view->locked);
    read_type(body, &view->type);
    shape_bool(body, "enabled", &view->is_enabled);
    if (shape_is_null(body, "token_expiry")) {
        view->token_expiry_s = CLIENT_EXPIRY_HOUR;
    }
    read_expiry(body, &view->token_expiry_s);
    json_value scopes = shape_value(body, "scopes");
    return json_is_absent(scopes) ? MR_OK : merge_scopes(scopes, &view->scopes, ret_refusal);
}

mr_err client_body_apply(mr_str body, mr_arena *arena, struct client_view *view,
                         bool *ret_takes_default, struct refusal *ret_refusal) {
    static const struct body_place place = {.path = "", .wrong = REFUSAL_CLIENT_MALFORMED};
    json_tape tape;
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = shape_check(json_root(&tape), &client_shape, SHAPE_CHANGE, &place, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = apply_judged(json_root(&tape), arena, view, ret_takes_default, ret_refusal);
    }
    json_tape_done(&tape);
    return err;
}

/* ---- out ---- */

static const struct shape_member right_answer_members[] = {
    {"resourceName", .kind = SHAPE_TEXT},
    {"access", SHAPE_TEXTS, .names = access_names, .n_names = 4},
};
static const struct shape right_answer = {"ResourceAccess", right_answer_members,
                                          sizeof right_answer_members /
                                              sizeof right_answer_members[0]};
static const struct shape_member scopes_answer_members[] = {
    {"globalResources", SHAPE_INNERS, .inner = &right_answer},
    {"products", SHAPE_INNERS, .inner = &right_answer},
};
const struct shape scopes_answer = {"Scopes", scopes_answer_members,
                                    sizeof scopes_answer_members / sizeof scopes_answer_members[0]};
static const struct shape_member row_answer_members[] = {
    {"client_id", .kind = SHAPE_TEXT},
    {"account_id", .kind = SHAPE_TEXT},
    {"name", .kind = SHAPE_TEXT},
    {"client_owner", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"client_type", SHAPE_ENUM, 0, .names = type_names, .n_names = 2},
    {"locked", SHAPE_BOOL, .flags = SHAPE_NULLABLE},
    {"date_created", SHAPE_TEXT, 0, .what = "As in HTTP fields"},
    {"enabled", .kind = SHAPE_BOOL},
    {"token_expiry", SHAPE_ENUM, 0, .names = expiry_names, .n_names = EXPIRY_COUNT},
    {"scopes", SHAPE_INNER, .inner = &scopes_answer},
};
static const struct shape row_answer = {"ClientRow", row_answer_members,
                                        sizeof row_answer_members / sizeof row_answer_members[0]};
static const struct shape_member client_answer_members[] = {
    {"client", SHAPE_INNER, .inner = &row_answer},
};
const struct shape client_answer = {"Client", client_answer_members,
                                    sizeof client_answer_members / sizeof client_answer_members[0]};
static const struct shape_member client_list_answer_members[] = {
    {"meta", SHAPE_INNER, .inner = &control_page_answer},
    {"clients", SHAPE_INNERS, .inner = &row_answer},
};
const struct shape client_list_answer = {"ClientList", client_list_answer_members,
                                         sizeof client_list_answer_members /
                                             sizeof client_list_answer_members[0]};
static const struct shape_member client_created_answer_members[] = {
    {"message", .kind = SHAPE_TEXT},
    {"client_id", .kind = SHAPE_TEXT},
    {"client_secret", SHAPE_TEXT, SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "Not in an answer repeated by its Idempotency-Key"},
    {"client_type", SHAPE_ENUM, 0, .names = type_names, .n_names = 2},
    {"account_id", .kind = SHAPE_TEXT},
    {"name", .kind = SHAPE_TEXT},
    {"date_created", .kind = SHAPE_TIME},
    {"client_owner", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"locked", SHAPE_BOOL, .flags = SHAPE_NULLABLE},
};
const struct shape client_created_answer = {"ClientCreated", client_created_answer_members,
                                            sizeof client_created_answer_members /
                                                sizeof client_created_answer_members[0]};
static const struct shape_member client_secret_answer_members[] = {
    {"client_id", .kind = SHAPE_TEXT},
    {"client_secret", SHAPE_TEXT, SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "Not in an answer repeated by its Idempotency-Key"},
};
const struct shape client_secret_answer = {"ClientSecret", client_secret_answer_members,
                                           sizeof client_secret_answer_members /
                                               sizeof client_secret_answer_members[0]};

static void write_locked(const struct client_view *view, json_out *out) {
    if (view->locked < 0) {
        json_out_member_null(out, "locked");
    } else {
        json_out_member_bool(out, "locked", view->locked != 0);
    }
}

static const char *expiry_name(uint32_t expiry_s) {
    size_t at = 0;
    while (at + 1 < EXPIRY_COUNT && expiries_s[at] != expiry_s) {
        at++;
    }
    return expiry_names[at];
}

static mr_err write_client(const struct client_view *view, json_out *out) {
    char date[MR_TIME_TEXT_SIZE];
    mr_buf scopes;
    mr_time_format_http(mr_wall_of_ms(view->created_ms), date);
    mr_buf_init(&scopes, CLIENT_SCOPES_BYTES_MAX);
    mr_err err = auth_scopes_write(&view->scopes, &scopes);
    json_out_object(out);
    json_out_member_str(out, "client_id", view->client_id);
    json_out_member_str(out, "account_id", view->account_id);
    json_out_member_str(out, "name", view->name);
    json_out_member_str(out, "client_owner", view->client_owner);
    json_out_member_str(out, "client_type", auth_client_type_name(view->type));
    write_locked(view, out);
    json_out_member_c(out, "date_created", date);
    json_out_member_bool(out, "enabled", view->is_enabled);
    json_out_member_c(out, "token_expiry", expiry_name(view->token_expiry_s));
    json_out_member_raw(out, "scopes", mr_buf_view(&scopes));
    json_out_end(out);
    mr_buf_done(&scopes);
    return err;
}

mr_err client_write_json(const struct client_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_name(&writer, MR_STR("client"));
    mr_err err = write_client(view, &writer);
    json_out_end(&writer);
    mr_err finished = json_out_finish(&writer);
    return mr_is_err(err) ? err : finished;
}

mr_err client_list_write_json(const struct client_view *rows, size_t n,
                              const struct control_page *page, uint64_t count, mr_str url,
                              mr_buf *out) {
    mr_err err = MR_OK;
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_object(&writer, "meta");
    control_page_write(page, count, url, &writer);
    json_out_end(&writer);
    json_out_member_array(&writer, "clients");
    for (size_t i = 0; i < n && mr_is_ok(err); i++) {
        err = write_client(&rows[i], &writer);
    }
    json_out_end(&writer);
    json_out_end(&writer);
    mr_err finished = json_out_finish(&writer);
    return mr_is_err(err) ? err : finished;
}

mr_err client_created_write_json(const struct client_view *view, mr_str secret, mr_buf *out) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(view->created_ms), date);
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_c(&writer, "message", "The client was created. Its secret is shown this once.");
    json_out_member_str(&writer, "client_id", view->client_id);
    if (!mr_str_is_absent(secret)) {
        json_out_member_str(&writer, "client_secret", secret);
    }
    json_out_member_str(&writer, "client_type", auth_client_type_name(view->type));
    json_out_member_str(&writer, "account_id", view->account_id);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_c(&writer, "date_created", date);
    json_out_member_str(&writer, "client_owner", view->client_owner);
    write_locked(view, &writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

mr_err client_secret_write_json(const struct client_view *view, mr_str secret, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "client_id", view->client_id);
    if (!mr_str_is_absent(secret)) {
        json_out_member_str(&writer, "client_secret", secret);
    }
    json_out_end(&writer);
    return json_out_finish(&writer);
}
