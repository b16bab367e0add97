/* SPDX-License-Identifier: MIT */
/* trace: each phase of an echo with its time and address. */
#include <errno.h>
#include <linux/mptcp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/command_line/targets.h"
#include "echoctl/datagram/trial.h"
#include "echoctl/output/table.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/session/session.h"

#define SIZE_DEFAULT_BYTES 64u
#define NS_PER_US 1000
#define COLUMNS 5		/* of the table of several targets */

struct trace_command {
	struct session_command session;
	struct targets targets;
	struct libscols_table *table;	/* a row for each target, of several */
};

/* A trace being printed: times count from its start. */
struct trace {
	struct report *report;
	bool hushed;			/* several targets and -q: only the table is printed */
	uint64_t start_ns;
	uint64_t last_ns;
};

/* A line for people about one target. */
#define say(trace, ...) \
	((trace)->hushed ? (void)0 : report_text((trace)->report, __VA_ARGS__))

/* Reports a phase that ended at when_ns: for people a line, for programs an event. */
static void tell(struct trace *trace, const char *phase, uint64_t when_ns, const char *address,
		 int error, const char *format, ...) __attribute__((format(printf, 6, 7)));

static void tell(struct trace *trace, const char *phase, uint64_t when_ns, const char *address,
		 int error, const char *format, ...)
{
	char detail[512];
	va_list arguments;
	bool failed;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	/* Of several attempts all but the first to connect are cancelled. */
	failed = (error != 0 && error != ECANCELED) || strncmp(detail, "failed", 6) == 0;
	if (!trace->hushed)
		report_outcome(trace->report, failed, "%-10s %9.3f ms %+9.3f ms  %s\n", phase,
			       (double)(when_ns - trace->start_ns) / 1e6,
			       (double)(when_ns - trace->last_ns) / 1e6, detail);
	report_json(trace->report, json_pack("{s:s, s:s, s:I, s:I, s:o, s:s?, s:o}",
		"event", "trace",
		"phase", phase,
		"time_ns", (json_int_t)(when_ns - trace->start_ns),
		"step_ns", (json_int_t)(when_ns - trace->last_ns),
		"address", report_string(address),
		"errno", error != 0 ? strerrorname_np(error) : NULL,
		"message", report_string(detail)));
	trace->last_ns = when_ns;
}

static void tell_addresses(struct trace *trace, const struct dial *dial)
{
	char text[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < dial->n_addresses; i++) {
		dial_address_format(&dial->addresses[i], text);
		tell(trace, "resolve", dial->resolved_ns, text, 0, "%s", text);
	}
}

static void tell_attempts(struct trace *trace, const struct dial *dial)
{
	char text[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < dial->n_attempts; i++) {
		const struct dial_attempt *attempt = &dial->attempts[i];
		uint64_t ended_ns = attempt->ended_ns;

		dial_address_format(&attempt->target, text);
		tell(trace, attempt->phase == DIAL_SOCKET ? "socket" : "connect",
		     ended_ns > trace->last_ns ? ended_ns : trace->last_ns, text, attempt->error,
		     "%s%s%s", text, attempt->error != 0 ? ": " : "",
		     attempt->error != 0 ? report_why(attempt->error) : "");
	}
}

/* Reports the phases of the exchange in the order in which they came. */
static void tell_exchange(struct trace *trace, const struct session_result *result)
{
	struct step {
		const char *phase;
		uint64_t when_ns;
		const char *detail;
	} steps[] = {
		{"first-sent", result->first_sent_ns, "first byte sent"},
		{"fin", result->fin_ns, "FIN sent"},
		{"first-back", result->first_received_ns, "first byte back"},
		{"verified", result->verified ? result->last_received_ns : 0, "all bytes back"},
		{"eof", result->eof_ns, "EOF: the server's FIN"},
	};
	size_t n = sizeof(steps) / sizeof(*steps);

	for (size_t told = 0; told < n; told++) {
		struct step *next = NULL;

		for (size_t i = 0; i < n; i++) {
			if (steps[i].when_ns != 0 &&
			    (!next || steps[i].when_ns < next->when_ns))
				next = &steps[i];
		}
		if (!next)
			break;
		tell(trace, next->phase, next->when_ns, NULL, 0, "%s", next->detail);
		next->when_ns = 0;
	}
}

/* The phase in which an exchange failed. */
static const char *failed_phase(const struct session_result *result)
{
	if (result->first_sent_ns == 0)
		return "send";
	if (result->end == SESSION_CORRUPT || result->end == SESSION_EXCESS)
		return "verify";
	if (result->bytes_received < result->bytes_sent)
		return "echo";
	return "eof";
}

static int run_exchange(struct trace *trace, int fd, const struct session_command *session,
			struct session_result *ret_result)
{
	char text[SESSION_TEXT_MAX];

	session_run(fd, &session->options, ret_result);
	tell_exchange(trace, ret_result);
	session_note_end(ret_result);
	if (ret_result->end != SESSION_OK)
		tell(trace, failed_phase(ret_result), ret_result->ended_ns, NULL,
		     ret_result->error, "failed: %s", session_describe(ret_result, text));
	return session_status(ret_result);
}

static enum session_end end_of_trial(const struct datagram_trial *trial)
{
	switch (trial->error) {
	case 0:
		return SESSION_OK;
	case -EBADMSG:
		return SESSION_CORRUPT;
	case -ETIMEDOUT:
	case -EINTR:
		return interrupt_ended() < 0 ? session_end_of(interrupt_ended()) : SESSION_STALL;
	default:
		return trial->came ? SESSION_RESET : SESSION_BROKEN;
	}
}

/* What the headers of the echo say, for people and for programs. */
static json_t *tell_headers(struct trace *trace, const struct datagram_event *event)
{
	say(trace, "%-12s TTL %d, type of service 0x%02x\n", "udp-info", event->ttl,
	    (unsigned)event->tos);
	if (event->fragment_bytes > 0)
		say(trace, "%-12s came in fragments of %u bytes\n", "udp-info",
		    event->fragment_bytes);
	return json_pack("{s:i, s:i, s:I}", "ttl", event->ttl, "tos", event->tos,
			 "return_fragment_bytes", (json_int_t)event->fragment_bytes);
}

/* The exchange as one datagram; the socket lets answers of others in, so that they are named. */
static int run_datagram(struct trace *trace, const struct dial *dial,
			const struct session_command *session, struct datagram_trial *ret_trial,
			struct session_result *ret_result)
{
	struct datagram_probe probe = {
		.run = datagram_run(), .size_bytes = session->options.pattern_bytes,
	};
	uint64_t now_ns = clock_now_ns();
	struct datagram_socket socket;
	char from[ADDRESS_TEXT_MAX];
	bool back;
	int r = datagram_open(dial->fd, &dial->attempts[dial->winner].target,
			      DATAGRAM_UNCONNECTED, 1, &socket);

	*ret_trial = (struct datagram_trial){ .error = r };
	if (r == 0) {
		datagram_try(&socket, &probe, now_ns + session->options.drain_timeout_us * 1000,
			     ret_trial);
		datagram_close(&socket);
	}
	back = ret_trial->came && !ret_trial->event.is_error;
	*ret_result = (struct session_result){
		.end = end_of_trial(ret_trial),
		.error = ret_trial->came ? -ret_trial->error : 0,
		.message = ret_trial->error < 0 ? ret_trial->why : NULL,
		.verified = ret_trial->error == 0,
		.bytes_sent = probe.sent_ns > 0 ? probe.size_bytes : 0,
		.bytes_received = back ? ret_trial->event.size_bytes : 0,
		.started_ns = now_ns,
		.first_sent_ns = probe.sent_ns,
		.first_received_ns = ret_trial->event.received_ns,
		.last_received_ns = ret_trial->event.received_ns,
		.ended_ns = clock_now_ns(),
	};
	if (probe.sent_ns > 0)
		tell(trace, "first-sent", probe.sent_ns, NULL, 0, "datagram sent");
	if (back)
		tell(trace, "first-back", ret_trial->event.received_ns,
		     dial_address_format(&ret_trial->event.from, from), 0, "datagram from %s, "
		     "after %.3f ms", from, (double)ret_trial->time_ns / 1e6);
	if (ret_trial->error == 0)
		tell(trace, "verified", ret_result->ended_ns, NULL, 0, "all bytes back");
	else
		tell(trace, failed_phase(ret_result), ret_result->ended_ns, NULL,
		     -ret_trial->error, "failed: %s", ret_trial->why);
	return session_status(ret_result);
}

/* Reports what the kernel knows of the path, tcp(7); null for a Unix socket. */
static json_t *tell_path(struct trace *trace, int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return json_null();
	say(trace, "%-12s rtt %.3f ms (deviation %.3f ms), %u retransmits\n", "tcp-info",
	    info.tcpi_rtt / 1e3, info.tcpi_rttvar / 1e3, info.tcpi_total_retrans);
	say(trace, "%-12s path MTU %u bytes, MSS %u bytes there, %u back\n", "tcp-info",
	    info.tcpi_pmtu, info.tcpi_snd_mss, info.tcpi_rcv_mss);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}",
			 "rtt_ns", (json_int_t)info.tcpi_rtt * NS_PER_US,
			 "rtt_deviation_ns", (json_int_t)info.tcpi_rttvar * NS_PER_US,
			 "retransmits", (json_int_t)info.tcpi_total_retrans,
			 "pmtu_bytes", (json_int_t)info.tcpi_pmtu,
			 "send_mss_bytes", (json_int_t)info.tcpi_snd_mss,
			 "receive_mss_bytes", (json_int_t)info.tcpi_rcv_mss);
}

/*
 * What became of Multipath TCP, for people and programs; null if it was not asked for. The kernel
 * has no MPTCP_INFO of a connection that fell back to TCP.
 */
static json_t *tell_mptcp(struct trace *trace, int fd)
{
	struct mptcp_info info = {0};
	socklen_t length = sizeof(int);
	int protocol = 0;
	bool fallback;

	getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length);
	if (protocol != IPPROTO_MPTCP)
		return json_null();
	length = sizeof(info);
	fallback = getsockopt(fd, SOL_MPTCP, MPTCP_INFO, &info, &length) < 0 ||
		(info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK);
	if (fallback)
		say(trace, "%-12s fell back to TCP\n", "mptcp-info");
	else
		say(trace, "%-12s %u subflows beside the first of at most %u\n", "mptcp-info",
		    info.mptcpi_subflows, info.mptcpi_subflows_max);
	return json_pack("{s:b, s:i, s:i}",
			 "fallback", fallback,
			 "more_subflows", (int)info.mptcpi_subflows,
			 "more_subflows_max", (int)info.mptcpi_subflows_max);
}

/* Reports the end of the trace, and the path. trial: with UDP, else NULL. */
static void conclude(struct trace *trace, const struct address_spec *target,
		     const struct dial *dial, const struct session_result *result,
		     const struct datagram_trial *trial)
{
	char address[ADDRESS_TEXT_MAX];
	json_t *event = json_pack("{s:s, s:o, s:o}", "event", "trace_summary",
				  "host", report_string(target->host),
				  "address", report_string(dial_peer(dial, address)));

	session_json(event, result);
	json_object_set_new(event, "tcp_info", tell_path(trace, dial->fd));
	json_object_set_new(event, "mptcp_info", tell_mptcp(trace, dial->fd));
	if (trial) {
		json_object_set_new(event, "protocol", json_string("udp"));
		json_object_set_new(event, "udp_info", trial->came && !trial->event.is_error ?
				    tell_headers(trace, &trial->event) : json_null());
	}
	report_json(trace->report, event);
}

/* The row of a target; result: NULL, it was not reached. */
static void add_row(struct trace_command *command, const struct target *target,
		    const struct dial *dial, const struct session_result *result)
{
	char text[SESSION_TEXT_MAX];
	char address[ADDRESS_TEXT_MAX];
	char connect[32] = "";
	char echo[32] = "";

	if (result) {
		snprintf(connect, sizeof(connect), "%.3f ms",
			 (double)(dial->attempts[dial->winner].ended_ns - dial->started_ns) / 1e6);
		snprintf(echo, sizeof(echo), "%.3f ms",
			 (double)(result->ended_ns - result->started_ns) / 1e6);
		session_describe(result, text);
	} else {
		snprintf(text, sizeof(text), "%s: %s", dial_phase_name(dial->phase), dial->why);
	}
	table_add(command->table, (const char *[]){target->text, dial_peer(dial, address), connect,
						   echo, text}, COLUMNS);
}

static int trace_target(struct report *report, struct trace_command *command,
			const struct target *target)
{
	const struct dial_options *dialling = &command->session.dialling;
	struct trace trace = { .report = report, .hushed = command->table && report->quiet };
	struct datagram_trial trial;
	struct session_result result;
	struct dial dial;
	int status;
	int r;

	if (command->table)
		say(&trace, "%s\n", target->text);
	r = dial_resolve(&target->spec, dialling, &dial);
	trace.start_ns = dial.started_ns;
	trace.last_ns = dial.started_ns;
	tell_addresses(&trace, &dial);
	if (r == 0) {
		r = dial_connect(dialling, &dial);
		tell_attempts(&trace, &dial);
	}
	if (dial.phase == DIAL_RESOLVE)
		tell(&trace, "resolve", dial.resolved_ns, NULL, dial.error, "failed: %s", dial.why);
	if (r < 0) {
		dial_report_failure(report, &target->spec, &dial);
		add_row(command, target, &dial, NULL);
		return dial_status(&dial);
	}
	status = dialling->udp ?
		run_datagram(&trace, &dial, &command->session, &trial, &result) :
		run_exchange(&trace, dial.fd, &command->session, &result);
	conclude(&trace, &target->spec, &dial, &result, dialling->udp ? &trial : NULL);
	add_row(command, target, &dial, &result);
	fd_close(dial.fd);
	return status;
}

static const char *const headings[COLUMNS] = {
	"TARGET", "-ADDRESS", ">CONNECT", ">ECHO", "RESULT",
};

static int trace_targets(struct report *report, struct trace_command *command)
{
	const struct targets *targets = &command->targets;
	size_t failed = 0;
	int status = STATUS_OK;

	if (targets->count > 1)
		command->table = table_new(headings, COLUMNS);
	for (size_t i = 0; i < targets->count && interrupt_ended() == 0; i++) {
		report->target = targets->list[i].text;
		status = trace_target(report, command, &targets->list[i]);
		failed += status != STATUS_OK;
	}
	if (targets->count > 1)
		table_print(report, command->table);
	if (targets->count == 1)
		return status;
	return failed > 0 || interrupt_ended() < 0 ? STATUS_FAILED : STATUS_OK;
}

static const char *take(void *settings, int option, const char *value)
{
	struct trace_command *command = settings;

	if (option != OPTION_TARGETS)
		return session_take(&command->session, option, value);
	command->targets.file = value;
	return NULL;
}

static int run(struct invocation *invocation)
{
	struct trace_command command = { .session.options = SESSION_PROBE(SIZE_DEFAULT_BYTES) };
	const struct globals *globals = &invocation->globals;
	int status = command_parse(invocation, take, &command);

	if (status == COMMAND_PROCEED && globals->udp &&
	    command.session.options.pattern_bytes > DATAGRAM_MAX_BYTES)
		status = command_usage_error(invocation, "--size: too large for UDP");
	if (status == COMMAND_PROCEED)
		status = targets_read(invocation, COMMAND_DEFAULT_PORT, &command.targets);
	if (status == COMMAND_PROCEED &&
	    interrupt_open(&globals->report, globals->deadline_us, false) < 0)
		status = STATUS_LOCAL;
	command.session.dialling = dial_options(globals);
	if (status == COMMAND_PROCEED)
		status = trace_targets(&invocation->globals.report, &command);
	invocation->globals.report.target = NULL;
	targets_free(&command.targets);
	return status;
}

static const struct option long_options[] = {
	SESSION_OPTION_DRAIN_TIMEOUT,
	SESSION_OPTION_SIZE,
	TARGETS_OPTION,
	{0},
};

const struct command command_trace = {
	.name = "trace",
	.operands = "ADDRESS...",
	.summary = "each phase of an echo with its time",
	.help =
		"Sends a few bytes and a FIN, and says when each phase was over: resolve (every\n"
		"address), connect (every attempt), first byte sent, FIN sent, first byte back,\n"
		"all bytes back and verified, EOF. The columns are the time since the start and\n"
		"since the phase before. On failure the phase and the reason; at the end what\n"
		"the kernel knows of the path: round-trip time, retransmits, path MTU, segment\n"
		"sizes, subflows.\n"
		"With -u it is a datagram, and the end shows what the headers of its echo say.\n\n"
		"Options:\n"
		"      --drain-timeout TIME    longest wait without progress (10s)\n"
		"  -s, --size SIZE             bytes to send (64)\n"
		"      --targets FILE          addresses too, one a line; - is standard input\n\n"
		"Several targets come one after the other, and a table of them at the end, with\n"
		"-q that alone; the exit status is 1 if one failed.\n\n"
		"Example:\n"
		"  echoctl trace -6 echo.example\n",
	.long_options = long_options,
	.path = &dial_path_options,
	.run = run,
	.has_udp = true,
};
