/* A folder's files become their owner's alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/narrow.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void make(const char *path, mode_t mode) {
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0 && fchmod(fd, mode) == 0 && close(fd) == 0);
}

static mode_t mode_of(const char *path) {
    struct stat stat_buf;
    assert_int_equal(stat(path, &stat_buf), 0);
    return stat_buf.st_mode & 07777;
}

static void wider_files_are_narrowed_and_links_are_left(void **state) {
    (void)state;
    char base[] = "/tmp/narrow-XXXXXX";
    size_t narrowed = 0;
    assert_non_null(mkdtemp(base));
    assert_int_equal(chdir(base), 0);
    assert_int_equal(mkdir("data", 0755), 0);
    assert_int_equal(mkdir("data/below", 0755), 0);
    assert_int_equal(chmod("data", 0755) + chmod("data/below", 0750), 0);
    make("data/wide", 0644);
    make("data/right", 0600);
    make("data/below/group", 0640);
    make("outside", 0644);
    assert_int_equal(symlink("../outside", "data/link"), 0);
    assert_int_equal(mkfifo("data/pipe", 0644), 0);
    assert_true(mr_is_ok(os_narrow("data", &narrowed)));
    assert_int_equal(narrowed, 4);
    assert_int_equal(mode_of("data"), 0700);
    assert_int_equal(mode_of("data/below"), 0700);
    assert_int_equal(mode_of("data/wide"), 0600);
    assert_int_equal(mode_of("data/right"), 0600);
    assert_int_equal(mode_of("data/below/group"), 0600);
    assert_int_equal(mode_of("outside"), 0644);
    assert_true(mr_is_ok(os_narrow("data", &narrowed)));
    assert_int_equal(narrowed, 0);
    assert_true(mr_err_is(os_narrow("nothing", &narrowed), MR_E_NOT_FOUND));
    static const char *const made[] = {"data/link",  "data/pipe",        "data/wide",
                                       "data/right", "data/below/group", "outside"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        assert_int_equal(unlink(made[i]), 0);
    }
    assert_int_equal(rmdir("data/below") + rmdir("data") + rmdir(base), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wider_files_are_narrowed_and_links_are_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
