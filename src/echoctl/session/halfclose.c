/* SPDX-License-Identifier: MIT */
/* halfclose: does a FIN pass through the path while the echo is still in flight? */
#include "echoctl/session/halfclose.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/probe/exchange.h"

#define HOLD_DEFAULT_US 1500000u
#define SEGMENT_BYTES 1024u		/* one segment, with the FIN on it */
#define BURST_BYTES (256u * 1024u)
#define CONTROL_TIMEOUT_US 3000000u
#define RECEIVE_BUFFER_BYTES 4096	/* small, so that the echo has to wait inside the path */

enum { OPTION_HOLD = OPTION_SESSION_OWN };

/* What one exchange sends and how its reader behaves. */
struct shape {
	uint64_t size_bytes;
	bool held;
};

const char *verdict_name(const struct session_result *result, bool held)
{
	if (result->end == SESSION_EARLY_EOF && held)
		return "truncated";
	if (result->end == SESSION_NO_EOF)
		return "fin-swallowed";
	return session_end_name(result->end >= SESSION_INPUT_FAILED ? SESSION_BROKEN : result->end);
}

bool verdict_needs_control(const struct session_result *result)
{
	return result->end == SESSION_EARLY_EOF || result->end == SESSION_RESET ||
	       result->end == SESSION_STALL;
}

/* The reason of a failure that also happens without a FIN. */
static const char *other_culprit(const struct verdict_control *control,
				 char text[SESSION_TEXT_MAX])
{
	if (control->bytes_received > 0) {
		snprintf(text, SESSION_TEXT_MAX, "not the FIN: without one no more than %" PRIu64
			 " of %" PRIu64 " bytes come back either", control->bytes_received,
			 control->bytes);
		return text;
	}
	if (control->error == -ETIMEDOUT)
		return "not the FIN: nothing is echoed at all, without one either (no echo "
		       "service?)";
	return "not the FIN: nothing is echoed at all, and without one the connection is closed "
	       "at once as well (an access list, a limit, no echo service?)";
}

const char *verdict_culprit(const struct session_result *result, bool held,
			    const struct verdict_control *control, char text[SESSION_TEXT_MAX])
{
	bool fin_sent = result->fin_ns != 0 && result->input_ended;

	if (control && control->error < 0)
		return other_culprit(control, text);
	switch (result->end) {
	case SESSION_EARLY_EOF:
		if (held)
			return "a relay that gives up a half-closed connection after a short time "
			       "(as socat without -t does after 0.5 s)";
		if (!fin_sent)
			return "a server that closes by itself, or a relay with a limit, before "
			       "the FIN";
		return "a server or relay that closes both directions when it sees a FIN "
		       "(as systemd-socket-proxyd does up to systemd 260)";
	case SESSION_RESET:
		if (!fin_sent)
			return "a server that closes by itself with data unread, a relay with a "
			       "limit, or a firewall, before the FIN";
		if (held)
			return "a relay or firewall that tears down a half-closed connection "
			       "after a short time";
		return "a server or relay that closes with data unread when it sees a FIN, or a "
		       "firewall";
	case SESSION_NO_EOF:
		return "a relay that does not pass the FIN on, or a server that does not answer it";
	case SESSION_STALL:
		return "a server that deadlocks when it cannot write, or a path that loses data";
	case SESSION_CORRUPT:
	case SESSION_EXCESS:
		return "no echo service, or something in the path that rewrites data";
	default:
		return NULL;
	}
}

const char *verdict_describe(const struct session_result *result, bool held,
			     char text[SESSION_TEXT_MAX])
{
	char detail[SESSION_TEXT_MAX];

	session_describe(result, detail);
	if (result->end == SESSION_EARLY_EOF && held)
		snprintf(text, SESSION_TEXT_MAX, "truncated at offset %" PRIu64 " of %" PRIu64,
			 result->bytes_received, result->bytes_sent);
	else if (result->end == SESSION_CORRUPT || result->end == SESSION_RESET)
		snprintf(text, SESSION_TEXT_MAX, "%s: %.150s", verdict_name(result, held), detail);
	else
		snprintf(text, SESSION_TEXT_MAX, "%s", detail);
	return text;
}

static const char *take(void *settings, int option, const char *value)
{
	struct session_command *session = settings;

	if (option == OPTION_HOLD)
		return command_take_duration(value, 0, UINT64_MAX, &session->options.hold_us);
	return session_take(session, option, value);
}

/*
 * Puts the FIN on the last data segment (tcp(7), TCP_CORK): a server that ends both directions at a
 * FIN then does so before any echo can be back.
 */
static void cork(int fd)
{
	const int on = 1;

	/* A Unix socket has no cork and no segments. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

/* One exchange, its result for programs appended to probes. Returns as dial_target(). */
static int probe(struct report *report, const struct session_command *session,
		 const struct shape *shape, json_t *probes, struct session_result *ret_result)
{
	struct session_options options = session->options;
	char address[ADDRESS_TEXT_MAX];
	struct dial dial;
	int status = dial_target(report, &session->target, &session->dialling, &dial);

	if (status != COMMAND_PROCEED)
		return status;
	options.pattern_bytes = shape->size_bytes;
	if (!shape->held)
		options.hold_us = 0;
	cork(dial.fd);
	session_run(dial.fd, &options, ret_result);
	fd_close(dial.fd);
	json_array_append_new(probes, session_json(json_pack(
		"{s:s, s:o, s:I}", "reader", shape->held ? "held" : "prompt",
		"address", report_string(dial_peer(&dial, address)),
		"bytes_before_fin", (json_int_t)ret_result->bytes_before_fin), ret_result));
	return COMMAND_PROCEED;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Sends the same bytes without a FIN. Returns whether that could be tried. */
static bool try_without_fin(const struct session_command *session, uint64_t size_bytes,
			    struct verdict_control *ret_control)
{
	uint64_t patience_us = smaller(session->options.drain_timeout_us, CONTROL_TIMEOUT_US);
	uint64_t bytes = smaller(size_bytes, SESSION_HOLD_BYTES);
	uint8_t *message = malloc(bytes);
	struct exchange exchange;
	struct dial dial;
	int r = message ? dial_resolve(&session->target, &session->dialling, &dial) : -ENOMEM;

	if (r == 0)
		r = dial_connect(&session->dialling, &dial);
	*ret_control = (struct verdict_control){ .error = r, .bytes = bytes };
	if (r == 0) {
		pattern_fill(PATTERN_RANDOM, 0, message, bytes);
		ret_control->error = exchange_run(dial.fd, message, bytes, false,
						  clock_now_ns() + patience_us * 1000, &exchange);
		ret_control->bytes_received = exchange.received_bytes;
		fd_close(dial.fd);
	}
	free(message);
	/* A peer that resets the connection at once may be that quick. */
	return r == 0 || r == -ECONNRESET;
}

/* Writes the line for people or the event for programs; takes probes over. */
static void conclude(struct report *report, const struct session_command *session,
		     const struct shape *last, const struct session_result *result,
		     json_t *probes)
{
	struct verdict_control control;
	bool needed = verdict_needs_control(result);
	const char *culprit = NULL;
	char text[SESSION_TEXT_MAX];
	char other[SESSION_TEXT_MAX];

	verdict_describe(result, last->held, text);
	if (!needed || try_without_fin(session, last->size_bytes, &control))
		culprit = verdict_culprit(result, last->held, needed ? &control : NULL, other);
	report_outcome(report, result->end != SESSION_OK, "%s: %s%s%s\n", session->operand,
		       result->end == SESSION_OK ? "ok, the half-close passes" : text,
		       culprit ? "; likely " : "", culprit ? culprit : "");
	report_json(report, json_pack("{s:s, s:o, s:s, s:o, s:s?, s:I, s:I, s:o}",
				      "event", "halfclose",
				      "host", report_string(session->target.host),
				      "verdict", verdict_name(result, last->held),
				      "message", report_string(text),
				      "culprit", culprit,
				      "bytes_sent", (json_int_t)result->bytes_sent,
				      "bytes_received", (json_int_t)result->bytes_received,
				      "probes", probes));
}

static int run_probes(struct report *report, const struct session_command *session)
{
	uint64_t size_bytes = session->options.pattern_bytes;
	const struct shape shapes[] = {
		{smaller(size_bytes, SEGMENT_BYTES), false},
		{smaller(size_bytes, BURST_BYTES), false},
		{size_bytes, true},
	};
	size_t n_shapes = session->options.hold_us > 0 ? 3 : 2;
	struct session_result result = { .end = SESSION_OK };
	json_t *probes = json_array();
	size_t n = 0;
	int status;

	do
		status = probe(report, session, &shapes[n++], probes, &result);
	while (n < n_shapes && status == COMMAND_PROCEED && result.end == SESSION_OK);
	if (status != COMMAND_PROCEED) {
		json_decref(probes);
		return status;
	}
	conclude(report, session, &shapes[n - 1], &result, probes);
	return session_status(&result);
}

static int run(struct invocation *invocation)
{
	struct session_command session = { .options = SESSION_PROBE(SESSION_HOLD_BYTES) };
	int status;

	session.options.hold_us = HOLD_DEFAULT_US;
	status = session_parse_and_guard(invocation, take, &session, &session);
	session.dialling.receive_buffer_bytes = RECEIVE_BUFFER_BYTES;
	if (status == COMMAND_PROCEED)
		status = run_probes(&invocation->globals.report, &session);
	return status;
}

static const struct option long_options[] = {
	SESSION_OPTION_DRAIN_TIMEOUT,
	{"hold", required_argument, NULL, OPTION_HOLD},
	SESSION_OPTION_SIZE,
	{0},
};

const struct command command_halfclose = {
	.name = "halfclose",
	.operands = "ADDRESS",
	.summary = "does the path pass a FIN while the echo is in flight?",
	.help =
		"Sends data and its FIN at once into a small receive buffer, so that the echo is\n"
		"still in the path when the FIN passes: one segment, then a burst, to a reader\n"
		"that takes what comes; then more, to one that reads nothing until some time\n"
		"after the FIN. One line says what the path makes of it: ok, early EOF,\n"
		"truncated, corrupt, reset, FIN swallowed or no progress, and which kind of\n"
		"server or relay does so.\n\n"
		"Options:\n"
		"      --drain-timeout TIME    longest wait without progress (10s)\n"
		"      --hold TIME             how long the held reader waits after the FIN\n"
		"                              (1.5s); 0 leaves that part out\n"
		"  -s, --size SIZE             bytes to send at most (4M)\n\n"
		"Example:\n"
		"  echoctl halfclose balancer.example:7\n",
	.long_options = long_options,
	.path = &dial_path_options,
	.run = run,
};
