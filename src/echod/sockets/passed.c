/* SPDX-License-Identifier: MIT */
/* The sockets that systemd passed: each is checked, all are compared with what listen names. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/fd.h"
#include "echod/log/log.h"
#include "echod/sockets/sockets.h"

/* Why a passed descriptor cannot be used, as a phrase; NULL when it can. */
static const char *find_fault(int fd)
{
	if (sd_is_socket(fd, AF_UNSPEC, 0, -1) <= 0)
		return "not a socket";
	if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, -1) <= 0)
		return "not a stream socket (use ListenStream=)";
	if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
		return "not a listening socket (use Accept=no, or echod --inetd)";
	if (sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) <= 0 &&
	    sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) <= 0 &&
	    sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0)
		return "neither IPv4 nor IPv6 nor Unix";
	return NULL;
}

/* Takes one; fd is owned by the set or closed. */
static int take_one(struct sockets *sockets, int fd, int index, const char *name)
{
	const char *fault = find_fault(fd);
	int r;

	if (fault) {
		log_error("passed socket %d (%s): %s", index, name, fault);
		fd_close(fd);
		return -EINVAL;
	}
	r = fd_set_cloexec(fd, true);
	if (r == 0)
		r = fd_set_nonblocking(fd, true);
	if (r < 0)
		fd_close(fd);
	else
		r = sockets_add(sockets, fd, false);
	if (r == -E2BIG)
		log_error("passed socket %d (%s): more than %u", index, name, SETTINGS_MAX_SOCKETS);
	else if (r < 0)
		log_errno(LOG_ERR, r, "passed socket %d (%s)", index, name);
	return r;
}

int sockets_take_passed(struct sockets *ret_sockets)
{
	struct sockets sockets = {0};
	char **names = NULL;
	int count, r = 0;

	count = sd_listen_fds_with_names(1, &names);
	if (count < 0) {
		log_errno(LOG_ERR, count, "the sockets passed in LISTEN_FDS");
		return count;
	}
	for (int i = 0; i < count; i++) {
		int one = take_one(&sockets, SD_LISTEN_FDS_START + i, i, names[i]);

		if (r == 0)
			r = one;
		free(names[i]);
	}
	free(names);
	sockets.passed = count > 0;
	if (r < 0)
		sockets_release(&sockets, NULL);
	else
		*ret_sockets = sockets;
	return r;
}

/* Which passed sockets some element of listen accounts for. */
struct matching {
	const struct sockets *sockets;
	bool is_named[SETTINGS_MAX_SOCKETS];
};

static bool is_same(const struct listening_socket *item, const struct address_spec *spec,
		    const struct address *address)
{
	struct settings_socket wanted;

	if (spec->is_unix)
		return item->unix_path && strcmp(item->unix_path, spec->host) == 0;
	wanted = sockets_wire_address(&address->any);
	if (wanted.port == 0)
		wanted.port = item->wire.port;	/* any port is the wanted one */
	/* an interface that is not to be seen from here (PrivateNetwork=) may be any */
	if (address_scope(spec, &wanted.scope) < 0)
		wanted.scope = item->wire.scope;
	return memcmp(&wanted, &item->wire, sizeof(wanted)) == 0;
}

/* Marks what the element names. False when that is nothing: one address of several will do. */
static bool match_element(struct matching *matching, const struct configured_address *element)
{
	struct address addresses[ADDRESS_EXPAND_MAX];
	int count = address_expand(&element->spec, addresses);
	bool is_found = false;

	for (size_t i = 0; i < matching->sockets->count; i++) {
		for (int j = 0; j < count; j++) {
			if (!is_same(&matching->sockets->items[i], &element->spec, &addresses[j]))
				continue;
			matching->is_named[i] = true;
			is_found = true;
		}
	}
	return is_found;
}

/* Writes a list with its lead before the first element. */
static void write_next(FILE *stream, const char **lead, const char *text)
{
	fprintf(stream, "%s%s", *lead, text);
	*lead = ", ";
}

bool sockets_differ(const struct sockets *sockets, const struct configuration *configuration,
		    char **ret_text)
{
	struct matching matching = {.sockets = sockets};
	const char *lead = "not passed: ";
	bool is_complete = true;
	char *text = NULL;
	size_t size;
	FILE *stream;

	assert(ret_text);
	if (!sockets->passed || !configuration->listen_is_set)
		return false;
	stream = open_memstream(&text, &size);
	if (!stream)
		return false;
	for (size_t i = 0; i < configuration->listen_count; i++) {
		if (match_element(&matching, &configuration->listen[i]))
			continue;
		write_next(stream, &lead, configuration->listen[i].text);
		is_complete = false;
	}
	lead = is_complete ? "not in listen: " : "; not in listen: ";
	for (size_t i = 0; i < sockets->count; i++)
		if (!matching.is_named[i])
			write_next(stream, &lead, sockets->items[i].text);
	if (fclose(stream) != 0 || size == 0) {
		free(text);
		return false;
	}
	*ret_text = text;
	return true;
}
