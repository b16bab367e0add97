/* SPDX-License-Identifier: MIT */
/* The drop-in that makes echod.socket listen where echod.conf says. */
#include "echod/systemd/drop_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A text that grows in memory; fflush(3) brings it up to date. */
struct lines {
	FILE *stream;
	char *text;
	size_t size;
};

/*
 * Each once: systemd binds every one, and an address that it has bound is in use. A percent sign
 * would be a specifier (systemd.unit(5)).
 */
static void write_stream(struct lines *lines, const char *address)
{
	static const char key[] = "\nListenStream=";
	char line[sizeof(key) + 2 * (ADDRESS_TEXT_MAX + ADDRESS_HOST_MAX)];
	char *end = stpcpy(line, key);

	for (; *address != '\0'; address++) {
		if (*address == '%')
			*end++ = '%';
		*end++ = *address;
	}
	strcpy(end, "\n");
	if (fflush(lines->stream) == 0 && !strstr(lines->text, line))
		fputs(line + 1, lines->stream);
}

/*
 * Returns why the address cannot stand in a unit, or NULL when it was written. A scope stands
 * behind the port there: [fe80::1]:7%eth0.
 */
static const char *write_address(const struct configured_address *listen, bool ipv6_available,
				 struct lines *lines)
{
	const char *host = listen->spec.host;
	char text[ADDRESS_TEXT_MAX + ADDRESS_HOST_MAX];

	if (listen->spec.is_unix) {
		write_stream(lines, host);
		return NULL;
	}
	if (listen->spec.port == 0)
		return "port 0 has no place in a socket unit";
	for (int i = 0; i < listen->address_count; i++) {
		const struct address *address = &listen->addresses[i];

		/* a literal is left for systemd to judge */
		if (address->any.sa_family == AF_INET6 && !ipv6_available && !strchr(host, ':'))
			continue;
		address_format(&address->any, address->length, text);
		strcat(text, strchrnul(host, '%'));
		write_stream(lines, text);
	}
	return NULL;
}

unsigned drop_in_make(const struct configuration *configuration, configuration_report_fn report,
		      void *context, char **ret_text)
{
	bool ipv6_available = access("/proc/net/if_inet6", F_OK) == 0;
	struct lines lines = {0};
	unsigned written = 0;

	assert(configuration && configuration->path && ret_text);
	lines.stream = open_memstream(&lines.text, &lines.size);
	if (!lines.stream)
		return 0;
	/* With a SourcePath= each change of the file, whatever it is, would ask for a reload. */
	fputs("# Made by echod-generator from the key \"listen\" of echod.conf(5).\n"
	      "[Socket]\n"
	      "BindIPv6Only=ipv6-only\n"
	      "FreeBind=yes\n"
	      "ListenStream=\n", lines.stream);
	for (size_t i = 0; i < configuration->listen_count; i++) {
		const struct configured_address *address = &configuration->listen[i];
		const char *why = write_address(address, ipv6_available, &lines);
		char text[ADDRESS_HOST_MAX + 128];

		written += !why;
		if (!why || !report)
			continue;
		snprintf(text, sizeof(text), "%s: listen: %.200s: %s", configuration->path,
			 address->text, why);
		report(context, text);
	}
	if (fclose(lines.stream) != 0)
		written = 0;
	if (written > 0)
		*ret_text = lines.text;
	else
		free(lines.text);
	return written;
}

/* The text of the drop-in that systemd has read, which the caller frees; NULL: there is none. */
static char *read_installed(void)
{
	FILE *stream = fopen("/run/systemd/generator/" DROP_IN_PATH, "re");
	char *text = NULL;
	size_t size = 0;

	if (!stream)
		return NULL;
	if (getdelim(&text, &size, '\0', stream) < 0) {
		free(text);
		text = NULL;
	}
	fclose(stream);
	return text;
}

bool drop_in_is_read(const struct configuration *configuration)
{
	char *installed = read_installed();
	char *text = NULL;
	bool is_read;

	if (configuration->listen_is_set)
		is_read = drop_in_make(configuration, NULL, NULL, &text) > 0 && installed &&
			  strcmp(text, installed) == 0;
	else
		is_read = !installed;
	free(installed);
	free(text);
	return is_read;
}
