/* Regular expressions: ECMA's, translated by ecma.c, run by PCRE2.
 *
 * Bounded work. PCRE2 counts its limits anew at each start, so that they alone do not bound the
 * whole. Short texts go to the fast code (JIT where the system lets us) with a small limit. Where
 * it is reached, and for long texts, a second code with a callout before each item counts what was
 * looked at, exactly, and stops past its allowance. */
#include "schema/private.h"

#include "base/mem.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define FAST_TEXT_MAX    256u
#define FAST_MATCH_LIMIT 500u
#define FAST_STEPS       24              /* what a start weighs, its code not in the cache */
#define COUNTED_MIN      INT64_C(500000) /* items looked at, for any text */
#define COUNTED_PER_BYTE 4
#define HEAP_KIB_MAX     32768u
#define SCAN_SHIFT       4 /* characters passed over that weigh as much as one item */

struct pattern {
    pcre2_code *fast;
    pcre2_code *counted;
    bool has_jit;
};

struct pattern_run {
    pcre2_match_data *data;
    pcre2_match_context *context;
    int64_t left; /* items that the counted code may still look at */
    size_t last;  /* where it was */
};

/* --- compiling --- */

static void *pcre_alloc(size_t size, void *ctx) {
    (void)ctx;
    return mr_alloc(size);
}
static void pcre_free(void *ptr, void *ctx) {
    (void)ctx;
    mr_free(ptr);
}

static void say(char *message, size_t size, const char *text, size_t at) {
    mr_buf out;
    mr_buf_init(&out, size - 1);
    mr_ignore(mr_buf_printf(&out, "%s, at byte %zu", text, at), "then it says nothing");
    memcpy(message, mr_buf_view(&out).ptr, out.len);
    message[out.len] = '\0';
    mr_buf_done(&out);
}

static mr_err compile_code(mr_str text, uint32_t more, pcre2_compile_context *context,
                           pcre2_code **ret_code, char *message, size_t message_size) {
    uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_DOLLAR_ENDONLY |
                       PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF |
                       PCRE2_NEVER_BACKSLASH_C;
    int code;
    size_t at;
    *ret_code = pcre2_compile((PCRE2_SPTR)text.ptr, text.len, options | more, &code, &at, context);
    if (*ret_code != NULL) {
        return MR_OK;
    }
    char reason[128] = "";
    if (code == PCRE2_ERROR_HEAP_FAILED) {
        return MR_ERR(MR_E_NOMEM);
    }
    pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
    say(message, message_size, reason, at);
    return MR_ERR(MR_E_INVALID);
}

static mr_err compile_both(mr_str text, struct pattern *pattern, char *message, size_t size) {
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    pcre2_compile_context *context = general == NULL ? NULL : pcre2_compile_context_create(general);
    mr_err err = MR_ERR(MR_E_NOMEM);
    if (context != NULL) {
        err = compile_code(text, 0, context, &pattern->fast, message, size);
    }
    if (mr_is_ok(err)) {
        err = compile_code(text, PCRE2_AUTO_CALLOUT, context, &pattern->counted, message, size);
    }
    if (mr_is_ok(err)) {
        /* Slower without, as where the system forbids code that was made at run time. */
        pattern->has_jit = pcre2_jit_compile(pattern->fast, PCRE2_JIT_COMPLETE) == 0;
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    return err;
}

mr_err pattern_new(mr_str ecma, struct pattern **ret_pattern, char *message, size_t message_size) {
    const char *refused = NULL;
    size_t at = 0;
    mr_buf text;
    if (ecma.len > PATTERN_BYTES_MAX) {
        say(message, message_size, "at most 4096 bytes (pattern_bytes_max)", PATTERN_BYTES_MAX);
        return MR_ERR(MR_E_INVALID);
    }
    struct pattern *pattern = MR_NEW(struct pattern);
    if (pattern == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_buf_init(&text, (size_t)1 << 20);
    mr_err err = ecma_translate(ecma, &text, &refused, &at);
    if (mr_is_ok(err)) {
        err = compile_both(mr_buf_view(&text), pattern, message, message_size);
    } else if (mr_err_is(err, MR_E_INVALID)) {
        say(message, message_size, refused, at);
    }
    mr_buf_done(&text);
    if (mr_is_err(err)) {
        pattern_free(pattern);
        return mr_err_is(err, MR_E_INVALID) ? err : MR_ERR(MR_E_NOMEM);
    }
    *ret_pattern = pattern;
    return MR_OK;
}

void pattern_free(struct pattern *pattern) {
    if (pattern == NULL) {
        return;
    }
    pcre2_code_free(pattern->fast);
    pcre2_code_free(pattern->counted);
    mr_free(pattern);
}

size_t pattern_bytes(const struct pattern *pattern) {
    size_t fast = 0;
    size_t jit = 0;
    size_t counted = 0;
    (void)pcre2_pattern_info(pattern->fast, PCRE2_INFO_SIZE, &fast);
    (void)pcre2_pattern_info(pattern->fast, PCRE2_INFO_JITSIZE, &jit);
    (void)pcre2_pattern_info(pattern->counted, PCRE2_INFO_SIZE, &counted);
    return sizeof *pattern + fast + jit + counted;
}

/* --- matching --- */

static int on_item(pcre2_callout_block *block, void *ctx) {
    struct pattern_run *run = ctx;
    size_t at = block->current_position;
    size_t passed = at > run->last ? at - run->last : run->last - at;
    run->last = at;
    run->left -= 1 + (int64_t)(passed >> SCAN_SHIFT);
    return run->left < 0 ? PCRE2_ERROR_CALLOUT : 0;
}

mr_err pattern_run_new(struct pattern_run **ret_run) {
    struct pattern_run *run = MR_NEW(struct pattern_run);
    if (run == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (general != NULL) {
        run->data = pcre2_match_data_create(1, general);
        run->context = pcre2_match_context_create(general);
        pcre2_general_context_free(general);
    }
    if (run->data == NULL || run->context == NULL) {
        pattern_run_free(run);
        return MR_ERR(MR_E_NOMEM);
    }
    pcre2_set_callout(run->context, on_item, run);
    pcre2_set_match_limit(run->context, FAST_MATCH_LIMIT);
    pcre2_set_heap_limit(run->context, HEAP_KIB_MAX);
    *ret_run = run;
    return MR_OK;
}

void pattern_run_free(struct pattern_run *run) {
    if (run == NULL) {
        return;
    }
    pcre2_match_data_free(run->data);
    pcre2_match_context_free(run->context);
    mr_free(run);
}

static int match_fast(const struct pattern *pattern, struct pattern_run *run, mr_str text) {
    PCRE2_SPTR at = (PCRE2_SPTR)(text.len > 0 ? text.ptr : "");
    return pattern->has_jit
               ? pcre2_jit_match(pattern->fast, at, text.len, 0, 0, run->data, run->context)
               : pcre2_match(pattern->fast, at, text.len, 0, PCRE2_NO_UTF_CHECK, run->data,
                             run->context);
}

static int match_counted(const struct pattern *pattern, struct pattern_run *run, mr_str text) {
    pcre2_set_match_limit(run->context, UINT32_MAX);
    int answer = pcre2_match(pattern->counted, (PCRE2_SPTR)(text.len > 0 ? text.ptr : ""), text.len,
                             0, PCRE2_NO_UTF_CHECK, run->data, run->context);
    pcre2_set_match_limit(run->context, FAST_MATCH_LIMIT);
    return answer;
}

enum pattern_answer pattern_match(const struct pattern *pattern, struct pattern_run *run,
                                  mr_str text, int64_t *steps) {
    if (text.len <= FAST_TEXT_MAX) {
        int answer = match_fast(pattern, run, text);
        *steps -= FAST_STEPS;
        if (answer >= 0 || answer == PCRE2_ERROR_NOMATCH) {
            return answer >= 0 ? PATTERN_YES : PATTERN_NO;
        }
    }
    int64_t allowed = COUNTED_MIN + COUNTED_PER_BYTE * (int64_t)text.len;
    run->left = allowed;
    run->last = 0;
    int answer = match_counted(pattern, run, text);
    *steps -= allowed - run->left; /* an item weighs as much as a step of validation */
    return answer >= 0 ? PATTERN_YES : answer == PCRE2_ERROR_NOMATCH ? PATTERN_NO : PATTERN_LIMIT;
}
