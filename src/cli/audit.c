/* `millrace audit`: pages of the audit log, its export, and the check of an exported file without
 * any server: every row's hash is computed again, and each row must follow from the one before it.
 *
 * An export of one account's rows has gaps, where the rows of others stand in the chain; it is
 * told how many, and that a row is right is told all the same. */
#include "cli/cli.h"
#include "cli/client.h"

#include "base/mem.h"
#include "base/num.h"
#include "control/audit/chain.h"
#include "json/tape.h"

#include <stdio.h>

#define PATH_SIZE   4096
#define FILE_MAX    ((size_t)4 << 30)
#define ARENA_MAX   ((size_t)16 << 20)
#define FOUND_MAX   100
#define EXPORT_ROWS 10000

/* ---- list ---- */

/* The path with a parameter more. False: it does not fit. */
static bool add_parameter(const struct cli_client *client, char *path, const char *name,
                          const char *value) {
    char escaped[PATH_SIZE / 2];
    size_t len = strlen(path);
    if (value == NULL) {
        return true;
    }
    if (!cli_client_escape(client, value, escaped, sizeof escaped)) {
        return false;
    }
    char sep = strchr(path, '?') == NULL ? '?' : '&';
    int n = snprintf(path + len, PATH_SIZE - len, "%c%s=%s", sep, name, escaped);
    return n > 0 && (size_t)n < PATH_SIZE - len;
}

static mr_str text_of(json_value object, const char *name, mr_arena *arena) {
    mr_str text = MR_STR("-");
    mr_ignore(json_string(json_find(object, mr_str_c(name)), arena, &text), "shown as -");
    return text;
}

/* A line for each row. */
static void show_rows(mr_str body) {
    json_tape tape;
    mr_arena arena;
    mr_arena_init(&arena, ARENA_MAX);
    json_tape_init(&tape, JSON_DEPTH_MAX);
    mr_ignore(json_tape_read(&tape, body, NULL), "an answer that is none shows nothing");
    for (json_iter it = json_iter_of(json_find(json_root(&tape), MR_STR("data")));
         json_next(&it);) {
        json_value actor = json_find(it.value, MR_STR("actor"));
        mr_str id = text_of(actor, "id", &arena);
        printf("%.*s  %.*s  %.*s  %.*s  %.*s  %.*s  %.*s\n",
               MR_FMT(json_raw(json_find(it.value, MR_STR("number")))),
               MR_FMT(text_of(it.value, "date", &arena)),
               MR_FMT(id.len <= 1 ? text_of(actor, "kind", &arena) : id),
               MR_FMT(text_of(actor, "address", &arena)),
               MR_FMT(text_of(it.value, "action", &arena)),
               MR_FMT(text_of(it.value, "object", &arena)),
               MR_FMT(json_raw(json_find(it.value, MR_STR("detail")))));
    }
    json_tape_done(&tape);
    mr_arena_done(&arena);
}

static int list(int argc, char **argv) {
    struct cli_option options[] = {{.name = "actor"},  {.name = "action"},
                                   {.name = "object"}, {.name = "from"},
                                   {.name = "to"},     {.name = "account"},
                                   {.name = "before"}, {.name = "json", .is_flag = true}};
    static const char *const names[] = {"actor", "action",     "object", "from",
                                        "to",    "account_id", "before"};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 8, args, 0, &n, "audit")) {
        return CLI_USAGE;
    }
    struct cli_client *client = cli_client_new();
    if (client == NULL) {
        return CLI_USAGE;
    }
    char path[PATH_SIZE] = "/v1/audit-log?page_size=100";
    bool fits = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        fits = fits && add_parameter(client, path, names[i], options[i].value);
    }
    int code = CLI_USAGE;
    if (!fits) {
        cli_usage_error("audit", "a value is too long");
    } else {
        struct cli_answer answer = {0};
        cli_call(client, "GET", path, NULL, MR_STR_NONE, &answer);
        if (answer.status == 200 && !options[7].is_given) {
            show_rows(mr_buf_view(&answer.body));
            code = CLI_OK;
        } else {
            code = cli_show_answer(&answer);
        }
        cli_answer_done(&answer);
    }
    cli_client_free(client);
    return code;
}

/* ---- export ---- */

/* The number of the last line's row; 0: there is none. */
static uint64_t last_number(mr_str rows) {
    uint64_t number = 0;
    while (rows.len > 0 && rows.ptr[rows.len - 1] == '\n') {
        rows.len--;
    }
    size_t at = rows.len;
    while (at > 0 && rows.ptr[at - 1] != '\n') {
        at--;
    }
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    if (mr_is_ok(json_tape_read(&tape, mr_str_slice(rows, at, rows.len), NULL))) {
        mr_ignore(json_u64(json_find(json_root(&tape), MR_STR("number")), 1, INT64_MAX, &number),
                  "0 ends the export");
    }
    json_tape_done(&tape);
    return number;
}

static int export_all(struct cli_client *client, const char *account, bool is_of_all) {
    uint64_t after = 0;
    for (;;) {
        char path[PATH_SIZE];
        struct cli_answer answer = {0};
        snprintf(path, sizeof path, "/v1/audit-log/export?rows=%d&after=%llu%s", EXPORT_ROWS,
                 (unsigned long long)after, is_of_all ? "&accounts=all" : "");
        if (!add_parameter(client, path, "account_id", account)) {
            return cli_usage_error("audit", "the account's id is too long");
        }
        cli_call(client, "GET", path, NULL, MR_STR_NONE, &answer);
        if (answer.status != 200) {
            int code = cli_show_answer(&answer);
            cli_answer_done(&answer);
            return code;
        }
        cli_print(mr_buf_view(&answer.body));
        after = answer.body.len > 0 ? last_number(mr_buf_view(&answer.body)) : 0;
        cli_answer_done(&answer);
        if (after == 0) {
            return CLI_OK;
        }
    }
}

static int export_log(int argc, char **argv) {
    struct cli_option options[] = {{.name = "account"}, {.name = "all", .is_flag = true}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "audit")) {
        return CLI_USAGE;
    }
    struct cli_client *client = cli_client_new();
    if (client == NULL) {
        return CLI_USAGE;
    }
    int code = export_all(client, options[0].value, options[1].is_given);
    cli_client_free(client);
    return code;
}

/* ---- verify ---- */

struct verify {
    struct crypto_hasher *hasher;
    uint64_t line;
    uint64_t rows, gaps, found;
    int64_t first, last;
    char hash[AUDIT_HASH_HEX + 1];   /* of the last row */
    char behind[AUDIT_HASH_HEX + 1]; /* of the row before the first one */
};

static void found(struct verify *verify, const char *what) {
    if (verify->found++ < FOUND_MAX) {
        printf("line %llu: %s\n", (unsigned long long)verify->line, what);
    }
}

/* A hash as text into bytes. */
static bool take_hash(json_value root, const char *name, mr_arena *arena,
                      char hex[static AUDIT_HASH_HEX + 1],
                      uint8_t bytes[static CRYPTO_SHA256_BYTES]) {
    mr_str text;
    if (mr_is_err(json_string(json_find(root, mr_str_c(name)), arena, &text)) ||
        text.len != AUDIT_HASH_HEX || mr_is_err(mr_hex_decode(text, bytes, CRYPTO_SHA256_BYTES))) {
        return false;
    }
    memcpy(hex, text.ptr, AUDIT_HASH_HEX);
    hex[AUDIT_HASH_HEX] = '\0';
    return true;
}

static bool take_row(json_value root, mr_arena *arena, struct audit_row *row) {
    static const char *const names[] = {"actor_kind", "actor",   "action",    "object",
                                        "detail",     "address", "request_id"};
    mr_str *const texts[] = {&row->actor_kind, &row->actor,   &row->action,    &row->object,
                             &row->detail,     &row->address, &row->request_id};
    bool ok = mr_is_ok(json_i64(json_find(root, MR_STR("number")), 1, INT64_MAX, &row->number)) &&
              mr_is_ok(json_i64(json_find(root, MR_STR("at_ms")), 0, INT64_MAX, &row->at_ms)) &&
              mr_is_ok(json_i64(json_find(root, MR_STR("account")), 0, UINT32_MAX, &row->account));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ok = ok && mr_is_ok(json_string(json_find(root, mr_str_c(names[i])), arena, texts[i]));
    }
    return ok;
}

static void judge(struct verify *verify, json_value root, mr_arena *arena) {
    struct audit_row row = {0};
    char previous[AUDIT_HASH_HEX + 1];
    char told[AUDIT_HASH_HEX + 1];
    uint8_t hash[CRYPTO_SHA256_BYTES];
    uint8_t is_told[CRYPTO_SHA256_BYTES];
    if (!take_row(root, arena, &row) || !take_hash(root, "hash", arena, told, is_told) ||
        !take_hash(root, "previous_hash", arena, previous, hash)) {
        found(verify, "this is no row of an exported audit log");
        return;
    }
    if (mr_is_err(audit_chain(verify->hasher, &row, hash)) ||
        memcmp(hash, is_told, sizeof hash) != 0) {
        found(verify, "the row is not what its hash says: it was changed");
    }
    if (verify->rows > 0 && row.number <= verify->last) {
        found(verify, "the rows are not in their order");
    } else if (verify->rows > 0 && row.number == verify->last + 1 &&
               strcmp(previous, verify->hash) != 0) {
        found(verify, "the row does not follow from the one before it");
    }
    verify->gaps += verify->rows == 0 ? row.number != 1 : row.number != verify->last + 1;
    if (verify->rows == 0) {
        verify->first = row.number;
        memcpy(verify->behind, previous, sizeof previous);
    }
    verify->last = row.number;
    memcpy(verify->hash, told, sizeof told);
    verify->rows++;
}

static void verify_lines(struct verify *verify, mr_str text) {
    json_tape tape;
    mr_str line;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    while (mr_str_split(&text, '\n', &line)) {
        mr_arena arena;
        verify->line++;
        if (line.len == 0) {
            continue;
        }
        mr_arena_init(&arena, ARENA_MAX);
        if (mr_is_err(json_tape_read(&tape, line, NULL))) {
            found(verify, "this is not JSON");
        } else {
            judge(verify, json_root(&tape), &arena);
        }
        mr_arena_done(&arena);
    }
    json_tape_done(&tape);
}

static int verify_file(int argc, char **argv) {
    const char *file;
    size_t n;
    struct verify verify = {.line = 0};
    mr_str text;
    if (!cli_options(argc, argv, NULL, 0, &file, 1, &n, "audit")) {
        return CLI_USAGE;
    }
    if (n != 1) {
        return cli_usage_error("audit", "verify needs the exported file (-: standard input)");
    }
    if (!cli_read_file(file, FILE_MAX, &text)) {
        return CLI_USAGE;
    }
    if (mr_is_err(crypto_hasher_new(&verify.hasher))) {
        cli_problem("could not verify: out of memory");
        mr_free((void *)(uintptr_t)text.ptr);
        return CLI_USAGE;
    }
    verify_lines(&verify, text);
    crypto_hasher_free(verify.hasher);
    mr_free((void *)(uintptr_t)text.ptr);
    if (verify.rows == 0 && verify.found == 0) {
        cli_problem("%s holds no row", file);
        return CLI_NO;
    }
    if (verify.rows > 0) {
        printf("rows %lld to %lld, %llu of them, %llu gaps; head %lld %s\n",
               (long long)verify.first, (long long)verify.last, (unsigned long long)verify.rows,
               (unsigned long long)verify.gaps, (long long)verify.last, verify.hash);
        if (verify.first > 1) {
            printf("begins behind row %lld %s\n", (long long)verify.first - 1, verify.behind);
        }
    }
    printf("%s\n", verify.found == 0 ? "sound" : "not sound");
    return verify.found == 0 ? CLI_OK : CLI_NO;
}

int cli_audit(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } forms[] = {{"list", list}, {"export", export_log}, {"verify", verify_file}};
    for (size_t i = 0; argc > 0 && i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(argv[0], forms[i].name) == 0) {
            return forms[i].run(argc - 1, argv + 1);
        }
    }
    return cli_usage_error("audit", "list, export or verify is needed");
}
