/* First start. See first_start.h.
 *
 * The store keeps the hash of the link's secret only, so the file beside the folder is the one
 * place that has it. A start that finds the file with a link that is still valid writes it again,
 * with the address of today; else it makes another link, which ends the one before. */
#include "server/first_start.h"

#include "base/mem.h"
#include "control/people/links.h"
#include "os/clock.h"
#include "os/process.h"
#include "server/stores.h"

#include <errno.h>
#include <stdio.h>

#define FILE_MAX  4096
#define NAME_SHOW 80

static const struct os_files *files(void) {
    return &os_files_system;
}

/* ---- making ---- */

/* What a start leaves behind before it is done. */
static bool is_ours(mr_str name) {
    static const char *const names[] = {"control.db",         "control.db-shm", "control.db-wal",
                                        "control.db-journal", "control.lock",   "lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (mr_str_eq(name, mr_str_c(names[i]))) {
            return true;
        }
    }
    return false;
}

struct look {
    bool has_store;
    char foreign[NAME_SHOW]; /* "": none */
};

static void on_name(void *arg, mr_str name) {
    struct look *look = arg;
    look->has_store = look->has_store || mr_str_eq(name, MR_STR("control.db"));
    if (!is_ours(name) && look->foreign[0] == '\0') {
        snprintf(look->foreign, sizeof look->foreign, "%.*s",
                 MR_FMT(mr_str_slice(name, 0, NAME_SHOW - 1)));
    }
}

static int make_store(struct program *program) {
    const struct config *config = program->config;
    struct secret_slab *slab = NULL;
    struct refusal refusal = {0};
    mr_err err = secret_slab_new((size_t)1 << 20, &slab);
    if (mr_is_ok(err)) {
        const struct control_options options = {
            .dir = program->data_dir,
            .master_key_file = config->master_key_file[0] != '\0' ? config->master_key_file : NULL,
            .credentials_dir = os_environment_get("CREDENTIALS_DIRECTORY"),
            .log = &program->log,
            .slab = slab};
        err = control_init_unowned(&options, &refusal);
    }
    secret_slab_free(slab);
    if (mr_is_ok(err)) {
        mr_info(&program->log, "first_start", mr_kv_c("data", program->data_dir));
        return PROGRAM_OK;
    }
    if (mr_err_is(err, CONTROL_E_EXISTS)) {
        return PROGRAM_OK;
    }
    program_problem(program, "%s",
                    refusal.message[0] != '\0' ? refusal.message
                                               : "could not start: out of memory");
    return mr_err_is(err, MR_E_BUSY) || mr_err_is(err, CONTROL_E_NEWER) ? PROGRAM_IN_USE
                                                                        : PROGRAM_USAGE;
}

int first_start_make(struct program *program) {
    struct look look = {.has_store = false};
    mr_err err = files()->list(files()->ctx, program->data_dir, on_name, &look);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_NOT_FOUND)) {
        program_problem(program, "could not open the data folder %s: %s", program->data_dir,
                        strerror(errno));
        return PROGRAM_USAGE;
    }
    if (look.foreign[0] != '\0') {
        if (look.has_store) {
            return PROGRAM_OK;
        }
        program_problem(program,
                        "the folder %s is not empty and holds no data of Millrace (%s is in it): "
                        "name another one, or one that does not exist yet",
                        program->data_dir, look.foreign);
        return PROGRAM_USAGE;
    }
    return make_store(program);
}

/* ---- showing ---- */

struct setup_job {
    struct control_job job; /* first */
    mr_str base_url;
    mr_str present; /* token in the file; absent: none that can be used */
    bool is_fresh;  /* a terminal: always another one */
    bool waits;
    char token[LINK_TOKEN_SIZE];
};

static bool is_valid(struct control *control, mr_str token) {
    struct link_view link;
    struct refusal refusal;
    mr_arena arena;
    mr_arena_init(&arena, 4096);
    bool is_one = mr_is_ok(links_find(control, token, os_wall_now(), &arena, &link, &refusal)) &&
                  link.kind == LINK_SETUP;
    mr_arena_done(&arena);
    return is_one;
}

static mr_err run_setup(struct control *control, struct control_job *job) {
    struct setup_job *setup = (struct setup_job *)(void *)job;
    int64_t expires_ms = 0;
    MR_TRY(links_setup_waits(control, &setup->waits));
    if (!setup->waits) {
        return MR_OK;
    }
    if (!setup->is_fresh && is_valid(control, setup->present)) {
        return mr_str_to_c(setup->present, setup->token, sizeof setup->token)
                   ? MR_OK
                   : MR_ERR(MR_E_INVALID);
    }
    return links_make(control, LINK_SETUP, control_root_account(control), 0, MR_STR_NONE,
                      os_wall_now(), setup->token, &expires_ms);
}

static void setup_done(struct control_job *job) {
    (void)job; /* run in this thread: the caller looks at it */
}

/* The secret at the end of what the file holds. */
static mr_str token_of(mr_str text) {
    mr_str line = mr_str_slice(text, 0, mr_str_find_byte(text, '\n', 0));
    size_t at = mr_str_find(line, MR_STR("/links/"));
    return at == SIZE_MAX ? MR_STR("") : mr_str_slice(line, at + 7, line.len);
}

/* Folder and name of the file. */
static void split(const char *path, char dir[static FILE_MAX], const char **ret_name) {
    size_t slash = SIZE_MAX;
    for (size_t i = 0; path[i] != '\0'; i++) {
        slash = path[i] == '/' ? i : slash;
    }
    if (slash == SIZE_MAX) {
        snprintf(dir, FILE_MAX, ".");
        *ret_name = path;
    } else {
        snprintf(dir, FILE_MAX, "%.*s", slash == 0 ? 1 : (int)slash, path);
        *ret_name = path + slash + 1;
    }
}

static int write_file(struct program *program, const char *token) {
    char dir[FILE_MAX];
    const char *name;
    mr_buf text;
    mr_buf_init(&text, FILE_MAX);
    split(program->setup_file, dir, &name);
    mr_err err = mr_buf_printf(&text, "%s/links/%s\n", program->public_url, token);
    if (mr_is_ok(err)) {
        err = os_file_replace(files(), dir, name, mr_buf_view(&text));
    }
    if (text.len > 0) {
        crypto_wipe(text.ptr, text.len);
    }
    mr_buf_done(&text);
    if (mr_is_err(err)) {
        program_problem(program, "could not write the set-up link to %s: %s", program->setup_file,
                        strerror(errno));
        return PROGRAM_USAGE;
    }
    mr_info(&program->log, "setup_waits", mr_kv_c("link_in", program->setup_file));
    return PROGRAM_OK;
}

static int show(struct program *program, const struct setup_job *setup) {
    if (!setup->is_fresh) {
        return write_file(program, setup->token);
    }
    mr_ignore(files()->unlink(files()->ctx, program->setup_file), "of an earlier start, or absent");
    fprintf(stderr,
            "\nSet up this installation: open\n\n  %s/links/%s\n\n(once; another start "
            "shows another link)\n\n",
            program->public_url, setup->token);
    return PROGRAM_OK;
}

int first_start_show(struct program *program) {
    struct setup_job setup = {.job = {.run = run_setup, .done = setup_done},
                              .is_fresh = os_error_is_terminal()};
    mr_str text = MR_STR_NONE;
    if (mr_is_ok(os_file_load(files(), program->setup_file, FILE_MAX, &text))) {
        setup.present = token_of(text);
    }
    control_run_here(program->control, &setup.job);
    int code = PROGRAM_OK;
    if (mr_is_err(setup.job.err)) {
        program_problem(program, "%s", setup.job.refusal.message);
        code = PROGRAM_NO;
    } else if (setup.waits) {
        code = show(program, &setup);
    } else if (!mr_str_is_absent(text)) {
        mr_ignore(files()->unlink(files()->ctx, program->setup_file), "the next start tries again");
    }
    crypto_wipe(setup.token, sizeof setup.token);
    if (!mr_str_is_absent(text)) {
        crypto_wipe((void *)(uintptr_t)text.ptr, text.len);
        mr_free((void *)(uintptr_t)text.ptr);
    }
    return code;
}
