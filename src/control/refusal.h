/* What a call of the API is refused with: HTTP status, code of KORE's table, message for people.
 * The codes stand here once; the page /errors/{code} and the reference are made from this table.
 * Source: KORE's error pages (200xx, 30010, 404xx); 31xxx are Millrace's own. */
#ifndef MR_CONTROL_REFUSAL_H
#define MR_CONTROL_REFUSAL_H

#include "base/err.h"
#include "base/str.h"

/* X(symbol, code, HTTP status, title, what it means and what to do). */
#define REFUSAL_CODES(X)                                                                           \
    X(UNKNOWN_PARAMETER, 20001, 400, "Unknown parameters",                                         \
      "The request holds a parameter or member that this call does not know. The message names "   \
      "it; leave it out or mend its spelling.")                                                    \
    X(MISSING_PARAMETER, 20002, 400, "Missing parameters",                                         \
      "A required parameter or member is not there. The message names it.")                        \
    X(METHOD_NOT_ALLOWED, 20004, 405, "Method or combination not allowed",                         \
      "The address exists, but not with this method, or the parameters exclude each other. The "   \
      "Allow field lists the methods.")                                                            \
    X(DENIED, 20006, 403, "Access denied",                                                         \
      "The token is invalid, expired or revoked, or its scopes do not cover this call. Get a new " \
      "token, or give the API client the scope.")                                                  \
    X(MALFORMED, 20400, 400, "Malformed request",                                                  \
      "The request could not be understood, or a value is outside what is allowed. The message "   \
      "names the place.")                                                                          \
    X(NO_TOKEN, 20401, 401, "No access token",                                                     \
      "Send the field Authorization: Bearer followed by an access token.")                         \
    X(NOT_FOUND, 20404, 404, "Not found", "Nothing with this address exists in your account.")     \
    X(REQUEST_TIMEOUT, 20408, 408, "Request took too long",                                        \
      "The request did not arrive whole in time. Send it again.")                                  \
    X(INVALID_ACCOUNT, 20409, 409, "Invalid account or conflict",                                  \
      "The account is not valid for this call, or the change conflicts with the present state.")   \
    X(PRECONDITION, 20412, 412, "Changed by someone else",                                         \
      "The object is no longer in the state named by If-Match. Read it again and repeat the "      \
      "change.")                                                                                   \
    X(TOO_LARGE, 20413, 413, "Request too large", "The body is larger than this call takes.")      \
    X(MEDIA_TYPE, 20415, 415, "Unknown content type",                                              \
      "The Content-Type is not one that this call takes.")                                         \
    X(TOO_MANY, 20429, 429, "Too many requests",                                                   \
      "Wait as long as Retry-After says, then send again.")                                        \
    X(FIELDS_TOO_LARGE, 20431, 431, "Header fields too large",                                     \
      "The header fields of the request are too many or too long.")                                \
    X(INTERNAL, 20500, 500, "Internal error",                                                      \
      "The server failed on this request. Nothing was changed. Try again; if it stays, look into " \
      "the server's log for the request id.")                                                      \
    X(NOT_IMPLEMENTED, 20501, 501, "Not implemented",                                              \
      "The method is not one that HTTP defines "                                                   \
      "or that this server knows.")                                                                \
    X(UNAVAILABLE, 20503, 503, "Temporarily unavailable",                                          \
      "The server cannot do this at the moment (the disk is full or busy). Nothing was changed. "  \
      "Send again after the time in Retry-After.")                                                 \
    X(VERSION, 20505, 505, "HTTP version not supported", "Use HTTP/1.1.")                          \
    X(SECRETS_DENIED, 30010, 403, "Resource access is forbidden",                                  \
      "The token is invalid, expired or revoked, or its scopes do not cover webhook secrets.")     \
    X(ENVELOPE, 31001, 400, "Event envelope",                                                      \
      "An event is not a CloudEvent 1.0 in form. The errors list index, place and rule.")          \
    X(SCHEMA, 31002, 400, "Event schema",                                                          \
      "An event names a schema that is not its type's, or its data breaks the schema.")            \
    X(UNKNOWN_TYPE, 31003, 400, "Unknown event type",                                              \
      "The account refuses event types that the catalogue lacks.")                                 \
    X(RATE, 31004, 429, "Event rate exceeded",                                                     \
      "The account sends more events per second than it may. Wait as long as Retry-After says.")   \
    X(JOURNAL, 31005, 503, "Journal unavailable",                                                  \
      "Events cannot be stored at the moment. Nothing of the request was stored. Send it again "   \
      "after the time in Retry-After.")                                                            \
    X(ID_CONFLICT, 31006, 409, "Event id used with other content",                                 \
      "An event with this source and id was accepted with other content. Nothing of the request "  \
      "was stored.")                                                                               \
    X(ADDRESS_REFUSED, 31010, 400, "Address refused",                                              \
      "The URL leads to an address or port that destinations may not reach.")                      \
    X(DESTINATION_IN_USE, 31011, 409, "Destination in use",                                        \
      "Streaming rules lead to this destination. Change or delete the rules that the message "     \
      "names first.")                                                                              \
    X(RULE, 31020, 400, "Streaming rule",                                                          \
      "The streaming rule is not valid. The message names the member and the reason.")             \
    X(SCHEMA_REFUSED, 31021, 400, "Schema refused",                                                \
      "The schema document is not valid, or breaks what the previous version promised.")           \
    X(TEST_FAILED, 31030, 400, "Test failed",                                                      \
      "The test could not be made as asked. The message names the reason.")                        \
    X(CLIENT_MALFORMED, 40400, 400, "Malformed request", "As 20400, for API clients.")             \
    X(CLIENT_NO_TOKEN, 40401, 401, "No access token", "As 20401, for API clients.")                \
    X(CLIENT_DENIED, 40403, 403, "Access denied", "As 20006, for API clients.")                    \
    X(CLIENT_NOT_FOUND, 40404, 404, "Not found", "As 20404, for API clients.")                     \
    X(CLIENT_METHOD, 40405, 405, "Method not allowed", "As 20004, for API clients.")               \
    X(CLIENT_INTERNAL, 40500, 500, "Internal error", "As 20500, for API clients.")                 \
    X(CLIENT_GATEWAY, 40502, 502, "Bad gateway", "A server on the way failed. Try again.")         \
    X(CLIENT_UNAVAILABLE, 40503, 503, "Temporarily unavailable", "As 20503, for API clients.")     \
    X(CLIENT_GATEWAY_TIMEOUT, 40504, 504, "Gateway timeout",                                       \
      "A server on the way did not answer in time. Try again.")

enum refusal_code {
#define REFUSAL_ENUM(symbol, code, status, title, text) REFUSAL_##symbol = (code),
    REFUSAL_CODES(REFUSAL_ENUM)
#undef REFUSAL_ENUM
};

/* One row of the table. */
struct refusal_info {
    int code;
    int status;
    mr_str title;
    mr_str text;
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
