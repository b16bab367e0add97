/* SPDX-License-Identifier: MIT */
/*
 * Messages to the service manager (sd_notify(3)). Never blocks; without a service manager does
 * nothing.
 */
#ifndef ECHOD_SYSTEMD_NOTIFY_H
#define ECHOD_SYSTEMD_NOTIFY_H

#include <stdint.h>

void notify_ready(const char *status);

/* RELOADING=1 and MONOTONIC_USEC= in one datagram, as Type=notify-reload wants it. */
void notify_reloading(void);

/* STOPPING=1; asks for this much time, whatever TimeoutStopSec= says. */
void notify_stopping(const char *status, uint64_t timeout_us);
void notify_status(const char *status);

/* Shows that the listener makes progress; call it for nothing else. */
void notify_alive(void);

/* Sends what could not be sent before: call it once a second. */
void notify_flush(void);

/* WATCHDOG_USEC= for this process, or 0. */
uint64_t notify_watchdog_us(void);

#endif
