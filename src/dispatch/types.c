/* Type names by number. See types.h: an open-addressed table of numbers over an array of names. */
#include "dispatch/types.h"

#include "base/mem.h"

#define SLOTS_MIN 64

struct name {
    char *ptr;
    size_t len;
};

struct type_table {
    struct name *names; /* number - 1 */
    size_t n;
    size_t cap;
    uint32_t *slots; /* numbers; 0 = empty */
    size_t n_slots;  /* a power of two, more than twice n */
};

mr_err type_table_new(struct type_table **ret_table) {
    struct type_table *table = MR_NEW(struct type_table);
    if (table == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    table->slots = mr_calloc(SLOTS_MIN, sizeof *table->slots);
    if (table->slots == NULL) {
        mr_free(table);
        return MR_ERR(MR_E_NOMEM);
    }
    table->n_slots = SLOTS_MIN;
    *ret_table = table;
    return MR_OK;
}

void type_table_free(struct type_table *table) {
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < table->n; i++) {
        mr_free(table->names[i].ptr);
    }
    mr_free(table->names);
    mr_free(table->slots);
    mr_free(table);
}

static mr_str name_at(const struct type_table *table, uint64_t number) {
    const struct name *name = &table->names[number - 1];
    return mr_str_of(name->ptr, name->len);
}

static size_t slot_of(const uint32_t *slots, size_t n_slots, const struct type_table *table,
                      mr_str name) {
    size_t at = mr_str_hash(name, 0) & (n_slots - 1);
    while (slots[at] != 0 && !mr_str_eq(name_at(table, slots[at]), name)) {
        at = (at + 1) & (n_slots - 1);
    }
    return at;
}

uint64_t type_table_find(const struct type_table *table, mr_str name) {
    return table->slots[slot_of(table->slots, table->n_slots, table, name)];
}

mr_str type_table_name(const struct type_table *table, uint64_t number) {
    return number == 0 || number > table->n ? MR_STR_NONE : name_at(table, number);
}

static mr_err grow(struct type_table *table) {
    if (table->n == table->cap) {
        size_t cap = table->cap == 0 ? 16 : table->cap * 2;
        struct name *names = mr_realloc(table->names, cap * sizeof *names);
        if (names == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        table->names = names;
        table->cap = cap;
    }
    if ((table->n + 1) * 2 > table->n_slots) {
        size_t n_slots = table->n_slots * 2;
        uint32_t *slots = mr_calloc(n_slots, sizeof *slots);
        if (slots == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        for (uint32_t number = 1; number <= table->n; number++) {
            slots[slot_of(slots, n_slots, table, name_at(table, number))] = number;
        }
        mr_free(table->slots);
        table->slots = slots;
        table->n_slots = n_slots;
    }
    return MR_OK;
}

mr_err type_table_number(struct type_table *table, mr_str name, uint64_t *ret_number) {
    uint64_t number = type_table_find(table, name);
    if (number == 0) {
        MR_TRY(grow(table));
        char *copy = mr_strdup_n(name.ptr, name.len);
        if (copy == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        table->names[table->n++] = (struct name){copy, name.len};
        number = table->n;
        table->slots[slot_of(table->slots, table->n_slots, table, name)] = (uint32_t)number;
    }
    *ret_number = number;
    return MR_OK;
}
