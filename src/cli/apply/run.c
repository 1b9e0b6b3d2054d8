/* Carrying out a plan. See run.h. */
#include "cli/apply/run.h"

#include "cli/cli.h"

#include "crypto/secret.h"
#include "os/files.h"

#include <errno.h>
#include <stdio.h>

#define PATH_SIZE 1024
#define BODY_MAX  DOCUMENT_JSON_MAX

struct run {
    struct plan *plan;
    struct cli_client *client;
    const struct run_options *options;
    struct cli_answer answer;
    mr_buf body;
    json_tape tape; /* of the last answer */
};

static bool fail_memory(void) {
    cli_problem("could not go on: out of memory");
    return false;
}

/* One call with run->body (none where it is empty). False: refused, printed. */
static bool call(struct run *run, const char *method, const char *path, const char *if_match,
                 long status) {
    mr_str body = run->body.len > 0 ? mr_buf_view(&run->body) : MR_STR_NONE;
    cli_call_if(run->client, method, path, if_match, body, &run->answer);
    if (run->answer.status == status) {
        return true;
    }
    (void)cli_show_answer(&run->answer);
    if (run->answer.status == 412) {
        cli_problem("somebody else changed it meanwhile: apply again to see the difference");
    } else if (run->answer.status >= 200 && run->answer.status < 300) {
        cli_problem("the server answered %s %s with status %ld in place of %ld", method, path,
                    run->answer.status, status);
    }
    return false;
}

static void tell(const struct run *run, const struct step *step, const char *what) {
    bool has_id = step->id.len > 0 && !mr_str_eq(step->id, step->name);
    if (!run->options->as_json) {
        printf("%s %.*s: %s%s%.*s\n", declared_kind_info(step->kind)->singular, MR_FMT(step->name),
               what, has_id ? " " : "", MR_FMT(has_id ? step->id : MR_STR("")));
        fflush(stdout);
    }
}

/* ---- secrets that are shown once ---- */

static bool write_secret_file(struct run *run, const struct step *step, mr_str member,
                              mr_str secret) {
    char name[PATH_SIZE];
    json_out out;
    snprintf(name, sizeof name, "%.*s.json", MR_FMT(step->id));
    mr_buf_reset(&run->body);
    json_out_init(&out, &run->body);
    json_out_object(&out);
    json_out_member_str(&out, "name", step->name);
    json_out_member_str(&out, declared_kind_info(step->kind)->id, step->id);
    json_out_name(&out, member);
    json_out_str(&out, secret);
    json_out_end(&out);
    bool ok = mr_is_ok(json_out_finish(&out)) && mr_is_ok(mr_buf_byte(&run->body, '\n'));
    if (ok && mr_is_err(os_file_replace(&os_files_system, run->options->secrets_dir, name,
                                        mr_buf_view(&run->body)))) {
        cli_problem("could not write %s/%s: %s", run->options->secrets_dir, name, strerror(errno));
        ok = false;
    }
    if (run->body.ptr != NULL) {
        crypto_wipe(run->body.ptr, run->body.cap);
    }
    mr_buf_reset(&run->body);
    return ok;
}

/* To the file, or where there is none (or it cannot be written: it is not shown again) to standard
 * output. */
static bool hand_out(struct run *run, struct step *step, const char *member) {
    mr_str secret;
    mr_arena *arena = &run->plan->arena;
    if (mr_is_err(
            json_string(json_find(json_root(&run->tape), mr_str_c(member)), arena, &secret))) {
        cli_problem("the server showed no secret");
        return false;
    }
    bool ok =
        run->options->secrets_dir != NULL && write_secret_file(run, step, mr_str_c(member), secret);
    if (!ok && run->options->as_json) {
        step->shown_secret = mr_arena_str(arena, secret);
    } else if (!ok) {
        printf("  its secret, shown this once: %.*s\n", MR_FMT(secret));
        fflush(stdout);
    } else if (!run->options->as_json) {
        printf("  its secret: %s/%.*s.json\n", run->options->secrets_dir, MR_FMT(step->id));
    }
    return true;
}

/* ---- bodies ---- */

/* The id of a rule's destination, which is there by now. */
static mr_str destination_id(const struct plan *plan, mr_str name) {
    const struct step *step = plan_find(plan, DECLARED_DESTINATION, name);
    if (step != NULL && step->id.len > 0) {
        return step->id;
    }
    const struct held_object *object = held_find(&plan->lists[DECLARED_DESTINATION], name);
    return object != NULL ? object->id : MR_STR("");
}

static bool is_signed_otherwise(json_value signatures) {
    for (json_iter it = json_iter_of(signatures); json_next(&it);) {
        if (!json_string_eq(it.value, MR_STR("kore"))) {
            return true;
        }
    }
    return false;
}

/* Signatures of Standard Webhooks need a secret that only a destination that is there can get. */
static json_value late_signatures(const struct step *step) {
    json_value settings = json_find(step->wanted, MR_STR("settings"));
    json_value signatures = json_find(settings, MR_STR("signatures"));
    return step->kind == DECLARED_DESTINATION && is_signed_otherwise(signatures) ? signatures
                                                                                 : JSON_NONE;
}

/* All settings but signatures. */
static mr_err write_settings(json_value settings, mr_arena *arena, json_out *out) {
    json_out_object(out);
    for (json_iter it = json_iter_of(settings); json_next(&it);) {
        mr_str name;
        MR_TRY(json_string(it.name, arena, &name));
        if (!mr_str_eq(name, MR_STR("signatures"))) {
            json_out_name(out, name);
            json_out_value(out, it.value);
        }
    }
    json_out_end(out);
    return MR_OK;
}

/* The object as the API takes it. */
static mr_err write_new(struct run *run, const struct step *step) {
    const struct declared_kind_info *info = declared_kind_info(step->kind);
    json_out out;
    mr_buf scopes;
    const char *why;
    mr_err err = MR_OK;
    bool is_late = !json_is_absent(late_signatures(step));
    mr_buf_init(&scopes, BODY_MAX);
    mr_buf_reset(&run->body);
    json_out_init(&out, &run->body);
    json_out_object(&out);
    for (json_iter it = json_iter_of(step->wanted); mr_is_ok(err) && json_next(&it);) {
        if (info->shares_names && json_string_eq(it.name, mr_str_c(info->id))) {
            continue; /* of the account that the file came from */
        }
        if (step->kind == DECLARED_RULE && json_string_eq(it.name, MR_STR("destination"))) {
            json_out_member_str(&out, "destination_id", destination_id(run->plan, step->link));
        } else if (step->kind == DECLARED_CLIENT && json_string_eq(it.name, MR_STR("scopes"))) {
            err = compare_scopes_text(it.value, &scopes, &why);
            json_out_member_raw(&out, "scopes", mr_buf_view(&scopes));
        } else if (step->kind == DECLARED_CLIENT && json_string_eq(it.name, MR_STR("enabled"))) {
            continue; /* only a change can say it: disable_new */
        } else if (is_late && json_string_eq(it.name, MR_STR("settings"))) {
            json_out_name(&out, MR_STR("settings"));
            err = write_settings(it.value, &run->plan->arena, &out);
        } else {
            mr_str name;
            err = json_string(it.name, &run->plan->arena, &name);
            json_out_name(&out, name);
            json_out_value(&out, it.value);
        }
    }
    mr_buf_done(&scopes);
    MR_TRY(err);
    json_out_end(&out);
    return json_out_finish(&out);
}

/* ---- one step ---- */

static bool read_answer(struct run *run) {
    if (mr_is_err(json_tape_read(&run->tape, mr_buf_view(&run->answer.body), NULL))) {
        cli_problem("could not read the server's answer");
        return false;
    }
    return true;
}

static bool finish_signatures(struct run *run, struct step *step, json_value signatures) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/v1/destinations/%.*s/signing-secret", MR_FMT(step->id));
    mr_buf_reset(&run->body);
    if (!call(run, "POST", path, NULL, 201) || !read_answer(run) ||
        !hand_out(run, step, "secret")) {
        return false;
    }
    json_out out;
    mr_buf_reset(&run->body);
    json_out_init(&out, &run->body);
    json_out_object(&out);
    json_out_member_object(&out, "settings");
    json_out_name(&out, MR_STR("signatures"));
    json_out_value(&out, signatures);
    json_out_end(&out);
    json_out_end(&out);
    snprintf(path, sizeof path, "/v1/destinations/%.*s", MR_FMT(step->id));
    return (mr_is_ok(json_out_finish(&out)) || fail_memory()) &&
           call(run, "PATCH", path, NULL, 200);
}

/* A client is made enabled. */
static bool disable_new(struct run *run, const struct step *step) {
    char path[PATH_SIZE];
    bool is_enabled = true;
    mr_ignore(json_bool(json_find(step->wanted, MR_STR("enabled")), &is_enabled), "absent: yes");
    if (is_enabled) {
        return true;
    }
    snprintf(path, sizeof path, "/v1/clients/%.*s", MR_FMT(step->id));
    mr_buf_reset(&run->body);
    return (mr_is_ok(mr_buf_str(&run->body, MR_STR("{\"enabled\":false}"))) || fail_memory()) &&
           call(run, "PATCH", path, NULL, 200);
}

static bool create(struct run *run, struct step *step) {
    const struct declared_kind_info *info = declared_kind_info(step->kind);
    mr_arena *arena = &run->plan->arena;
    mr_str id;
    if (mr_is_err(write_new(run, step))) {
        return fail_memory();
    }
    if (!call(run, "POST", info->path, NULL, 201) || !read_answer(run)) {
        return false;
    }
    if (mr_is_err(json_string(json_find(json_root(&run->tape), mr_str_c(info->id)), arena, &id))) {
        cli_problem("could not read the server's answer");
        return false;
    }
    step->id = mr_arena_str(arena, id);
    tell(run, step, "created");
    if (step->kind == DECLARED_CLIENT) {
        return hand_out(run, step, "client_secret") && disable_new(run, step);
    }
    json_value signatures = late_signatures(step);
    return json_is_absent(signatures) || finish_signatures(run, step, signatures);
}

static bool change(struct run *run, struct step *step) {
    char path[PATH_SIZE];
    const struct declared_kind_info *info = declared_kind_info(step->kind);
    json_out out;
    snprintf(path, sizeof path, "%s/%.*s", info->path, MR_FMT(step->id));
    mr_buf_reset(&run->body);
    mr_err err = MR_OK;
    mr_str patch = step->patch;
    if (step->relinks) {
        json_out_init(&out, &run->body);
        json_out_object(&out);
        json_out_member_str(&out, "destination_id", destination_id(run->plan, step->link));
        json_out_end(&out);
        err = json_out_finish(&out);
        /* `{"destination_id":"…"` goes on with what stands behind the patch's brace. */
        mr_buf_truncate(&run->body, run->body.len > 0 ? run->body.len - 1 : 0);
        if (mr_is_ok(err) && patch.len > 2) {
            err = mr_buf_byte(&run->body, ',');
        }
        patch = mr_str_slice(patch, 1, patch.len);
    }
    if (mr_is_err(err) || mr_is_err(mr_buf_str(&run->body, patch))) {
        return fail_memory();
    }
    if (!call(run, "PATCH", path, step->etag, 200)) {
        return false;
    }
    tell(run, step, "changed");
    return true;
}

static bool delete_one(struct run *run, struct step *step) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%.*s", declared_kind_info(step->kind)->path, MR_FMT(step->id));
    mr_buf_reset(&run->body);
    if (!call(run, "DELETE", path, step->etag, 204)) {
        return false;
    }
    tell(run, step, "deleted");
    return true;
}

/* ---- schemas ---- */

/* Whether the document refers to a version that the plan is still to publish. */
static bool is_waiting(const struct plan *plan, json_value document) {
    mr_str text = json_raw(document);
    mr_str mark = MR_STR("/schemas/");
    size_t at = 0;
    for (;;) {
        mr_str rest = mr_str_slice(text, at, text.len);
        size_t found = mr_str_find(rest, mark);
        if (found == SIZE_MAX) {
            return false;
        }
        at += found + mark.len;
        mr_str name = mr_str_slice(text, at, text.len);
        size_t slash = mr_str_find_byte(name, '/', 0);
        if (slash == SIZE_MAX) {
            return false;
        }
        size_t end = slash + 1;
        uint64_t version = 0;
        for (; end < name.len && name.ptr[end] >= '0' && name.ptr[end] <= '9' && end < slash + 9;
             end++) {
            version = version * 10 + (uint64_t)(name.ptr[end] - '0');
        }
        const struct step *step = plan_find(plan, DECLARED_SCHEMA, mr_str_slice(name, 0, slash));
        if (step != NULL && !json_is_absent(step->wanted) && version > step->published) {
            return true;
        }
    }
}

static mr_err write_version(struct run *run, const struct step *step, json_value version) {
    json_out out;
    bool allows = false;
    mr_ignore(json_bool(json_find(version, MR_STR("allow_breaking")), &allows), "absent: no");
    mr_buf_reset(&run->body);
    json_out_init(&out, &run->body);
    json_out_object(&out);
    if (step->published == 0) {
        json_out_member_str(&out, "name", step->name);
    } else {
        json_out_member_bool(&out, "allow_breaking", allows);
    }
    json_out_name(&out, MR_STR("document"));
    json_out_value(&out, json_find(version, MR_STR("document")));
    json_out_name(&out, MR_STR("examples"));
    json_out_value(&out, json_find(version, MR_STR("examples")));
    json_out_end(&out);
    return json_out_finish(&out);
}

/* The step's next version; absent where all are published. */
static json_value next_version(const struct step *step) {
    for (json_iter it = json_iter_of(json_find(step->wanted, MR_STR("versions")));
         json_next(&it);) {
        uint64_t number = 0;
        if (mr_is_ok(json_u64(json_find(it.value, MR_STR("version")), step->published + 1,
                              step->published + 1, &number))) {
            return it.value;
        }
    }
    return JSON_NONE;
}

static bool publish(struct run *run, struct step *step, json_value version) {
    char path[PATH_SIZE];
    char what[64];
    if (step->published == 0) {
        snprintf(path, sizeof path, "/v1/schemas");
    } else {
        /* Only a name that the account has stands in a path; its list gave it escaped. */
        snprintf(path, sizeof path, "/v1/schemas/%.*s/versions",
                 MR_FMT(step->id.len > 0 ? step->id : step->name));
    }
    if (mr_is_err(write_version(run, step, version))) {
        return fail_memory();
    }
    if (!call(run, "POST", path, NULL, 201)) {
        return false;
    }
    step->published++;
    snprintf(what, sizeof what, "version %llu published", (unsigned long long)step->published);
    if (!run->options->as_json) {
        printf("schema %.*s: %s\n", MR_FMT(step->name), what);
    }
    return true;
}

/* Versions may refer to one another: those first that refer to nothing that is to come; where all
 * wait for each other, in the file's order, and the server has the last word. *ret_at: the step
 * that was refused. */
static bool publish_all(struct run *run, struct step **ret_at) {
    struct plan *plan = run->plan;
    bool is_forced = false;
    for (;;) {
        bool is_left = false;
        bool is_any = false;
        for (size_t i = 0; i < plan->n; i++) {
            struct step *step = &plan->steps[i];
            json_value version = step->kind == DECLARED_SCHEMA ? next_version(step) : JSON_NONE;
            if (json_is_absent(version)) {
                continue;
            }
            if (!is_forced && is_waiting(plan, json_find(version, MR_STR("document")))) {
                is_left = true;
                continue;
            }
            *ret_at = step;
            if (!publish(run, step, version)) {
                return false;
            }
            step->is_done = json_is_absent(next_version(step));
            is_left = is_left || !step->is_done;
            is_any = true;
            is_forced = false;
        }
        if (!is_left) {
            return true;
        }
        is_forced = !is_any;
    }
}

/* ---- all ---- */

static bool take_step(struct run *run, struct step *step) {
    bool ok = true;
    switch (step->op) {
    case STEP_CREATE:
        ok = create(run, step);
        break;
    case STEP_CHANGE:
        ok = change(run, step);
        break;
    case STEP_DELETE:
        ok = delete_one(run, step);
        break;
    case STEP_UNCHANGED:
    case STEP_EXTRA:
    case STEP_SELF:
    case STEP_OPS:
        return true;
    }
    step->is_done = ok;
    return ok;
}

/* True where all was done; *ret_at: where it ended. */
static bool take_steps(struct run *run, struct step **ret_at) {
    struct plan *plan = run->plan;
    if (!publish_all(run, ret_at)) {
        return false;
    }
    for (size_t i = 0; i < plan->n; i++) {
        *ret_at = &plan->steps[i];
        if ((*ret_at)->op != STEP_DELETE && (*ret_at)->kind != DECLARED_SCHEMA &&
            !take_step(run, *ret_at)) {
            return false;
        }
    }
    for (size_t i = plan->n; i > 0; i--) {
        *ret_at = &plan->steps[i - 1];
        if ((*ret_at)->op == STEP_DELETE && !take_step(run, *ret_at)) {
            return false;
        }
    }
    return true;
}

/* Behind a refusal: where in the file it was, and what is left to do. */
static void tell_rest(const struct run *run, const struct step *at) {
    const struct plan *plan = run->plan;
    const char *singular = declared_kind_info(at->kind)->singular;
    if (!json_is_absent(at->wanted)) {
        (void)document_problem(plan->document, at->wanted, "that is the answer to the %s \"%.*s\"",
                               singular, MR_FMT(at->name));
    } else {
        cli_problem("that is the answer to deleting the %s \"%.*s\"", singular, MR_FMT(at->name));
    }
    for (size_t i = 0; i < plan->n; i++) {
        const struct step *step = &plan->steps[i];
        if (!step->is_done &&
            (step->op == STEP_CREATE || step->op == STEP_CHANGE || step->op == STEP_DELETE)) {
            fprintf(stderr, "  not done: %s %.*s: %s\n", declared_kind_info(step->kind)->singular,
                    MR_FMT(step->name), plan_op_name(step->op));
        }
    }
    fprintf(stderr, "What was done stays; apply the file again when the cause is gone.\n");
}

bool run_plan(struct plan *plan, struct cli_client *client, const struct run_options *options) {
    struct run run = {.plan = plan, .client = client, .options = options};
    struct step *at = NULL;
    mr_buf_init(&run.body, BODY_MAX);
    json_tape_init(&run.tape, JSON_DEPTH_MAX);
    bool ok = plan->n == 0 || take_steps(&run, &at);
    if (!ok) {
        tell_rest(&run, at);
    }
    if (run.body.ptr != NULL) {
        crypto_wipe(run.body.ptr, run.body.cap);
    }
    if (run.answer.body.ptr != NULL) {
        crypto_wipe(run.answer.body.ptr, run.answer.body.cap);
    }
    mr_buf_done(&run.body);
    json_tape_done(&run.tape);
    cli_answer_done(&run.answer);
    return ok;
}
