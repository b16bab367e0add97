/* SPDX-License-Identifier: MIT */
/* The drop-in that makes echod.socket listen where echod.conf says. */
#ifndef ECHOD_SYSTEMD_DROP_IN_H
#define ECHOD_SYSTEMD_DROP_IN_H

#include <stdbool.h>
#include <stdio.h>

#include "echod/configuration/configuration.h"

/* What brings a changed listen key into force where systemd owns the sockets. */
#define DROP_IN_COMMANDS "systemctl daemon-reload && systemctl restart echod.socket"

/*
 * Writes the drop-in (systemd.socket(5)) for the configured addresses: ListenStream= for each,
 * in place of the unit's own. "localhost" and "*" stand for both families, IPv6 only where
 * ipv6_available. An address that has no place in a unit is reported and left out.
 * Returns the number of addresses written; 0 means that the drop-in must not be used.
 */
size_t drop_in_write(const struct configuration *configuration, bool ipv6_available, FILE *stream,
		     configuration_report_fn report, void *context);

#endif
