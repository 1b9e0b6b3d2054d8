/* The command line: one table of commands, one file each. A command gets its arguments after its
 * name and returns the exit code. `millrace help` and the reference page are made from the table.
 *
 * Exit codes everywhere: 0 done, 1 the answer is no, 2 usage or settings, 3 the journal FAILED, 4
 * data folder in use or of a newer format. Results go to standard output, everything else to
 * standard error. */
#ifndef MR_CLI_CLI_H
#define MR_CLI_CLI_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_NO = 1,
    CLI_USAGE = 2,
    CLI_FAILED = 3,
    CLI_IN_USE = 4,
};

/* X(symbol, name, usage, summary) in the order of help. */
#define CLI_COMMANDS(X)                                                                            \
    X(serve, "serve", "serve --data DIR [--config FILE] [--KEY VALUE …]",                          \
      "Run the server on a data folder, made by init or by the first start")                       \
    X(init, "init", "init --data DIR --owner EMAIL [--json]",                                      \
      "Make a data folder: root account, owner, an API client with every right")                   \
    X(publish, "publish", "publish [FILE|-] [--account ID]",                                       \
      "Publish events: one envelope, an array, or one per line; prints the answers")               \
    X(tail, "tail", "tail [--destination ID] [--type T] [--account ID]",                           \
      "Watch what is accepted, attempted and changes state, live")                                 \
    X(test, "test", "test DESTINATION_ID [--event-type T] [--json] [--account ID]",                \
      "Send a test event and show each step; exit 1 where it failed")                              \
    X(simulate, "simulate",                                                                        \
      "simulate [--devices N] [--rate R] [--events N] [--seed S] [--print] [--stamp] "             \
      "[--prefix P] [--account ID]",                                                               \
      "Publish the connection events of a simulated fleet of SIMs")                                \
    X(receive, "receive",                                                                          \
      "receive --listen ADDR [--tls-cert FILE --tls-key FILE] [--secret-file FILE --url URL] "     \
      "[--status N] [--delay-ms N] [--hang|--reset|--close] [--summary-file FILE]",                \
      "Receive webhooks: verifies signature and token, prints a JSON line per request")            \
    X(destinations, "destinations",                                                                \
      "destinations list | get ID | create FILE | update ID FILE | delete ID [--account ID]",      \
      "Manage destinations")                                                                       \
    X(rules, "rules",                                                                              \
      "rules list | get ID | create FILE | update ID FILE | delete ID | "                          \
      "preview FILE [--events FILE] [--account ID]",                                               \
      "Manage streaming rules")                                                                    \
    X(callbacks, "callbacks",                                                                      \
      "callbacks list [--status S] [--reference R] | get ID | "                                    \
      "send (FILE | --url URL [--method M] [--content-type T] [--reference R] "                    \
      "[NAME=VALUE …]) | "                                                                       \
      "test (FILE | --url URL [--method M] [--content-type T] [NAME=VALUE …]) [--json] "         \
      "[--account ID]",                                                                            \
      "Send signed requests outside event streams, see what became of them, test a URL")           \
    X(event_types, "event-types",                                                                  \
      "event-types list | get TYPE | create FILE | update TYPE FILE [--account ID]",               \
      "Manage the event types of the catalogue")                                                   \
    X(secrets, "secrets",                                                                          \
      "secrets list | create FILE | update ID FILE | import --data DIR --name NAME FILE | "        \
      "activate ID | rotate [--name NAME] [--yes] [--account ID]",                                 \
      "Manage webhook secrets (import works on a folder that is not served)")                      \
    X(users, "users",                                                                              \
      "users list | get ID | invite EMAIL --role ROLE [--name NAME] [--products A,B] | "           \
      "invite-again ID | update ID FILE | delete ID | reset-link ID | "                            \
      "set-password --data DIR --email EMAIL --password-file FILE [--account ID]",                 \
      "Invite and manage users (set-password works on a folder that is not served)")               \
    X(clients, "clients",                                                                          \
      "clients list | get ID | create FILE | update ID FILE | delete ID | rotate-secret ID | "     \
      "revoke-tokens ID | lock ID | unlock ID | enable ID | disable ID [--account ID]",            \
      "Manage API clients; a secret is shown once")                                                \
    X(accounts, "accounts",                                                                        \
      "accounts list | get ID | create (FILE | --name NAME) | update ID FILE [--account ID]",      \
      "Manage the account and those below it")                                                     \
    X(keys, "keys", "keys list | rotate [--now] [--revoke] [--account ID]",                        \
      "Manage the keys that sign access tokens")                                                   \
    X(export, "export", "export [--output FILE] [--only SECTIONS] [--account ID]",                 \
      "Write what the account has as YAML: schemas, event types, destinations, rules, clients")    \
    X(apply, "apply",                                                                              \
      "apply FILE [--dry-run] [--prune] [--yes] [--rewrite] [--secrets-out DIR] [--json] "         \
      "[--account ID]",                                                                            \
      "Bring the account to what a YAML file says; --dry-run: exit 1 where something differs")     \
    X(sign, "sign", "sign --secret-file FILE --method M --url URL BODYFILE",                       \
      "Print the kore-signature of a request")                                                     \
    X(verify, "verify", "verify --secret-file FILE --method M --url URL --signature HEX BODYFILE", \
      "Check a kore-signature: exit 0 right, 1 wrong")                                             \
    X(json, "json", "json check FILE", "Check that a file is strict JSON: exit 0 valid, 1 not")    \
    X(schema, "schema",                                                                            \
      "schema check --schema FILE [--json] [INSTANCE…] | list | get NAME [VERSION] | "           \
      "publish NAME FILE --example FILE … [--allow-breaking] [--account ID]",                      \
      "Browse and publish schemas; check one and instances: exit 0 valid, 1 invalid, 2 refused")   \
    X(filter, "filter", "filter test (--pattern FILE | --cesql EXPR) [--json] EVENT…",             \
      "Try a filter on files of events, one or one per line: exit 0 all match, 1 not all, 2 "      \
      "error")                                                                                     \
    X(check_address, "check-address", "check-address URL [--allow-http] [--allow-networks CIDRS]", \
      "Tell whether destinations may reach a URL: exit 0 allowed, 1 refused")                      \
    X(check, "check", "check --data DIR [--json]",                                                 \
      "Verify every checksum and recount what is owed: exit 0 sound, 1 findings, 2 unreadable")    \
    X(rotate_master_key, "rotate-master-key",                                                      \
      "rotate-master-key --data DIR [--new-key-file FILE]",                                        \
      "Seal everything in a folder that is not served with a new master key")                      \
    X(audit, "audit",                                                                              \
      "audit list [--actor ID] [--action A] [--object ID] [--from T] [--to T] [--before N] "       \
      "[--account ID] [--json] | export [--account ID] [--all] | verify FILE",                     \
      "Read and export the audit log; verify an exported file: exit 0 sound, 1 not")               \
    X(config, "config", "config [--config FILE] [--KEY VALUE …]",                                  \
      "Print the settings in force, or what is wrong with them")                                   \
    X(reference, "reference", "reference settings|errors|metrics|commands|api|man [--json]",       \
      "Print a reference table in Markdown, or the manual page; --json: the routes, for programs") \
    X(completion, "completion", "completion bash|zsh|fish",                                        \
      "Print what completes this command line in a shell")                                         \
    X(version, "version", "version", "Print the version")

#define CLI_DECLARE(symbol, name, usage, summary) int cli_##symbol(int argc, char **argv);
CLI_COMMANDS(CLI_DECLARE)
#undef CLI_DECLARE
/* The form of `users` that works on a folder. */
int cli_users_set_password(int argc, char **argv);
/* The forms of `schema` that call the API: all but check. */
int cli_schema_catalogue(int argc, char **argv);

/* `--account ID` of the forms that call the API becomes this variable of the environment. */
#define CLI_ACCOUNT_VARIABLE "MILLRACE_ACCOUNT_ID"

#define MILLRACE_VERSION "0.1.0"

struct cli_command {
    const char *name;
    const char *usage;
    const char *summary;
    int (*run)(int argc, char **argv);
};
/* Whether a form of a command calls no server, though others of the command do. */
bool cli_is_local(const char *command, mr_str action);
/* The table, in the order of help. */
const struct cli_command *cli_commands(size_t *ret_n);

/* Runs argv[1] as a command; the program's exit code. */
int cli_main(int argc, char **argv);

/* An option of a command. Values are slices of argv. */
struct cli_option {
    const char *name;  /* without dashes */
    bool is_flag;      /* takes no value */
    const char *value; /* NULL: not given */
    bool is_given;
};
/* Takes `--name value`, `--name=value` and flags out of the arguments; what remains stands in
 * args[0 … *ret_n). False: an unknown or incomplete option; the problem was printed with the usage.
 * An argument `--` ends options. */
bool cli_options(int argc, char **argv, struct cli_option *options, size_t n_options,
                 const char **args, size_t args_max, size_t *ret_n, const char *command);
/* Prints `millrace COMMAND: problem` to standard error, then nothing else. Returns CLI_USAGE. */
int cli_usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints `millrace: problem` to standard error. */
void cli_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A whole file, or standard input for "-". Freed with mr_free. False: printed. */
bool cli_read_file(const char *path, size_t size_max, mr_str *ret_text);
/* As read_file without the line end(s) behind it: for secrets. False also where it is
 * empty. */
bool cli_read_line_file(const char *path, mr_str *ret_text);
/* Asks on standard error and reads one line of standard input: whether it is "yes". */
bool cli_ask(const char *question);
/* Writes to standard output. */
void cli_print(mr_str text);

#endif
