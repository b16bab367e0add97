/* SPDX-License-Identifier: MIT */
/* sweep: which sizes and patterns survive the path? */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/number.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/session/session.h"

#define SIZES_MAX 64

/* Around the limits at which paths break: segments, buffers, 16-bit counts. */
static const uint64_t default_sizes[] = {
	1, 2, 64, 511, 512, 1460, 1461, 4096, 8191, 16384, 65535, 65536, 65537, 262144, 1048576,
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
	struct session_result first;
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

static void note_cell(struct sweep *sweep, uint64_t size, enum pattern pattern,
		      const struct session_result *result)
{
	report_json(sweep->report, session_json(json_pack(
		"{s:s, s:I, s:s}", "event", "sweep", "size_bytes", (json_int_t)size,
		"pattern", pattern_name(pattern)), result));
	if (result->end == SESSION_OK) {
		sweep->n_passed++;
		return;
	}
	/* The path has not failed if the user ends the sweep. */
	sweep->interrupted = result->end == SESSION_INTERRUPTED ||
			     result->end == SESSION_DEADLINE;
	if (!sweep->interrupted && sweep->n_failed++ == 0) {
		sweep->first_size = size;
		sweep->first_pattern = pattern;
		sweep->first = *result;
	}
	sweep->stopped |= result->end >= SESSION_DEADLINE;
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

/* Runs one size of one pattern over a connection of its own. Returns as dial_target(). */
static int run_cell(struct sweep *sweep, uint64_t size, enum pattern pattern)
{
	const struct session_command *session = &sweep->settings->session;
	struct session_options options = session->options;
	struct session_result result;
	struct dial dial;

	if (dial_resolve(&session->target, &session->dialling, &dial) < 0 ||
	    dial_connect(&session->dialling, &dial) < 0) {
		/* Ends the row before the diagnostic: a terminal shows both. */
		if (sweep->in_row)
			report_text(sweep->report, " %7s", interrupt_ended() < 0 ? "-" : "lost");
		end_row(sweep);
		dial_report_failure(sweep->report, &session->target, &dial);
		return dial_status(&dial);
	}
	print_before_cell(sweep, size);
	options.pattern = pattern;
	options.pattern_bytes = size;
	session_run(dial.fd, &options, &result);
	fd_close(dial.fd);
	sweep->stopped = !report_heard(sweep->report);
	report_text(sweep->report, " %7s", result.end == SESSION_OK ? "ok" :
		    result.end == SESSION_EARLY_EOF ? "short" :
		    interrupt_ended() < 0 ? "-" : session_end_name(result.end));
	note_cell(sweep, size, pattern, &result);
	return COMMAND_PROCEED;
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

static void conclude(const struct sweep *sweep, bool complete)
{
	const char *operand = sweep->settings->session.operand;
	json_t *event = json_pack("{s:s, s:o, s:I, s:I, s:b}", "event", "sweep_summary", "host",
				  report_string(sweep->settings->session.target.host),
				  "passed", (json_int_t)sweep->n_passed,
				  "failed", (json_int_t)sweep->n_failed, "complete", complete);
	char text[SESSION_TEXT_MAX];

	if (sweep->n_failed > 0) {
		session_describe(&sweep->first, text);
		report_text(sweep->report, "%s: %s%" PRIu64 " of %" PRIu64
			    " failed, first %s of %" PRIu64 " bytes: %s\n", operand,
			    complete ? "" : "not finished, ", sweep->n_failed,
			    sweep->n_failed + sweep->n_passed, pattern_name(sweep->first_pattern),
			    sweep->first_size, text);
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
	report_json(sweep->report, event);
}

static int run_sweep(struct sweep *sweep)
{
	int status = COMMAND_PROCEED;

	for (size_t i = 0; i < sweep->settings->n_sizes; i++) {
		if (status == COMMAND_PROCEED && !sweep->stopped)
			status = run_row(sweep, sweep->settings->sizes[i]);
	}
	if (sweep->n_passed + sweep->n_failed > 0 || sweep->interrupted)
		conclude(sweep, status == COMMAND_PROCEED && !sweep->stopped);
	if (status != COMMAND_PROCEED)
		return status;
	if (sweep->n_failed > 0)
		return session_status(&sweep->first);
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
		"Sends messages of growing size in several patterns, each over a connection of its\n"
		"own, and compares what comes back: a table, then the first size, pattern and offset\n"
		"that fails. It shows a path that loses large packets, translates line ends, takes\n"
		"0xff for a telnet command, or answers what looks like HTTP or SIP.\n\n"
		"Options:\n"
		"      --drain-timeout TIME    longest wait without progress (10s)\n"
		"  -p, --patterns LIST         of random, zeros, ones, crlf, telnet, http, sip (all)\n"
		"  -s, --sizes LIST            sizes with commas, as 1,1460,64K (15 from 1 to 1M)\n\n"
		"Example:\n"
		"  echoctl sweep -p random,crlf -s 1,100,1400,1500,64K echo.example\n",
	.long_options = long_options,
	.path = &dial_path_options,
	.run = run,
};
