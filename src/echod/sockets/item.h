/* SPDX-License-Identifier: MIT */
/* One listening socket and the set that it stands in: what binding and taking share. */
#ifndef ECHOD_SOCKETS_ITEM_H
#define ECHOD_SOCKETS_ITEM_H

#include <stdbool.h>
#include <string.h>

#include "echod/sockets/sockets.h"
#include "wire/endpoint.h"

/* Whether it was bound for this element of listen, which shares no address with another. */
static inline bool sockets_is_for(const struct listening_socket *item, const char *text)
{
	return item->configured && strcmp(item->configured, text) == 0;
}

/* The address as it crosses the border to the listener; a Unix one has no more than its family. */
struct settings_socket sockets_wire_address(const struct sockaddr *address);

/*
 * Adds fd, which is the set's from now on (closed on failure too); its text and address come
 * from getsockname(2). configured (may be NULL) is copied. Returns 0, -ENOMEM, -E2BIG above
 * SETTINGS_MAX_SOCKETS, or -errno.
 */
int sockets_add(struct sockets *sockets, int fd, const char *configured);

#endif
