#include "support_control.h"

#include "base/mem.h"
#include "control/destinations.h"
#include "control/rules.h"
#include "crypto/secret.h"
#include "os/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Refuses port 22, calls anything without https:// malformed. */
static enum control_url_verdict judge(void *ctx, mr_str url, char reason[CONTROL_REASON_SIZE]) {
    (void)ctx;
    if (!mr_str_starts(url, MR_STR("https://"))) {
        (void)snprintf(reason, CONTROL_REASON_SIZE, "the scheme must be https");
        return CONTROL_URL_MALFORMED;
    }
    if (mr_str_find(url, MR_STR("127.0.0.1")) != SIZE_MAX) {
        (void)snprintf(reason, CONTROL_REASON_SIZE, "127.0.0.1 is a loopback address");
        return CONTROL_URL_REFUSED;
    }
    return CONTROL_URL_OK;
}

void fixture_bare(struct fixture *f) {
    memset(f, 0, sizeof *f);
    (void)snprintf(f->base, sizeof f->base, "/tmp/mr-control-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    (void)snprintf(f->dir, sizeof f->dir, "%s/data", f->base);
    assert_ok(secret_slab_new((size_t)8 << 20, &f->slab));
    mr_arena_init(&f->arena, (size_t)16 << 20);
    f->options = (struct control_options){
        .dir = f->dir,
        .judge_url = judge,
        .slab = f->slab,
    };
}

static void open_it(struct fixture *f) {
    mr_err err = control_open(&f->options, &f->control, &f->refusal);
    if (mr_is_err(err)) {
        print_error("control_open: %s\n", f->refusal.message);
    }
    assert_ok(err);
    f->account = control_root_account(f->control);
}

void fixture_open(struct fixture *f) {
    fixture_bare(f);
    assert_ok(control_init(&f->options, MR_STR("ops@example.com"), &f->made, &f->refusal));
    open_it(f);
}

void fixture_reopen(struct fixture *f) {
    control_close(f->control);
    f->control = NULL;
    open_it(f);
}

static void remove_folder(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry = NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char inner[512];
        (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlink(inner) != 0) {
            remove_folder(inner);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    (void)rmdir(path);
}

void fixture_done(struct fixture *f) {
    control_close(f->control);
    secret_slab_free(f->slab);
    mr_arena_done(&f->arena);
    remove_folder(f->base);
}

int fixture_setup(void **state) {
    struct fixture *f = malloc(sizeof *f);
    fixture_open(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state) {
    fixture_done(*state);
    free(*state);
    return 0;
}

void assert_refused(const struct fixture *f, mr_err err, int code, const char *part) {
    assert_int_equal(err.code, CONTROL_E_REFUSED);
    if (f->refusal.code != code || strstr(f->refusal.message, part) == NULL) {
        print_error("refused with %d: %s\n", f->refusal.code, f->refusal.message);
    }
    assert_int_equal(f->refusal.code, code);
    assert_non_null(strstr(f->refusal.message, part));
}

bool folder_holds(const struct fixture *f, mr_str bytes) {
    DIR *dir = opendir(f->dir);
    struct dirent *entry = NULL;
    bool found = false;
    size_t files = 0;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[512];
        mr_str text = MR_STR_NONE;
        (void)snprintf(path, sizeof path, "%s/%s", f->dir, entry->d_name);
        if (entry->d_type == DT_REG &&
            mr_is_ok(os_file_load(&os_files_system, path, (size_t)64 << 20, &text))) {
            files++;
            found = found || mr_str_find(text, bytes) != SIZE_MAX;
            mr_free((void *)(uintptr_t)text.ptr);
        }
    }
    closedir(dir);
    assert_true(files > 0);
    return found;
}

mr_str make_destination(struct fixture *f) {
    struct destination_view view;
    assert_ok(destinations_create(
        f->control, f->account,
        MR_STR("{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{\"url\":\"https://x.test/a\"}}"),
        &f->arena, &view, &f->refusal));
    return view.id;
}

mr_str make_rule(struct fixture *f, mr_str destination_id) {
    struct rule_view view;
    char body[256];
    int n = snprintf(body, sizeof body,
                     "{\"name\":\"R\",\"destination_id\":\"%.*s\",\"event_types\":[{\"type\":"
                     "\"com.kore.eventstreams.test.event\"}]}",
                     MR_FMT(destination_id));
    assert_ok(rules_create(f->control, f->account, mr_str_of(body, (size_t)n), &f->arena, &view,
                           &f->refusal));
    return view.id;
}
