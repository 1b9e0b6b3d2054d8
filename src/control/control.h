/* The control store: accounts, API clients, keys, secrets, destinations, streaming rules in one
 * SQLite database of the data folder, owned by one thread. Everything that changes does so in a
 * transaction that is on disk before anyone sees it; workers see it as a snapshot (model/).
 * The functions of the other headers of this room are called on the control thread only: as a job
 * (control/jobs.h), or directly where no thread was started (command line, tests). */
#ifndef MR_CONTROL_CONTROL_H
#define MR_CONTROL_CONTROL_H

#include "base/arena.h"
#include "base/log.h"
#include "base/metrics.h"
#include "control/refusal.h"
#include "model/catalogue.h"
#include "model/snapshot.h"

struct control;
struct mailbox;

enum control_url_verdict {
    CONTROL_URL_OK = 0,
    CONTROL_URL_MALFORMED, /* 20400 */
    CONTROL_URL_REFUSED,   /* 31010: port, scheme, or a literal address that may not be reached */
};

#define CONTROL_REASON_SIZE 256
#define CONTROL_PATH_SIZE   4096

struct control_options {
    const char *dir; /* the data folder; control.db lies in it */
    /* Path of the master key; NULL: $CREDENTIALS_DIRECTORY/millrace-master-key where
     * credentials_dir is given, else DIR.key beside the data folder. */
    const char *master_key_file;
    const char *credentials_dir; /* value of CREDENTIALS_DIRECTORY, or NULL */
    /* Token issuer and audience; absent: "urn:millrace:" + the installation's id, and "millrace".
     */
    mr_str issuer;
    mr_str audience;
    /* Judges a destination's URL without any network: called on the control thread. reason: text
     * for people, without a full stop. NULL: every URL of 1 to MODEL_URL_BYTES_MAX bytes is taken.
     */
    enum control_url_verdict (*judge_url)(void *ctx, mr_str url, char reason[CONTROL_REASON_SIZE]);
    void *judge_ctx;
    mr_str event_type_prefix; /* of the shipped event types; absent: the default */
    uint32_t
        account_events_per_second; /* default of accounts without a limit of their own; 0: none */
    int64_t session_idle_ms;       /* a session ends when not used for so long; 0: 12 hours */
    int64_t session_max_days;      /* and so long after sign-in; 0: 30 */
    int64_t audit_retention_ms;    /* rows of the audit log stay so long; 0: for ever */
    /* Tells the sender of mail that one was queued: called on the control thread, also where the
     * transaction is rolled back after it. NULL: no SMTP server is configured. */
    void (*mail_wanted)(void *ctx);
    void *mail_ctx;
    const char *setup_file;   /* taken away once the installation is set up; may be NULL */
    const struct mr_log *log; /* may be NULL */
    mr_metrics *metrics;      /* slots of the control thread; may be NULL */
    struct secret_slab *slab; /* must outlive the store and every snapshot of it */
    uint32_t page_count_max;  /* of the database, for tests of a full disk; 0: SQLite's */
};

/* What init leaves behind; the secret is shown this once. Texts are NUL-terminated. */
struct control_init_result {
    char account_id[MODEL_ID_SIZE];
    char client_id[MODEL_ID_SIZE];
    char client_secret[64]; /* the caller wipes it (crypto_wipe) */
};

/* Makes the store in options->dir (made, 0700, where it is missing), the master key where there is
 * none, the root account with its owner's e-mail, an admin client with every right, and a signing
 * key. All or nothing. CONTROL_E_EXISTS where a store is there; CONTROL_E_MASTER_KEY;
 * CONTROL_E_REFUSED (bad e-mail, or a folder that cannot be made or used); MR_E_NO_SPACE, MR_E_IO.
 * On error ret_refusal->message says what and what to do. Blocks. */
mr_err control_init(const struct control_options *options, mr_str owner_email,
                    struct control_init_result *ret_result, struct refusal *ret_refusal);

/* The same for a first start: without owner and client, waiting for the set-up link
 * (people/links.h: links_setup_waits). */
mr_err control_init_unowned(const struct control_options *options, struct refusal *ret_refusal);

/* Opens the store, checks the canary of the master key, brings an older format up to date and
 * builds the first snapshot. options are copied; what they point to must live as long as control.
 * CONTROL_E_NO_STORE, CONTROL_E_NEWER, CONTROL_E_MASTER_KEY, MR_E_BUSY (another process has it),
 * MR_E_IO, MR_E_NOMEM; ret_refusal->message says what and what to do, in one line. Blocks. */
mr_err control_open(const struct control_options *options, struct control **ret_control,
                    struct refusal *ret_refusal);
/* After control_join, or where no thread was started. NULL is fine. */
void control_close(struct control *control);

struct control_rotated {
    uint32_t n_values;               /* sealed anew */
    char present[CONTROL_PATH_SIZE]; /* the file of the key that was the present one */
};
/* Makes a new master key and seals everything anew with it, in one transaction. new_key_file NULL:
 * the new key takes the old one's place; else it is the one in that file, or made there, and the
 * present file stays. Safe to cut off at any point: store/master.h. CONTROL_E_MASTER_KEY,
 * CONTROL_E_REFUSED (a value that does not open, a full disk); ret_refusal->message says what and
 * what to do. Blocks. */
mr_err control_rotate_master_key(struct control *control, const char *new_key_file,
                                 struct control_rotated *ret_rotated, struct refusal *ret_refusal);

/* Looks the database at path over, read-only, while nobody has it open: SQLite's integrity check
 * and the foreign keys. Each finding is text for people, valid during the call. CONTROL_E_NEWER,
 * MR_E_BUSY, MR_E_IO (it cannot be opened), MR_E_NOMEM. Blocks. */
mr_err control_check(const char *path, void (*on_finding)(void *ctx, const char *what), void *ctx);

/* The present snapshot with a reference for the caller. Any thread before the control thread
 * starts, later the control thread only: workers hold their own. */
struct snapshot *control_snapshot(struct control *control);
/* Installation id: "inst_…"; and 16 random bytes that never change: the seed of tokens and
 * de-duplication tags of this store. Valid as long as control; any thread. */
mr_str control_installation_id(const struct control *control);
const uint8_t *control_store_key(const struct control *control);
/* Number of the root account. */
uint32_t control_root_account(const struct control *control);

/* ---- what the resources share ---- */

/* A page of a list. */
struct control_page {
    uint32_t size;   /* 1–1,000 */
    uint32_t number; /* from 1 */
    bool by_cursor;  /* it begins behind a row, not after so many */
};
#define CONTROL_PAGE_SIZE_DEFAULT 50
#define CONTROL_PAGE_SIZE_MAX     1000

/* From the raw values of page_size and page_number, absent ones take the defaults. 20400. */
mr_err control_page_parse(mr_str size, mr_str number, struct control_page *ret_page,
                          struct refusal *ret_refusal);
struct json_out;
/* What control_page_write writes. */
struct shape;
extern const struct shape control_page_answer;
/* Writes the members count, page_size, page_number, previous_page_url, next_page_url into the open
 * object. url is absolute, with the other parameters of the query ("https://x/v1/secrets" or
 * "…?status=active"); no neighbour: "". url's length ≤ 4,000. */
void control_page_write(const struct control_page *page, uint64_t count, mr_str url,
                        struct json_out *out);
/* Likewise for a list that goes on by cursors; cursor: of the next page, absent where there is
 * none. The page before one that was reached by a cursor is not told. */
void control_page_write_next(const struct control_page *page, uint64_t count, mr_str url,
                             mr_str cursor, struct json_out *out);
/* What `count` says of n rows that match: they are counted exactly up to this many. */
#define CONTROL_COUNT_MAX UINT64_C(10000)
static inline uint64_t control_count_told(uint64_t n) {
    return n > CONTROL_COUNT_MAX ? CONTROL_COUNT_MAX + 1 : n;
}

/* "\"v12\"" for a version, and back: the raw If-Match value to a version; 0 where it is absent or
 * "*"; UINT32_MAX (matches nothing) for anything else. */
#define CONTROL_ETAG_SIZE 16
size_t control_etag_format(uint32_t version, char out[static CONTROL_ETAG_SIZE]);
uint32_t control_etag_parse(mr_str if_match);

#endif
