/* What a change did, told by the documents that the API shows before and after it.
 *
 * Made of what is shown anyway, a row can hold no secret that a reader of the resource could not
 * see; what is shown redacted differs in nothing. Two exceptions are made the other way: members
 * named "secret" (shown once, when they are made), and the query of an address, which often is a
 * key of the receiver's. */
#include "control/private.h"
#include "json/write.h"

#define DOCUMENT_MAX ((size_t)4 << 20)

void audit_change_begin(struct audit_change *change) {
    *change = (struct audit_change){.note = NULL};
    mr_buf_init(&change->before, DOCUMENT_MAX);
    mr_buf_init(&change->after, DOCUMENT_MAX);
}

static bool is_left_out(json_value name) {
    static const char *const names[] = {"id",           "account_id",   "secret",
                                        "date_created", "date_updated", "last_modified",
                                        "version",      "last_test",    "counters"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (json_string_eq(name, mr_str_c(names[i]))) {
            return true;
        }
    }
    return false;
}

/* An address without its query, from it on. */
static void write_address(json_out *out, json_value value) {
    mr_str raw = json_raw(value);
    size_t at = mr_str_find_byte(raw, '?', 0);
    char text[AUDIT_VALUE_MAX + 8];
    if (at == SIZE_MAX || at > AUDIT_VALUE_MAX) {
        json_out_value(out, value);
        return;
    }
    memcpy(text, raw.ptr, at);
    memcpy(text + at, "?\xe2\x80\xa6\"", 5);
    json_out_raw(out, mr_str_of(text, at + 5));
}

static void write_value(json_out *out, json_value name, json_value value) {
    size_t len = json_raw(value).len;
    if (len > AUDIT_VALUE_MAX) {
        json_out_object(out);
        json_out_member_u64(out, "bytes", len);
        json_out_end(out);
    } else if (json_string_eq(name, MR_STR("url")) && json_kind_of(value) == JSON_STRING) {
        write_address(out, value);
    } else {
        json_out_value(out, value);
    }
}

static bool are_equal(json_value a, json_value b) {
    return mr_str_eq(json_raw(a), json_raw(b)); /* one writer made both */
}

/* A line of the difference being made. */
struct difference {
    mr_buf text; /* members behind one another */
    uint32_t n_left_out;
};

/* {"from":…,"to":…} of one member, with its path; left out where no room is. */
static mr_err add_member(struct difference *difference, mr_str group, json_value name,
                         json_value before, json_value after) {
    mr_buf one;
    mr_buf path;
    mr_buf_init(&one, AUDIT_DETAIL_MAX);
    mr_buf_init(&path, AUDIT_VALUE_MAX);
    mr_err err = group.len == 0 ? MR_OK : mr_buf_printf(&path, "%.*s.", MR_FMT(group));
    if (mr_is_ok(err)) {
        err = json_string_append(name, &path);
    }
    if (mr_is_ok(err)) {
        err = json_string_write(mr_buf_view(&path), JSON_UTF8, &one);
    }
    json_out out;
    json_out_init(&out, &one);
    if (mr_is_ok(err) && mr_is_ok(err = mr_buf_byte(&one, ':'))) {
        json_out_object(&out);
        if (!json_is_absent(before)) {
            json_out_name(&out, MR_STR("from"));
            write_value(&out, name, before);
        }
        if (!json_is_absent(after)) {
            json_out_name(&out, MR_STR("to"));
            write_value(&out, name, after);
        }
        json_out_end(&out);
        err = json_out_finish(&out);
    }
    /* "changed":{} around it, the note and the count of what was left out need some room. */
    bool fits = difference->text.len + one.len + 1 < AUDIT_DETAIL_MAX - AUDIT_VALUE_MAX;
    if (mr_is_ok(err) && fits && difference->text.len > 0) {
        err = mr_buf_byte(&difference->text, ',');
    }
    if (mr_is_ok(err) && fits) {
        err = mr_buf_str(&difference->text, mr_buf_view(&one));
    }
    bool is_too_long = mr_err_is(err, MR_E_LIMIT);
    difference->n_left_out += is_too_long || !fits;
    mr_buf_done(&path);
    mr_buf_done(&one);
    return is_too_long ? MR_OK : err;
}

/* Members of both, of `before` alone, of `after` alone. Objects are looked into once. */
static mr_err compare(struct difference *difference, mr_str group, json_value before,
                      json_value after) {
    for (json_iter it = json_iter_of(after); json_next(&it);) {
        mr_buf name;
        mr_buf_init(&name, AUDIT_VALUE_MAX);
        mr_err err = json_string_append(it.name, &name);
        json_value was = mr_is_ok(err) ? json_find(before, mr_buf_view(&name)) : JSON_NONE;
        if (is_left_out(it.name) || (!json_is_absent(was) && are_equal(was, it.value))) {
            err = MR_OK;
        } else if (mr_is_ok(err) && group.len == 0 && json_kind_of(it.value) == JSON_OBJECT &&
                   (json_is_absent(was) || json_kind_of(was) == JSON_OBJECT)) {
            err = compare(difference, mr_buf_view(&name), was, it.value);
        } else {
            err = add_member(difference, group, it.name, was, it.value);
        }
        mr_buf_done(&name);
        MR_TRY(err);
    }
    for (json_iter it = json_iter_of(before); json_next(&it);) {
        mr_buf name;
        mr_buf_init(&name, AUDIT_VALUE_MAX);
        mr_err err = json_string_append(it.name, &name);
        bool is_gone = mr_is_ok(err) && json_is_absent(json_find(after, mr_buf_view(&name)));
        mr_buf_done(&name);
        if (is_gone && !is_left_out(it.name)) {
            MR_TRY(add_member(difference, group, it.name, it.value, JSON_NONE));
        }
    }
    return MR_OK;
}

/* A deleted resource is told by its name; the rows before tell the rest. */
static mr_err compare_deleted(struct difference *difference, json_value before) {
    for (json_iter it = json_iter_of(before); json_next(&it);) {
        if (json_string_eq(it.name, MR_STR("name"))) {
            MR_TRY(add_member(difference, MR_STR_NONE, it.name, it.value, JSON_NONE));
        }
    }
    return MR_OK;
}

static mr_err read_both(const struct audit_change *change, struct difference *difference) {
    json_tape before;
    json_tape after;
    json_tape_init(&before, JSON_DEPTH_MAX);
    json_tape_init(&after, JSON_DEPTH_MAX);
    mr_err err = MR_OK;
    if (change->before.len > 0) {
        err = json_tape_read(&before, mr_buf_view(&change->before), NULL);
    }
    if (mr_is_ok(err) && change->after.len > 0) {
        err = json_tape_read(&after, mr_buf_view(&change->after), NULL);
    }
    if (mr_is_ok(err)) {
        err = change->after.len > 0
                  ? compare(difference, MR_STR_NONE, json_root(&before), json_root(&after))
                  : compare_deleted(difference, json_root(&before));
    }
    json_tape_done(&before);
    json_tape_done(&after);
    return err;
}

static mr_err write_detail(const struct audit_change *change, const struct difference *difference,
                           mr_buf *detail) {
    MR_TRY(mr_buf_printf(detail, "{\"changed\":{%.*s}", MR_FMT(mr_buf_view(&difference->text))));
    if (difference->n_left_out > 0) {
        MR_TRY(mr_buf_printf(detail, ",\"left_out\":%u", difference->n_left_out));
    }
    if (change->note != NULL) {
        MR_TRY(mr_buf_printf(detail, ",%s", change->note));
    }
    return mr_buf_byte(detail, '}');
}

mr_err audit_change_end(struct control *control, struct audit_change *change, mr_err err,
                        uint32_t account, const char *action, mr_str object) {
    struct difference difference = {.n_left_out = 0};
    mr_buf detail;
    mr_buf_init(&difference.text, AUDIT_DETAIL_MAX);
    mr_buf_init(&detail, AUDIT_DETAIL_MAX);
    if (mr_is_ok(err)) {
        err = read_both(change, &difference);
    }
    bool is_told = change->note != NULL || change->before.len == 0 || change->after.len == 0 ||
                   difference.text.len > 0 || difference.n_left_out > 0;
    if (mr_is_ok(err) && is_told) {
        err = write_detail(change, &difference, &detail);
    }
    if (mr_is_ok(err) && is_told) {
        err = audit_add(control, &(struct audit_entry){.account = account,
                                                       .action = action,
                                                       .object = object,
                                                       .detail = mr_buf_view(&detail)});
    }
    mr_buf_done(&difference.text);
    mr_buf_done(&detail);
    mr_buf_done(&change->before);
    mr_buf_done(&change->after);
    return err;
}
