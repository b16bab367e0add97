/* SPDX-License-Identifier: MIT */
/* Binding what listen says, and taking over what is bound already. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/log/log.h"
#include "echod/sockets/item.h"
#include "echod/sockets/lookup.h"
#include "echod/sockets/resolve.h"
#include "echod/sockets/sockets.h"

#define BACKLOG 4096	/* the kernel caps it at net.core.somaxconn */
#define UNIX_MODE 0666	/* a public service, as 127.0.0.1 is; the folder decides who gets there */

/* True when nobody listens on the socket file any more. What is no socket is never stale. */
static bool is_stale(const char *path, const struct sockaddr *address, socklen_t length)
{
	FD_CLEANUP int fd = -1;
	struct stat status;

	if (lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return false;
	/* non-blocking: a full backlog must not hold us, and proves that somebody listens */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, address, length) < 0 && errno == ECONNREFUSED;
}

static int bind_unix(int fd, const struct sockaddr *address, socklen_t length, mode_t mode)
{
	struct sockaddr_un un;

	memcpy(&un, address, sizeof(un));
	if (bind(fd, address, length) < 0) {
		if (errno != EADDRINUSE)
			return -errno;
		if (!is_stale(un.sun_path, address, length))
			return -EADDRINUSE;
		if (unlink(un.sun_path) < 0 || bind(fd, address, length) < 0)
			return -errno;
	}
	return chmod(un.sun_path, mode) < 0 ? -errno : 0;
}

static int bind_tcp(int fd, const struct sockaddr *address, socklen_t length, bool is_dual)
{
	int on = 1, v6only = !is_dual;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (address->sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0)
		return -errno;
	return bind(fd, address, length) < 0 ? -errno : 0;
}

/* A listening socket of the caller's or -errno, then *ret_call is the call that failed. */
static int bind_address(const struct sockaddr *address, socklen_t length, bool is_dual,
			const char **ret_call)
{
	FD_CLEANUP int fd = -1;
	int r;

	*ret_call = "socket";
	fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	*ret_call = "bind";
	if (address->sa_family == AF_UNIX)
		r = bind_unix(fd, address, length, UNIX_MODE);
	else
		r = bind_tcp(fd, address, length, is_dual);
	if (r < 0)
		return r;
	*ret_call = "listen";
	if (listen(fd, BACKLOG) < 0)
		return -errno;
	return fd_steal(&fd);
}

int sockets_listen_unix(const char *path, mode_t mode)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	FD_CLEANUP int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	r = bind_unix(fd, (const struct sockaddr *)&address, sizeof(address), mode);
	if (r < 0)
		return r;
	return listen(fd, BACKLOG) < 0 ? -errno : fd_steal(&fd);
}

static const struct listening_socket *find_same(const struct sockets *sockets,
						const struct sockaddr *address)
{
	struct settings_socket wire = sockets_wire_address(address);
	struct sockaddr_un un = {};

	if (sockets == NULL)
		return NULL;
	if (wire.family == ENDPOINT_UNIX)
		memcpy(&un, address, sizeof(un));
	else if (wire.port == 0)
		return NULL;
	for (size_t i = 0; i < sockets->count; i++) {
		if (memcmp(&sockets->items[i].wire, &wire, sizeof(wire)) != 0)
			continue;
		if (wire.family != ENDPOINT_UNIX ||
		    strcmp(sockets->items[i].unix_path, un.sun_path) == 0)
			return &sockets->items[i];
	}
	return NULL;
}

static int take_over(struct sockets *sockets, const struct listening_socket *item,
		     const char *configured)
{
	int fd = fcntl(item->fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : sockets_add(sockets, fd, configured);
}

/* One element of listen on its way to sockets. */
struct element {
	struct sockets *sockets;
	const struct sockets *previous;		/* may be NULL */
	const struct configured_address *wanted;
	bool is_shared;		/* another element before it has one of its addresses */
};

static void note_found(struct element *element, const struct listening_socket *found)
{
	element->is_shared |= !sockets_is_for(found, element->wanted->text);
}

/* Its text does not lead to all that is its own: the next time its addresses have to. */
static void forget_text(const struct element *element)
{
	for (size_t i = 0; i < element->sockets->count; i++) {
		struct listening_socket *item = &element->sockets->items[i];

		if (!sockets_is_for(item, element->wanted->text))
			continue;
		free(item->configured);
		item->configured = NULL;
	}
}

/* Takes over every socket that was bound for the same text. Returns how many, or -errno. */
static int take_over_text(struct element *element)
{
	const struct sockets *previous = element->previous;
	const struct listening_socket *found;
	int count = 0, r;

	for (size_t i = 0; previous != NULL && i < previous->count; i++) {
		if (!sockets_is_for(&previous->items[i], element->wanted->text))
			continue;
		count++;
		found = sockets_find(element->sockets, previous->items[i].text);
		if (found != NULL) {
			note_found(element, found);
			continue;
		}
		r = take_over(element->sockets, &previous->items[i], element->wanted->text);
		if (r < 0)
			return r;
	}
	return count;
}

/* The address family is there, but not on this host. */
static bool is_absent(int error)
{
	return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

/* Binds one address, or takes it over. Logs a failure. */
static int add_address(struct element *element, const struct sockaddr *address, socklen_t length,
		       bool may_be_absent)
{
	const struct listening_socket *found = find_same(element->sockets, address);
	const struct listening_socket *same = find_same(element->previous, address);
	const struct configured_address *wanted = element->wanted;
	bool is_wildcard = wanted->spec.is_wildcard;
	char text[ADDRESS_TEXT_MAX];
	const char *call = "dup";
	int fd, r;

	if (found != NULL) {
		note_found(element, found);
		return 0;
	}
	/* one that takes IPv4 too cannot be had without, nor another beside it: that is in use */
	if (same != NULL && (is_wildcard || !same->is_dual)) {
		r = take_over(element->sockets, same, wanted->text);
	} else {
		fd = bind_address(address, length, is_wildcard, &call);
		r = fd < 0 ? fd : sockets_add(element->sockets, fd, wanted->text);
	}
	if (r == 0 || r == -E2BIG)
		return r;
	address_format(address, length, text);
	if (may_be_absent && is_absent(r))
		log_errno(LOG_NOTICE, r, "%s: without %s: %s", wanted->text, text, call);
	else if (strcmp(text, wanted->text) == 0)
		log_errno(LOG_ERR, r, "%s: %s", text, call);
	else
		log_errno(LOG_ERR, r, "%s (%s): %s", wanted->text, text, call);
	return r;
}

/* Whether the socket for this address of a wildcard takes IPv4 too; a chosen port is a new one. */
static bool is_for_both(const struct sockets *sockets, const struct sockaddr *address)
{
	const struct listening_socket *item = find_same(sockets, address);

	return item == NULL || item->is_dual;
}

/*
 * A wildcard is one socket for both families, [::], or 0.0.0.0 where IPv6 is absent; both where
 * [::] is bound for IPv6 alone. Of a name each address gets its socket; one that is absent does
 * not matter when another is there.
 */
static int add_resolved(struct element *element, const struct resolved *resolved)
{
	bool is_wildcard = element->wanted->spec.is_wildcard;
	int r, result = -EADDRNOTAVAIL;

	for (size_t i = 0; i < resolved->count; i++) {
		const struct sockaddr *address = (const void *)&resolved->items[i].address;

		r = add_address(element, address, resolved->items[i].length,
				result == 0 || i + 1 < resolved->count);
		if (r == 0)
			result = 0;
		else if (!is_absent(r))
			return r;
		if (r == 0 && is_wildcard && is_for_both(element->sockets, address))
			return 0;
	}
	return result;
}

static int add_configured(struct sockets *sockets, const struct sockets *previous,
			  const struct configuration *configuration, size_t index,
			  const struct lookup *lookup)
{
	const struct configured_address *wanted = &configuration->listen[index];
	struct element element = {.sockets = sockets, .previous = previous, .wanted = wanted};
	struct resolved resolved;
	const char *why = NULL;
	int r = take_over_text(&element);

	if (r < 0 && r != -E2BIG)
		log_errno(LOG_ERR, r, "%s: dup", wanted->text);
	if (r == 0) {
		r = lookup ? lookup_answer(lookup, index, &resolved, &why) :
			     sockets_resolve(&wanted->spec, true, &resolved, &why);
		if (r < 0)
			log_error("%s: %s", wanted->text, why);
		else
			r = add_resolved(&element, &resolved);
	}
	if (element.is_shared)
		forget_text(&element);
	return r < 0 ? r : 0;
}

/* Undoes what was bound here; a path that previous has too stays. */
static void release_new(struct sockets *sockets, const struct sockets *previous)
{
	const struct listening_socket *item;

	for (size_t i = 0; i < sockets->count; i++) {
		item = &sockets->items[i];
		if (item->unix_path == NULL ||
		    (previous != NULL && sockets_find(previous, item->text) != NULL))
			continue;
		unlink(item->unix_path);
	}
	sockets_release(sockets, false);
}

int sockets_bind(const struct configuration *configuration, const struct sockets *previous,
		 const struct lookup *lookup, struct sockets *ret_sockets)
{
	struct sockets sockets = {};
	int r, result = 0;

	for (size_t i = 0; i < configuration->listen_count; i++) {
		r = add_configured(&sockets, previous, configuration, i, lookup);
		if (result == 0)
			result = r;
		if (r == -E2BIG) {
			log_error("%s: more than %u addresses in all",
				  configuration->listen[i].text, SETTINGS_MAX_SOCKETS);
			break;
		}
	}
	if (result < 0) {
		release_new(&sockets, previous);
		return result;
	}
	*ret_sockets = sockets;
	return 0;
}
