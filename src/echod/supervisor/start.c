/* SPDX-License-Identifier: MIT */
/* New generations: at the start, for a reload, in place of one whose listener died. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <systemd/sd-event.h>

#include "echod/log/log.h"
#include "echod/supervisor/parts.h"
#include "echod/supervisor/share.h"
#include "echod/systemd/notify.h"

int start_generation(struct supervisor *supervisor, const struct configuration *configuration,
		     const struct sockets *sockets)
{
	const struct source_limit limit = generation_source_limit(configuration);
	struct foreign_counts sources;
	struct generation_plan plan = {
		.number = ++supervisor->generation_count,
		.configuration = configuration,
		.sockets = sockets,
		.listener = &supervisor->listener,
		.mode = MODE_LISTEN,
		.foreign_live = supervisor_live(supervisor),
		.foreign_sources = &sources,
	};
	struct generation *generation;
	int result = foreign_count(supervisor, NULL, &limit, &sources);

	if (result < 0) {
		log_errno(LOG_ERR, result, "sources of connections");
		return result;
	}
	result = generation_start(supervisor->loop, &plan, &supervisor->hooks, &generation);
	free(sources.items);
	if (result < 0)
		return result;
	generation->next = supervisor->generations;
	supervisor->generations = generation;
	supervisor->starting = generation;
	supervisor_arm(supervisor->start_timer, START_DEADLINE_US);
	return 0;
}

static void announce(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->sockets.count; i++)
		log_info("listening on %s", supervisor->sockets.items[i].text);
	supervisor->is_ready = true;
	log_set_starting(false);
	status_format(supervisor, supervisor->status, sizeof(supervisor->status));
	service_ready(supervisor->status);
}

/* While names are looked up only a listener that died is replaced, under the old settings. */
static bool is_for_reload(const struct supervisor *supervisor)
{
	return supervisor->next_configuration && !supervisor->lookup;
}

void start_on_ready(struct supervisor *supervisor)
{
	struct generation *generation = supervisor->starting;

	supervisor->starting = NULL;
	supervisor->current = generation;
	supervisor->unanswered = 0;
	supervisor_disarm(supervisor->start_timer);
	for (struct generation *i = generation->next; i; i = i->next)
		if (i->state != GENERATION_DRAINING)
			generation_stop(i);
	if (is_for_reload(supervisor))
		reload_commit(supervisor);
	if (!supervisor->is_ready)
		announce(supervisor);
	log_debug("generation %" PRIu64 " serves, listener %d", generation->number,
		  generation->listener_pid);
}

void start_abandon(struct supervisor *supervisor)
{
	struct generation *generation = supervisor->starting;

	if (!generation)
		return;
	supervisor->starting = NULL;
	supervisor_disarm(supervisor->start_timer);
	generation_kill_listener(generation);
	if (!supervisor->is_ready) {
		log_error("the listener did not start");
		sd_event_exit(supervisor->loop, -EPROTO);
		return;
	}
	if (is_for_reload(supervisor)) {
		log_error("reload: the new listener did not start, the old settings stay in force");
		reload_abandon(supervisor);
	}
	if (!supervisor->current)
		start_schedule_replacement(supervisor, 0);
}

void start_replacement(struct supervisor *supervisor)
{
	int result;

	supervisor->replacement_due = false;
	if (supervisor->current || supervisor->starting || supervisor->ending.phase != ENDING_NONE)
		return;
	result = start_generation(supervisor, supervisor->configuration, &supervisor->sockets);
	if (result < 0)
		start_schedule_replacement(supervisor, 0);
}

void start_schedule_replacement(struct supervisor *supervisor, uint64_t lived_ms)
{
	uint32_t delay_ms;

	if (supervisor->ending.phase != ENDING_NONE || supervisor->starting ||
	    supervisor->replacement_due)
		return;
	delay_ms = backoff_next_ms(&supervisor->backoff, lived_ms);
	if (delay_ms)
		log_notice("a new listener is started in %" PRIu32 " ms", delay_ms);
	supervisor->replacement_due = true;
	supervisor_arm(supervisor->replace_timer, (uint64_t)delay_ms * 1000);
}
