/* SPDX-License-Identifier: MIT */
/* Shows something again and again: on a terminal in place, elsewhere one block after the other. */
#ifndef ECHOCTL_DAEMON_WATCH_H
#define ECHOCTL_DAEMON_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "echoctl/daemon/client.h"

struct watch {
	struct control_client client;
	uint64_t interval_us;	/* 0: once */
	bool terminal;		/* each screen replaces the one before */
	bool entered;		/* the terminal's other screen is shown */
};

/*
 * Sends the command and calls show until it is interrupted. show reads further lines of the answer,
 * unless that is an error, and returns COMMAND_PROCEED or an exit status. Closes the client.
 * Returns an exit status, COMMAND_PROCEED for success.
 */
int watch_run(struct watch *watch, const char *command, int (*show)(struct watch *, void *),
	      void *data);

/* Shows text, which ends in a newline and is freed; NULL: no memory. Returns as show. */
int watch_show(struct watch *watch, char *text);

/* control_judge() of an error where it stays on the terminal. */
int watch_refused(struct watch *watch);

/* control_failed() where it stays on the terminal; 0 for an interrupt that ends the watch. */
int watch_failed(struct watch *watch, int error);

#endif
