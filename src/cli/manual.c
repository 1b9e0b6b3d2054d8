/* The manual page. See manual.h. */
#include "cli/manual.h"

#include "cli/cli.h"
#include "cli/usage.h"

/* Text for troff: its own characters escaped, "…" in ASCII. */
static mr_err write_text(mr_str text, mr_buf *out) {
    mr_str dots = MR_STR("…");
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (mr_str_starts(mr_str_slice(text, i, text.len), dots)) {
            MR_TRY(mr_buf_str(out, MR_STR("...")));
            i += dots.len - 1;
        } else if (c == '\\') {
            MR_TRY(mr_buf_str(out, MR_STR("\\e")));
        } else if (c == '-') {
            MR_TRY(mr_buf_str(out, MR_STR("\\-")));
        } else if (c == '\'') {
            MR_TRY(mr_buf_str(out, MR_STR("\\(aq")));
        } else {
            MR_TRY(mr_buf_byte(out, c));
        }
    }
    return MR_OK;
}

/* One line a form: `millrace secrets activate ID`. */
static mr_err write_command(const struct cli_command *command, mr_buf *out) {
    mr_str rest = mr_str_c(command->usage);
    mr_str form;
    bool is_first = true;
    MR_TRY(mr_buf_str(out, MR_STR(".SS ")));
    MR_TRY(write_text(mr_str_c(command->name), out));
    MR_TRY(mr_buf_str(out, MR_STR("\n.nf\n")));
    while (usage_form(&rest, &form)) {
        MR_TRY(mr_buf_str(out, MR_STR("\\fBmillrace\\fR ")));
        if (!is_first) {
            MR_TRY(write_text(mr_str_c(command->name), out));
            MR_TRY(mr_buf_byte(out, ' '));
        }
        MR_TRY(write_text(form, out));
        MR_TRY(mr_buf_byte(out, '\n'));
        is_first = false;
    }
    MR_TRY(mr_buf_str(out, MR_STR(".fi\n.PP\n")));
    MR_TRY(write_text(mr_str_c(command->summary), out));
    return mr_buf_str(out, MR_STR(".\n"));
}

static mr_err write_environment(mr_buf *out) {
    static const char *const rows[][2] = {
        {"MILLRACE_URL", "The server's address, as in its ready line."},
        {"MILLRACE_CLIENT_ID", "The API client that commands call as."},
        {"MILLRACE_CLIENT_SECRET", "Its secret."},
        {"MILLRACE_CA_FILE", "Certificates in PEM form of a private certificate authority."},
        {"MILLRACE_ACCOUNT_ID",
         "The account to act in, the client's own or one below it; --account comes first."},
        {"MILLRACE_KEY", "Any setting of serve, its KEY in capitals."}};
    MR_TRY(mr_buf_str(out, MR_STR(".SH ENVIRONMENT\n")));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        MR_TRY(mr_buf_printf(out, ".TP\n.B %s\n", rows[i][0]));
        MR_TRY(write_text(mr_str_c(rows[i][1]), out));
        MR_TRY(mr_buf_byte(out, '\n'));
    }
    return MR_OK;
}

static mr_err write_exits(mr_buf *out) {
    static const char *const rows[] = {"Done.", "The answer is no, or the server refused.",
                                       "Wrong usage or settings.", "The journal FAILED.",
                                       "The data folder is in use or of a newer format."};
    MR_TRY(mr_buf_str(out, MR_STR(".SH EXIT STATUS\n")));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        MR_TRY(mr_buf_printf(out, ".TP\n.B %zu\n%s\n", i, rows[i]));
    }
    return MR_OK;
}

mr_err manual_write(mr_buf *out) {
    size_t n_commands;
    const struct cli_command *commands = cli_commands(&n_commands);
    MR_TRY(mr_buf_printf(out,
                         ".TH MILLRACE 1 \"\" \"millrace %s\" \"User Commands\"\n"
                         ".SH NAME\nmillrace \\- event streams, self\\-hosted\n"
                         ".SH SYNOPSIS\n.B millrace\n.I COMMAND\n[...]\n.br\n"
                         ".B millrace help\n.RI [ COMMAND ]\n"
                         ".SH DESCRIPTION\n"
                         "Takes CloudEvents in, stores them durably and delivers them as signed "
                         "webhooks to the\ndestinations that streaming rules name.\n"
                         "Results go to standard output, everything else to standard error.\n"
                         "Where a file is asked for, \\- is standard input.\n"
                         ".SH COMMANDS\n",
                         MILLRACE_VERSION));
    for (size_t i = 0; i < n_commands; i++) {
        MR_TRY(write_command(&commands[i], out));
    }
    MR_TRY(write_environment(out));
    return write_exits(out);
}
