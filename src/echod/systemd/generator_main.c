/* SPDX-License-Identifier: MIT */
/*
 * echod-generator: run by systemd at boot and at daemon-reload (systemd.generator(7)), so that
 * systemd, which owns the sockets, uses the addresses in echod.conf. If anything is wrong with the
 * file, the boot goes on: nothing is written, and the unit's own addresses stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/configuration/configuration.h"
#include "echod/log/sink.h"
#include "echod/systemd/drop_in.h"

/*
 * Standard error of a generator that systemd runs is /dev/null. At a daemon-reload the system's
 * log is there; while the machine boots it is not, and the kernel's takes the line.
 */
static void write_log(const char *text)
{
	char line[1024];
	int size = snprintf(line, sizeof(line), "<%d>echod-generator[%d]: %s", LOG_DAEMON | LOG_ERR,
			    (int)getpid(), text);
	FD_CLEANUP int kmsg_fd = -1;
	struct log_sink sink;
	int r;

	if (size >= (int)sizeof(line))
		size = sizeof(line) - 1;
	r = log_sink_open(LOG_TARGET_SYSLOG, LOG_SINK_SYSLOG_PATH, &sink);
	if (r == 0) {
		r = log_sink_write(&sink, line);
		log_sink_close(&sink);
	}
	if (r == 0)
		return;
	kmsg_fd = open("/dev/kmsg", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (kmsg_fd >= 0 && write(kmsg_fd, line, (size_t)size) < 0)
		return;		/* there is nowhere left to report it */
}

/* systemd sets the process id of what it runs (systemd.exec(5)). */
static bool is_run_by_systemd(void)
{
	const char *text = secure_getenv("SYSTEMD_EXEC_PID");

	return text && strtol(text, NULL, 10) == (long)getpid();
}

static void report_problem(void *context, const char *text)
{
	(void)context;
	fprintf(stderr, "echod-generator: %s\n", text);
	if (is_run_by_systemd())
		write_log(text);
}

static int install(const char *directory, const char *name, const char *text)
{
	char path[4096], *end;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	end = strrchr(path, '/');
	*end = '\0';
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	*end = '/';
	return fd_replace_file(path, text, strlen(text), 0644);
}

/*
 * Without an address for TCP echod.socket would be no valid unit. What enables it and the service
 * name it, so it becomes another name of the one that there is.
 */
static int install_alias(const char *early, const char *directory)
{
	char path[4096], target[4096];

	snprintf(path, sizeof(path), "%s/echod.socket", early);
	snprintf(target, sizeof(target), "%s/%s", directory, drop_in_paths[DROP_IN_DATAGRAM]);
	return symlink(target, path) < 0 && errno != EEXIST ? -errno : 0;
}

/* Returns how many files were written, or -errno. */
static int install_all(const struct configuration *configuration, char **directories)
{
	bool is_there[DROP_IN_FILES] = {0};
	int r = 0;

	for (unsigned i = 0; i < DROP_IN_FILES && r == 0; i++) {
		char *text = drop_in_make(configuration, i, report_problem, NULL);

		is_there[i] = text != NULL;
		if (text)
			r = install(directories[0], drop_in_paths[i], text);
		free(text);
	}
	if (r == 0 && is_there[DROP_IN_DATAGRAM] && !is_there[DROP_IN_STREAM])
		r = install_alias(directories[1], directories[0]);
	return r < 0 ? r : is_there[DROP_IN_STREAM] + is_there[DROP_IN_DATAGRAM];
}

int main(int argc, char **argv)
{
	CONFIGURATION_CLEANUP struct configuration *configuration = NULL;
	const char *file = secure_getenv("ECHOD_CONF");
	char why[512];
	int r;

	if (argc != 4) {
		report_problem(NULL,
			       "run by systemd with three directories, see systemd.generator(7)");
		return EXIT_FAILURE;
	}
	if (!file)
		file = SYSCONFDIR "/echod.conf";
	if (access(file, F_OK) < 0)
		return EXIT_SUCCESS;
	if (configuration_load(file, -1, 0, report_problem, NULL, &configuration) < 0)
		return EXIT_FAILURE;
	if (!configuration->listen_is_set)
		return EXIT_SUCCESS;
	r = install_all(configuration, &argv[1]);
	if (r < 0) {
		snprintf(why, sizeof(why), "%s: %s", argv[1], strerror(-r));
		report_problem(NULL, why);
	}
	return r > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
