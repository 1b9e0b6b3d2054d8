/* SMTP by libcurl. See smtp.h.
 *
 * Which 5xx is final is told apart by where it came: as the answer to sender, recipient or text it
 * is about this mail; as the answer to greeting or AUTH it is about the set-up, which the operator
 * can mend while mails wait. libcurl tells the latter as errors of their own. */
#include "mail/smtp.h"

#include "base/mem.h"
#include "net/libcurl.h"

#include <stdio.h>

#define CONNECT_MS 10000L
#define WHOLE_MS   60000L

struct smtp {
    struct libcurl lib;
};

/* What the callbacks of a transfer see. */
struct transfer {
    mr_str left;
    const _Atomic bool *is_stopping;
};

bool smtp_url_is_loopback(mr_str url) {
    size_t scheme = mr_str_find(url, MR_STR("://"));
    mr_str host = scheme == SIZE_MAX ? url : mr_str_slice(url, scheme + 3, url.len);
    if (mr_str_starts(host, MR_STR("[::1]:"))) {
        return true;
    }
    host = mr_str_slice(host, 0, mr_str_find_byte(host, ':', 0));
    if (!mr_str_starts(host, MR_STR("127."))) {
        return mr_str_eq_nocase(host, MR_STR("localhost"));
    }
    for (size_t i = 0; i < host.len; i++) { /* a literal, no name that begins like one */
        if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9')) {
            return false;
        }
    }
    return true;
}

mr_err smtp_new(struct smtp **ret_smtp) {
    struct smtp *smtp = MR_NEW(struct smtp);
    if (smtp == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (!libcurl_open(&smtp->lib)) {
        mr_free(smtp);
        return MR_ERR(MR_E_NOT_FOUND);
    }
    /* It keeps the password and the mail; what it frees is overwritten. */
    if (smtp->lib.global_init_mem(CURL_GLOBAL_DEFAULT, mr_wiping_alloc, mr_wiping_free,
                                  mr_wiping_realloc, mr_wiping_strdup,
                                  mr_wiping_calloc) != CURLE_OK) {
        mr_free(smtp);
        return MR_ERR(MR_E_NOMEM);
    }
    *ret_smtp = smtp;
    return MR_OK;
}

void smtp_free(struct smtp *smtp) {
    if (smtp != NULL) {
        smtp->lib.global_cleanup();
        mr_free(smtp);
    }
}

static size_t on_read(char *out, size_t size, size_t n, void *ctx) {
    struct transfer *transfer = ctx;
    size_t room = size * n;
    size_t take = transfer->left.len < room ? transfer->left.len : room;
    memcpy(out, transfer->left.ptr, take);
    transfer->left = mr_str_slice(transfer->left, take, transfer->left.len);
    return take;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    const struct transfer *transfer = ctx;
    return atomic_load(transfer->is_stopping) ? 1 : 0;
}

static bool set_up(const struct libcurl *lib, CURL *curl, const struct smtp_server *server,
                   struct curl_slist *recipients, struct transfer *transfer) {
    char from[272];
    snprintf(from, sizeof from, "<%s>", server->from);
    bool is_clear = server->is_loopback && strncmp(server->url, "smtp:", 5) == 0;
    bool ok = lib->easy_setopt(curl, CURLOPT_URL, server->url) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps") == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_USE_SSL,
                                is_clear ? (long)CURLUSESSL_TRY : (long)CURLUSESSL_ALL) == CURLE_OK;
    ok =
        ok && lib->easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_TIMEOUT_MS, WHOLE_MS) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_MAIL_FROM, from) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_UPLOAD, 1L) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_READFUNCTION, on_read) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_READDATA, transfer) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK;
    ok = ok && lib->easy_setopt(curl, CURLOPT_XFERINFODATA, transfer) == CURLE_OK;
    if (ok && server->ca_file[0] != '\0') {
        ok = lib->easy_setopt(curl, CURLOPT_CAINFO, server->ca_file) == CURLE_OK;
    }
    if (ok && server->user[0] != '\0') {
        ok = lib->easy_setopt(curl, CURLOPT_USERNAME, server->user) == CURLE_OK &&
             lib->easy_setopt(curl, CURLOPT_PASSWORD, mr_secret_reveal(server->password).ptr) ==
                 CURLE_OK;
    }
    return ok;
}

static enum smtp_outcome judge(CURLcode code, long reply) {
    if (code == CURLE_OK) {
        return SMTP_SENT;
    }
    bool is_of_mail = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
                      code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_PARTIAL_FILE;
    if (!is_of_mail || reply < 400 || reply == 421 || (reply >= 530 && reply <= 538)) {
        return SMTP_DOWN;
    }
    return reply < 500 ? SMTP_RETRY : SMTP_REFUSED;
}

struct smtp_result smtp_send(struct smtp *smtp, const struct smtp_server *server,
                             const char *recipient, mr_str message,
                             const _Atomic bool *is_stopping) {
    const struct libcurl *lib = &smtp->lib;
    struct smtp_result result = {SMTP_DOWN, 0, "out of memory"};
    struct transfer transfer = {message, is_stopping};
    char to[272];
    snprintf(to, sizeof to, "<%s>", recipient);
    CURL *curl = lib->easy_init();
    struct curl_slist *recipients = lib->slist_append(NULL, to);
    if (curl != NULL && recipients != NULL && set_up(lib, curl, server, recipients, &transfer)) {
        CURLcode code = lib->easy_perform(curl);
        lib->easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &result.reply);
        result.outcome = judge(code, result.reply);
        result.why = lib->easy_strerror(code);
    }
    lib->slist_free_all(recipients);
    lib->easy_cleanup(curl);
    return result;
}
