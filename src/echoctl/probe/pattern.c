/* SPDX-License-Identifier: MIT */
/* Patterns of bytes, each repeated or computed from its offset alone. */
#include "echoctl/probe/pattern.h"

#include <string.h>

#include "echoctl/probe/payload.h"

static const char crlf[] = "a\r\nb\nc\r\r\n\n\r";
/* IAC DO ECHO, IAC WILL BINARY, IAC IAC, IAC AYT, IAC SB TTYPE SEND IAC SE, a lone IAC */
static const char telnet[] =
	"\xff\xfd\x01" "\xff\xfb\x00" "\xff\xff" "\xff\xf6" "\xff\xfa\x18\x01\xff\xf0" "x\xff";
static const char http[] =
	"GET / HTTP/1.1\r\nHost: echo.example\r\nUser-Agent: echoctl\r\n"
	"Connection: keep-alive\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
static const char sip[] =
	"OPTIONS sip:echo@192.0.2.1 SIP/2.0\r\n"
	"Via: SIP/2.0/TCP 192.0.2.7:5060;branch=z9hG4bK776asdhds\r\n"
	"From: <sip:echoctl@192.0.2.7>;tag=1928301774\r\nTo: <sip:echo@192.0.2.1>\r\n"
	"Contact: <sip:echoctl@192.0.2.7:5060>\r\nContent-Length: 0\r\n\r\n";

static const struct {
	const char *name;
	const char *text;	/* repeated; NULL: computed */
	size_t size;
} patterns[PATTERN_COUNT] = {
	[PATTERN_RANDOM] = {"random", NULL, sizeof(uint64_t)},
	[PATTERN_ZEROS] = {"zeros", "\x00", 1},
	[PATTERN_ONES] = {"ones", "\xff", 1},
	[PATTERN_CRLF] = {"crlf", crlf, sizeof(crlf) - 1},
	[PATTERN_TELNET] = {"telnet", telnet, sizeof(telnet) - 1},
	[PATTERN_HTTP] = {"http", http, sizeof(http) - 1},
	[PATTERN_SIP] = {"sip", sip, sizeof(sip) - 1},
};

const char *pattern_name(enum pattern pattern)
{
	return patterns[pattern].name;
}

int pattern_find(const char *name)
{
	for (int i = 0; i < PATTERN_COUNT; i++) {
		if (strcmp(patterns[i].name, name) == 0)
			return i;
	}
	return -1;
}

/*
 * Eight bytes for each index: at the beginning those that a path is likely to change, then the
 * output function of SplitMix64 (Steele, Lea, Flood 2014).
 */
static uint64_t mix(uint64_t index)
{
	uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u;

	if (index < PAYLOAD_FRAGILE_BYTES / sizeof(z)) {
		memcpy(&z, payload_fragile + index * sizeof(z), sizeof(z));
		return z;
	}
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void pattern_fill(enum pattern pattern, uint64_t offset, void *bytes, size_t size)
{
	const char *text = patterns[pattern].text;
	size_t period = patterns[pattern].size;
	char *next = bytes;

	while (size > 0) {
		uint64_t word = mix(offset / sizeof(word));
		const char *from = text ? text : (const char *)&word;
		size_t at = (size_t)(offset % period);
		size_t n = size < period - at ? size : period - at;

		memcpy(next, from + at, n);
		offset += n;
		next += n;
		size -= n;
	}
}
