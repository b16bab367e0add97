/* SPDX-License-Identifier: MIT */
/*
 * echoctl ping: numbered, time-stamped probes at a fixed schedule. The loop sends what is due,
 * takes what comes, and waits no longer than needed.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "echoctl/command_line/command.h"
#include "echoctl/dial/dial.h"
#include "echoctl/output/histogram.h"
#include "echoctl/ping/flow.h"
#include "echoctl/ping/link.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/schedule.h"

#define INTERVAL_MIN_US 1000
#define TIME_MAX_US (UINT64_C(86400) * 365 * 1000000)
#define SIZE_MAX_BYTES (UINT64_C(1) << 20)
#define WINDOW 65536		/* probes on their way over one connection */
#define LINKS_MAX 256		/* connections at a time with --reconnect */
#define OPTION_RECONNECT OPTION_OWN
#define SUSPENDED_NS CLOCK_NS_PER_S	/* so late to wake up, the whole machine was stopped */

struct ping {
	uint64_t count;			/* 0: until stopped */
	uint64_t interval_us;
	uint64_t late_us;
	uint64_t size_bytes;
	bool timestamps;
	bool reconnect;			/* a connection for each probe */
	bool udp;			/* a datagram for each; links[0] has the socket */
	struct ping_flow flow;
	struct report *report;
	const char *host;		/* as the user named it */
	char peer[ADDRESS_TEXT_MAX];
	struct schedule schedule;
	struct dial_address target;
	struct dial_options dial;
	uint64_t next;			/* event of the schedule; its sequence is one more */
	struct ping_link links[LINKS_MAX];
	unsigned n_links;		/* in use: 1, or LINKS_MAX with --reconnect */
	/* What has become of the probes. */
	uint64_t started_ns;
	uint64_t awake_ns;		/* when we last looked at the clock */
	uint64_t sent;			/* ok, late, lost, corrupt, and what is still on its way */
	uint64_t counts[PING_RESULTS];
	struct histogram rtt;		/* of ok and late */
	struct histogram connect;	/* until the connection stood; separate from rtt */
	const char *broken;		/* why the connection ended early, or NULL */
	uint64_t last_rtt_ns;
	double jitter_sum_ns;		/* of the differences between successive rtt */
};

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

static const char *const result_names[PING_RESULTS] = {
	[PING_OK] = "ok",
	[PING_LATE] = "late",
	[PING_LOST] = "lost",
	[PING_CORRUPT] = "corrupt",
	[PING_CUT] = "cut",
	[PING_MERGED] = "merged",
	[PING_UNREACHABLE] = "unreachable",
	[PING_DUPLICATE] = "duplicate",
	[PING_REFUSED] = "refused",
	[PING_UNSENT] = "unsent",
	[PING_OVERDUE] = "overdue",
};

static double ms(double ns)
{
	return ns / 1e6;
}

/* What became of one probe: for programs with these details, which are freed; for people a line. */
__attribute__((format(printf, 5, 6)))
static void tell(struct ping *ping, uint64_t sequence, enum ping_result result, json_t *details,
		 const char *format, ...)
{
	json_t *event = json_pack("{s:s, s:I, s:s}", "event", "ping_probe", "seq",
				  (json_int_t)sequence, "result", result_names[result]);
	char stamp[40] = "";
	char text[256];
	struct timespec now;
	va_list arguments;

	if (ping->udp)
		json_object_set_new(event, "protocol", json_string("udp"));
	if (ping->timestamps) {
		clock_gettime(CLOCK_REALTIME, &now);
		json_object_set_new(event, "unix_ns", json_integer(
			(json_int_t)now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec));
		snprintf(stamp, sizeof(stamp), "[%lld.%06ld] ", (long long)now.tv_sec,
			 now.tv_nsec / 1000);
	}
	json_object_update_new(event, details);
	report_json(ping->report, event);
	if (ping->report->quiet)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	report_text(ping->report, "%s%s\n", stamp, text);
}

static void count_rtt(struct ping *ping, uint64_t rtt_ns)
{
	if (ping->rtt.count > 0)
		ping->jitter_sum_ns += fabs((double)rtt_ns - (double)ping->last_rtt_ns);
	ping->last_rtt_ns = rtt_ns;
	histogram_record(&ping->rtt, rtt_ns);
}

static void tally_intact(struct ping *ping, const struct ping_reply *reply, uint64_t connect_ns)
{
	uint64_t rtt_ns = reply->rtt_ns;
	/* Not if the kernel tells when it came, which it does for UDP. */
	uint64_t stopped_ns = rtt_ns >= reply->probe.stopped_ns ? reply->probe.stopped_ns : 0;
	bool late = rtt_ns - stopped_ns > ping->late_us * 1000;
	enum ping_result result = late ? PING_LATE : PING_OK;
	json_t *details = json_pack("{s:I, s:I}", "size_bytes",
				    (json_int_t)ping->size_bytes,
				    stopped_ns > 0 ? "stopped_ns" : "rtt_ns",
				    (json_int_t)(stopped_ns > 0 ? stopped_ns : rtt_ns));
	char connect[48] = "";
	char time[64] = "came while ping was stopped";

	ping->counts[result]++;
	/* When it came while nobody looked is not known. */
	if (stopped_ns == 0) {
		count_rtt(ping, rtt_ns);
		snprintf(time, sizeof(time), "time=%.3f ms", ms((double)rtt_ns));
	}
	if (ping->reconnect) {
		snprintf(connect, sizeof(connect), "connect=%.3f ms ", ms((double)connect_ns));
		json_object_set_new(details, "connect_ns", json_integer((json_int_t)connect_ns));
		histogram_record(&ping->connect, connect_ns);
	}
	if (reply->reordered)
		json_object_set_new(details, "reordered", json_true());
	tell(ping, reply->probe.sequence, result, details,
	     "%" PRIu64 " bytes from %s: seq=%" PRIu64 " %s%s%s%s", ping->size_bytes, ping->peer,
	     reply->probe.sequence, connect, time, late ? " (late)" : "",
	     reply->reordered ? " (reordered)" : "");
}

/* A probe without a reply: lost, refused, unsent or overdue. phase: "connect", "send", "echo". */
static void tally_missing(struct ping *ping, enum ping_result result, uint64_t sequence,
			  const char *phase, const char *why)
{
	ping->counts[result]++;
	tell(ping, sequence, result, json_pack("{s:s, s:s}", "phase", phase, "why", why),
	     "%s: seq=%" PRIu64 " %s: %s: %s", ping->peer, sequence, result_names[result], phase,
	     why);
}

/* An ICMP error came back, or the echo once more. */
static void tally_special(struct ping *ping, const struct ping_reply *reply)
{
	const struct datagram_event *event = reply->event;
	uint64_t sequence = reply->probe.sequence;

	ping->counts[reply->result]++;
	if (reply->result == PING_DUPLICATE)
		tell(ping, sequence, PING_DUPLICATE,
		     json_pack("{s:I}", "rtt_ns", (json_int_t)reply->rtt_ns),
		     "%s: seq=%" PRIu64 " duplicate: came back once more", ping->peer, sequence);
	else
		tell(ping, sequence, PING_UNREACHABLE,
		     json_pack("{s:s, s:s, s:i, s:i}", "phase", "echo", "why", reply->why,
			       "icmp_type", event->type, "icmp_code", event->code),
		     "%s: seq=%" PRIu64 " unreachable: %s", ping->peer, sequence, reply->why);
}

/* What the link has made of a probe; connect_ns counts with --reconnect only. */
static void tally_reply(struct ping *ping, const struct ping_reply *reply, uint64_t connect_ns)
{
	uint64_t sequence = reply->probe.sequence;

	assert(reply->result == PING_OK || reply->why);
	switch (reply->result) {
	case PING_OK:
		tally_intact(ping, reply, connect_ns);
		break;
	case PING_LOST:
		tally_missing(ping, PING_LOST, sequence, "echo", reply->why);
		break;
	case PING_DUPLICATE:
	case PING_UNREACHABLE:
		tally_special(ping, reply);
		break;
	default:
		ping->counts[reply->result]++;
		tell(ping, sequence, reply->result,
		     json_pack("{s:I, s:s}", "offset_bytes", (json_int_t)reply->offset_bytes,
			       "why", reply->why),
		     "%s: seq=%" PRIu64 " %s: %s from offset %zu on", ping->peer, sequence,
		     result_names[reply->result], reply->why, reply->offset_bytes);
	}
}

/* The connection of all probes is broken: -errno of that phase, and the same in words. */
static void tally_broken(struct ping *ping, const char *phase, int error, const char *why)
{
	bool by_peer = error == -ENODATA || error == -EBADMSG;

	ping->broken = why;
	report_error(ping->report, "%s: %s: %s", ping->peer, phase, why);
	report_failure(ping->report, ping->host, ping->peer, phase, by_peer ? 0 : -error, why);
}

static double jitter_ns(const struct ping *ping)
{
	if (ping->udp)
		return ping->flow.order.jitter_ns;
	return ping->rtt.count > 1 ? ping->jitter_sum_ns / (double)(ping->rtt.count - 1) : 0;
}

/* What UDP has besides. */
static void add_udp(const struct ping *ping, json_t *event)
{
	json_object_update_new(event, json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I}", "protocol", "udp",
		"cut", (json_int_t)ping->counts[PING_CUT],
		"merged", (json_int_t)ping->counts[PING_MERGED],
		"unreachable", (json_int_t)ping->counts[PING_UNREACHABLE],
		"refused", (json_int_t)ping->counts[PING_REFUSED],
		"duplicates", (json_int_t)ping->counts[PING_DUPLICATE]));
	json_object_update_new(event, ping_flow_json(&ping->flow));
}

static void emit_summary(struct ping *ping, bool final, uint64_t elapsed_ns, uint64_t waiting)
{
	json_t *event = json_pack(
		"{s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:o, s:f}",
		"event", "ping_summary",
		"final", final,
		"peer", report_string(ping->peer),
		"size_bytes", (json_int_t)ping->size_bytes,
		"duration_ns", (json_int_t)elapsed_ns,
		"sent", (json_int_t)ping->sent,
		"ok", (json_int_t)ping->counts[PING_OK],
		"lost", (json_int_t)ping->counts[PING_LOST],
		"corrupt", (json_int_t)ping->counts[PING_CORRUPT],
		"late", (json_int_t)ping->counts[PING_LATE],
		"unsent", (json_int_t)ping->counts[PING_UNSENT],
		"waiting", (json_int_t)waiting,
		"broken", ping->broken,
		"rtt", histogram_json(&ping->rtt),
		"jitter_ns", round(jitter_ns(ping)));

	if (ping->reconnect)
		json_object_set_new(event, "connect", histogram_json(&ping->connect));
	if (ping->udp)
		add_udp(ping, event);
	report_json(ping->report, event);
}

static void print_times(struct ping *ping, const char *name, const struct histogram *histogram)
{
	if (histogram->count == 0)
		return;
	report_text(ping->report, "%s min/avg/max/mdev %.3f/%.3f/%.3f/%.3f ms\n", name,
		    ms((double)histogram->min_ns), ms(histogram->mean_ns),
		    ms((double)histogram->max_ns), ms(histogram_deviation(histogram)));
	report_text(ping->report, "%s p50/p90/p99/p99.9 %.3f/%.3f/%.3f/%.3f ms\n", name,
		    ms((double)histogram_percentile(histogram, 50)),
		    ms((double)histogram_percentile(histogram, 90)),
		    ms((double)histogram_percentile(histogram, 99)),
		    ms((double)histogram_percentile(histogram, 99.9)));
}

/* What has a count of probes or answers that is not zero. */
static void print_count(struct ping *ping, uint64_t count, const char *what)
{
	if (count > 0)
		report_text(ping->report, ", %" PRIu64 " %s", count, what);
}

/* How many probes it is known of what became of them, of those that were sent. */
static uint64_t count_settled(const struct ping *ping)
{
	uint64_t settled = 0;

	for (enum ping_result i = PING_OK; i < PING_DUPLICATE; i++)
		settled += ping->counts[i];
	return settled;
}

/* The statistics; final: at the end of the run. */
static void tally_summary(struct ping *ping, bool final)
{
	uint64_t elapsed_ns = clock_now_ns() - ping->started_ns;
	uint64_t waiting = ping->sent - count_settled(ping);

	emit_summary(ping, final, elapsed_ns, waiting);
	report_text(ping->report, "\n--- %s echo statistics ---\n", ping->peer);
	report_text(ping->report, "%" PRIu64 " sent, %" PRIu64 " ok, %" PRIu64 " lost, %" PRIu64
		    " corrupt, %" PRIu64 " late", ping->sent, ping->counts[PING_OK],
		    ping->counts[PING_LOST], ping->counts[PING_CORRUPT],
		    ping->counts[PING_LATE]);
	print_count(ping, ping->counts[PING_CUT], "cut");
	print_count(ping, ping->counts[PING_MERGED], "merged");
	print_count(ping, ping->counts[PING_UNREACHABLE], "unreachable");
	print_count(ping, ping->counts[PING_DUPLICATE], "duplicates");
	print_count(ping, ping->counts[PING_REFUSED], "refused by the own interface");
	print_count(ping, ping->counts[PING_UNSENT], "could not be sent");
	print_count(ping, waiting, final ? "not waited for" : "on the way");
	report_text(ping->report, " in %.3f s\n", (double)elapsed_ns / 1e9);
	print_times(ping, "rtt", &ping->rtt);
	if (ping->rtt.count > 1)
		report_text(ping->report, "jitter %.3f ms\n", ms(jitter_ns(ping)));
	print_times(ping, "connect", &ping->connect);
	ping_flow_print(&ping->flow, ping->report);
}

/* True if every probe came back whole and in time, and there was one. */
static bool all_well(const struct ping *ping)
{
	return ping->counts[PING_OK] > 0 && !ping->broken &&
		ping->counts[PING_OK] == count_settled(ping) &&
		ping->counts[PING_REFUSED] == 0 && ping->counts[PING_UNSENT] == 0;
}

static const char *why(int error)
{
	return error == -EBADMSG ? "the peer sent bytes that no probe waits for" :
				   exchange_why(error);
}

/* When the index-th unanswered probe of the link has had its time. */
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
		tally_broken(ping, phase, error, why(error));
	for (uint64_t i = 0; i < link->count; i++)
		tally_missing(ping, PING_LOST, ping_link_probe(link, i)->sequence,
				   phase, why(error));
	ping_link_close(link);
}

/* The index-th unanswered probe of the link will not come back any more. */
static void give_up(struct ping *ping, const struct ping_link *link, uint64_t index)
{
	tally_missing(ping, PING_LOST, ping_link_probe(link, index)->sequence,
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
		tally_missing(ping, PING_UNSENT, sequence, "send",
				   "too many connections wait");
		return 0;
	}
	fd = dial_start(&ping->target, &ping->dial, &phase);
	/* Without a socket nothing was asked of the target, and nothing is lost. */
	if (fd < 0 && phase == DIAL_SOCKET)
		return fd;
	if (fd == -EAGAIN) {
		tally_missing(ping, PING_UNSENT, sequence, "send",
				   "the peer does not accept");
		return 0;
	}
	ping->sent++;
	if (fd < 0) {
		tally_missing(ping, PING_LOST, sequence, dial_phase_name(phase),
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
		tally_missing(ping, PING_UNSENT, sequence, "send",
			      "too many datagrams are on their way");
		return;
	}
	r = ping_flow_send(&ping->flow, link, sequence);
	ping->sent += r == 0;
	if (r == -EMSGSIZE)
		tally_missing(ping, PING_REFUSED, sequence, "send",
			      "too big for the own interface");
	else if (r < 0)
		tally_missing(ping, PING_UNSENT, sequence, "send", strerror(-r));
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
		tally_missing(ping, PING_UNSENT, sequence, "send",
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

/* We ourselves were stopped: nobody is late for that, and nothing is made up for. */
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

/* What time it is, when by rights it is wanted_ns; sees whether we were stopped before. */
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
				tally_missing(ping, PING_OVERDUE,
					      ping_link_probe(link, link->overdue)->sequence,
					      phase_of(link), "no answer in time, still waiting");
			link->overdue++;
		}
	}
}

/*
 * When the next probe is due, or one that waits has had its time, which begins when it was really
 * sent; UINT64_MAX: all have had it.
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
		tally_reply(ping, &reply, link->connected_ns - link->started_ns);
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
	uint64_t until_ns = wake_ns(ping);
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
	ready = interrupt_poll(polls, n, until_ns);
	look_at_clock(ping, until_ns);
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
 * Takes over the connection that the first probe uses, sends all probes and counts what becomes of
 * them, until they are done, the deadline has come or a signal. Returns 0, or -errno if this side
 * failed.
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
	/* Probes a millisecond apart do not bear the usual 50 us of slack. */
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
			tally_summary(ping, false);
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
	tally_summary(&ping, true);
	if (r < 0) {
		report_error(report, "ping: %s", strerror(-r));
		return STATUS_LOCAL;
	}
	if (ping.sent > 0 && ping.counts[PING_UNREACHABLE] == ping.sent)
		return STATUS_UNREACHED;
	return all_well(&ping) ? STATUS_OK : STATUS_FAILED;
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
