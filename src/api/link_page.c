/* HTML of links. See link_page.h. Every text that came from people is escaped in one function. */
#include "api/link_page.h"

#include "base/num.h"
#include "crypto/hash.h"

#include <stdio.h>

#define POLICY_SIZE 256

static const char style[] =
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;margin:0;padding:1.5rem 1rem;color:#1a1a1a;"
    "background:#fff}"
    "main{max-width:26rem;margin:0 auto;overflow-wrap:anywhere}"
    "h1{font-size:1.4rem;line-height:1.25;margin:0 0 1rem}"
    "label{display:block;font-weight:600;margin:1rem 0 .25rem}"
    "input{box-sizing:border-box;width:100%;font:inherit;padding:.6rem;border:1px solid #6b6b6b;"
    "border-radius:.3rem;color:inherit;background:transparent}"
    "button{font:inherit;font-weight:600;width:100%;margin-top:1.5rem;padding:.7rem;border:0;"
    "border-radius:.3rem;color:#fff;background:#0b57a4}"
    "input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid #e08700;"
    "outline-offset:2px}"
    ".hint{margin:.25rem 0 0;font-size:.9rem;color:#4a4a4a}"
    ".problem{border-left:.3rem solid #b3261e;padding:.25rem .75rem}"
    "@media(prefers-color-scheme:dark){body{color:#ececec;background:#141414}"
    ".hint{color:#b8b8b8}button{background:#2f7fd1;color:#000}a{color:#8ab8ff}}";

/* ---- parts ---- */

static mr_err put(mr_buf *out, const char *html) {
    return mr_buf_str(out, mr_str_c(html));
}

static mr_err put_escaped(mr_buf *out, mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '&':
            MR_TRY(put(out, "&amp;"));
            break;
        case '<':
            MR_TRY(put(out, "&lt;"));
            break;
        case '>':
            MR_TRY(put(out, "&gt;"));
            break;
        case '"':
            MR_TRY(put(out, "&quot;"));
            break;
        case '\'':
            MR_TRY(put(out, "&#39;"));
            break;
        default:
            MR_TRY(mr_buf_byte(out, text.ptr[i]));
        }
    }
    return MR_OK;
}

static mr_err put_head(mr_buf *out, const char *title) {
    MR_TRY(put(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                    "<meta name=\"robots\" content=\"noindex\"><title>"));
    MR_TRY(put(out, title));
    MR_TRY(put(out, " – Millrace</title><style>"));
    MR_TRY(put(out, style));
    MR_TRY(put(out, "</style></head>\n<body><main>\n<h1>"));
    MR_TRY(put(out, title));
    return put(out, "</h1>\n");
}

static mr_err put_end(mr_buf *out) {
    return put(out, "</main></body></html>\n");
}

static mr_err put_problem(mr_buf *out, mr_str problem) {
    if (mr_str_is_absent(problem)) {
        return MR_OK;
    }
    MR_TRY(put(out, "<p class=\"problem\" role=\"alert\">"));
    MR_TRY(put_escaped(out, problem));
    return put(out, "</p>\n");
}

/* A field of the form; attributes: static HTML. */
static mr_err put_field(mr_buf *out, const char *name, const char *label, const char *attributes,
                        mr_str value, const char *hint) {
    MR_TRY(mr_buf_printf(out, "<label for=\"%s\">%s</label>\n<input id=\"%s\" name=\"%s\" %s", name,
                         label, name, name, attributes));
    if (hint != NULL) {
        MR_TRY(mr_buf_printf(out, " aria-describedby=\"%s-hint\"", name));
    }
    if (value.len > 0) {
        MR_TRY(put(out, " value=\""));
        MR_TRY(put_escaped(out, value));
        MR_TRY(put(out, "\""));
    }
    MR_TRY(put(out, ">\n"));
    return hint == NULL
               ? MR_OK
               : mr_buf_printf(out, "<p class=\"hint\" id=\"%s-hint\">%s</p>\n", name, hint);
}

static mr_err put_password(mr_buf *out) {
    return put_field(out, "password", "Password",
                     "type=\"password\" autocomplete=\"new-password\" required minlength=\"12\"",
                     MR_STR_NONE, "At least 12 characters; several words are easy to remember.");
}

/* "<b>…</b>" */
static mr_err put_strong(mr_buf *out, mr_str text) {
    MR_TRY(put(out, "<b>"));
    MR_TRY(put_escaped(out, text));
    return put(out, "</b>");
}

/* ---- the answer ---- */

/* The policy names the style by its hash. */
static mr_err write_policy(char policy[static POLICY_SIZE]) {
    struct crypto_hasher *hasher = NULL;
    uint8_t hash[CRYPTO_SHA256_BYTES];
    const mr_str text = mr_str_of(style, sizeof style - 1);
    MR_TRY(crypto_hasher_new(&hasher));
    mr_err err = crypto_sha256(hasher, &text, 1, hash);
    crypto_hasher_free(hasher);
    MR_TRY(err);
    mr_buf base64;
    mr_buf_init(&base64, 64);
    err = mr_base64_encode(mr_str_of((const char *)hash, sizeof hash), &base64);
    if (mr_is_ok(err)) {
        snprintf(policy, POLICY_SIZE,
                 "default-src 'none'; style-src 'sha256-%.*s'; form-action 'self'; base-uri "
                 "'none'; frame-ancestors 'none'",
                 MR_FMT(mr_buf_view(&base64)));
    }
    mr_buf_done(&base64);
    return err;
}

static void answer(struct api_call *call, mr_err err, int status, mr_str cookie,
                   int retry_after_s) {
    char policy[POLICY_SIZE];
    char seconds[16];
    if (mr_is_err(err) || mr_is_err(write_policy(policy))) {
        api_refuse_memory(call);
        return;
    }
    call->status = status;
    mr_field fields[6];
    size_t n = 0;
    fields[n++] = (mr_field){MR_STR("cache-control"), MR_STR("no-store")};
    fields[n++] = (mr_field){MR_STR("content-security-policy"), mr_str_c(policy)};
    fields[n++] = (mr_field){MR_STR("referrer-policy"), MR_STR("no-referrer")};
    fields[n++] = (mr_field){MR_STR("x-content-type-options"), MR_STR("nosniff")};
    if (!mr_str_is_absent(cookie)) {
        fields[n++] = (mr_field){MR_STR("set-cookie"), cookie};
    }
    if (retry_after_s > 0 || status == 503) {
        int len = snprintf(seconds, sizeof seconds, "%d", retry_after_s > 0 ? retry_after_s : 1);
        fields[n++] = (mr_field){MR_STR("retry-after"), mr_str_of(seconds, (size_t)len)};
    }
    api_answer_as(call, MR_STR("text/html; charset=utf-8"), fields, n);
}

/* ---- forms ---- */

static mr_err write_setup(mr_buf *out, const struct entry_form *filled) {
    MR_TRY(put(out, "<p>This makes you the Owner of this installation.</p>\n<form "
                    "method=\"post\">\n"));
    MR_TRY(put_field(out, "account_name", "Name of your company",
                     "required maxlength=\"255\" autocomplete=\"organization\"",
                     filled->account_name, NULL));
    MR_TRY(put_field(out, "name", "Your name", "required maxlength=\"255\" autocomplete=\"name\"",
                     filled->name, NULL));
    MR_TRY(put_field(out, "email", "Your e-mail",
                     "type=\"email\" required maxlength=\"254\" autocomplete=\"username\"",
                     filled->email, "You sign in with it."));
    MR_TRY(put_password(out));
    return put(out, "<button>Set up</button>\n</form>\n");
}

static mr_err write_invite(mr_buf *out, const struct entry_view *view,
                           const struct entry_form *filled) {
    MR_TRY(put(out, "<p>You join "));
    MR_TRY(put_strong(out, view->account_name));
    MR_TRY(put(out, " as "));
    MR_TRY(put_strong(out, view->user.email));
    MR_TRY(mr_buf_printf(out, ", in the role %.*s.</p>\n<form method=\"post\">\n",
                         MR_FMT(auth_role_name(view->user.role))));
    mr_str name = mr_str_is_absent(filled->name) ? view->user.name : filled->name;
    MR_TRY(
        put_field(out, "name", "Your name", "maxlength=\"255\" autocomplete=\"name\"", name, NULL));
    MR_TRY(put_password(out));
    return put(out, "<button>Join</button>\n</form>\n");
}

static mr_err write_reset(mr_buf *out, const struct entry_view *view) {
    MR_TRY(put(out, "<p>For "));
    MR_TRY(put_strong(out, view->user.email));
    MR_TRY(put(out, " in "));
    MR_TRY(put_strong(out, view->account_name));
    MR_TRY(put(out, ". It signs you out everywhere.</p>\n<form method=\"post\">\n"));
    MR_TRY(put_password(out));
    return put(out, "<button>Set the password</button>\n</form>\n");
}

static mr_err write_portal(mr_buf *out, const struct entry_view *view) {
    MR_TRY(put(out, "<p>You are about to sign in to "));
    MR_TRY(put_strong(out, view->account_name));
    return put(out, ".</p>\n<form method=\"post\">\n<button>Open</button>\n</form>\n");
}

static const char *const titles[LINK_KIND_COUNT] = {
    [LINK_SETUP] = "Set up Millrace",
    [LINK_INVITE] = "Accept your invite",
    [LINK_RESET] = "Set a new password",
    [LINK_PORTAL] = "Open the portal",
};

static mr_err write_form(mr_buf *out, const struct entry_view *view,
                         const struct entry_form *filled, mr_str problem) {
    MR_TRY(put_head(out, titles[view->kind]));
    MR_TRY(put_problem(out, problem));
    mr_err err = MR_OK;
    switch (view->kind) {
    case LINK_SETUP:
        err = write_setup(out, filled);
        break;
    case LINK_INVITE:
        err = write_invite(out, view, filled);
        break;
    case LINK_RESET:
        err = write_reset(out, view);
        break;
    case LINK_PORTAL:
        err = write_portal(out, view);
        break;
    case LINK_KIND_COUNT:
        break;
    }
    MR_TRY(err);
    return put_end(out);
}

void link_page_form(struct api_call *call, const struct entry_view *view,
                    const struct entry_form *filled, int status, mr_str problem) {
    const struct entry_form empty = {.password = MR_STR_NONE};
    mr_buf_reset(&call->out);
    mr_err err = write_form(&call->out, view, filled != NULL ? filled : &empty, problem);
    answer(call, err, status, MR_STR_NONE, 0);
}

/* ---- ends ---- */

static mr_err write_done(mr_buf *out, const struct entry_view *view) {
    if (view->kind == LINK_PORTAL) {
        MR_TRY(put_head(out, "You are signed in"));
        MR_TRY(put(out, "<p>In the account "));
        MR_TRY(put_strong(out, view->account_name));
        MR_TRY(put(out, ".</p>\n<p><a href=\"/\">Go to the portal</a></p>\n"));
        if (!mr_str_is_absent(view->return_url)) {
            MR_TRY(put(out, "<p><a rel=\"noreferrer\" href=\""));
            MR_TRY(put_escaped(out, view->return_url));
            MR_TRY(put(out, "\">Back to where you came from</a></p>\n"));
        }
        return put_end(out);
    }
    MR_TRY(put_head(out, view->kind == LINK_SETUP    ? "Millrace is set up"
                         : view->kind == LINK_INVITE ? "Welcome"
                                                     : "The password is set"));
    MR_TRY(put(out, "<p>Next: <a href=\"/\">sign in</a> as "));
    MR_TRY(put_strong(out, view->user.email));
    MR_TRY(put(out, ", with the password that you have just set.</p>\n"));
    if (view->kind != LINK_RESET) {
        MR_TRY(put(out, "<p>Then add a second factor: an authenticator app, in your "
                        "profile.</p>\n"));
    }
    return put_end(out);
}

void link_page_done(struct api_call *call, const struct entry_view *view, mr_str cookie) {
    mr_buf_reset(&call->out);
    answer(call, write_done(&call->out, view), 200, cookie, 0);
}

static mr_err write_problem(mr_buf *out, int status, mr_str problem) {
    MR_TRY(put_head(out, status == 404 ? "This link is not valid" : "That did not work"));
    MR_TRY(put_problem(out, problem));
    return put_end(out);
}

void link_page_problem(struct api_call *call, int status, mr_str problem, int retry_after_s) {
    mr_buf_reset(&call->out);
    answer(call, write_problem(&call->out, status, problem), status, MR_STR_NONE, retry_after_s);
}
