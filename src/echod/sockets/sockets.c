/* SPDX-License-Identifier: MIT */
/* The set of listening sockets: filled, given its options, released. */
#include "echod/sockets/sockets.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/log/log.h"
#include "wire/endpoint.h"

/* A peer that vanished without a word is found after idle + count * interval: two minutes. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT 4

struct settings_socket sockets_wire_address(const struct sockaddr *address)
{
	struct settings_socket wire = {0};
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (address->sa_family == AF_UNIX) {
		wire.family = ENDPOINT_UNIX;
	} else if (address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		wire.family = ENDPOINT_INET;
		wire.wildcard = in.sin_addr.s_addr == htonl(INADDR_ANY);
		wire.port = ntohs(in.sin_port);
		memcpy(wire.address, &in.sin_addr, sizeof(in.sin_addr));
	} else {
		memcpy(&in6, address, sizeof(in6));
		wire.family = ENDPOINT_INET6;
		wire.wildcard = IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr);
		wire.port = ntohs(in6.sin6_port);
		wire.scope = in6.sin6_scope_id;
		memcpy(wire.address, &in6.sin6_addr, sizeof(in6.sin6_addr));
	}
	return wire;
}

static bool takes_ipv4_too(int fd)
{
	int is_v6only = 1;
	socklen_t length = sizeof(is_v6only);

	return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_v6only, &length) == 0 && !is_v6only;
}

int sockets_add(struct sockets *sockets, int fd, bool is_any_port)
{
	FD_CLEANUP int owned_fd = fd;
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	} address = {0};
	socklen_t length = sizeof(address);
	struct listening_socket item = {.fd = fd, .is_any_port = is_any_port};
	struct listening_socket *items;

	assert(fd >= 0);
	if (sockets->count == SETTINGS_MAX_SOCKETS)
		return -E2BIG;
	if (getsockname(fd, &address.any, &length) < 0)
		return -errno;
	items = reallocarray(sockets->items, sockets->count + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	sockets->items = items;
	item.wire = sockets_wire_address(&address.any);
	item.is_dual = item.wire.family == ENDPOINT_INET6 && takes_ipv4_too(fd);
	address_format(&address.any, length, item.text);
	if (item.wire.family == ENDPOINT_UNIX) {
		item.unix_path = strdup(item.text + strlen("unix:"));
		if (!item.unix_path)
			return -ENOMEM;
		item.file = unix_find(item.unix_path);
	}
	items[sockets->count++] = item;
	fd_steal(&owned_fd);
	return 0;
}

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int apply_to_tcp(int fd, const struct configuration *configuration)
{
	const struct {
		int level;
		int option;
		int value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
		{IPPROTO_TCP, TCP_USER_TIMEOUT,
		 (int)settings_user_timeout_ms(configuration->timeouts.stall_us)},
	};
	int r;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		r = set_option(fd, options[i].level, options[i].option, options[i].value);
		/* MPTCP knows fewer: workers set those of the connections */
		if (r < 0 && r != -ENOPROTOOPT && r != -EOPNOTSUPP)
			return r;
	}
	return 0;
}

int sockets_apply_timeouts(const struct sockets *sockets,
			   const struct configuration *configuration)
{
	int r;

	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->items[i].wire.family == ENDPOINT_UNIX)
			continue;
		r = apply_to_tcp(sockets->items[i].fd, configuration);
		if (r < 0)
			return r;
	}
	return 0;
}

const struct listening_socket *sockets_find(const struct sockets *sockets,
					    const struct listening_socket *item)
{
	for (size_t i = 0; i < sockets->count; i++) {
		const struct listening_socket *found = &sockets->items[i];

		if (strcmp(found->text, item->text) == 0 &&
		    (!item->unix_path || unix_is_same(found->file, item->file)))
			return found;
	}
	return NULL;
}

void sockets_release(struct sockets *sockets, const struct sockets *kept)
{
	for (size_t i = 0; i < sockets->count; i++) {
		struct listening_socket *item = &sockets->items[i];

		/* first the file: when the socket is closed another one may have its number */
		if (item->unix_path && !sockets->passed && !(kept && sockets_find(kept, item)))
			unix_remove(item->unix_path, item->file);
		fd_close(item->fd);
		free(item->unix_path);
	}
	free(sockets->items);
	*sockets = (struct sockets){0};
}
