/* Judging a URL. See judge.h. */
#include "net/judge.h"

#include <stdio.h>

enum net_verdict net_judge_url(const struct net_guard *guard, bool allow_http, mr_str text,
                               struct net_url *ret_url, char reason[static NET_REASON_SIZE]) {
    struct net_url url;
    enum net_url_problem problem = net_url_parse(text, allow_http, &url);
    if (problem != NET_URL_OK) {
        snprintf(reason, NET_REASON_SIZE, "%s", net_url_problem_text(problem));
        bool is_refused = problem == NET_URL_HTTP || problem == NET_URL_PORT_REFUSED ||
                          problem == NET_URL_HOST_NUMERIC || problem == NET_URL_USERINFO;
        return is_refused ? NET_VERDICT_REFUSED : NET_VERDICT_MALFORMED;
    }
    struct net_judged_addr judged;
    struct net_refusal refusal;
    if (url.host_kind == NET_HOST_LITERAL &&
        mr_is_err(net_guard_judge(guard, &url.addr, &judged, &refusal))) {
        snprintf(reason, NET_REASON_SIZE, "%s", refusal.text);
        return NET_VERDICT_REFUSED;
    }
    *ret_url = url;
    return NET_VERDICT_OK;
}
