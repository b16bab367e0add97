/* SPDX-License-Identifier: MIT */
/* What the service manager is told (sd_notify(3)); without one nothing happens. */
#ifndef ECHOD_SYSTEMD_NOTIFY_H
#define ECHOD_SYSTEMD_NOTIFY_H

#include <stdint.h>

void service_ready(const char *status);

/* RELOADING=1 and MONOTONIC_USEC= in one datagram, as Type=notify-reload wants it. */
void service_reloading(void);

/* STOPPING=1; asks for this much time, whatever TimeoutStopSec= says. */
void service_stopping(const char *status, uint64_t timeout_us);
void service_status(const char *status);

/* Shows that the listener makes progress; call it for nothing else. */
void service_alive(void);

/* WATCHDOG_USEC= for this process, or 0. */
uint64_t service_watchdog_us(void);

#endif
