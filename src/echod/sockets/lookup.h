/* SPDX-License-Identifier: MIT */
/* The names in a configuration, looked up beside the event loop: that may take its time. */
#ifndef ECHOD_SOCKETS_LOOKUP_H
#define ECHOD_SOCKETS_LOOKUP_H

#include <stdbool.h>

#include "echod/configuration/configuration.h"
#include "echod/sockets/sockets.h"

struct lookup;
struct resolved;
struct sd_event;

/* What need not be asked again. */
struct lookup_known {
	const struct sockets *sockets;	/* for elements of listen; NULL: listen does not count */
	const char *group;		/* of the control socket; NULL: none */
};

/*
 * Asks a child of its own for what listen and control.group name and is not known. *ret_lookup is
 * NULL when there is nothing to ask. The configuration must live as long. The loop is woken when
 * the child has ended, or was ended because it took longer than LOOKUP_DEADLINE_S. Returns 0 or
 * -errno.
 */
#define LOOKUP_DEADLINE_S 20u
int lookup_start(struct sd_event *loop, const struct configuration *configuration,
		 const struct lookup_known *known, struct lookup **ret_lookup);

bool lookup_is_over(const struct lookup *lookup);

/*
 * What was found for the index-th element of listen, as sockets_resolve() would say it; one that
 * was not asked about is one that needs no look-up.
 */
int lookup_answer(const struct lookup *lookup, size_t index, struct resolved *ret_resolved,
		  const char **ret_why);

/* 0 when the group exists or was not asked for, else -errno; *ret_why lives as the lookup does. */
int lookup_group(const struct lookup *lookup, const char **ret_why);

/* Ends the child too. Returns NULL. */
struct lookup *lookup_free(struct lookup *lookup);

#endif
