/* The simulated disk of the simulator, for these tests too. */
#include "../../sim/disk.c"
