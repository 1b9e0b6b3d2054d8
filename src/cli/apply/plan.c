/* Comparing a file with an account.
 *
 * The lists tell what is there. An object whose row differs from the file is asked for alone before
 * its change is planned, so that the change is judged on the very state that its ETag names: what
 * another writes meanwhile is refused by the server instead of being overwritten. */
#include "cli/apply/plan.h"

#include "cli/cli.h"

#include <stdio.h>

#define ARENA_MAX ((size_t)1 << 30)

static bool fail_memory(void) {
    cli_problem("could not plan: out of memory");
    return false;
}

static struct step *add_step(struct plan *plan, enum declared_kind kind, enum step_op op,
                             mr_str name) {
    if (plan->n == plan->cap) {
        size_t cap = plan->cap == 0 ? 64 : plan->cap * 2;
        struct step *grown = mr_arena_calloc(&plan->arena, cap, sizeof *grown);
        if (grown == NULL) {
            fail_memory();
            return NULL;
        }
        if (plan->n > 0) {
            memcpy(grown, plan->steps, plan->n * sizeof *grown);
        }
        plan->steps = grown;
        plan->cap = cap;
    }
    struct step *step = &plan->steps[plan->n++];
    step->kind = kind;
    step->op = op;
    step->name = name;
    step->id = MR_STR("");
    return step;
}

const struct step *plan_find(const struct plan *plan, enum declared_kind kind, mr_str name) {
    for (size_t i = 0; i < plan->n; i++) {
        if (plan->steps[i].kind == kind && mr_str_eq(plan->steps[i].name, name)) {
            return &plan->steps[i];
        }
    }
    return NULL;
}

/* ---- objects ---- */

/* Compares with one JSON text of the account ("": none) into step. */
static bool compare_with(struct plan *plan, struct step *step, mr_str present) {
    const struct declared_kind_info *info = declared_kind_info(step->kind);
    struct comparison comparison = {.document = plan->document,
                                    .targets = &plan->lists[DECLARED_DESTINATION],
                                    .arena = &plan->arena,
                                    .rewrites = plan->options.rewrites};
    json_tape tape;
    mr_buf patch;
    json_out out;
    bool ok = true;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    mr_buf_init(&patch, DOCUMENT_JSON_MAX);
    if (present.len > 0 && mr_is_err(json_tape_read(&tape, present, NULL))) {
        cli_problem("could not read what the account has of %s \"%.*s\"", info->singular,
                    MR_FMT(step->name));
        ok = false;
    }
    json_out_init(&out, &patch);
    json_out_object(&out);
    ok = ok && compare_members(&comparison, info->members, step->wanted, json_root(&tape), &out);
    if (ok) {
        json_out_end(&out);
        ok = mr_is_ok(json_out_finish(&out));
        step->patch = ok ? mr_arena_str(&plan->arena, mr_buf_view(&patch)) : MR_STR_NONE;
        ok = !mr_str_is_absent(step->patch) || fail_memory();
    }
    step->changes = comparison.first;
    step->relinks = comparison.relinks;
    mr_buf_done(&patch);
    json_tape_done(&tape);
    return ok;
}

static bool plan_object(struct plan *plan, struct step *step, const struct held_object *object,
                        struct cli_client *client) {
    if (object == NULL) {
        step->op = STEP_CREATE;
        bool ok = compare_with(plan, step, MR_STR(""));
        step->changes = NULL;
        return ok;
    }
    step->id = object->id;
    if (object->is_self) {
        step->op = STEP_SELF;
        return true;
    }
    /* A list of clients tells less than a client alone. */
    bool is_brief = step->kind == DECLARED_CLIENT;
    if (!is_brief && !compare_with(plan, step, object->json)) {
        return false;
    }
    if (is_brief || step->changes != NULL) {
        mr_str json;
        if (!held_get(client, step->kind, object->id, &plan->arena, &json, step->etag) ||
            !compare_with(plan, step, json)) {
            return false;
        }
    }
    step->op = step->changes != NULL ? STEP_CHANGE : STEP_UNCHANGED;
    return true;
}

/* The rule's destination must be there when the rule is made. */
static bool check_link(struct plan *plan, struct step *step) {
    json_value link = json_find(step->wanted, MR_STR("destination"));
    mr_str name;
    if (mr_is_err(json_string(link, &plan->arena, &name))) {
        return fail_memory();
    }
    step->link = name;
    bool in_file = !json_is_absent(declared_section(plan->document, DECLARED_DESTINATION));
    const struct step *target = plan_find(plan, DECLARED_DESTINATION, name);
    if (target != NULL && target->op == STEP_DELETE) {
        return document_problem(plan->document, link,
                                "the rule needs the destination \"%.*s\", which the file lacks and "
                                "--prune would delete",
                                MR_FMT(name));
    }
    if (target == NULL && held_find(&plan->lists[DECLARED_DESTINATION], name) == NULL) {
        return document_problem(plan->document, link, "there is no destination \"%.*s\" %s",
                                MR_FMT(name),
                                in_file ? "in the file or the account" : "in the account");
    }
    return true;
}

/* ---- schemas ---- */

/* A published version is what it is. */
static bool check_published(struct plan *plan, const struct step *step, json_value version,
                            uint64_t number, struct cli_client *client) {
    mr_str json;
    json_tape tape;
    if (!held_get_version(client, step->id, number, &plan->arena, &json)) {
        return false;
    }
    json_tape_init(&tape, JSON_DEPTH_MAX);
    bool ok = mr_is_ok(json_tape_read(&tape, json, NULL)) || fail_memory();
    static const char *const members[] = {"document", "examples"};
    for (size_t i = 0; ok && i < 2; i++) {
        json_value ours = json_find(version, mr_str_c(members[i]));
        if (!compare_equal(ours, json_find(json_root(&tape), mr_str_c(members[i])))) {
            ok = document_problem(plan->document, ours,
                                  "version %llu of schema \"%.*s\" is published with other %s; a "
                                  "published version never changes: add the next one",
                                  (unsigned long long)number, MR_FMT(step->name),
                                  i == 0 ? "content" : "examples");
        }
    }
    json_tape_done(&tape);
    return ok;
}

/* How many versions the account has of it: 0 where it has none. */
static uint64_t published_versions(const struct held_object *object) {
    json_tape tape;
    uint64_t latest = 0;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    if (object != NULL && mr_is_ok(json_tape_read(&tape, object->json, NULL))) {
        mr_ignore(
            json_u64(json_find(json_root(&tape), MR_STR("latest_version")), 1, UINT32_MAX, &latest),
            "0: as if there were none, which the server refuses");
    }
    json_tape_done(&tape);
    return latest;
}

static bool note_publication(struct plan *plan, struct step *step, uint64_t number) {
    char member[32];
    struct comparison comparison = {.arena = &plan->arena};
    snprintf(member, sizeof member, "version %llu", (unsigned long long)number);
    for (struct change *change = step->changes; change != NULL; change = change->next) {
        comparison.last = change;
    }
    comparison.first = step->changes;
    if (mr_is_err(compare_note(&comparison, mr_str_c(member), MR_STR_NONE, MR_STR("published")))) {
        return fail_memory();
    }
    step->changes = comparison.first;
    return true;
}

static bool plan_schema(struct plan *plan, struct step *step, const struct held_object *object,
                        struct cli_client *client) {
    step->published = published_versions(object);
    step->id = object != NULL ? object->id : MR_STR("");
    uint64_t next = step->published + 1;
    uint64_t before = 0;
    for (json_iter it = json_iter_of(json_find(step->wanted, MR_STR("versions")));
         json_next(&it);) {
        json_value given = json_find(it.value, MR_STR("version"));
        uint64_t number = 0;
        if (mr_is_err(json_u64(given, before + 1, UINT32_MAX, &number))) {
            return document_problem(plan->document, given,
                                    "versions are whole numbers from 1, each above the one before");
        }
        before = number;
        if (number < next && number <= step->published) {
            if (!check_published(plan, step, it.value, number, client)) {
                return false;
            }
            continue;
        }
        if (number != next) {
            return document_problem(plan->document, given,
                                    "the account has %llu versions of schema \"%.*s\", so the next "
                                    "is %llu",
                                    (unsigned long long)step->published, MR_FMT(step->name),
                                    (unsigned long long)next);
        }
        next++;
        if (!note_publication(plan, step, number)) {
            return false;
        }
    }
    if (before == 0) {
        return document_problem(plan->document, step->wanted, "a schema needs at least version 1");
    }
    step->op = step->changes == NULL ? STEP_UNCHANGED : object == NULL ? STEP_CREATE : STEP_CHANGE;
    return true;
}

/* ---- what the file lacks ---- */

static bool is_shipped(const struct held_object *object) {
    return mr_str_find(object->json, MR_STR("\"shipped\":true")) != SIZE_MAX;
}

static bool plan_extras(struct plan *plan, enum declared_kind kind, struct cli_client *client) {
    const struct declared_kind_info *info = declared_kind_info(kind);
    for (size_t i = 0; i < plan->lists[kind].n; i++) {
        const struct held_object *object = &plan->lists[kind].objects[i];
        if (object->is_taken || object->is_self || (info->is_catalogue && is_shipped(object))) {
            continue;
        }
        bool goes = plan->options.prunes && info->can_delete;
        struct step *step = add_step(plan, kind, goes ? STEP_DELETE : STEP_EXTRA, object->name);
        if (step == NULL) {
            return false;
        }
        step->id = object->id;
        step->has_twins = held_count(&plan->lists[kind], object->name, false) > 1;
        mr_str json;
        if (goes && !held_get(client, kind, object->id, &plan->arena, &json, step->etag)) {
            return false;
        }
    }
    return true;
}

/* ---- which is which ---- */

/* The account's object whose id the file's has; NULL: none. */
static struct held_object *find_by_id(struct plan *plan, enum declared_kind kind,
                                      json_value wanted) {
    struct held_list *list = &plan->lists[kind];
    json_value id = declared_id(kind, wanted);
    for (size_t i = 0; !json_is_absent(id) && i < list->n; i++) {
        if (json_string_eq(id, list->objects[i].id)) {
            return &list->objects[i];
        }
    }
    return NULL;
}

/* Of the others: the first of that name that is left; the command's own client where there is no
 * other. */
static struct held_object *find_by_name(struct held_list *list, mr_str name) {
    struct held_object *self = NULL;
    for (size_t i = 0; i < list->n; i++) {
        struct held_object *object = &list->objects[i];
        if (object->is_taken || !mr_str_eq(object->name, name)) {
            continue;
        }
        if (!object->is_self) {
            return object;
        }
        self = object;
    }
    return self;
}

/* Ids first, so that no name takes what another object's id tells. */
static void take_ids(struct plan *plan, enum declared_kind kind) {
    for (json_iter it = json_iter_of(declared_section(plan->document, kind)); json_next(&it);) {
        struct held_object *object = find_by_id(plan, kind, it.value);
        if (object != NULL) {
            object->is_taken = true;
        }
    }
}

/* The account's object that the step's stands for, *ret_object NULL where it is to be made. False:
 * printed: several could be meant. */
static bool match(struct plan *plan, struct step *step, const struct held_object **ret_object) {
    struct held_list *list = &plan->lists[step->kind];
    const struct declared_kind_info *info = declared_kind_info(step->kind);
    struct held_object *object = find_by_id(plan, step->kind, step->wanted);
    if (object == NULL) {
        json_value name = json_find(step->wanted, MR_STR("name"));
        size_t n = held_count(list, step->name, true);
        if (json_is_absent(declared_id(step->kind, step->wanted)) && n > 1) {
            return document_problem(plan->document, name,
                                    "the account has %zu %s of this name: give the %s of the one "
                                    "that is meant, as export writes it, or rename the others",
                                    n, info->plural, info->id);
        }
        object = find_by_name(list, step->name);
    }
    if (object != NULL) {
        object->is_taken = true;
        step->has_twins = held_count(list, object->name, false) > 1;
    }
    *ret_object = object;
    return true;
}

/* ---- all ---- */

static bool plan_kind(struct plan *plan, enum declared_kind kind, struct cli_client *client) {
    json_value section = declared_section(plan->document, kind);
    take_ids(plan, kind);
    for (json_iter it = json_iter_of(section); json_next(&it);) {
        mr_str name;
        if (mr_is_err(json_string(json_find(it.value, MR_STR("name")), &plan->arena, &name))) {
            return fail_memory();
        }
        struct step *step = add_step(plan, kind, STEP_UNCHANGED, name);
        if (step == NULL) {
            return false;
        }
        step->wanted = it.value;
        if (kind == DECLARED_RULE && !check_link(plan, step)) {
            return false;
        }
        const struct held_object *object = NULL;
        if (!match(plan, step, &object) ||
            !(kind == DECLARED_SCHEMA ? plan_schema(plan, step, object, client)
                                      : plan_object(plan, step, object, client))) {
            return false;
        }
    }
    return json_is_absent(section) || plan_extras(plan, kind, client);
}

bool plan_make(struct plan *plan, const struct document *document,
               const struct plan_options *options, struct cli_client *client) {
    *plan = (struct plan){.document = document, .options = *options};
    mr_arena_init(&plan->arena, ARENA_MAX);
    bool has_rules = !json_is_absent(declared_section(document, DECLARED_RULE));
    for (enum declared_kind kind = 0; kind < DECLARED_KINDS; kind++) {
        bool is_needed = !json_is_absent(declared_section(document, kind)) ||
                         (kind == DECLARED_DESTINATION && has_rules);
        if (is_needed && (!held_fetch(client, kind, &plan->arena, &plan->lists[kind]) ||
                          !held_names_differ(kind, &plan->lists[kind]))) {
            return false;
        }
    }
    for (enum declared_kind kind = 0; kind < DECLARED_KINDS; kind++) {
        if (!plan_kind(plan, kind, client)) {
            return false;
        }
    }
    for (size_t i = 0; i < plan->n; i++) {
        plan->counts[plan->steps[i].op]++;
    }
    return true;
}

void plan_done(struct plan *plan) {
    mr_arena_done(&plan->arena);
}

bool plan_has_work(const struct plan *plan) {
    return plan->counts[STEP_CREATE] + plan->counts[STEP_CHANGE] + plan->counts[STEP_DELETE] > 0;
}
