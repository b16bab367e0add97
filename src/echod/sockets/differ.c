/* SPDX-License-Identifier: MIT */
/* Are the sockets that systemd passed those that listen names? Nobody is asked over the network. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echod/sockets/item.h"
#include "echod/sockets/resolve.h"
#include "echod/sockets/sockets.h"

/* Which passed sockets some element of listen accounts for. */
struct matching {
	const struct sockets *sockets;
	bool is_named[SETTINGS_MAX_SOCKETS];
	bool has_names;		/* an element could not be resolved without a look-up */
};

static bool is_same(const struct listening_socket *item, const struct address_spec *spec,
		    const struct sockaddr *address)
{
	struct settings_socket wanted;

	if (spec->is_unix)
		return item->unix_path != NULL && strcmp(item->unix_path, spec->host) == 0;
	wanted = sockets_wire_address(address);
	if (wanted.port == 0)
		wanted.port = item->wire.port;	/* any port is the wanted one */
	return memcmp(&wanted, &item->wire, sizeof(wanted)) == 0;
}

/* Marks what the element names. False when that is nothing: one address of several will do. */
static bool match_element(struct matching *matching, const struct configured_address *element)
{
	struct resolved resolved;
	const char *why;
	bool is_found = false;

	if (sockets_resolve(&element->spec, false, &resolved, &why) < 0) {
		matching->has_names = true;
		return true;
	}
	for (size_t i = 0; i < matching->sockets->count; i++) {
		for (size_t j = 0; j < resolved.count; j++) {
			if (!is_same(&matching->sockets->items[i], &element->spec,
				     (const struct sockaddr *)&resolved.items[j].address))
				continue;
			matching->is_named[i] = true;
			is_found = true;
		}
	}
	return is_found;
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

	if (!sockets->passed || !configuration->listen_is_set)
		return false;
	stream = open_memstream(&text, &size);
	if (stream == NULL)
		return false;
	for (size_t i = 0; i < configuration->listen_count; i++) {
		if (match_element(&matching, &configuration->listen[i]))
			continue;
		fprintf(stream, "%s%s", lead, configuration->listen[i].text);
		lead = ", ";
		is_complete = false;
	}
	lead = is_complete ? "not in listen: " : "; not in listen: ";
	for (size_t i = 0; i < sockets->count && !matching.has_names; i++) {
		if (matching.is_named[i])
			continue;
		fprintf(stream, "%s%s", lead, sockets->items[i].text);
		lead = ", ";
	}
	if (fclose(stream) != 0 || size == 0) {
		free(text);
		return false;
	}
	*ret_text = text;
	return true;
}
