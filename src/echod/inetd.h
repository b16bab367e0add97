/* SPDX-License-Identifier: MIT */
/* echod --inetd: one connection, already accepted by inetd(8) or systemd (Accept=yes). */
#ifndef ECHOD_INETD_H
#define ECHOD_INETD_H

#include "echod/configuration/configuration.h"

/*
 * Takes the connection from descriptor 0 and puts /dev/null in its place, on standard output
 * and error too where they are the same socket: nothing that echod prints reaches the peer.
 * To be called first. Returns the descriptor, which the caller owns, or -errno (-ENOTSOCK,
 * -EPROTOTYPE, -ENOTCONN, -EAFNOSUPPORT: descriptor 0 is no connected stream socket).
 */
int inetd_take_connection(void);

/*
 * Serves the connection through a listener program of its own and logs its end; both are owned
 * from now on. Returns 0, or -errno when it could not be served (logged).
 */
int inetd_serve(struct configuration *configuration, int connection_fd);

#endif
