/* SPDX-License-Identifier: MIT */
/*
 * Only what a trusted balancer sends is read here, and still nothing is believed: lengths are
 * checked before they are used, addresses are parsed strictly, and nothing is allocated. The
 * announced destination has to be right as well, and is not used. Section numbers are those of
 * doc/proxy-protocol.txt.
 */
#include "listener/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define V1_MAX 107u	/* 2.1: with CRLF */
#define V2_FIXED 16u
#define V2_VERSION 0x20u
#define V2_LOCAL 0x0u
#define V2_PROXY 0x1u
#define V2_TCP4 0x11u
#define V2_TCP6 0x21u
#define V2_FAMILY_MAX 0x3u	/* Unix */
#define V2_TRANSPORT_MAX 0x2u	/* datagrams */
#define V2_TCP4_BYTES 12u
#define V2_TCP6_BYTES 36u
#define TLV_CRC32C 0x03u
#define TLV_UNIQUE_ID 0x05u
#define TLV_HEAD 3u

static const uint8_t v2_signature[12] = { '\r', '\n', '\r', '\n', '\0', '\r', '\n',
					  'Q',	'U',  'I',  'T',  '\n' };

/* Decimal without leading zeros. */
static bool parse_port(const char *text, uint16_t *ret_port)
{
	uint32_t port = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (uint32_t)(*text - '0');
		if (port > UINT16_MAX)
			return false;
	}
	*ret_port = (uint16_t)port;
	return true;
}

static void set_ipv4(struct endpoint *endpoint, const void *address, uint16_t port)
{
	*endpoint = (struct endpoint){ .family = ENDPOINT_INET, .port = port };
	memcpy(endpoint->address, address, 4);
}

/* IPv4-mapped addresses are IPv4, as everywhere. */
static void set_ipv6(struct endpoint *endpoint, const void *address, uint16_t port)
{
	struct in6_addr in6;

	memcpy(&in6, address, sizeof(in6));
	if (IN6_IS_ADDR_V4MAPPED(&in6)) {
		set_ipv4(endpoint, in6.s6_addr + 12, port);
		return;
	}
	*endpoint = (struct endpoint){ .family = ENDPOINT_INET6, .port = port };
	memcpy(endpoint->address, &in6, sizeof(in6));
}

static bool parse_end(bool is_ipv6, const char *host, const char *port, struct endpoint *ret_end)
{
	struct in6_addr address;
	uint16_t number;

	if (!parse_port(port, &number) ||
	    inet_pton(is_ipv6 ? AF_INET6 : AF_INET, host, &address) != 1)
		return false;
	if (is_ipv6)
		set_ipv6(ret_end, &address, number);
	else
		set_ipv4(ret_end, &address, number);
	return true;
}

/* 2.1: "PROXY TCP4 SOURCE DESTINATION PORT PORT", one space between them. */
static int parse_line(char *line, struct endpoint *ret_source)
{
	enum { WORD, FAMILY, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, FIELDS };
	char *fields[FIELDS] = { line };
	struct endpoint destination;
	size_t count = 1;
	bool is_ipv6;

	if (strncmp(line, "PROXY UNKNOWN", 13) == 0 && (line[13] == '\0' || line[13] == ' '))
		return 0;
	for (char *space = strchr(line, ' '); space; space = strchr(space + 1, ' ')) {
		if (count == FIELDS)
			return -EPROTO;
		*space = '\0';
		fields[count++] = space + 1;
	}
	if (count != FIELDS)
		return -EPROTO;
	is_ipv6 = strcmp(fields[FAMILY], "TCP6") == 0;
	if ((!is_ipv6 && strcmp(fields[FAMILY], "TCP4") != 0) ||
	    !parse_end(is_ipv6, fields[SOURCE], fields[SOURCE_PORT], ret_source) ||
	    !parse_end(is_ipv6, fields[DESTINATION], fields[DESTINATION_PORT], &destination))
		return -EPROTO;
	return 0;
}

static ssize_t parse_v1(const uint8_t *bytes, size_t size, struct endpoint *ret_source)
{
	static const char begin[] = "PROXY ";
	const size_t begin_bytes = sizeof(begin) - 1;
	const uint8_t *end;
	char line[V1_MAX];
	size_t length;

	if (memcmp(bytes, begin, size < begin_bytes ? size : begin_bytes) != 0)
		return -EPROTO;
	end = memchr(bytes, '\n', size < V1_MAX ? size : V1_MAX);
	if (!end)
		return size < V1_MAX ? 0 : -EPROTO;
	length = (size_t)(end - bytes);
	if (length < begin_bytes || bytes[length - 1] != '\r' || memchr(bytes, '\0', length))
		return -EPROTO;
	memcpy(line, bytes, length - 1);
	line[length - 1] = '\0';
	if (parse_line(line, ret_source) < 0)
		return -EPROTO;
	return (ssize_t)length + 1;
}

static size_t big_endian(const uint8_t *bytes, size_t count)
{
	size_t value = 0;

	while (count-- > 0)
		value = value << 8 | *bytes++;
	return value;
}

/* RFC 3720, B.4: CRC32c, bit by bit; a header is short and rare. */
static uint32_t crc32c(uint32_t crc, uint8_t byte)
{
	crc ^= byte;
	for (int bit = 0; bit < 8; bit++)
		crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
	return crc;
}

/* 2.2.4: over the whole header, the four bytes at the sum taken as zero. */
static bool is_sum_right(const uint8_t *bytes, size_t size, size_t at)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < size; i++)
		crc = crc32c(crc, i >= at && i < at + 4 ? 0 : bytes[i]);
	return ~crc == big_endian(bytes + at, 4);
}

/*
 * 2.2: type, length and value follow each other up to the end, none goes beyond it. There may be
 * one sum; the last name counts.
 */
static bool read_tlvs(const uint8_t *bytes, size_t size, size_t at, struct unique_id *ret_id)
{
	size_t length, sums = 0;

	for (; at < size; at += length) {
		const uint8_t *tlv = bytes + at;

		at += TLV_HEAD;
		if (at > size)
			return false;
		length = big_endian(tlv + 1, 2);
		if (length > size - at)
			return false;
		if (*tlv == TLV_CRC32C && (length != 4 || sums++ > 0 ||
					   !is_sum_right(bytes, size, at)))
			return false;
		if (*tlv == TLV_UNIQUE_ID) {
			if (length > UNIQUE_ID_MAX)
				return false;
			ret_id->size = (uint32_t)length;
			memcpy(ret_id->bytes, bytes + at, length);
		}
	}
	return true;
}

/* 2.2: what is LOCAL may announce anything, it is not looked at. */
static bool is_family_right(uint8_t command, uint8_t family)
{
	if (command == (V2_VERSION | V2_LOCAL))
		return true;
	return command == (V2_VERSION | V2_PROXY) && family >> 4 <= V2_FAMILY_MAX &&
	       (family & 0xfu) <= V2_TRANSPORT_MAX;
}

static ssize_t parse_v2(const uint8_t *bytes, size_t size, struct proxy_header *ret_header)
{
	size_t length, addresses = 0;
	const uint8_t *from = bytes + V2_FIXED;

	if (size < V2_FIXED)
		return 0;
	length = V2_FIXED + big_endian(bytes + 14, 2);
	if (bytes[12] == (V2_VERSION | V2_PROXY))
		addresses = bytes[13] == V2_TCP4 ? V2_TCP4_BYTES :
			    bytes[13] == V2_TCP6 ? V2_TCP6_BYTES : 0;
	if (!is_family_right(bytes[12], bytes[13]) || length > PROXY_HEADER_MAX ||
	    length - V2_FIXED < addresses)
		return -EPROTO;
	if (size < length)
		return 0;
	/* where the addresses of another family end is not known: neither are its TLVs */
	if (addresses > 0 &&
	    !read_tlvs(bytes, length, V2_FIXED + addresses, &ret_header->unique_id))
		return -EPROTO;
	if (addresses == V2_TCP4_BYTES)
		set_ipv4(&ret_header->source, from, (uint16_t)big_endian(from + 8, 2));
	else if (addresses == V2_TCP6_BYTES)
		set_ipv6(&ret_header->source, from, (uint16_t)big_endian(from + 32, 2));
	return (ssize_t)length;
}

ssize_t proxy_parse(const uint8_t *bytes, size_t size, struct proxy_header *ret_header)
{
	const size_t compared = size < sizeof(v2_signature) ? size : sizeof(v2_signature);

	*ret_header = (struct proxy_header){ .source.family = ENDPOINT_NONE };
	if (size == 0)
		return 0;
	if (memcmp(bytes, v2_signature, compared) == 0)
		return parse_v2(bytes, size, ret_header);
	return parse_v1(bytes, size, &ret_header->source);
}
