/* libcurl, opened late. See libcurl.h. The number in the file's name is its interface's, which has
 * been the same since 2006; the symbols are those of its headers. */
#include "net/libcurl.h"

#include "os/library.h"

bool libcurl_open(struct libcurl *ret_lib) {
    struct libcurl lib;
    const struct os_library_want wants[] = {
        {&lib.global_init, "curl_global_init"},
        {&lib.global_init_mem, "curl_global_init_mem"},
        {&lib.global_cleanup, "curl_global_cleanup"},
        {&lib.easy_init, "curl_easy_init"},
        {&lib.easy_cleanup, "curl_easy_cleanup"},
        {&lib.easy_reset, "curl_easy_reset"},
        {&lib.easy_setopt, "curl_easy_setopt"},
        {&lib.easy_getinfo, "curl_easy_getinfo"},
        {&lib.easy_perform, "curl_easy_perform"},
        {&lib.easy_strerror, "curl_easy_strerror"},
        {&lib.easy_escape, "curl_easy_escape"},
        {&lib.free, "curl_free"},
        {&lib.slist_append, "curl_slist_append"},
        {&lib.slist_free_all, "curl_slist_free_all"},
    };
    const size_t n = sizeof wants / sizeof wants[0];
    _Static_assert(sizeof lib == sizeof wants / sizeof wants[0] * sizeof(void *),
                   "every function is looked up");
    if (mr_is_err(os_library_open("libcurl.so.4", wants, n))) {
        return false;
    }
    *ret_lib = lib;
    return true;
}
