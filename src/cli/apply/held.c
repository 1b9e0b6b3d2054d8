/* The account's side of export and apply. See held.h. */
#include "cli/apply/held.h"

#include "cli/cli.h"

#include "json/write.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE   1024
#define PAGE_SIZE   1000U
#define PAGES_MAX   100U
#define OBJECTS_MAX ((size_t)PAGE_SIZE * PAGES_MAX)

static bool fail_memory(void) {
    cli_problem("could not hold what the account has: out of memory");
    return false;
}

static bool fail_answer(const char *path) {
    cli_problem("could not read the server's answer to GET %s", path);
    return false;
}

/* The decoded text of a member. */
static bool take_text(json_value object, const char *name, mr_arena *arena, mr_str *ret_text) {
    mr_str text;
    if (mr_is_err(json_string(json_find(object, mr_str_c(name)), arena, &text))) {
        return false;
    }
    *ret_text = mr_arena_str(arena, text);
    return !mr_str_is_absent(*ret_text);
}

/* Names of schemas and event types stand in paths. */
static bool escape(struct cli_client *client, mr_arena *arena, mr_str *id) {
    char text[PATH_SIZE / 2];
    if (!cli_client_escape(client, id->ptr, text, sizeof text)) {
        return false;
    }
    *id = mr_arena_str(arena, mr_str_c(text));
    return !mr_str_is_absent(*id);
}

static bool take_row(struct cli_client *client, const struct declared_kind_info *info,
                     json_value row, mr_arena *arena, struct held_object *ret_object) {
    mr_buf json;
    mr_buf_init(&json, SIZE_MAX / 2);
    bool ok = take_text(row, "name", arena, &ret_object->name) &&
              take_text(row, info->id, arena, &ret_object->id) &&
              mr_is_ok(json_minify(row, JSON_UTF8, &json));
    ret_object->is_self =
        ok && info->wrapper != NULL && mr_str_eq(ret_object->id, mr_str_c(cli_client_id(client)));
    ok = ok && escape(client, arena, &ret_object->id);
    ret_object->json = ok ? mr_arena_str(arena, mr_buf_view(&json)) : MR_STR_NONE;
    mr_buf_done(&json);
    return !mr_str_is_absent(ret_object->json);
}

static int compare_objects(const void *a, const void *b) {
    const struct held_object *x = a;
    const struct held_object *y = b;
    int order = mr_str_cmp(x->name, y->name);
    return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

/* What is known while pages are read. */
struct fetch {
    struct cli_client *client;
    const struct declared_kind_info *info;
    mr_arena *arena;
    struct cli_answer answer;
    json_tape tape;
    struct held_list *list;
};

/* One page; *ret_is_last where no other follows. */
static bool fetch_page(struct fetch *fetch, unsigned number, bool *ret_is_last) {
    char path[PATH_SIZE];
    const struct declared_kind_info *info = fetch->info;
    snprintf(path, sizeof path, "%s?page_size=%u&page_number=%u", info->path, PAGE_SIZE, number);
    cli_call_if(fetch->client, "GET", path, NULL, MR_STR_NONE, &fetch->answer);
    if (fetch->answer.status != 200) {
        (void)cli_show_answer(&fetch->answer);
        return false;
    }
    if (mr_is_err(json_tape_read(&fetch->tape, mr_buf_view(&fetch->answer.body), NULL))) {
        return fail_answer(path);
    }
    json_value root = json_root(&fetch->tape);
    json_value rows = json_find(root, mr_str_c(info->rows));
    json_value meta = json_find(root, mr_str_c(info->meta));
    if (json_kind_of(rows) != JSON_ARRAY) {
        return fail_answer(path);
    }
    *ret_is_last = json_string_eq(json_find(meta, MR_STR("next_page_url")), MR_STR("")) ||
                   json_count(rows) == 0;
    struct held_list *list = fetch->list;
    if (list->n + json_count(rows) > OBJECTS_MAX) {
        cli_problem("the account has more than %zu %s", OBJECTS_MAX, info->plural);
        return false;
    }
    struct held_object *grown =
        mr_arena_calloc(fetch->arena, list->n + json_count(rows) + 1, sizeof *grown);
    if (grown == NULL) {
        return fail_memory();
    }
    if (list->n > 0) {
        memcpy(grown, list->objects, list->n * sizeof *grown);
    }
    list->objects = grown;
    for (json_iter it = json_iter_of(rows); json_next(&it);) {
        if (!take_row(fetch->client, info, it.value, fetch->arena, &list->objects[list->n])) {
            return fail_answer(path);
        }
        list->objects[list->n].place = list->n;
        list->n++;
    }
    return true;
}

bool held_fetch(struct cli_client *client, enum declared_kind kind, mr_arena *arena,
                struct held_list *ret_list) {
    struct fetch fetch = {
        .client = client, .info = declared_kind_info(kind), .arena = arena, .list = ret_list};
    bool ok = true;
    bool is_last = false;
    *ret_list = (struct held_list){NULL, 0};
    json_tape_init(&fetch.tape, JSON_DEPTH_MAX);
    for (unsigned number = 1; ok && !is_last && number <= PAGES_MAX; number++) {
        ok = fetch_page(&fetch, number, &is_last);
    }
    json_tape_done(&fetch.tape);
    cli_answer_done(&fetch.answer);
    if (ok && ret_list->n > 1) {
        qsort(ret_list->objects, ret_list->n, sizeof *ret_list->objects, compare_objects);
    }
    return ok;
}

bool held_names_differ(enum declared_kind kind, const struct held_list *list) {
    const struct declared_kind_info *info = declared_kind_info(kind);
    const struct held_object *before = NULL;
    if (info->shares_names) {
        return true;
    }
    for (size_t i = 0; i < list->n; i++) {
        const struct held_object *object = &list->objects[i];
        if (object->is_self) {
            continue;
        }
        if (before != NULL && mr_str_eq(before->name, object->name)) {
            cli_problem("two %s of the account are named \"%.*s\" (%.*s, %.*s): objects are known "
                        "by their names, so rename one first",
                        info->plural, MR_FMT(object->name), MR_FMT(before->id), MR_FMT(object->id));
            return false;
        }
        before = object;
    }
    return true;
}

const struct held_object *held_find(const struct held_list *list, mr_str name) {
    const struct held_object *self = NULL;
    for (size_t i = 0; i < list->n; i++) {
        if (mr_str_eq(list->objects[i].name, name)) {
            if (!list->objects[i].is_self) {
                return &list->objects[i];
            }
            self = &list->objects[i];
        }
    }
    return self;
}

size_t held_count(const struct held_list *list, mr_str name, bool only_free) {
    size_t n = 0;
    size_t low = 0;
    for (size_t high = list->n; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (mr_str_cmp(list->objects[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (size_t i = low; i < list->n && mr_str_eq(list->objects[i].name, name); i++) {
        n += !list->objects[i].is_self && !(only_free && list->objects[i].is_taken);
    }
    return n;
}

const struct held_object *held_find_id(const struct held_list *list, mr_str id) {
    for (size_t i = 0; i < list->n; i++) {
        if (mr_str_eq(list->objects[i].id, id)) {
            return &list->objects[i];
        }
    }
    return NULL;
}

/* GET path; the object, or the member `wrapper` of it, minified in arena. */
static bool get(struct cli_client *client, const char *path, const char *wrapper, mr_arena *arena,
                mr_str *ret_json, char ret_etag[static CLI_ETAG_SIZE]) {
    struct cli_answer answer = {0};
    json_tape tape;
    mr_buf json;
    bool ok = false;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    mr_buf_init(&json, SIZE_MAX / 2);
    cli_call_if(client, "GET", path, NULL, MR_STR_NONE, &answer);
    if (answer.status != 200) {
        (void)cli_show_answer(&answer);
    } else {
        ok = mr_is_ok(json_tape_read(&tape, mr_buf_view(&answer.body), NULL));
        json_value inner =
            wrapper == NULL ? JSON_NONE : json_find(json_root(&tape), mr_str_c(wrapper));
        json_value object = json_is_absent(inner) ? json_root(&tape) : inner;
        ok = ok && json_kind_of(object) == JSON_OBJECT &&
             mr_is_ok(json_minify(object, JSON_UTF8, &json));
        *ret_json = ok ? mr_arena_str(arena, mr_buf_view(&json)) : MR_STR_NONE;
        memcpy(ret_etag, answer.etag, CLI_ETAG_SIZE);
        ok = ok && !mr_str_is_absent(*ret_json);
        if (!ok) {
            (void)fail_answer(path);
        }
    }
    mr_buf_done(&json);
    json_tape_done(&tape);
    cli_answer_done(&answer);
    return ok;
}

bool held_get(struct cli_client *client, enum declared_kind kind, mr_str id, mr_arena *arena,
              mr_str *ret_json, char ret_etag[static CLI_ETAG_SIZE]) {
    const struct declared_kind_info *info = declared_kind_info(kind);
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%.*s", info->path, MR_FMT(id));
    return get(client, path, info->wrapper, arena, ret_json, ret_etag);
}

bool held_get_version(struct cli_client *client, mr_str schema_id, uint64_t version,
                      mr_arena *arena, mr_str *ret_json) {
    char path[PATH_SIZE];
    char etag[CLI_ETAG_SIZE];
    snprintf(path, sizeof path, "/v1/schemas/%.*s/versions/%llu", MR_FMT(schema_id),
             (unsigned long long)version);
    return get(client, path, NULL, arena, ret_json, etag);
}
