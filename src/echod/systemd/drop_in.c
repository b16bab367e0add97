/* SPDX-License-Identifier: MIT */
/* The drop-in that makes echod.socket listen where echod.conf says. */
#include "echod/systemd/drop_in.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A percent sign would be a specifier of systemd.unit(5). */
static void write_escaped(FILE *stream, const char *text)
{
	for (; *text; text++) {
		if (*text == '%')
			putc('%', stream);
		putc(*text, stream);
	}
}

/* Lines that are put together in memory: text, which fflush(3) brings up to date. */
struct lines {
	FILE *stream;
	char *text;
	size_t size;
};

/* Each once: systemd binds every one, and an address that it has bound is in use. */
static void write_stream(struct lines *lines, const char *address)
{
	char *line = NULL;
	size_t size;
	FILE *stream = open_memstream(&line, &size);

	if (!stream)
		return;
	fputs("ListenStream=", stream);
	write_escaped(stream, address);
	putc('\n', stream);
	if (fclose(stream) == 0 && fflush(lines->stream) == 0 && !strstr(lines->text, line))
		fputs(line, lines->stream);
	free(line);
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

size_t drop_in_write(const struct configuration *configuration, bool ipv6_available, FILE *stream,
		     configuration_report_fn report, void *context)
{
	struct lines lines = { .stream = NULL };
	size_t written = 0;

	lines.stream = open_memstream(&lines.text, &lines.size);
	if (!lines.stream)
		return 0;
	/* With a SourcePath= each change of the file, whatever it is, would ask for a reload. */
	fputs("# Made by echod-generator from the key \"listen\" of echod.conf(5).\n"
	      "[Socket]\n"
	      "BindIPv6Only=ipv6-only\n"
	      "FreeBind=yes\n"
	      "ListenStream=\n", stream);
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
	if (fclose(lines.stream) == 0)
		fputs(lines.text, stream);
	else
		written = 0;
	free(lines.text);
	return written;
}
