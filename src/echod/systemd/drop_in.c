/* SPDX-License-Identifier: MIT */
/* What makes echod.socket, and echod-udp.socket beside it, listen where echod.conf says. */
#include "echod/systemd/drop_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const drop_in_paths[DROP_IN_FILES] = {
	[DROP_IN_STREAM] = "echod.socket.d/50-echod-conf.conf",
	[DROP_IN_DATAGRAM] = "echod-udp.socket",
};

/* With a SourcePath= any change of the file would ask for a daemon-reload. */
#define MADE "# Made by echod-generator from echod.conf(5).\n"

static const char *const heads[DROP_IN_FILES] = {
	[DROP_IN_STREAM] = MADE
		"[Socket]\n"
		"BindIPv6Only=ipv6-only\n"
		"FreeBind=yes\n"
		"ListenStream=\n",
	/*
	 * A unit of its own: its buffer would take TCP its autotuning, and its address lists hold
	 * for its sockets, which those of the service do not.
	 */
	[DROP_IN_DATAGRAM] = MADE
		"[Unit]\n"
		"Description=Echo port (RFC 862), UDP\n"
		"Documentation=man:echod(8)\n"
		"PartOf=echod.socket\n"
		"StartLimitIntervalSec=0\n"
		"\n"
		"[Socket]\n"
		"Service=echod.service\n"
		"BindIPv6Only=ipv6-only\n"
		"FreeBind=yes\n"
		"PassPacketInfo=yes\n"
		"ReusePort=yes\n"
		"ReceiveBuffer=4M\n"
		"TriggerLimitIntervalSec=0\n"
		"IPAddressDeny=any\n",
};

/* A text that grows in memory; fflush(3) updates it. */
struct lines {
	FILE *stream;
	char *text;
	size_t size;
};

/*
 * Writes each once: systemd binds all of them, and could not bind one twice. A percent sign would
 * be a specifier (systemd.unit(5)).
 */
static void write_listen(struct lines *lines, bool is_datagram, const char *address)
{
	char line[32 + 2 * (ADDRESS_TEXT_MAX + ADDRESS_HOST_MAX)];
	char *end = stpcpy(line, is_datagram ? "\nListenDatagram=" : "\nListenStream=");

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
 * Returns why the address cannot be in a unit, or NULL if it was written. A scope stands behind the
 * port there: [fe80::1]:7%eth0.
 */
static const char *write_address(const struct configured_address *listen, bool ipv6_available,
				 struct lines *lines)
{
	const char *host = listen->spec.host;
	char text[ADDRESS_TEXT_MAX + ADDRESS_HOST_MAX];

	if (listen->spec.is_unix) {
		write_listen(lines, false, host);
		return NULL;
	}
	if (listen->spec.port == 0)
		return "port 0 has no place in a socket unit";
	for (int i = 0; i < listen->address_count; i++) {
		const struct address *address = &listen->addresses[i];

		/* systemd judges a literal itself */
		if (address->any.sa_family == AF_INET6 && !ipv6_available && !strchr(host, ':'))
			continue;
		address_format(&address->any, address->length, text);
		strcat(text, strchrnul(host, '%'));
		write_listen(lines, listen->spec.is_datagram, text);
	}
	return NULL;
}

/* None but loopback addresses are there without a list. */
static void write_allowed(const struct configuration *configuration, struct lines *lines)
{
	char text[CIDR_TEXT_MAX];

	if (configuration->access.allow_count == 0)
		fputs("IPAddressAllow=localhost\n", lines->stream);
	for (size_t i = 0; i < configuration->access.allow_count; i++)
		fprintf(lines->stream, "IPAddressAllow=%s\n",
			cidr_format(&configuration->access.allow[i], text));
}

char *drop_in_make(const struct configuration *configuration, enum drop_in_file file,
		   configuration_report_fn report, void *context)
{
	bool ipv6_available = access("/proc/net/if_inet6", F_OK) == 0;
	struct lines lines = {0};
	unsigned written = 0;

	assert(configuration && configuration->path && file < DROP_IN_FILES);
	lines.stream = open_memstream(&lines.text, &lines.size);
	if (!lines.stream)
		return NULL;
	fputs(heads[file], lines.stream);
	if (file == DROP_IN_DATAGRAM)
		write_allowed(configuration, &lines);
	for (size_t i = 0; i < configuration->listen_count; i++) {
		const struct configured_address *address = &configuration->listen[i];
		char text[ADDRESS_HOST_MAX + 128];
		const char *why;

		if (address->spec.is_datagram != (file == DROP_IN_DATAGRAM))
			continue;
		why = write_address(address, ipv6_available, &lines);
		written += !why;
		if (!why || !report)
			continue;
		snprintf(text, sizeof(text), "%s: listen: %.200s: %s", configuration->path,
			 address->text, why);
		report(context, text);
	}
	if (fclose(lines.stream) == 0 && written > 0)
		return lines.text;
	free(lines.text);
	return NULL;
}

/* What systemd has read, which the caller frees; NULL: there is no such file. */
static char *read_installed(enum drop_in_file file)
{
	char path[128], *text = NULL;
	size_t size = 0;
	FILE *stream;

	snprintf(path, sizeof(path), "/run/systemd/generator/%s", drop_in_paths[file]);
	stream = fopen(path, "re");
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
	bool is_read = true;

	for (unsigned i = 0; i < DROP_IN_FILES; i++) {
		char *installed = read_installed(i);
		char *text = configuration->listen_is_set ?
				     drop_in_make(configuration, i, NULL, NULL) : NULL;

		is_read &= text && installed ? strcmp(text, installed) == 0 : text == installed;
		free(installed);
		free(text);
	}
	return is_read;
}
