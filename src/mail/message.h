/* A mail as it goes over the wire (RFC 5322, RFC 2045–2047): plain text in UTF-8, one recipient.
 * Nothing that a person wrote can add a field: control characters of the subject become spaces, and
 * addresses with anything but visible ASCII are refused. Pure. */
#ifndef MR_MAIL_MESSAGE_H
#define MR_MAIL_MESSAGE_H

#include "base/buf.h"
#include "base/time.h"

struct mail_message {
    mr_str from; /* an address alone, as mail_address_is_fit takes it */
    mr_str recipient;
    mr_str subject; /* UTF-8 */
    mr_str text;    /* UTF-8, lines end with \n */
    mr_str id;      /* what stands before the @ of the Message-ID: visible ASCII */
    mr_wall date;
};

/* One @, something on both sides, at most 254 characters of visible ASCII, and none of those that
 * could end an address in a header or a command: < > ( ) [ ] , ; : \ ". */
bool mail_address_is_fit(mr_str address);
/* Appends the whole mail, lines ended by CRLF. MR_E_INVALID: an address is not fit, or subject or
 * text is not UTF-8. MR_E_LIMIT, MR_E_NOMEM. */
mr_err mail_message_write(const struct mail_message *message, mr_buf *out);

#endif
