/* What a call of the API is refused with: HTTP status, code of KORE's table, message for people.
 * The codes stand here once; the page /errors/{code} and the reference are made from this table.
 * Source: KORE's error pages (200xx, 30010, 404xx); 31xxx are Millrace's own. */
#ifndef MR_CONTROL_REFUSAL_H
#define MR_CONTROL_REFUSAL_H

#include "base/err.h"
#include "base/str.h"

/* X(symbol, code, HTTP status, title, cause, what to do, message of an example). */
#define REFUSAL_CODES(X)                                                                           \
    X(UNKNOWN_PARAMETER, 20001, 400, "Unknown parameters",                                         \
      "The request holds a parameter or member that this call does not know.",                     \
      "Leave it out or mend its spelling; the message names it. The reference of the API "         \
      "lists what each call takes.",                                                               \
      "Unknown member: settings.timeout.")                                                         \
    X(MISSING_PARAMETER, 20002, 400, "Missing parameters",                                         \
      "A required parameter or member is not there.", "Add it; the message names it.",             \
      "Missing member: settings.url.")                                                             \
    X(METHOD_NOT_ALLOWED, 20004, 405, "Method or combination not allowed",                         \
      "The address exists, but not with this method; or, with status 400, the members "            \
      "exclude each other.",                                                                       \
      "Use one of the methods in the Allow field, or one of the members that the message "         \
      "names.",                                                                                    \
      "this method is not one of this address")                                                    \
    X(DENIED, 20006, 403, "Access denied",                                                         \
      "The token is invalid, expired or revoked, or its scopes do not cover this call.",           \
      "Get a new token, or give the API client the scope, and get a token after that.",            \
      "User is not authorized to access this resource with an explicit deny")                      \
    X(MALFORMED, 20400, 400, "Malformed request",                                                  \
      "The request could not be understood, or a value is outside what is allowed.",               \
      "Mend the place that the message names.",                                                    \
      "settings.timeout_ms must be a whole number from 100 to 30000.")                             \
    X(NO_TOKEN, 20401, 401, "No access token",                                                     \
      "The call came without an access token, or the Authorization field has another form.",       \
      "Send the field Authorization: Bearer followed by an access token.",                         \
      "an access token is required: Authorization: Bearer …")                                      \
    X(NOT_FOUND, 20404, 404, "Not found",                                                          \
      "Nothing with this address exists in your account; what other accounts have counts "         \
      "as not there.",                                                                             \
      "Look at the id, and at which account the token belongs to.",                                \
      "There is no such streaming rule.")                                                          \
    X(REQUEST_TIMEOUT, 20408, 408, "Request took too long",                                        \
      "The request did not arrive whole in time.",                                                 \
      "Send it again, over a faster connection or in smaller parts.", "the request took too long") \
    X(INVALID_ACCOUNT, 20409, 409, "Invalid account or conflict",                                  \
      "The account is not valid for this call, or the change conflicts with the present "          \
      "state.",                                                                                    \
      "Read the present state; the message tells what stands in the way.",                         \
      "There is an event type com.example.door.opened already.")                                   \
    X(PRECONDITION, 20412, 412, "Changed by someone else",                                         \
      "The object is no longer in the state that If-Match names.",                                 \
      "Read it again and repeat the change with its new ETag.",                                    \
      "The destination was changed meanwhile.")                                                    \
    X(TOO_LARGE, 20413, 413, "Request too large", "The body is larger than this call takes.",      \
      "Send less at once.", "the call is larger than 8 MiB")                                       \
    X(MEDIA_TYPE, 20415, 415, "Unknown content type",                                              \
      "The Content-Type is not one that this call takes, or the body has a content coding.",       \
      "Send the content type that the message names, without a coding.",                           \
      "the content type must be application/json")                                                 \
    X(TOO_MANY, 20429, 429, "Too many requests", "More was asked than is answered in this time.",  \
      "Wait as long as Retry-After says, then send again.",                                        \
      "a destination is tested ten times a minute at most")                                        \
    X(FIELDS_TOO_LARGE, 20431, 431, "Header fields too large",                                     \
      "The header fields of the request are too many or too long.", "Send fewer or shorter ones.", \
      "the header fields are too large")                                                           \
    X(INTERNAL, 20500, 500, "Internal error",                                                      \
      "The server failed on this request. Nothing was changed.",                                   \
      "Try again; if it stays, look into the log of the server for the request id.",               \
      "The server failed on this request.")                                                        \
    X(NOT_IMPLEMENTED, 20501, 501, "Not implemented",                                              \
      "The method is not one that HTTP defines or that this server knows.",                        \
      "Use a method of the reference of the API.", "this method is not known")                     \
    X(UNAVAILABLE, 20503, 503, "Temporarily unavailable",                                          \
      "The server cannot do this at the moment: the disk is full or busy, or it is "               \
      "starting or stopping. Nothing was changed.",                                                \
      "Send again after the time in Retry-After.", "The store cannot be written at the moment.")   \
    X(VERSION, 20505, 505, "HTTP version not supported",                                           \
      "The request is in a version of HTTP that this server does not speak.", "Use HTTP/1.1.",     \
      "use HTTP/1.1")                                                                              \
    X(SECRETS_DENIED, 30010, 403, "Resource access is forbidden",                                  \
      "The token is invalid, expired or revoked, or its scopes do not cover webhook "              \
      "secrets.",                                                                                  \
      "Get a new token, or give the API client the scope Webhooks, and get a token after "         \
      "that.",                                                                                     \
      "User is not authorized to access this resource with an explicit deny")                      \
    X(ENVELOPE, 31001, 400, "Event envelope",                                                      \
      "An event is not a CloudEvent 1.0 in form. Nothing of the request was stored.",              \
      "Mend the events that errors lists with index, place and rule.",                             \
      "an event breaks a rule; nothing of the call was stored (1 found)")                          \
    X(SCHEMA, 31002, 400, "Event schema",                                                          \
      "An event names a schema that is not of its type, or its data breaks the schema. "           \
      "Nothing of the request was stored.",                                                        \
      "Mend what errors lists, or publish a version of the schema that allows it.",                \
      "an event's data does not keep the contract of its schema version; nothing of the "          \
      "call was stored (1 found)")                                                                 \
    X(UNKNOWN_TYPE, 31003, 400, "Unknown event type",                                              \
      "The event type is not in the catalogue, and the account refuses such events.",              \
      "Mend the type, add it to the catalogue, or let the account accept unknown types.",          \
      "event_type is not in the catalogue")                                                        \
    X(RATE, 31004, 429, "Event rate exceeded",                                                     \
      "The account sends more events per second than it may.",                                     \
      "Wait as long as Retry-After says, then send again.",                                        \
      "the account's events per second are used up")                                               \
    X(JOURNAL, 31005, 503, "Journal unavailable",                                                  \
      "Events cannot be stored at the moment. Nothing of the request was stored.",                 \
      "Send the request again after the time in Retry-After.",                                     \
      "the journal takes no records at the moment; try again")                                     \
    X(ID_CONFLICT, 31006, 409, "Event id used with other content",                                 \
      "An event with this source and id was accepted with other content. Nothing of the "          \
      "request was stored.",                                                                       \
      "Give the event an id of its own, or send the content that was accepted.",                   \
      "event 0: its source and id were used with other content; nothing was stored")               \
    X(ADDRESS_REFUSED, 31010, 400, "Address refused",                                              \
      "The URL leads to an address or port that destinations may not reach.",                      \
      "Use a public https address, or ask the operator to open the network.",                      \
      "settings.url is refused: 127.0.0.1 is not a public address.")                               \
    X(DESTINATION_IN_USE, 31011, 409, "Destination in use",                                        \
      "Streaming rules lead to this destination.",                                                 \
      "Change or delete the rules that the message names first.",                                  \
      "1 streaming rule leads to this destination: rul_01j9z3k8m4qv7y2w5x6t0abcde.")               \
    X(RULE, 31020, 400, "Streaming rule", "The streaming rule is not valid.",                      \
      "Mend the member that the message names.",                                                   \
      "sampling must be a whole number from 1 to 1000000.")                                        \
    X(SCHEMA_REFUSED, 31021, 400, "Schema refused",                                                \
      "The schema document is not valid, an example does not fit it, or it breaks what the "       \
      "version before promised.",                                                                  \
      "Mend the place that errors names; where breaking lists what was promised, set "             \
      "allow_breaking or publish it under another name.",                                          \
      "document: refused at \"/properties/a/type\": expected a type name")                         \
    X(TEST_FAILED, 31030, 400, "Test failed", "The test could not be made as asked.",              \
      "Mend what the message names.", "the test could not be made")                                \
    X(CLIENT_MALFORMED, 40400, 400, "Malformed request",                                           \
      "The request about API clients could not be understood, or a value is outside what "         \
      "is allowed.",                                                                               \
      "Mend the place that the message names.", "page_size must be a whole number from 1 to 1000") \
    X(CLIENT_NO_TOKEN, 40401, 401, "No access token",                                              \
      "The call came without an access token, or the Authorization field has another form.",       \
      "Send the field Authorization: Bearer followed by an access token.",                         \
      "an access token is required: Authorization: Bearer …")                                      \
    X(CLIENT_DENIED, 40403, 403, "Access denied",                                                  \
      "The token is invalid, expired or revoked, or its scopes do not cover API clients.",         \
      "Get a new token, or give the API client the scope API Clients, and get a token "            \
      "after that.",                                                                               \
      "User is not authorized to access this resource with an explicit deny")                      \
    X(CLIENT_NOT_FOUND, 40404, 404, "Not found",                                                   \
      "There is no API client with this id in your account.",                                      \
      "Look at the id, and at which account the token belongs to.",                                \
      "There is no such API client.")                                                              \
    X(CLIENT_METHOD, 40405, 405, "Method not allowed",                                             \
      "The address exists, but not with this method.",                                             \
      "Use one of the methods in the Allow field.", "this method is not one of this address")      \
    X(CLIENT_INTERNAL, 40500, 500, "Internal error",                                               \
      "The server failed on this request. Nothing was changed.",                                   \
      "Try again; if it stays, look into the log of the server for the request id.",               \
      "The server failed on this request.")                                                        \
    X(CLIENT_GATEWAY, 40502, 502, "Bad gateway", "A server on the way failed.", "Try again.",      \
      "A server on the way failed.")                                                               \
    X(CLIENT_UNAVAILABLE, 40503, 503, "Temporarily unavailable",                                   \
      "The server cannot do this at the moment. Nothing was changed.",                             \
      "Send again after the time in Retry-After.", "The store cannot be written at the moment.")   \
    X(CLIENT_GATEWAY_TIMEOUT, 40504, 504, "Gateway timeout",                                       \
      "A server on the way did not answer in time.", "Try again.",                                 \
      "A server on the way did not answer in time.")

enum refusal_code {
#define REFUSAL_ENUM(symbol, code, status, title, cause, todo, example) REFUSAL_##symbol = (code),
    REFUSAL_CODES(REFUSAL_ENUM)
#undef REFUSAL_ENUM
};

/* One row of the table. */
struct refusal_info {
    int code;
    int status;
    mr_str title;
    mr_str cause;
    mr_str todo;    /* what to do */
    mr_str example; /* a message as an answer has it */
};
/* NULL for a code that is not in the table. */
const struct refusal_info *refusal_info(int code);
/* Rows in order of the table; NULL past the end. */
const struct refusal_info *refusal_row(size_t index);

#define REFUSAL_MESSAGE_SIZE 1024

/* A refusal by value. */
struct refusal {
    int status;                         /* HTTP */
    int code;                           /* of the table */
    int retry_after_s;                  /* 0: no Retry-After */
    char message[REFUSAL_MESSAGE_SIZE]; /* valid UTF-8, NUL-terminated; never a secret */
};

/* What functions of control/ return with a filled *ret_refusal. Every error of theirs fills it. */
enum control_error {
    CONTROL_E_REFUSED = MR_ERR_CODE(MR_ROOM_CONTROL, 1),
    CONTROL_E_NO_STORE = MR_ERR_CODE(MR_ROOM_CONTROL, 2), /* the folder was never initialised */
    CONTROL_E_NEWER = MR_ERR_CODE(MR_ROOM_CONTROL, 3),    /* made by a newer version */
    CONTROL_E_MASTER_KEY =
        MR_ERR_CODE(MR_ROOM_CONTROL, 4),                /* missing, unreadable or the wrong one */
    CONTROL_E_EXISTS = MR_ERR_CODE(MR_ROOM_CONTROL, 5), /* init: there is a store already */
};

/* Fills it: status from the table, message cut at a character boundary where it is too long, bytes
 * that are not UTF-8 replaced. Returns CONTROL_E_REFUSED, so that callers can return it at once. */
mr_err refuse(struct refusal *ret_refusal, enum refusal_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
