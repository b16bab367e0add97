/* SPDX-License-Identifier: MIT */
/*
 * echoctl load: many connections at a fixed rate or as fast as they go, every byte verified.
 *
 * The process that was started reads the options, forks --processes workers, shows how it goes and
 * reports at the end. It measures nothing itself. Each worker has its share of the connections and
 * an epoll loop over them (work.c, connection.c); its results stand in shared memory, one tally a
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
#include <fcntl.h>
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
#include "echoctl/output/terminal.h"
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

struct settings {
	struct load_plan plan;
	bool progress;
};

/* The parent's view of a run. */
struct run {
	const struct load_plan *plan;
	struct load_shared *shared;
	struct load_report report;
	struct pollfd polls[LOAD_PROCESSES_MAX + 1];	/* pipes, a process has the other end */
	pid_t pids[LOAD_PROCESSES_MAX];
	struct load_tally now;
	struct load_tally before;
	uint64_t reported_ns;
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
	struct settings *settings = data;
	struct load_plan *plan = &settings->plan;

	switch (option) {
	case 'c':
		return command_take_number(value, 1, CONNECTIONS_MAX, &plan->connections);
	case 'd':
		return command_take_duration(value, 1, DURATION_MAX_US, &plan->duration_us);
	case 'n':
		return command_take_number(value, 1, INT64_MAX, &plan->messages);
	case OPTION_RATE:
		return command_take_number(value, 1, RATE_MAX, &plan->rate);
	case 's':
		return command_take_size(value, 1, SIZE_MAX_BYTES, &plan->size_bytes);
	case OPTION_RECONNECT:
		plan->reconnect = true;
		return NULL;
	case OPTION_PROCESSES:
		return command_take_number(value, 1, LOAD_PROCESSES_MAX, &plan->processes);
	case OPTION_TIMEOUT:
		return command_take_duration(value, 1, DURATION_MAX_US, &plan->timeout_us);
	default:
		settings->progress = true;
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

/* Returns 0 or -errno; what was started is in run->pids in any case. */
static int start_processes(struct run *run)
{
	pid_t parent = getpid();

	for (uint64_t i = 0; i < run->plan->processes; i++) {
		int ends[2];
		pid_t pid;

		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		run->polls[i] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
		pid = fork();
		if (pid < 0) {
			int error = -errno;

			fd_close(ends[1]);
			return error;
		}
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(0);
			_exit(-load_work(run->plan, run->shared, i));
		}
		fd_close(ends[1]);
		run->pids[i] = pid;
	}
	return 0;
}

/* The slowest to connect decides when all begin; a signal or an end begins it too. */
static void release_processes(struct run *run, uint64_t now_ns)
{
	load_collect(run->plan, run->shared, &run->now);
	if (!run->now.ready)
		return;
	run->reported_ns = now_ns;
	__atomic_store_n(&run->shared->start_ns, now_ns, __ATOMIC_RELEASE);
}

static void report_interval(struct run *run, uint64_t now_ns)
{
	load_collect(run->plan, run->shared, &run->now);
	load_report_progress(&run->report, &run->now, &run->before,
			     now_ns - run->shared->start_ns, now_ns - run->reported_ns);
	if (!report_heard(run->report.report))
		__atomic_store_n(&run->shared->stop, true, __ATOMIC_RELAXED);
	run->before = run->now;
	run->reported_ns = now_ns;
}

/* What the user wants: the end, or how it stands in a line that stays. */
static void heed_user(struct run *run)
{
	if (interrupt_ended() < 0)
		__atomic_store_n(&run->shared->stop, true, __ATOMIC_RELAXED);
	if (run->shared->start_ns > 0 && interrupt_asked()) {
		report_interval(run, clock_now_ns());
		terminal_keep();
	}
}

/* Whether a process that has ended did so with an error. It is still to be reaped. */
static bool has_failed(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 || info.si_status != 0;
}

/* Waits until every process has ended; says how it stands on the way. Returns 0 or -errno. */
static int watch_processes(struct run *run)
{
	uint64_t left = run->plan->processes;

	while (left > 0) {
		bool started = run->shared->start_ns > 0;
		uint64_t wake_ns = run->reported_ns + PROGRESS_NS;
		uint64_t now_ns = clock_now_ns();
		uint64_t wait_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;

		if (!started)
			wait_ns = START_POLL_NS;
		else if (!run->report.progress)
			wait_ns = PROGRESS_NS;
		if (poll(run->polls, run->plan->processes + 1,
			 (int)((wait_ns + 999999) / 1000000)) < 0 && errno != EINTR)
			return -errno;
		for (uint64_t i = 0; i < run->plan->processes; i++) {
			if (run->polls[i].fd < 0 || !run->polls[i].revents)
				continue;
			run->polls[i].fd = fd_close(run->polls[i].fd);
			left--;
			/* The others would wait for it to be ready, or have half of a result. */
			if (has_failed(run->pids[i]))
				__atomic_store_n(&run->shared->stop, true, __ATOMIC_RELAXED);
		}
		heed_user(run);
		now_ns = clock_now_ns();
		if (!started)
			release_processes(run, now_ns);
		else if (run->report.progress && left > 0 && now_ns >= wake_ns)
			report_interval(run, now_ns);
	}
	return 0;
}

/* Returns 0 or the first -errno of a process; -EIO for one that was killed. */
static int reap_processes(struct run *run)
{
	int error = 0;
	int status;

	for (uint64_t i = 0; i < run->plan->processes && run->pids[i] > 0; i++) {
		if (waitpid(run->pids[i], &status, 0) < 0 || status == 0 || error < 0)
			continue;
		error = WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
	}
	return error;
}

static double children_cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int run_processes(struct run *run)
{
	int error = start_processes(run);
	int reaped;

	if (error == 0)
		error = watch_processes(run);
	if (error < 0)
		__atomic_store_n(&run->shared->stop, true, __ATOMIC_RELAXED);
	reaped = reap_processes(run);
	if (error == 0)
		error = reaped;
	return error;
}

static int run_load(struct invocation *invocation, struct settings *settings,
		    const struct dial *dial)
{
	struct load_plan *plan = &settings->plan;
	size_t size = sizeof(struct load_shared) + plan->processes * sizeof(struct load_tally);
	struct report *report = &invocation->globals.report;
	struct run *run = calloc(1, sizeof(*run));
	uint8_t *table = payload_table_new(plan->size_bytes);
	uint64_t ended_ns;
	int error = -ENOMEM;

	if (!run || !table)
		goto out;
	plan->table = table;
	run->plan = plan;
	run->report = (struct load_report){
		.report = report,
		.plan = plan,
		.terminal = terminal_obeys(STDERR_FILENO),
	};
	run->report.progress = settings->progress ||
		(run->report.terminal && !report->quiet && !report->json);
	dial_peer(dial, run->report.peer);
	run->polls[plan->processes] = (struct pollfd){ .fd = interrupt_fd(), .events = POLLIN };
	run->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->shared == MAP_FAILED)
		goto out;
	error = run_processes(run);
	ended_ns = clock_now_ns();
	load_collect(plan, run->shared, &run->now);
	run->report.client_cpu_s = children_cpu_s();
	if (error == 0 || run->shared->start_ns > 0)
		load_report_summary(&run->report, &run->now, run->shared->start_ns > 0 ?
				    ended_ns - run->shared->start_ns : 0);
	munmap(run->shared, size);
	if (error == 0 && (load_errors(&run->now) > 0 || run->now.raw.count == 0))
		error = 1;
out:
	if (error < 0)
		report_error(report, "load: %s", strerror(-error));
	free(table);
	free(run);
	if (error < 0)
		return STATUS_LOCAL;
	return error == 0 ? STATUS_OK : STATUS_FAILED;
}

static int run(struct invocation *invocation)
{
	struct settings settings = {
		.plan = { .connections = 8, .size_bytes = 64, .timeout_us = 5 * CLOCK_US_PER_S },
	};
	struct load_plan *plan = &settings.plan;
	struct address_spec target;
	struct dial dial;
	int status;

	status = command_parse_target(invocation, take, &settings, &target);
	if (status != COMMAND_PROCEED)
		return status;
	if (plan->duration_us == 0)
		plan->duration_us = plan->messages > 0 ? DURATION_WITH_COUNT_US : DURATION_US;
	if (plan->processes == 0)
		plan->processes = default_processes();
	if (plan->processes > plan->connections)
		plan->processes = plan->connections;
	plan->dial = dial_options(&invocation->globals);
	/* The time for a message is the one for connecting too, unless that has a shorter one. */
	if (plan->timeout_us < plan->dial.timeout_us || !invocation->globals.connect_timeout_given)
		plan->dial.timeout_us = plan->timeout_us;
	if (interrupt_open(&invocation->globals.report, invocation->globals.deadline_us, true) < 0)
		return STATUS_LOCAL;
	/* One connection finds out which address answers; the load follows it. */
	status = dial_target(&invocation->globals.report, &target, &plan->dial, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	fd_close(dial.fd);
	plan->target = dial.attempts[dial.winner].target;
	raise_descriptor_limit();
	return run_load(invocation, &settings, &dial);
}

const struct command command_load = {
	.name = "load",
	.operands = "ADDRESS",
	.summary = "many connections at a fixed rate or as fast as they go",
	.help = help,
	.short_options = "c:d:n:s:",
	.long_options = options,
	.run = run,
};
