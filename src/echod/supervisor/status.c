/* SPDX-License-Identifier: MIT */
/* The supervisor in numbers: STATUS= for the service manager, totals for the log. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "echod/log/log.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

void supervisor_tally(const struct supervisor *supervisor, struct tally *ret_tally)
{
	*ret_tally = supervisor->retired;
	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_add_tally(i, ret_tally);
}

/* Not a difference of two sums: listeners write what these are made of meanwhile. */
uint32_t supervisor_foreign_live(const struct supervisor *supervisor,
				 const struct generation *generation)
{
	uint32_t live = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		live += i != generation ? generation_live(i) : 0;
	return live;
}

uint32_t supervisor_live(const struct supervisor *supervisor)
{
	return supervisor_foreign_live(supervisor, NULL);
}

unsigned supervisor_generations(const struct supervisor *supervisor)
{
	unsigned count = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		count++;
	return count;
}

void status_format(const struct supervisor *supervisor, char *text, size_t size)
{
	struct tally tally;
	const char *note = "";

	supervisor_tally(supervisor, &tally);
	if (supervisor->ending.phase != ENDING_NONE)
		note = "draining: ";
	else if (supervisor->is_ready && !supervisor->current)
		note = "no listener, trying again: ";
	else if (supervisor->reload_delay_said)
		note = "reload waits for an old generation: ";
	snprintf(text, size, "%s%" PRIu32 " active (max %" PRIu32 "), %" PRIu64 " served, %" PRIu64
		 " refused", note, supervisor_live(supervisor),
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

void supervisor_log_totals(const struct supervisor *supervisor)
{
	struct tally tally;
	struct log_field fields[10];
	char text[10][24];
	size_t n = 0;

	supervisor_tally(supervisor, &tally);
#define FIELD(name, value) (field_set(&fields[n], text[n], name, value), n++)
	FIELD("active", supervisor_live(supervisor));
	FIELD("accepted", tally.accepted);
	FIELD("closed", tally_closed(&tally));
	FIELD("refused", tally_refused(&tally));
	FIELD("empty", tally.empty);
	FIELD("bytes-in", tally.bytes_in);
	FIELD("bytes-out", tally.bytes_out);
	FIELD("generations", supervisor_generations(supervisor));
	FIELD("restarts", supervisor->listener_restarts);
	FIELD("uptime-s", (clock_now_ns() - supervisor->started_ns) / CLOCK_NS_PER_S);
#undef FIELD
	log_fields(LOG_INFO, "totals", fields, n);
}
