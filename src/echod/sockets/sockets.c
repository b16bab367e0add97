/* SPDX-License-Identifier: MIT */
/*
 * The set of listening sockets: takes those of systemd, sets options, compares with listen,
 * releases.
 */
#include "echod/sockets/sockets.h"

#include <assert.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/fd.h"
#include "echod/log/log.h"
#include "wire/endpoint.h"

/* A peer that vanished silently is found after idle + count * interval: two minutes. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT 4

struct settings_socket sockets_wire_address(const struct sockaddr *address, bool is_datagram)
{
	static const uint8_t any[16];
	struct settings_socket wire = {0};
	struct endpoint endpoint;

	endpoint_set(&endpoint, (const void *)address);
	wire.family = endpoint.family;
	wire.wildcard = endpoint.family != ENDPOINT_UNIX &&
			memcmp(endpoint.address, any, sizeof(any)) == 0;
	wire.port = endpoint.port;
	wire.scope = endpoint.scope;
	wire.type = is_datagram ? SETTINGS_DATAGRAM : SETTINGS_STREAM;
	memcpy(wire.address, endpoint.address, sizeof(wire.address));
	return wire;
}

bool sockets_has_address(const struct listening_socket *item, const struct address *address)
{
	struct settings_socket wire = sockets_wire_address(&address->any, address->is_datagram);

	if (wire.port == 0 && item->is_any_port)
		wire.port = item->wire.port;
	return memcmp(&item->wire, &wire, sizeof(wire)) == 0 &&
	       (!item->unix_path || strcmp(item->unix_path, address->un.sun_path) == 0);
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
	struct listening_socket item = { .fd = fd, .is_any_port = is_any_port };
	struct listening_socket *items;
	bool is_datagram;

	assert(sockets && fd >= 0);
	if (sockets->count == SETTINGS_MAX_SOCKETS)
		return -E2BIG;
	if (getsockname(fd, &address.any, &length) < 0)
		return -errno;
	is_datagram = sd_is_socket(fd, AF_UNSPEC, SOCK_DGRAM, -1) > 0;
	items = reallocarray(sockets->items, sockets->count + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	sockets->items = items;
	item.wire = sockets_wire_address(&address.any, is_datagram);
	item.is_dual = item.wire.family == ENDPOINT_INET6 && takes_ipv4_too(fd);
	item.is_local = address_is_local(&address.any);
	address_format(&address.any, length, item.text + (is_datagram ? strlen("udp:") : 0));
	if (is_datagram)
		memcpy(item.text, "udp:", strlen("udp:"));
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

struct option {
	int level;
	int name;
	int value;
};

/*
 * MPTCP has fewer options: workers set those of the connections. Nor has an IPv4 socket those of
 * IPv6.
 */
static int set_options(int fd, const struct option *options, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			       sizeof(options[i].value)) < 0 &&
		    errno != ENOPROTOOPT && errno != EOPNOTSUPP)
			return -errno;
	}
	return 0;
}

static int apply_to_udp(int fd)
{
	static const struct option options[] = {
		{SOL_SOCKET, SO_BROADCAST, 0},	/* no forged source sends an answer to all */
		{IPPROTO_IP, IP_PKTINFO, 1},
		{IPPROTO_IP, IP_RECVTOS, 1},
		{IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
		{IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
		{IPPROTO_UDP, UDP_GRO, 1},
	};

	return set_options(fd, options, sizeof(options) / sizeof(options[0]));
}

static int apply_to_tcp(int fd, const struct configuration *configuration)
{
	const struct option options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
		{IPPROTO_TCP, TCP_USER_TIMEOUT,
		 (int)settings_user_timeout_ms(configuration->timeouts.stall_us)},
	};

	return set_options(fd, options, sizeof(options) / sizeof(options[0]));
}

int sockets_apply_options(const struct sockets *sockets, const struct configuration *configuration)
{
	int r = 0;

	assert(sockets && configuration);
	for (size_t i = 0; i < sockets->count && r == 0; i++) {
		const struct listening_socket *item = &sockets->items[i];

		if (item->wire.type == SETTINGS_DATAGRAM)
			r = apply_to_udp(item->fd);
		else if (item->wire.family != ENDPOINT_UNIX)
			r = apply_to_tcp(item->fd, configuration);
	}
	return r;
}

bool sockets_have_datagrams(const struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->items[i].wire.type == SETTINGS_DATAGRAM)
			return true;
	}
	return false;
}

uint64_t sockets_kernel_drops(const struct sockets *sockets, const struct sockets *but)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < sockets->count; i++) {
		uint32_t memory[SK_MEMINFO_VARS] = {0};
		socklen_t length = sizeof(memory);

		if (sockets->items[i].wire.type == SETTINGS_DATAGRAM &&
		    !(but && sockets_find(but, &sockets->items[i])) &&
		    getsockopt(sockets->items[i].fd, SOL_SOCKET, SO_MEMINFO, memory, &length) == 0)
			sum += memory[SK_MEMINFO_DROPS];
	}
	return sum;
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

		/* the file first: after the socket is closed another file may get its inode */
		if (item->unix_path && !sockets->passed && !(kept && sockets_find(kept, item)))
			unix_remove(item->unix_path, item->file);
		fd_close(item->fd);
		free(item->unix_path);
	}
	free(sockets->items);
	*sockets = (struct sockets){0};
}

bool sockets_is_udp(int fd)
{
	int protocol = 0;
	socklen_t length = sizeof(protocol);

	return (sd_is_socket(fd, AF_INET, SOCK_DGRAM, -1) > 0 ||
		sd_is_socket(fd, AF_INET6, SOCK_DGRAM, -1) > 0) &&
	       getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
	       protocol == IPPROTO_UDP;
}

/* Why a passed descriptor cannot be used, as a phrase; NULL when it can. */
static const char *find_fault(int fd)
{
	struct sockaddr peer;
	socklen_t length = sizeof(peer);

	if (sd_is_socket(fd, AF_UNSPEC, 0, -1) <= 0)
		return "not a socket";
	if (sockets_is_udp(fd))
		return getpeername(fd, &peer, &length) == 0 ? "a connected UDP socket" : NULL;
	if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, -1) <= 0)
		return "neither a stream nor a UDP socket (use ListenStream=, ListenDatagram=)";
	if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
		return "not a listening socket (use Accept=no, or echod --inetd)";
	if (sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) <= 0 &&
	    sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) <= 0 &&
	    sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0)
		return "neither IPv4 nor IPv6 nor Unix";
	return NULL;
}

/* Takes one passed socket; fd is owned by the set or closed. */
static int take_one(struct sockets *sockets, int fd, int index, const char *name)
{
	const char *fault = find_fault(fd);
	int r;

	if (fault) {
		log_error("passed socket %d (%s): %s", index, name, fault);
		fd_close(fd);
		return -EINVAL;
	}
	r = fd_set_nonblocking(fd, true);
	if (r < 0)
		fd_close(fd);
	else
		r = sockets_add(sockets, fd, false);
	if (r == -E2BIG)
		log_error("passed socket %d (%s): more than %u", index, name, SETTINGS_MAX_SOCKETS);
	else if (r < 0)
		log_errno(LOG_ERR, r, "passed socket %d (%s)", index, name);
	return r;
}

int sockets_take_passed(struct sockets *ret_sockets)
{
	struct sockets sockets = {0};
	char **names = NULL;
	int count, r = 0;

	assert(ret_sockets);
	/* it sets close-on-exec */
	count = sd_listen_fds_with_names(1, &names);
	if (count < 0) {
		log_errno(LOG_ERR, count, "the sockets passed in LISTEN_FDS");
		return count;
	}
	for (int i = 0; i < count; i++) {
		int one = take_one(&sockets, SD_LISTEN_FDS_START + i, i, names[i]);

		if (r == 0)
			r = one;
		free(names[i]);
	}
	free(names);
	sockets.passed = count > 0;
	if (r < 0)
		sockets_release(&sockets, NULL);
	else
		*ret_sockets = sockets;
	return r;
}

/* Whether an element of listen stands for a passed socket. */
static bool names(const struct configured_address *element, const struct listening_socket *item)
{
	for (int i = 0; i < element->address_count; i++) {
		struct address address = element->addresses[i];
		bool is_inet6 = address.any.sa_family == AF_INET6;

		if (!element->spec.is_unix && element->spec.port == 0)
			address.in.sin_port = htons(item->wire.port);
		/* an interface that is not visible here (PrivateNetwork=) may be any */
		if (is_inet6 && address_scope(&element->spec, &address.in6.sin6_scope_id) < 0)
			address.in6.sin6_scope_id = item->wire.scope;
		if (sockets_has_address(item, &address))
			return true;
	}
	return false;
}

/* Writes a list with its lead before the first element. */
static void write_next(FILE *stream, const char **lead, const char *text)
{
	fprintf(stream, "%s%s", *lead, text);
	*lead = ", ";
}

bool sockets_differ(const struct sockets *sockets, const struct configuration *configuration,
		    char **ret_text)
{
	const struct configured_address *listen = configuration->listen;
	const char *lead = "not passed: ";
	bool is_named[SETTINGS_MAX_SOCKETS] = {0}, is_complete = true;
	char *text = NULL;
	size_t size;
	FILE *stream;

	assert(sockets && ret_text);
	if (!sockets->passed || !configuration->listen_is_set)
		return false;
	stream = open_memstream(&text, &size);
	if (!stream)
		return false;
	for (size_t i = 0; i < configuration->listen_count; i++) {
		bool is_passed = false;

		for (size_t j = 0; j < sockets->count; j++) {
			if (names(&listen[i], &sockets->items[j]))
				is_passed = is_named[j] = true;
		}
		if (!is_passed)
			write_next(stream, &lead, listen[i].text);
		is_complete &= is_passed;
	}
	lead = is_complete ? "not in listen: " : "; not in listen: ";
	for (size_t i = 0; i < sockets->count; i++) {
		if (!is_named[i])
			write_next(stream, &lead, sockets->items[i].text);
	}
	if (fclose(stream) != 0 || size == 0) {
		free(text);
		return false;
	}
	*ret_text = text;
	return true;
}
