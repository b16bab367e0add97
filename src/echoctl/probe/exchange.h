/* SPDX-License-Identifier: MIT */
/* One message there and back within a deadline, compared byte by byte as it comes. */
#ifndef ECHOCTL_PROBE_EXCHANGE_H
#define ECHOCTL_PROBE_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange {
	const uint8_t *bytes;	/* the message; the caller keeps it until the end */
	size_t size;
	bool half_close;	/* a FIN follows the last byte, and the peer's is awaited */
	const char *phase;	/* "send", "echo", "eof": where it is or ended; static */
	size_t sent_bytes;
	size_t received_bytes;	/* correct ones */
	uint64_t ended_ns;	/* when everything had come, in time or not */
};

/* Sends as much as possible without waiting; not all may be sent already. Returns 0 or -errno. */
int exchange_send(int fd, struct exchange *exchange);

/*
 * Takes input without waiting. Returns 1 if everything has come, 0 if more has to come, -ENODATA
 * (FIN before that), -EBADMSG (the byte at received_bytes differs or was never sent), -errno.
 */
int exchange_receive(int fd, struct exchange *exchange);

/*
 * Runs a whole exchange: sends bytes (at least one) over the non-blocking fd while it reads the
 * echo. half_close: sends the FIN right behind the last byte, before the echo has come, and waits
 * for the peer's. Returns 0 if everything had come by the deadline, or -ETIMEDOUT, what
 * interrupt_ended() says, or an error of the two above. *ret_exchange is set in every case.
 */
int exchange_run(int fd, const uint8_t *bytes, size_t size, bool half_close, uint64_t deadline_ns,
		 struct exchange *ret_exchange);

/* What went wrong, in words. */
const char *exchange_why(int error);

/*
 * Waits for events of poll(2) on fd, at most until the deadline. Returns the events, -ETIMEDOUT
 * (after the deadline, whatever is ready), what interrupt_ended() says, or -errno.
 */
int exchange_wait(int fd, short events, uint64_t deadline_ns);

#endif
