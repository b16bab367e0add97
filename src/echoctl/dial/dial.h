/* SPDX-License-Identifier: MIT */
/* Resolves a target and connects to it: all its addresses, in the order of RFC 8305, in time. */
#ifndef ECHOCTL_DIAL_DIAL_H
#define ECHOCTL_DIAL_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/address.h"
#include "echoctl/command_line/command.h"
#include "echoctl/command_line/targets.h"
#include "echoctl/dial/path.h"

#define DIAL_ADDRESSES_MAX 32
#define DIAL_STAGGER_MS 250	/* head start of an attempt before the next one (RFC 8305, 8) */

enum dial_phase {
	DIAL_RESOLVE,
	DIAL_SOCKET,		/* socket, options, binding to the source address */
	DIAL_CONNECT,
	DIAL_DONE,
};

struct dial_address {
	struct sockaddr_storage address;
	socklen_t length;
};

struct dial_options {
	int family;			/* AF_UNSPEC or the only one to use */
	bool udp;			/* datagrams: the first address that has a route */
	uint64_t timeout_us;		/* for everything together; 0 fails at once */
	const struct dial_path *path;	/* NULL: nothing is asked of it */
	int receive_buffer_bytes;	/* SO_RCVBUF before connecting; 0: the kernel's choice */
	bool at_once;	/* do not wait for a full backlog of a Unix socket: EAGAIN */
};

/* One address tried. */
struct dial_attempt {
	struct dial_address target;
	int fd;				/* -1: over; only for dial.c */
	enum dial_phase phase;		/* DIAL_DONE: connected */
	int error;			/* errno of that phase; ECANCELED: another one won */
	uint64_t started_ns;		/* CLOCK_MONOTONIC */
	uint64_t ended_ns;
};

struct dial {
	int fd;				/* connected, non-blocking, close-on-exec; -1 else */
	enum dial_phase phase;		/* where it ended */
	int error;			/* errno of that phase; 0 when a look-up failed by itself */
	const char *why;		/* the same in words, static */
	bool local;			/* the look-up failed on this side */
	uint64_t started_ns;		/* CLOCK_MONOTONIC */
	uint64_t resolved_ns;
	size_t n_addresses;		/* what the name resolved to, in the order of trying */
	struct dial_address addresses[DIAL_ADDRESSES_MAX];
	uint64_t next_ns;		/* dial.c's own: when the next attempt may start */
	size_t n_attempts;
	struct dial_attempt attempts[DIAL_ADDRESSES_MAX];
	size_t winner;			/* index in attempts, when connected */
};

/* Options that follow the global ones and those of the path. */
struct dial_options dial_options(const struct globals *globals);

/*
 * The same for a command with a time limit of its own, which is that for connecting, too, unless
 * the user has given a shorter one for that.
 */
struct dial_options dial_options_within(const struct globals *globals, uint64_t timeout_us);

/*
 * Resolves only: fills addresses, n_addresses, started_ns, resolved_ns, phase, error, why.
 * Returns 0 or -errno (-EHOSTUNREACH when the look-up itself failed).
 */
int dial_resolve(const struct address_spec *target, const struct dial_options *options,
		 struct dial *ret_dial);

/*
 * Connects to the resolved addresses, each DIAL_STAGGER_MS after the one before unless that
 * has failed sooner; the first to connect wins. Returns 0 or -errno of the last attempt.
 */
int dial_connect(const struct dial_options *options, struct dial *dial);

/* As many descriptors as this process may have. */
void dial_raise_limit(void);

/* Resolves and connects to all of them; each one's phase says how it ended. */
void dial_targets(const struct target *targets, size_t count, const struct dial_options *options,
		  struct dial *ret_dials);

/* A non-blocking socket on its way to address, or -errno with *ret_phase where it failed. */
int dial_start(const struct dial_address *address, const struct dial_options *options,
	       enum dial_phase *ret_phase);

/* Says every failure: "echoctl: host (address): connect: why", in JSON mode an event too. */
void dial_report_failure(struct report *report, const struct address_spec *target,
			 const struct dial *dial);

/*
 * STATUS_UNREACHED, STATUS_LOCAL when this side failed before any address was tried,
 * STATUS_FAILED when it was interrupted. Only after a failure.
 */
int dial_status(const struct dial *dial);

/*
 * All of the above. Returns COMMAND_PROCEED with ret_dial->fd owned by the caller, or the exit
 * status after saying why.
 */
int dial_target(struct report *report, const struct address_spec *target,
		const struct dial_options *options, struct dial *ret_dial);

/* Whether it is of this host, or of a private network or link (RFC 1918, 3927, 4193, 4291). */
bool dial_is_private(const struct dial_address *address);

/* Writes address as address_format() does; returns text. */
const char *dial_address_format(const struct dial_address *address, char text[ADDRESS_TEXT_MAX]);

/* "resolve", "socket", "connect", "connected" */
const char *dial_phase_name(enum dial_phase phase);

/* The first to connect, or the text of the target when none did; address_format() form. */
const char *dial_peer(const struct dial *dial, char text[ADDRESS_TEXT_MAX]);

/*
 * Puts addresses in the order of RFC 8305, 4: families alternate, the family of the first one
 * leads, the order within a family (RFC 6724, from getaddrinfo(3)) stays.
 */
void dial_interleave(struct dial_address *addresses, size_t n_addresses);

#endif
