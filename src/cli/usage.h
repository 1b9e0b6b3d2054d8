/* The lines of usage of the table of commands, taken apart: what help, completion and the manual
 * know of a command, they know from these lines. A line is the command's name and its forms, `|`
 * between them; a form begins with an action (a word in lower case) where the command has actions.
 * `--name VALUE` is an option with a value, `--name` one without, words in capitals are arguments;
 * brackets group. `[--account ID]` is an option of every form. */
#ifndef MR_CLI_USAGE_H
#define MR_CLI_USAGE_H

#include "base/str.h"

#define USAGE_WORDS_MAX 64

enum usage_kind { USAGE_ACTION = 0, USAGE_OPTION };

struct usage_word {
    enum usage_kind kind;
    mr_str name;   /* "rotate"; "dry-run" */
    mr_str value;  /* of an option: "FILE"; absent: it takes none */
    mr_str action; /* of an option: the action of its form; absent: every form has it */
};

/* Slices of usage; gives how many. */
size_t usage_words(mr_str usage, struct usage_word out[static USAGE_WORDS_MAX]);
/* The next form off the front of *rest; false where it is absent. The name of the command stands
 * before the first. */
bool usage_form(mr_str *rest, mr_str *ret_form);
/* Whether an option's value is a file; a folder. */
bool usage_is_file(mr_str value);
bool usage_is_dir(mr_str value);

#endif
