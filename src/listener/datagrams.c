/* SPDX-License-Identifier: MIT */
/*
 * The listener's side of the datagram process. A pipe that only the listener could write to tells
 * the process to end: it hangs up when the listener closes its end or dies. The kernel kills a
 * process that does not obey when the listener ends, so the listener waits for it a while only.
 */
#include "datagram/datagram.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "listener/lean.h"
#include "listener/listener.h"

#define LOOKS 3			/* without progress: it hangs */
#define GRACE_NS (5 * (uint64_t)CLOCK_NS_PER_S)	/* to answer what has come, and to end */

static void set_due(struct datagram_process *datagrams, uint64_t now_ns)
{
	const uint64_t ns_per_ms = CLOCK_NS_PER_S / 1000;
	uint64_t lived_ms = (now_ns - datagrams->start_ns) / ns_per_ms;

	datagrams->due_ns = now_ns + backoff_next_ms(&datagrams->backoff, lived_ms) * ns_per_ms;
}

uint64_t datagrams_due_ns(const struct listener *listener)
{
	const struct datagram_process *datagrams = &listener->datagrams;

	return datagrams->is_wanted == (datagrams->pid == 0) ? datagrams->due_ns : UINT64_MAX;
}

static bool has_datagrams(const struct listener *listener)
{
	struct pollfd fds[SETTINGS_MAX_SOCKETS];
	const uint32_t count = listener->settings->socket_count;

	for (uint32_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){
			.fd = settings_is_datagram(listener->settings, i) ?
				LISTENER_FD_SOCKETS + (int)i : -1,
			.events = POLLIN,
		};
	return sys_poll(fds, count, 0) > 0;
}

bool datagrams_hang(struct listener *listener)
{
	struct datagram_process *datagrams = &listener->datagrams;
	uint64_t received = 0;

	if (!datagrams->is_wanted || datagrams->pid == 0)
		return false;
	for (uint32_t i = 0; i < listener->settings->socket_count; i++)
		received += datagrams->counters->sockets[i].received;
	if (received != datagrams->received || !has_datagrams(listener))
		datagrams->looks = 0;
	else
		datagrams->looks++;
	datagrams->received = received;
	return datagrams->looks == LOOKS;
}

/* It hangs, or somebody has taken it over. */
static void give_up(struct listener *listener, uint64_t now_ns)
{
	struct datagram_process *datagrams = &listener->datagrams;
	const struct event event = {
		.type = EVENT_DATAGRAMS_ENDED,
		.pid = datagrams->pid,
		.status = SIGKILL,
		.count = 1,
		.start_ns = datagrams->start_ns,
		.end_ns = now_ns,
	};

	datagrams->is_given_up = true;
	datagrams->due_ns = UINT64_MAX;
	events_put(listener, &event);
}

void datagrams_tend(struct listener *listener, uint64_t now_ns)
{
	struct datagram_process *datagrams = &listener->datagrams;
	const size_t size = sizeof(*datagrams->counters);
	const bool has_filter = listener->settings->datagram_filter_count > 0 &&
				listener->missing_filter == 0;
	struct worker_call call = {
		.entry = datagram_serve,
		.fd = datagrams->life[0],
		.flags = has_filter ? WORKER_FILTER : 0,
		.slot = datagrams->counters,
		.settings = listener->settings,
	};

	if (now_ns < datagrams_due_ns(listener))
		return;
	if (!datagrams->is_wanted) {
		give_up(listener, now_ns);
		return;
	}
	datagrams->start_ns = now_ns;
	(void)sys_random(&call.proof, sizeof(call.proof));
	(void)sys_madvise(datagrams->counters, size, MADV_DOFORK);
	if (lean_fork(&call, REAP_SIGNAL, &datagrams->pid) < 0) {
		datagrams->pid = 0;
		set_due(datagrams, now_ns);
	}
	(void)sys_madvise(datagrams->counters, size, MADV_DONTFORK);
}

void datagrams_reaped(struct listener *listener, pid_t pid, int status)
{
	struct datagram_process *datagrams = &listener->datagrams;
	const struct event event = {
		.type = EVENT_DATAGRAMS_ENDED,
		.pid = pid,
		.status = status,
		.start_ns = datagrams->start_ns,
		.end_ns = clock_now_ns(),
	};

	if (pid != datagrams->pid)
		return;
	datagrams->pid = 0;
	if (listener->settings->mode == MODE_SINGLE && status == 0)
		datagrams->is_wanted = false;
	if (!datagrams->is_wanted)
		return;
	set_due(datagrams, event.end_ns);
	events_put(listener, &event);
}

void datagrams_stop(struct listener *listener)
{
	struct datagram_process *datagrams = &listener->datagrams;

	if (!datagrams->is_wanted)
		return;
	datagrams->is_wanted = false;
	datagrams->due_ns = clock_now_ns() + GRACE_NS;
	datagrams->life[1] = fd_close(datagrams->life[1]);
	for (uint32_t i = 0; i < listener->settings->socket_count; i++) {
		if (settings_is_datagram(listener->settings, i))
			(void)fd_close(LISTENER_FD_SOCKETS + (int)i);
	}
}
