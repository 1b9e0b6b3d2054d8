/* Header fields. See fields.h. */
#include "base/fields.h"

mr_str mr_fields_find(mr_fields fields, mr_str name) {
    for (size_t i = 0; i < fields.len; i++) {
        if (mr_str_eq_nocase(fields.ptr[i].name, name)) {
            return fields.ptr[i].value;
        }
    }
    return MR_STR_NONE;
}

size_t mr_fields_count(mr_fields fields, mr_str name) {
    size_t n = 0;
    for (size_t i = 0; i < fields.len; i++) {
        n += mr_str_eq_nocase(fields.ptr[i].name, name);
    }
    return n;
}
