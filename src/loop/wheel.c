/* The timer wheel. See wheel.h.
 *
 * Seven levels of 64 slots; a slot of level n spans 64^n ticks. A timer lies at the level of the
 * highest group of six bits in which its tick differs from the wheel's, in the slot of that group.
 * So a level holds only slots ahead of the wheel's own position in it, never a later round, and the
 * lowest occupied slot of the lowest occupied level is what comes next. When the wheel reaches a
 * slot of a coarse level its timers are placed anew, lower; one of level 0 fires.
 *
 * Invariants: a bit of `occupied` is set exactly where the slot's list is not empty. A timer being
 * fired is in a local list with slot -1, so that cancelling it there is an ordinary unlinking. 7 ×
 * 6 bits hold 139 years of milliseconds: ticks beyond are clamped and never reached. */
#include "loop/wheel.h"

#define BITS     6
#define TICK_MAX ((UINT64_C(1) << (BITS * LOOP_WHEEL_LEVELS)) - 1)

static uint64_t tick_floor(mr_mono t) {
    MR_ASSERT(t.ns >= 0);
    return (uint64_t)t.ns / (uint64_t)MR_NS_PER_MS;
}

static uint64_t tick_ceil(mr_mono t) {
    if (t.ns <= 0) {
        return 0;
    }
    uint64_t tick = ((uint64_t)t.ns + (uint64_t)MR_NS_PER_MS - 1) / (uint64_t)MR_NS_PER_MS;
    return tick > TICK_MAX ? TICK_MAX : tick;
}

void wheel_init(struct loop_wheel *wheel, mr_mono now) {
    wheel->tick = tick_floor(now);
    wheel->horizon = wheel->tick;
    for (size_t i = 0; i < LOOP_WHEEL_LEVELS; i++) {
        wheel->occupied[i] = 0;
    }
    for (size_t i = 0; i < LOOP_WHEEL_LEVELS * LOOP_WHEEL_SLOTS; i++) {
        mr_list_init(&wheel->slots[i]);
    }
}

/* timer->tick > wheel->tick. */
static void place(struct loop_wheel *wheel, struct loop_timer *timer) {
    uint64_t differ = timer->tick ^ wheel->tick;
    unsigned level = (unsigned)(63 - __builtin_clzll(differ)) / BITS;
    unsigned slot = (unsigned)(timer->tick >> (level * BITS)) & (LOOP_WHEEL_SLOTS - 1);
    timer->slot = (int32_t)(level * LOOP_WHEEL_SLOTS + slot);
    wheel->occupied[level] |= UINT64_C(1) << slot;
    mr_list_push_back(&wheel->slots[timer->slot], &timer->node);
}

void wheel_add(struct loop_wheel *wheel, struct loop_timer *timer, mr_mono due) {
    MR_ASSERT(timer->slot < 0);
    timer->tick = tick_ceil(due);
    if (timer->tick <= wheel->horizon) {
        timer->tick = wheel->horizon + 1;
    }
    place(wheel, timer);
}

void wheel_remove(struct loop_wheel *wheel, struct loop_timer *timer) {
    mr_list_remove(&timer->node);
    if (timer->slot >= 0) {
        unsigned slot = (unsigned)timer->slot;
        if (mr_list_is_empty(&wheel->slots[slot])) {
            wheel->occupied[slot / LOOP_WHEEL_SLOTS] &= ~(UINT64_C(1) << (slot % LOOP_WHEEL_SLOTS));
        }
        timer->slot = -1;
    }
}

/* The slot that comes next and the tick at which it begins; false when the wheel is empty. */
static bool next_slot(const struct loop_wheel *wheel, unsigned *ret_slot, uint64_t *ret_tick) {
    for (unsigned level = 0; level < LOOP_WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] != 0) {
            unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
            uint64_t span = UINT64_C(1) << ((level + 1) * BITS);
            *ret_slot = level * LOOP_WHEEL_SLOTS + slot;
            *ret_tick = (wheel->tick & ~(span - 1)) | ((uint64_t)slot << (level * BITS));
            return true;
        }
    }
    return false;
}

int wheel_wait_ms(const struct loop_wheel *wheel, mr_mono now) {
    unsigned slot;
    uint64_t tick;
    if (!next_slot(wheel, &slot, &tick)) {
        return -1;
    }
    int64_t ns = (int64_t)tick * MR_NS_PER_MS - now.ns;
    if (ns <= 0) {
        return 0;
    }
    int64_t ms = (ns + MR_NS_PER_MS - 1) / MR_NS_PER_MS;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static void take_slot(struct loop_wheel *wheel, unsigned slot, mr_list *taken) {
    mr_list *head = &wheel->slots[slot];
    mr_list_init(taken);
    if (!mr_list_is_empty(head)) {
        *taken = *head;
        taken->next->prev = taken;
        taken->prev->next = taken;
        mr_list_init(head);
    }
    wheel->occupied[slot / LOOP_WHEEL_SLOTS] &= ~(UINT64_C(1) << (slot % LOOP_WHEEL_SLOTS));
    for (mr_list *node = taken->next; node != taken; node = node->next) {
        MR_CONTAINER(node, struct loop_timer, node)->slot = -1;
    }
}

void wheel_advance(struct loop_wheel *wheel, mr_mono now) {
    uint64_t target = tick_floor(now);
    unsigned slot;
    uint64_t tick;
    wheel->horizon = target > wheel->tick ? target : wheel->tick;
    while (next_slot(wheel, &slot, &tick) && tick <= target) {
        wheel->tick = tick;
        mr_list taken;
        take_slot(wheel, slot, &taken);
        mr_list *node;
        while ((node = mr_list_pop_front(&taken)) != NULL) {
            struct loop_timer *timer = MR_CONTAINER(node, struct loop_timer, node);
            if (timer->tick > tick) {
                place(wheel, timer);
            } else {
                timer->on_fire(timer);
            }
        }
    }
    wheel->tick = wheel->horizon;
}
