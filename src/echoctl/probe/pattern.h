/* SPDX-License-Identifier: MIT */
/* Bytes to send if there is no input: each pattern is a function of the offset. */
#ifndef ECHOCTL_PROBE_PATTERN_H
#define ECHOCTL_PROBE_PATTERN_H

#include <stddef.h>
#include <stdint.h>

enum pattern {
	/* payload_fragile, then what never repeats: shows bytes moved as well as bytes changed */
	PATTERN_RANDOM,
	PATTERN_ZEROS,
	PATTERN_ONES,		/* all bits set: 0xff, IAC to telnet */
	PATTERN_CRLF,		/* lone CR, lone LF and both, to find what translates line ends */
	PATTERN_TELNET,		/* telnet commands (RFC 854) */
	PATTERN_HTTP,		/* a request, to find what inspects or answers HTTP */
	PATTERN_SIP,		/* a SIP message with addresses, for application gateways */
	PATTERN_COUNT,
};

const char *pattern_name(enum pattern pattern);

/* The pattern of that name, or -1. */
int pattern_find(const char *name);

/* The bytes of the stream from offset on. */
void pattern_fill(enum pattern pattern, uint64_t offset, void *bytes, size_t size);

#endif
