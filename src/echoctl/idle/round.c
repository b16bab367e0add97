/* SPDX-License-Identifier: MIT */
/* Silent connections, watched all at once. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/command_line/command.h"
#include "echoctl/idle/idle.h"
#include "echoctl/output/terminal.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define PROGRESS_NS UINT64_C(1000000000)
#define SAID_STEP 1.9		/* people are told of each doubling, and not of all between */

enum state { SILENT, ASKING, ALIVE, DEAD };

struct probe {
	enum state state;
	int fd;
	uint64_t silence_ns;		/* planned; what it came to once it was asked */
	uint64_t since_ns;
	uint64_t asked_ns;
	size_t received_bytes;
	uint8_t message[IDLE_MESSAGE_BYTES];
};

struct round {
	struct idle *idle;
	uint64_t started_ns;		/* when all were open */
	size_t n_probes;
	struct probe probes[IDLE_PROBES_MAX];
};

static void say_result(struct idle *idle, const struct probe *probe, const char *how)
{
	double silence_s = (double)probe->silence_ns / 1e9;
	uint64_t rtt_ns = clock_now_ns() - probe->asked_ns;
	json_t *event = json_pack("{s:s, s:I, s:s, s:s?}", "event", "idle_probe",
				  "silence_ns", (json_int_t)probe->silence_ns,
				  "result", how ? "dead" : "alive", "how", how);

	if (!how)
		json_object_set_new(event, "rtt_ns", json_integer((json_int_t)rtt_ns));
	report_json(idle->report, event);
	if (how) {
		report_text(idle->report, "%.3f s silent: dead (%s)\n", silence_s, how);
	} else if ((double)probe->silence_ns >= (double)idle->said_ns * SAID_STEP ||
		   probe->silence_ns >= idle->settings.max_us * 1000) {
		idle->said_ns = probe->silence_ns;
		report_text(idle->report, "%.3f s silent: alive, echo in %.3f ms\n", silence_s,
			    (double)rtt_ns / 1e6);
	}
}

static void bury(struct idle *idle, struct probe *probe, const char *how)
{
	bool seen = probe->state == SILENT;

	if (seen)
		probe->silence_ns = clock_now_ns() - probe->since_ns;
	probe->state = DEAD;
	probe->fd = fd_close(probe->fd);
	say_result(idle, probe, how);
	if (idle->dies_ns > 0 && idle->dies_ns <= probe->silence_ns)
		return;
	if (idle->survives_ns >= probe->silence_ns) {
		idle->contradicted_ns = idle->survives_ns;
		idle->survives_ns = 0;
	}
	idle->dies_ns = probe->silence_ns;
	idle->how = how;
	idle->seen = seen;
}

static void keep(struct idle *idle, struct probe *probe)
{
	probe->state = ALIVE;
	probe->fd = fd_close(probe->fd);
	say_result(idle, probe, NULL);
	if (idle->dies_ns > 0 && probe->silence_ns > idle->dies_ns)
		idle->contradicted_ns = probe->silence_ns;
	else if (probe->silence_ns > idle->survives_ns)
		idle->survives_ns = probe->silence_ns;
}

static const char *how_of(int error)
{
	switch (error) {
	case -ENODATA:
		return "fin";
	case -ECONNRESET:
	case -EPIPE:
		return "reset";
	case -ETIMEDOUT:
		return "black hole";
	default:
		return exchange_why(error);
	}
}

/* Connects, and shows that an echo comes back before any silence. Returns 0 or -errno. */
static int open_probe(struct idle *idle, struct probe *probe, const char **ret_phase)
{
	uint64_t deadline_ns = clock_now_ns() + idle->settings.timeout_us * 1000;
	enum dial_phase phase;
	struct exchange result;
	int error = 0;
	int ready;

	probe->fd = dial_start(&idle->target, &idle->dial, &phase);
	*ret_phase = dial_phase_name(phase);
	if (probe->fd < 0)
		return probe->fd;
	*ret_phase = "connect";
	ready = exchange_wait(probe->fd, POLLOUT, deadline_ns);
	if (ready < 0)
		return ready;
	getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error != 0)
		return -error;
	setsockopt(probe->fd, SOL_SOCKET, SO_KEEPALIVE, &(int){0}, sizeof(int));
	payload_fill(probe->message, sizeof(probe->message), probe->silence_ns, clock_now_ns());
	error = exchange_run(probe->fd, probe->message, sizeof(probe->message), false, deadline_ns,
			     &result);
	*ret_phase = result.phase;
	probe->since_ns = clock_now_ns();
	return error;
}

static void ask(struct idle *idle, struct probe *probe)
{
	ssize_t sent;

	probe->asked_ns = clock_now_ns();
	probe->silence_ns = probe->asked_ns - probe->since_ns;
	probe->state = ASKING;
	/* So little goes in one piece into a buffer that has been empty for long. */
	sent = send(probe->fd, probe->message, sizeof(probe->message), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		bury(idle, probe, how_of(-errno));
}

static void take_answer(struct idle *idle, struct probe *probe)
{
	uint8_t bytes[IDLE_MESSAGE_BYTES + 1];
	ssize_t got = recv(probe->fd, bytes, sizeof(bytes) - probe->received_bytes, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		bury(idle, probe, how_of(got == 0 ? -ENODATA : -errno));
		return;
	}
	if (probe->state == SILENT ||
	    (size_t)got > sizeof(probe->message) - probe->received_bytes ||
	    memcmp(bytes, probe->message + probe->received_bytes, (size_t)got) != 0) {
		bury(idle, probe, how_of(-EBADMSG));
		return;
	}
	probe->received_bytes += (size_t)got;
	if (probe->received_bytes == sizeof(probe->message))
		keep(idle, probe);
}

/* True while the outcome of this one may change what is known. */
static bool matters(const struct idle *idle, const struct probe *probe)
{
	if (probe->state == ASKING)
		return true;
	return probe->state == SILENT &&
		(idle->dies_ns == 0 || probe->silence_ns < idle->dies_ns);
}

/* When this one is to be asked or given up; UINT64_MAX: never. */
static uint64_t due_ns(const struct probe *probe, uint64_t timeout_ns)
{
	if (probe->state == SILENT)
		return probe->since_ns + probe->silence_ns;
	if (probe->state == ASKING)
		return probe->asked_ns + timeout_ns;
	return UINT64_MAX;
}

/* Asks what was silent for long enough, gives up what does not answer. Next time, or UINT64_MAX. */
static uint64_t advance(struct round *round, uint64_t now_ns)
{
	struct idle *idle = round->idle;
	uint64_t timeout_ns = idle->settings.timeout_us * 1000;
	uint64_t wake_ns = UINT64_MAX;

	for (size_t i = 0; i < round->n_probes; i++) {
		struct probe *probe = &round->probes[i];
		uint64_t next_ns;

		if (!matters(idle, probe))
			continue;
		if (due_ns(probe, timeout_ns) <= now_ns) {
			/* We may be late: an end or an answer that is there by now came first. */
			take_answer(idle, probe);
			if (probe->state == SILENT)
				ask(idle, probe);
			else if (probe->state == ASKING)
				bury(idle, probe, how_of(-ETIMEDOUT));
		}
		next_ns = due_ns(probe, timeout_ns);
		if (next_ns < wake_ns)
			wake_ns = next_ns;
	}
	return wake_ns;
}

/* How it stands: in a line that is rewritten, or, when it is asked for, in one that stays. */
static void show_progress(const struct round *round, bool asked)
{
	const struct idle *idle = round->idle;
	char text[128];
	size_t open = 0;

	if (!idle->progress && !asked)
		return;
	for (size_t i = 0; i < round->n_probes; i++)
		open += matters(idle, &round->probes[i]);
	snprintf(text, sizeof(text), "%.0f s: %zu connection%s silent, longest survived %.3f s",
		 (double)(clock_now_ns() - round->started_ns) / 1e9, open, open == 1 ? "" : "s",
		 (double)idle->survives_ns / 1e9);
	if (asked)
		report_error(idle->report, "%s", text);
	else
		terminal_show("%s", text);
}

static int wait_for_events(struct round *round, uint64_t wake_ns)
{
	struct pollfd polls[IDLE_PROBES_MAX + 1];
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
	struct timespec timeout = { 0 };

	if (left_ns > PROGRESS_NS)
		left_ns = PROGRESS_NS;
	timeout.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S);
	timeout.tv_nsec = (long)(left_ns % CLOCK_NS_PER_S);
	for (size_t i = 0; i < round->n_probes; i++)
		polls[i] = (struct pollfd){ .fd = round->probes[i].fd, .events = POLLIN };
	polls[round->n_probes] = (struct pollfd){ .fd = interrupt_fd(), .events = POLLIN };
	if (ppoll(polls, round->n_probes + 1, &timeout, NULL) < 0)
		return errno == EINTR ? 0 : -errno;
	for (size_t i = 0; i < round->n_probes; i++) {
		if (polls[i].revents && matters(round->idle, &round->probes[i]))
			take_answer(round->idle, &round->probes[i]);
	}
	return 0;
}

static int run_round(struct round *round)
{
	int error = 0;

	round->started_ns = clock_now_ns();
	while (error == 0 && !round->idle->stopped) {
		uint64_t wake_ns = advance(round, clock_now_ns());

		if (wake_ns == UINT64_MAX)
			break;
		show_progress(round, interrupt_asked());
		error = wait_for_events(round, wake_ns);
		if (interrupt_ended() < 0 || !report_heard(round->idle->report))
			round->idle->stopped = true;
	}
	return error;
}

static void say_failure(struct idle *idle, const char *phase, int error)
{
	report_error(idle->report, "%s: %s before any silence: %s", idle->peer, phase,
		     exchange_why(error));
	report_failure(idle->report, idle->peer, idle->peer, phase, -error, exchange_why(error));
}

int idle_round(struct idle *idle, const uint64_t *silences_ns, size_t n_silences)
{
	static struct round round;
	const char *phase = "connect";
	int error = 0;

	memset(&round, 0, sizeof(round));
	round.idle = idle;
	round.n_probes = n_silences;
	for (size_t i = 0; i < n_silences; i++) {
		round.probes[i].fd = -1;
		round.probes[i].silence_ns = silences_ns[i];
	}
	/* The longest first: the time that opening takes is part of its silence. */
	for (size_t i = n_silences; i > 0 && error == 0 && !idle->stopped; i--) {
		error = open_probe(idle, &round.probes[i - 1], &phase);
		if (interrupt_ended() < 0) {
			idle->stopped = true;
			error = 0;
		}
	}
	if (error == 0) {
		phase = "poll";
		error = run_round(&round);
	}
	for (size_t i = 0; i < n_silences; i++)
		fd_close(round.probes[i].fd);
	if (error == 0)
		return COMMAND_PROCEED;
	say_failure(idle, phase, error);
	if (strcmp(phase, "socket") == 0 || strcmp(phase, "poll") == 0)
		return STATUS_LOCAL;
	return strcmp(phase, "connect") == 0 ? STATUS_UNREACHED : STATUS_FAILED;
}
