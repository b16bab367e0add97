/* SPDX-License-Identifier: MIT */
/* sweep: which sizes and patterns survive the path? */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/number.h"
#include "echoctl/datagram/path_mtu.h"
#include "echoctl/datagram/trial.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/session/session.h"

#define SIZES_MAX 64

#define DATAGRAM_TIMEOUT_US CLOCK_US_PER_S	/* or --drain-timeout if that is less */

/* Around the limits at which paths break: segments, buffers, 16-bit counts. */
static const uint64_t default_sizes[] = {
	1, 2, 64, 511, 512, 1460, 1461, 4096, 8191, 16384, 65535, 65536, 65537, 262144, 1048576,
};

static const uint64_t default_udp_sizes[] = {
	0, 1, 64, 512, 1200, 1400, 1472, 1473, 2048, 4096, 8192, 16384, 65507,
};

struct settings {
	struct session_command session;
	uint64_t sizes[SIZES_MAX];
	size_t n_sizes;
	bool patterns[PATTERN_COUNT];	/* none: all */
};

/* Progress and results of a sweep. */
struct sweep {
	struct report *report;
	const struct settings *settings;
	uint64_t n_passed;
	uint64_t n_failed;
	bool interrupted;
	bool stopped;			/* that, or this side failed */
	bool in_row;			/* a row of the table is begun */
	uint64_t first_size;		/* the first cell that failed */
	enum pattern first_pattern;
	int first_status;
	char first_text[SESSION_TEXT_MAX];
	/* UDP */
	struct dial dial;		/* one socket for all cells */
	struct datagram_socket socket;
	struct datagram_probe probe;
	uint64_t largest_passed;
	uint64_t largest_failed;
};

/* What became of one size of one pattern. */
struct cell {
	json_t *event;
	int status;			/* of the command, if it ended with this one */
	const char *word;		/* in the table */
	bool interrupted;
	bool stops;			/* that, or this side failed */
	char text[SESSION_TEXT_MAX];
};

static const char *take_size(void *data, const char *word)
{
	struct settings *settings = data;

	if (settings->n_sizes == SIZES_MAX)
		return "too many sizes";
	return command_take_size(word, 0, SESSION_SIZE_MAX_BYTES,
				 &settings->sizes[settings->n_sizes++]);
}

static const char *take_pattern(void *data, const char *word)
{
	struct settings *settings = data;
	int pattern = pattern_find(word);

	if (pattern < 0)
		return "not a pattern (random, zeros, ones, crlf, telnet, http, sip)";
	settings->patterns[pattern] = true;
	return NULL;
}

static const char *take(void *settings, int option, const char *value)
{
	struct settings *sweep = settings;

	switch (option) {
	case 's':
		return command_take_list(value, take_size, sweep);
	case 'p':
		return command_take_list(value, take_pattern, sweep);
	default:
		return session_take(&sweep->session, option, value);
	}
}

/* Takes over the event of the cell. */
static void note_cell(struct sweep *sweep, uint64_t size, enum pattern pattern,
		      const struct cell *cell)
{
	uint64_t *largest = cell->status == STATUS_OK ? &sweep->largest_passed :
		&sweep->largest_failed;
	json_t *event = json_pack("{s:s, s:I, s:s}", "event", "sweep", "size_bytes",
				  (json_int_t)size, "pattern", pattern_name(pattern));

	json_object_update_new(event, cell->event);
	report_outcome(sweep->report, cell->status != STATUS_OK && !cell->interrupted, " %7s",
		       cell->word);
	report_json(sweep->report, event);
	/* The path has not failed if the user ends the sweep. */
	sweep->interrupted = cell->interrupted;
	sweep->stopped |= cell->stops || !report_heard(sweep->report);
	if (!cell->interrupted && size > *largest)
		*largest = size;
	if (cell->status == STATUS_OK)
		sweep->n_passed++;
	else if (!cell->interrupted && sweep->n_failed++ == 0) {
		sweep->first_size = size;
		sweep->first_pattern = pattern;
		sweep->first_status = cell->status;
		memcpy(sweep->first_text, cell->text, sizeof(cell->text));
	}
}

static void print_heading(const struct sweep *sweep)
{
	report_text(sweep->report, "%-9s", "size");
	for (int i = 0; i < PATTERN_COUNT; i++) {
		if (sweep->settings->patterns[i])
			report_text(sweep->report, " %7s", pattern_name((enum pattern)i));
	}
	report_text(sweep->report, "\n");
}

/* Prints the size at the beginning of a row, and before the first one the heading. */
static void print_before_cell(struct sweep *sweep, uint64_t size)
{
	char text[SIZE_TEXT_MAX];

	if (sweep->in_row)
		return;
	if (sweep->n_passed + sweep->n_failed == 0)
		print_heading(sweep);
	report_text(sweep->report, "%-9s", size_format(size, text));
	sweep->in_row = true;
}

static void end_row(struct sweep *sweep)
{
	if (sweep->in_row)
		report_text(sweep->report, "\n");
	sweep->in_row = false;
}

static bool reach(struct sweep *sweep, struct dial *ret_dial)
{
	const struct session_command *session = &sweep->settings->session;

	if (dial_resolve(&session->target, &session->dialling, ret_dial) == 0 &&
	    dial_connect(&session->dialling, ret_dial) == 0)
		return true;
	/* Ends the row before the diagnostic: a terminal shows both. */
	if (sweep->in_row)
		report_text(sweep->report, " %7s", interrupt_ended() < 0 ? "-" : "lost");
	end_row(sweep);
	dial_report_failure(sweep->report, &session->target, ret_dial);
	return false;
}

/* Runs a cell over a connection of its own. Returns as dial_target(). */
static int run_connection(struct sweep *sweep, uint64_t size, enum pattern pattern,
			  struct cell *ret_cell)
{
	struct session_options options = sweep->settings->session.options;
	struct session_result result;
	struct dial dial;

	if (!reach(sweep, &dial))
		return dial_status(&dial);
	print_before_cell(sweep, size);
	options.pattern = pattern;
	options.pattern_bytes = size;
	session_run(dial.fd, &options, &result);
	if (sweep->n_passed == 0)
		session_note_end(&result);
	fd_close(dial.fd);
	*ret_cell = (struct cell){
		.event = session_json(json_object(), &result),
		.status = session_status(&result),
		.interrupted = result.end == SESSION_INTERRUPTED ||
			result.end == SESSION_DEADLINE,
		.stops = result.end >= SESSION_DEADLINE,
		.word = result.end == SESSION_OK ? "ok" :
			result.end == SESSION_EARLY_EOF ? "short" :
			interrupt_ended() < 0 ? "-" : session_end_name(result.end),
	};
	session_describe(&result, ret_cell->text);
	return COMMAND_PROCEED;
}

static uint64_t datagram_timeout_us(const struct sweep *sweep)
{
	uint64_t drain_us = sweep->settings->session.options.drain_timeout_us;

	return drain_us < DATAGRAM_TIMEOUT_US ? drain_us : DATAGRAM_TIMEOUT_US;
}

static const char *name_trial(const struct datagram_trial *trial)
{
	switch (-trial->error) {
	case 0:
		return "ok";
	case EBADMSG:
		return trial->judgement.verdict == DATAGRAM_CUT ? "cut" : "corrupt";
	case ETIMEDOUT:
		return "lost";
	default:
		return trial->came ? "unreachable" : "refused";
	}
}

/* Runs a cell as one datagram. Returns COMMAND_PROCEED. */
static int run_datagram(struct sweep *sweep, uint64_t size, enum pattern pattern,
			struct cell *ret_cell)
{
	struct datagram_trial trial;
	const char *name;
	int r;

	print_before_cell(sweep, size);
	sweep->probe.pattern = pattern;
	sweep->probe.size_bytes = size;
	r = datagram_try_thrice(&sweep->socket, &sweep->probe, datagram_timeout_us(sweep) * 1000,
				&trial);
	name = name_trial(&trial);
	*ret_cell = (struct cell){
		.event = json_pack("{s:s, s:s, s:o, s:I}", "protocol", "udp", "result", name,
				   "message", report_string(r < 0 ? trial.why : "ok"),
				   "rtt_ns", (json_int_t)trial.time_ns),
		.status = r < 0 ? STATUS_FAILED : STATUS_OK,
		.interrupted = r < 0 && interrupt_ended() < 0,
		.stops = interrupt_ended() < 0,
		.word = r < 0 && interrupt_ended() < 0 ? "-" : trial.came && r < 0 &&
			trial.event.is_error ? "icmp" : name,
	};
	snprintf(ret_cell->text, sizeof(ret_cell->text), "%s: %s", name, trial.why);
	return COMMAND_PROCEED;
}

static int run_cell(struct sweep *sweep, uint64_t size, enum pattern pattern)
{
	struct cell cell = {0};
	int status = sweep->settings->session.dialling.udp ?
		run_datagram(sweep, size, pattern, &cell) :
		run_connection(sweep, size, pattern, &cell);

	if (status == COMMAND_PROCEED)
		note_cell(sweep, size, pattern, &cell);
	return status;
}

static int run_row(struct sweep *sweep, uint64_t size)
{
	int status = COMMAND_PROCEED;

	for (int i = 0; i < PATTERN_COUNT && status == COMMAND_PROCEED && !sweep->stopped; i++) {
		if (sweep->settings->patterns[i])
			status = run_cell(sweep, size, (enum pattern)i);
	}
	end_row(sweep);
	return status;
}

/* Path MTU and fragments, for people and for programs. */
static json_t *tell_path(const struct sweep *sweep, const struct path_mtu *path)
{
	uint64_t larger = sweep->largest_failed > sweep->largest_passed ?
		sweep->largest_failed : sweep->largest_passed;
	json_t *fragments = json_null();

	report_text(sweep->report, "path MTU: forward %u, %s\n", path->forward_bytes,
		    path->forward_why);
	if (path->return_fragment_bytes > 0)
		report_text(sweep->report, "return path fragments at %u\n",
			    path->return_fragment_bytes);
	if (larger > path->forward_bytes) {
		fragments = json_boolean(sweep->largest_passed > path->forward_bytes);
		report_text(sweep->report, "fragments %s\n",
			    json_is_true(fragments) ? "pass" : "do not pass");
	}
	return json_pack("{s:I, s:s, s:I, s:o}",
			 "forward_bytes", (json_int_t)path->forward_bytes,
			 "forward_why", path->forward_why,
			 "return_fragment_bytes", (json_int_t)path->return_fragment_bytes,
			 "fragments_pass", fragments);
}

static void conclude(const struct sweep *sweep, bool complete, const struct path_mtu *path)
{
	const char *operand = sweep->settings->session.operand;
	json_t *event = json_pack("{s:s, s:o, s:I, s:I, s:b}", "event", "sweep_summary", "host",
				  report_string(sweep->settings->session.target.host),
				  "passed", (json_int_t)sweep->n_passed,
				  "failed", (json_int_t)sweep->n_failed, "complete", complete);
	const char *text = sweep->first_text;

	if (sweep->n_failed > 0) {
		report_outcome(sweep->report, true, "%s: %s%" PRIu64 " of %" PRIu64
			       " failed, first %s of %" PRIu64 " bytes: %s\n", operand,
			       complete ? "" : "not finished, ", sweep->n_failed,
			       sweep->n_failed + sweep->n_passed,
			       pattern_name(sweep->first_pattern), sweep->first_size, text);
		json_object_update_new(event, json_pack(
			"{s:I, s:s, s:o}",
			"first_failed_size_bytes", (json_int_t)sweep->first_size,
			"first_failed_pattern", pattern_name(sweep->first_pattern),
			"message", report_string(text)));
	} else if (sweep->n_passed == 0) {
		report_text(sweep->report, "%s: not finished, nothing has come back yet\n",
			    operand);
	} else {
		report_text(sweep->report, complete ?
			    "%s: ok, all %" PRIu64 " came back unchanged\n" :
			    "%s: not finished, the first %" PRIu64 " came back unchanged\n",
			    operand, sweep->n_passed);
	}
	if (path)
		json_object_set_new(event, "path_mtu", tell_path(sweep, path));
	report_json(sweep->report, event);
}

/* One socket for all datagrams of the sweep. Returns as dial_target(). */
static int open_datagrams(struct sweep *sweep)
{
	const struct session_command *session = &sweep->settings->session;
	int status = dial_target(sweep->report, &session->target, &session->dialling,
				 &sweep->dial);

	if (status != COMMAND_PROCEED)
		return status;
	sweep->probe.run = datagram_run();
	return datagram_open(sweep->dial.fd, &sweep->dial.attempts[sweep->dial.winner].target,
			     DATAGRAM_UNCONNECTED, 0, &sweep->socket) < 0 ? STATUS_LOCAL : status;
}

/* By a socket of its own, which never fragments. Returns whether it was found. */
static bool find_path_mtu(struct sweep *sweep, struct path_mtu *ret_path)
{
	struct datagram_socket socket;
	struct dial dial;
	bool found;

	if (!reach(sweep, &dial))
		return false;
	found = datagram_open(dial.fd, &dial.attempts[dial.winner].target, DATAGRAM_WHOLE, 0,
			      &socket) == 0 &&
		path_mtu_find(&socket, datagram_timeout_us(sweep), ret_path) == 0;
	fd_close(dial.fd);
	return found;
}

static int run_sweep(struct sweep *sweep)
{
	bool udp = sweep->settings->session.dialling.udp;
	int status = udp ? open_datagrams(sweep) : COMMAND_PROCEED;
	struct path_mtu path;
	bool found = false;

	for (size_t i = 0; i < sweep->settings->n_sizes; i++) {
		if (status == COMMAND_PROCEED && !sweep->stopped)
			status = run_row(sweep, sweep->settings->sizes[i]);
	}
	if (udp && status == COMMAND_PROCEED && !sweep->stopped && sweep->n_passed > 0)
		found = find_path_mtu(sweep, &path);
	if (sweep->n_passed + sweep->n_failed > 0 || sweep->interrupted)
		conclude(sweep, status == COMMAND_PROCEED && !sweep->stopped,
			 found ? &path : NULL);
	if (status != COMMAND_PROCEED)
		return status;
	if (sweep->n_failed > 0)
		return sweep->first_status;
	return sweep->interrupted ? STATUS_FAILED : STATUS_OK;
}

static void apply_defaults(struct settings *settings)
{
	bool any = false;

	for (int i = 0; i < PATTERN_COUNT; i++)
		any |= settings->patterns[i];
	for (int i = 0; i < PATTERN_COUNT && !any; i++)
		settings->patterns[i] = true;
	if (settings->n_sizes > 0)
		return;
	if (settings->session.dialling.udp) {
		memcpy(settings->sizes, default_udp_sizes, sizeof(default_udp_sizes));
		settings->n_sizes = sizeof(default_udp_sizes) / sizeof(*default_udp_sizes);
		return;
	}
	memcpy(settings->sizes, default_sizes, sizeof(default_sizes));
	settings->n_sizes = sizeof(default_sizes) / sizeof(*default_sizes);
}

static int run(struct invocation *invocation)
{
	struct settings settings = { .session.options = SESSION_PROBE(0) };
	struct sweep sweep = {
		.report = &invocation->globals.report,
		.settings = &settings,
	};
	int status = session_parse_and_guard(invocation, take, &settings, &settings.session);

	apply_defaults(&settings);
	for (size_t i = 0; settings.session.dialling.udp && i < settings.n_sizes; i++) {
		if (status == COMMAND_PROCEED && settings.sizes[i] > DATAGRAM_MAX_BYTES)
			status = command_usage_error(invocation, "--sizes: too large for UDP");
	}
	if (status == COMMAND_PROCEED)
		status = run_sweep(&sweep);
	return status;
}

static const struct option long_options[] = {
	SESSION_OPTION_DRAIN_TIMEOUT,
	{"patterns", required_argument, NULL, 'p'},
	{"sizes", required_argument, NULL, 's'},
	{0},
};

const struct command command_sweep = {
	.name = "sweep",
	.operands = "ADDRESS",
	.summary = "which sizes and patterns survive the path?",
	.help =
		"Sends messages of growing size in several patterns, each over a connection of\n"
		"its own, and compares what comes back: a table, then the first size, pattern and\n"
		"offset that fails. It shows a path that loses large packets, translates line\n"
		"ends, takes 0xff for a telnet command, or answers what looks like HTTP or SIP.\n"
		"With -u each is a datagram, and the path MTU is searched, there and back.\n\n"
		"Options:\n"
		"      --drain-timeout TIME    longest wait without progress (10s)\n"
		"  -p, --patterns LIST         of random, zeros, ones, crlf, telnet, http, sip\n"
		"                              (all)\n"
		"  -s, --sizes LIST            sizes with commas, as 1,1460,64K (15 from 1 to 1M,\n"
		"                              with -u 13 from 0 to 65507)\n\n"
		"Example:\n"
		"  echoctl sweep -p random,crlf -s 1,100,1400,1500,64K echo.example\n",
	.long_options = long_options,
	.path = &dial_path_options,
	.run = run,
	.has_udp = true,
};
