/* SPDX-License-Identifier: MIT */
/* What the supervisor says about itself: STATUS= for the service manager, lines for the log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "echod/log/log.h"
#include "echod/metrics/metrics.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/drop_in.h"

#define METRICS_INTERVAL_NS (15 * UINT64_C(1000000000))	/* a usual scrape interval */

uint64_t status_realtime_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * CLOCK_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

bool status_update(struct supervisor *supervisor)
{
	char text[sizeof(supervisor->status)];
	struct tally tally;
	const char *note = "";
	int size;

	totals_sum(supervisor, &tally);
	if (supervisor->ending != ENDING_NONE)
		note = "draining: ";
	else if (supervisor->is_ready && !supervisor->current)
		note = "no listener, trying again: ";
	else if (supervisor->reload_delay_said)
		note = "reload waits for an old generation: ";
	size = snprintf(text, sizeof(text), "%s%" PRIu64 " active (max %" PRIu32 "), %" PRIu64
			" served, %" PRIu64 " refused", note, tally_live(&tally),
			supervisor->configuration->limits.connections, tally_closed(&tally),
			tally_refused(&tally));
	if (tally.datagrams_received > 0)
		snprintf(text + size, sizeof(text) - (size_t)size, ", %" PRIu64 " datagrams",
			 tally.datagrams_received);
	if (!strcmp(text, supervisor->status))
		return false;
	memcpy(supervisor->status, text, sizeof(text));
	return true;
}

void status_write_metrics(struct supervisor *supervisor, uint64_t now_ns)
{
	const char *path = supervisor->configuration->metrics.file;
	int r;

	if (!path || now_ns < supervisor->metrics_ns)
		return;
	supervisor->metrics_ns = now_ns + METRICS_INTERVAL_NS;
	r = metrics_write_file(supervisor, path);
	if (r < 0 && !supervisor->metrics_failed)
		log_errno(LOG_WARNING, r, "metrics.file: %s", path);
	supervisor->metrics_failed = r < 0;
}

void status_log_totals(const struct supervisor *supervisor)
{
	struct tally tally;

	totals_sum(supervisor, &tally);

	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{"active", tally_live(&tally)},
		{"accepted", tally.accepted},
		{"closed", tally_closed(&tally)},
		{"refused", tally_refused(&tally)},
		{"empty", tally.empty},
		{"bytes-in", tally.bytes_in},
		{"bytes-out", tally.bytes_out},
		{"generations", totals_generations(supervisor)},
		{"restarts", supervisor->listener_restarts},
		{"uptime-s", (clock_now_ns() - supervisor->started_ns) / CLOCK_NS_PER_S},
	};
	struct log_record record;

	log_record_begin(&record, LOG_INFO, "totals");
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		log_record_add(&record, fields[i].name, "%" PRIu64, fields[i].value);
	log_record(&record);
}

void status_compare_listen(const struct supervisor *supervisor)
{
	const struct options *options = supervisor->options;
	char *difference = NULL;

	if (!sockets_differ(&supervisor->sockets, supervisor->configuration, &difference))
		return;
	/* the generator, which makes the socket unit follow the file, does not know -l */
	if (options->listen_count > 0)
		log_warning("-l is ignored, systemd passed other sockets (%s); \"systemctl "
			    "edit echod.socket && systemctl restart echod.socket\" changes them",
			    difference);
	else
		log_warning("%s: listen is ignored, systemd passed other sockets (%s); "
			    "\"" DROP_IN_COMMANDS "\" brings it into force",
			    options->configuration_path, difference);
	free(difference);
}
