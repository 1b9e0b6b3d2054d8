/* Private to control/access/: rows of signing keys. Control thread. */
#ifndef MR_CONTROL_ACCESS_KEY_ROWS_H
#define MR_CONTROL_ACCESS_KEY_ROWS_H

#include "control/access/keys.h"
#include "control/private.h"

/* Rows that are read: those that verify, and what a rotation has not swept yet. */
#define KEY_ROWS_MAX 64

struct key_row {
    char kid[CRYPTO_ID_SIZE];
    mr_str public_der;
    mr_str box; /* absent: wiped */
    int64_t sign_from_s;
    int64_t longest_s;
    int64_t verify_until_s;
    int64_t created_ms;
};

struct key_rows {
    size_t n;
    size_t signing; /* index of the one that signs now */
    struct key_row rows[KEY_ROWS_MAX];
};

/* All keys and where each stands at now; in arena. MR_E_NOMEM. */
mr_err key_rows_read(struct control *control, mr_wall now, mr_arena *arena,
                     struct key_rows **ret_keys);
/* Makes a key; inside a change. */
mr_err key_make(struct control *control, int64_t sign_from_s, mr_wall now,
                char kid[static CRYPTO_ID_SIZE]);
/* Runs a statement about one key, ?1. */
mr_err key_run(struct control *control, const char *sql, mr_str kid);

#endif
