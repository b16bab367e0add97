/* SPDX-License-Identifier: MIT */
/* The listening sockets: passed by systemd, or bound here. */
#ifndef ECHOD_SOCKETS_SOCKETS_H
#define ECHOD_SOCKETS_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/address.h"
#include "echod/configuration/configuration.h"
#include "echod/sockets/unix.h"
#include "wire/settings.h"

#define SOCKETS_BACKLOG 4096	/* the kernel caps it at net.core.somaxconn */

struct listening_socket {
	int fd;				/* close-on-exec, non-blocking, owned */
	char text[ADDRESS_TEXT_MAX];	/* the bound address with the chosen port */
	bool is_any_port;		/* listen has port 0: the kernel chose this one */
	char *unix_path;		/* owned; NULL unless a Unix socket */
	struct unix_file file;		/* the file that was there when it was bound */
	bool is_dual;			/* an IPv6 socket that takes IPv4 too */
	bool is_local;			/* no other host can reach it */
	struct settings_socket wire;
};

struct sockets {
	struct listening_socket *items;
	size_t count;
	bool passed;			/* from systemd: listen is ignored */
};

/* The address in the form for the listener; a Unix one has only its family. */
struct settings_socket sockets_wire_address(const struct sockaddr *address, bool is_datagram);

/* Whether item is bound to the address, or to a port that was chosen for it. */
bool sockets_has_address(const struct listening_socket *item, const struct address *address);

/*
 * Adds fd, which the set owns from now on (it is closed even on failure); its text and address come
 * from getsockname(2). Returns 0, -ENOMEM, -E2BIG above SETTINGS_MAX_SOCKETS, or -errno.
 */
int sockets_add(struct sockets *sockets, int fd, bool is_any_port);

/*
 * Takes the sockets that systemd passed, each checked to be a listening stream socket or a UDP
 * socket (sd_is_socket(3)), logging what is wrong with one. Returns their count in *ret_sockets
 * (0: none were passed), or -errno.
 */
int sockets_take_passed(struct sockets *ret_sockets);

/*
 * Binds the addresses of listen. A socket of previous (may be NULL) that has the wanted address, or
 * a port that was chosen for it, is taken over by dup(2) and not bound again, unless it is a Unix
 * socket whose file is gone. Logs each failure ("ADDRESS: bind: Permission denied"), then returns
 * -errno and owns nothing. Settings that workers inherit (TCP_NODELAY, keep-alive, timeouts) are
 * the caller's.
 */
int sockets_bind(const struct configuration *configuration, const struct sockets *previous,
		 struct sockets *ret_sockets);

/*
 * Tries whether a start could bind the addresses of listen and the control socket, without their
 * ports, and makes no file. Reports each that it could not ("listen: ADDRESS: No such device").
 * What only another user may do is no fault. Returns 0 or -errno.
 */
int sockets_try(const struct configuration *configuration, configuration_report_fn report,
		void *context);

/*
 * Options that accepted TCP connections inherit (tcp(7)): TCP_NODELAY, SO_KEEPALIVE and its
 * times, TCP_USER_TIMEOUT after timeouts.stall. SO_RCVTIMEO and SO_SNDTIMEO are the listener's.
 * And those by which the kernel tells of a datagram what its answer needs (udp(7), ip(7), ipv6(7)).
 * Returns 0 or -errno.
 */
int sockets_apply_options(const struct sockets *sockets,
			   const struct configuration *configuration);

/*
 * True if passed sockets are not those that listen names (and listen is set); *ret_text, which the
 * caller frees, says the difference.
 */
bool sockets_differ(const struct sockets *sockets, const struct configuration *configuration,
		    char **ret_text);

/*
 * The socket with the same address as item, of Unix sockets the one with the same file; NULL: none.
 */
const struct listening_socket *sockets_find(const struct sockets *sockets,
					    const struct listening_socket *item);

/* Whether fd is a socket of UDP. */
bool sockets_is_udp(int fd);

/* Whether one of them is for UDP. */
bool sockets_have_datagrams(const struct sockets *sockets);

/*
 * Datagrams for which there was no room in the buffer of one of them: SO_MEMINFO, see ss(8), "d".
 * but: without those that are in this set, too; NULL: all.
 */
uint64_t sockets_kernel_drops(const struct sockets *sockets, const struct sockets *but);

/*
 * Closes all. Removes the files of Unix sockets, except those of passed sockets, of sockets in kept
 * (NULL: none), and files that somebody else has put in their place.
 */
void sockets_release(struct sockets *sockets, const struct sockets *kept);

#endif
