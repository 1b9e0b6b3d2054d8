/* The certificates of the tests of net, for the client's too. */
#include "../net/support_certs.c" /* one source, two test folders */
