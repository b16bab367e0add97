/* SPDX-License-Identifier: MIT */
/*
 * echod-generator: run by systemd at boot and at daemon-reload (systemd.generator(7)), so that
 * the addresses in echod.conf count although systemd owns the sockets. Whatever is wrong with
 * the file, the boot goes on: nothing is written then, and the unit's own addresses stand.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "echod/configuration.h"
#include "echod/drop_in.h"

#define DROP_IN_DIRECTORY "echod.socket.d"
#define DROP_IN_FILE "50-echod-conf.conf"

/* Standard error of a generator is the kernel's log or the journal. */
static void report_problem(void *context, const char *text)
{
	(void)context;
	fprintf(stderr, "echod-generator: %s\n", text);
}

static int install_drop_in(const char *directory, const char *text, size_t size)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/" DROP_IN_DIRECTORY, directory);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/" DROP_IN_DIRECTORY "/" DROP_IN_FILE, directory);
	return replace_file(path, text, size, 0644);
}

int main(int argc, char **argv)
{
	struct configuration *configuration __attribute__((cleanup(configuration_freep))) = NULL;
	const char *file = secure_getenv("ECHOD_CONF");
	char *text = NULL;
	size_t size, written;
	FILE *stream;
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
	if (configuration_load(file, -1, report_problem, NULL, &configuration) < 0)
		return EXIT_FAILURE;
	if (!configuration->listen_is_set)
		return EXIT_SUCCESS;
	stream = open_memstream(&text, &size);
	if (!stream)
		return EXIT_FAILURE;
	written = drop_in_write(configuration, access("/proc/net/if_inet6", F_OK) == 0, stream,
				report_problem, NULL);
	if (fclose(stream) != 0 || written == 0) {
		free(text);
		return EXIT_FAILURE;
	}
	r = install_drop_in(argv[1], text, size);
	free(text);
	if (r < 0) {
		fprintf(stderr, "echod-generator: %s: %s\n", argv[1], strerror(-r));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
