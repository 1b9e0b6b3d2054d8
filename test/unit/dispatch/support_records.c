/* The ledger's records from few words, for these tests too. */
#include "../ledger/support_records.c"
