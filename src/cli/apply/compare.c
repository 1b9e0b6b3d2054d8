/* Differences and merge patches. See compare.h. */
#include "cli/apply/compare.h"

#include "cli/cli.h"

#include "auth/rights.h"

#include <stdio.h>

#define PATH_SIZE  512
#define SHOWN_MAX  160
#define SCOPES_MAX ((size_t)64 << 10)

/* ---- equality ---- */

static bool is_none(json_value value) {
    return json_is_absent(value) || json_kind_of(value) == JSON_NULL;
}

static bool numbers_equal(json_value a, json_value b) {
    int64_t x = 0;
    int64_t y = 0;
    return mr_str_eq(json_raw(a), json_raw(b)) ||
           (mr_is_ok(json_i64(a, INT64_MIN, INT64_MAX, &x)) &&
            mr_is_ok(json_i64(b, INT64_MIN, INT64_MAX, &y)) && x == y);
}

/* The member of the same decoded name. */
static json_value find_same(json_value object, json_value name) {
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        if (json_strings_equal(it.name, name)) {
            return it.value;
        }
    }
    return JSON_NONE;
}

/* Recursion is bounded by the tapes' depth. */
static bool objects_equal(json_value a, json_value b) {
    for (json_iter it = json_iter_of(a); json_next(&it);) {
        if (!compare_equal(it.value, find_same(b, it.name))) {
            return false;
        }
    }
    for (json_iter it = json_iter_of(b); json_next(&it);) {
        if (!is_none(it.value) && is_none(find_same(a, it.name))) {
            return false;
        }
    }
    return true;
}

static bool arrays_equal(json_value a, json_value b) {
    json_iter x = json_iter_of(a);
    json_iter y = json_iter_of(b);
    if (json_count(a) != json_count(b)) {
        return false;
    }
    while (json_next(&x) && json_next(&y)) {
        if (!compare_equal(x.value, y.value)) {
            return false;
        }
    }
    return true;
}

bool compare_equal(json_value a, json_value b) {
    if (is_none(a) || is_none(b)) {
        return is_none(a) && is_none(b);
    }
    if (json_kind_of(a) != json_kind_of(b)) {
        return false;
    }
    switch (json_kind_of(a)) {
    case JSON_STRING:
        return json_strings_equal(a, b);
    case JSON_NUMBER:
        return numbers_equal(a, b);
    case JSON_ARRAY:
        return arrays_equal(a, b);
    case JSON_OBJECT:
        return objects_equal(a, b);
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return true;
    }
    return false;
}

/* ---- notes ---- */

mr_err compare_note(struct comparison *comparison, mr_str member, mr_str from, mr_str to) {
    struct change *change = mr_arena_calloc(comparison->arena, 1, sizeof *change);
    if (change == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    change->member = mr_arena_str(comparison->arena, member);
    change->from = mr_str_is_absent(from) ? from : mr_arena_str(comparison->arena, from);
    change->to = mr_str_is_absent(to) ? to : mr_arena_str(comparison->arena, to);
    if (comparison->last != NULL) {
        comparison->last->next = change;
    } else {
        comparison->first = change;
    }
    comparison->last = change;
    comparison->n++;
    return mr_str_is_absent(change->member) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

/* A value for people: minified, cut between characters. */
static mr_err show(json_value value, mr_arena *arena, mr_str *ret_text) {
    mr_buf text;
    mr_buf_init(&text, SIZE_MAX / 2);
    *ret_text = MR_STR_NONE;
    mr_err err = is_none(value) ? MR_OK : json_minify(value, JSON_UTF8, &text);
    if (mr_is_ok(err) && text.len > SHOWN_MAX) {
        size_t at = SHOWN_MAX;
        while (at > 0 && ((unsigned char)text.ptr[at] & 0xc0u) == 0x80u) {
            at--;
        }
        mr_buf_truncate(&text, at);
        err = mr_buf_str(&text, MR_STR("…"));
    }
    if (mr_is_ok(err) && text.len > 0) {
        *ret_text = mr_arena_str(arena, mr_buf_view(&text));
        err = mr_str_is_absent(*ret_text) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&text);
    return err;
}

static mr_err note_values(struct comparison *comparison, const char *path, json_value from,
                          json_value to) {
    mr_str from_text;
    mr_str to_text;
    MR_TRY(show(from, comparison->arena, &from_text));
    MR_TRY(show(to, comparison->arena, &to_text));
    return compare_note(comparison, mr_str_c(path), from_text, to_text);
}

/* ---- manners ---- */

/* Where a comparison stands. */
struct spot {
    struct comparison *comparison;
    json_out *patch;
    char path[PATH_SIZE]; /* of the member */
};

static bool noted(mr_err err) {
    if (mr_is_err(err)) {
        cli_problem("could not compare: out of memory");
    }
    return mr_is_ok(err);
}

static mr_err decoded(struct comparison *comparison, json_value name, mr_str *ret_text) {
    return json_string(name, comparison->arena, ret_text);
}

/* A member whose value the API shows: as one value. */
static bool compare_whole(struct spot *spot, json_value name, json_value wanted,
                          json_value present) {
    mr_str text;
    if (compare_equal(wanted, present)) {
        return true;
    }
    if (!noted(note_values(spot->comparison, spot->path, present, wanted)) ||
        !noted(decoded(spot->comparison, name, &text))) {
        return false;
    }
    json_out_name(spot->patch, text);
    json_out_value(spot->patch, wanted);
    return true;
}

/* A path one level deeper. */
static struct spot spot_in(const struct spot *spot, json_value name) {
    struct spot inner = *spot;
    size_t len = strlen(inner.path);
    mr_str raw = json_raw(name);
    (void)snprintf(inner.path + len, sizeof inner.path - len, "%s%.*s", len > 0 ? "." : "",
                   MR_FMT(mr_str_slice(raw, 1, raw.len - 1)));
    return inner;
}

/* What the account has and the file's map lacks. */
static bool remove_others(struct spot *spot, json_value wanted, json_value present,
                          bool is_hidden) {
    for (json_iter it = json_iter_of(present); json_next(&it);) {
        mr_str text;
        if (!json_is_absent(find_same(wanted, it.name))) {
            continue;
        }
        struct spot inner = spot_in(spot, it.name);
        mr_err err = is_hidden ? compare_note(spot->comparison, mr_str_c(inner.path),
                                              MR_STR(COMPARE_REDACTED), MR_STR_NONE)
                               : note_values(spot->comparison, inner.path, it.value, JSON_NONE);
        if (!noted(err) || !noted(decoded(spot->comparison, it.name, &text))) {
            return false;
        }
        json_out_name(spot->patch, text);
        json_out_null(spot->patch);
    }
    return true;
}

static bool compare_map(struct spot *spot, json_value wanted, json_value present) {
    for (json_iter it = json_iter_of(wanted); json_next(&it);) {
        struct spot inner = spot_in(spot, it.name);
        json_value theirs = find_same(present, it.name);
        mr_str text;
        if (json_kind_of(it.value) != JSON_OBJECT || json_kind_of(theirs) != JSON_OBJECT) {
            if (!compare_whole(&inner, it.name, it.value, theirs)) {
                return false;
            }
            continue;
        }
        if (compare_equal(it.value, theirs)) {
            continue;
        }
        if (!noted(decoded(spot->comparison, it.name, &text))) {
            return false;
        }
        json_out_name(spot->patch, text);
        json_out_object(spot->patch);
        bool ok = compare_map(&inner, it.value, theirs);
        json_out_end(spot->patch);
        if (!ok) {
            return false;
        }
    }
    return remove_others(spot, wanted, present, false);
}

/* A value that the API never shows. */
static bool compare_hidden(struct spot *spot, json_value name, json_value wanted,
                           json_value present) {
    const struct comparison *comparison = spot->comparison;
    bool is_kept = json_string_eq(wanted, MR_STR(COMPARE_REDACTED));
    mr_str text;
    if (is_kept && is_none(present)) {
        return document_problem(comparison->document, wanted,
                                "%s is \"[redacted]\", which stands for the value that the account "
                                "has, but it has none: give it by !env NAME or !file PATH",
                                spot->path);
    }
    if (is_kept || (is_none(wanted) && is_none(present)) ||
        (!is_none(wanted) && !is_none(present) && !comparison->rewrites)) {
        return true;
    }
    if (!noted(compare_note(spot->comparison, mr_str_c(spot->path),
                            is_none(present) ? MR_STR_NONE : MR_STR(COMPARE_REDACTED),
                            is_none(wanted) ? MR_STR_NONE : MR_STR("[given]"))) ||
        !noted(decoded(spot->comparison, name, &text))) {
        return false;
    }
    json_out_name(spot->patch, text);
    json_out_value(spot->patch, wanted);
    return true;
}

static bool compare_hidden_map(struct spot *spot, json_value wanted, json_value present) {
    for (json_iter it = json_iter_of(wanted); json_next(&it);) {
        struct spot inner = spot_in(spot, it.name);
        if (!compare_hidden(&inner, it.name, it.value, find_same(present, it.name))) {
            return false;
        }
    }
    return remove_others(spot, wanted, present, true);
}

mr_err compare_scopes_text(json_value scopes, mr_buf *out, const char **ret_why) {
    struct auth_scopes parsed;
    MR_TRY(auth_scopes_of_json(scopes, &parsed, ret_why));
    return auth_scopes_write(&parsed, out);
}

static bool compare_scopes(struct spot *spot, json_value wanted, json_value present) {
    mr_buf ours;
    mr_buf theirs;
    const char *why = "the server's answer cannot be read";
    bool ok = false;
    mr_buf_init(&ours, SCOPES_MAX);
    mr_buf_init(&theirs, SCOPES_MAX);
    if (mr_is_err(compare_scopes_text(wanted, &ours, &why))) {
        ok = document_problem(spot->comparison->document, wanted, "scopes: %s", why);
    } else if (!json_is_absent(present) && mr_is_err(compare_scopes_text(present, &theirs, &why))) {
        cli_problem("the scopes of a client cannot be compared: %s", why);
    } else if (mr_str_eq(mr_buf_view(&ours), mr_buf_view(&theirs))) {
        ok = true;
    } else {
        ok = noted(compare_note(spot->comparison, mr_str_c(spot->path),
                                json_is_absent(present) ? MR_STR_NONE : mr_buf_view(&theirs),
                                mr_buf_view(&ours)));
        json_out_member_raw(spot->patch, "scopes", mr_buf_view(&ours));
    }
    mr_buf_done(&ours);
    mr_buf_done(&theirs);
    return ok;
}

/* present: the rule; its destination_id is looked up. */
static bool compare_link(struct spot *spot, json_value wanted, json_value present) {
    struct comparison *comparison = spot->comparison;
    mr_str id = MR_STR_NONE;
    mr_str name;
    mr_ignore(json_string(json_find(present, MR_STR("destination_id")), comparison->arena, &id),
              "absent of a rule to be made");
    const struct held_object *target =
        mr_str_is_absent(id) ? NULL : held_find_id(comparison->targets, id);
    if (!noted(json_string(wanted, comparison->arena, &name))) {
        return false;
    }
    if (target != NULL && mr_str_eq(target->name, name)) {
        return true;
    }
    comparison->relinks = true;
    mr_str from = target != NULL ? target->name : id;
    return noted(compare_note(comparison, mr_str_c(spot->path), from, name));
}

/* ---- all ---- */

static bool compare_parts(const struct spot *spot, const struct declared_members *members,
                          json_value wanted, json_value present);

static bool compare_member(struct spot *spot, const struct declared_member *member,
                           json_value wanted, json_value name, json_value present) {
    json_value theirs = json_find(present, mr_str_c(member->name));
    bool ok;
    switch (member->manner) {
    case DECLARED_WHOLE:
        /* A destination that failed is active: failed only informs. */
        if (json_string_eq(theirs, MR_STR("failed")) && json_string_eq(wanted, MR_STR("active")) &&
            strcmp(spot->path, "status") == 0) {
            return true;
        }
        return compare_whole(spot, name, wanted, theirs);
    case DECLARED_PARTS:
    case DECLARED_MAP:
    case DECLARED_SECRETS:
        json_out_member_object(spot->patch, member->name);
        ok = member->manner == DECLARED_MAP ? compare_map(spot, wanted, theirs)
             : member->manner == DECLARED_SECRETS
                 ? compare_hidden_map(spot, wanted, theirs)
                 : compare_parts(spot, member->inner, wanted, theirs);
        json_out_end(spot->patch);
        return ok;
    case DECLARED_SECRET:
        return compare_hidden(spot, name, wanted, theirs);
    case DECLARED_SCOPES:
        return compare_scopes(spot, wanted, theirs);
    case DECLARED_LINK:
        return compare_link(spot, wanted, present);
    case DECLARED_OWN:
        return true;
    }
    return true;
}

static bool compare_parts(const struct spot *spot, const struct declared_members *members,
                          json_value wanted, json_value present) {
    for (json_iter it = json_iter_of(wanted); json_next(&it);) {
        for (size_t i = 0; i < members->n; i++) {
            const struct declared_member *member = &members->members[i];
            struct spot inner = spot_in(spot, it.name);
            if (json_string_eq(it.name, mr_str_c(member->name)) &&
                !compare_member(&inner, member, it.value, it.name, present)) {
                return false;
            }
        }
    }
    return true;
}

bool compare_members(struct comparison *comparison, const struct declared_members *members,
                     json_value wanted, json_value present, json_out *patch) {
    const struct spot root = {.comparison = comparison, .patch = patch};
    return compare_parts(&root, members, wanted, present);
}
