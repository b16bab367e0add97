/* SPDX-License-Identifier: MIT */
/* The command line of echod(8), and the settings from it and the file. */
#include "echod/command_line/options.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/configuration/source.h"
#include "echod/sockets/sockets.h"
#include "echod/systemd/drop_in.h"

#define DEFAULT_PATH SYSCONFDIR "/echod.conf"

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "listen", required_argument, NULL, 'l' },
	{ "log-level", required_argument, NULL, 'L' },
	{ "test", no_argument, NULL, 't' },
	{ "print-config", no_argument, NULL, 'T' },
	{ "inetd", no_argument, NULL, 'i' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{0},
};

static void print_usage(void)
{
	puts("Usage: echod [options]\n"
	     "\n"
	     "Send back every byte that comes (RFC 862), with one process for each connection.\n"
	     "\n"
	     "Options:\n"
	     " -c, --config <file>        settings (default: " DEFAULT_PATH ")\n"
	     " -l, --listen <address>     listen here instead of where the settings say:\n"
	     "                              address:port, [v6]:port, *:port, each with mptcp:\n"
	     "                              or udp: before it, or unix:/path;\n"
	     "                              may be given several times\n"
	     " -L, --log-level <level>    emerg, alert, crit, err, warning, notice, info, debug\n"
	     " -t, --test                 test the settings and exit\n"
	     " -T, --print-config         print the effective settings and exit\n"
	     " -i, --inetd                serve the one connection on standard input, or the\n"
	     "                              datagrams of a UDP socket there\n"
	     "\n"
	     " -h, --help                 display this help\n"
	     " -V, --version              display version\n"
	     "\n"
	     "For more details see echod(8) and echod.conf(5).");
}

static int hint(const char *program)
{
	fprintf(stderr, "Try '%s --help' for more information.\n", program);
	return -EINVAL;
}

/* getopt_long(3) reports wrong options; this reports what it cannot know. */
static int refuse(const char *program, const char *what, const char *argument)
{
	fprintf(stderr, "%s: %s%s%s\n", program, what, argument ? ": " : "",
		argument ? argument : "");
	return hint(program);
}

static int add_listen(struct options *options, char *address)
{
	char **grown = reallocarray(options->listen, options->listen_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[options->listen_count++] = address;
	options->listen = grown;
	return 0;
}

static int set_mode(struct options *options, enum options_mode mode, const char *program)
{
	if (options->mode != OPTIONS_RUN && options->mode != mode)
		return refuse(program, "-t and -T exclude each other", NULL);
	options->mode = mode;
	return 0;
}

/* Returns as options_parse() does. */
static int take_option(struct options *options, int option, const char *program)
{
	switch (option) {
	case 'c':
		options->configuration_path = optarg;
		return 0;
	case 'l':
		return add_listen(options, optarg);
	case 'L':
		options->log_level = configuration_level(optarg);
		return options->log_level < 0 ? refuse(program, "unknown log level", optarg) : 0;
	case 't':
		return set_mode(options, OPTIONS_TEST, program);
	case 'T':
		return set_mode(options, OPTIONS_PRINT, program);
	case 'i':
		options->inetd = true;
		return 0;
	case 'h':
		print_usage();
		return 1;
	case 'V':
		puts("echod " PACKAGE_VERSION);
		return 1;
	default:
		return hint(program);
	}
}

/* context: a string to write before the line, or NULL. */
static void report_to_stderr(void *context, const char *text)
{
	const char *prefix = context;

	fprintf(stderr, "%s%s%s\n", prefix ? prefix : "", prefix ? ": " : "", text);
}

/*
 * Checks whether the addresses of -l are valid in place of any file's; returns as options_parse().
 */
static int check_listen(const struct options *options, char *program)
{
	CONFIGURATION_CLEANUP struct configuration *scratch = NULL;
	int r = configuration_default(&scratch);

	if (r == 0)
		r = configuration_override_listen(scratch, options->listen, options->listen_count,
						  report_to_stderr, program);
	return r == -EBADMSG ? hint(program) : r;
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	__attribute__((cleanup(options_release))) struct options options = {
		.configuration_path = DEFAULT_PATH, .log_level = -1,
	};
	int option;

	assert(argv && ret_options);
	while ((option = getopt_long(argc, argv, "c:l:L:tTihV", long_options, NULL)) != -1) {
		int r = take_option(&options, option, argv[0]);

		if (r != 0)
			return r;
	}
	if (optind < argc)
		return refuse(argv[0], "unexpected argument", argv[optind]);
	if (options.inetd && options.listen_count > 0)
		return refuse(argv[0], "-i and -l exclude each other", NULL);
	if (options.listen_count > 0) {
		int r = check_listen(&options, argv[0]);

		if (r < 0)
			return r;
	}
	*ret_options = options;
	options.listen = NULL;
	return 0;
}

void options_release(struct options *options)
{
	free(options->listen);
	options->listen = NULL;
	options->listen_count = 0;
}

int options_finish(void)
{
	if (fflush(stdout) != 0) {
		perror("standard output");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/*
 * Whether path, which cannot be opened, still leads to the file that is open. If the path cannot be
 * walked either, the names are compared: a file that was renamed ("echod.conf~") or removed
 * ("echod.conf (deleted)") has another name.
 */
static bool is_file_of(int held_fd, const char *path)
{
	char link[32], name[PATH_MAX] = "";
	struct stat held, status;

	if (fstat(held_fd, &held) < 0)
		return false;
	if (stat(path, &status) == 0)
		return status.st_dev == held.st_dev && status.st_ino == held.st_ino;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", held_fd);
	return errno == EACCES && readlink(link, name, sizeof(name) - 1) > 0 &&
	       strcmp(last_name(name), last_name(path)) == 0;
}

/* Returns a new descriptor at offset 0, or -1; the loader then says why the path fails. */
static int file_open(const char *path, int held_fd)
{
	int fd = source_open(path);

	if (fd >= 0)
		return fd;
	if (fd != -EACCES || held_fd < 0 || !is_file_of(held_fd, path))
		return -1;
	fd = fcntl(held_fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0) {
		lseek(fd, 0, SEEK_SET);
		/* the start may wait for the writer of a pipe, a reload may not */
		fd_set_nonblocking(fd, true);
	}
	return fd;
}

/*
 * Only root changes user, so only root needs the user to exist. But a test may be made for root,
 * and a reload does not know who will start echod the next time: if the user in force does not
 * exist, it was not root. --inetd has no control socket.
 */
static unsigned needs(const struct options *options, const struct configuration *in_force)
{
	bool user = geteuid() == 0 || options->mode == OPTIONS_TEST;
	unsigned group = 0;

	if (in_force)
		user = !in_force->user_is_set || getpwnam(in_force->user);
	if (!options->inetd)
		group = CONFIGURATION_NEEDS_GROUP;
	/* root may give a file to any group, and a reload gives no file away */
	if (group && !in_force && geteuid() != 0)
		group |= CONFIGURATION_NEEDS_GIVING;
	return group | (user ? CONFIGURATION_NEEDS_USER : 0);
}

/* What configuration_load() asks of the file holds for -l too, and for the allow list beside it. */
static int check_open(const struct configuration *configuration, configuration_report_fn report,
		      void *context)
{
	size_t open = configuration_find_open(configuration, 0);
	char line[ADDRESS_HOST_MAX + 256];

	if (open == configuration->listen_count)
		return 0;
	snprintf(line, sizeof(line), "-l: %.255s: " CONFIGURATION_OPEN_WHY,
		 configuration->listen[open].text);
	report(context, line);
	return -EBADMSG;
}

int options_load(const struct options *options, int held_fd, const struct configuration *in_force,
		 configuration_report_fn report, void *context,
		 struct configuration **ret_configuration, int *ret_fd)
{
	CONFIGURATION_CLEANUP struct configuration *configuration = NULL;
	FD_CLEANUP int fd = file_open(options->configuration_path, held_fd);
	int r;

	assert(report && ret_configuration);
	if (fd >= 0 && !in_force)
		fd_set_nonblocking(fd, false);
	r = configuration_load(options->configuration_path, fd, needs(options, in_force), report,
			       context, &configuration);
	if (r == 0 && options->listen_count > 0)
		r = configuration_override_listen(configuration, options->listen,
						  options->listen_count, report, context);
	if (r == 0)
		r = check_open(configuration, report, context);
	if (r < 0)
		return r;
	if (options->log_level >= 0)
		configuration->log.level = options->log_level;
	*ret_configuration = configuration;
	configuration = NULL;
	if (ret_fd)
		*ret_fd = fd_steal(&fd);
	return 0;
}

/* Says when a change of listen takes effect if systemd owns the sockets, and what is left out. */
static void explain_listen(const struct configuration *configuration)
{
	char prefix[] = "under systemd";

	fprintf(stderr, "under systemd a changed listen counts after \"%s\"\n", DROP_IN_COMMANDS);
	for (unsigned i = 0; i < DROP_IN_FILES; i++)
		free(drop_in_make(configuration, i, report_to_stderr, prefix));
}

/*
 * Whether a start could have the sockets. With --inetd it has others. Under systemd the sockets of
 * the usual file are made by systemd, which makes folders and binds addresses that are not there.
 */
static bool can_listen(const struct options *options, const struct configuration *configuration)
{
	bool is_of_systemd = options->listen_count == 0 && sd_booted() > 0 &&
			     strcmp(options->configuration_path, DEFAULT_PATH) == 0;
	char prefix[PATH_MAX];

	snprintf(prefix, sizeof(prefix), "%s", options->configuration_path);
	return options->inetd || is_of_systemd ||
	       sockets_try(configuration, report_to_stderr, prefix) == 0;
}

int options_check(const struct options *options)
{
	CONFIGURATION_CLEANUP struct configuration *configuration = NULL;
	int r = options_load(options, -1, NULL, report_to_stderr, NULL, &configuration, NULL);

	if (r == -ENOMEM) {
		fputs("out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	if (r < 0)
		return EX_CONFIG;
	if (options->mode == OPTIONS_PRINT) {
		configuration_print(configuration, stdout);
	} else if (!can_listen(options, configuration)) {
		return EXIT_FAILURE;
	} else {
		printf("%s: OK\n", options->configuration_path);
		if (options->listen_count == 0 && !drop_in_is_read(configuration))
			explain_listen(configuration);
	}
	return options_finish();
}
