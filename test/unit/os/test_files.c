/* The system's files: each operation once for real, in a folder of its own. */
#include "os/files.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct os_files *const files = &os_files_system;

static char folder[64];

static const char *in_folder(const char *name) {
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/mr-files-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static void remove_one(void *arg, mr_str name) {
    (void)arg;
    char text[64];
    if (mr_str_to_c(name, text, sizeof text)) {
        remove(in_folder(text));
    }
}

static int remove_folder(void **state) {
    (void)state;
    mr_ignore(files->list(files->ctx, folder, remove_one, NULL), "best effort");
    return remove(folder);
}

static os_file open_new(const char *name) {
    os_file file = OS_FILE_NONE;
    assert_true(mr_is_ok(files->open(files->ctx, in_folder(name),
                                     OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file)));
    return file;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    char a[] = "hello ";
    char b[] = "world";
    char out[32];
    size_t n;
    uint64_t size;
    os_file file = open_new("a");
    struct iovec iov[2] = {{a, 6}, {b, 5}};
    assert_true(mr_is_ok(files->write(files->ctx, file, iov, 2, 4)));
    assert_true(mr_is_ok(files->sync(files->ctx, file)));
    assert_true(mr_is_ok(files->size(files->ctx, file, &size)));
    assert_int_equal(size, 15);
    assert_true(mr_is_ok(files->read(files->ctx, file, out, sizeof out, 4, OS_READ_WAIT, &n)));
    assert_int_equal(n, 11);
    assert_memory_equal(out, "hello world", 11);
    mr_err err = files->read(files->ctx, file, out, 5, 10, OS_READ_NOWAIT, &n);
    assert_true(mr_is_ok(err) || mr_err_is(err, MR_E_AGAIN));
    assert_true(mr_is_ok(files->truncate(files->ctx, file, 5)));
    assert_true(mr_is_ok(files->size(files->ctx, file, &size)));
    assert_int_equal(size, 5);
    files->close(files->ctx, file);
}

static void errors_are_told_apart(void **state) {
    (void)state;
    os_file file;
    os_file made = open_new("b");
    struct os_space space;
    assert_int_equal(files->open(files->ctx, in_folder("none"), OS_OPEN_READ, &file).code,
                     MR_E_NOT_FOUND);
    assert_int_equal(files
                         ->open(files->ctx, in_folder("b"),
                                OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file)
                         .code,
                     MR_E_EXISTS);
    assert_int_equal(files->open(files->ctx, in_folder("b"), OS_OPEN_DIRECTORY, &file).code,
                     MR_E_IO);
    assert_int_equal(files->mkdir(files->ctx, folder).code, MR_E_EXISTS);
    assert_int_equal(files->unlink(files->ctx, in_folder("none")).code, MR_E_NOT_FOUND);
    assert_int_equal(files->rename(files->ctx, in_folder("none"), in_folder("x")).code,
                     MR_E_NOT_FOUND);
    assert_int_equal(files->link(files->ctx, in_folder("b"), in_folder("b")).code, MR_E_EXISTS);
    assert_int_equal(files->space(files->ctx, in_folder("none"), &space).code, MR_E_NOT_FOUND);
    assert_int_equal(files->list(files->ctx, in_folder("none"), remove_one, NULL).code,
                     MR_E_NOT_FOUND);
    assert_int_equal(files->sync_dir(files->ctx, in_folder("none")).code, MR_E_NOT_FOUND);
    assert_int_equal(files->sync(files->ctx, OS_FILE_NONE).code, MR_E_IO);
    files->close(files->ctx, made);
    /* A device that is always full. */
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    if (mr_is_ok(files->open(files->ctx, "/dev/full", OS_OPEN_WRITE, &file))) {
        assert_int_equal(files->write(files->ctx, file, &iov, 1, 0).code, MR_E_NO_SPACE);
        files->close(files->ctx, file);
    }
    assert_true(mr_is_ok(files->space(files->ctx, folder, &space)));
    assert_true(space.free_bytes > 0 && space.free_bytes <= space.total_bytes);
}

static void a_lock_is_exclusive_and_ends_with_its_file(void **state) {
    (void)state;
    os_file first = open_new("lock");
    os_file second;
    assert_true(mr_is_ok(files->open(files->ctx, in_folder("lock"), OS_OPEN_WRITE, &second)));
    assert_true(mr_is_ok(files->lock(files->ctx, first)));
    assert_int_equal(files->lock(files->ctx, second).code, MR_E_BUSY);
    files->close(files->ctx, first);
    assert_true(mr_is_ok(files->lock(files->ctx, second)));
    files->close(files->ctx, second);
}

static void collect(void *arg, mr_str name) {
    mr_ignore(mr_buf_str(arg, name), "checked by the test");
    mr_ignore(mr_buf_byte(arg, ' '), "checked by the test");
}

static void a_folder_is_listed_in_byte_order(void **state) {
    (void)state;
    const char *const names[] = {"zeta", "Alpha", "beta", "beta2"};
    for (size_t i = 0; i < 4; i++) {
        files->close(files->ctx, open_new(names[i]));
    }
    assert_true(mr_is_ok(files->rename(files->ctx, in_folder("zeta"), in_folder("gamma"))));
    assert_true(mr_is_ok(files->link(files->ctx, in_folder("gamma"), in_folder("delta"))));
    assert_true(mr_is_ok(files->sync_dir(files->ctx, folder)));
    mr_buf seen;
    mr_buf_init(&seen, 4096);
    assert_true(mr_is_ok(files->list(files->ctx, folder, collect, &seen)));
    assert_true(mr_str_eq(mr_buf_view(&seen), MR_STR("Alpha beta beta2 delta gamma ")));
    mr_buf_done(&seen);
}

static void a_file_is_replaced_whole_and_loaded(void **state) {
    (void)state;
    mr_str text;
    assert_true(mr_is_ok(os_file_replace(files, folder, "conf", MR_STR("one"))));
    assert_true(mr_is_ok(os_file_replace(files, folder, "conf", MR_STR("two, longer"))));
    assert_true(mr_is_ok(os_file_load(files, in_folder("conf"), 11, &text)));
    assert_true(mr_str_eq(text, MR_STR("two, longer")));
    char *owned;
    memcpy(&owned, &text.ptr, sizeof owned);
    mr_free(owned);
    assert_int_equal(os_file_load(files, in_folder("conf"), 10, &text).code, MR_E_LIMIT);
    assert_int_equal(os_file_load(files, in_folder("none"), 10, &text).code, MR_E_NOT_FOUND);
    assert_int_equal(os_file_replace(files, in_folder("none"), "x", MR_STR("")).code,
                     MR_E_NOT_FOUND);
    assert_true(mr_is_ok(os_file_replace(files, folder, "empty", MR_STR(""))));
    assert_true(mr_is_ok(os_file_load(files, in_folder("empty"), 0, &text)));
    assert_int_equal(text.len, 0);
    memcpy(&owned, &text.ptr, sizeof owned);
    mr_free(owned);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(errors_are_told_apart, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_lock_is_exclusive_and_ends_with_its_file, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_folder_is_listed_in_byte_order, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_file_is_replaced_whole_and_loaded, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
