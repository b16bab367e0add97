/* SPDX-License-Identifier: MIT */
/* Binds the addresses of listen, or takes over sockets that are bound already. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/log/log.h"
#include "echod/sockets/sockets.h"
#include "wire/endpoint.h"

#define UNIX_MODE 0666	/* a public service, as 127.0.0.1 is; the folder decides who may connect */

/*
 * Returns a listening socket that the caller owns, or -errno and in *ret_call the call that failed.
 * protocol: of socket(2), unless it is a Unix socket.
 */
static int bind_address(const struct address *address, int protocol, bool is_dual,
			const char **ret_call)
{
	const int type = address->is_datagram ? SOCK_DGRAM : SOCK_STREAM;
	/* with that option UDP ports can be had twice */
	int reuse = !address->is_datagram, v6only = !is_dual;
	FD_CLEANUP int fd = -1;

	if (address->any.sa_family == AF_UNIX)
		return unix_listen(address->un.sun_path, UNIX_MODE, (gid_t)-1, ret_call);
	*ret_call = "socket";
	fd = socket(address->any.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0)
		return -errno;
	*ret_call = "bind";
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)) < 0 ||
	    (address->any.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0) ||
	    bind(fd, &address->any, address->length) < 0)
		return -errno;
	*ret_call = "listen";
	if (!address->is_datagram && listen(fd, SOCKETS_BACKLOG) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* One element of listen on its way to sockets. */
struct element {
	struct sockets *sockets;
	const struct sockets *previous;		/* may be NULL */
	const struct configured_address *wanted;
	int protocol;
};

static bool is_any_port(const struct address *address)
{
	return address->any.sa_family != AF_UNIX && address->in.sin_port == 0;
}

static bool is_bound(const struct sockets *sockets, const struct address *address)
{
	for (size_t i = 0; sockets && i < sockets->count; i++)
		if (sockets_has_address(&sockets->items[i], address))
			return true;
	return false;
}

/* Whether another element has this address already; 0.0.0.0 may be part of [::]. */
static bool is_served(const struct sockets *sockets, const struct address *address)
{
	struct settings_socket wire = sockets_wire_address(&address->any, address->is_datagram);

	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->items[i].is_dual && sockets->items[i].wire.port == wire.port &&
		    sockets->items[i].wire.type == wire.type && wire.family == ENDPOINT_INET &&
		    wire.wildcard)
			return true;
	return is_bound(sockets, address);
}

/* Whether peers can still connect: a Unix socket needs its file. */
static bool is_still_there(const struct listening_socket *item)
{
	return !item->unix_path || unix_is_same(unix_find(item->unix_path), item->file);
}

/* The socket to take over for the address; NULL: none. */
static const struct listening_socket *find_previous(const struct element *element,
						    const struct address *address, bool is_dual)
{
	const struct sockets *previous = element->previous;
	/*
	 * a socket for one family or for both serves a wildcard, but a chosen port must be the same
	 * for IPv4
	 */
	bool is_either = element->wanted->spec.is_wildcard && !is_any_port(address);

	for (size_t i = 0; previous && i < previous->count; i++) {
		const struct listening_socket *item = &previous->items[i];

		if (sockets_has_address(item, address) && (is_either || item->is_dual == is_dual) &&
		    is_still_there(item) && !sockets_find(element->sockets, item))
			return item;
	}
	return NULL;
}

/* True if this host has no address of that family. */
static bool is_absent(int error)
{
	return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static bool is_multipath(int fd)
{
	int protocol = 0;
	socklen_t length = sizeof(protocol);

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
	       protocol == IPPROTO_MPTCP;
}

/*
 * Returns a socket for the address that the caller owns, or -errno and in *ret_call the call that
 * failed.
 */
static int get_socket(const struct element *element, const struct address *address, bool is_dual,
		      const char **ret_call)
{
	const struct listening_socket *item = find_previous(element, address, is_dual);
	int fd;

	if (!item)
		return bind_address(address, element->protocol, is_dual, ret_call);
	if (!item->unix_path && is_multipath(item->fd) != (element->protocol == IPPROTO_MPTCP))
		log_warning("%s: with or without MPTCP takes effect at the next start",
			    element->wanted->text);
	*ret_call = "dup";
	fd = fcntl(item->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* Binds one address, or takes it over. Logs a failure. */
static int add_address(const struct element *element, const struct address *address, bool is_dual,
		       bool may_be_absent)
{
	const char *wanted = element->wanted->text;
	char text[ADDRESS_TEXT_MAX];
	const char *call;
	int r;

	if (!is_any_port(address) && is_served(element->sockets, address))
		return 0;
	r = get_socket(element, address, is_dual, &call);
	if (r >= 0)
		r = sockets_add(element->sockets, r, is_any_port(address));
	if (r == 0 || r == -E2BIG)
		return r;
	address_format(&address->any, address->length,
		       stpcpy(text, address->is_datagram ? "udp:" : ""));
	if (may_be_absent && is_absent(r))	/* logged once, not at every reload */
		log_errno(element->previous ? LOG_DEBUG : LOG_NOTICE, r, "%s: without %s: %s",
			  wanted, text, call);
	else if (strcmp(text, wanted) == 0)
		log_errno(LOG_ERR, r, "%s: %s", text, call);
	else
		log_errno(LOG_ERR, r, "%s (%s): %s", wanted, text, call);
	return r;
}

/*
 * A wildcard is one socket for both families, [::], or 0.0.0.0 if IPv6 is absent. It is two sockets
 * if one of them is already bound for its family alone. localhost gets a socket for each of its
 * addresses; one may be absent if the other is there.
 */
static int add_element(const struct element *element)
{
	const struct address_spec *spec = &element->wanted->spec;
	struct address addresses[ADDRESS_EXPAND_MAX];
	int count = address_expand(spec, addresses);
	bool is_apart = spec->is_wildcard && spec->port != 0 &&
			(is_bound(element->sockets, &addresses[1]) ||
			 is_bound(element->previous, &addresses[1]));
	bool is_dual = spec->is_wildcard && !is_apart;
	bool is_there = false;
	int r = addresses[0].any.sa_family == AF_INET6 ?
			address_scope(spec, &addresses[0].in6.sin6_scope_id) : 0;

	if (r < 0) {
		log_errno(LOG_ERR, r, "%s", element->wanted->text);
		return r;
	}
	for (int i = 0; i < count; i++) {
		r = add_address(element, &addresses[i], is_dual && i == 0,
				is_there || i + 1 < count);
		if (r < 0 && !is_absent(r))
			return r;
		is_there |= r == 0;
		/* the other family needs the same port */
		if (r == 0 && is_dual && spec->port == 0)
			break;
	}
	return is_there ? 0 : r;
}

/* The protocol of sockets for MPTCP: plain TCP if the kernel has none, which is logged. */
static int find_multipath_protocol(const struct configuration *configuration)
{
	FD_CLEANUP int fd = -1;
	const char *wanted = NULL;

	for (size_t i = 0; i < configuration->listen_count; i++)
		if (configuration->listen[i].spec.is_multipath)
			wanted = configuration->listen[i].text;
	if (!wanted)
		return 0;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	if (fd >= 0)
		return IPPROTO_MPTCP;
	log_errno(LOG_NOTICE, errno, "%s: plain TCP, MPTCP is not available", wanted);
	return 0;
}

int sockets_bind(const struct configuration *configuration, const struct sockets *previous,
		 struct sockets *ret_sockets)
{
	int multipath = find_multipath_protocol(configuration);
	struct sockets sockets = {0};
	int r = 0;

	assert(configuration->listen_count > 0 && ret_sockets);
	for (size_t i = 0; i < configuration->listen_count; i++) {
		const struct configured_address *wanted = &configuration->listen[i];
		const struct element element = {&sockets, previous, wanted,
						wanted->spec.is_multipath ? multipath : 0};
		int one = add_element(&element);

		if (r == 0)
			r = one;
		if (one == -E2BIG) {
			log_error("%s: more than %u addresses in all",
				  wanted->text, SETTINGS_MAX_SOCKETS);
			break;
		}
	}
	if (r < 0) {
		sockets_release(&sockets, previous);
		return r;
	}
	*ret_sockets = sockets;
	return 0;
}

/* With another port, so that nothing is taken from whoever listens there now. */
static int try_inet(struct address address)
{
	const int type = address.is_datagram ? SOCK_DGRAM : SOCK_STREAM;
	FD_CLEANUP int fd = socket(address.any.sa_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	address.in.sin_port = 0;	/* in the same place for IPv6 */
	return bind(fd, &address.any, address.length) < 0 ? -errno : 0;
}

static int try_element(const struct configured_address *wanted)
{
	uint32_t scope = 0;
	bool is_there = false;
	int r = address_scope(&wanted->spec, &scope);

	if (wanted->spec.is_unix)
		return unix_try(wanted->addresses->un.sun_path);
	for (int i = 0; i < wanted->address_count && (r == 0 || is_absent(r)); i++) {
		struct address address = wanted->addresses[i];

		if (address.any.sa_family == AF_INET6)
			address.in6.sin6_scope_id = scope;
		r = try_inet(address);
		is_there |= r == 0;
	}
	return is_there && is_absent(r) ? 0 : r;
}

/* If root starts echod it makes the folder, too. */
static int try_control(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	size_t length = (size_t)(strrchr(path, '/') - path);
	int r = unix_try(path);

	if (r != -ENOENT || geteuid() != 0)
		return r;
	*(char *)mempcpy(folder, path, length) = '\0';
	return unix_try(folder);
}

int sockets_try(const struct configuration *configuration, configuration_report_fn report,
		void *context)
{
	const char *path = configuration->control.path;
	char line[ADDRESS_HOST_MAX + 128];
	int control = path && configuration->control.path_is_set ? try_control(path) : 0;
	int r = control;

	for (size_t i = 0; i < configuration->listen_count; i++) {
		const struct configured_address *wanted = &configuration->listen[i];
		int one = try_element(wanted);

		if (one == 0)
			continue;
		r = one;
		snprintf(line, sizeof(line), "listen: %.255s: %s", wanted->text, strerror(-one));
		report(context, line);
	}
	if (control < 0) {
		snprintf(line, sizeof(line), "control.path: %s: %s", path, strerror(-control));
		report(context, line);
	}
	return r;
}
