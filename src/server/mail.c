/* Mail in the program. See mail.h. */
#include "server/mail.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "mail/mailer.h"
#include "server/stores.h"

#include <errno.h>

#define PASSWORD_FILE_MAX 4096

/* The first line of the file. */
static int read_password(struct program *program, mr_secret *ret_password) {
    const char *path = program->config->smtp_password_file;
    mr_str text = MR_STR_NONE;
    if (mr_is_err(os_file_load(&os_files_system, path, PASSWORD_FILE_MAX, &text))) {
        program_problem(program, "could not read smtp_password_file %s: %s", path, strerror(errno));
        return PROGRAM_USAGE;
    }
    mr_str line = mr_str_slice(text, 0, mr_str_find_byte(text, '\n', 0));
    line = mr_str_slice(line, 0, mr_str_find_byte(line, '\r', 0));
    mr_err err = line.len > 0 && memchr(line.ptr, '\0', line.len) == NULL
                     ? mr_secret_new(program->slab, line, ret_password)
                     : MR_ERR(MR_E_INVALID);
    crypto_wipe((void *)(uintptr_t)text.ptr, text.len);
    mr_free((void *)(uintptr_t)text.ptr);
    if (mr_is_err(err)) {
        program_problem(program, "smtp_password_file %s: the password must be its first line",
                        path);
        return PROGRAM_USAGE;
    }
    return PROGRAM_OK;
}

int mail_make(struct program *program) {
    const struct config *config = program->config;
    if (config->smtp_url[0] == '\0') {
        return PROGRAM_OK;
    }
    struct mailer_options options = {
        .server = {.url = config->smtp_url,
                   .user = config->smtp_user,
                   .from = config->smtp_from,
                   .ca_file = config->smtp_ca_file,
                   .is_loopback = smtp_url_is_loopback(mr_str_c(config->smtp_url))},
        .log = &program->log,
        .metrics = &program->mail_metrics};
    os_file file;
    if (config->smtp_ca_file[0] != '\0') {
        if (mr_is_err(os_files_system.open(os_files_system.ctx, config->smtp_ca_file, OS_OPEN_READ,
                                           &file))) {
            program_problem(program, "could not read smtp_ca_file %s: %s", config->smtp_ca_file,
                            strerror(errno));
            return PROGRAM_USAGE;
        }
        os_files_system.close(os_files_system.ctx, file);
    }
    if (config->smtp_user[0] != '\0') {
        int code = read_password(program, &options.server.password);
        if (code != PROGRAM_OK) {
            return code;
        }
    }
    if (mr_is_err(mailer_new(&options, &program->mailer))) {
        mr_secret_unref(&options.server.password);
        program_problem(program, "could not start: out of memory");
        return PROGRAM_NO;
    }
    return PROGRAM_OK;
}

int mail_start(struct program *program) {
    if (program->mailer != NULL && mr_is_err(mailer_start(program->mailer, program->control))) {
        program_problem(program, "could not start the sender of mail: %s", strerror(errno));
        return PROGRAM_NO;
    }
    return PROGRAM_OK;
}
