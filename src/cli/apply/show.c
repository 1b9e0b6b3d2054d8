/* A plan for people, and as JSON. */
#include "cli/apply/plan.h"

#include "cli/cli.h"

#include <stdio.h>

#define OUTPUT_MAX ((size_t)256 << 20)

const char *plan_op_name(enum step_op op) {
    static const char *const names[STEP_OPS] = {
        [STEP_UNCHANGED] = "unchanged", [STEP_CREATE] = "create",
        [STEP_CHANGE] = "change",       [STEP_EXTRA] = "not in the file",
        [STEP_DELETE] = "delete",       [STEP_SELF] = "left alone: this command runs with it"};
    return names[op];
}

static void print_step(const struct step *step) {
    bool shows_id = step->has_twins && step->id.len > 0;
    printf("%s %.*s%s%.*s%s: %s\n", declared_kind_info(step->kind)->singular, MR_FMT(step->name),
           shows_id ? " (" : "", MR_FMT(shows_id ? step->id : MR_STR("")), shows_id ? ")" : "",
           plan_op_name(step->op));
    for (const struct change *change = step->changes; change != NULL; change = change->next) {
        if (step->kind == DECLARED_SCHEMA) {
            printf("  %.*s: publish\n", MR_FMT(change->member));
            continue;
        }
        mr_str from = mr_str_is_absent(change->from) ? MR_STR("(none)") : change->from;
        mr_str to = mr_str_is_absent(change->to) ? MR_STR("(none)") : change->to;
        printf("  %.*s: %.*s → %.*s\n", MR_FMT(change->member), MR_FMT(from), MR_FMT(to));
    }
}

static void print_json(const struct plan *plan) {
    mr_buf text;
    json_out out;
    mr_buf_init(&text, OUTPUT_MAX);
    json_out_init(&out, &text);
    json_out_object(&out);
    json_out_member_array(&out, "objects");
    for (size_t i = 0; i < plan->n; i++) {
        const struct step *step = &plan->steps[i];
        json_out_object(&out);
        json_out_member_c(&out, "kind", declared_kind_info(step->kind)->singular);
        json_out_member_str(&out, "name", step->name);
        json_out_member_c(&out, "action",
                          step->op == STEP_SELF    ? "self"
                          : step->op == STEP_EXTRA ? "extra"
                                                   : plan_op_name(step->op));
        json_out_member_bool(&out, "done", step->is_done);
        json_out_member_str(&out, "id", step->id.len > 0 ? step->id : MR_STR_NONE);
        if (step->shown_secret.len > 0) {
            json_out_member_str(&out, "secret", step->shown_secret);
        }
        json_out_member_array(&out, "changes");
        for (const struct change *change = step->changes; change != NULL; change = change->next) {
            json_out_object(&out);
            json_out_member_str(&out, "member", change->member);
            json_out_member_str(&out, "from", change->from);
            json_out_member_str(&out, "to", change->to);
            json_out_end(&out);
        }
        json_out_end(&out);
        json_out_end(&out);
    }
    json_out_end(&out);
    json_out_end(&out);
    if (mr_is_ok(json_out_finish(&out))) {
        cli_print(mr_buf_view(&text));
        cli_print(MR_STR("\n"));
    } else {
        cli_problem("could not tell the differences: too many");
    }
    mr_buf_done(&text);
}

void plan_print_done(const struct plan *plan) {
    const size_t *counts = plan->counts;
    printf("%zu created, %zu changed, %zu deleted, %zu unchanged, %zu not in the file\n",
           counts[STEP_CREATE], counts[STEP_CHANGE], counts[STEP_DELETE],
           counts[STEP_UNCHANGED] + counts[STEP_SELF], counts[STEP_EXTRA]);
}

static void print_sum(const struct plan *plan) {
    const size_t *counts = plan->counts;
    printf("%zu to create, %zu to change, %zu to delete, %zu unchanged, %zu not in the file\n",
           counts[STEP_CREATE], counts[STEP_CHANGE], counts[STEP_DELETE],
           counts[STEP_UNCHANGED] + counts[STEP_SELF], counts[STEP_EXTRA]);
}

void plan_print(const struct plan *plan, bool as_json) {
    if (as_json) {
        print_json(plan);
        return;
    }
    for (size_t i = 0; i < plan->n; i++) {
        print_step(&plan->steps[i]);
    }
    print_sum(plan);
}
