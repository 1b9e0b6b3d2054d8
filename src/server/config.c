/* Settings from YAML, environment and command line.
 *
 * The three sources end in one function, set_value(), which knows the table of keys: a source only
 * has to say which key, which text, and where it stands. Sources are applied from the weakest to
 * the strongest, so that a later one overwrites. The YAML file is read as a stream of events
 * (libyaml), because events carry line numbers; anything but a flat mapping of scalars and lists is
 * refused. */
#include "server/config.h"

#include "base/mem.h"
#include "base/num.h"
#include "server/values.h"

#include <stdio.h>
#include <yaml.h>

struct row {
    const char *key;
    enum config_kind kind;
    const char *def;
    uint64_t min;
    uint64_t max;
    const char *help;
    size_t offset;
};

static const struct row rows[] = {
#define CONFIG_ROW(field, kind, def, min, max, help)                                               \
    {#field, CONFIG_##kind, def, min, max, help, offsetof(struct config, field)},
    CONFIG_TABLE(CONFIG_ROW)
#undef CONFIG_ROW
};
#define N_ROWS (sizeof rows / sizeof rows[0])

static const char *const kind_names[] = {"text", "true or false", "number", "list", "secret text"};

static const struct row *find_row(mr_str key) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (mr_str_eq(mr_str_c(rows[i].key), key)) {
            return &rows[i];
        }
    }
    return NULL;
}

static void *field_of(struct config *config, const struct row *row) {
    return (char *)config + row->offset;
}

static const void *field_of_const(const struct config *config, const struct row *row) {
    return (const char *)config + row->offset;
}

static mr_err set_text(struct config *config, const struct row *row, mr_str text) {
    char *copy = mr_strdup_n(text.ptr, text.len);
    if (copy == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    char **field = field_of(config, row);
    mr_free(*field);
    *field = copy;
    return MR_OK;
}

static void say_wrong(const struct row *row, mr_str text, const char *where, const char *what,
                      struct config_error *ret_error) {
    if (row->kind == CONFIG_SECRET) {
        snprintf(ret_error->text, sizeof ret_error->text, "%s: %s", where, what);
    } else {
        snprintf(ret_error->text, sizeof ret_error->text, "%s: %s, is \"%.*s\"", where, what,
                 MR_FMT(mr_str_slice(text, 0, 120)));
    }
}

/* Parses text into row's field; MR_E_INVALID with what was expected in *ret_error, after `where`.
 */
static mr_err set_value(struct config *config, const struct row *row, mr_str text,
                        const char *where, struct config_error *ret_error) {
    uint64_t number;
    const char *wrong;
    switch (row->kind) {
    case CONFIG_TEXT:
    case CONFIG_SECRET:
    case CONFIG_LIST:
        if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL) {
            snprintf(ret_error->text, sizeof ret_error->text, "%s: must not hold a NUL", where);
            return MR_ERR(MR_E_INVALID);
        }
        wrong = value_wrong(row->key, text);
        if (wrong != NULL) {
            say_wrong(row, text, where, wrong, ret_error);
            return MR_ERR(MR_E_INVALID);
        }
        return set_text(config, row, text);
    case CONFIG_BOOL:
        if (mr_str_eq(text, MR_STR("true")) || mr_str_eq(text, MR_STR("false"))) {
            *(bool *)field_of(config, row) = text.len == 4;
            return MR_OK;
        }
        snprintf(ret_error->text, sizeof ret_error->text, "%s: must be true or false, is \"%.*s\"",
                 where, MR_FMT(mr_str_slice(text, 0, 80)));
        return MR_ERR(MR_E_INVALID);
    case CONFIG_NUMBER:
        if (mr_is_ok(mr_u64_parse(text, row->min, row->max, &number))) {
            *(uint64_t *)field_of(config, row) = number;
            return MR_OK;
        }
        snprintf(ret_error->text, sizeof ret_error->text,
                 "%s: must be a number from %llu to %llu, is \"%.*s\"", where,
                 (unsigned long long)row->min, (unsigned long long)row->max,
                 MR_FMT(mr_str_slice(text, 0, 80)));
        return MR_ERR(MR_E_INVALID);
    }
    return MR_ERR(MR_E_INVALID);
}

mr_err config_init(struct config *config) {
    *config = (struct config){0};
    for (size_t i = 0; i < N_ROWS; i++) {
        struct config_error error;
        mr_err err = set_value(config, &rows[i], mr_str_c(rows[i].def), rows[i].key, &error);
        if (mr_is_err(err)) {
            MR_ASSERT(mr_err_is(err, MR_E_NOMEM));
            config_done(config);
            return err;
        }
    }
    return MR_OK;
}

void config_done(struct config *config) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].kind == CONFIG_TEXT || rows[i].kind == CONFIG_SECRET ||
            rows[i].kind == CONFIG_LIST) {
            mr_free(*(char **)field_of(config, &rows[i]));
        }
    }
    *config = (struct config){0};
}

/* What the YAML reader knows between events. */
struct yaml_state {
    struct config *config;
    const char *path;
    struct config_error *error;
    const struct row *row; /* key read, value awaited */
    bool in_mapping;
    bool in_list;
    mr_buf list; /* items so far */
    uint64_t seen[(N_ROWS + 63) / 64];
};

static mr_err yaml_fail(struct yaml_state *state, size_t line, const char *key, const char *what) {
    snprintf(state->error->text, sizeof state->error->text, "%s:%zu: %s%s%s", state->path, line + 1,
             key, key[0] == '\0' ? "" : ": ", what);
    return MR_ERR(MR_E_INVALID);
}

static mr_err yaml_key(struct yaml_state *state, const yaml_event_t *event) {
    mr_str key = mr_str_of((const char *)event->data.scalar.value, event->data.scalar.length);
    size_t line = event->start_mark.line;
    char name[80];
    if (!mr_str_to_c(key, name, sizeof name)) {
        return yaml_fail(state, line, "", "unknown setting");
    }
    state->row = find_row(key);
    if (state->row == NULL) {
        return yaml_fail(state, line, name, "unknown setting");
    }
    size_t at = (size_t)(state->row - rows);
    if ((state->seen[at / 64] >> (at % 64) & 1) != 0) {
        return yaml_fail(state, line, name, "stands twice");
    }
    state->seen[at / 64] |= UINT64_C(1) << (at % 64);
    return MR_OK;
}

static mr_err yaml_scalar(struct yaml_state *state, const yaml_event_t *event) {
    mr_str text = mr_str_of((const char *)event->data.scalar.value, event->data.scalar.length);
    size_t line = event->start_mark.line;
    if (!state->in_mapping) {
        return yaml_fail(state, line, "", "must be a mapping of settings to values");
    }
    if (state->row == NULL) {
        return yaml_key(state, event);
    }
    if (state->in_list) {
        const char *wrong = memchr(text.ptr, ',', text.len) != NULL ? "must not hold a comma"
                            : memchr(text.ptr, '\0', text.len) != NULL
                                ? "must not hold a NUL"
                                : value_wrong(state->row->key, text);
        if (text.len == 0 || wrong != NULL) {
            char place[512];
            snprintf(place, sizeof place, "%s:%zu: %s", state->path, line + 1, state->row->key);
            say_wrong(state->row, text, place, text.len == 0 ? "must not be empty" : wrong,
                      state->error);
            return MR_ERR(MR_E_INVALID);
        }
        if (state->list.len > 0) {
            MR_TRY(mr_buf_byte(&state->list, ','));
        }
        return mr_buf_str(&state->list, text);
    }
    char where[512];
    snprintf(where, sizeof where, "%s:%zu: %s", state->path, line + 1, state->row->key);
    MR_TRY(set_value(state->config, state->row, text, where, state->error));
    state->row = NULL;
    return MR_OK;
}

static mr_err yaml_event(struct yaml_state *state, const yaml_event_t *event) {
    size_t line = event->start_mark.line;
    const char *key = state->row != NULL ? state->row->key : "";
    switch (event->type) {
    case YAML_MAPPING_START_EVENT:
        if (state->in_mapping) {
            return yaml_fail(state, line, key, "must not be a mapping");
        }
        state->in_mapping = true;
        return MR_OK;
    case YAML_SEQUENCE_START_EVENT:
        if (state->row == NULL || state->row->kind != CONFIG_LIST || state->in_list) {
            return yaml_fail(state, line, key, "must not be a list");
        }
        state->in_list = true;
        mr_buf_reset(&state->list);
        return MR_OK;
    case YAML_SEQUENCE_END_EVENT: {
        char where[512];
        snprintf(where, sizeof where, "%s:%zu: %s", state->path, line + 1, key);
        state->in_list = false;
        /* Judged once more as a whole: how many there may be. */
        MR_TRY(
            set_value(state->config, state->row, mr_buf_view(&state->list), where, state->error));
        state->row = NULL;
        return MR_OK;
    }
    case YAML_SCALAR_EVENT:
        return yaml_scalar(state, event);
    case YAML_ALIAS_EVENT:
        return yaml_fail(state, line, key, "aliases are not supported");
    case YAML_MAPPING_END_EVENT:
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return MR_OK;
    }
    return MR_OK;
}

static mr_err yaml_read(struct yaml_state *state, yaml_parser_t *parser) {
    for (;;) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0) {
            return yaml_fail(state, parser->problem_mark.line, "",
                             parser->problem != NULL ? parser->problem : "not YAML");
        }
        bool ends = event.type == YAML_STREAM_END_EVENT;
        mr_err err = yaml_event(state, &event);
        yaml_event_delete(&event);
        if (mr_is_err(err) || ends) {
            return err;
        }
    }
}

mr_err config_load_yaml(struct config *config, const char *path, mr_str text,
                        struct config_error *ret_error) {
    struct yaml_state state = {.config = config, .path = path, .error = ret_error};
    ret_error->text[0] = '\0';
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_buf_init(&state.list, 65536);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    mr_err err = yaml_read(&state, &parser);
    yaml_parser_delete(&parser);
    mr_buf_done(&state.list);
    return err;
}

/* MILLRACE_ALLOW_HTTP → allow_http; false where it cannot be a key. */
static bool key_of_variable(mr_str name, char *key, size_t key_size) {
    if (name.len >= key_size) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        key[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
        if (c >= 'a' && c <= 'z') {
            return false;
        }
    }
    key[name.len] = '\0';
    return true;
}

mr_err config_load_env(struct config *config, char *const *env, struct config_error *ret_error) {
    static const char *const client_names[] = {"URL", "CLIENT_ID", "CLIENT_SECRET", "CA_FILE",
                                               "ACCOUNT_ID"};
    for (size_t i = 0; env[i] != NULL; i++) {
        mr_str entry = mr_str_c(env[i]);
        size_t equals = mr_str_find_byte(entry, '=', 0);
        if (!mr_str_starts(entry, MR_STR("MILLRACE_")) || equals == SIZE_MAX) {
            continue;
        }
        mr_str name = mr_str_slice(entry, 9, equals);
        bool is_client = false;
        for (size_t c = 0; c < sizeof client_names / sizeof client_names[0]; c++) {
            is_client = is_client || mr_str_eq(name, mr_str_c(client_names[c]));
        }
        if (is_client) {
            continue;
        }
        char key[80];
        char where[128];
        snprintf(where, sizeof where, "environment: MILLRACE_%.*s",
                 MR_FMT(mr_str_slice(name, 0, 80)));
        const struct row *row =
            key_of_variable(name, key, sizeof key) ? find_row(mr_str_c(key)) : NULL;
        if (row == NULL) {
            snprintf(ret_error->text, sizeof ret_error->text, "%s: unknown setting", where);
            return MR_ERR(MR_E_INVALID);
        }
        MR_TRY(
            set_value(config, row, mr_str_slice(entry, equals + 1, entry.len), where, ret_error));
    }
    return MR_OK;
}

void config_forget_env(char *const *env) {
    for (size_t i = 0; env[i] != NULL; i++) {
        mr_str entry = mr_str_c(env[i]);
        size_t equals = mr_str_find_byte(entry, '=', 0);
        char key[80];
        if (!mr_str_starts(entry, MR_STR("MILLRACE_")) || equals == SIZE_MAX ||
            !key_of_variable(mr_str_slice(entry, 9, equals), key, sizeof key)) {
            continue;
        }
        const struct row *row = find_row(mr_str_c(key));
        if (row != NULL && row->kind == CONFIG_SECRET) {
            mr_wipe(env[i] + equals + 1, entry.len - equals - 1);
        }
    }
}

mr_err config_set_flag(struct config *config, mr_str flag, mr_str value,
                       struct config_error *ret_error) {
    char key[80];
    if (!mr_str_to_c(flag, key, sizeof key)) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    for (char *c = key; *c != '\0'; c++) {
        if (*c == '-') {
            *c = '_';
        }
    }
    const struct row *row = find_row(mr_str_c(key));
    if (row == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    char where[128];
    snprintf(where, sizeof where, "command line: --%.*s", MR_FMT(flag));
    return set_value(config, row, value, where, ret_error);
}

mr_err config_check(const struct config *config, struct config_error *ret_error) {
    const char *what = NULL;
    if ((config->tls_cert_file[0] == '\0') != (config->tls_key_file[0] == '\0')) {
        what = "tls_cert_file, tls_key_file: either both or none";
    } else if (config->event_bytes_max > config->batch_bytes_max) {
        what = "event_bytes_max: must not be larger than batch_bytes_max";
    } else if (config->destination_in_flight_bytes_max > config->in_flight_bytes_max) {
        what = "destination_in_flight_bytes_max: must not be larger than in_flight_bytes_max";
    } else if (config->smtp_url[0] != '\0' && config->smtp_from[0] == '\0') {
        what = "smtp_from: must be set with smtp_url";
    } else if ((config->smtp_user[0] == '\0') != (config->smtp_password_file[0] == '\0')) {
        what = "smtp_user and smtp_password_file: must be set together";
    } else if ((config->aws_access_key_id[0] == '\0') !=
               (config->aws_secret_access_key_file[0] == '\0')) {
        what = "aws_access_key_id and aws_secret_access_key_file: must be set together";
    }
    if (what == NULL) {
        return MR_OK;
    }
    snprintf(ret_error->text, sizeof ret_error->text, "%s", what);
    return MR_ERR(MR_E_INVALID);
}

mr_err config_print(const struct config *config, mr_buf *out) {
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct row *row = &rows[i];
        const void *field = field_of_const(config, row);
        MR_TRY(mr_buf_printf(out, "%s: ", row->key));
        switch (row->kind) {
        case CONFIG_BOOL:
            MR_TRY(mr_buf_printf(out, "%s\n", *(const bool *)field ? "true" : "false"));
            break;
        case CONFIG_NUMBER:
            MR_TRY(mr_buf_printf(out, "%llu\n", (unsigned long long)*(const uint64_t *)field));
            break;
        case CONFIG_SECRET:
            MR_TRY(mr_buf_printf(out, "%s\n",
                                 (*(char *const *)field)[0] == '\0' ? "\"\"" : "[redacted]"));
            break;
        case CONFIG_TEXT:
        case CONFIG_LIST:
            MR_TRY(mr_buf_printf(out, "\"%s\"\n", *(char *const *)field));
            break;
        }
    }
    return MR_OK;
}

mr_err config_reference(mr_buf *out) {
    MR_TRY(
        mr_buf_printf(out, "| key | kind | default | range | meaning |\n|---|---|---|---|---|\n"));
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct row *row = &rows[i];
        MR_TRY(mr_buf_printf(out, "| `%s` | %s | %s%s%s | ", row->key, kind_names[row->kind],
                             row->def[0] == '\0' ? "" : "`", row->def,
                             row->def[0] == '\0' ? "" : "`"));
        if (row->kind == CONFIG_NUMBER) {
            MR_TRY(mr_buf_printf(out, "%llu – %llu", (unsigned long long)row->min,
                                 (unsigned long long)row->max));
        }
        MR_TRY(mr_buf_printf(out, " | %s |\n", row->help));
    }
    return MR_OK;
}
