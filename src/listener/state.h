/* SPDX-License-Identifier: MIT */
/* What a listener knows: one struct, made at the start, passed to every part of the loop. */
#ifndef LISTENER_STATE_H
#define LISTENER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "listener/lean.h"
#include "listener/slots.h"
#include "listener/sources.h"
#include "wire/endpoint.h"
#include "wire/scoreboard.h"
#include "wire/settings.h"

/* An accepted connection that has no worker yet. */
struct connection {
	int fd;			/* -1: none */
	uint32_t socket;	/* index of the listening socket */
	uint32_t source;	/* node in sources, SOURCES_NONE */
	uint32_t flags;		/* enum worker_flag */
	uint64_t start_ns;
	struct endpoint peer;
	struct endpoint local;
};

/* Want of a resource (descriptors, memory, processes): no accept before the deadline or a reap. */
struct starvation {
	uint64_t retry_ns;	/* 0: not starved, a reap or the loop's clock set it back */
	uint64_t report_ns;	/* no event before that time */
	uint32_t count;		/* since the last event */
	int error;
};

/* What is known of the worker of a slot beside the table. No worker inherits it. */
struct holder {
	uint64_t proof;		/* as in struct worker_call */
	uint32_t source;	/* node in sources, SOURCES_NONE */
};

#define RANDOM_WORDS 32u	/* as much as getrandom(2) always gives at once */

struct listener {
	const struct settings *settings;
	struct table *table;
	struct slot *shared;		/* the workers' slots; untrusted */
	const _Atomic uint64_t *commands;	/* one for each slot, the supervisor writes them */
	struct lean lean;		/* where workers live */
	uint32_t worker_flags;		/* enum worker_flag, of every worker */
	int missing_filter;		/* errno of the seccomp filter that it goes without, or 0 */
	int channel_fd;			/* -1: the supervisor is gone */
	int signal_fd;			/* the ends of workers, one record each */
	int sockets[SETTINGS_MAX_SOCKETS];
	bool is_multipath[SETTINGS_MAX_SOCKETS];	/* of each, see accept_is_multipath() */

	uint64_t next_id;
	uint32_t live;			/* as table->live */
	bool is_stopping;
	bool is_at_limit;		/* EVENT_LIMIT was sent */
	struct connection pending;	/* accepted, waits for a worker */
	struct starvation starvation;
	uint64_t sweep_ns;		/* next look for ends that no signal has told */

	struct slots slots;
	struct holder *holders;		/* of each slot */
	uint64_t *random;		/* RANDOM_WORDS, for the proofs of workers */
	uint32_t random_left;
	struct sources sources;
};

#endif
