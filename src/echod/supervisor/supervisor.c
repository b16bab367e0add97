/* SPDX-License-Identifier: MIT */
/* The supervisor from its start to its end; what happens in between stands in loop.c. */
#include "echod/supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/control/control.h"
#include "echod/handover/give.h"
#include "echod/log/log.h"
#include "echod/metrics/metrics.h"
#include "echod/metrics/sampler.h"
#include "echod/privileges/privileges.h"
#include "echod/sockets/lookup.h"
#include "echod/state/timer.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

static int open_sockets(struct supervisor *supervisor)
{
	const struct configuration *configuration = supervisor->configuration;
	int result = sockets_take_passed(&supervisor->sockets);

	if (result == 0 && !supervisor->sockets.count)
		result = sockets_bind(configuration, NULL, NULL, &supervisor->sockets);
	if (result < 0)
		return result;
	status_compare_listen(supervisor);
	result = sockets_apply_timeouts(&supervisor->sockets, configuration);
	if (result < 0)
		log_errno(LOG_ERR, result, "socket options");
	return result;
}

/* All that may need privileges, then they are given up. */
static int prepare(struct supervisor *supervisor)
{
	int result = open_sockets(supervisor);

	if (result < 0)
		return result;
	result = program_find_listener(&supervisor->listener);
	if (result < 0) {
		log_errno(LOG_ERR, result, "%s", supervisor->listener.path);
		return result;
	}
	result = control_open(supervisor, &supervisor->control);
	if (result < 0)
		return result;
	privileges_check_limits(supervisor->configuration);
	result = privileges_drop(supervisor->configuration);
	if (result < 0)
		return result;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
		result = -errno;
		log_errno(LOG_ERR, result, "prctl(PR_SET_CHILD_SUBREAPER)");
		return result;
	}
	report_configure(&supervisor->report, supervisor->configuration);
	return sampler_new(&supervisor->sampler);
}

static uint64_t realtime_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * CLOCK_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

/* sd-event takes signals from a signalfd: they have to be blocked before the first of them. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void supervisor_release(struct supervisor *supervisor)
{
	while (supervisor->generations) {
		struct generation *generation = supervisor->generations;

		supervisor->generations = generation->next;
		generation_free(generation);
	}
	lookup_free(supervisor->lookup);
	control_free(supervisor->control);
	sampler_free(supervisor->sampler);
	for (size_t i = 0; i < TIMER_COUNT; i++)
		sd_event_source_unref(supervisor->timers[i]);
	sd_event_source_unref(supervisor->handover_source);
	sd_event_unref(supervisor->loop);
	program_release(&supervisor->listener);
	sockets_release(&supervisor->sockets, true);
	sockets_release(&supervisor->next_sockets, true);
	configuration_free(supervisor->configuration);
	configuration_free(supervisor->next_configuration);
	fd_close(supervisor->configuration_fd);
	fd_close(supervisor->next_configuration_fd);
}

static void supervisor_init(struct supervisor *supervisor, const struct options *options)
{
	*supervisor = (struct supervisor){
		.options = options,
		.configuration_fd = -1,
		.next_configuration_fd = -1,
		.listener = { .fd = -1 },
		.hooks = loop_hooks(supervisor),
		.started_ns = clock_now_ns(),
		.started_realtime_us = realtime_us(),
		.reloaded_realtime_us = realtime_us(),
		.watchdog_us = service_watchdog_us(),
		.flush_ns = UINT64_MAX,
	};
	block_signals();
}

static int supervisor_run(struct supervisor *supervisor)
{
	int result = sd_event_loop(supervisor->loop), code;

	/* A window that is still open: what it left out is said too. */
	report_flush(&supervisor->report, clock_now_ns() + CLOCK_NS_PER_S);
	if (result == 0)
		metrics_leave_file(supervisor->configuration->metrics.file, NULL);
	if (result == 0)
		log_info("stopped");
	else if (sd_event_get_exit_code(supervisor->loop, &code) < 0)	/* nobody ended it */
		log_errno(LOG_ERR, result, "the event loop has failed");
	return result;
}

int supervise(const struct options *options, struct configuration *configuration,
	      int configuration_fd)
{
	struct supervisor supervisor;
	int result;

	supervisor_init(&supervisor, options);
	supervisor.configuration = configuration;
	supervisor.configuration_fd = configuration_fd;
	result = prepare(&supervisor);
	if (result == 0)
		result = loop_create(&supervisor);
	if (result == 0)
		result = control_watch(supervisor.control);
	if (result == 0)
		result = start_generation(&supervisor, configuration, &supervisor.sockets);
	if (result == 0) {
		sampler_take(supervisor.sampler, &supervisor);
		result = supervisor_run(&supervisor);
	}
	supervisor_release(&supervisor);
	return result;
}

int supervise_again(const struct options *options, int state_fd)
{
	struct supervisor supervisor;
	int result;

	supervisor_init(&supervisor, options);
	program_find_listener(&supervisor.listener);
	result = loop_create(&supervisor);
	if (result == 0)
		result = sampler_new(&supervisor.sampler);
	if (result == 0)
		result = handover_restore(&supervisor, state_fd);
	if (result == 0)
		result = control_watch(supervisor.control);
	fd_close(state_fd);
	if (result == 0) {
		report_configure(&supervisor.report, supervisor.configuration);
		supervisor.is_ready = true;
		/* Connections that were told to end are to end here too. */
		timer_arm(supervisor.timers[TIMER_KILL], 0);
		/* What happened in between: signals are pending, wake-ups may be lost. */
		reap_children(&supervisor);
		sampler_take(supervisor.sampler, &supervisor);
		timer_arm(supervisor.timers[TIMER_RING], 0);
		supervisor.reload_wanted = true;
		result = supervisor_run(&supervisor);
	}
	supervisor_release(&supervisor);
	return result;
}
