/* SPDX-License-Identifier: MIT */
/*
 * echoctl load: many connections at a fixed rate or as fast as they go, every byte verified.
 *
 * The process that was started reads the options, forks --processes workers, shows how it goes and
 * reports at the end. It measures nothing itself. Each worker has its share of the connections and
 * an epoll loop over them (worker.c); its results stand in shared memory, one tally a
 * worker, so that no lock and no message is needed and a worker that dies loses nothing.
 *
 * Without --rate a connection begins the next message when the echo of the last one is whole. With
 * it, messages fall due on one common schedule that is dealt out in turn: worker i of n has every
 * n-th. A message that is due begins on the connection that has been idle longest; if none is, it
 * waits, and its latency counts from when it was due, not from when it could begin. A server that
 * stands still for a second so shows up in every message of that second (no coordinated omission).
 *
 * The sum is kept exact: each message that was due is echoed, failed or not begun, and each of
 * them is counted once. What fails as a connection costs the message that was to begin on it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/command_line/command.h"
#include "echoctl/load/load.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define DURATION_US (10u * CLOCK_US_PER_S)
#define DURATION_WITH_COUNT_US (3600u * (uint64_t)CLOCK_US_PER_S)
#define DURATION_MAX_US (UINT64_C(7) * 86400 * CLOCK_US_PER_S)
#define CONNECTIONS_MAX 100000
#define RATE_MAX 10000000
#define SIZE_MAX_BYTES (UINT64_C(16) << 20)
#define PROGRESS_NS UINT64_C(1000000000)
#define START_POLL_NS UINT64_C(5000000)

enum {
	OPTION_RATE = OPTION_OWN,
	OPTION_RECONNECT,
	OPTION_PROCESSES,
	OPTION_TIMEOUT,
	OPTION_PROGRESS,
};

/* The parent's view of a run. */
struct run {
	struct load load;
	uint64_t left;			/* processes that were not reaped yet */
	int error;			/* -errno: why it ends early */
	uint64_t reported_ns;
	struct load_tally now;
	struct load_tally before;
};

static const char help[] =
	"Sends messages over many connections, each of which has one on its way, and\n"
	"verifies every byte that comes back. Without --rate each connection sends the\n"
	"next message as soon as it can.\n"
	"\n"
	"  -c, --connections COUNT     connections at a time (8)\n"
	"  -d, --duration TIME         how long to begin messages (10s; 1h with -n)\n"
	"  -n, --count COUNT           messages in all, those that fail included\n"
	"      --rate N                messages a second in all, at a fixed schedule;\n"
	"                              latency counts from when a message was due (what\n"
	"                              waits for a free connection is not left out)\n"
	"                              and, apart, from when it was sent\n"
	"  -s, --size SIZE             bytes of a message (64; at most 16M)\n"
	"      --reconnect             a connection for each message: connect, echo,\n"
	"                              half-close, wait for the peer's FIN\n"
	"      --processes COUNT       processes that share the connections (1 to 16)\n"
	"      --timeout TIME          until a message or an attempt to connect failed\n"
	"                              (5s); --connect-timeout counts where shorter\n"
	"      --progress              a line a second even if stderr is no terminal\n"
	"\n"
	"Exit status: 0 all verified, 1 some failed, 2 not reached.\n"
	"\n"
	"Example: 64 connections, a thousand messages a second, for half a minute\n"
	"  echoctl load -c 64 --rate 1000 -d 30s echo.example.net\n";

static const struct option options[] = {
	{"connections", required_argument, NULL, 'c'},
	{"duration", required_argument, NULL, 'd'},
	{"count", required_argument, NULL, 'n'},
	{"rate", required_argument, NULL, OPTION_RATE},
	{"size", required_argument, NULL, 's'},
	{"reconnect", no_argument, NULL, OPTION_RECONNECT},
	{"processes", required_argument, NULL, OPTION_PROCESSES},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"progress", no_argument, NULL, OPTION_PROGRESS},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	struct load *load = data;

	switch (option) {
	case 'c':
		return command_take_number(value, 1, CONNECTIONS_MAX, &load->connections);
	case 'd':
		return command_take_duration(value, 1, DURATION_MAX_US, &load->duration_us);
	case 'n':
		return command_take_number(value, 1, INT64_MAX, &load->messages);
	case OPTION_RATE:
		return command_take_number(value, 1, RATE_MAX, &load->rate);
	case 's':
		return command_take_size(value, 1, SIZE_MAX_BYTES, &load->size_bytes);
	case OPTION_RECONNECT:
		load->reconnect = true;
		return NULL;
	case OPTION_PROCESSES:
		return command_take_number(value, 1, LOAD_PROCESSES_MAX, &load->processes);
	case OPTION_TIMEOUT:
		return command_take_duration(value, 1, DURATION_MAX_US, &load->timeout_us);
	default:
		load->progress = true;
		return NULL;
	}
}

/* Half of the processors: the other half is for a server on the same machine. */
static uint64_t default_processes(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (processors < 4)
		return 1;
	return processors / 2 < LOAD_PROCESSES_MAX ? (uint64_t)processors / 2 : LOAD_PROCESSES_MAX;
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void stop(const struct run *run)
{
	__atomic_store_n(&run->load.shared->stop, true, __ATOMIC_RELAXED);
}

/* The others end too: they would wait for the one that failed, or have half of a result. */
static void fail(struct run *run, int error)
{
	if (run->error == 0)
		run->error = error;
	stop(run);
}

static void start_processes(struct run *run)
{
	pid_t parent = getpid();
	pid_t pid;

	/* If it is ignored, which a parent of ours may have left so, nothing is there to reap. */
	signal(SIGCHLD, SIG_DFL);
	for (uint64_t i = 0; i < run->load.processes && run->error == 0; i++) {
		pid = fork();
		if (pid < 0) {
			fail(run, -errno);
		} else if (pid > 0) {
			run->left++;
		} else {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(getppid() == parent ? -load_work(&run->load, i) : 0);
		}
	}
}

static void reap_processes(struct run *run)
{
	int status;

	while (waitpid(-1, &status, WNOHANG) > 0) {
		run->left--;
		if (status != 0)
			fail(run, WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO);
	}
}

/* The slowest to connect decides when all begin. */
static void release_processes(struct run *run, uint64_t now_ns)
{
	load_collect(&run->load, &run->now);
	if (!run->now.ready)
		return;
	run->reported_ns = now_ns;
	__atomic_store_n(&run->load.shared->start_ns, now_ns, __ATOMIC_RELEASE);
}

static void report_interval(struct run *run, uint64_t now_ns)
{
	load_collect(&run->load, &run->now);
	load_report_progress(&run->load, &run->now, &run->before,
			     now_ns - run->load.shared->start_ns, now_ns - run->reported_ns);
	if (!report_heard(run->load.report))
		stop(run);
	run->before = run->now;
	run->reported_ns = now_ns;
}

/* Waits until every process has ended; says how it stands on the way. */
static void watch_processes(struct run *run)
{
	struct pollfd polls[1];

	while (run->left > 0) {
		bool started = run->load.shared->start_ns > 0;
		uint64_t wake_ns = run->load.progress ? run->reported_ns + PROGRESS_NS : UINT64_MAX;
		uint64_t now_ns;
		bool asked;
		int r;

		if (!started)
			wake_ns = clock_now_ns() + START_POLL_NS;
		r = interrupt_poll(polls, 0, wake_ns);
		if (r < 0)
			fail(run, r);
		if (interrupt_ended() < 0)
			stop(run);
		reap_processes(run);
		now_ns = clock_now_ns();
		asked = started && interrupt_asked();
		if (!started)
			release_processes(run, now_ns);
		else if (asked || (now_ns >= wake_ns && run->left > 0))
			report_interval(run, now_ns);
		if (asked)
			terminal_keep();
	}
}

static int run_load(struct run *run)
{
	struct load *load = &run->load;
	size_t size = sizeof(struct load_shared) + load->processes * sizeof(struct load_tally);
	uint8_t *table = payload_table_new(load->size_bytes);
	uint64_t start_ns;
	uint64_t ended_ns;

	load->table = table;
	load->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!table || load->shared == MAP_FAILED) {
		free(table);
		return -ENOMEM;
	}
	start_processes(run);
	watch_processes(run);
	ended_ns = clock_now_ns();
	start_ns = load->shared->start_ns;
	load_collect(load, &run->now);
	if (run->error == 0 || start_ns > 0)
		load_report_summary(load, &run->now, start_ns > 0 ? ended_ns - start_ns : 0);
	munmap(load->shared, size);
	free(table);
	return run->error;
}

static int run(struct invocation *invocation)
{
	static struct run run = {
		.load = { .connections = 8, .size_bytes = 64, .timeout_us = 5 * CLOCK_US_PER_S },
	};
	struct report *report = &invocation->globals.report;
	struct load *load = &run.load;
	struct address_spec target;
	struct dial dial;
	int status;
	int r;

	status = command_parse_target(invocation, take, load, &target);
	if (status != COMMAND_PROCEED)
		return status;
	if (load->duration_us == 0)
		load->duration_us = load->messages > 0 ? DURATION_WITH_COUNT_US : DURATION_US;
	if (load->processes == 0)
		load->processes = default_processes();
	if (load->processes > load->connections)
		load->processes = load->connections;
	load->dial = dial_options(&invocation->globals);
	/* The time for a message is the one for connecting too, unless that has a shorter one. */
	if (load->timeout_us < load->dial.timeout_us || !invocation->globals.connect_timeout_given)
		load->dial.timeout_us = load->timeout_us;
	if (interrupt_open(report, invocation->globals.deadline_us, true) < 0)
		return STATUS_LOCAL;
	/* One connection finds out which address answers; the load follows it. */
	status = dial_target(report, &target, &load->dial, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	fd_close(dial.fd);
	load->target = dial.attempts[dial.winner].target;
	dial_peer(&dial, load->peer);
	load->report = report;
	load->terminal = terminal_obeys(STDERR_FILENO);
	load->progress |= load->terminal && !report->quiet && !report->json;
	raise_descriptor_limit();
	r = run_load(&run);
	if (r < 0) {
		report_error(report, "load: %s", strerror(-r));
		return STATUS_LOCAL;
	}
	return load_errors(&run.now) > 0 || run.now.raw.count == 0 ? STATUS_FAILED : STATUS_OK;
}

const struct command command_load = {
	.name = "load",
	.operands = "ADDRESS",
	.summary = "many connections at a fixed rate or as fast as they go",
	.help = help,
	.long_options = options,
	.run = run,
};
