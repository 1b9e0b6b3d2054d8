/* libcurl's functions that client commands and the sender of mail use. The library is opened when
 * one of them first needs it: it brings two dozen others along, which a server that sends no mail
 * would carry for nothing (3 MiB at rest). */
#ifndef MR_NET_LIBCURL_H
#define MR_NET_LIBCURL_H

#include <curl/curl.h>
#include <stdbool.h>

struct libcurl {
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_global_init_mem) *global_init_mem;
    __typeof__(curl_global_cleanup) *global_cleanup;
    __typeof__(curl_easy_init) *easy_init;
    __typeof__(curl_easy_cleanup) *easy_cleanup;
    __typeof__(curl_easy_reset) *easy_reset;
    __typeof__(curl_easy_setopt) *easy_setopt;
    __typeof__(curl_easy_getinfo) *easy_getinfo;
    __typeof__(curl_easy_perform) *easy_perform;
    __typeof__(curl_easy_strerror) *easy_strerror;
    __typeof__(curl_easy_escape) *easy_escape;
    __typeof__(curl_free) *free;
    __typeof__(curl_slist_append) *slist_append;
    __typeof__(curl_slist_free_all) *slist_free_all;
};

/* False: libcurl is not installed. */
bool libcurl_open(struct libcurl *ret_lib);

#endif
