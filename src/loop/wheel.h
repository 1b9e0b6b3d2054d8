/* The timer wheel of a loop: ticks of 1 ms, set and cancel in O(1), the next due tick by looking at
 * seven words. Part of the loop; others use loop_timer_set and loop_timer_cancel. */
#ifndef MR_LOOP_WHEEL_H
#define MR_LOOP_WHEEL_H

#include "loop/loop.h"

/* Starts at the tick of now. */
void wheel_init(struct loop_wheel *wheel, mr_mono now);
/* The timer must not be in the wheel. Fires at the tick of due, rounded up, at the earliest at the
 * tick after the wheel's. */
void wheel_add(struct loop_wheel *wheel, struct loop_timer *timer, mr_mono due);
/* Harmless for a timer that is not in it. */
void wheel_remove(struct loop_wheel *wheel, struct loop_timer *timer);
/* Milliseconds until the wheel must be advanced next, at least 0; -1: nothing is in it. May be too
 * early (a slot of a coarse level is to be spread), never too late. */
int wheel_wait_ms(const struct loop_wheel *wheel, mr_mono now);
/* Fires what is due at now, in the order of ticks. */
void wheel_advance(struct loop_wheel *wheel, mr_mono now);

#endif
