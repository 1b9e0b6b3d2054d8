/* `millrace export`: what an account has as a file for `millrace apply`. Objects stand by name, so
 * that two exports of the same account are the same text; secrets stay where they are. */
#include "cli/cli.h"
#include "cli/client.h"

#include "cli/apply/compare.h"
#include "cli/apply/emit.h"
#include "os/files.h"

#include <errno.h>
#include <stdio.h>

#define OUTPUT_MAX ((size_t)256 << 20)
#define ARENA_MAX  ((size_t)1 << 30)
#define PATH_SIZE  4096

struct export {
    struct cli_client *client;
    mr_arena arena;
    struct held_list lists[DECLARED_KINDS];
    bool has[DECLARED_KINDS]; /* kinds that are wanted */
    json_tape tape;
    mr_buf out;
    /* of the object that is being written */
    const char *id; /* member that holds its id; NULL: none that a file may have */
    bool needs_id;
};

static bool wrote(mr_err err) {
    if (mr_is_err(err)) {
        cli_problem("could not write the export: it is larger than %zu bytes, or memory lacks",
                    OUTPUT_MAX);
    }
    return mr_is_ok(err);
}

/* ---- one object ---- */

static mr_err write_members(struct export *export, const struct declared_members *members,
                            size_t indent, json_value object);

/* The name of the rule's destination. */
static mr_err write_link(struct export *export, size_t indent, json_value rule) {
    mr_str id;
    MR_TRY(json_string(json_find(rule, MR_STR("destination_id")), &export->arena, &id));
    const struct held_object *target = held_find_id(&export->lists[DECLARED_DESTINATION], id);
    return emit_text_member(&export->out, indent, "", MR_STR("destination"),
                            target != NULL ? target->name : id);
}

/* An id is written where the name alone does not tell. */
static bool is_needless(const struct export *export, const struct declared_member *member) {
    return !export->needs_id && export->id != NULL && strcmp(member->name, export->id) == 0;
}

static mr_err write_member(struct export *export, const struct declared_member *member,
                           size_t indent, const char *prefix, json_value object) {
    mr_str key = mr_str_c(member->name);
    json_value value = json_find(object, key);
    if (member->manner == DECLARED_LINK) {
        return write_link(export, indent, object);
    }
    if (json_is_absent(value) || (indent == 4 && is_needless(export, member))) {
        return MR_OK;
    }
    if (member->manner == DECLARED_PARTS) {
        MR_TRY(mr_buf_printf(&export->out, "%*s%s:\n", (int)indent, "", member->name));
        return write_members(export, member->inner, indent + 2, value);
    }
    /* failed only informs; nobody can ask for it. */
    if (json_string_eq(value, MR_STR("failed")) && mr_str_eq(key, MR_STR("status"))) {
        return emit_text_member(&export->out, indent, prefix, key, MR_STR("active"));
    }
    return emit_member(&export->out, indent, prefix, key, value, member->manner == DECLARED_MAP);
}

/* The members of the table that the object has, in the table's order; the first begins an item. */
static mr_err write_members(struct export *export, const struct declared_members *members,
                            size_t indent, json_value object) {
    for (size_t i = 0; i < members->n; i++) {
        const char *prefix = indent == 4 && i == 0 ? "- " : "";
        MR_TRY(write_member(export, &members->members[i], indent, prefix, object));
    }
    return MR_OK;
}

/* A list of clients tells less than a client alone. */
static bool write_object(struct export *export, enum declared_kind kind,
                         const struct held_object *object) {
    char etag[CLI_ETAG_SIZE];
    mr_str json = object->json;
    if (kind == DECLARED_CLIENT &&
        !held_get(export->client, kind, object->id, &export->arena, &json, etag)) {
        return false;
    }
    const struct declared_kind_info *info = declared_kind_info(kind);
    export->id = info->shares_names ? info->id : NULL;
    export->needs_id = held_count(&export->lists[kind], object->name, false) > 1;
    mr_err err = json_tape_read(&export->tape, json, NULL);
    if (mr_is_ok(err)) {
        err = write_members(export, info->members, 4, json_root(&export->tape));
    }
    return wrote(err);
}

/* ---- schemas ---- */

static mr_err write_version(struct export *export, uint64_t number, mr_str json) {
    MR_TRY(json_tape_read(&export->tape, json, NULL));
    json_value root = json_root(&export->tape);
    MR_TRY(mr_buf_printf(&export->out, "      - version: %llu\n", (unsigned long long)number));
    if (json_count(json_find(root, MR_STR("breaking"))) > 0) {
        MR_TRY(mr_buf_str(&export->out, MR_STR("        allow_breaking: true\n")));
    }
    MR_TRY(emit_member(&export->out, 8, "", MR_STR("document"), json_find(root, MR_STR("document")),
                       false));
    return emit_member(&export->out, 8, "", MR_STR("examples"), json_find(root, MR_STR("examples")),
                       false);
}

static bool write_schema(struct export *export, const struct held_object *object) {
    uint64_t latest = 0;
    mr_err err = json_tape_read(&export->tape, object->json, NULL);
    if (mr_is_ok(err)) {
        err = json_u64(json_find(json_root(&export->tape), MR_STR("latest_version")), 1, UINT32_MAX,
                       &latest);
    }
    if (mr_is_ok(err)) {
        err = emit_text_member(&export->out, 4, "- ", MR_STR("name"), object->name);
    }
    if (mr_is_ok(err)) {
        err = mr_buf_str(&export->out, MR_STR("    versions:\n"));
    }
    bool ok = wrote(err);
    for (uint64_t number = 1; ok && number <= latest; number++) {
        mr_str json;
        ok = held_get_version(export->client, object->id, number, &export->arena, &json) &&
             wrote(write_version(export, number, json));
    }
    return ok;
}

/* ---- all ---- */

/* What is shipped with the program is there everywhere, but for what was changed of it. */
static bool is_left_out(struct export *export, enum declared_kind kind,
                        const struct held_object *object) {
    if (object->is_self || !declared_kind_info(kind)->is_catalogue ||
        mr_is_err(json_tape_read(&export->tape, object->json, NULL))) {
        return object->is_self;
    }
    bool is_shipped = false;
    json_value root = json_root(&export->tape);
    mr_ignore(json_bool(json_find(root, MR_STR("shipped")), &is_shipped), "absent: no");
    bool is_changed = kind == DECLARED_TYPE &&
                      json_kind_of(json_find(root, MR_STR("date_updated"))) == JSON_STRING;
    return is_shipped && !is_changed;
}

static bool write_kind(struct export *export, enum declared_kind kind) {
    const struct declared_kind_info *info = declared_kind_info(kind);
    const struct held_list *list = &export->lists[kind];
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (is_left_out(export, kind, &list->objects[i])) {
            continue;
        }
        if (n++ == 0 && !wrote(mr_buf_printf(&export->out, "%s:\n", info->section))) {
            return false;
        }
        if (!(kind == DECLARED_SCHEMA ? write_schema(export, &list->objects[i])
                                      : write_object(export, kind, &list->objects[i]))) {
            return false;
        }
    }
    return n > 0 || wrote(mr_buf_printf(&export->out, "%s: []\n", info->section));
}

static bool write_all(struct export *export) {
    for (enum declared_kind kind = 0; kind < DECLARED_KINDS; kind++) {
        bool is_needed =
            export->has[kind] || (kind == DECLARED_DESTINATION && export->has[DECLARED_RULE]);
        if (is_needed && (!held_fetch(export->client, kind, &export->arena, &export->lists[kind]) ||
                          !held_names_differ(kind, &export->lists[kind]))) {
            return false;
        }
    }
    if (!wrote(mr_buf_printf(&export->out,
                             "# Written by millrace export; brought back by millrace apply.\n"
                             "# \"[redacted]\" stands for a value that is never shown.\n"
                             "millrace: %d\n",
                             DECLARED_FORMAT))) {
        return false;
    }
    for (enum declared_kind kind = 0; kind < DECLARED_KINDS; kind++) {
        if (export->has[kind] && !write_kind(export, kind)) {
            return false;
        }
    }
    return true;
}

/* "destinations,rules"; NULL: all. False: printed. */
static bool take_sections(const char *list, bool has[static DECLARED_KINDS]) {
    mr_str rest = mr_str_c(list);
    mr_str part;
    for (enum declared_kind kind = 0; kind < DECLARED_KINDS; kind++) {
        has[kind] = list == NULL;
    }
    while (mr_str_split(&rest, ',', &part)) {
        bool is_known = false;
        for (enum declared_kind kind = 0; kind < DECLARED_KINDS; kind++) {
            if (mr_str_eq(part, mr_str_c(declared_kind_info(kind)->section))) {
                has[kind] = true;
                is_known = true;
            }
        }
        if (!is_known) {
            cli_usage_error("export",
                            "--only takes a list of schemas, event_types, destinations, rules, "
                            "clients; \"%.*s\" is none of them",
                            MR_FMT(part));
            return false;
        }
    }
    return true;
}

/* The file is there whole or not at all. */
static int save(const char *path, mr_str text) {
    char dir[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    int n = slash != NULL ? snprintf(dir, sizeof dir, "%.*s", (int)(slash + 1 - path), path)
                          : snprintf(dir, sizeof dir, ".");
    if (n < 0 || (size_t)n >= sizeof dir || name[0] == '\0') {
        return cli_usage_error("export", "--output \"%s\" is no path of a file", path);
    }
    if (mr_is_err(os_file_replace(&os_files_system, dir, name, text))) {
        cli_problem("could not write %s: %s", path, strerror(errno));
        return CLI_USAGE;
    }
    return CLI_OK;
}

int cli_export(int argc, char **argv) {
    struct cli_option options[] = {{.name = "output"}, {.name = "only"}};
    struct export export = {0};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "export") ||
        !take_sections(options[1].value, export.has)) {
        return CLI_USAGE;
    }
    export.client = cli_client_new();
    if (export.client == NULL) {
        return CLI_USAGE;
    }
    mr_arena_init(&export.arena, ARENA_MAX);
    json_tape_init(&export.tape, JSON_DEPTH_MAX);
    mr_buf_init(&export.out, OUTPUT_MAX);
    int code = CLI_NO;
    if (write_all(&export)) {
        code = CLI_OK;
        if (options[0].value != NULL) {
            code = save(options[0].value, mr_buf_view(&export.out));
        } else {
            cli_print(mr_buf_view(&export.out));
        }
    }
    mr_buf_done(&export.out);
    json_tape_done(&export.tape);
    mr_arena_done(&export.arena);
    cli_client_free(export.client);
    return code;
}
