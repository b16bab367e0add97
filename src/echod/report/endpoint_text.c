/* SPDX-License-Identifier: MIT */
/* Ends of connections as the log and the control socket show them. */
#include "echod/report/endpoint_text.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

static const char *format_inet(const struct endpoint *endpoint, char text[ADDRESS_TEXT_MAX])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(endpoint->port)};

	memcpy(&address.sin_addr, endpoint->address, sizeof(address.sin_addr));
	return address_format((const struct sockaddr *)&address, sizeof(address), text);
}

static const char *format_inet6(const struct endpoint *endpoint, char text[ADDRESS_TEXT_MAX])
{
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(endpoint->port),
		.sin6_scope_id = endpoint->scope,
	};

	memcpy(&address.sin6_addr, endpoint->address, sizeof(address.sin6_addr));
	return address_format((const struct sockaddr *)&address, sizeof(address), text);
}

const char *endpoint_text_peer(const struct endpoint *peer, char text[ADDRESS_TEXT_MAX])
{
	pid_t pid;
	uid_t uid;

	switch (peer->family) {
	case ENDPOINT_INET:
		return format_inet(peer, text);
	case ENDPOINT_INET6:
		return format_inet6(peer, text);
	case ENDPOINT_UNIX:
		memcpy(&pid, peer->address, sizeof(pid));
		memcpy(&uid, peer->address + sizeof(pid), sizeof(uid));
		snprintf(text, ADDRESS_TEXT_MAX, "unix:pid=%d,uid=%u", (int)pid, (unsigned)uid);
		return text;
	default:
		return strcpy(text, "unknown");
	}
}

const char *endpoint_text_local(const struct endpoint *local, const struct endpoint *peer,
				const char *unix_path, char text[ADDRESS_TEXT_MAX])
{
	if (peer->family != ENDPOINT_UNIX)
		return endpoint_text_peer(local, text);
	snprintf(text, ADDRESS_TEXT_MAX, "unix:%s", unix_path ? unix_path : "");
	return text;
}
