/* SPDX-License-Identifier: MIT */
/*
 * New generations: at the start, in place of one whose listener died, and for a reload (SIGHUP):
 * new settings are a new generation; the old one accepts no more when that is ready.
 *
 *     reload_begin()   another program at our path? then handover/ re-executes it, and that one
 *                      reloads. Eight generations alive? then the reload waits.
 *         |            Read the file, bind what is new in listen, start a listener.
 *         |-- an error -------------> reload_abandon(): what was made is released, the settings
 *         |                           in force stay, READY=1 again
 *     turnover_ready() the listener has said READY: it accepts from the same sockets
 *         |            reload_commit(): the new settings, sockets and log are in force
 *         v            the old listener is told to stop; its connections go on to their end
 *
 * Nothing that is in force changes before the new listener accepts, so a reload that fails at any
 * step has changed nothing. For a moment both listeners accept from one socket; each connection
 * goes to exactly one of them. The order of these steps is modelled in tests/model.
 *
 * Two things do not follow a reload and are named in the log when they differ: the user, which was
 * changed to before the privileges went, and the control socket.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/command_line/options.h"
#include "echod/control/control.h"
#include "echod/handover/handover.h"
#include "echod/log/log.h"
#include "echod/metrics/metrics.h"
#include "echod/privileges/privileges.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

int start_generation(struct supervisor *supervisor, const struct configuration *configuration,
		     const struct sockets *sockets, const struct program *listener)
{
	struct generation_plan plan = {
		.number = ++supervisor->generation_count,
		.configuration = configuration,
		.sockets = sockets,
		.listener = listener,
		.mode = supervisor->mode,
		.foreign_live = totals_live(supervisor),
	};
	struct generation *generation;
	int r;

	assert(!supervisor->starting);
	r = generation_start(supervisor->loop, &plan, &supervisor->hooks, &generation);
	if (r < 0)
		return r;
	generation->next = supervisor->generations;
	supervisor->generations = generation;
	if (supervisor->mode == MODE_SINGLE)	/* nothing waits for it to be ready */
		return 0;
	supervisor->starting = generation;
	timer_arm(supervisor->timers[TIMER_START], START_DEADLINE_US);
	return 0;
}

void start_replacement(struct supervisor *supervisor)
{
	int r;

	supervisor->replacement_due = false;
	if (supervisor->current || supervisor->starting || supervisor->ending != ENDING_NONE)
		return;
	r = start_generation(supervisor, supervisor->configuration, &supervisor->sockets,
			     &supervisor->listener);
	if (r < 0)
		start_schedule_replacement(supervisor, 0);
}

void start_schedule_replacement(struct supervisor *supervisor, uint64_t lived_ms)
{
	uint32_t delay_ms;

	if (supervisor->ending != ENDING_NONE || supervisor->starting ||
	    supervisor->replacement_due)
		return;
	delay_ms = backoff_next_ms(&supervisor->backoff, lived_ms);
	if (delay_ms)
		log_notice("a new listener is started in %" PRIu32 " ms", delay_ms);
	supervisor->replacement_due = true;
	timer_arm(supervisor->timers[TIMER_REPLACE], (uint64_t)delay_ms * 1000);
}

static void reload_finished(struct supervisor *supervisor, bool succeeded)
{
	status_update(supervisor);
	notify_ready(supervisor->status);
	control_note_reloaded(supervisor->control, succeeded);
}

/* Clients that asked for the reload get its warnings, too. */
static void tell_clients(void *context, const char *text)
{
	const struct supervisor *supervisor = context;

	control_note_problem(supervisor->control, text);
}

static void reload_abandon(struct supervisor *supervisor, const char *why)
{
	log_watch(NULL, NULL);
	log_error("reload: %s, the old settings stay in force", why);
	configuration_free(supervisor->next_configuration);
	supervisor->next_configuration = NULL;
	supervisor->next_configuration_fd = fd_close(supervisor->next_configuration_fd);
	sockets_release(&supervisor->next_sockets, &supervisor->sockets);
	program_release(&supervisor->next_listener);
	/* The generation in force uses the same sockets with their options. */
	sockets_apply_options(&supervisor->sockets, supervisor->configuration);
	reload_finished(supervisor, false);
}

static int reload_start(struct supervisor *supervisor)
{
	/* Passed sockets stay as they are; our own follow listen. */
	bool is_passed = supervisor->sockets.passed;
	const struct sockets *sockets = is_passed ? &supervisor->sockets :
						    &supervisor->next_sockets;
	int r = options_load(supervisor->options, supervisor->configuration_fd,
			     supervisor->configuration, log_report, NULL,
			     &supervisor->next_configuration, &supervisor->next_configuration_fd);

	if (r == 0 && !is_passed)
		r = sockets_bind(supervisor->next_configuration, &supervisor->sockets,
				 &supervisor->next_sockets);
	if (r == 0)
		r = sockets_apply_options(sockets, supervisor->next_configuration);
	if (r < 0)
		return r;
	privileges_check_limits(supervisor->next_configuration);
	r = program_find_listener(supervisor->listener.fd, &supervisor->next_listener);
	if (r < 0)
		return log_errno(LOG_ERR, r, "%s", supervisor->listener.path);
	return start_generation(supervisor, supervisor->next_configuration, sockets,
				&supervisor->next_listener);
}

void reload_begin(struct supervisor *supervisor)
{
	if (totals_generations(supervisor) >= STATE_GENERATIONS_MAX) {
		if (!supervisor->reload_delay_said)
			log_notice("reload: waits until one of %u generations has ended",
				   totals_generations(supervisor));
		supervisor->reload_delay_said = true;
		return;
	}
	supervisor->reload_delay_said = false;
	/* The new program reloads by itself; if it cannot be executed, the reload goes on here. */
	if (!supervisor->handover_failed && handover_is_due()) {
		/* when no signal is left that was read and not handled */
		timer_arm_idle(supervisor->timers[TIMER_HANDOVER], 0);
		return;
	}
	supervisor->handover_failed = false;
	supervisor->reload_wanted = false;
	notify_reloading();
	control_note_reload(supervisor->control);
	log_info("reload: reading %s", supervisor->options->configuration_path);
	log_watch(tell_clients, supervisor);
	if (reload_start(supervisor) < 0)
		reload_abandon(supervisor, "failed");
}

static void replace_sockets(struct supervisor *supervisor)
{
	struct sockets *old = &supervisor->sockets;
	struct sockets *new = &supervisor->next_sockets;

	for (size_t i = 0; i < old->count; i++)
		if (!sockets_find(new, &old->items[i]))
			log_info("no longer listening on %s", old->items[i].text);
	for (size_t i = 0; i < new->count; i++)
		if (!sockets_find(old, &new->items[i]))
			log_info("listening on %s", new->items[i].text);
	supervisor->retired.datagrams_kernel_dropped += sockets_kernel_drops(old, new);
	sockets_release(old, new);
	*old = *new;
	*new = (struct sockets){0};
}

static void reload_commit(struct supervisor *supervisor)
{
	struct configuration *old = supervisor->configuration;
	struct configuration *new = supervisor->next_configuration;
	int r;

	if (!supervisor->sockets.passed)
		replace_sockets(supervisor);
	supervisor->configuration = new;
	supervisor->next_configuration = NULL;
	fd_close(supervisor->configuration_fd);
	supervisor->configuration_fd = fd_steal(&supervisor->next_configuration_fd);
	program_release(&supervisor->listener);
	supervisor->listener.fd = fd_steal(&supervisor->next_listener.fd);
	supervisor->reloaded_realtime_us = status_realtime_us();

	/*
	 * Even if the target is the same: a log that could not be opened before may be there now.
	 */
	r = log_open(new->log.target, new->log.facility);
	if (r < 0)
		log_errno(LOG_WARNING, r, "log: the target cannot be opened, the old one stays");
	log_set_level(new->log.level);
	report_configure(&supervisor->report, new);
	if (strcmp(new->user, old->user) != 0)
		log_warning("user: changed, takes effect at the next start");
	status_compare_listen(supervisor);
	control_restore(supervisor->control);
	if (control_has_changed(old, new))
		log_warning("control: changed, takes effect at the next start");
	metrics_leave_file(old->metrics.file, new->metrics.file);
	/* A new file is written at once, and the log says if that fails. */
	supervisor->metrics_ns = 0;
	supervisor->metrics_failed = false;
	status_write_metrics(supervisor, clock_now_ns());
	configuration_free(old);
	log_watch(NULL, NULL);
	log_info("reload: new settings are in force");
	reload_finished(supervisor, true);
}

static void announce(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->sockets.count; i++)
		log_info("listening on %s", supervisor->sockets.items[i].text);
	supervisor->is_ready = true;
	log_set_starting(false);
	status_update(supervisor);
	notify_ready(supervisor->status);
}

/* The newest generation serves: the older ones accept no more. */
void turnover_ready(struct supervisor *supervisor)
{
	struct generation *generation = supervisor->starting;

	assert(generation);
	supervisor->starting = NULL;
	supervisor->current = generation;
	timer_disarm(supervisor->timers[TIMER_START]);
	for (struct generation *i = generation->next; i; i = i->next)
		if (i->state != GENERATION_DRAINING)
			generation_stop(i, STOP_REPLACED);
	if (supervisor->next_configuration)
		reload_commit(supervisor);
	if (!supervisor->is_ready)
		announce(supervisor);
	log_debug("generation %" PRIu64 " serves, listener %d", generation->number,
		  generation->listener_pid);
}

void turnover_abandon(struct supervisor *supervisor)
{
	struct generation *generation = supervisor->starting;

	if (!generation)
		return;
	supervisor->starting = NULL;
	timer_disarm(supervisor->timers[TIMER_START]);
	generation_kill_listener(generation);
	if (!supervisor->is_ready) {
		log_error("the listener did not start");
		sd_event_exit(supervisor->loop, -EPROTO);
		return;
	}
	if (supervisor->next_configuration)
		reload_abandon(supervisor, "the new listener did not start");
	if (!supervisor->current)
		start_schedule_replacement(supervisor, 0);
}
