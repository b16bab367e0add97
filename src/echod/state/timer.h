/* SPDX-License-Identifier: MIT */
/* One-shot timers of the event loop. A timer is never NULL here. */
#ifndef ECHOD_STATE_TIMER_H
#define ECHOD_STATE_TIMER_H

#include <stdint.h>

struct sd_event_source;

/* Lets the timer fire after this time, whether it ran or not. */
void timer_arm(struct sd_event_source *timer, uint64_t after_us);

/* A timer that runs keeps its time: repeated calls would put it off again and again. */
void timer_arm_idle(struct sd_event_source *timer, uint64_t after_us);

void timer_disarm(struct sd_event_source *timer);

#endif
