/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 and 2 (haproxy, doc/proxy-protocol.txt). */
#include "echoctl/dial/announce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER_MAX 108		/* of both versions, with a NUL for the first one */

/* One end of a connection in the network's byte order. */
struct end {
	sa_family_t family;
	size_t size;		/* of the address */
	uint8_t address[16];
	uint16_t port;
};

const char *dial_announcement_parse(const char *text, struct dial_announcement *ret_announcement)
{
	struct dial_announcement new = { .version = text[0] == 'v' ? text[1] - '0' : 0 };
	struct address addresses[ADDRESS_EXPAND_MAX];
	struct address_spec spec;
	const char *why = NULL;

	if ((new.version != 1 && new.version != 2) || (text[2] != '\0' && text[2] != ','))
		return "neither v1 nor v2, with or without ,SOURCE";
	if (text[2] == ',') {
		if (address_parse(text + 3, 0, &spec, &why) < 0)
			return why;
		if (spec.is_unix || spec.is_wildcard || address_expand(&spec, addresses) < 0)
			return "the source is not a numeric address";
		new.source = addresses[0];
	}
	*ret_announcement = new;
	return NULL;
}

static struct end make_end(const void *address)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct end end = {0};

	memcpy(&in, address, sizeof(in));
	memcpy(&in6, address, sizeof(in6));
	end.family = in.sin_family;
	end.port = in.sin_port;	/* in the same place in both families */
	end.size = end.family == AF_INET ? sizeof(in.sin_addr) : sizeof(in6.sin6_addr);
	memcpy(end.address, end.family == AF_INET ? (const void *)&in.sin_addr : &in6.sin6_addr,
	       end.size);
	return end;
}

/* Returns the size of the header. */
static size_t write_line(const struct end *source, const struct end *destination,
			 char header[HEADER_MAX])
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	inet_ntop(source->family, source->address, from, sizeof(from));
	inet_ntop(source->family, destination->address, to, sizeof(to));
	return (size_t)snprintf(header, HEADER_MAX, "PROXY TCP%c %s %s %u %u\r\n",
				source->family == AF_INET ? '4' : '6', from, to,
				ntohs(source->port), ntohs(destination->port));
}

static void append(char **end, const void *bytes, size_t size)
{
	memcpy(*end, bytes, size);
	*end += size;
}

static size_t write_block(const struct end *source, const struct end *destination,
			  char header[HEADER_MAX])
{
	static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
	const uint16_t length = htons((uint16_t)(2 * source->size + 4));
	const uint8_t kind[] = { 0x21, source->family == AF_INET ? 0x11 : 0x21 };
	char *end = header;

	append(&end, signature, sizeof(signature));
	append(&end, kind, sizeof(kind));
	append(&end, &length, sizeof(length));
	append(&end, source->address, source->size);
	append(&end, destination->address, source->size);
	append(&end, &source->port, sizeof(source->port));
	append(&end, &destination->port, sizeof(destination->port));
	return (size_t)(end - header);
}

int dial_announce(int fd, const struct dial_announcement *announcement)
{
	struct sockaddr_storage own = {0}, peer = {0};
	char header[HEADER_MAX];
	struct end source, destination;
	ssize_t sent;
	size_t size;

	if (announcement->version == 0)
		return 0;
	if (getsockname(fd, (struct sockaddr *)&own, &(socklen_t){ sizeof(own) }) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &(socklen_t){ sizeof(peer) }) < 0)
		return -errno;
	source = make_end(announcement->source.length > 0 ? &announcement->source.any :
							    (const void *)&own);
	destination = make_end(&peer);
	/* a header has one family, the source's: a destination of the other one is left unknown */
	if (destination.family != source.family)
		destination = (struct end){ .family = source.family };
	size = announcement->version == 1 ? write_line(&source, &destination, header) :
					    write_block(&source, &destination, header);
	sent = send(fd, header, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return -errno;
	return (size_t)sent == size ? 0 : -ENOBUFS;
}
