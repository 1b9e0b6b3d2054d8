/* Running a program. See machine.h.
 *
 * A pattern's objects are a stack of frames. Where the event has an array in place of an object,
 * the frame holds iterators (arrays may lie in arrays), and the body runs for one object after the
 * other until it holds: so all conditions that stand in one object of the pattern hold for one and
 * the same item. A body that is left is never entered again for the same item around, so the work
 * is at most instructions × values, and the budget bounds that. */
#include "route/filter/machine.h"

#include "base/mem.h"

#define DECODED_BYTES_MAX ((size_t)16 << 20)
#define BYTES_PER_STEP    4 /* that are decoded */

mr_err filter_run_new(struct filter_run **ret_run) {
    struct filter_run *run = MR_NEW(struct filter_run);
    if (run == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_buf_init(&run->scratch, DECODED_BYTES_MAX);
    mr_arena_init(&run->arena, MACHINE_ARENA_MAX);
    *ret_run = run;
    return MR_OK;
}

void filter_run_free(struct filter_run *run) {
    if (run != NULL) {
        mr_buf_done(&run->scratch);
        mr_arena_done(&run->arena);
        mr_free(run);
    }
}

void machine_error(struct filter_run *run, enum machine_error_kind kind, mr_str message) {
    if (run->n_errors < MACHINE_ERRORS_MAX) {
        run->errors[run->n_errors] = (struct machine_error){kind, message};
    }
    run->n_errors += run->n_errors < UINT32_MAX;
}

bool machine_charge(struct filter_run *run, size_t steps) {
    if (steps > run->steps_left) {
        run->steps_left = 0;
        machine_error(run, MACHINE_GENERIC,
                      MR_STR("the event takes the filter more work than the limit `steps` allows"));
        return false;
    }
    run->steps_left -= (uint32_t)steps;
    return true;
}

char *machine_text(struct filter_run *run, size_t len) {
    char *text = mr_arena_alloc(&run->arena, len == 0 ? 1 : len);
    if (text == NULL) {
        machine_error(run, MACHINE_GENERIC,
                      MR_STR("the expression makes more text than the limit of 1 MiB allows"));
    }
    return text;
}

const struct filter_attribute *machine_attribute(struct filter_run *run, mr_str name) {
    const struct filter_event *event = run->event;
    if (!machine_charge(run, event->n_attributes / 8)) {
        return NULL;
    }
    for (size_t i = 0; i < event->n_attributes; i++) {
        if (mr_str_eq(event->attributes[i].name, name)) {
            return &event->attributes[i];
        }
    }
    return NULL;
}

/* --- leaves ------------------------------------------------------------------------------------*/

static struct scalar scalar_of_attribute(const struct filter_attribute *attribute) {
    struct scalar scalar = {.kind = JSON_ABSENT};
    if (attribute == NULL) {
        return scalar;
    }
    scalar.text = attribute->text;
    switch (attribute->type) {
    case FILTER_STRING:
        scalar.kind = JSON_STRING;
        break;
    case FILTER_INTEGER:
        scalar.kind = JSON_NUMBER;
        scalar.number = decimal_of(attribute->text);
        break;
    case FILTER_BOOLEAN:
        scalar.kind = mr_str_eq(attribute->text, MR_STR("true")) ? JSON_TRUE : JSON_FALSE;
        break;
    }
    return scalar;
}

/* An object is absent as a scalar. False: no memory or no steps left, noted. */
static bool scalar_of(struct filter_run *run, json_value value, struct scalar *ret_scalar) {
    struct scalar scalar = {.kind = json_kind_of(value)};
    bool is_read =
        scalar.kind == JSON_NUMBER || (scalar.kind == JSON_STRING && !json_string_is_plain(value));
    if (is_read && !machine_charge(run, json_raw(value).len / BYTES_PER_STEP)) {
        return false;
    }
    if (scalar.kind == JSON_OBJECT) {
        scalar.kind = JSON_ABSENT;
    } else if (scalar.kind == JSON_NUMBER) {
        scalar.text = json_raw(value);
        scalar.number = decimal_of(scalar.text);
    } else if (scalar.kind == JSON_STRING && json_string_is_plain(value)) {
        mr_str raw = json_raw(value);
        scalar.text = mr_str_slice(raw, 1, raw.len - 1);
    } else if (scalar.kind == JSON_STRING) {
        mr_buf_reset(&run->scratch);
        if (mr_is_err(json_string_append(value, &run->scratch))) {
            machine_error(run, MACHINE_GENERIC, MR_STR("there is no memory for a string"));
            return false;
        }
        scalar.text = mr_buf_view(&run->scratch);
    }
    *ret_scalar = scalar;
    return true;
}

/* Whether any alternative holds: conditions that are chained by MORE hold together. */
static bool any_holds(struct filter_run *run, const struct insn *insn,
                      const struct scalar *scalar) {
    const struct condition *conditions = run->filter->conditions + insn->first;
    const size_t work_max = run->steps_left;
    size_t work = insn->n;
    bool holds = false;
    for (uint32_t i = 0; i < insn->n && !holds && work <= work_max; i++) {
        holds = condition_holds(&conditions[i], run->filter->texts, scalar, work_max, &work);
        while ((conditions[i].flags & CONDITION_MORE) != 0) {
            i++;
            holds = holds &&
                    condition_holds(&conditions[i], run->filter->texts, scalar, work_max, &work);
        }
    }
    return machine_charge(run, work) && holds;
}

/* Any item of an array, at any depth of arrays; an array without scalars is absent. */
static bool any_item_holds(struct filter_run *run, const struct insn *insn, json_value array) {
    uint32_t base = run->n_iters;
    bool is_empty = true;
    bool holds = false;
    struct scalar scalar = {.kind = JSON_ABSENT};
    if (run->n_iters == MACHINE_ITERS_MAX) {
        return machine_charge(run, SIZE_MAX);
    }
    run->iters[run->n_iters++] = json_iter_of(array);
    while (!holds && run->n_iters > base) {
        json_iter *iter = &run->iters[run->n_iters - 1];
        if (!json_next(iter)) {
            run->n_iters--;
            continue;
        }
        if (json_kind_of(iter->value) == JSON_ARRAY) {
            if (run->n_iters == MACHINE_ITERS_MAX) {
                return machine_charge(run, SIZE_MAX);
            }
            run->iters[run->n_iters++] = json_iter_of(iter->value);
            continue;
        }
        if (!scalar_of(run, iter->value, &scalar) || !machine_charge(run, 1)) {
            break;
        }
        if (scalar.kind != JSON_ABSENT) {
            is_empty = false;
            holds = any_holds(run, insn, &scalar);
        }
        if (run->steps_left == 0) {
            break;
        }
    }
    run->n_iters = base;
    scalar.kind = JSON_ABSENT;
    return holds || (is_empty && any_holds(run, insn, &scalar));
}

static bool value_holds(struct filter_run *run, const struct insn *insn, json_value value) {
    struct scalar scalar;
    bool holds = json_kind_of(value) == JSON_ARRAY
                     ? any_item_holds(run, insn, value)
                     : scalar_of(run, value, &scalar) && any_holds(run, insn, &scalar);
    if (!holds) {
        run->failed_value = value;
    }
    return holds;
}

/* --- objects -----------------------------------------------------------------------------------*/

/* Makes the next object among the frame's arrays the present one. */
static bool next_object(struct filter_run *run, struct frame *frame) {
    while (run->n_iters > frame->iters_at) {
        json_iter *iter = &run->iters[run->n_iters - 1];
        if (!machine_charge(run, 1)) {
            return false;
        }
        if (!json_next(iter)) {
            run->n_iters--;
            continue;
        }
        enum json_kind kind = json_kind_of(iter->value);
        if (kind == JSON_OBJECT) {
            frame->object = iter->value;
            return true;
        }
        if (kind == JSON_ARRAY && run->n_iters < MACHINE_ITERS_MAX) {
            run->iters[run->n_iters++] = json_iter_of(iter->value);
        }
    }
    return false;
}

/* False: nothing to enter, jump. */
static bool enter(struct filter_run *run, const struct insn *insn, json_value container) {
    MR_ASSERT(run->n_frames < MACHINE_DEPTH_MAX);
    struct frame *frame = &run->frames[run->n_frames];
    *frame = (struct frame){.object = container,
                            .body = run->at,
                            .iters_at = run->n_iters,
                            .every = (insn->flags & INSN_EVERY) != 0};
    bool is_there = json_kind_of(container) == JSON_OBJECT;
    if (json_kind_of(container) == JSON_ARRAY && run->n_iters < MACHINE_ITERS_MAX) {
        run->iters[run->n_iters++] = json_iter_of(container);
        is_there = next_object(run, frame);
    }
    if (!is_there) {
        frame->object = JSON_NONE;
        if ((insn->flags & INSN_ABSENT) == 0) {
            run->n_iters = frame->iters_at;
            run->failed_value = container;
            return false;
        }
    }
    run->n_frames++;
    return true;
}

/* Runs the body for the next object, or goes back to the object around and on at `to`. */
static void again_or_leave(struct filter_run *run, const struct insn *insn, bool again) {
    MR_ASSERT(run->n_frames > 0);
    struct frame *frame = &run->frames[run->n_frames - 1];
    if (again && next_object(run, frame)) {
        run->at = frame->body;
        return;
    }
    run->n_iters = frame->iters_at;
    run->n_frames--;
    run->at = insn->to;
}

/* The member of the present object that the instruction names. */
static json_value member_of(struct filter_run *run, const struct insn *insn) {
    MR_ASSERT(run->n_frames > 0);
    json_value object = run->frames[run->n_frames - 1].object;
    struct slot *slot = &run->slots[insn->slot % MACHINE_SLOTS];
    if (slot->run == run->n_runs && slot->name == insn->slot && slot->object.node == object.node &&
        slot->object.tape == object.tape) {
        return slot->value;
    }
    if (!machine_charge(run, json_count(object) / 8)) {
        return JSON_NONE;
    }
    *slot = (struct slot){.run = run->n_runs,
                          .object = object,
                          .value = json_find(object, run->filter->texts[insn->slot]),
                          .name = insn->slot};
    return slot->value;
}

/* --- the loop ----------------------------------------------------------------------------------*/

/* What a pattern's instruction tests; false: jump. */
static bool step_pattern(struct filter_run *run, const struct insn *insn) {
    if (insn->op == OP_MEMBER_IS) {
        return value_holds(run, insn, member_of(run, insn));
    }
    if (insn->op == OP_DATA_IS) {
        return value_holds(run, insn, run->event->data);
    }
    if (insn->op == OP_ENTER_DATA) {
        return enter(run, insn, run->event->data);
    }
    if (insn->op == OP_ENTER) {
        return enter(run, insn, member_of(run, insn));
    }
    MR_ASSERT(insn->op == OP_ATTRIBUTE_IS);
    mr_str name = run->filter->texts[insn->slot];
    struct scalar scalar = scalar_of_attribute(machine_attribute(run, name));
    run->failed_value = JSON_NONE;
    return any_holds(run, insn, &scalar);
}

/* A boolean on top of the stack. */
static bool top_is(const struct filter_run *run, bool wanted) {
    MR_ASSERT(run->n_stack > 0);
    const struct value *top = &run->stack[run->n_stack - 1];
    return top->type == VALUE_BOOLEAN && top->boolean == wanted;
}

/* Instructions that only move: jumps, the stack, leaving. */
static void step_control(struct filter_run *run, const struct insn *insn) {
    if (insn->op == OP_JUMP) {
        run->at = insn->to;
    } else if (insn->op == OP_LEAVE) {
        again_or_leave(run, insn, run->frames[run->n_frames - 1].every);
    } else if (insn->op == OP_NEXT) {
        again_or_leave(run, insn, !run->frames[run->n_frames - 1].every);
    } else if (insn->op == OP_PUSH) {
        machine_push(run, run->filter->values[insn->slot]);
    } else if (insn->op == OP_POP) {
        (void)machine_pop(run);
    } else {
        MR_ASSERT(insn->op == OP_JUMP_IF_FALSE || insn->op == OP_JUMP_IF_TRUE);
        if (top_is(run, insn->op == OP_JUMP_IF_TRUE)) {
            run->at = insn->to;
        }
    }
}

static void start(const struct filter *filter, const struct filter_event *event,
                  struct filter_run *run, uint32_t steps) {
    run->n_runs++;
    run->filter = filter;
    run->event = event;
    run->at = 0;
    run->n_steps_max = steps < FILTER_STEPS_MAX ? steps : FILTER_STEPS_MAX;
    run->steps_left = run->n_steps_max;
    run->n_frames = 0;
    run->n_iters = 0;
    run->failed_at = UINT32_MAX;
    run->failed_value = JSON_NONE;
    run->n_stack = 0;
    run->n_errors = 0;
    if (filter->form == FORM_CESQL) {
        mr_arena_reset(&run->arena);
    }
}

bool machine_run(const struct filter *filter, const struct filter_event *event,
                 struct filter_run *run, uint32_t steps) {
    start(filter, event, run, steps);
    while (machine_charge(run, 1)) {
        MR_ASSERT(run->at < filter->n_code);
        const struct insn *insn = &filter->code[run->at++];
        if (insn->op >= OP_CESQL) {
            if (!cesql_step(run, insn)) {
                return false;
            }
        } else if (insn->op == OP_MATCH) {
            return run->n_errors == 0;
        } else if (insn->op == OP_FAIL) {
            return false;
        } else if (insn->op == OP_RESULT) {
            MR_ASSERT(run->n_stack == 1);
            return run->n_errors == 0 && top_is(run, true);
        } else if (insn->op >= OP_LEAVE) {
            step_control(run, insn);
        } else if (!step_pattern(run, insn)) {
            run->failed_at = run->at - 1;
            run->at = insn->to;
        }
    }
    return false;
}

bool filter_matches(const struct filter *filter, const struct filter_event *event,
                    struct filter_run *run, bool *ret_error) {
    uint32_t steps = FILTER_STEPS_MAX;
    return filter_matches_within(filter, event, run, &steps, ret_error);
}

bool filter_matches_within(const struct filter *filter, const struct filter_event *event,
                           struct filter_run *run, uint32_t *steps, bool *ret_error) {
    bool matches = machine_run(filter, event, run, *steps);
    *steps -= run->n_steps_max - run->steps_left;
    if (ret_error != NULL) {
        *ret_error = run->n_errors > 0 || (filter->form == FORM_CESQL && !matches &&
                                           run->stack[0].type != VALUE_BOOLEAN);
    }
    return matches;
}
