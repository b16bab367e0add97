/* SPDX-License-Identifier: MIT */
/*
 * Why not sd_notify(3): it sends on a blocking socket, so a service manager that is stopped or
 * busy would stop the supervisor. Its protocol is one datagram of NAME=value lines. What cannot be
 * sent now is kept, one message of each kind, and sent later in the order in which the service
 * manager has to hear it.
 */
#include "echod/systemd/notify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/fd.h"

#define TEXT_MAX 256

/* In the order in which they are sent. */
enum kind {
	RELOADING,
	READY,
	STOPPING,
	STATUS,
	KINDS,
};

static char pending[KINDS][TEXT_MAX];	/* "": nothing waits */

/* Returns false if the text has to be sent again later; never without a service manager. */
static bool send_datagram(const char *text)
{
	const char *path = secure_getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = path ? strlen(path) : 0;
	FD_CLEANUP int fd = -1;

	if (length < 2 || length >= sizeof(address.sun_path))
		return true;
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
				 (const struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) >= 0;
}

void notify_flush(void)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (*pending[i] && !send_datagram(pending[i]))
			return;
		*pending[i] = '\0';
	}
}

/* Replaces a message of this kind that waits. Each has a STATUS=, so older ones are obsolete. */
__attribute__((format(printf, 2, 3))) static void tell(enum kind kind, const char *format, ...)
{
	va_list arguments;

	*pending[STATUS] = '\0';
	va_start(arguments, format);
	vsnprintf(pending[kind], TEXT_MAX, format, arguments);
	va_end(arguments);
	notify_flush();
}

/* A newline in a status would begin another field. */
static const char *one_line(const char *status)
{
	assert(!strchr(status, '\n'));
	return status;
}

void notify_ready(const char *status)
{
	tell(READY, "READY=1\nSTATUS=%s", one_line(status));
}

void notify_reloading(void)
{
	/* The end of an earlier reload need not be reported any more. */
	*pending[READY] = '\0';
	tell(RELOADING, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reloading",
	     clock_now_ns() / 1000);
}

void notify_stopping(const char *status, uint64_t timeout_us)
{
	tell(STOPPING, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=%s", timeout_us,
	     one_line(status));
}

void notify_status(const char *status)
{
	tell(STATUS, "STATUS=%s", one_line(status));
}

void notify_alive(void)
{
	send_datagram("WATCHDOG=1");	/* the next one comes soon */
}

uint64_t notify_watchdog_us(void)
{
	uint64_t interval_us;

	return sd_watchdog_enabled(0, &interval_us) > 0 ? interval_us : 0;
}
