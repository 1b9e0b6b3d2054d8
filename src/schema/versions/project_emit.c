/* What is left of the places once all are known: those in or below which something is left out,
 * with the members that have a fate of their own, in tables. See project.h for the form. */
#include "schema/versions/project_build.h"

#include "base/mem.h"

static bool touches(const struct project_build *b, uint32_t to) {
    return to == PROJECT_LEAVE_OUT || (to != PROJECT_KEEP && b->states[to].live != PROJECT_KEEP);
}

static bool state_touches(const struct project_build *b, const struct state *s) {
    bool found = touches(b, s->rest) || touches(b, s->items_rest);
    for (uint32_t i = 0; i < s->n_members && !found; i++) {
        found = touches(b, s->members[i].to);
    }
    for (uint32_t i = 0; i < s->n_items && !found; i++) {
        found = touches(b, s->items[i]);
    }
    return found;
}

/* Marks the places in or below which something is left out. */
mr_err project_mark_live(struct project_build *b) {
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = b->n_states; i-- > 0;) {
            struct state *s = &b->states[i];
            MR_TRY(project_spend(b, 1 + s->n_members / 8 + s->n_items / 8));
            if (s->live == PROJECT_KEEP && state_touches(b, s)) {
                s->live = 0;
                changed = true;
            }
        }
    }
    return MR_OK;
}

static uint32_t final(const struct project_build *b, uint32_t to) {
    return to == PROJECT_KEEP || to == PROJECT_LEAVE_OUT ? to : b->states[to].live;
}

/* Members that share the fate of those not listed need no slot. */
static uint32_t listed(const struct project_build *b, const struct state *s, size_t *ret_bytes) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (final(b, s->members[i].to) != final(b, s->rest)) {
            n++;
            *ret_bytes += s->members[i].name.len;
        }
    }
    return n;
}

static uint32_t slots_for(uint32_t n) {
    uint32_t slots = n == 0 ? 0 : 2;
    while (slots < n * 2) {
        slots *= 2;
    }
    return slots;
}

/* Where the next parts of the projection go. */
struct fill {
    uint32_t members;
    uint32_t items;
    size_t names;
};

static void fill_place(const struct project_build *b, const struct state *s,
                       struct schema_projection *p, struct fill *at) {
    size_t bytes = 0;
    uint32_t slots = slots_for(listed(b, s, &bytes));
    struct project_place place = {.members = at->members,
                                  .mask = slots - 1,
                                  .rest = final(b, s->rest),
                                  .items = at->items,
                                  .n_items = s->n_items,
                                  .items_rest = final(b, s->items_rest)};
    for (uint32_t i = 0; i < s->n_members; i++) {
        mr_str name = s->members[i].name;
        if (final(b, s->members[i].to) == place.rest) {
            continue;
        }
        if (name.len > 0) {
            memcpy(p->names + at->names, name.ptr, name.len);
        }
        struct project_member m = {.name = {p->names + at->names, name.len},
                                   .hash = project_hash(name),
                                   .place = final(b, s->members[i].to)};
        at->names += name.len;
        place.lengths |= project_length_bit(name);
        uint32_t slot = (uint32_t)m.hash;
        while (!mr_str_is_absent(p->members[place.members + (slot & place.mask)].name)) {
            slot++;
        }
        p->members[place.members + (slot & place.mask)] = m;
    }
    for (uint32_t i = 0; i < s->n_items; i++) {
        p->items[at->items++] = final(b, s->items[i]);
    }
    at->members += slots;
    p->places[s->live] = place;
}

mr_err project_emit(struct project_build *b, struct schema_projection *p) {
    uint32_t places = 0;
    uint32_t members = 0;
    size_t items = 0;
    size_t names = 1;
    for (uint32_t i = 0; i < b->n_states; i++) {
        struct state *s = &b->states[i];
        s->live = s->live == PROJECT_KEEP ? PROJECT_KEEP : places++;
    }
    for (uint32_t i = 0; i < b->n_states; i++) {
        const struct state *s = &b->states[i];
        if (s->live != PROJECT_KEEP) {
            members += slots_for(listed(b, s, &names));
            items += s->n_items;
        }
    }
    p->places = mr_calloc(places, sizeof *p->places);
    p->members = mr_calloc((size_t)members + 1, sizeof *p->members);
    p->items = mr_calloc(items + 1, sizeof *p->items);
    p->names = mr_alloc(names);
    if (p->places == NULL || p->members == NULL || p->items == NULL || p->names == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    struct fill at = {.names = 0};
    for (uint32_t i = 0; i < b->n_states; i++) {
        if (b->states[i].live != PROJECT_KEEP) {
            fill_place(b, &b->states[i], p, &at);
        }
    }
    return MR_OK;
}
