/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 and 2 (haproxy, doc/proxy-protocol.txt). */
#ifndef LISTENER_PROXY_H
#define LISTENER_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/endpoint.h"

#define PROXY_HEADER_MAX (16u + 4096u)	/* bytes of the longest header that is taken */

/* What is read of a header. */
struct proxy_header {
	struct endpoint source;		/* the client; ENDPOINT_NONE: the header names none */
	struct unique_id unique_id;	/* only with a source */
};

/*
 * Reads the header at the start of what a connection has sent so far. Returns its length in bytes,
 * 0 if it is not whole yet, -EPROTO if it is none. With a length *ret_header is what it announces:
 * nothing if it is LOCAL, UNKNOWN or of a family that is not TCP's.
 */
ssize_t proxy_parse(const uint8_t *bytes, size_t size, struct proxy_header *ret_header);

#endif
