/* "Test" of a callback's URL: sends it at once, over a connection of its own, once, and tells step
 * by step what was seen. Nothing is journaled. Runs on the worker that was asked. */
#ifndef MR_DISPATCH_TESTING_CALLBACK_H
#define MR_DISPATCH_TESTING_CALLBACK_H

#include "loop/loop.h"
#include "sink/callback.h"

struct callback_test_spec {
    const struct sink_env *env;
    struct loop *loop;
    mr_str url, body; /* must stay until on_done */
    bool is_get, is_json;
    uint64_t pool_key;
    mr_secret secret; /* the account's active one; a reference is taken */
    /* Once, later, from the loop. json: {"ok","steps","request","response"}; empty: no memory. */
    void (*on_done)(void *ctx, mr_str json);
    void *ctx;
};
/* MR_E_NOMEM: nothing was started. */
mr_err callback_test_start(const struct callback_test_spec *spec);

#endif
