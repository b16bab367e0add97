/* SPDX-License-Identifier: MIT */
/*
 * echoctl ping: numbered, time-stamped probes at a fixed schedule. The loop sends what is due,
 * takes what comes, and waits no longer than needed.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "echoctl/command_line/command.h"
#include "echoctl/ping/ping.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"

#define INTERVAL_MIN_US 1000
#define TIME_MAX_US (UINT64_C(86400) * 365 * 1000000)
#define SIZE_MAX_BYTES (UINT64_C(1) << 20)
#define WINDOW 65536		/* probes on their way over one connection */
#define OPTION_RECONNECT OPTION_OWN
#define SUSPENDED_NS CLOCK_NS_PER_S	/* if we wake up later than this, we were stopped */

static const char help[] =
	"Sends numbered probes at a fixed schedule, which a late answer does not delay,\n"
	"and verifies every byte that comes back. Any RFC 862 server will do. With -u a\n"
	"probe is a datagram.\n"
	"\n"
	"  -c, --count COUNT           probes to send (until stopped)\n"
	"  -i, --interval TIME         from one probe to the next (1s; at least 1ms)\n"
	"  -s, --size SIZE             bytes of a probe (64; at most 1M, with -u 65527)\n"
	"  -W, --late TIME             an answer after this time is late (1s)\n"
	"  -D, --timestamps            print the time of day in front of each line\n"
	"      --reconnect             a connection for each probe, timed apart\n"
	"  -q, --quiet                 no line for each probe\n"
	"\n"
	"Statistics come at the end, on Ctrl-C, and on Ctrl-\\ (SIGQUIT) in between.\n"
	"Exit status: 0 all came back in time, 1 some did not, 2 not reached.\n"
	"\n"
	"Example: a hundred probes, ten milliseconds apart\n"
	"  echoctl ping -c 100 -i 10ms echo.example.net\n";

static const struct option options[] = {
	{"count", required_argument, NULL, 'c'},
	{"interval", required_argument, NULL, 'i'},
	{"size", required_argument, NULL, 's'},
	{"late", required_argument, NULL, 'W'},
	{"timestamps", no_argument, NULL, 'D'},
	{"reconnect", no_argument, NULL, OPTION_RECONNECT},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	struct ping *ping = data;

	switch (option) {
	case 'c':
		return command_take_number(value, 1, UINT32_MAX, &ping->count);
	case 'i':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &ping->interval_us);
	case 's':
		return command_take_size(value, 0, SIZE_MAX_BYTES, &ping->size_bytes);
	case 'W':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &ping->late_us);
	case 'D':
		ping->timestamps = true;
		return NULL;
	default:
		ping->reconnect = true;
		return NULL;
	}
}

static const char *why(int error)
{
	return error == -EBADMSG ? "the peer sent bytes that no probe waits for" :
				   exchange_why(error);
}

/* When the time of the index-th unanswered probe of the link is over. */
static uint64_t late_at_ns(const struct ping *ping, const struct ping_link *link, uint64_t index)
{
	const struct ping_probe *probe = ping_link_probe(link, index);

	return probe->sent_ns + probe->stopped_ns + ping->late_us * 1000;
}

static const char *phase_of(const struct ping_link *link)
{
	return link->connecting ? "connect" : "echo";
}

/* The connection is lost and all its probes with it. With --reconnect the others go on. */
static void break_link(struct ping *ping, struct ping_link *link, const char *phase, int error)
{
	if (!ping->reconnect)
		ping_tally_broken(ping, phase, error, why(error));
	for (uint64_t i = 0; i < link->count; i++)
		ping_tally_missing(ping, PING_LOST, ping_link_probe(link, i)->sequence,
				   phase, why(error));
	ping_link_close(link);
}

/* Counts the index-th unanswered probe of the link as lost. */
static void give_up(struct ping *ping, const struct ping_link *link, uint64_t index)
{
	ping_tally_missing(ping, PING_LOST, ping_link_probe(link, index)->sequence,
			   phase_of(link), "no answer");
}

/* A link that is free, or that of the oldest overdue probe, which is given up. NULL if none. */
static struct ping_link *find_link(struct ping *ping)
{
	struct ping_link *oldest = NULL;

	for (unsigned i = 0; i < ping->n_links; i++) {
		struct ping_link *link = &ping->links[i];

		if (link->fd < 0)
			return link;
		if (link->overdue > 0 && (!oldest || ping_link_probe(link, 0)->sequence <
						     ping_link_probe(oldest, 0)->sequence))
			oldest = link;
	}
	if (oldest) {
		give_up(ping, oldest, 0);
		ping_link_close(oldest);
	}
	return oldest;
}

/* A connection of its own for the probe. Returns 0 or -errno: this side failed. */
static int reconnect(struct ping *ping, uint64_t sequence)
{
	struct ping_link *link = find_link(ping);
	uint64_t started_ns = clock_now_ns();
	enum dial_phase phase;
	int fd;
	int r;

	if (!link) {
		ping_tally_missing(ping, PING_UNSENT, sequence, "send",
				   "too many connections wait");
		return 0;
	}
	fd = dial_start(&ping->target, &ping->dial, &phase);
	/* Without a socket nothing was asked of the target, and nothing is lost. */
	if (fd < 0 && phase == DIAL_SOCKET)
		return fd;
	if (fd == -EAGAIN) {
		ping_tally_missing(ping, PING_UNSENT, sequence, "send",
				   "the peer does not accept");
		return 0;
	}
	ping->sent++;
	if (fd < 0) {
		ping_tally_missing(ping, PING_LOST, sequence, dial_phase_name(phase),
				   why(fd));
		return 0;
	}
	r = ping_link_open(link, fd, ping->size_bytes, 1);
	link->connecting = true;
	link->started_ns = started_ns;
	return r < 0 ? r : ping_link_send(link, sequence);
}

/* The oldest probe of the window was answered, or has had its time and is given up. */
static bool drop_oldest(struct ping *ping, struct ping_link *link)
{
	bool answered = ping_link_probe(link, 0)->answered;

	if (!answered && late_at_ns(ping, link, 0) > clock_now_ns())
		return false;
	if (!answered)
		give_up(ping, link, 0);
	ping_flow_drop(&ping->flow, link);
	return true;
}

static void send_datagram(struct ping *ping, uint64_t sequence)
{
	struct ping_link *link = &ping->links[0];
	/* Without a header, only one probe can be on its way. */
	size_t room = ping->size_bytes < DATAGRAM_HEADER_BYTES ? 1 : link->capacity;
	int r;

	if (link->count == room && !drop_oldest(ping, link)) {
		ping_tally_missing(ping, PING_UNSENT, sequence, "send",
			      "too many datagrams are on their way");
		return;
	}
	r = ping_flow_send(&ping->flow, link, sequence);
	ping->sent += r == 0;
	if (r == -EMSGSIZE)
		ping_tally_missing(ping, PING_REFUSED, sequence, "send",
			      "too big for the own interface");
	else if (r < 0)
		ping_tally_missing(ping, PING_UNSENT, sequence, "send", strerror(-r));
}

static int send_probe(struct ping *ping, uint64_t sequence)
{
	int r;

	if (ping->udp) {
		send_datagram(ping, sequence);
		return 0;
	}
	/* The first probe uses the connection that found the address. */
	if (ping->reconnect && sequence > 1)
		return reconnect(ping, sequence);
	r = ping_link_send(&ping->links[0], sequence);
	if (r == -EAGAIN) {
		ping_tally_missing(ping, PING_UNSENT, sequence, "send",
				   "the peer does not read");
		return 0;
	}
	ping->sent++;
	if (r < 0)
		break_link(ping, &ping->links[0], "send", r);
	return 0;
}

static bool all_sent(const struct ping *ping)
{
	uint64_t count = ping->count;

	return count > 0 && ping->next >= count;
}

/*
 * We were stopped: no probe is late because of that, and probes that were due are not sent later.
 */
static void resume(struct ping *ping, uint64_t now_ns)
{
	uint64_t stopped_ns = now_ns - ping->awake_ns;
	uint64_t due_ns = schedule_due_ns(&ping->schedule, ping->next);

	report_note(ping->report, "was stopped for %.1f s, goes on", (double)stopped_ns / 1e9);
	if (due_ns < now_ns)
		ping->schedule.start_ns += now_ns - due_ns;
	for (unsigned i = 0; i < ping->n_links; i++) {
		for (size_t n = 0; n < ping->links[i].count; n++)
			ping_link_probe(&ping->links[i], n)->stopped_ns += stopped_ns;
	}
}

/* Returns the time, which should be wanted_ns; notes if we were stopped before. */
static uint64_t look_at_clock(struct ping *ping, uint64_t wanted_ns)
{
	uint64_t now_ns = clock_now_ns();

	(void)interrupt_ended();
	if (interrupt_continued() || (now_ns > wanted_ns && now_ns - wanted_ns > SUSPENDED_NS))
		resume(ping, now_ns);
	ping->awake_ns = now_ns;
	return now_ns;
}

static int send_due(struct ping *ping)
{
	uint64_t now_ns = look_at_clock(ping, ping->awake_ns);
	int r = 0;

	while (r == 0 && !ping->broken && !all_sent(ping)) {
		uint64_t due_ns = schedule_due_ns(&ping->schedule, ping->next);

		if (due_ns > now_ns)
			break;
		r = send_probe(ping, ++ping->next);
	}
	return r;
}

static void say_overdue(struct ping *ping, uint64_t now_ns)
{
	for (unsigned i = 0; i < ping->n_links; i++) {
		struct ping_link *link = &ping->links[i];

		while (link->overdue < link->count &&
		       (ping_link_probe(link, link->overdue)->answered ||
			late_at_ns(ping, link, link->overdue) <= now_ns)) {
			if (!ping_link_probe(link, link->overdue)->answered)
				ping_tally_missing(ping, PING_OVERDUE,
					      ping_link_probe(link, link->overdue)->sequence,
					      phase_of(link), "no answer in time, still waiting");
			link->overdue++;
		}
	}
}

/*
 * When the next probe is due, or the time of one that waits is over, which began when it was really
 * sent; UINT64_MAX: neither.
 */
static uint64_t wake_ns(const struct ping *ping)
{
	uint64_t wake = UINT64_MAX;

	if (!all_sent(ping))
		wake = schedule_due_ns(&ping->schedule, ping->next);
	for (unsigned i = 0; i < ping->n_links; i++) {
		const struct ping_link *link = &ping->links[i];

		if (link->overdue < link->count && late_at_ns(ping, link, link->overdue) < wake)
			wake = late_at_ns(ping, link, link->overdue);
	}
	return wake;
}

static void take_replies(struct ping *ping, struct ping_link *link)
{
	struct ping_reply reply;
	int r;

	for (;;) {
		r = ping->udp ? ping_flow_receive(&ping->flow, link, &reply) :
			ping_link_receive(link, &reply);
		if (r <= 0)
			break;
		ping_tally_reply(ping, &reply, link->connected_ns - link->started_ns);
		if (ping->reconnect) {
			ping_link_close(link);
			return;
		}
	}
	if (r < 0)
		break_link(ping, link, "echo", r);
}

static void take_events(struct ping *ping, struct ping_link *link, short events)
{
	int r = 0;

	if (events == 0 || link->fd < 0)
		return;
	if (link->connecting)
		r = ping_link_connected(link);
	/* Input first: an error of sending must not hide it. */
	else if (events & (POLLIN | POLLHUP | POLLERR))
		take_replies(ping, link);
	if (r == 0 && link->fd >= 0 && events & POLLOUT)
		r = ping_link_flush(link);
	if (r < 0)
		break_link(ping, link, link->connecting ? "connect" : "send", r);
}

static int wait_for_events(struct ping *ping)
{
	uint64_t until_ns = wake_ns(ping);
	struct ping_link *polled[LINKS_MAX];
	struct pollfd polls[LINKS_MAX + 1];
	nfds_t n = 0;
	int ready;

	/* Only links in use: poll(2) refuses more entries than there may be descriptors. */
	for (unsigned i = 0; i < ping->n_links; i++) {
		struct ping_link *link = &ping->links[i];
		bool writes = link->connecting || ping_link_blocked(link);

		if (link->fd < 0)
			continue;
		polled[n] = link;
		polls[n++] = (struct pollfd){
			.fd = link->fd,
			.events = (short)((link->connecting ? 0 : POLLIN) | (writes ? POLLOUT : 0)),
		};
	}
	ready = interrupt_poll(polls, n, until_ns);
	look_at_clock(ping, until_ns);
	for (nfds_t i = 0; i < n && ready > 0; i++)
		take_events(ping, polled[i], polls[i].revents);
	return ready < 0 ? ready : 0;
}

/* A probe whose time is over is lost; one that is still on its way is not. */
static void close_links(struct ping *ping, uint64_t now_ns)
{
	for (unsigned i = 0; i < ping->n_links; i++) {
		struct ping_link *link = &ping->links[i];

		for (uint64_t n = 0; n < link->count; n++) {
			if (!ping_link_probe(link, n)->answered &&
			    late_at_ns(ping, link, n) <= now_ns)
				give_up(ping, link, n);
		}
		while (ping->udp && link->count > 0)
			ping_flow_drop(&ping->flow, link);
		ping_link_close(link);
	}
}

/*
 * Takes over the connection that the first probe uses, sends all probes and counts the results,
 * until all are done or the deadline or a signal comes. Returns 0, or -errno if this side failed.
 */
static int run_probes(struct ping *ping, const struct dial *dial)
{
	const struct dial_attempt *winner = &dial->attempts[dial->winner];
	int r;

	ping->n_links = ping->reconnect ? LINKS_MAX : 1;
	for (unsigned i = 0; i < ping->n_links; i++)
		ping->links[i].fd = -1;
	ping->target = winner->target;
	ping->dial.at_once = true;
	r = ping_link_open(&ping->links[0], dial->fd, ping->size_bytes,
			   ping->reconnect ? 1 : WINDOW);
	if (r == 0 && ping->udp)
		r = ping_flow_open(&ping->flow, &ping->links[0], &ping->target);
	ping->links[0].started_ns = winner->started_ns;
	ping->links[0].connected_ns = winner->ended_ns;
	/* The usual 50 us of slack is too much for probes a millisecond apart. */
	prctl(PR_SET_TIMERSLACK, 1);
	ping->started_ns = clock_now_ns();
	ping->awake_ns = ping->started_ns;
	ping->schedule = (struct schedule){
		.start_ns = ping->started_ns,
		.period_ns = ping->interval_us * 1000,
		.per_period = 1,
	};
	while (r == 0) {
		r = send_due(ping);
		say_overdue(ping, look_at_clock(ping, ping->awake_ns));
		if (r < 0 || interrupt_ended() < 0 || ping->broken ||
		    !report_heard(ping->report) || wake_ns(ping) == UINT64_MAX)
			break;
		if (interrupt_asked())
			ping_tally_summary(ping, false);
		r = wait_for_events(ping);
	}
	close_links(ping, clock_now_ns());
	datagram_close(&ping->flow.socket);
	return r;
}

/* Returns COMMAND_PROCEED, or STATUS_USAGE after saying why. */
static int refuse_mix(struct invocation *invocation, const struct ping *ping)
{
	if (ping->udp && ping->reconnect)
		return command_usage_error(invocation, "--reconnect: UDP has no connections");
	if (ping->udp ? ping->size_bytes > DATAGRAM_MAX_BYTES : ping->size_bytes == 0)
		return command_usage_error(invocation, "--size %" PRIu64 ": %s",
					   ping->size_bytes, ping->udp ? "too large for UDP" :
					   "too small");
	return COMMAND_PROCEED;
}

static int run(struct invocation *invocation)
{
	static struct ping ping = {
		.interval_us = 1000000, .late_us = 1000000, .size_bytes = 64,
	};
	struct report *report = &invocation->globals.report;
	struct address_spec target;
	struct dial dial;
	int status;
	int r;

	status = command_parse_target(invocation, take, &ping, &target);
	ping.udp = invocation->globals.udp;
	if (status == COMMAND_PROCEED)
		status = refuse_mix(invocation, &ping);
	if (status != COMMAND_PROCEED)
		return status;
	if (interrupt_open(report, invocation->globals.deadline_us, true) < 0)
		return STATUS_LOCAL;
	ping.dial = dial_options(&invocation->globals);
	status = dial_target(report, &target, &ping.dial, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	ping.report = report;
	ping.host = target.host;
	dial_peer(&dial, ping.peer);
	r = run_probes(&ping, &dial);
	ping_tally_summary(&ping, true);
	if (r < 0) {
		report_error(report, "ping: %s", strerror(-r));
		return STATUS_LOCAL;
	}
	if (ping.sent > 0 && ping.counts[PING_UNREACHABLE] == ping.sent)
		return STATUS_UNREACHED;
	return ping_all_well(&ping) ? STATUS_OK : STATUS_FAILED;
}

const struct command command_ping = {
	.name = "ping",
	.operands = "ADDRESS",
	.summary = "probe at a fixed schedule, with percentiles",
	.help = help,
	.long_options = options,
	.path = &dial_path_options,
	.run = run,
	.has_udp = true,
};
