/* One call of the API on its way: route, caller, body, answer. The room's own header: api.c makes
 * calls, the other files hold one handler per route.
 *
 * A call lives on the heap because it may outlast its exchange: while a job of the control thread
 * or a question to the keeper is under way (holds > 0) its memory stays, even where the client is
 * gone.
 *
 * All on the worker's thread but `work`, which runs on the control thread. */
#ifndef MR_API_CALL_H
#define MR_API_CALL_H

#include "api/api.h"
#include "api/docs.h"
#include "api/errors.h"
#include "auth/cache.h"
#include "control/idempotency.h"
#include "control/clients.h"
#include "control/jobs.h"
#include "http/exchange.h"
#include "json/tape.h"

#define API_TOKEN_BODY_MAX   ((size_t)16 << 10)
#define API_BODY_MAX         ((size_t)1 << 20) /* of a call that is not events */
#define API_SIGNIN_BODY_MAX  ((size_t)16384)   /* of a call that holds a password or a code */
#define API_PREVIEW_BODY_MAX ((size_t)8 << 20)
#define API_ARENA_MAX        ((size_t)16 << 20)
#define API_ANSWER_MAX       ((size_t)32 << 20)
#define API_OPENAPI_MAX      ((size_t)4 << 20)

struct api_call {
    struct api *api;
    struct http_exchange *ex; /* NULL once the client is gone or was answered */
    uint32_t holds;           /* exchange, handler, job, question: freed at 0 */
    enum auth_route route;
    mr_arena arena;
    mr_str params[AUTH_ROUTE_PARAMS_MAX];
    mr_str path;
    mr_str query;
    mr_str body;
    mr_str content_type;
    mr_str if_match;
    mr_str idempotency_key;
    char request_id[API_REQUEST_ID_MAX + 1];
    /* the caller: one of client and user, whose own account is `home` */
    uint32_t home;
    uint32_t client; /* 0: none */
    uint32_t user;   /* 0: none */
    mr_str caller_id;
    mr_str session_id;               /* of a user */
    char address[OS_ADDR_TEXT_SIZE]; /* of the client: api_client_address */
    struct auth_scopes scopes;
    /* the account that the call is about: `home`, or the descendant that it names */
    uint32_t account;
    mr_str account_id;
    bool is_account_named; /* by ?account_id= */
    /* the answer */
    int status;
    mr_buf out;
    mr_str location;
    char etag[CONTROL_ETAG_SIZE];
    mr_buf members;   /* of a refusal by the work, beside the usual: `"errors":[…]`; or empty */
    mr_buf stored;    /* body kept under the Idempotency-Key where it is not `out`; len 0: `out` */
    bool is_repeated; /* the answer was found under the Idempotency-Key */
    bool is_claimed;  /* the key is held until the answer is kept, or the call refused */
    /* the work */
    struct control_job job;
    mr_wall now; /* of the submission */
    mr_err (*work)(struct control *control, struct api_call *call);
    void (*after)(struct api_call *call); /* NULL: answer with status and out */
    void *ask;                            /* the handler's, in arena */
    struct audit_note *note;              /* of api_audit_then */
};

/* What an Idempotency-Key does on a route (idempotency.c). Every POST with a token has a rule but
 * events, whose ids are their keys, tests, previews, which do nothing, and what is a user's own: a
 * password must not lie in the store, not even as a quick hash of the body. */
enum api_key_rule {
    API_KEY_IGNORED = 0,
    API_KEY_IN_JOB,  /* the effect is the store's: the answer is kept in its transaction */
    API_KEY_CLAIMED, /* the effect lies elsewhere: the key is claimed before, settled after */
};

/* One row per route. */
struct api_handler {
    size_t body_max; /* of a call's body; 0: none is read */
    void (*run)(struct api_call *call);
    enum api_key_rule key_rule;
};
extern const struct api_handler api_handlers[AUTH_ROUTE_COUNT];

/* Answers with call->status, call->out as JSON, ETag, Location. The call must not be used after it
 * unless the caller has a hold. Handlers and what follows a job (`after`) run under one: they may
 * look at the call, and wipe what it holds, also once it was answered or refused. */
void api_answer(struct api_call *call);
/* As api_answer with a content type and further fields. */
void api_answer_as(struct api_call *call, mr_str content_type, const mr_field *fields, size_t n);
/* protect.c. What browsers are told with every answer but what `own` says already; writes at most
 * API_PROTECTION_FIELDS, returns how many. call->ex is there. */
#define API_PROTECTION_FIELDS 4
size_t api_protect(const struct api_call *call, const mr_field *own, size_t n_own,
                   mr_field *fields);
/* Refuses; message is text for people. */
void api_refuse(struct api_call *call, int status, uint32_t code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* With further members of the answer: `"error":"…"`, or absent. */
void api_refuse_members(struct api_call *call, int status, uint32_t code, const char *message,
                        mr_str members);
void api_refuse_with(struct api_call *call, const struct refusal *refusal);
/* Without memory: 503. */
void api_refuse_memory(struct api_call *call);

void api_call_hold(struct api_call *call);
void api_call_release(struct api_call *call);

/* Runs call->work on the control thread in a transaction, then `after` (or the answer) here. On
 * routes of API_KEY_IN_JOB a call repeated with its Idempotency-Key gets the first answer. */
void api_submit(struct api_call *call,
                mr_err (*work)(struct control *control, struct api_call *call),
                void (*after)(struct api_call *call));

/* Who acts in a job of this call, for the audit log; valid as long as the call. */
struct control_actor api_actor(const struct api_call *call);

/* The audit log shall tell that this call was refused; the caller is api_actor's. */
void api_note_refused_call(struct api_call *call, enum access_what what);
/* For an effect that does not lie in the store: adds a row that tells what the call asked for, then
 * goes on here. Where the row cannot be stored the call is refused (503) and nothing is done.
 * action: a literal; object: valid as long as the call. */
void api_audit_then(struct api_call *call, const char *action, mr_str object,
                    void (*go_on)(struct api_call *call));
/* The same with a detail of its own, for bodies that may hold secrets: in arena; absent: no memory.
 */
void api_audit_told_then(struct api_call *call, const char *action, mr_str object, mr_str detail,
                         void (*go_on)(struct api_call *call));
/* Detail of such a row: {"asked":BODY}, of a long body its length. In arena; absent: no memory. */
mr_str api_audit_asked(struct api_call *call);

/* idempotency.c. The rule of the call's route, API_KEY_IGNORED where it came without a key. */
enum api_key_rule api_key_rule(const struct api_call *call);
/* Control thread: finds the first answer, or does the work and keeps its answer. */
mr_err api_key_work(struct control *control, struct api_call *call);
/* Claims the key, then runs the route's handler; a repeated call gets the first answer. */
void api_key_claim(struct api_call *call);
/* Keeps status, body and location under the claimed key, then answers. */
void api_key_settle(struct api_call *call);
/* Gives the claimed key back, because the call is being refused. */
void api_key_release(struct api_call *call);
/* Every POST that must have a rule has one. */
void api_key_assert_table(void);

/* Takes the query's parameters in the order of the route's table (docs.h): decoded, in arena,
 * judged; absent where not sent. values may be NULL where the table is empty. False: refused, the
 * call is answered: unknown parameters (20001, naming them), a missing one (20002), one sent twice,
 * a wrong value or a bad escape (20400). account_id was looked at before (api_account_of_query);
 * without a caller it is unknown. */
bool api_query_take(struct api_call *call, mr_str *values);
/* The URL of this call without page_number, page_size and cursor, for lists. In arena. */
mr_str api_list_url(struct api_call *call);
/* False: refused. */
bool api_page_take(struct api_call *call, mr_str size, mr_str number, struct control_page *ret);
/* False: the content type is none of the route's (415, answered). An absent one counts as JSON. */
bool api_require_json(struct api_call *call);
/* Is the body a form, and does the route take forms? */
bool api_is_form(const struct api_call *call);
/* Reads body, a JSON object of the route's shape. False: refused (20400, 20001, 20002). The tape is
 * initialised here; done by the caller, also then. */
bool api_body_take(struct api_call *call, mr_str body, json_tape *tape);
/* The body of a call that may come without one: an empty object then. */
static inline mr_str api_body_or_object(const struct api_call *call) {
    return call->body.len > 0 ? call->body : MR_STR("{}");
}
/* Percent-decoding, '+' as space where is_form; absent on a bad escape or without memory. */
mr_str api_percent_decode(mr_arena *arena, mr_str text, bool is_form);
/* The form as a JSON object of texts, in arena. False: refused (20400: a bad escape, a member that
 * stands twice). */
bool api_form_to_json(struct api_call *call, mr_str form, mr_str *ret_json);
/* The value of a form's member, decoded; *ret_count how often it stands there. */
mr_str api_form_find(mr_arena *arena, mr_str form, mr_str name, size_t *ret_count);

/* Handlers of routes, by file. */
void api_token(struct api_call *call);
void api_clients_list(struct api_call *call);
void api_clients_create(struct api_call *call);
void api_client_get(struct api_call *call);
void api_client_patch(struct api_call *call);
void api_client_delete(struct api_call *call);
void api_client_rotate_secret(struct api_call *call);
void api_client_revoke_tokens(struct api_call *call);
void api_signing_keys_list(struct api_call *call);
void api_signing_keys_rotate(struct api_call *call);
void api_destinations_list(struct api_call *call);
void api_destinations_create(struct api_call *call);
void api_destination_get(struct api_call *call);
void api_destination_patch(struct api_call *call);
void api_destination_delete(struct api_call *call);
void api_destination_test(struct api_call *call);
void api_destination_discard(struct api_call *call);
void api_destination_signing_secret(struct api_call *call);
void api_destination_metrics(struct api_call *call);
void api_rules_list(struct api_call *call);
void api_rules_create(struct api_call *call);
void api_rules_preview(struct api_call *call);
void api_rule_get(struct api_call *call);
void api_rule_patch(struct api_call *call);
void api_rule_delete(struct api_call *call);
void api_secrets_list(struct api_call *call);
void api_secrets_create(struct api_call *call);
void api_secret_patch(struct api_call *call);
void api_schemas_list(struct api_call *call);
void api_schemas_create(struct api_call *call);
void api_schema_overview(struct api_call *call);
void api_schema_versions_list(struct api_call *call);
void api_schema_versions_create(struct api_call *call);
void api_schema_version_get(struct api_call *call);
void api_event_types_list(struct api_call *call);
void api_event_types_create(struct api_call *call);
void api_event_type_get(struct api_call *call);
void api_event_type_patch(struct api_call *call);
void api_accounts_list(struct api_call *call);
void api_accounts_create(struct api_call *call);
void api_platform_mappings(struct api_call *call);
void api_account_get(struct api_call *call);
void api_account_patch(struct api_call *call);
void api_ownership_transfer(struct api_call *call);
void api_users_list(struct api_call *call);
void api_user_get(struct api_call *call);
void api_user_patch(struct api_call *call);
void api_user_delete(struct api_call *call);
void api_session_create(struct api_call *call);
void api_session_second(struct api_call *call);
void api_session_get(struct api_call *call);
void api_session_delete(struct api_call *call);
void api_sessions_list(struct api_call *call);
void api_sessions_delete(struct api_call *call);
void api_profile_get(struct api_call *call);
void api_profile_patch(struct api_call *call);
void api_profile_password(struct api_call *call);
void api_profile_totp(struct api_call *call);
void api_profile_totp_confirm(struct api_call *call);
void api_profile_totp_remove(struct api_call *call);
void api_profile_recovery_codes(struct api_call *call);
void api_dead_letters_list(struct api_call *call);
void api_dead_letter_get(struct api_call *call);
void api_dead_letters_redrive(struct api_call *call);
void api_callbacks_list(struct api_call *call);
void api_callbacks_create(struct api_call *call);
void api_callback_test(struct api_call *call);
void api_callback_get(struct api_call *call);
void api_audit_log_list(struct api_call *call);
void api_audit_log_export(struct api_call *call);
void api_tail(struct api_call *call);
void api_users_invite(struct api_call *call);
void api_user_invite(struct api_call *call);
void api_user_reset_link(struct api_call *call);
void api_portal_links_create(struct api_call *call);
void api_password_resets(struct api_call *call);
void api_link_get(struct api_call *call);
void api_link_use(struct api_call *call);
void api_link_page(struct api_call *call);
void api_link_page_use(struct api_call *call);
void api_ping(struct api_call *call);
void api_jwks(struct api_call *call);
void api_schema_get(struct api_call *call);
void api_error_page_get(struct api_call *call);
void api_healthz(struct api_call *call);
void api_readyz(struct api_call *call);
void api_metrics(struct api_call *call);
void api_openapi(struct api_call *call);
void api_error_index(struct api_call *call);

#endif
