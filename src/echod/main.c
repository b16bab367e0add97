/* SPDX-License-Identifier: MIT */
/* echod(8): from the command line to the supervisor. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/command_line/options.h"
#include "echod/handover/handover.h"
#include "echod/log/log.h"
#include "echod/log/sink.h"
#include "echod/sockets/sockets.h"
#include "echod/supervisor/supervisor.h"
#include "wire/endpoint.h"

/* connection_fd: for --inetd, else -1. Returns the exit status. */
static int serve(const struct options *options, int connection_fd)
{
	struct configuration *configuration;
	int fd = -1;
	int r = options_load(options, -1, NULL, log_report, NULL, &configuration, &fd);

	if (r < 0)
		return r == -EBADMSG ? EX_CONFIG : EXIT_FAILURE;
	log_set_level(configuration->log.level);
	r = log_open(configuration->log.target, configuration->log.facility);
	if (r < 0)
		log_errno(LOG_WARNING, r, "log: the target cannot be opened");
	if (!options->inetd) {
		log_set_starting(true);
		r = supervise(options, configuration, fd);
	} else {
		fd_close(fd);
		r = supervise_single(configuration, connection_fd);
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A program that takes over gets its settings from the previous one. */
static int run(const struct options *options)
{
	int block_fd = handover_take();

	if (block_fd < 0)
		return serve(options, -1);
	return supervise_again(options, block_fd) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/*
 * Returns 0 if fd is a connected stream socket of a family that we know, or one of UDP that is not
 * connected, or -errno.
 */
static int check_connection(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	int type = 0;
	socklen_t type_length = sizeof(type);
	struct endpoint endpoint;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) < 0)
		return -errno;
	if (sockets_is_udp(fd))
		return getpeername(fd, (struct sockaddr *)&peer, &length) < 0 ? 0 : -EISCONN;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0)
		return -errno;
	endpoint_set(&endpoint, &peer);
	return endpoint.family == ENDPOINT_NONE ? -EAFNOSUPPORT : 0;
}

static bool is_same_file(int left_fd, int right_fd)
{
	struct stat left, right;

	return fstat(left_fd, &left) == 0 && fstat(right_fd, &right) == 0 &&
	       left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

/*
 * --inetd: one connection, already accepted by inetd(8) or systemd (Accept=yes), or the UDP socket
 * that inetd(8) waits for. Takes it from descriptor 0 and puts /dev/null in its place, on standard
 * output and error too if they are the same socket: nothing that echod prints reaches the peer.
 * Returns the descriptor, which the caller owns, or -errno (-ENOTSOCK, -EPROTOTYPE, -ENOTCONN,
 * -EISCONN, -EAFNOSUPPORT: none of these).
 */
static int take_connection(void)
{
	FD_CLEANUP int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	FD_CLEANUP int connection_fd = -1;
	int r = check_connection(STDIN_FILENO);

	if (r < 0)
		return r;
	connection_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (null_fd < 0 || connection_fd < 0)
		return -errno;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (is_same_file(fd, connection_fd) && dup2(null_fd, fd) < 0)
			return -errno;
	return fd_steal(&connection_fd);
}

static int serve_connection(const struct options *options)
{
	int fd = take_connection();

	if (fd < 0) {
		log_errno(LOG_ERR, fd, "--inetd: standard input is not a connection");
		return EXIT_FAILURE;
	}
	/* Standard error may have been the peer: errors in the settings have to go elsewhere. */
	log_open(LOG_TARGET_AUTO, LOG_DAEMON);
	return serve(options, fd);
}

/*
 * Undoes what the caller may have left: missing standard descriptors, additional ones, and an
 * ignored SIGCHLD, which is inherited and makes the kernel reap children without a notice. A file
 * that may not grow (RLIMIT_FSIZE) becomes an error like a full disk.
 */
static void tidy_inheritance(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(fd);
	/* A listener gets only the descriptors that are meant for it. */
	fd_set_cloexec_from(STDERR_FILENO + 1);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGXFSZ, SIG_IGN);
	/* otherwise a line of the log would stop a background process of a terminal with tostop */
	signal(SIGTTOU, SIG_IGN);
}

int main(int argc, char **argv)
{
	struct options options;
	int status;

	tidy_inheritance();
	handover_remember_program(argv);
	status = options_parse(argc, argv, &options);
	if (status == -EINVAL)
		return OPTIONS_EXIT_USAGE;
	if (status != 0)
		return status < 0 ? EXIT_FAILURE : options_finish();
	if (options.mode != OPTIONS_RUN) {
		status = options_check(&options);
	} else {
		log_sink_own_stderr();
		status = options.inetd ? serve_connection(&options) : run(&options);
	}
	log_close();
	options_release(&options);
	return status;
}
