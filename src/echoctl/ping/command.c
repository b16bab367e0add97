/* SPDX-License-Identifier: MIT */
/*
 * echoctl ping: numbered, time-stamped probes at a fixed schedule. The loop sends what is due,
 * takes what comes, and waits no longer than needed.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "echoctl/command_line/command.h"
#include "echoctl/ping/ping.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define INTERVAL_MIN_US 1000
#define TIME_MAX_US (UINT64_C(86400) * 365 * 1000000)
#define SIZE_MAX_BYTES (UINT64_C(1) << 20)
#define INTERVAL_US 1000000
#define FLOOD_INTERVAL_US 10000
#define PROGRESS_NS UINT64_C(100000000)
#define WINDOW 65536		/* probes on their way over one connection */
#define SUSPENDED_NS CLOCK_NS_PER_S	/* if we wake up later than this, we were stopped */

enum {
	OPTION_RECONNECT = OPTION_OWN,
	OPTION_REQUIRE,
	OPTION_YES,
	OPTION_SERIES,
};

/* All targets of a run. */
struct pings {
	struct ping settings;		/* which each begins with */
	struct targets targets;
	struct schedule schedule;
	uint64_t awake_ns;		/* when we last looked at the clock */
	bool flood;
	bool yes;
	bool progress;			/* a line of a flood on the terminal */
	uint64_t progress_ns;		/* of the last one */
	struct report *report;
	struct series series;
	struct ping *list;
	struct polled {
		struct ping *ping;
		struct ping_link *link;
	} *polled;			/* the links of the entries of polls */
	struct pollfd *polls;
};

static const char help[] =
	"Sends numbered probes at a fixed schedule, which a late answer does not delay,\n"
	"and verifies every byte that comes back. Any RFC 862 server will do. With -u a\n"
	"probe is a datagram.\n"
	"\n"
	"  -c, --count COUNT           probes to send (until stopped)\n"
	"  -i, --interval TIME         from one probe to the next (1s; at least 1ms)\n"
	"  -A, --adaptive              the next probe when the last one is back, at the\n"
	"                              latest after the interval\n"
	"  -f, --flood                 the same, quietly, and after 10ms at the latest;\n"
	"                              only to loopback and private addresses\n"
	"      --yes                   flood other addresses, too\n"
	"  -s, --size SIZE             bytes of a probe (64; at most 1M, with -u 65527)\n"
	"  -W, --late TIME             an answer after this time is late (1s)\n"
	"  -D, --timestamps            print the time of day in front of each line\n"
	"      --reconnect             a connection for each probe, timed apart\n"
	"      --targets FILE          addresses too, one a line; - is standard input\n"
	"  -n, --numeric               accepted for the habit, and without effect\n"
	"      --require LIST          exit 1 unless these hold, as p99<20ms,loss<0.1%\n"
	"      --series FILE           a row for each probe, comma-separated values\n"
	"  -q, --quiet                 no line for each probe\n"
	"\n"
	"Several targets share the schedule, each is probed once an interval; a table of\n"
	"them comes at the end, and the exit status is 1 if one failed.\n"
	"Statistics come at the end, on Ctrl-C, and on Ctrl-\\ (SIGQUIT) in between.\n"
	"Exit status: 0 all came back in time, 1 some did not, 2 not reached.\n"
	"\n"
	"Example: a hundred probes, ten milliseconds apart\n"
	"  echoctl ping -c 100 -i 10ms echo.example.net\n";

static const struct option options[] = {
	{"count", required_argument, NULL, 'c'},
	{"interval", required_argument, NULL, 'i'},
	{"adaptive", no_argument, NULL, 'A'},
	{"flood", no_argument, NULL, 'f'},
	{"yes", no_argument, NULL, OPTION_YES},
	{"size", required_argument, NULL, 's'},
	{"late", required_argument, NULL, 'W'},
	{"timestamps", no_argument, NULL, 'D'},
	{"reconnect", no_argument, NULL, OPTION_RECONNECT},
	{"numeric", no_argument, NULL, 'n'},
	TARGETS_OPTION,
	{"require", required_argument, NULL, OPTION_REQUIRE},
	{"series", required_argument, NULL, OPTION_SERIES},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	struct pings *pings = data;
	struct ping *ping = &pings->settings;

	switch (option) {
	case 'c':
		return command_take_number(value, 1, UINT32_MAX, &ping->count);
	case 'i':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &ping->interval_us);
	case 'f':
		pings->flood = true;
		ping->adaptive = true;
		return NULL;
	case 'A':
		ping->adaptive = true;
		return NULL;
	case OPTION_YES:
		pings->yes = true;
		return NULL;
	case 's':
		return command_take_size(value, 0, SIZE_MAX_BYTES, &ping->size_bytes);
	case 'W':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &ping->late_us);
	case OPTION_REQUIRE:
		return command_take_list(value, require_take, &ping->require);
	case OPTION_SERIES:
		return series_take(value, &pings->series);
	case 'D':
		ping->timestamps = true;
		return NULL;
	case OPTION_TARGETS:
		pings->targets.file = value;
		return NULL;
	case 'n':
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

/* A probe that never left. */
static void miss(struct ping *ping, enum ping_result result, uint64_t sequence, const char *phase,
		 const char *why)
{
	const struct ping_probe probe = { .sequence = sequence, .sent_ns = clock_now_ns() };

	ping_tally_missing(ping, result, &probe, phase, why);
}

/* The connection is lost and all its probes with it. With --reconnect the others go on. */
static void break_link(struct ping *ping, struct ping_link *link, const char *phase, int error)
{
	bool first = ping->reconnect || ping->counts[PING_CORRUPT] + ping->rtt.count == 0;

	if (first && strcmp(phase, "connect") != 0)
		payload_note_end(error, link->in_bytes);
	if (!ping->reconnect)
		ping_tally_broken(ping, phase, error, why(error));
	for (uint64_t i = 0; i < link->count; i++)
		ping_tally_missing(ping, PING_LOST, ping_link_probe(link, i), phase,
				   why(error));
	ping_link_close(link);
}

/* Counts the index-th unanswered probe of the link as lost. */
static void give_up(struct ping *ping, const struct ping_link *link, uint64_t index)
{
	ping_tally_missing(ping, PING_LOST, ping_link_probe(link, index), phase_of(link),
			   "no answer");
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
		miss(ping, PING_UNSENT, sequence, "send", "too many connections wait");
		return 0;
	}
	fd = dial_start(&ping->target, &ping->dial, &phase);
	/* Without a socket nothing was asked of the target, and nothing is lost. */
	if (fd < 0 && phase == DIAL_SOCKET)
		return fd;
	if (fd == -EAGAIN) {
		miss(ping, PING_UNSENT, sequence, "send", "the peer does not accept");
		return 0;
	}
	ping->sent++;
	if (fd < 0) {
		miss(ping, PING_LOST, sequence, dial_phase_name(phase), why(fd));
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
		miss(ping, PING_UNSENT, sequence, "send", "too many datagrams are on their way");
		return;
	}
	r = ping_flow_send(&ping->flow, link, sequence);
	ping->sent += r == 0;
	if (r == -EMSGSIZE)
		miss(ping, PING_REFUSED, sequence, "send", "too big for this machine's interface");
	else if (r < 0)
		miss(ping, PING_UNSENT, sequence, "send", strerror(-r));
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
		miss(ping, PING_UNSENT, sequence, "send", "the peer does not read");
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

static uint64_t due_ns(const struct ping *ping)
{
	uint64_t due = schedule_due_ns(ping->schedule, ping->next);

	if (ping->adaptive)
		return ping->adaptive_ns;
	return due < UINT64_MAX - ping->offset_ns ? due + ping->offset_ns : UINT64_MAX;
}

static bool is_over(const struct ping *ping)
{
	return ping->broken || all_sent(ping);
}

/*
 * We were stopped: no probe is late because of that, and probes that were due are not sent later.
 */
static void resume(struct pings *pings, uint64_t now_ns)
{
	uint64_t stopped_ns = now_ns - pings->awake_ns;

	report_note(pings->report, "was stopped for %.1f s, goes on", (double)stopped_ns / 1e9);
	for (size_t i = 0; i < pings->targets.count; i++) {
		struct ping *ping = &pings->list[i];

		if (!is_over(ping) && due_ns(ping) < now_ns)
			pings->schedule.start_ns += now_ns - due_ns(ping);
		for (unsigned l = 0; l < ping->n_links; l++) {
			for (size_t n = 0; n < ping->links[l].count; n++)
				ping_link_probe(&ping->links[l], n)->stopped_ns += stopped_ns;
		}
	}
}

/* Returns the time, which should be wanted_ns; notes if we were stopped before. */
static uint64_t look_at_clock(struct pings *pings, uint64_t wanted_ns)
{
	uint64_t now_ns = clock_now_ns();

	(void)interrupt_ended();
	if (interrupt_continued() || (now_ns > wanted_ns && now_ns - wanted_ns > SUSPENDED_NS))
		resume(pings, now_ns);
	pings->awake_ns = now_ns;
	return now_ns;
}

static int send_due(struct ping *ping, uint64_t now_ns)
{
	int r = 0;

	while (r == 0 && !is_over(ping) && due_ns(ping) <= now_ns) {
		ping->adaptive_ns = now_ns + ping->interval_us * 1000;
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
						   ping_link_probe(link, link->overdue),
						   phase_of(link),
						   "no answer in time, still waiting");
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

	if (ping->broken)
		return UINT64_MAX;
	if (!all_sent(ping))
		wake = due_ns(ping);
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
		if (reply.probe.sequence == ping->next && reply.result != PING_UNREACHABLE)
			ping->adaptive_ns = clock_now_ns();
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

/* Appends links in use only: poll(2) refuses more entries than there may be descriptors. */
static nfds_t collect(struct pings *pings, struct ping *ping, nfds_t n)
{
	for (unsigned i = 0; i < ping->n_links; i++) {
		struct ping_link *link = &ping->links[i];
		bool writes = link->connecting || ping_link_blocked(link);

		if (link->fd < 0)
			continue;
		pings->polled[n] = (struct polled){ ping, link };
		pings->polls[n++] = (struct pollfd){
			.fd = link->fd,
			.events = (short)((link->connecting ? 0 : POLLIN) | (writes ? POLLOUT : 0)),
		};
	}
	return n;
}

/* The next reports are about this target. */
static void focus(struct ping *ping)
{
	ping->report->target = ping->named->text;
}

static int wait_for_events(struct pings *pings, uint64_t wake)
{
	nfds_t n = 0;
	int ready;

	for (size_t i = 0; i < pings->targets.count; i++)
		n = collect(pings, &pings->list[i], n);
	ready = interrupt_poll(pings->polls, n, wake);
	look_at_clock(pings, wake);
	for (nfds_t i = 0; i < n && ready > 0; i++) {
		focus(pings->polled[i].ping);
		take_events(pings->polled[i].ping, pings->polled[i].link, pings->polls[i].revents);
	}
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

/* Takes over the connection that the first probe uses. Returns 0 or -errno: this side failed. */
static int open_links(struct ping *ping, const struct dial *dial)
{
	const struct dial_attempt *winner = &dial->attempts[dial->winner];
	int r;

	ping->n_links = ping->reconnect ? LINKS_MAX : 1;
	for (unsigned i = 0; i < ping->n_links; i++)
		ping->links[i].fd = -1;
	ping->target = winner->target;
	ping->dial.at_once = true;
	dial_peer(dial, ping->peer);
	r = ping_link_open(&ping->links[0], dial->fd, ping->size_bytes,
			   ping->reconnect ? 1 : WINDOW);
	if (r == 0 && ping->udp)
		r = ping_flow_open(&ping->flow, &ping->links[0], &ping->target);
	ping->links[0].started_ns = winner->started_ns;
	ping->links[0].connected_ns = winner->ended_ns;
	return r;
}

/* Their turns are spread over the interval. Returns 0 or -errno. */
static int open_all(struct pings *pings, const struct dial *dials)
{
	size_t count = pings->targets.count;
	int r = 0;

	/* The usual 50 us of slack is too much for probes a millisecond apart. */
	prctl(PR_SET_TIMERSLACK, 1);
	pings->schedule = (struct schedule){
		.start_ns = clock_now_ns(),
		.period_ns = pings->settings.interval_us * 1000,
		.per_period = 1,
	};
	pings->awake_ns = pings->schedule.start_ns;
	pings->series.start_ns = pings->schedule.start_ns;
	for (size_t i = 0; i < count; i++) {
		struct ping *ping = &pings->list[i];

		*ping = pings->settings;
		ping->report = pings->report;
		ping->series = &pings->series;
		ping->named = &pings->targets.list[i];
		ping->schedule = &pings->schedule;
		ping->offset_ns = pings->schedule.period_ns / count * i;
		ping->started_ns = pings->schedule.start_ns;
		ping->adaptive_ns = ping->started_ns + ping->offset_ns;
		focus(ping);
		if (dials[i].phase == DIAL_DONE) {
			r = r < 0 ? r : open_links(ping, &dials[i]);
			if (count == 1 || !pings->report->quiet)
				ping_tally_head(ping);
		} else {
			dial_report_failure(ping->report, &ping->named->spec, &dials[i]);
			ping->broken = dials[i].why;
		}
	}
	return r;
}

static void tally_all(struct pings *pings, bool final)
{
	struct libscols_table *table = pings->targets.count > 1 ? ping_table_new() :
		NULL;

	for (size_t i = 0; i < pings->targets.count; i++) {
		focus(&pings->list[i]);
		ping_tally_summary(&pings->list[i], final, table);
	}
	if (table)
		table_print(pings->report, table);
}

/* How a flood stands, in a line that is rewritten. */
static void show_progress(struct pings *pings)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t sent = 0, back = 0;

	if (!pings->progress || now_ns - pings->progress_ns < PROGRESS_NS)
		return;
	pings->progress_ns = now_ns;
	for (size_t i = 0; i < pings->targets.count; i++) {
		sent += pings->list[i].sent;
		back += pings->list[i].counts[PING_OK] + pings->list[i].counts[PING_LATE];
	}
	terminal_show("%" PRIu64 " sent, %" PRIu64 " back", sent, back);
}

/* Sends what is due to all of them. *ret_wake_ns: when to do so again, UINT64_MAX: not at all. */
static int send_all_due(struct pings *pings, uint64_t *ret_wake_ns)
{
	uint64_t wake = UINT64_MAX;
	int r = 0;

	for (size_t i = 0; r == 0 && i < pings->targets.count; i++) {
		struct ping *ping = &pings->list[i];

		focus(ping);
		r = send_due(ping, look_at_clock(pings, pings->awake_ns));
		say_overdue(ping, look_at_clock(pings, pings->awake_ns));
		if (wake_ns(ping) < wake)
			wake = wake_ns(ping);
	}
	*ret_wake_ns = wake;
	return r;
}

/*
 * Sends all probes and counts the results, until all are done or the deadline or a signal comes.
 * Returns 0, or -errno if this side failed.
 */
static int run_probes(struct pings *pings, const struct dial *dials)
{
	int r = open_all(pings, dials);
	uint64_t wake;

	while (r == 0) {
		r = send_all_due(pings, &wake);
		if (r < 0 || interrupt_ended() < 0 || !report_heard(pings->report) ||
		    wake == UINT64_MAX)
			break;
		if (interrupt_asked())
			tally_all(pings, false);
		show_progress(pings);
		r = wait_for_events(pings, wake);
	}
	for (size_t i = 0; i < pings->targets.count; i++) {
		focus(&pings->list[i]);
		close_links(&pings->list[i], clock_now_ns());
		datagram_close(&pings->list[i].flow.socket);
	}
	return r;
}

/* Every probe met an ICMP error. */
static bool is_unreachable(const struct ping *ping)
{
	return ping->sent > 0 && ping->counts[PING_UNREACHABLE] == ping->sent;
}

/* Returns COMMAND_PROCEED, or STATUS_USAGE after saying why: others do not want to be flooded. */
static int refuse_flood(const struct pings *pings, const struct dial *dials)
{
	char peer[ADDRESS_TEXT_MAX];

	for (size_t i = 0; pings->flood && !pings->yes && i < pings->targets.count; i++) {
		if (dials[i].phase != DIAL_DONE ||
		    dial_is_private(&dials[i].attempts[dials[i].winner].target))
			continue;
		report_error(pings->report, "ping: --flood: %s is neither loopback nor private: "
			     "--yes floods it nevertheless", dial_peer(&dials[i], peer));
		return STATUS_USAGE;
	}
	return COMMAND_PROCEED;
}

static int run_all(struct pings *pings, struct dial *dials)
{
	size_t count = pings->targets.count;
	size_t failed = 0;
	int r;

	dial_targets(pings->targets.list, count, &pings->settings.dial, dials);
	if (count == 1 && dials[0].phase != DIAL_DONE) {
		pings->report->target = pings->targets.list[0].text;
		dial_report_failure(pings->report, &pings->targets.list[0].spec, &dials[0]);
		return dial_status(&dials[0]);
	}
	if (refuse_flood(pings, dials) != COMMAND_PROCEED)
		return STATUS_USAGE;
	r = run_probes(pings, dials);
	tally_all(pings, true);
	if (r < 0) {
		report_error(pings->report, "ping: %s", report_why(-r));
		return STATUS_LOCAL;
	}
	if (count == 1 && is_unreachable(&pings->list[0]))
		return STATUS_UNREACHED;
	for (size_t i = 0; i < count; i++) {
		focus(&pings->list[i]);
		failed += !ping_judge(&pings->list[i]);
	}
	return failed == 0 ? STATUS_OK : STATUS_FAILED;
}

static int allocate_and_run(struct pings *pings)
{
	size_t count = pings->targets.count;
	size_t n_links = count * (pings->settings.reconnect ? LINKS_MAX : 1);
	struct dial *dials = calloc(count, sizeof(*dials));
	int status = STATUS_LOCAL;

	pings->list = calloc(count, sizeof(*pings->list));
	pings->polled = calloc(n_links, sizeof(*pings->polled));
	pings->polls = calloc(n_links + 1, sizeof(*pings->polls));
	if (dials && pings->list && pings->polled && pings->polls)
		status = run_all(pings, dials);
	else
		report_error(pings->report, "ping: %s", strerror(ENOMEM));
	free(pings->polls);
	free(pings->polled);
	free(pings->list);
	free(dials);
	return status;
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
	static struct pings pings = {
		.settings = { .late_us = 1000000, .size_bytes = 64 },
	};
	struct report *report = &invocation->globals.report;
	int status = command_parse(invocation, take, &pings);

	pings.settings.udp = invocation->globals.udp;
	if (pings.settings.interval_us == 0)
		pings.settings.interval_us = pings.flood ? FLOOD_INTERVAL_US : INTERVAL_US;
	pings.progress = pings.flood && !report->quiet && !report->json &&
		terminal_obeys(STDERR_FILENO);
	report->quiet |= pings.flood;
	if (status == COMMAND_PROCEED)
		status = refuse_mix(invocation, &pings.settings);
	if (status == COMMAND_PROCEED)
		status = targets_read(invocation, COMMAND_DEFAULT_PORT, &pings.targets);
	if (status == COMMAND_PROCEED &&
	    interrupt_open(report, invocation->globals.deadline_us, true) < 0)
		status = STATUS_LOCAL;
	pings.settings.dial = dial_options(&invocation->globals);
	pings.report = report;
	if (status == COMMAND_PROCEED &&
	    series_open(&pings.series, "seq,result,rtt_ms", report) < 0)
		status = STATUS_LOCAL;
	if (status == COMMAND_PROCEED)
		status = allocate_and_run(&pings);
	if (!series_close(&pings.series))
		status = STATUS_LOCAL;
	report->target = NULL;
	targets_free(&pings.targets);
	return status;
}

const struct command command_ping = {
	.name = "ping",
	.operands = "ADDRESS...",
	.summary = "probe at a fixed schedule, with percentiles",
	.help = help,
	.long_options = options,
	.path = &dial_path_options,
	.run = run,
	.has_udp = true,
};
