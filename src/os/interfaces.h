/* The machine's own network addresses: what the address guard must not let a destination reach. */
#ifndef MR_OS_INTERFACES_H
#define MR_OS_INTERFACES_H

#include "base/err.h"
#include "os/socket.h"

/* Calls each(arg, address) for every IPv4 and IPv6 address of every interface, up or down; port and
 * scope are zero. One netlink exchange with the kernel; does not wait for the network. MR_E_IO
 * (errno is set) where the list cannot be had. Any thread. */
mr_err os_interfaces_list(void (*each)(void *arg, const os_addr *addr), void *arg);

#endif
