/* Own network addresses. See interfaces.h. getifaddrs(3) asks the kernel by netlink; interfaces
 * that are down are listed too, since their addresses still answer locally. */
#include "os/interfaces.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

mr_err os_interfaces_list(void (*each)(void *arg, const os_addr *addr), void *arg) {
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0) {
        return MR_ERR(MR_E_IO);
    }
    for (const struct ifaddrs *at = list; at != NULL; at = at->ifa_next) {
        os_addr addr = {.family = OS_FAMILY_NONE};
        if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET) {
            struct sockaddr_in in;
            memcpy(&in, at->ifa_addr, sizeof in);
            addr.family = OS_FAMILY_V4;
            memcpy(addr.ip, &in.sin_addr, 4);
            each(arg, &addr);
        } else if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET6) {
            struct sockaddr_in6 in;
            memcpy(&in, at->ifa_addr, sizeof in);
            addr.family = OS_FAMILY_V6;
            memcpy(addr.ip, &in.sin6_addr, 16);
            each(arg, &addr);
        }
    }
    freeifaddrs(list);
    return MR_OK;
}
