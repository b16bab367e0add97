/* SPDX-License-Identifier: MIT */
/* send: standard input there, what comes back to standard output, both compared. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/output/terminal.h"
#include "echoctl/output/units.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/session/session_command.h"

#define REPEAT_MAX 1000000000u
#define SPOOL_MAX_BYTES (256u * 1024u * 1024u)

enum {
	OPTION_NO_FIN = OPTION_SESSION_OWN,
	OPTION_NO_VERIFY,
	OPTION_REPEAT,
};

struct settings {
	struct session_command session;
	const char *output_path;	/* NULL: standard output */
	uint64_t repeat;
	bool fin;
	bool verify;
};

static const char *take(void *settings, int option, const char *value)
{
	struct settings *send = settings;

	switch (option) {
	case OPTION_REPEAT:
		return command_take_number(value, 1, REPEAT_MAX, &send->repeat);
	case OPTION_NO_FIN:
		send->fin = false;
		return NULL;
	case OPTION_NO_VERIFY:
		send->verify = false;
		return NULL;
	case 'o':
		send->output_path = value;
		return NULL;
	default:
		return session_command_take(&send->session, option, value);
	}
}

/*
 * Copies standard input into a memory file, so that it can be sent more than once. Returns a
 * descriptor that the caller owns, or -errno; -EFBIG above SPOOL_MAX_BYTES, -EINTR when a signal
 * came.
 */
static int spool_input(void)
{
	FD_CLEANUP int fd = memfd_create("echoctl-input", MFD_CLOEXEC);
	char buffer[65536];
	size_t total = 0;
	ssize_t n;
	int r;

	if (fd < 0)
		return -errno;
	do {
		r = exchange_wait(STDIN_FILENO, POLLIN, UINT64_MAX);
		if (r < 0)
			return r;
		n = read(STDIN_FILENO, buffer, sizeof(buffer));
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		total += n > 0 ? (size_t)n : 0;
		if (total > SPOOL_MAX_BYTES)
			return -EFBIG;
		r = n > 0 ? fd_write_all(fd, buffer, (size_t)n) : 0;
		if (r < 0)
			return r;
	} while (n != 0);
	return fd_steal(&fd);
}

/* Opens the input for settings->repeat passes. Returns a descriptor to own, or -errno. */
static int open_input(const struct settings *settings, off_t *ret_start)
{
	*ret_start = lseek(STDIN_FILENO, 0, SEEK_CUR);
	if (settings->repeat == 1 || *ret_start >= 0) {
		int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);

		return fd < 0 ? -errno : fd;
	}
	*ret_start = 0;
	return spool_input();
}

static int open_output(const struct settings *settings, bool json)
{
	int fd;

	if (settings->output_path != NULL)
		fd = open(settings->output_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	else if (json)
		return SESSION_OUTPUT_NONE;
	else
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* A line of progress would be in the way of lines that are typed, and of an echo on a terminal. */
static bool shows_progress(const struct report *report, int output_fd)
{
	return !report->quiet && terminal_obeys(STDERR_FILENO) && !isatty(STDIN_FILENO) &&
	       !(output_fd >= 0 && isatty(output_fd));
}

/* dial: NULL when nothing was connected. */
static void describe(struct report *report, const struct address_spec *target,
		     const struct dial *dial, uint64_t run, const struct session_result *result)
{
	json_t *event;
	char buffer[ADDRESS_TEXT_MAX];
	const char *address = dial != NULL ? dial_peer(dial, buffer) : NULL;
	char text[SESSION_TEXT_MAX];
	char rate[UNITS_TEXT_MAX];
	double seconds = (double)(result->ended_ns - result->started_ns) / CLOCK_NS_PER_S;

	session_describe(result, text);
	if (result->end == SESSION_INPUT_FAILED || result->end == SESSION_OUTPUT_FAILED)
		report_error(report, "%s", text);
	else if (result->end != SESSION_OK && result->end != SESSION_INTERRUPTED)
		report_error(report, "%s%s%s%s: echo: %s", target->host, address ? " (" : "",
			     address ? address : "", address ? ")" : "", text);
	else if (result->end == SESSION_INTERRUPTED)
		report_note(report, "interrupted");
	report_note(report, "%s: %" PRIu64 " bytes sent, %" PRIu64 " received, %s, %.3f s, %s/s",
		    address != NULL ? address : target->host, result->bytes_sent,
		    result->bytes_received,
		    result->verified ? "verified" : "not verified", seconds,
		    units_bytes(
			    seconds > 0 ? (double)result->bytes_received / seconds : 0, rate));
	event = json_pack("{s:s, s:o, s:o, s:I}", "event", "send",
			  "host", report_string(target->host),
			  "address", report_string(address), "run", (json_int_t)run);
	json_object_update_new(event, session_json(result));
	report_json(report, event);
}

/* What is left to read of a regular file, 0 when the input is none. */
static uint64_t input_size(int fd)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	struct stat status;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || at < 0 || status.st_size < at)
		return 0;
	return (uint64_t)(status.st_size - at);
}

/* One connection, all of the input; what is the same for all connections in same. */
static int send_once(struct report *report, const struct session_command *session,
		     const struct session_options *same, uint64_t run)
{
	struct session_options options = *same;
	struct session_result result;
	struct dial dial;
	int status;

	status = dial_target(report, &session->target, &session->dialling, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	options.total_bytes = input_size(options.input_fd);
	session_run(dial.fd, &options, &result);
	fd_close(dial.fd);
	describe(report, &session->target, &dial, run, &result);
	return session_status(&result);
}

/* There is no input: says so. Returns the exit status. */
static int give_up_input(struct report *report, const struct settings *settings, int error,
			 uint64_t started_ns)
{
	const struct session_result ended = {
		.end = session_end_of(error), .started_ns = started_ns, .ended_ns = clock_now_ns(),
	};

	if (error == interrupt_ended()) {
		describe(report, &settings->session.target, NULL, 1, &ended);
		return session_status(&ended);
	}
	report_error(report, "standard input: %s", error != -EFBIG ?
		     strerror(-error) : "more than 256 MiB to repeat, and no file");
	return STATUS_LOCAL;
}

static int send_all(struct report *report, struct settings *settings)
{
	FD_CLEANUP int input_fd = -1;
	FD_CLEANUP int output_fd = -1;
	struct session_options options;
	uint64_t started_ns = clock_now_ns();
	off_t start;
	int status;

	output_fd = open_output(settings, report->json);
	if (output_fd < 0 && output_fd != SESSION_OUTPUT_NONE) {
		report_error(report, "%s: %s", settings->output_path != NULL ?
			     settings->output_path : "standard output", strerror(-output_fd));
		return STATUS_LOCAL;
	}
	/* Not before: opening a file is to end as it always does. */
	if (interrupt_open(report, settings->session.deadline_us,
			   shows_progress(report, output_fd)) < 0)
		return STATUS_LOCAL;
	input_fd = open_input(settings, &start);
	if (input_fd < 0)
		return give_up_input(report, settings, input_fd, started_ns);
	options = (struct session_options){
		.input_fd = input_fd,
		.input_is_terminal = isatty(input_fd),
		.output_fd = output_fd,
		.output_name = settings->output_path,
		.verify = settings->verify,
		.fin = settings->fin,
		.drain_timeout_us = settings->session.drain_timeout_us,
		.progress = shows_progress(report, output_fd),
	};
	status = STATUS_OK;
	for (uint64_t run = 1; run <= settings->repeat && status == STATUS_OK &&
	     report_heard(report); run++) {
		if (settings->repeat > 1 && lseek(input_fd, start, SEEK_SET) < 0)
			status = STATUS_LOCAL;
		else
			status = send_once(report, &settings->session, &options, run);
	}
	return status;
}

static int run(struct invocation *invocation)
{
	struct settings settings = {
		.session.drain_timeout_us = SESSION_DRAIN_TIMEOUT_DEFAULT_US,
		.repeat = 1,
		.fin = true,
		.verify = true,
	};
	int status = session_command_parse(invocation, take, &settings, &settings.session);

	if (status == COMMAND_PROCEED)
		status = send_all(&invocation->globals.report, &settings);
	return status;
}

static const struct option long_options[] = {
	SESSION_OPTION_DRAIN_TIMEOUT,
	{"no-fin", no_argument, NULL, OPTION_NO_FIN},
	{"no-verify", no_argument, NULL, OPTION_NO_VERIFY},
	{"output", required_argument, NULL, 'o'},
	{"repeat", required_argument, NULL, OPTION_REPEAT},
	SESSION_OPTION_SOURCE,
	{0},
};

const struct command command_send = {
	.name = "send",
	.operands = "ADDRESS",
	.summary = "send standard input, verify what comes back",
	.help =
		"Sends standard input to an echo service, ends it with a FIN, writes what comes back\n"
		"to standard output and compares it byte for byte with what was sent. At a terminal\n"
		"a line with q alone ends the input, as does Ctrl-D.\n\n"
		"Options:\n"
		"      --drain-timeout TIME    longest wait without progress, for the server to take,\n"
		"                              return or end the data (30s)\n"
		"      --no-fin                do not half-close at the end of input: ends after\n"
		"                              --drain-timeout of silence, or at the server's FIN\n"
		"      --no-verify             do not compare, do not count\n"
		"  -o, --output FILE           write what comes back to FILE; with --json standard\n"
		"                              output carries the results alone\n"
		"      --repeat N              all of it N times, each over a new connection\n"
		"  -S, --source ADDRESS        connect from this numeric address\n\n"
		"Examples:\n"
		"  echo hello | echoctl localhost\n"
		"  echoctl send --drain-timeout 5s [2001:db8::7]:7 <disk.img >/dev/null\n",
	.short_options = "o:S:",
	.long_options = long_options,
	.run = run,
};
