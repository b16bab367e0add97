/* SPDX-License-Identifier: MIT */
/* The supervisor from its start to its end; loop.c has what happens in between. */
#include "echod/supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/control/control.h"
#include "echod/handover/handover.h"
#include "echod/log/log.h"
#include "echod/metrics/metrics.h"
#include "echod/privileges/privileges.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

static int open_sockets(struct supervisor *supervisor)
{
	const struct configuration *configuration = supervisor->configuration;
	int r = sockets_take_passed(&supervisor->sockets);

	if (r == 0 && !supervisor->sockets.count)
		r = sockets_bind(configuration, NULL, &supervisor->sockets);
	if (r < 0)
		return r;
	status_compare_listen(supervisor);
	r = sockets_apply_options(&supervisor->sockets, configuration);
	return r < 0 ? log_errno(LOG_ERR, r, "socket options") : 0;
}

/* The last preparation: nothing after this needs privileges. */
static int give_up_privileges(struct supervisor *supervisor)
{
	int r = program_find_listener(-1, &supervisor->listener);

	if (r < 0)
		return log_errno(LOG_ERR, r, "%s", supervisor->listener.path);
	r = privileges_drop(supervisor->configuration);
	if (r == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		r = log_errno(LOG_ERR, errno, "prctl(PR_SET_CHILD_SUBREAPER)");
	return r;
}

static int prepare(struct supervisor *supervisor)
{
	int r = privileges_identify(supervisor->configuration);

	if (r < 0)
		log_errno(LOG_ERR, r, "user: %s", supervisor->configuration->user);
	if (r == 0)
		r = open_sockets(supervisor);
	if (r == 0)
		r = control_open(supervisor, &supervisor->control);
	if (r < 0)
		return r;
	privileges_check_limits(supervisor->configuration);
	return give_up_privileges(supervisor);
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
	log_watch(NULL, NULL);
	while (supervisor->generations) {
		struct generation *generation = supervisor->generations;

		supervisor->generations = generation->next;
		generation_free(generation);
	}
	control_free(supervisor->control);
	for (size_t i = 0; i < TIMER_COUNT; i++)
		sd_event_source_unref(supervisor->timers[i]);
	sd_event_unref(supervisor->loop);
	program_release(&supervisor->listener);
	program_release(&supervisor->next_listener);
	sockets_release(&supervisor->sockets, NULL);
	sockets_release(&supervisor->next_sockets, NULL);
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
		.next_listener = { .fd = -1 },
		.started_ns = clock_now_ns(),
		.started_realtime_us = status_realtime_us(),
		.reloaded_realtime_us = status_realtime_us(),
		.watchdog_us = notify_watchdog_us(),
		.flush_ns = UINT64_MAX,
	};
	block_signals();
}

static int supervisor_run(struct supervisor *supervisor)
{
	int r = sd_event_loop(supervisor->loop), code;

	/* Reports what the open windows have left out. */
	report_flush(&supervisor->report, clock_now_ns() + CLOCK_NS_PER_S);
	if (r == 0)
		metrics_leave_file(supervisor->configuration->metrics.file, NULL);
	notify_status("");
	if (r == 0)
		log_info("stopped");
	else if (sd_event_get_exit_code(supervisor->loop, &code) < 0)	/* without an order */
		log_errno(LOG_ERR, r, "the event loop has failed");
	return r;
}

int supervise(const struct options *options, struct configuration *configuration,
	      int configuration_fd)
{
	struct supervisor supervisor;
	int r;

	supervisor_init(&supervisor, options);
	supervisor.configuration = configuration;
	supervisor.configuration_fd = configuration_fd;
	r = prepare(&supervisor);
	if (r == 0)
		r = loop_create(&supervisor);
	if (r == 0)
		r = control_watch(supervisor.control);
	if (r == 0) {
		report_configure(&supervisor.report, configuration);
		r = start_generation(&supervisor, configuration, &supervisor.sockets,
				     &supervisor.listener);
	}
	if (r == 0)
		r = supervisor_run(&supervisor);
	supervisor_release(&supervisor);
	return r;
}

int supervise_again(const struct options *options, int block_fd)
{
	struct supervisor supervisor;
	bool is_rehearsal = false;
	int r;

	supervisor_init(&supervisor, options);
	r = loop_create(&supervisor);
	if (r == 0)
		r = handover_restore(&supervisor, block_fd, &is_rehearsal);
	if (r == 0)
		r = control_watch(supervisor.control);
	fd_close(block_fd);
	/* Everything still belongs to our parent, so nothing is released. */
	if (is_rehearsal)
		_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	if (r == 0) {
		report_configure(&supervisor.report, supervisor.configuration);
		supervisor.is_ready = true;
		/* Connections that were told to end before must still end. */
		timer_arm(supervisor.timers[TIMER_KILL], 0);
		/* Signals may be pending from before, and wake-ups may be lost. */
		reap_children(&supervisor);
		timer_arm(supervisor.timers[TIMER_RING], 0);
		supervisor.reload_wanted = true;
		r = supervisor_run(&supervisor);
	}
	supervisor_release(&supervisor);
	return r;
}

/* Success if the connection was served, or refused by the access lists. */
static int judge_single(const struct supervisor *supervisor)
{
	struct tally tally;

	totals_sum(supervisor, &tally);
	if (tally_closed(&tally) || tally.refused[REFUSE_ACCESS])
		return 0;
	log_error("the connection on descriptor 0 was not served");
	return -EPROTO;
}

int supervise_single(struct configuration *configuration, int connection_fd)
{
	struct supervisor supervisor;
	bool is_datagram;
	int r;

	supervisor_init(&supervisor, NULL);
	supervisor.mode = MODE_SINGLE;
	supervisor.configuration = configuration;
	supervisor.sockets.passed = true;
	r = sockets_add(&supervisor.sockets, connection_fd, false);
	is_datagram = sockets_have_datagrams(&supervisor.sockets);
	if (r == 0) {
		supervisor.sockets.items->wire.wildcard = 1;
		r = sockets_apply_options(&supervisor.sockets, configuration);
		if (r < 0)
			log_errno(LOG_WARNING, r, "socket options");
		r = give_up_privileges(&supervisor);
	}
	if (r == 0)
		r = loop_create(&supervisor);
	if (r == 0) {
		report_configure(&supervisor.report, configuration);
		r = start_generation(&supervisor, configuration, &supervisor.sockets,
				     &supervisor.listener);
	}
	/*
	 * Closes our copy: the peer must see the end of the connection when the worker closes it.
	 */
	sockets_release(&supervisor.sockets, NULL);
	if (r == 0)
		r = sd_event_loop(supervisor.loop);
	if (r == 0) {
		report_flush(&supervisor.report, clock_now_ns() + CLOCK_NS_PER_S);
		r = is_datagram ? 0 : judge_single(&supervisor);
	}
	supervisor_release(&supervisor);
	return r;
}
