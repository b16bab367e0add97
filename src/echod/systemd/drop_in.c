/* SPDX-License-Identifier: MIT */
/* The drop-in that makes echod.socket listen where echod.conf says. */
#include "echod/systemd/drop_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
	char line[sizeof(key) + 2 * ADDRESS_HOST_MAX + sizeof("[]:65535\n")];
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

static void write_inet(struct lines *lines, const char *host, uint16_t port)
{
	char text[ADDRESS_HOST_MAX + sizeof(":65535")];

	snprintf(text, sizeof(text), "%s:%u", host, port);
	write_stream(lines, text);
}

/* A scope stands behind the port there (systemd.socket(5)): [fe80::1]:7%eth0. */
static void write_inet6(struct lines *lines, const char *host, uint16_t port)
{
	const char *scope = strchrnul(host, '%');
	char text[ADDRESS_HOST_MAX + sizeof("[]:65535")];

	snprintf(text, sizeof(text), "[%.*s]:%u%s", (int)(scope - host), host, port, scope);
	write_stream(lines, text);
}

/* Returns why the address cannot stand in a unit, or NULL when it was written. */
static const char *write_address(const struct address_spec *spec, bool ipv6_available,
				 struct lines *lines)
{
	bool everywhere = spec->is_wildcard;

	if (spec->is_unix) {
		write_stream(lines, spec->host);
		return NULL;
	}
	if (spec->port == 0)
		return "port 0 has no place in a socket unit";
	if (everywhere || strcasecmp(spec->host, "localhost") == 0) {
		write_inet(lines, everywhere ? "0.0.0.0" : "127.0.0.1", spec->port);
		if (ipv6_available)
			write_inet6(lines, everywhere ? "::" : "::1", spec->port);
		return NULL;
	}
	if (strchr(spec->host, ':'))
		write_inet6(lines, spec->host, spec->port);
	else
		write_inet(lines, spec->host, spec->port);
	return NULL;
}

unsigned drop_in_make(const struct configuration *configuration, bool ipv6_available,
		      configuration_report_fn report, void *context, char **ret_text)
{
	struct lines lines = {0};
	unsigned written = 0;

	assert(configuration->path && report && ret_text);
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
		const char *why = write_address(&address->spec, ipv6_available, &lines);
		char text[ADDRESS_HOST_MAX + 128];

		if (!why) {
			written++;
			continue;
		}
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
