/* SPDX-License-Identifier: MIT */
/* What makes echod.socket, and echod-udp.socket beside it, listen where echod.conf says. */
#ifndef ECHOD_SYSTEMD_DROP_IN_H
#define ECHOD_SYSTEMD_DROP_IN_H

#include <stdbool.h>

#include "echod/configuration/configuration.h"

/* The commands that put a changed listen into force if systemd owns the sockets. */
#define DROP_IN_COMMANDS "systemctl daemon-reload && systemctl restart echod.socket"

enum drop_in_file {
	DROP_IN_STREAM,		/* a drop-in of echod.socket */
	DROP_IN_DATAGRAM,	/* echod-udp.socket, the whole unit */
	DROP_IN_FILES
};

/* Where they are, in the folder that systemd gives to its generators (systemd.generator(7)). */
extern const char *const drop_in_paths[DROP_IN_FILES];

/*
 * Makes one (systemd.socket(5)) for the configured addresses: ListenStream= for each, in place of
 * the unit's own, or ListenDatagram=. "localhost" and "*" stand for both families, IPv6 only if
 * the kernel has it. An address that has no place in a unit is reported (report may be NULL) and
 * left out. Returns a text that the caller frees; NULL: there is no address for it.
 */
char *drop_in_make(const struct configuration *configuration, enum drop_in_file file,
		   configuration_report_fn report, void *context);

/* Whether systemd has read what drop_in_make() makes now; nothing if listen is not set. */
bool drop_in_is_read(const struct configuration *configuration);

#endif
