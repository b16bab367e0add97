/* SPDX-License-Identifier: MIT */
/*
 * echoctl ping: numbered, time-stamped probes at a fixed schedule. The loop sends what is due,
 * takes what comes, and waits no longer than needed.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "echoctl/command_line/command.h"
#include "echoctl/dial/dial.h"
#include "echoctl/ping/link.h"
#include "echoctl/ping/tally.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/schedule.h"

#define INTERVAL_MIN_US 1000
#define TIME_MAX_US (UINT64_C(86400) * 365 * 1000000)
#define SIZE_MAX_BYTES (UINT64_C(1) << 20)
#define WINDOW 65536		/* probes on their way over one connection */
#define LINKS_MAX 256		/* connections at a time with --reconnect */
#define SUSPENDED_NS 1000000000u	/* behind by more than this, we were stopped ourselves */

enum {
	OPTION_RECONNECT = OPTION_OWN,
};

struct ping {
	struct ping_tally tally;
	struct schedule schedule;
	struct dial_address target;
	struct dial_options dial;
	uint64_t next;			/* event of the schedule; its sequence is one more */
	struct ping_link links[LINKS_MAX];
	unsigned n_links;		/* in use: 1, or LINKS_MAX with --reconnect */
};

static const char help[] =
	"Sends numbered probes at a fixed schedule, which a late answer does not delay,\n"
	"and verifies every byte that comes back. Any RFC 862 server will do.\n"
	"\n"
	"  -c, --count COUNT           probes to send (until stopped)\n"
	"  -i, --interval TIME         from one probe to the next (1s; at least 1ms)\n"
	"  -s, --size SIZE             bytes of a probe (64; at most 1M)\n"
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
	struct ping_settings *settings = data;

	switch (option) {
	case 'c':
		return command_take_number(value, 1, UINT32_MAX, &settings->count);
	case 'i':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &settings->interval_us);
	case 's':
		return command_take_size(value, 1, SIZE_MAX_BYTES, &settings->size_bytes);
	case 'W':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &settings->late_us);
	case 'D':
		settings->timestamps = true;
		return NULL;
	default:
		settings->reconnect = true;
		return NULL;
	}
}

static const char *why(int error)
{
	return error == -EBADMSG ? "the peer sent bytes that no probe waits for" :
				   exchange_why(error);
}

/* When the index-th unanswered probe of the link has had its time. */
static uint64_t late_at_ns(const struct ping *ping, const struct ping_link *link, uint64_t index)
{
	return ping_link_probe(link, index)->sent_ns + ping->tally.settings.late_us * 1000;
}

static const char *phase_of(const struct ping_link *link)
{
	return link->connecting ? "connect" : "echo";
}

/* The connection is lost and all its probes with it. With --reconnect the others go on. */
static void break_link(struct ping *ping, struct ping_link *link, const char *phase, int error)
{
	if (!ping->tally.settings.reconnect)
		ping_tally_broken(&ping->tally, phase, error, why(error));
	for (uint64_t i = 0; i < link->count; i++)
		ping_tally_missing(&ping->tally, PING_LOST, ping_link_probe(link, i)->sequence,
				   phase, why(error));
	ping_link_close(link);
}

/* The index-th unanswered probe of the link will not come back any more. */
static void give_up(struct ping *ping, const struct ping_link *link, uint64_t index)
{
	ping_tally_missing(&ping->tally, PING_LOST, ping_link_probe(link, index)->sequence,
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
		ping_tally_missing(&ping->tally, PING_UNSENT, sequence, "send",
				   "too many connections wait");
		return 0;
	}
	fd = dial_start(&ping->target, &ping->dial, &phase);
	/* Without a socket nothing was asked of the target, and nothing is lost. */
	if (fd < 0 && phase == DIAL_SOCKET)
		return fd;
	if (fd == -EAGAIN) {
		ping_tally_missing(&ping->tally, PING_UNSENT, sequence, "send",
				   "the peer does not accept");
		return 0;
	}
	ping->tally.sent++;
	if (fd < 0) {
		ping_tally_missing(&ping->tally, PING_LOST, sequence, dial_phase_name(phase),
				   why(fd));
		return 0;
	}
	r = ping_link_open(link, fd, ping->tally.settings.size_bytes, 1);
	link->connecting = true;
	link->started_ns = started_ns;
	return r < 0 ? r : ping_link_send(link, sequence);
}

static int send_probe(struct ping *ping, uint64_t sequence)
{
	int r;

	/* The first probe uses the connection that found the address. */
	if (ping->tally.settings.reconnect && sequence > 1)
		return reconnect(ping, sequence);
	r = ping_link_send(&ping->links[0], sequence);
	if (r == -EAGAIN) {
		ping_tally_missing(&ping->tally, PING_UNSENT, sequence, "send",
				   "the peer does not read");
		return 0;
	}
	ping->tally.sent++;
	if (r < 0)
		break_link(ping, &ping->links[0], "send", r);
	return 0;
}

static bool all_sent(const struct ping *ping)
{
	uint64_t count = ping->tally.settings.count;

	return count > 0 && ping->next >= count;
}

static int send_due(struct ping *ping)
{
	uint64_t now_ns = clock_now_ns();
	int r = 0;

	while (r == 0 && !ping->tally.broken && !all_sent(ping)) {
		uint64_t due_ns = schedule_due_ns(&ping->schedule, ping->next);

		if (due_ns > now_ns)
			break;
		if (now_ns - due_ns > SUSPENDED_NS + ping->schedule.period_ns) {
			report_note(ping->tally.report, "was stopped for %.1f s, goes on",
				    (double)(now_ns - due_ns) / 1e9);
			ping->schedule.start_ns += now_ns - due_ns;
		}
		r = send_probe(ping, ++ping->next);
	}
	return r;
}

static void say_overdue(struct ping *ping, uint64_t now_ns)
{
	for (unsigned i = 0; i < ping->n_links; i++) {
		struct ping_link *link = &ping->links[i];

		while (link->overdue < link->count &&
		       late_at_ns(ping, link, link->overdue) <= now_ns)
			ping_tally_missing(&ping->tally, PING_OVERDUE,
					   ping_link_probe(link, link->overdue++)->sequence,
					   phase_of(link), "no answer in time, still waiting");
	}
}

/* When the next probe is due, or one that waits has had its time; UINT64_MAX: all have. */
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

static bool finished(const struct ping *ping)
{
	/* Each has its time, which begins when it was really sent. */
	return interrupt_ended() < 0 || ping->tally.broken || !report_heard(ping->tally.report) ||
		wake_ns(ping) == UINT64_MAX;
}

static void take_replies(struct ping *ping, struct ping_link *link)
{
	struct ping_reply reply;
	int r;

	for (;;) {
		r = ping_link_receive(link, &reply);
		if (r <= 0)
			break;
		ping_tally_reply(&ping->tally, &reply, link->connected_ns - link->started_ns);
		if (ping->tally.settings.reconnect) {
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
	/* First what has come: an error of sending must not hide it. */
	else if (events & (POLLIN | POLLHUP | POLLERR))
		take_replies(ping, link);
	if (r == 0 && link->fd >= 0 && events & POLLOUT)
		r = ping_link_flush(link);
	if (r < 0)
		break_link(ping, link, link->connecting ? "connect" : "send", r);
}

static int wait_for_events(struct ping *ping)
{
	struct ping_link *polled[LINKS_MAX];
	struct pollfd polls[LINKS_MAX + 1];
	nfds_t n = 0;
	int ready;

	/* Those in use only: poll(2) refuses more entries than there may be descriptors. */
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
	ready = interrupt_poll(polls, n, wake_ns(ping));
	for (nfds_t i = 0; i < n && ready > 0; i++)
		take_events(ping, polled[i], polls[i].revents);
	return ready < 0 ? ready : 0;
}

/* What had its time and did not come is lost; what is still on its way is not. */
static void close_links(struct ping *ping, uint64_t now_ns)
{
	for (unsigned i = 0; i < ping->n_links; i++) {
		struct ping_link *link = &ping->links[i];

		for (uint64_t n = 0; n < link->count; n++) {
			if (late_at_ns(ping, link, n) <= now_ns)
				give_up(ping, link, n);
		}
		ping_link_close(link);
	}
}

/*
 * Takes over the connection that the first probe uses, sends all probes and counts what becomes of
 * them, until they are done, the deadline has come or a signal. Returns 0, or -errno if this side
 * failed.
 */
static int run_probes(struct ping *ping, const struct dial *dial)
{
	const struct dial_attempt *winner = &dial->attempts[dial->winner];
	const struct ping_settings *settings = &ping->tally.settings;
	int r;

	ping->n_links = settings->reconnect ? LINKS_MAX : 1;
	for (unsigned i = 0; i < ping->n_links; i++)
		ping->links[i].fd = -1;
	ping->target = winner->target;
	ping->dial.at_once = true;
	r = ping_link_open(&ping->links[0], dial->fd, settings->size_bytes,
			   settings->reconnect ? 1 : WINDOW);
	ping->links[0].started_ns = winner->started_ns;
	ping->links[0].connected_ns = winner->ended_ns;
	/* Probes a millisecond apart do not bear the usual 50 us of slack. */
	prctl(PR_SET_TIMERSLACK, 1);
	ping->tally.started_ns = clock_now_ns();
	ping->schedule = (struct schedule){
		.start_ns = ping->tally.started_ns,
		.period_ns = settings->interval_us * 1000,
		.per_period = 1,
	};
	while (r == 0) {
		r = send_due(ping);
		say_overdue(ping, clock_now_ns());
		if (r < 0 || finished(ping))
			break;
		if (interrupt_asked())
			ping_tally_summary(&ping->tally, false);
		r = wait_for_events(ping);
	}
	close_links(ping, clock_now_ns());
	return r;
}

static int run(struct invocation *invocation)
{
	static struct ping ping = {
		.tally.settings = {
			.interval_us = 1000000, .late_us = 1000000, .size_bytes = 64,
		},
	};
	struct report *report = &invocation->globals.report;
	struct address_spec target;
	struct dial dial;
	int status;
	int r;

	status = command_parse_target(invocation, take, &ping.tally.settings, &target);
	if (status != COMMAND_PROCEED)
		return status;
	if (interrupt_open(report, invocation->globals.deadline_us, true) < 0)
		return STATUS_LOCAL;
	ping.dial = dial_options(&invocation->globals);
	status = dial_target(report, &target, &ping.dial, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	ping.tally.report = report;
	ping.tally.host = target.host;
	dial_peer(&dial, ping.tally.peer);
	r = run_probes(&ping, &dial);
	ping_tally_summary(&ping.tally, true);
	if (r < 0) {
		report_error(report, "ping: %s", strerror(-r));
		return STATUS_LOCAL;
	}
	return ping_tally_well(&ping.tally) ? STATUS_OK : STATUS_FAILED;
}

const struct command command_ping = {
	.name = "ping",
	.operands = "ADDRESS",
	.summary = "probe at a fixed schedule, with percentiles",
	.help = help,
	.long_options = options,
	.run = run,
};
