/* SPDX-License-Identifier: MIT */
/* One generation for one connection: signals are all that happens, so no event loop is needed. */
#include "echod/inetd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/generation/ending.h"
#include "echod/generation/generation.h"
#include "echod/log/log.h"
#include "echod/privileges/privileges.h"
#include "echod/report/report.h"

struct inetd {
	struct report report;
	bool is_settled; /* served, or turned away by the access lists */
};

static void on_nothing(void *context, struct generation *generation)
{
	(void)context;
	(void)generation;
}

static void on_pong(void *context, struct generation *generation, uint32_t value)
{
	(void)context;
	(void)generation;
	(void)value;
}

static void on_event(void *context, struct generation *generation, const struct event *event)
{
	struct inetd *inetd = context;

	(void)generation;
	if (event->type == EVENT_CLOSED ||
	    (event->type == EVENT_REFUSED && event->reason == REFUSE_ACCESS))
		inetd->is_settled = true;
	/* After its one connection this listener is always at its limit: that is no news. */
	if (event->type != EVENT_LIMIT)
		report_event(&inetd->report, event, NULL, clock_now_ns());
}

/* Returns the enum endpoint_family of a connected stream socket, or -errno. */
static int connection_family(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	int type = 0;
	socklen_t type_length = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0)
		return -errno;
	switch (peer.ss_family) {
	case AF_INET:
		return ENDPOINT_INET;
	case AF_INET6:
		return ENDPOINT_INET6;
	case AF_UNIX:
		return ENDPOINT_UNIX;
	default:
		return -EAFNOSUPPORT;
	}
}

static bool is_same_file(int left_fd, int right_fd)
{
	struct stat left, right;

	return fstat(left_fd, &left) == 0 && fstat(right_fd, &right) == 0 &&
	       left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

int inetd_take_connection(void)
{
	FD_CLEANUP int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	FD_CLEANUP int connection_fd = -1;
	int family = connection_family(STDIN_FILENO);

	if (family < 0)
		return family;
	connection_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (null_fd < 0 || connection_fd < 0)
		return -errno;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (is_same_file(fd, connection_fd) && dup2(null_fd, fd) < 0)
			return -errno;
	return fd_steal(&connection_fd);
}

/* For wait_for_signal(). HUP and USR1 mean nothing here, so neither ends the connection. */
static void signals_block(sigset_t *ret_set)
{
	const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	sigemptyset(ret_set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(ret_set, signals[i]);
	sigprocmask(SIG_BLOCK, ret_set, NULL);
}

static void wait_for_signal(const sigset_t *set, struct ending *ending,
			    struct generation *generation, uint64_t drain_us)
{
	const struct timespec step = { .tv_nsec = ENDING_STEP_US * 1000 };
	int signal = sigtimedwait(set, NULL, ending->phase == ENDING_NONE ? NULL : &step);

	if ((signal == SIGTERM || signal == SIGINT) && ending->phase == ENDING_NONE) {
		log_info("stopping: %u active", generation_live(generation));
		ending_begin(ending, drain_us);
	} else if (signal == SIGTERM || signal == SIGINT) {
		ending_hurry(ending, generation);
	}
	if (ending->phase != ENDING_NONE)
		ending_step(ending, generation);
}

/* Returns false when there is no child any more. */
static bool reap(struct generation *generation)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
		if (pid == generation->listener_pid) {
			generation_listener_gone(generation, status);
			if (WIFSIGNALED(status))
				log_error("listener %d was killed by signal %d (%s)", pid,
					  WTERMSIG(status), strsignal(WTERMSIG(status)));
		}
		generation_reap(generation, pid, status, &usage);
	}
	return pid == 0;
}

/* Whatever the listener leaves behind is ours (PR_SET_CHILD_SUBREAPER): waits for all of it. */
static void wait_for_all(struct generation *generation, const sigset_t *set, uint64_t drain_us)
{
	struct ending ending = { .phase = ENDING_NONE };

	while (reap(generation))
		wait_for_signal(set, &ending, generation, drain_us);
}

static int serve(const struct configuration *configuration, const struct program *listener,
		 int connection_fd, const sigset_t *set)
{
	struct inetd inetd = { };
	struct generation_hooks hooks = { on_nothing, on_nothing, on_pong, on_event, &inetd };
	struct listening_socket connection = {
		.fd = connection_fd,
		.wire = { .family = (uint8_t)connection_family(connection_fd), .wildcard = 1 },
	};
	struct sockets sockets = { .items = &connection, .count = 1, .passed = true };
	struct generation_plan plan = {
		.number = 1,
		.configuration = configuration,
		.sockets = &sockets,
		.listener = listener,
		.mode = MODE_SINGLE,
	};
	struct generation *generation;
	int result;

	report_configure(&inetd.report, configuration);
	result = sockets_apply_timeouts(&sockets, configuration);
	if (result < 0)
		log_errno(LOG_WARNING, result, "socket options");
	result = generation_start(NULL, &plan, &hooks, &generation);
	if (result == 0) {
		/* The peer sees the end of the connection when the worker closes it, not before. */
		fd_close(connection_fd);
		wait_for_all(generation, set, configuration->timeouts.drain_us);
		generation_free(generation);
		if (!inetd.is_settled) {
			log_error("the connection on descriptor 0 was not served");
			result = -EPROTO;
		}
	}
	return result;
}

int inetd_serve(const struct configuration *configuration, int connection_fd)
{
	struct program listener = { .fd = -1 };
	sigset_t set;
	int result = program_find_listener(&listener);

	signals_block(&set);
	if (result < 0)
		log_errno(LOG_ERR, result, "%s", listener.path);
	if (result == 0)
		result = privileges_drop(configuration);
	if (result == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		result = -errno;
	if (result == 0)
		result = serve(configuration, &listener, connection_fd, &set);
	else
		fd_close(connection_fd);
	program_release(&listener);
	return result;
}
