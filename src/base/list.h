/* Intrusive doubly linked list: the node lives in its owner. A node that is in no list points to
 * itself. Not thread-safe. */
#ifndef MR_BASE_LIST_H
#define MR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mr_list {
    struct mr_list *prev;
    struct mr_list *next;
} mr_list;

#define MR_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void mr_list_init(mr_list *node) {
    node->prev = node;
    node->next = node;
}
static inline bool mr_list_is_empty(const mr_list *head) {
    return head->next == head;
}
static inline void mr_list_push_back(mr_list *head, mr_list *node) {
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void mr_list_push_front(mr_list *head, mr_list *node) {
    node->next = head->next;
    node->prev = head;
    head->next->prev = node;
    head->next = node;
}
/* Harmless for a node in no list; leaves the node pointing to itself. */
static inline void mr_list_remove(mr_list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    mr_list_init(node);
}
/* NULL when empty. */
static inline mr_list *mr_list_pop_front(mr_list *head) {
    mr_list *node = head->next;
    if (node == head) {
        return NULL;
    }
    mr_list_remove(node);
    return node;
}

#endif
