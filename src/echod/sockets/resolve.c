/* SPDX-License-Identifier: MIT */
/* Names, literals and the two words that need no resolver. */
#include "echod/sockets/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

static void add(struct resolved *resolved, const void *address, size_t length)
{
	if (resolved->count == RESOLVED_MAX)
		return;
	memcpy(&resolved->items[resolved->count].address, address, length);
	resolved->items[resolved->count].length = (socklen_t)length;
	resolved->count++;
}

static void add_inet(struct resolved *resolved, in_addr_t address, uint16_t port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(address),
	};

	add(resolved, &in, sizeof(in));
}

static void add_inet6(struct resolved *resolved, struct in6_addr address, uint16_t port)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = address,
	};

	add(resolved, &in6, sizeof(in6));
}

static void add_unix(struct resolved *resolved, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	/* address_parse() lets no longer one through */
	memcpy(un.sun_path, path, strnlen(path, sizeof(un.sun_path) - 1));
	add(resolved, &un, sizeof(un));
}

static int look_up(const struct address_spec *spec, int flags, struct resolved *resolved,
		   const char **ret_why)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};
	struct addrinfo *list;
	char port[sizeof("65535")];
	int r;

	snprintf(port, sizeof(port), "%u", spec->port);
	r = getaddrinfo(spec->host, port, &hints, &list);
	if (r != 0) {
		*ret_why = r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r);
		return flags & AI_NUMERICHOST ? -ENODATA : -EADDRNOTAVAIL;
	}
	for (struct addrinfo *info = list; info != NULL; info = info->ai_next)
		if (info->ai_family == AF_INET || info->ai_family == AF_INET6)
			add(resolved, info->ai_addr, info->ai_addrlen);
	freeaddrinfo(list);
	return 0;
}

int sockets_resolve(const struct address_spec *spec, bool may_look_up,
		    struct resolved *ret_resolved, const char **ret_why)
{
	struct resolved resolved = {};
	int r;

	if (spec->is_unix) {
		add_unix(&resolved, spec->host);
	} else if (spec->is_wildcard) {
		add_inet6(&resolved, in6addr_any, spec->port);
		add_inet(&resolved, INADDR_ANY, spec->port);
	} else if (strcasecmp(spec->host, "localhost") == 0) {
		add_inet(&resolved, INADDR_LOOPBACK, spec->port);
		add_inet6(&resolved, in6addr_loopback, spec->port);
	} else {
		r = look_up(spec, may_look_up ? 0 : AI_NUMERICHOST, &resolved, ret_why);
		if (r < 0)
			return r;
	}
	*ret_resolved = resolved;
	return 0;
}
