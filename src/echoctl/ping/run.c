/* SPDX-License-Identifier: MIT */
/* The loop of ping: sends what is due, takes what comes, waits no longer than needed. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/ping/ping.h"
#include "echoctl/probe/interrupt.h"

#define SUSPENDED_NS 1000000000u	/* behind by more than this, we were stopped ourselves */

static uint64_t late_ns(const struct ping *ping)
{
	return ping->settings.late_us * 1000;
}

static const char *why(int error)
{
	switch (error) {
	case -ENODATA:
		return "the peer closed the connection";
	case -EBADMSG:
		return "the peer sent bytes that no probe waits for";
	default:
		return strerror(-error);
	}
}

static uint64_t unanswered(const struct ping_slot *slot)
{
	if (slot->link.fd < 0)
		return 0;
	return slot->connecting ? 1 : slot->link.count;
}

/* The sequence of the index-th unanswered probe of the slot, and when it began. */
static uint64_t sequence(const struct ping_slot *slot, uint64_t index)
{
	return slot->connecting ? slot->sequence : ping_link_probe(&slot->link, index)->sequence;
}

static uint64_t began_ns(const struct ping_slot *slot, uint64_t index)
{
	return slot->connecting ? slot->started_ns : ping_link_probe(&slot->link, index)->sent_ns;
}

/* The index-th unanswered probe of the slot will not come back any more. */
static void give_up(struct ping *ping, const struct ping_slot *slot, uint64_t index)
{
	ping_tally_lost(&ping->tally, sequence(slot, index), slot->connecting ? "connect" : "echo",
			"no answer");
}

/* The connection is lost and all its probes with it. With --reconnect the others go on. */
static void break_slot(struct ping *ping, struct ping_slot *slot, const char *phase, int error)
{
	if (!ping->settings.reconnect)
		ping_tally_broken(&ping->tally, phase, error, why(error));
	for (uint64_t i = 0; i < unanswered(slot); i++)
		ping_tally_lost(&ping->tally, sequence(slot, i), phase, why(error));
	ping_link_close(&slot->link);
}

/* A slot that is free, or that of the oldest overdue probe, which is given up. NULL if none. */
static struct ping_slot *find_slot(struct ping *ping)
{
	struct ping_slot *oldest = NULL;

	for (unsigned i = 0; i < ping->n_slots; i++) {
		struct ping_slot *slot = &ping->slots[i];

		if (slot->link.fd < 0)
			return slot;
		if (slot->overdue > 0 && (!oldest || slot->sequence < oldest->sequence))
			oldest = slot;
	}
	if (oldest) {
		give_up(ping, oldest, 0);
		ping_link_close(&oldest->link);
	}
	return oldest;
}

static void send_connected(struct ping *ping, uint64_t sequence)
{
	int error = ping_link_send(&ping->slots[0].link, sequence);

	if (error == -EAGAIN) {
		ping_tally_unsent(&ping->tally, sequence, "the peer does not read");
		return;
	}
	ping->tally.sent++;
	if (error < 0)
		break_slot(ping, &ping->slots[0], "send", error);
}

static int send_reconnecting(struct ping *ping, uint64_t sequence)
{
	struct ping_slot *slot = find_slot(ping);
	enum dial_phase phase;
	int error;
	int fd;

	if (!slot) {
		ping_tally_unsent(&ping->tally, sequence, "too many connections wait");
		return 0;
	}
	*slot = (struct ping_slot){
		.link.fd = -1,
		.connecting = true,
		.sequence = sequence,
		.started_ns = clock_now_ns(),
	};
	fd = dial_start(&ping->target, &ping->dial_options, &phase);
	/* Without a socket nothing was asked of the target, and nothing is lost. */
	if (fd < 0 && phase == DIAL_SOCKET)
		return fd;
	if (fd == -EAGAIN) {
		ping_tally_unsent(&ping->tally, sequence, "the peer does not accept");
		return 0;
	}
	ping->tally.sent++;
	if (fd < 0) {
		ping_tally_lost(&ping->tally, sequence, dial_phase_name(phase), strerror(-fd));
		return 0;
	}
	error = ping_link_open(&slot->link, fd, ping->settings.size_bytes, 1);
	if (error < 0)
		fd_close(fd);
	return error;
}

static int send_due(struct ping *ping)
{
	uint64_t now_ns = clock_now_ns();
	int error = 0;

	while (error == 0 && !ping->tally.broken) {
		uint64_t due_ns = schedule_due_ns(&ping->schedule, ping->next);

		if ((ping->settings.count > 0 && ping->next >= ping->settings.count) ||
		    due_ns > now_ns)
			return 0;
		if (now_ns - due_ns > SUSPENDED_NS + ping->schedule.period_ns) {
			report_note(ping->tally.report, "was stopped for %.1f s, goes on",
				    (double)(now_ns - due_ns) / 1e9);
			ping->schedule.start_ns += now_ns - due_ns;
		}
		ping->next++;
		/* The first probe uses the connection that found the address. */
		if (ping->settings.reconnect && ping->next > 1)
			error = send_reconnecting(ping, ping->next);
		else
			send_connected(ping, ping->next);
	}
	return error;
}

static void say_overdue(struct ping *ping, uint64_t now_ns)
{
	for (unsigned i = 0; i < ping->n_slots; i++) {
		struct ping_slot *slot = &ping->slots[i];

		while (slot->overdue < unanswered(slot) &&
		       began_ns(slot, slot->overdue) + late_ns(ping) <= now_ns) {
			ping_tally_overdue(&ping->tally, sequence(slot, slot->overdue));
			slot->overdue++;
		}
	}
}

static bool all_sent(const struct ping *ping)
{
	return ping->settings.count > 0 && ping->next >= ping->settings.count;
}

static bool finished(const struct ping *ping)
{
	if (interrupt_ended() < 0 || ping->tally.broken || !report_heard(ping->tally.report))
		return true;
	if (!all_sent(ping))
		return false;
	/* Each has its time, which begins when it was really sent. */
	for (unsigned i = 0; i < ping->n_slots; i++) {
		if (ping->slots[i].overdue < unanswered(&ping->slots[i]))
			return false;
	}
	return true;
}

static uint64_t wake_ns(const struct ping *ping)
{
	uint64_t wake = UINT64_MAX;

	if (!all_sent(ping))
		wake = schedule_due_ns(&ping->schedule, ping->next);
	for (unsigned i = 0; i < ping->n_slots; i++) {
		const struct ping_slot *slot = &ping->slots[i];
		uint64_t overdue_ns = UINT64_MAX;

		if (slot->overdue < unanswered(slot))
			overdue_ns = began_ns(slot, slot->overdue) + late_ns(ping);
		if (overdue_ns < wake)
			wake = overdue_ns;
	}
	return wake;
}

static void take_replies(struct ping *ping, struct ping_slot *slot)
{
	struct ping_reply reply;
	int error;

	for (;;) {
		error = ping_link_receive(&slot->link, &reply);
		if (error <= 0)
			break;
		if (slot->overdue > 0)
			slot->overdue--;
		/* Elsewhere the next look finds it; here there is none. */
		if (ping->settings.reconnect && reply.result == PING_INTACT &&
		    ping_link_has_more(&slot->link))
			reply.result = PING_SURPLUS;
		ping_tally_reply(&ping->tally, &reply, slot->connected_ns - slot->started_ns);
		if (ping->settings.reconnect) {
			ping_link_close(&slot->link);
			return;
		}
	}
	if (error < 0)
		break_slot(ping, slot, "echo", error);
}

static void take_connection(struct ping *ping, struct ping_slot *slot)
{
	int error = 0;

	getsockopt(slot->link.fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error != 0) {
		break_slot(ping, slot, "connect", -error);
		return;
	}
	slot->connected_ns = clock_now_ns();
	slot->connecting = false;
	slot->overdue = 0;
	error = ping_link_send(&slot->link, slot->sequence);
	if (error < 0)
		break_slot(ping, slot, "send", error);
}

static void take_events(struct ping *ping, struct ping_slot *slot, short events)
{
	int error = 0;

	if (events == 0 || slot->link.fd < 0)
		return;
	if (slot->connecting) {
		take_connection(ping, slot);
		return;
	}
	/* First what has come: an error of sending must not hide it. */
	if (events & (POLLIN | POLLHUP | POLLERR))
		take_replies(ping, slot);
	if (slot->link.fd >= 0 && events & POLLOUT)
		error = ping_link_flush(&slot->link);
	if (error < 0)
		break_slot(ping, slot, "send", error);
}

static int wait_for_events(struct ping *ping)
{
	struct ping_slot *polled[PING_SLOTS];
	struct pollfd polls[PING_SLOTS + 1];
	nfds_t n = 0;
	uint64_t now_ns = clock_now_ns();
	uint64_t wake = wake_ns(ping);
	uint64_t left_ns = wake > now_ns ? wake - now_ns : 0;
	struct timespec timeout = {
		.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S),
		.tv_nsec = (long)(left_ns % CLOCK_NS_PER_S),
	};

	/* Those in use only: poll(2) refuses more entries than there may be descriptors. */
	for (unsigned i = 0; i < ping->n_slots; i++) {
		struct ping_slot *slot = &ping->slots[i];
		bool writes = slot->connecting || ping_link_blocked(&slot->link);

		if (slot->link.fd < 0)
			continue;
		polled[n] = slot;
		polls[n++] = (struct pollfd){
			.fd = slot->link.fd,
			.events = (short)((slot->connecting ? 0 : POLLIN) | (writes ? POLLOUT : 0)),
		};
	}
	polls[n] = (struct pollfd){ .fd = interrupt_fd(), .events = POLLIN };
	if (ppoll(polls, n + 1, &timeout, NULL) < 0)
		return errno == EINTR ? 0 : -errno;
	for (nfds_t i = 0; i < n; i++)
		take_events(ping, polled[i], polls[i].revents);
	return 0;
}

/* What had its time and did not come is lost; what is still on its way is not. */
static void close_slots(struct ping *ping, uint64_t now_ns)
{
	for (unsigned i = 0; i < ping->n_slots; i++) {
		struct ping_slot *slot = &ping->slots[i];

		for (uint64_t n = 0; n < unanswered(slot); n++) {
			if (began_ns(slot, n) + late_ns(ping) <= now_ns)
				give_up(ping, slot, n);
		}
		ping_link_close(&slot->link);
	}
}

int ping_run(struct ping *ping, const struct dial *dial)
{
	const struct dial_attempt *winner = &dial->attempts[dial->winner];
	int error;

	ping->n_slots = ping->settings.reconnect ? PING_SLOTS : 1;
	for (unsigned i = 0; i < PING_SLOTS; i++)
		ping->slots[i].link.fd = -1;
	ping->target = winner->target;
	ping->dial_options.at_once = true;
	ping->slots[0].sequence = 1;
	ping->slots[0].started_ns = winner->started_ns;
	ping->slots[0].connected_ns = winner->ended_ns;
	error = ping_link_open(&ping->slots[0].link, dial->fd, ping->settings.size_bytes,
			       ping->settings.reconnect ? 1 : PING_WINDOW);
	if (error < 0) {
		fd_close(dial->fd);
		return error;
	}
	/* Probes a millisecond apart do not bear the usual 50 us of slack. */
	prctl(PR_SET_TIMERSLACK, 1);
	ping->tally.started_ns = clock_now_ns();
	ping->schedule.start_ns = ping->tally.started_ns;
	while (error == 0) {
		error = send_due(ping);
		say_overdue(ping, clock_now_ns());
		if (error < 0 || finished(ping))
			break;
		if (interrupt_asked())
			ping_tally_summary(&ping->tally, false);
		error = wait_for_events(ping);
	}
	close_slots(ping, clock_now_ns());
	return error;
}
