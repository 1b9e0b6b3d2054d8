/* Takes `data` back to an older version. See schema.h for the contract, project_build.c for how
 * the graph comes about.
 *
 * This runs for each delivery to a rule that asks for an older version. The walk is a loop with a
 * stack of open containers, which the tape bounds. Where a container's text is minified, which is
 * nearly always, its members are not copied one by one: what lies between two members that are
 * touched is one run of text and one memcpy. A member costs a look at the length of its name, and
 * a hash only where a listed name is as long; the containers that nothing is left out of are in no
 * place and are skipped whole. Where the text is not minified, each member is minified by itself.
 *
 * Names with escapes are decoded at the end of the output buffer and taken off again, so that
 * nothing is allocated for them. */
#include "schema/versions/project.h"

#include "base/mem.h"
#include "json/write.h"

/* One open container. */
struct frame {
    json_iter it;
    const struct project_place *place;
    const char *run;     /* the beginning of text that is still to be copied; NULL: none */
    json_value run_last; /* the value that it ends with */
    uint32_t index;      /* of the next item */
    bool minified;
    bool comma; /* something was written */
};

static uint32_t look_up(const struct schema_projection *p, const struct project_place *place,
                        mr_str name) {
    if ((place->lengths & project_length_bit(name)) == 0) {
        return place->rest;
    }
    uint64_t hash = project_hash(name);
    for (uint32_t i = (uint32_t)hash;; i++) {
        const struct project_member *m = &p->members[place->members + (i & place->mask)];
        if (mr_str_is_absent(m->name)) {
            return place->rest;
        }
        if (m->hash == hash && mr_str_eq(m->name, name)) {
            return m->place;
        }
    }
}

/* What becomes of the member of that name. */
static mr_err member_fate(const struct schema_projection *p, const struct project_place *place,
                          json_value name, mr_buf *out, uint32_t *ret_fate) {
    if (place->lengths == 0) {
        *ret_fate = place->rest;
        return MR_OK;
    }
    mr_str raw = json_raw(name);
    if (json_string_is_plain(name)) {
        *ret_fate = look_up(p, place, (mr_str){raw.ptr + 1, raw.len - 2});
        return MR_OK;
    }
    size_t before = out->len;
    MR_TRY(json_string_append(name, out));
    *ret_fate = look_up(p, place, (mr_str){out->ptr + before, out->len - before});
    mr_buf_truncate(out, before);
    return MR_OK;
}

static uint32_t item_fate(const struct schema_projection *p, struct frame *f) {
    uint32_t index = f->index;
    if (index < f->place->n_items) {
        f->index++;
        return p->items[f->place->items + index];
    }
    return f->place->items_rest;
}

/* Copies text that is minified, up to `end`. */
static mr_err copy_run(struct frame *f, const char *end, mr_buf *out) {
    if (f->comma) {
        MR_TRY(mr_buf_byte(out, ','));
    }
    const char *run = f->run;
    f->comma = true;
    f->run = NULL;
    return mr_buf_append(out, run, (size_t)(end - run));
}

/* Copies the run that is due. */
static mr_err flush(struct frame *f, mr_buf *out) {
    if (f->run == NULL) {
        return MR_OK;
    }
    mr_str last = json_raw(f->run_last);
    return copy_run(f, last.ptr + last.len, out);
}

/* Writes what stands before the present member's value, or the whole member with its value. */
static mr_err put(struct frame *f, bool with_value, mr_buf *out) {
    if (f->minified) {
        if (f->run == NULL) {
            f->run = json_raw(f->it.is_object ? f->it.name : f->it.value).ptr;
        }
        f->run_last = f->it.value;
        return with_value ? MR_OK : copy_run(f, json_raw(f->it.value).ptr, out);
    }
    if (f->comma) {
        MR_TRY(mr_buf_byte(out, ','));
    }
    f->comma = true;
    if (f->it.is_object) {
        MR_TRY(json_minify(f->it.name, JSON_UTF8, out));
        MR_TRY(mr_buf_byte(out, ':'));
    }
    return with_value ? json_minify(f->it.value, JSON_UTF8, out) : MR_OK;
}

static bool is_container(json_value value) {
    return json_count(value) > 0; /* an empty one is copied as a scalar is */
}

static mr_err open(struct frame *f, json_value value, const struct project_place *place,
                   mr_buf *out) {
    f->it = json_iter_of(value);
    f->place = place;
    f->run = NULL;
    f->run_last = JSON_NONE;
    f->index = 0;
    f->minified = json_is_minified(value);
    f->comma = false;
    return mr_buf_byte(out, f->it.is_object ? '{' : '[');
}

static mr_err walk(const struct schema_projection *p, json_value data, mr_buf *out) {
    struct frame stack[JSON_DEPTH_MAX];
    uint32_t depth = 1;
    MR_TRY(open(&stack[0], data, &p->places[0], out));
    while (depth > 0) {
        struct frame *f = &stack[depth - 1];
        if (!json_next(&f->it)) {
            MR_TRY(flush(f, out));
            MR_TRY(mr_buf_byte(out, f->it.is_object ? '}' : ']'));
            depth--;
            continue;
        }
        uint32_t fate = PROJECT_KEEP;
        if (f->it.is_object) {
            MR_TRY(member_fate(p, f->place, f->it.name, out, &fate));
        } else {
            fate = item_fate(p, f);
        }
        if (fate == PROJECT_LEAVE_OUT) {
            MR_TRY(flush(f, out));
            continue;
        }
        bool enter = fate != PROJECT_KEEP && is_container(f->it.value);
        MR_TRY(put(f, !enter, out));
        if (enter) {
            MR_TRY(open(&stack[depth++], f->it.value, &p->places[fate], out));
        }
    }
    return MR_OK;
}

mr_err schema_project(const struct schema_projection *projection, json_value data, mr_buf *out) {
    size_t before = out->len;
    mr_err err = projection == NULL || !is_container(data) ? json_minify(data, JSON_UTF8, out)
                                                           : walk(projection, data, out);
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    return err;
}

void schema_projection_free(struct schema_projection *projection) {
    if (projection != NULL) {
        mr_free(projection->places);
        mr_free(projection->members);
        mr_free(projection->items);
        mr_free(projection->names);
        mr_free(projection);
    }
}
