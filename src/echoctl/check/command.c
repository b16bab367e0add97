/* SPDX-License-Identifier: MIT */
/* echoctl check: a monitoring plugin, with the options of check_tcp. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/check/range.h"
#include "echoctl/command_line/command.h"
#include "echoctl/command_line/targets.h"
#include "echoctl/datagram/trial.h"
#include "echoctl/dial/dial.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define SIZE_MAX_BYTES (UINT64_C(16) << 20)
#define TIMEOUT_MAX_S 86400
#define OPTION_HALF_CLOSE OPTION_OWN
#define RETRY_NS CLOCK_NS_PER_S	/* a datagram is lost after that, or half of the time */

/* Monitoring Plugins Development Guidelines, 2.2 */
enum state { STATE_OK, STATE_WARNING, STATE_CRITICAL, STATE_UNKNOWN };

static const char *const state_names[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };

struct check {
	struct report *report;
	char *host;
	uint64_t port;
	struct range warning;
	struct range critical;
	double timeout_s;
	uint64_t size_bytes;
	bool half_close;
	bool udp;
	uint64_t retries;		/* datagrams sent again */
	struct targets targets;
	const struct target *target;
	struct dial dial;
	uint64_t started_ns;	/* of this target, as if no other one had been between */
	uint64_t elapsed_ns;	/* until the whole echo was there; 0: it was not */
};

static const char help[] =
	"A plugin for monitoring systems: one line with performance data. Sends SIZE\n"
	"bytes and expects exactly these back. Options and thresholds are check_tcp's.\n"
	"With -u the bytes are a datagram, which is sent once more if it is lost.\n"
	"\n"
	"  -H, --hostname HOST         the target, in place of ADDRESS\n"
	"  -p, --port PORT             its port, if it names none (7)\n"
	"  -w, --warning RANGE         WARNING when the time in seconds is outside RANGE\n"
	"  -c, --critical RANGE        CRITICAL likewise\n"
	"  -t, --timeout SECONDS       CRITICAL after that time (10)\n"
	"  -s, --size SIZE             bytes to send (64; at most 16M, with -u 65527)\n"
	"      --targets FILE          addresses too, one a line; - is standard input\n"
	"  -v, --verbose               accepted for the habit, and without effect\n"
	"      --halfclose             half-close right behind the last byte: the whole\n"
	"                              echo and the peer's FIN must follow\n"
	"\n"
	"RANGE: 10 (0 to 10), 10: (10 or more), ~:10 (10 or less), 10:20, @10:20 (not\n"
	"in it). The time is that of resolving, connecting and the whole echo.\n"
	"Several targets have a line each and one for all at the end; the worst counts.\n"
	"Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (as after wrong usage).\n"
	"\n"
	"Example:\n"
	"  echoctl check -H echo.example.net -p 7 -w 0.1 -c 1 -t 5 --halfclose\n";

static const struct option options[] = {
	{"hostname", required_argument, NULL, 'H'},
	{"port", required_argument, NULL, 'p'},
	{"warning", required_argument, NULL, 'w'},
	{"critical", required_argument, NULL, 'c'},
	{"timeout", required_argument, NULL, 't'},
	{"size", required_argument, NULL, 's'},
	{"halfclose", no_argument, NULL, OPTION_HALF_CLOSE},
	{"verbose", no_argument, NULL, 'v'},
	TARGETS_OPTION,
	{0},
};

static const char *take_threshold(const char *value, struct range *ret_range)
{
	int r = range_parse(value, ret_range);

	if (r == -ERANGE)
		return "a range whose start lies above its end";
	return r < 0 ? "not a range (as 10, 10:, ~:10, 10:20, @10:20)" : NULL;
}

static const char *take_timeout(const char *value, double *ret_timeout_s)
{
	struct range range;

	/* A plain number is a range from 0, for which the number parser is stricter. */
	if (strchr(value, ':') || *value == '@' || range_parse(value, &range) < 0)
		return "not a number of seconds";
	if (range.end < 0.001 || range.end > TIMEOUT_MAX_S)
		return "out of range";
	*ret_timeout_s = range.end;
	return NULL;
}

static const char *take(void *data, int option, const char *value)
{
	struct check *check = data;

	switch (option) {
	case 'H':
		check->host = optarg;
		return NULL;
	case 'p':
		return command_take_number(value, 1, UINT16_MAX, &check->port);
	case 'w':
		return take_threshold(value, &check->warning);
	case 'c':
		return take_threshold(value, &check->critical);
	case 't':
		return take_timeout(value, &check->timeout_s);
	case 's':
		return command_take_size(value, 0, SIZE_MAX_BYTES, &check->size_bytes);
	case OPTION_TARGETS:
		check->targets.file = value;
		return NULL;
	case 'v':
		return NULL;
	default:
		check->half_close = true;
		return NULL;
	}
}

/*
 * Prints the one line. Performance data only if the echo came: otherwise a time of 0 would look
 * fast.
 */
__attribute__((format(printf, 3, 4)))
static int conclude(struct check *check, enum state state, const char *format, ...)
{
	json_t *event;
	char performance[192] = "";
	char retries[32] = "";
	bool several = check->targets.count > 1 && check->report->target && !check->report->json;
	char text[768];
	int length = snprintf(text, sizeof(text), "%.200s%s", several ? check->report->target : "",
			      several ? ": " : "");
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + length, sizeof(text) - (size_t)length, format, arguments);
	va_end(arguments);
	/* A bar would begin the performance data. */
	for (char *bar = strchr(text, '|'); bar; bar = strchr(bar, '|'))
		*bar = '/';
	event = json_pack("{s:s, s:s, s:i, s:o, s:I}", "event", "check",
			  "state", state_names[state], "code", (int)state,
			  "text", report_string(text),
			  "size_bytes", (json_int_t)check->size_bytes);
	if (check->udp) {
		json_object_update_new(event, json_pack("{s:s, s:I}", "protocol", "udp", "retries",
							(json_int_t)check->retries));
		snprintf(retries, sizeof(retries), " retries=%" PRIu64 ";;;0", check->retries);
	}
	if (check->elapsed_ns > 0) {
		snprintf(performance, sizeof(performance),
			 "|time=%.6fs;%s;%s;0;%.3f size=%" PRIu64 "B;;;0%s",
			 (double)check->elapsed_ns / 1e9, check->warning.text,
			 check->critical.text, check->timeout_s, check->size_bytes, retries);
		json_object_set_new(event, "time_ns", json_integer((json_int_t)check->elapsed_ns));
	}
	report_json(check->report, event);
	report_outcome(check->report, state != STATE_OK, "ECHO %s - %s%s\n", state_names[state],
		       text, performance);
	return (int)state;
}

static int judge_time(struct check *check)
{
	double time_s = (double)check->elapsed_ns / 1e9;
	enum state state = STATE_OK;

	if (range_alerts(&check->warning, time_s))
		state = STATE_WARNING;
	if (range_alerts(&check->critical, time_s))
		state = STATE_CRITICAL;
	return conclude(check, state, "%" PRIu64 " bytes verified%s in %.6f s%s",
			check->size_bytes, check->half_close ? ", half-close passed," : "", time_s,
			check->retries > 0 ? ", the first datagram was lost" : "");
}

/* Sends a datagram until one is answered, twice at most. Returns as datagram_try(). */
static int try_datagrams(struct check *check, struct datagram_socket *socket, uint64_t deadline_ns,
			 struct datagram_trial *ret_trial)
{
	struct datagram_probe probe = {.run = datagram_run(), .size_bytes = check->size_bytes};
	uint64_t first_ns = (deadline_ns - clock_now_ns()) / 2;
	int r;

	if (first_ns > RETRY_NS)
		first_ns = RETRY_NS;
	r = datagram_try(socket, &probe, clock_now_ns() + first_ns, ret_trial);
	if (r != -ETIMEDOUT || interrupt_ended() < 0)
		return r;
	check->retries++;
	probe.sequence++;
	return datagram_try(socket, &probe, deadline_ns, ret_trial);
}

static int exchange_datagram(struct check *check, uint64_t deadline_ns)
{
	const struct dial *dial = &check->dial;
	FD_CLEANUP int fd = dial->fd;
	char peer[ADDRESS_TEXT_MAX];
	struct datagram_socket socket;
	struct datagram_trial trial;
	int r = datagram_open(fd, &dial->attempts[dial->winner].target, DATAGRAM_UNCONNECTED,
			      0, &socket);

	if (r < 0)
		return conclude(check, STATE_UNKNOWN, "socket: %s", report_why(-r));
	r = try_datagrams(check, &socket, deadline_ns, &trial);
	if (r < 0)
		return conclude(check, r == -EINTR ? STATE_UNKNOWN : STATE_CRITICAL,
				"%s: echo: %s%s", dial_peer(dial, peer), trial.why,
				check->retries > 0 ? ", to two datagrams" : "");
	check->elapsed_ns = trial.event.received_ns - check->started_ns;
	return judge_time(check);
}

static int exchange(struct check *check, uint64_t deadline_ns)
{
	FD_CLEANUP int fd = check->dial.fd;
	char peer[ADDRESS_TEXT_MAX];
	struct exchange result;
	uint8_t *bytes = malloc(check->size_bytes);
	int r;

	dial_peer(&check->dial, peer);
	if (!bytes)
		return conclude(check, STATE_UNKNOWN, "out of memory");
	payload_fill(bytes, check->size_bytes, 1, check->started_ns);
	r = exchange_run(fd, bytes, check->size_bytes, check->half_close, deadline_ns, &result);
	free(bytes);
	if (r < 0)
		/* An interrupted check says nothing about the target. */
		return conclude(check, r == -EINTR ? STATE_UNKNOWN : STATE_CRITICAL,
				"%s: %s: %s after %zu of %" PRIu64 " bytes", peer, result.phase,
				exchange_why(r), result.received_bytes, check->size_bytes);
	check->elapsed_ns = result.ended_ns - check->started_ns;
	return judge_time(check);
}

static int unreached(struct check *check)
{
	const struct dial *dial = &check->dial;
	enum state state = dial_status(dial) == STATUS_UNREACHED ? STATE_CRITICAL : STATE_UNKNOWN;
	char address[ADDRESS_TEXT_MAX];

	if (dial->n_attempts == 0)
		return conclude(check, state, "%s: %s: %s", check->target->spec.host,
				dial_phase_name(dial->phase), dial->why);
	dial_address_format(&dial->attempts[dial->n_attempts - 1].target, address);
	return conclude(check, state, "%s (%s): %s: %s", check->target->spec.host, address,
			dial_phase_name(dial->phase), dial->why);
}

/* What became of connecting to a target, then the echo. */
static int judge(struct check *check, const struct dial *dial)
{
	uint64_t deadline_ns;

	check->dial = *dial;
	check->elapsed_ns = 0;
	check->retries = 0;
	if (dial->phase != DIAL_DONE)
		return unreached(check);
	check->started_ns = clock_now_ns() -
		(dial->attempts[dial->winner].ended_ns - dial->started_ns);
	deadline_ns = check->started_ns + (uint64_t)(check->timeout_s * 1e6) * 1000;
	return check->udp ? exchange_datagram(check, deadline_ns) : exchange(check, deadline_ns);
}

/* The last line, when there are several: the worst state, as the guidelines order them. */
static int conclude_all(struct check *check, const size_t counts[STATE_UNKNOWN + 1])
{
	static const enum state worst_first[] = {
		STATE_CRITICAL, STATE_UNKNOWN, STATE_WARNING, STATE_OK,
	};
	size_t i = 0;

	while (counts[worst_first[i]] == 0)
		i++;
	check->report->target = NULL;
	check->elapsed_ns = 0;
	if (check->targets.count == 1 || check->report->json)
		return (int)worst_first[i];
	return conclude(check, worst_first[i], "%zu of %zu targets are well", counts[STATE_OK],
			check->targets.count);
}

static int reach(struct check *check, struct globals *globals)
{
	struct dial_options dialling = dial_options_within(globals,
							   (uint64_t)(check->timeout_s * 1e6));
	struct dial *dials = calloc(check->targets.count, sizeof(*dials));
	size_t counts[STATE_UNKNOWN + 1] = {0};

	if (!dials)
		return conclude(check, STATE_UNKNOWN, "out of memory");
	dial_targets(check->targets.list, check->targets.count, &dialling, dials);
	for (size_t i = 0; i < check->targets.count; i++) {
		check->target = &check->targets.list[i];
		check->report->target = check->target->text;
		counts[judge(check, &dials[i])]++;
	}
	free(dials);
	return conclude_all(check, counts);
}

/* Returns COMMAND_PROCEED or a state after saying why. */
static int read_targets(struct check *check, struct invocation *invocation)
{
	bool named = invocation->argc > 0 || check->targets.file;

	if (named ? check->host != NULL : !check->host)
		return conclude(check, STATE_UNKNOWN, "name one target: ADDRESS or -H HOST");
	if (check->host) {
		invocation->argv = &check->host;
		invocation->argc = 1;
	}
	if (targets_read(invocation, (int)check->port, &check->targets) == COMMAND_PROCEED)
		return COMMAND_PROCEED;
	return conclude(check, STATE_UNKNOWN, "%s", invocation->wrong[0] != '\0' ?
			invocation->wrong : "the targets cannot be read");
}

/* What cannot be together; NULL: all can. */
static const char *refuse_mix(const struct check *check)
{
	if (!check->udp)
		return check->size_bytes == 0 ? "--size 0: too small" : NULL;
	if (check->half_close)
		return "--halfclose: UDP has no connections";
	return check->size_bytes > DATAGRAM_MAX_BYTES ? "--size: too large for UDP" : NULL;
}

static int run(struct invocation *invocation)
{
	struct check check = {
		.report = &invocation->globals.report,
		.port = COMMAND_DEFAULT_PORT,
		.warning = { .text = "", .start = -INFINITY, .end = INFINITY },
		.critical = { .text = "", .start = -INFINITY, .end = INFINITY },
		.timeout_s = 10,
		.size_bytes = 64,
	};
	const char *why;
	int status = command_parse(invocation, take, &check);

	if (status == STATUS_OK)
		return STATE_OK;
	/* The monitoring system shows only standard output. */
	if (status != COMMAND_PROCEED)
		return conclude(&check, STATE_UNKNOWN, "%s", invocation->wrong);
	check.udp = invocation->globals.udp;
	why = refuse_mix(&check);
	if (why)
		return conclude(&check, STATE_UNKNOWN, "%s", why);
	status = read_targets(&check, invocation);
	if (status == COMMAND_PROCEED &&
	    interrupt_open(check.report, invocation->globals.deadline_us, false) < 0)
		status = conclude(&check, STATE_UNKNOWN, "no signals");
	if (status == COMMAND_PROCEED)
		status = reach(&check, &invocation->globals);
	targets_free(&check.targets);
	return status;
}

const struct command command_check = {
	.name = "check",
	.operands = "[ADDRESS... | -H HOST]",
	.summary = "monitoring plugin: one line, performance data, codes 0 to 3",
	.help = help,
	.long_options = options,
	.path = &dial_path_options,
	.run = run,
	.has_udp = true,
	.status_unwritten = STATE_UNKNOWN,
};
