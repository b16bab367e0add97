/* SPDX-License-Identifier: MIT */
/* How a generation comes to life: the listener program, and what it is started with. */
#ifndef ECHOD_GENERATION_LAUNCH_H
#define ECHOD_GENERATION_LAUNCH_H

#include "echod/configuration/configuration.h"
#include "echod/generation/filter.h"
#include "echod/generation/generation.h"
#include "echod/sockets/sockets.h"
#include "wire/settings.h"

/* The listener program. */
struct program {
	const char *path;	/* not owned */
	int fd;			/* owned; this program, even if another one is at the path now */
};

/*
 * LISTENERDIR/echod-listener, or $ECHOD_LISTENER (for running from a build tree; ignored in secure
 * execution, secure_getenv(3)). Opens the program that is there now, or again the one that held_fd
 * (-1: none) has open if the path cannot be walked any more (EACCES after the privileges are gone).
 * Returns 0 or -errno.
 */
int program_find_listener(int held_fd, struct program *ret_program);

void program_release(struct program *program);

struct generation_plan {
	uint64_t number;
	const struct configuration *configuration;
	const struct sockets *sockets;	/* at least one */
	const struct program *listener;
	enum settings_mode mode;
	uint32_t foreign_live;		/* live workers of the others */
};

/*
 * Starts a listener and watches its channel in loop. It has a session of its own, so that a
 * terminal's Ctrl-C reaches echod only, all signals at their defaults, an empty environment, and no
 * descriptors but those of enum listener_fd. Logs what fails. Returns 0 or -errno; the caller owns
 * the generation.
 */
int generation_start(struct sd_event *loop, const struct generation_plan *plan,
		     const struct generation_hooks *hooks, struct generation **ret_generation);

/*
 * Writes the settings of the listener as the block of wire/settings.h. The filters may be empty.
 * Returns a sealed memory file that the caller owns, or -errno.
 */
int settings_block_write(const struct generation_plan *plan,
			 const struct filter filters[FILTER_PLACES]);

#endif
