/* The first start of an installation that nobody initialised: the folder is made, and a link is
 * shown once by which its Owner sets it up. SPEC.md, section 11; DESIGN.md, section 11.
 *
 *   no folder, or an empty one ──first_start_make──▶ root account without an Owner
 *        ──first_start_show──▶ link on the terminal, or in DIR.setup-link (0600), until it is used
 */
#ifndef MR_SERVER_FIRST_START_H
#define MR_SERVER_FIRST_START_H

#include "server/program.h"

/* Before the folder is locked: makes the control store where the folder is absent, empty, or was
 * left by a first start that was cut off. Anything else there is left alone: refused where it is
 * not Millrace's. Says its problem; an exit code. */
int first_start_make(struct program *program);
/* Where the Owner is still to come: shows the link, the same one as before where it stands in the
 * file. Once the public URL is known, before the control thread runs. */
int first_start_show(struct program *program);

#endif
