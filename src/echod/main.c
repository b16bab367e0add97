/* SPDX-License-Identifier: MIT */
/* echod(8): from the command line to the supervisor. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/command_line/options.h"
#include "echod/handover/handover.h"
#include "echod/inetd.h"
#include "echod/log/log.h"
#include "echod/log/sink.h"
#include "echod/supervisor/supervisor.h"

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
		r = inetd_serve(configuration, connection_fd);
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A program that takes over has its settings from the one before. */
static int run(const struct options *options)
{
	int block_fd = handover_take();

	if (block_fd < 0)
		return serve(options, -1);
	return supervise_again(options, block_fd) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve_connection(const struct options *options)
{
	int fd = inetd_take_connection();

	if (fd < 0) {
		log_errno(LOG_ERR, fd, "--inetd: standard input is not a connection");
		return EXIT_FAILURE;
	}
	/* Standard error may have been the peer: an error in the settings has to go elsewhere. */
	log_open(LOG_TARGET_AUTO, LOG_DAEMON);
	return serve(options, fd);
}

/*
 * Whoever starts us without standard descriptors, or with more than them, shall not matter; nor
 * who ignores SIGCHLD: that is inherited, and then the kernel reaps, and nobody hears of an end. A
 * file that may not grow (RLIMIT_FSIZE) is an error like a full disk.
 */
static void tidy_inheritance(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(fd);
	/* Nothing reaches a listener but what is meant for it. */
	fd_set_cloexec_from(STDERR_FILENO + 1);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGXFSZ, SIG_IGN);
	/* in the background of a terminal that is set to tostop, a line of the log would stop us */
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
