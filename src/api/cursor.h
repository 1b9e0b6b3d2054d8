/* Cursors of long lists: the place of a page's last row, as an opaque text in next_page_url. A page
 * that begins behind a row costs the same at any depth, and rows added meanwhile shift nothing.
 *
 * A list asks for it by API_PARAM_CURSOR beside API_PARAM_PAGE_SIZE and API_PARAM_PAGE_NUMBER, in
 * its handler api_cursor_take, and writes its meta_data by control_page_write_next with the text of
 * api_cursor_encode. Either number or cursor may be given, not both. */
#ifndef MR_API_CURSOR_H
#define MR_API_CURSOR_H

#include "api/call.h"
#include "crypto/siphash.h"

/* Whose rows it tells a place among; the numbers are in texts that callers hold, so they stay. */
enum api_cursor_kind {
    API_CURSOR_AUDIT = 1,
    API_CURSOR_LETTERS = 2,
    API_CURSOR_EVENTS = 3,
    API_CURSOR_DELIVERIES = 4,
    API_CURSOR_REPLAYS = 5,
};

/* The last row of a page, in what orders the list: one number of 128 bits or two of 64. */
struct api_cursor {
    uint64_t a;
    uint64_t b;
    uint32_t page; /* the page_number of the page that begins behind that row */
};

/* Without the NUL. */
#define API_CURSOR_LEN 60
void api_cursor_encode(struct siphash_key key, enum api_cursor_kind kind, uint32_t account,
                       const struct api_cursor *cursor, char out[static API_CURSOR_LEN + 1]);
/* MR_E_INVALID: not one that api_cursor_encode made with that key, kind and account. */
mr_err api_cursor_decode(struct siphash_key key, enum api_cursor_kind kind, uint32_t account,
                         mr_str text, struct api_cursor *ret_cursor);

#define API_PARAM_CURSOR                                                                           \
    { "cursor", API_PARAM_TEXT, .what = "Where the page begins; of next_page_url" }

/* The page that the call asks for, of the values of page_size, page_number and cursor. Without a
 * cursor *ret_has is false and *ret_cursor is zero. False: refused (20001: the cursor is not of
 * this list and account; 20004: with page_number; 20400). */
bool api_cursor_take(struct api_call *call, enum api_cursor_kind kind, mr_str size, mr_str number,
                     mr_str text, struct control_page *ret_page, struct api_cursor *ret_cursor,
                     bool *ret_has);

#endif
