/* `millrace completion`: what a shell needs to complete our command lines, written from the lines
 * of usage. Each script holds the same facts: the commands, the actions of a command, the options
 * of a form, and which values are files. */
#include "cli/cli.h"
#include "cli/usage.h"

#include "server/config.h"

#include <stdio.h>

#define SCRIPT_MAX ((size_t)1 << 20)

/* A command with its usage taken apart. */
struct taken {
    const struct cli_command *command;
    struct usage_word words[USAGE_WORDS_MAX];
    size_t n;
    size_t n_actions;
};

static void take(const struct cli_command *command, struct taken *out) {
    out->command = command;
    out->n = usage_words(mr_str_c(command->usage), out->words);
    out->n_actions = 0;
    for (size_t i = 0; i < out->n; i++) {
        out->n_actions += out->words[i].kind == USAGE_ACTION;
    }
}

/* The settings are options of serve and config. */
static bool takes_settings(const struct cli_command *command) {
    return mr_str_find(mr_str_c(command->usage), MR_STR("--KEY")) != SIZE_MAX;
}

static const char *const setting_keys[] = {
#define SETTING_KEY(field, kind, def, min, max, help) #field,
    CONFIG_TABLE(SETTING_KEY)
#undef SETTING_KEY
};

/* `listen`, `tls-cert-file`, … */
static mr_err write_setting(const char *key, mr_buf *out) {
    for (const char *c = key; *c != '\0'; c++) {
        MR_TRY(mr_buf_byte(out, *c == '_' ? '-' : *c));
    }
    return MR_OK;
}

/* An option of the form: its own, or one of every form that calls the server. */
static bool is_of(const struct cli_command *command, const struct usage_word *word, mr_str action) {
    return word->kind == USAGE_OPTION &&
           (mr_str_eq(word->action, action) ||
            (mr_str_is_absent(word->action) && !cli_is_local(command->name, action)));
}

/* ` --data --json …` of one form (action absent: of a command without actions). */
static mr_err write_options(const struct taken *taken, mr_str action, mr_buf *out) {
    for (size_t i = 0; i < taken->n; i++) {
        if (is_of(taken->command, &taken->words[i], action)) {
            MR_TRY(mr_buf_printf(out, " --%.*s", MR_FMT(taken->words[i].name)));
        }
    }
    for (size_t i = 0;
         takes_settings(taken->command) && i < sizeof setting_keys / sizeof setting_keys[0]; i++) {
        MR_TRY(mr_buf_str(out, MR_STR(" --")));
        MR_TRY(write_setting(setting_keys[i], out));
    }
    return MR_OK;
}

static mr_err write_actions(const struct taken *taken, mr_buf *out) {
    for (size_t i = 0; i < taken->n; i++) {
        if (taken->words[i].kind == USAGE_ACTION) {
            MR_TRY(mr_buf_printf(out, " %.*s", MR_FMT(taken->words[i].name)));
        }
    }
    return MR_OK;
}

/* `'apply --secrets-out'|…` of all options with such a value. */
static mr_err write_values(bool (*is_such)(mr_str value), mr_buf *out) {
    size_t n_commands;
    bool is_first = true;
    const struct cli_command *commands = cli_commands(&n_commands);
    for (size_t i = 0; i < n_commands; i++) {
        struct taken taken;
        take(&commands[i], &taken);
        for (size_t w = 0; w < taken.n; w++) {
            if (!mr_str_is_absent(taken.words[w].value) && is_such(taken.words[w].value)) {
                MR_TRY(mr_buf_printf(out, "%s'%s --%.*s'", is_first ? "" : "|", commands[i].name,
                                     MR_FMT(taken.words[w].name)));
                is_first = false;
            }
        }
    }
    return MR_OK;
}

static bool is_other(mr_str value) {
    return !usage_is_file(value) && !usage_is_dir(value);
}

/* The cases that bash and zsh share: sets `actions` and `options` from "$command $action". */
static mr_err write_cases(mr_buf *out) {
    size_t n_commands;
    const struct cli_command *commands = cli_commands(&n_commands);
    MR_TRY(mr_buf_str(out, MR_STR("    case \"$command\" in\n")));
    for (size_t i = 0; i < n_commands; i++) {
        struct taken taken;
        take(&commands[i], &taken);
        if (taken.n_actions > 0) {
            MR_TRY(mr_buf_printf(out, "    %s) actions='", commands[i].name));
            MR_TRY(write_actions(&taken, out));
            MR_TRY(mr_buf_str(out, MR_STR("' ;;\n")));
        }
    }
    MR_TRY(mr_buf_str(out, MR_STR("    esac\n    case \"$command $action\" in\n")));
    for (size_t i = 0; i < n_commands; i++) {
        struct taken taken;
        take(&commands[i], &taken);
        for (size_t w = 0; w < taken.n; w++) {
            if (taken.words[w].kind == USAGE_ACTION) {
                MR_TRY(mr_buf_printf(out, "    '%s %.*s') options='", commands[i].name,
                                     MR_FMT(taken.words[w].name)));
                MR_TRY(write_options(&taken, taken.words[w].name, out));
                MR_TRY(mr_buf_str(out, MR_STR("' ;;\n")));
            }
        }
        if (taken.n_actions == 0) {
            MR_TRY(mr_buf_printf(out, "    '%s '*) options='", commands[i].name));
            MR_TRY(write_options(&taken, MR_STR_NONE, out));
            MR_TRY(mr_buf_str(out, MR_STR("' ;;\n")));
        }
    }
    return mr_buf_str(out, MR_STR("    esac\n"));
}

static mr_err write_names(mr_buf *out) {
    size_t n_commands;
    const struct cli_command *commands = cli_commands(&n_commands);
    for (size_t i = 0; i < n_commands; i++) {
        MR_TRY(mr_buf_printf(out, "%s ", commands[i].name));
    }
    return mr_buf_str(out, MR_STR("help"));
}

/* ---- bash ---- */

static mr_err write_bash(mr_buf *out) {
    MR_TRY(mr_buf_str(out, MR_STR("# bash completion for millrace, made by `millrace completion "
                                  "bash`: source it.\n"
                                  "_millrace() {\n"
                                  "    local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}"
                                  " action='' actions='' options='' names\n"
                                  "    names='")));
    MR_TRY(write_names(out));
    MR_TRY(mr_buf_str(out, MR_STR("'\n"
                                  "    COMPREPLY=()\n"
                                  "    if [ \"$COMP_CWORD\" -gt 2 ]; then\n"
                                  "        action=${COMP_WORDS[2]}\n"
                                  "    fi\n"
                                  "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                                  "        COMPREPLY=($(compgen -W \"$names\" -- \"$cur\"))\n"
                                  "        return\n"
                                  "    fi\n"
                                  "    case \"$command ${COMP_WORDS[COMP_CWORD-1]}\" in\n    ")));
    MR_TRY(write_values(usage_is_dir, out));
    MR_TRY(mr_buf_str(out, MR_STR(") COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n    ")));
    MR_TRY(write_values(usage_is_file, out));
    MR_TRY(mr_buf_str(out, MR_STR(") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n    ")));
    MR_TRY(write_values(is_other, out));
    MR_TRY(mr_buf_str(out, MR_STR(") return ;;\n"
                                  "    'help '*) COMPREPLY=($(compgen -W \"$names\" -- \"$cur\")); "
                                  "return ;;\n"
                                  "    esac\n")));
    MR_TRY(write_cases(out));
    return mr_buf_str(out, MR_STR("    case \"$cur\" in\n"
                                  "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n"
                                  "    *)\n"
                                  "        if [ \"$COMP_CWORD\" -eq 2 ] && [ -n \"$actions\" ]; "
                                  "then\n"
                                  "            COMPREPLY=($(compgen -W \"$actions\" -- \"$cur\"))\n"
                                  "        else\n"
                                  "            COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                                  "        fi ;;\n"
                                  "    esac\n"
                                  "}\n"
                                  "complete -o filenames -F _millrace millrace\n"));
}

/* ---- zsh ---- */

static mr_err write_zsh(mr_buf *out) {
    size_t n_commands;
    const struct cli_command *commands = cli_commands(&n_commands);
    MR_TRY(mr_buf_str(out, MR_STR("#compdef millrace\n"
                                  "# zsh completion for millrace, made by `millrace completion "
                                  "zsh`: a file _millrace in $fpath.\n"
                                  "_millrace() {\n"
                                  "    local command=$words[2] action='' actions='' options=''\n"
                                  "    local -a names=(\n")));
    for (size_t i = 0; i < n_commands; i++) {
        MR_TRY(mr_buf_printf(out, "        '%s:", commands[i].name));
        for (const char *c = commands[i].summary; *c != '\0'; c++) {
            MR_TRY(*c == '\'' ? mr_buf_str(out, MR_STR("'\\''")) : mr_buf_byte(out, *c));
        }
        MR_TRY(mr_buf_str(out, MR_STR("'\n")));
    }
    MR_TRY(mr_buf_str(out, MR_STR("        'help:Show how a command is called'\n"
                                  "    )\n"
                                  "    if (( CURRENT == 2 )) || [[ $command == help ]]; then\n"
                                  "        _describe command names\n"
                                  "        return\n"
                                  "    fi\n"
                                  "    (( CURRENT > 3 )) && action=$words[3]\n"
                                  "    case \"$command $words[CURRENT-1]\" in\n    ")));
    MR_TRY(write_values(usage_is_dir, out));
    MR_TRY(mr_buf_str(out, MR_STR(") _files -/; return ;;\n    ")));
    MR_TRY(write_values(usage_is_file, out));
    MR_TRY(mr_buf_str(out, MR_STR(") _files; return ;;\n    ")));
    MR_TRY(write_values(is_other, out));
    MR_TRY(mr_buf_str(out, MR_STR(") return ;;\n    esac\n")));
    MR_TRY(write_cases(out));
    return mr_buf_str(out, MR_STR("    if [[ $words[CURRENT] == -* ]]; then\n"
                                  "        compadd -- ${=options}\n"
                                  "    elif (( CURRENT == 3 )) && [[ -n $actions ]]; then\n"
                                  "        compadd -- ${=actions}\n"
                                  "    else\n"
                                  "        _files\n"
                                  "    fi\n"
                                  "}\n"
                                  "if [[ $funcstack[1] == _millrace ]]; then\n"
                                  "    _millrace \"$@\"\n"
                                  "else\n"
                                  "    compdef _millrace millrace\n"
                                  "fi\n"));
}

/* ---- fish ---- */

static mr_err write_fish_option(const struct taken *taken, const struct usage_word *word,
                                mr_buf *out) {
    const char *values = mr_str_is_absent(word->value) ? ""
                         : usage_is_file(word->value)  ? " -r -F"
                         : usage_is_dir(word->value)   ? " -x -a '(__fish_complete_directories)'"
                                                       : " -x";
    const char *name = taken->command->name;
    MR_TRY(mr_buf_printf(out, "complete -c millrace -n '__millrace_is %s%s%.*s", name,
                         mr_str_is_absent(word->action) ? "" : " ", MR_FMT(word->action)));
    for (size_t i = 0; mr_str_is_absent(word->action) && i < taken->n; i++) {
        const struct usage_word *other = &taken->words[i];
        if (other->kind == USAGE_ACTION && cli_is_local(name, other->name)) {
            MR_TRY(
                mr_buf_printf(out, "; and not __millrace_is %s %.*s", name, MR_FMT(other->name)));
        }
    }
    return mr_buf_printf(out, "' -l %.*s%s\n", MR_FMT(word->name), values);
}

static mr_err write_fish_command(const struct cli_command *command, mr_buf *out) {
    struct taken taken;
    take(command, &taken);
    MR_TRY(mr_buf_printf(out, "complete -c millrace -n '__millrace_at 1' -a %s -d \"%s\"\n",
                         command->name, command->summary));
    if (taken.n_actions > 0) {
        MR_TRY(
            mr_buf_printf(out, "complete -c millrace -n '__millrace_at 2 %s' -a '", command->name));
        MR_TRY(write_actions(&taken, out));
        MR_TRY(mr_buf_str(out, MR_STR("'\n")));
    }
    for (size_t i = 0; i < taken.n; i++) {
        if (taken.words[i].kind == USAGE_OPTION) {
            MR_TRY(write_fish_option(&taken, &taken.words[i], out));
        }
    }
    for (size_t i = 0; takes_settings(command) && i < sizeof setting_keys / sizeof setting_keys[0];
         i++) {
        MR_TRY(
            mr_buf_printf(out, "complete -c millrace -n '__millrace_is %s' -r -l ", command->name));
        MR_TRY(write_setting(setting_keys[i], out));
        MR_TRY(mr_buf_byte(out, '\n'));
    }
    return MR_OK;
}

/* __millrace_at N [COMMAND]: N words stand before; __millrace_is COMMAND [ACTION]: they are these;
 * __millrace_wants_files: a file may stand here. */
static mr_err write_fish(mr_buf *out) {
    size_t n_commands;
    const struct cli_command *commands = cli_commands(&n_commands);
    MR_TRY(mr_buf_str(out, MR_STR("# fish completion for millrace, made by `millrace completion "
                                  "fish`: a file millrace.fish in completions/.\n"
                                  "function __millrace_at\n"
                                  "    set -l words (commandline -opc)\n"
                                  "    test (count $words) -eq $argv[1]; or return 1\n"
                                  "    test (count $argv) -lt 2; or test \"$words[2]\" = "
                                  "\"$argv[2]\"\n"
                                  "end\n"
                                  "function __millrace_is\n"
                                  "    set -l words (commandline -opc)\n"
                                  "    test (count $words) -gt (count $argv); or return 1\n"
                                  "    test \"$words[2]\" = \"$argv[1]\"; or return 1\n"
                                  "    test (count $argv) -lt 2; or test \"$words[3]\" = "
                                  "\"$argv[2]\"\n"
                                  "end\n"
                                  "function __millrace_wants_files\n"
                                  "    set -l words (commandline -opc)\n"
                                  "    test (count $words) -gt 2; or begin\n"
                                  "        test (count $words) -eq 2; and not contains -- "
                                  "$words[2]")));
    for (size_t i = 0; i < n_commands; i++) {
        struct taken taken;
        take(&commands[i], &taken);
        if (taken.n_actions > 0) {
            MR_TRY(mr_buf_printf(out, " %s", commands[i].name));
        }
    }
    MR_TRY(mr_buf_str(out, MR_STR("\n    end\nend\n"
                                  "complete -c millrace -f\n"
                                  "complete -c millrace -n __millrace_wants_files -F\n"
                                  "complete -c millrace -n '__millrace_at 1' -a help -d "
                                  "\"Show how a command is called\"\n"
                                  "complete -c millrace -n '__millrace_at 2 help' -a '")));
    MR_TRY(write_names(out));
    MR_TRY(mr_buf_str(out, MR_STR("'\n")));
    for (size_t i = 0; i < n_commands; i++) {
        MR_TRY(write_fish_command(&commands[i], out));
    }
    return MR_OK;
}

int cli_completion(int argc, char **argv) {
    static const struct {
        const char *shell;
        mr_err (*write)(mr_buf *out);
    } shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; argc == 1 && i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(argv[0], shells[i].shell) != 0) {
            continue;
        }
        mr_buf out;
        mr_buf_init(&out, SCRIPT_MAX);
        mr_err err = shells[i].write(&out);
        if (mr_is_ok(err)) {
            cli_print(mr_buf_view(&out));
        }
        mr_buf_done(&out);
        return mr_is_ok(err) ? CLI_OK : CLI_NO;
    }
    return cli_usage_error("completion", "name one shell: bash, zsh or fish");
}
