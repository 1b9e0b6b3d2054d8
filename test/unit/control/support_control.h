/* A control store in a folder of its own, for the tests of control/. */
#ifndef TEST_SUPPORT_CONTROL_H
#define TEST_SUPPORT_CONTROL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/control.h"

struct fixture {
    char base[64]; /* made by mkdtemp */
    char dir[128]; /* the data folder in it */
    struct secret_slab *slab;
    struct control_options options;
    struct control_init_result made;
    struct control *control;
    struct refusal refusal;
    mr_arena arena;
    uint32_t account;
};

/* A folder without a store. */
void fixture_bare(struct fixture *f);
/* init and open. */
void fixture_open(struct fixture *f);
void fixture_reopen(struct fixture *f);
/* Closes, asserts that no secret is left in the slab, removes the folder. */
void fixture_done(struct fixture *f);

/* cmocka's set-up and tear-down with *state = fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Asserts that err is a refusal with this code whose message holds part. */
void assert_refused(const struct fixture *f, mr_err err, int code, const char *part);
#define assert_ok(err)      assert_int_equal((err).code, 0)
#define assert_text(str, c) assert_true(mr_str_eq((str), mr_str_c(c)))
/* True where the bytes stand in any file of the data folder. */
bool folder_holds(const struct fixture *f, mr_str bytes);

/* A destination and a rule with little in them; *ret_id lies in the arena. */
mr_str make_destination(struct fixture *f);
mr_str make_rule(struct fixture *f, mr_str destination_id);

#endif
