/* A user's own things over HTTP: name, password, second factor. No role is asked, and no right over
 * others is given.
 *
 * What would let whoever found an open session keep it (another password, another second factor)
 * asks for the present password again; wrong ones are slowed and stand in the audit log. */
#include "api/session.h"

#include "control/people/profile.h"
#include "control/people/totp.h"
#include "crypto/secret.h"
#include "json/write.h"

/* ---- name ---- */

static mr_err get(struct control *control, struct api_call *call) {
    struct user_view view;
    MR_TRY(users_get_number(control, call->user, &call->arena, &view, &call->job.refusal));
    control_etag_format(view.version, call->etag);
    return user_write_json(&view, &call->out);
}

const struct api_doc api_doc_PROFILE_GET = {
    .summary = "Read your own user", .flags = API_DOC_ETAG, .status = 200, .answer = &user_answer};

void api_profile_get(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, get, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    struct user_view view;
    MR_TRY(profile_patch(control, call->user, call->body, control_etag_parse(call->if_match),
                         &call->arena, &view, &call->job.refusal));
    control_etag_format(view.version, call->etag);
    return user_write_json(&view, &call->out);
}

const struct api_doc api_doc_PROFILE_PATCH = {.summary = "Change your own user",
                                              .media = API_MEDIA_JSON | API_MEDIA_MERGE,
                                              .body = &profile_shape,
                                              .use = SHAPE_CHANGE,
                                              .flags = API_DOC_ETAG,
                                              .status = 200,
                                              .answer = &user_answer};

void api_profile_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, patch, NULL);
    }
}

/* ---- the password once more ---- */

struct profile_ask {
    struct api_password password; /* first: the present one, then the new one */
    mr_str new_password;
    mr_str hash;
    mr_str account_name;
    struct user_view view;
    bool is_right;
    /* what follows: on the control thread, then here (NULL: the answer) */
    mr_err (*work)(struct control *control, struct api_call *call);
    void (*after)(struct api_call *call);
    void (*right)(struct api_call *call); /* instead of the two, where there is more to compute */
};

static mr_err again_end(struct control *control, struct api_call *call) {
    struct profile_ask *ask = call->ask;
    MR_TRY(signin_again_finish(control, call->user, mr_str_c(call->address), ask->is_right,
                               &call->job.refusal));
    return ask->is_right && ask->right == NULL ? ask->work(control, call) : MR_OK;
}

static void again_ended(struct api_call *call) {
    struct profile_ask *ask = call->ask;
    if (!ask->is_right) {
        api_text_wipe(&ask->new_password);
        api_refuse(call, 403, 20006, "the present password is wrong");
    } else if (ask->right != NULL) {
        ask->right(call);
    } else if (ask->after != NULL) {
        ask->after(call);
    } else {
        api_answer(call);
    }
}

static void again_verified(struct api_call *call) {
    struct profile_ask *ask = call->ask;
    ask->is_right = ask->password.task.matched == 0;
    api_submit(call, again_end, again_ended);
}

static void again_give_up(struct control *control, struct api_call *call) {
    signin_again_give_up(control, call->user, mr_str_c(call->address));
}

static void again_begun(struct api_call *call) {
    struct profile_ask *ask = call->ask;
    ask->password.task.hashes = &ask->hash;
    ask->password.task.n_hashes = ask->hash.len > 0 ? 1 : 0;
    ask->password.give_up = again_give_up;
    api_password_compute(call, &ask->password, again_verified);
}

static mr_err again_begin(struct control *control, struct api_call *call) {
    struct profile_ask *ask = call->ask;
    return signin_again_begin(control, call->user, mr_str_c(call->address), &call->arena,
                              &ask->view, &ask->account_name, &ask->hash, &call->job.refusal);
}

static struct profile_ask *ask_new(struct api_call *call, mr_str *password) {
    struct profile_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
    } else {
        bool fits = password_task_set(&ask->password.task, *password);
        MR_ASSERT(fits); /* by the shape */
        call->ask = ask;
    }
    api_text_wipe(password);
    return ask;
}

/* Takes the body {password}, then work and after. */
static void with_password(struct api_call *call,
                          mr_err (*work)(struct control *control, struct api_call *call),
                          void (*after)(struct api_call *call)) {
    mr_str password;
    if (!api_texts_take(call, &password)) {
        return;
    }
    struct profile_ask *ask = ask_new(call, &password);
    if (ask != NULL) {
        ask->work = work;
        ask->after = after;
        api_submit(call, again_begin, again_begun);
    }
}

/* ---- another password ---- */

static mr_err set_password(struct control *control, struct api_call *call) {
    struct profile_ask *ask = call->ask;
    call->status = 204;
    return profile_set_password(control, call->user, ask->hash,
                                mr_str_c(ask->password.task.new_hash), call->session_id,
                                &call->job.refusal);
}

static void hashed(struct api_call *call) {
    api_submit(call, set_password, NULL);
}

static void old_is_right(struct api_call *call) {
    struct profile_ask *ask = call->ask;
    struct refusal refusal;
    const struct password_context context = {ask->view.email, ask->view.name, ask->account_name};
    if (mr_is_err(password_judge(ask->new_password, &context, &refusal))) {
        api_text_wipe(&ask->new_password);
        api_refuse_with(call, &refusal);
        return;
    }
    ask->password.task.is_hashing = true;
    ask->password.give_up = NULL; /* it was right, and has been told */
    bool fits = password_task_set(&ask->password.task, ask->new_password);
    MR_ASSERT(fits);
    api_text_wipe(&ask->new_password);
    api_password_compute(call, &ask->password, hashed);
}

const struct api_doc api_doc_PROFILE_PASSWORD = {.summary = "Change your password",
                                                 .what = "Your other sessions end.",
                                                 .media = API_MEDIA_JSON,
                                                 .body = &password_change_shape,
                                                 .status = 204,
                                                 API_REFUSALS(409, 429)};

void api_profile_password(struct api_call *call) {
    mr_str values[2];
    if (!api_texts_take(call, values)) {
        return;
    }
    if (mr_str_eq(values[0], values[1])) {
        api_text_wipe(&values[0]);
        api_text_wipe(&values[1]);
        api_refuse(call, 400, 20400, "the new password is the present one");
        return;
    }
    struct profile_ask *ask = ask_new(call, &values[0]);
    if (ask != NULL) {
        ask->new_password = values[1];
        ask->right = old_is_right;
        api_submit(call, again_begin, again_begun);
    }
}

/* ---- the second factor ---- */

static mr_err totp_begin_work(struct control *control, struct api_call *call) {
    mr_str seed = MR_STR_NONE;
    mr_str url = MR_STR_NONE;
    MR_TRY(totp_begin(control, call->user, &call->arena, &seed, &url, &call->job.refusal));
    json_out writer;
    json_out_init(&writer, &call->out);
    json_out_object(&writer);
    json_out_member_str(&writer, "secret", seed);
    json_out_member_str(&writer, "url", url);
    json_out_end(&writer);
    mr_err err = json_out_finish(&writer);
    api_text_wipe(&seed);
    api_text_wipe(&url);
    return err;
}

static const struct shape_member seed_members[] = {
    {"secret", SHAPE_TEXT, SHAPE_SECRET, .what = "Base32, for an authenticator app"},
    {"url", SHAPE_TEXT, SHAPE_SECRET, .what = "The same as otpauth:, for a QR code"},
};
static const struct shape seed_answer = {"SecondFactorSeed", seed_members,
                                         sizeof seed_members / sizeof seed_members[0]};
const struct api_doc api_doc_PROFILE_TOTP = {.summary = "Begin a second factor",
                                             .what =
                                                 "It counts from POST /v1/profile/totp/confirm on.",
                                             .media = API_MEDIA_JSON,
                                             .body = &password_again_shape,
                                             .status = 200,
                                             .answer = &seed_answer,
                                             API_REFUSALS(409, 429)};

void api_profile_totp(struct api_call *call) {
    with_password(call, totp_begin_work, NULL);
}

static mr_err write_codes(char codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE], mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_array(&writer, "recovery_codes");
    for (size_t i = 0; i < RECOVERY_CODES; i++) {
        json_out_str(&writer, mr_str_c(codes[i]));
    }
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

static mr_err confirm_work(struct control *control, struct api_call *call) {
    mr_str *code = call->ask;
    char codes[RECOVERY_CODES][RECOVERY_CODE_SIZE];
    mr_err err = totp_confirm(control, call->user, *code, call->now, call->session_id, codes,
                              &call->job.refusal);
    if (mr_is_ok(err)) {
        err = write_codes(codes, &call->out);
    }
    crypto_wipe(codes, sizeof codes);
    return err;
}

static const struct shape_member code_members[] = {
    {"recovery_codes", SHAPE_TEXTS, SHAPE_SECRET, .what = "Each signs in once; shown this once"},
};
static const struct shape codes_answer = {"RecoveryCodes", code_members,
                                          sizeof code_members / sizeof code_members[0]};
const struct api_doc api_doc_PROFILE_TOTP_CONFIRM = {.summary = "Confirm the second factor",
                                                     .what = "Your other sessions end.",
                                                     .media = API_MEDIA_JSON,
                                                     .body = &totp_confirm_shape,
                                                     .status = 200,
                                                     .answer = &codes_answer,
                                                     API_REFUSALS(409, 429)};

void api_profile_totp_confirm(struct api_call *call) {
    mr_str *code = mr_arena_calloc(&call->arena, 1, sizeof *code);
    if (code == NULL) {
        api_refuse_memory(call);
    } else if (api_texts_take(call, code)) {
        call->ask = code;
        api_submit(call, confirm_work, NULL);
    }
}

static mr_err remove_work(struct control *control, struct api_call *call) {
    call->status = 204;
    return totp_remove(control, call->user, &call->job.refusal);
}

const struct api_doc api_doc_PROFILE_TOTP_REMOVE = {.summary = "Remove the second factor",
                                                    .media = API_MEDIA_JSON,
                                                    .body = &password_again_shape,
                                                    .status = 204,
                                                    API_REFUSALS(409, 429)};

void api_profile_totp_remove(struct api_call *call) {
    with_password(call, remove_work, NULL);
}

static mr_err codes_work(struct control *control, struct api_call *call) {
    char codes[RECOVERY_CODES][RECOVERY_CODE_SIZE];
    mr_err err = totp_renew_codes(control, call->user, codes, &call->job.refusal);
    if (mr_is_ok(err)) {
        err = write_codes(codes, &call->out);
    }
    crypto_wipe(codes, sizeof codes);
    return err;
}

const struct api_doc api_doc_PROFILE_RECOVERY_CODES = {.summary = "Make new recovery codes",
                                                       .what = "The former ones are void.",
                                                       .media = API_MEDIA_JSON,
                                                       .body = &password_again_shape,
                                                       .status = 200,
                                                       .answer = &codes_answer,
                                                       API_REFUSALS(409, 429)};

void api_profile_recovery_codes(struct api_call *call) {
    with_password(call, codes_work, NULL);
}
