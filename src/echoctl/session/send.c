/* SPDX-License-Identifier: MIT */
/* send: sends standard input, writes the echo to standard output, compares both. */
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
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/session/session.h"

#define DRAIN_TIMEOUT_DEFAULT_US (30u * 1000000u)
#define REPEAT_MAX 1000000000u
#define SPOOL_MAX_BYTES (256u * 1024u * 1024u)

enum {
	OPTION_NO_FIN = OPTION_SESSION_OWN,
	OPTION_NO_VERIFY,
	OPTION_REPEAT,
};

struct settings {
	struct session_command session;
	uint64_t repeat;
};

static const char *take(void *settings, int option, const char *value)
{
	struct settings *send = settings;

	switch (option) {
	case OPTION_REPEAT:
		return command_take_number(value, 1, REPEAT_MAX, &send->repeat);
	case OPTION_NO_FIN:
		send->session.options.fin = false;
		return NULL;
	case OPTION_NO_VERIFY:
		send->session.options.verify = false;
		return NULL;
	case 'o':
		send->session.options.output_name = value;
		return NULL;
	default:
		return session_take(&send->session, option, value);
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

/* No progress if lines are typed or the echo goes to a terminal: it would be in the way. */
static bool shows_progress(const struct report *report, int output_fd)
{
	return !report->quiet && terminal_obeys(STDERR_FILENO) && !isatty(STDIN_FILENO) &&
	       !(output_fd >= 0 && isatty(output_fd));
}

/* dial: NULL when nothing was connected. */
static void describe(struct report *report, const struct address_spec *target,
		     const struct dial *dial, uint64_t run, const struct session_result *result)
{
	char buffer[ADDRESS_TEXT_MAX];
	const char *address = dial ? dial_peer(dial, buffer) : NULL;
	char text[SESSION_TEXT_MAX];
	char rate[UNITS_TEXT_MAX];
	double seconds = (double)(result->ended_ns - result->started_ns) / CLOCK_NS_PER_S;

	session_describe(result, text);
	if (result->end == SESSION_INPUT_FAILED || result->end == SESSION_OUTPUT_FAILED)
		report_error(report, "%s", text);
	else if (result->end == SESSION_INTERRUPTED)
		report_note(report, "interrupted");
	else if (result->end != SESSION_OK)
		report_error(report, "%s%s%s%s: echo: %s", target->host, address ? " (" : "",
			     address ? address : "", address ? ")" : "", text);
	report_note(report, "%s: %" PRIu64 " bytes sent, %" PRIu64 " received, %s, %.3f s, %s/s",
		    address ? address : target->host, result->bytes_sent, result->bytes_received,
		    result->verified ? "verified" : "not verified", seconds,
		    units_bytes(
			    seconds > 0 ? (double)result->bytes_received / seconds : 0, rate));
	report_json(report, session_json(json_pack(
		"{s:s, s:o, s:o, s:I}", "event", "send", "host", report_string(target->host),
		"address", report_string(address), "run", (json_int_t)run), result));
}

/* The rest of a regular file in bytes, 0 if the input is not one. */
static uint64_t input_size(int fd)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	struct stat status;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || at < 0 || status.st_size < at)
		return 0;
	return (uint64_t)(status.st_size - at);
}

/* Sends all of the input over one connection. */
static int send_once(struct report *report, struct session_command *session, uint64_t run)
{
	struct session_result result;
	struct dial dial;
	int status = dial_target(report, &session->target, &session->dialling, &dial);

	if (status != COMMAND_PROCEED)
		return status;
	session->options.total_bytes = input_size(session->options.input_fd);
	session_run(dial.fd, &session->options, &result);
	fd_close(dial.fd);
	session_note_end(&result);
	describe(report, &session->target, &dial, run, &result);
	return session_status(&result);
}

/* Reports that there is no input. Returns the exit status. */
static int give_up_input(struct report *report, const struct address_spec *target, int error,
			 uint64_t started_ns)
{
	const struct session_result ended = {
		.end = session_end_of(error), .started_ns = started_ns, .ended_ns = clock_now_ns(),
	};

	if (error == interrupt_ended()) {
		describe(report, target, NULL, 1, &ended);
		return session_status(&ended);
	}
	report_error(report, "standard input: %s", error != -EFBIG ?
		     strerror(-error) : "more than 256 MiB to repeat, and no file");
	return STATUS_LOCAL;
}

static int send_all(struct report *report, struct session_command *session, uint64_t repeat)
{
	uint64_t started_ns = clock_now_ns();
	off_t start = lseek(STDIN_FILENO, 0, SEEK_CUR);
	FD_CLEANUP int spool_fd = -1;
	int status = STATUS_OK;

	if (repeat > 1 && start < 0) {
		start = 0;
		spool_fd = spool_input();
		if (spool_fd < 0)
			return give_up_input(report, &session->target, spool_fd, started_ns);
		session->options.input_fd = spool_fd;
	}
	for (uint64_t i = 1; i <= repeat && status == STATUS_OK && report_heard(report); i++) {
		if (repeat > 1 && lseek(session->options.input_fd, start, SEEK_SET) < 0)
			status = STATUS_LOCAL;
		else
			status = send_once(report, session, i);
	}
	return status;
}

static int run(struct invocation *invocation)
{
	struct report *report = &invocation->globals.report;
	struct settings settings = {
		.session.options = {
			.input_fd = STDIN_FILENO,
			.input_is_terminal = isatty(STDIN_FILENO),
			.output_fd = STDOUT_FILENO,
			.verify = true,
			.fin = true,
			.drain_timeout_us = DRAIN_TIMEOUT_DEFAULT_US,
		},
		.repeat = 1,
	};
	struct session_options *options = &settings.session.options;
	int status = session_parse(invocation, take, &settings, &settings.session);
	FD_CLEANUP int file_fd = -1;

	if (status != COMMAND_PROCEED)
		return status;
	if (options->output_name) {
		file_fd = open(options->output_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			       0666);
		if (file_fd < 0) {
			report_error(report, "%s: %s", options->output_name, strerror(errno));
			return STATUS_LOCAL;
		}
		options->output_fd = file_fd;
	} else if (report->json) {
		options->output_fd = SESSION_OUTPUT_NONE;
	}
	options->progress = shows_progress(report, options->output_fd);
	/* Not before: a signal must be able to end the opening of a file as usual. */
	if (interrupt_open(report, invocation->globals.deadline_us, options->progress) < 0)
		return STATUS_LOCAL;
	return send_all(report, &settings.session, settings.repeat);
}

static const struct option long_options[] = {
	SESSION_OPTION_DRAIN_TIMEOUT,
	{"no-fin", no_argument, NULL, OPTION_NO_FIN},
	{"no-verify", no_argument, NULL, OPTION_NO_VERIFY},
	{"output", required_argument, NULL, 'o'},
	{"repeat", required_argument, NULL, OPTION_REPEAT},
	{0},
};

const struct command command_send = {
	.name = "send",
	.operands = "ADDRESS",
	.summary = "send standard input, verify what comes back",
	.help =
		"Sends standard input to an echo service, ends it with a FIN, writes what comes\n"
		"back to standard output and compares it byte for byte with what was sent. At a\n"
		"terminal a line with q alone ends the input, as does Ctrl-D.\n\n"
		"Options:\n"
		"      --drain-timeout TIME    longest wait without progress, for the server to\n"
		"                              take, return or end the data (30s)\n"
		"      --no-fin                do not half-close at the end of input: ends after\n"
		"                              --drain-timeout of silence, or at the server's FIN\n"
		"      --no-verify             do not compare, do not count\n"
		"  -o, --output FILE           write what comes back to FILE; with --json\n"
		"                              standard output carries the results alone\n"
		"      --repeat N              send the input N times, over a connection each\n\n"
		"Examples:\n"
		"  echo hello | echoctl localhost\n"
		"  echoctl send --drain-timeout 5s [2001:db8::7]:7 <disk.img >/dev/null\n",
	.long_options = long_options,
	.path = &dial_path_options,
	.run = run,
};
