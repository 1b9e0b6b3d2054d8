/* Users: reading, adding, their JSON, and their rows as objects of the snapshot. See users.h;
 * changes stand in change.c.
 *
 * What a user may do is worked out when the row is read into the snapshot (auth/roles.h), so that a
 * worker compares bits. A row whose products cannot be read any more gives a user without rights,
 * never one with all. */
#include "control/people/users.h"

#include "control/people/parts.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

static const char *const status_names[USER_STATUS_COUNT] = {"ACTIVE", "INVITED", "DISABLED"};

/* Of an invite and a change: the Owner is made by handing over alone. */
static const char *const role_names[] = {"admin", "developer", "default"};
static const char *const all_role_names[AUTH_ROLE_COUNT] = {"owner", "admin", "developer",
                                                            "default"};
static const char *const changed_status_names[] = {"ACTIVE", "DISABLED"};
static const char *const product_names[] = {
    "SuperSIM", "ProgrammableWireless", "Events", "Event Streams", "Webhooks", "Event Catalogue"};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

#define ROLE_MEMBER                                                                                \
    {                                                                                              \
        .name = "role", .kind = SHAPE_ENUM, .flags = SHAPE_NEEDED, .names = role_names,            \
        .n_names = COUNT(role_names), .what = "What the user may do"                               \
    }
#define NAME_MEMBER                                                                                \
    { .name = "name", .kind = SHAPE_TEXT, .min = 0, .max = 255, .what = "For people" }
#define PRODUCTS_MEMBER                                                                            \
    {                                                                                              \
        .name = "products", .kind = SHAPE_TEXTS, .flags = SHAPE_NULLABLE, .min = 1,                \
        .max = COUNT(product_names), .names = product_names, .n_names = COUNT(product_names),      \
        .what = "The products that the user is restricted to; null: all"                           \
    }

static const struct shape_member create_members[] = {
    {.name = "email",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 3,
     .max = USER_EMAIL_MAX,
     .what = "Where the invite goes, and the name to sign in with"},
    NAME_MEMBER,
    ROLE_MEMBER,
    PRODUCTS_MEMBER,
};
const struct shape user_create_shape = {"User", create_members, COUNT(create_members)};

static const struct shape_member change_members[] = {
    NAME_MEMBER,
    ROLE_MEMBER,
    {.name = "status",
     .kind = SHAPE_ENUM,
     .names = changed_status_names,
     .n_names = COUNT(changed_status_names),
     .what = "DISABLED: the user cannot sign in"},
    PRODUCTS_MEMBER,
};
const struct shape user_change_shape = {"User", change_members, COUNT(change_members)};

static const struct shape_member ownership_members[] = {
    {.name = "user_id",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 1,
     .max = 64,
     .what = "The account's next Owner, one of its active users"},
};
const struct shape ownership_shape = {"OwnershipTransfer", ownership_members, 1};

mr_str user_status_name(enum user_status status) {
    MR_ASSERT(status < USER_STATUS_COUNT);
    return mr_str_c(status_names[status]);
}

bool user_email_is_plausible(mr_str email) {
    size_t at = mr_str_find_byte(email, '@', 0);
    if (email.len > USER_EMAIL_MAX || at == SIZE_MAX || at == 0 || at + 1 >= email.len ||
        mr_str_find_byte(email, '@', at + 1) != SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < email.len; i++) {
        if (email.ptr[i] <= ' ' || email.ptr[i] >= 0x7f ||
            mr_str_find_byte(MR_STR("<>()[],;:\\\""), email.ptr[i], 0) != SIZE_MAX) {
            return false; /* what could end an address in a mail's fields */
        }
    }
    return true;
}

mr_str user_email_fold(mr_arena *arena, mr_str email) {
    char *folded = mr_arena_alloc(arena, email.len + 1);
    if (folded == NULL) {
        return MR_STR_NONE;
    }
    for (size_t i = 0; i < email.len; i++) {
        char c = email.ptr[i];
        folded[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    folded[email.len] = '\0';
    return mr_str_of(folded, email.len);
}

/* ---- adding ---- */

mr_err user_products_read(json_value root, mr_arena *arena, mr_str *products) {
    if (shape_is_null(root, "products")) {
        *products = MR_STR_NONE;
    }
    json_value list = shape_value(root, "products");
    if (json_is_absent(list)) {
        return MR_OK;
    }
    mr_buf text;
    mr_buf_init(&text, 4096);
    mr_err err = json_minify(list, JSON_UTF8, &text);
    if (mr_is_ok(err)) {
        *products = mr_arena_str(arena, mr_buf_view(&text));
        err = mr_str_is_absent(*products) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&text);
    return err;
}

static mr_err read_spec(json_value root, mr_arena *arena, struct user_spec *spec,
                        struct refusal *ret_refusal) {
    uint32_t role = 0;
    mr_str email = MR_STR_NONE;
    MR_TRY(shape_text(root, "email", arena, &email));
    if (!user_email_is_plausible(email)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "email must be an e-mail address, like ops@example.com.");
    }
    spec->email = user_email_fold(arena, email);
    spec->name = MR_STR("");
    spec->products = MR_STR_NONE;
    MR_TRY(shape_text(root, "name", arena, &spec->name));
    shape_enum(root, &user_create_shape, "role", &role);
    spec->role = (enum auth_role)(AUTH_ROLE_ADMIN + role);
    MR_TRY(user_products_read(root, arena, &spec->products));
    return mr_str_is_absent(spec->email) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

mr_err users_read_spec(struct control *control, mr_str body, mr_arena *arena,
                       struct user_spec *ret_spec, struct refusal *ret_refusal) {
    json_tape tape;
    struct user_spec spec = {.role = AUTH_ROLE_DEFAULT};
    mr_err err = shape_read(&tape, body, &user_create_shape, SHAPE_CREATE, ret_refusal);
    if (mr_is_ok(err)) {
        err = read_spec(json_root(&tape), arena, &spec, ret_refusal);
    }
    json_tape_done(&tape);
    if (mr_is_ok(err)) {
        *ret_spec = spec;
    }
    return refuse_error(control, err, ret_refusal);
}

mr_err users_insert(struct control *control, uint32_t account, const struct user_spec *spec,
                    enum user_status status, uint32_t *ret_number, struct refusal *ret_refusal) {
    MR_ASSERT(user_email_is_plausible(spec->email));
    mr_wall now = os_wall_now();
    uint32_t number = 0;
    char id[CRYPTO_ID_SIZE];
    MR_TRY(number_take(control, "user", &number));
    crypto_id_make(MR_STR("user_"), now, id);
    struct query query = query_begin(
        &control->store,
        "INSERT INTO users(number, id, account, email, name, role, status, products, created_ms,"
        " updated_ms) VALUES(?1, ?2, ?3, lower(?4), ?5, ?6, ?7, ?8, ?9, ?9)");
    query_i64(&query, number);
    query_text(&query, mr_str_c(id));
    query_i64(&query, account);
    query_text(&query, spec->email);
    query_text(&query, spec->name);
    query_text(&query, auth_role_name(spec->role));
    query_text(&query, user_status_name(status));
    query_text(&query, spec->products);
    query_i64(&query, mr_wall_ms(now));
    mr_err err = query_run(&query);
    if (mr_err_is(err, MR_E_EXISTS)) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT, "%s",
                      spec->role == AUTH_ROLE_OWNER
                          ? "The account has an Owner, or a user with this e-mail, already."
                          : "The account has a user with this e-mail already.");
    }
    MR_TRY(err);
    *ret_number = number;
    return change_mark(control, MODEL_USER, number);
}

/* ---- reading ---- */

#define VIEW_SELECT                                                                                \
    "SELECT u.number, u.id, u.account, a.id, u.email, u.name, u.role, u.status, u.products,"       \
    " u.password IS NOT NULL, u.totp_confirmed, u.generation, u.version, u.created_ms,"            \
    " coalesce(u.updated_ms, u.created_ms), coalesce(u.signed_in_ms, 0) FROM users u"              \
    " JOIN accounts a ON a.number = u.account "

static enum user_status parse_status(mr_str name) {
    for (size_t i = 0; i < USER_STATUS_COUNT; i++) {
        if (mr_str_eq(name, mr_str_c(status_names[i]))) {
            return (enum user_status)i;
        }
    }
    return USER_DISABLED;
}

static mr_err read_view(struct query *query, mr_arena *arena, struct user_view *view) {
    *view = (struct user_view){
        .number = (uint32_t)query_col_i64(query, 0),
        .id = query_col_text(query, 1, arena),
        .account = (uint32_t)query_col_i64(query, 2),
        .account_id = query_col_text(query, 3, arena),
        .email = query_col_text(query, 4, arena),
        .name = query_col_text(query, 5, arena),
        .status = parse_status(query_col_bytes(query, 7)),
        .products = query_col_text(query, 8, arena),
        .has_password = query_col_i64(query, 9) != 0,
        .has_second_factor = query_col_i64(query, 10) != 0,
        .generation = (uint32_t)query_col_i64(query, 11),
        .version = (uint32_t)query_col_i64(query, 12),
        .created_ms = query_col_i64(query, 13),
        .updated_ms = query_col_i64(query, 14),
        .signed_in_ms = query_col_i64(query, 15),
    };
    return auth_role_parse(query_col_bytes(query, 6), &view->role) ? MR_OK : MR_ERR(MR_E_FAILED);
}

/* Takes the one row of a query. 20404. */
static mr_err take_one(struct query *query, mr_arena *arena, struct user_view *view,
                       struct refusal *ret_refusal) {
    mr_err err = MR_ERR(MR_E_NOT_FOUND);
    while (query_row(query)) {
        err = read_view(query, arena, view);
    }
    mr_err ended = query_end(query);
    if (mr_is_err(ended)) {
        return ended;
    }
    return mr_err_is(err, MR_E_NOT_FOUND)
               ? refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such user in this account.")
               : err;
}

mr_err users_get(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                 struct user_view *ret_view, struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, VIEW_SELECT "WHERE u.id = ?1 AND (?2 = 0 OR u.account = ?2)");
    query_text(&query, id);
    query_i64(&query, account);
    return refuse_error(control, take_one(&query, arena, ret_view, ret_refusal), ret_refusal);
}

mr_err users_get_number(struct control *control, uint32_t number, mr_arena *arena,
                        struct user_view *ret_view, struct refusal *ret_refusal) {
    struct query query = query_begin(&control->store, VIEW_SELECT "WHERE u.number = ?1");
    query_i64(&query, number);
    return refuse_error(control, take_one(&query, arena, ret_view, ret_refusal), ret_refusal);
}

static mr_err take_rows(struct query *query, mr_arena *arena, size_t max,
                        struct user_view **ret_rows, size_t *ret_n) {
    struct user_view *rows = mr_arena_calloc(arena, max, sizeof *rows);
    size_t n = 0;
    mr_err err = rows == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
    while (mr_is_ok(err) && n < max && query_row(query)) {
        err = read_view(query, arena, &rows[n++]);
    }
    mr_err ended = query_end(query);
    *ret_rows = rows;
    *ret_n = n;
    return mr_is_err(err) ? err : ended;
}

mr_err users_find_email(struct control *control, uint32_t account, mr_str email, mr_arena *arena,
                        size_t max, struct user_view **ret_rows, size_t *ret_n,
                        struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, VIEW_SELECT "WHERE u.email = lower(?1) AND (?2 = 0 OR"
                                                 " u.account = ?2) ORDER BY u.number LIMIT ?3");
    query_text(&query, email);
    query_i64(&query, account);
    query_i64(&query, (int64_t)max);
    return refuse_error(control, take_rows(&query, arena, max, ret_rows, ret_n), ret_refusal);
}

static mr_err list_inner(struct control *control, uint32_t account, struct control_page page,
                         mr_arena *arena, struct user_view **ret_rows, size_t *ret_n,
                         uint64_t *ret_count) {
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM users WHERE account = ?1");
    query_i64(&query, account);
    while (query_row(&query)) {
        *ret_count = (uint64_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    query = query_begin(&control->store,
                        VIEW_SELECT "WHERE u.account = ?1 ORDER BY u.number LIMIT ?2 OFFSET ?3");
    query_i64(&query, account);
    query_i64(&query, page.size);
    query_i64(&query, (int64_t)(page.number - 1) * page.size);
    return take_rows(&query, arena, page.size, ret_rows, ret_n);
}

mr_err users_list(struct control *control, uint32_t account, struct control_page page,
                  mr_arena *arena, struct user_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                  struct refusal *ret_refusal) {
    return refuse_error(control,
                        list_inner(control, account, page, arena, ret_rows, ret_n, ret_count),
                        ret_refusal);
}

/* ---- the snapshot ---- */

/* Who comes by a portal link was let in by whoever made it, who knows them: no second factor is
 * asked. They are many in one user, so nobody changes it from within. */
static void be_portal(struct model_user *user) {
    user->has_second_factor = true;
    user->scopes.access[AUTH_RES_SESSION] &= AUTH_READ | AUTH_DELETE;
}

mr_err user_load(struct control *control, uint32_t number, struct model_object **ret_object) {
    struct query query =
        query_begin(&control->store, "SELECT id, account, role, status, products, totp_confirmed,"
                                     " email LIKE '%" USER_PORTAL_DOMAIN "'"
                                     " FROM users WHERE number = ?1");
    query_i64(&query, number);
    struct model_user *user = NULL;
    mr_err err = MR_OK;
    bool is_found = query_row(&query);
    if (is_found) {
        user =
            model_user_new(number, query_col_bytes(&query, 0), (uint32_t)query_col_i64(&query, 1));
    }
    if (user != NULL) {
        user->role = AUTH_ROLE_DEFAULT;
        bool is_role = auth_role_parse(query_col_bytes(&query, 2), &user->role);
        user->is_active = is_role && parse_status(query_col_bytes(&query, 3)) == USER_ACTIVE;
        user->has_second_factor = query_col_i64(&query, 5) != 0;
        err = auth_role_scopes(user->role, query_col_bytes(&query, 4), &user->scopes);
        if (query_col_i64(&query, 6) != 0) {
            be_portal(user);
        }
        if (mr_err_is(err, MR_E_INVALID)) {
            mr_error(control->options.log, "user_damaged", mr_kv_i64("user", number));
            err = MR_OK;
        }
    }
    mr_err ended = query_end(&query);
    if (mr_is_ok(err)) {
        err = mr_is_ok(ended) && is_found && user == NULL ? MR_ERR(MR_E_NOMEM) : ended;
    }
    if (mr_is_err(err)) {
        model_object_unref(user == NULL ? NULL : &user->object);
        return err;
    }
    *ret_object = user == NULL ? NULL : &user->object;
    return MR_OK;
}

/* ---- JSON ---- */

#define USER_MEMBERS                                                                               \
    {"id", .kind = SHAPE_TEXT}, {"account_id", .kind = SHAPE_TEXT}, {"email", .kind = SHAPE_TEXT}, \
        {"name", .kind = SHAPE_TEXT},                                                              \
        {"role", SHAPE_ENUM, 0, .names = all_role_names, .n_names = AUTH_ROLE_COUNT},              \
        {"status", SHAPE_ENUM, 0, .names = status_names, .n_names = USER_STATUS_COUNT},            \
        {"products", SHAPE_TEXTS, SHAPE_NULLABLE, .what = "null: all"},                            \
        {"second_factor", .kind = SHAPE_BOOL}, {"date_created", .kind = SHAPE_TIME},               \
        {"date_updated", .kind = SHAPE_TIME}, {                                                    \
        "date_signed_in", SHAPE_TIME, .flags = SHAPE_NULLABLE                                      \
    }
static const struct shape_member user_answer_members[] = {
    USER_MEMBERS,
};
const struct shape user_answer = {"User", user_answer_members,
                                  sizeof user_answer_members / sizeof user_answer_members[0]};
/* With a link (invites.c). */
static const struct shape_member user_invited_answer_members[] = {
    USER_MEMBERS,
    {"date_link_expires", .kind = SHAPE_TIME},
    {"invite_url", SHAPE_TEXT, .flags = SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "Where it was not mailed; not in an answer repeated by its Idempotency-Key"},
};
const struct shape user_invited_answer = {"InvitedUser", user_invited_answer_members,
                                          sizeof user_invited_answer_members /
                                              sizeof user_invited_answer_members[0]};
static const struct shape_member user_reset_answer_members[] = {
    USER_MEMBERS,
    {"date_link_expires", .kind = SHAPE_TIME},
    {"reset_url", SHAPE_TEXT, .flags = SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "Shown once; not in an answer repeated by its Idempotency-Key"},
};
const struct shape user_reset_answer = {"UserResetLink", user_reset_answer_members,
                                        sizeof user_reset_answer_members /
                                            sizeof user_reset_answer_members[0]};

static void write_date(json_out *out, const char *name, int64_t ms) {
    char date[MR_TIME_TEXT_SIZE];
    if (ms == 0) {
        json_out_member_null(out, name);
        return;
    }
    mr_time_format_ms(mr_wall_of_ms(ms), date);
    json_out_member_c(out, name, date);
}

static void write_user(const struct user_view *view, json_out *out) {
    json_out_object(out);
    json_out_member_str(out, "id", view->id);
    json_out_member_str(out, "account_id", view->account_id);
    json_out_member_str(out, "email", view->email);
    json_out_member_str(out, "name", view->name);
    json_out_member_str(out, "role", auth_role_name(view->role));
    json_out_member_str(out, "status", user_status_name(view->status));
    if (mr_str_is_absent(view->products)) {
        json_out_member_null(out, "products");
    } else {
        json_out_member_raw(out, "products", view->products);
    }
    json_out_member_bool(out, "second_factor", view->has_second_factor);
    write_date(out, "date_created", view->created_ms);
    write_date(out, "date_updated", view->updated_ms);
    write_date(out, "date_signed_in", view->signed_in_ms);
    json_out_end(out);
}

mr_err user_write_json(const struct user_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    write_user(view, &writer);
    return json_out_finish(&writer);
}

mr_err user_list_write_json(const struct user_view *rows, size_t n, const struct control_page *page,
                            uint64_t count, mr_str url, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_array(&writer, "data");
    for (size_t i = 0; i < n; i++) {
        write_user(&rows[i], &writer);
    }
    json_out_end(&writer);
    json_out_member_object(&writer, "meta_data");
    control_page_write(page, count, url, &writer);
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
