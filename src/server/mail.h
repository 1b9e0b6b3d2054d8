/* The sender of mail as a part of the program: settings to a mailer, its thread. */
#ifndef MR_SERVER_MAIL_H
#define MR_SERVER_MAIL_H

#include "server/program.h"

/* Reads smtp_password_file and makes the mailer, where smtp_url is set; before the stores are
 * opened. Says its problem; an exit code. */
int mail_make(struct program *program);
/* Once the control thread runs. */
int mail_start(struct program *program);

#endif
