/* SPDX-License-Identifier: MIT */
/* The drop-in that makes echod.socket listen where echod.conf says. */
#ifndef ECHOD_SYSTEMD_DROP_IN_H
#define ECHOD_SYSTEMD_DROP_IN_H

#include <stdbool.h>

#include "echod/configuration/configuration.h"

/* What brings a changed listen key into force where systemd owns the sockets. */
#define DROP_IN_COMMANDS "systemctl daemon-reload && systemctl restart echod.socket"

/* Where it is, in the folder that systemd gives to its generators (systemd.generator(7)). */
#define DROP_IN_FOLDER "echod.socket.d"
#define DROP_IN_PATH DROP_IN_FOLDER "/50-echod-conf.conf"

/*
 * Makes the drop-in (systemd.socket(5)) for the configured addresses: ListenStream= for each,
 * in place of the unit's own. "localhost" and "*" stand for both families, IPv6 only if the kernel
 * has it. An address that has no place in a unit is reported (report may be NULL) and left out.
 * Returns the number of addresses in the text, which the caller frees; 0: there is none.
 */
unsigned drop_in_make(const struct configuration *configuration, configuration_report_fn report,
		      void *context, char **ret_text);

/* Whether systemd has read what drop_in_make() makes now; nothing if listen is not set. */
bool drop_in_is_read(const struct configuration *configuration);

#endif
