/* SPDX-License-Identifier: MIT */
/* What the supervisor says about itself: STATUS= for the service manager, lines for the log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "echod/log/log.h"
#include "echod/state/totals.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/drop_in.h"
#include "echod/systemd/notify.h"

void status_format(const struct supervisor *supervisor, char *text, size_t size)
{
	struct tally tally;
	const char *note = "";

	totals_sum(supervisor, &tally);
	if (supervisor->ending.phase != ENDING_NONE)
		note = "draining: ";
	else if (supervisor->is_ready && !supervisor->current)
		note = "no listener, trying again: ";
	else if (supervisor->reload_delay_said)
		note = "reload waits for an old generation: ";
	snprintf(text, size, "%s%" PRIu32 " active (max %" PRIu32 "), %" PRIu64 " served, %" PRIu64
		 " refused", note, totals_live(supervisor),
		 supervisor->configuration->limits.connections, tally_closed(&tally),
		 tally_refused(&tally));
}

void status_tell(struct supervisor *supervisor)
{
	char text[sizeof(supervisor->status)];

	status_format(supervisor, text, sizeof(text));
	if (!strcmp(text, supervisor->status))
		return;
	memcpy(supervisor->status, text, sizeof(text));
	service_status(text);
}

static void field_set(struct log_field *field, char text[24], const char *name, uint64_t value)
{
	snprintf(text, 24, "%" PRIu64, value);
	*field = (struct log_field){ name, text };
}

void status_log_totals(const struct supervisor *supervisor)
{
	struct tally tally;
	struct log_field fields[10];
	char text[10][24];
	size_t n = 0;

	totals_sum(supervisor, &tally);
#define FIELD(name, value) (field_set(&fields[n], text[n], name, value), n++)
	FIELD("active", totals_live(supervisor));
	FIELD("accepted", tally.accepted);
	FIELD("closed", tally_closed(&tally));
	FIELD("refused", tally_refused(&tally));
	FIELD("empty", tally.empty);
	FIELD("bytes-in", tally.bytes_in);
	FIELD("bytes-out", tally.bytes_out);
	FIELD("generations", totals_generations(supervisor));
	FIELD("restarts", supervisor->listener_restarts);
	FIELD("uptime-s", (clock_now_ns() - supervisor->started_ns) / CLOCK_NS_PER_S);
#undef FIELD
	log_fields(LOG_INFO, "totals", fields, n);
}

void status_compare_listen(const struct supervisor *supervisor)
{
	const struct options *options = supervisor->options;
	char *difference = NULL;

	if (!sockets_differ(&supervisor->sockets, supervisor->configuration, &difference))
		return;
	/* what makes the socket unit follow the file knows nothing of a command line */
	if (options->listen_count > 0)
		log_warning("-l does not count, systemd passed other sockets (%s); \"systemctl "
			    "edit echod.socket && systemctl restart echod.socket\" changes them",
			    difference);
	else
		log_warning("%s: listen does not count, systemd passed other sockets (%s); "
			    "\"" DROP_IN_COMMANDS "\" brings it into force",
			    options->configuration_path, difference);
	free(difference);
}
