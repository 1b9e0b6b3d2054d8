/* Event type names as small numbers, for the keys of lanes. One worker's; numbers are given in the
 * order met and stay for the life of the process. */
#ifndef MR_DISPATCH_TYPES_H
#define MR_DISPATCH_TYPES_H

#include "base/err.h"
#include "base/str.h"

struct type_table;

/* MR_E_NOMEM. */
mr_err type_table_new(struct type_table **ret_table);
/* NULL is fine. */
void type_table_free(struct type_table *table);
/* The number of a name, new or known (from 1). MR_E_NOMEM. */
mr_err type_table_number(struct type_table *table, mr_str name, uint64_t *ret_number);
/* 0 for an unknown name. */
uint64_t type_table_find(const struct type_table *table, mr_str name);
/* Absent for an unknown number. */
mr_str type_table_name(const struct type_table *table, uint64_t number);

#endif
