/* SPDX-License-Identifier: MIT */
/*
 * Headers of the PROXY protocol. Each is read in all its beginnings, none of which is whole (it may
 * be wrong from some byte on), and with payload behind it, of which nothing counts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "listener/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2(rest) SIGNATURE rest, sizeof(SIGNATURE rest) - 1
#define TCP4 "\xc0\0\2\7\xc0\0\2\1\x12\x67\0\7"	/* 192.0.2.7:4711 to 192.0.2.1:7 */
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"
#define CRC32C "\xb6\x86\x0e\xbc"
#define TCP6 "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\7" \
	"\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x12\x67\0\7"

/* Returns what proxy_parse() says of all bytes. */
static ssize_t read_all(const uint8_t *bytes, size_t size, struct proxy_header *ret_header)
{
	uint8_t with_payload[PROXY_HEADER_MAX + 64];
	ssize_t whole = proxy_parse(bytes, size, ret_header), r = 0;
	struct proxy_header header;
	bool is_wrong = false;

	assert_true(size + 40 <= sizeof(with_payload));
	memcpy(with_payload, bytes, size);
	memset(with_payload + size, '\n', 40);
	for (size_t i = 0; i < size; i++) {
		r = proxy_parse(bytes, i, &header);
		assert_true(r == 0 || r == -EPROTO);
		assert_true(r == -EPROTO || !is_wrong);
		is_wrong = r == -EPROTO;
	}
	assert_true(whole == -EPROTO || !is_wrong);
	if (whole <= 0)
		return whole;
	assert_int_equal(whole, size);
	assert_int_equal(proxy_parse(with_payload, size + 40, &header), size);
	assert_memory_equal(&header, ret_header, sizeof(header));
	return whole;
}

static void expect_none(const void *bytes, size_t size)
{
	struct proxy_header header;

	assert_int_equal(read_all(bytes, size, &header), size);
	assert_int_equal(header.source.family, ENDPOINT_NONE);
}

static void expect_source(const void *bytes, size_t size, int family, const char *address)
{
	struct proxy_header header;
	uint8_t expected[16] = {0};

	assert_int_equal(inet_pton(family, address, expected), 1);
	assert_int_equal(read_all(bytes, size, &header), size);
	assert_int_equal(header.source.family, family == AF_INET ? ENDPOINT_INET : ENDPOINT_INET6);
	assert_int_equal(header.source.port, 4711);
	assert_int_equal(header.source.scope, 0);
	assert_memory_equal(header.source.address, expected, sizeof(expected));
}

static void expect_wrong(const void *bytes, size_t size)
{
	struct proxy_header header;

	assert_int_equal(read_all(bytes, size, &header), -EPROTO);
}

static void expect_unfinished(const void *bytes, size_t size)
{
	struct proxy_header header;

	assert_int_equal(read_all(bytes, size, &header), 0);
}

static void test_v1(void **state)
{
	static const char v4[] = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 7\r\n";
	static const char v6[] = "PROXY TCP6 2001:db8::7 2001:DB8::1 4711 7\r\n";
	static const char mapped[] = "PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 65535\r\n";
	static const char longest[] =
		"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff7 "
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 4711 65535\r\n";

	(void)state;
	expect_source(v4, strlen(v4), AF_INET, "192.0.2.7");
	expect_source(v6, strlen(v6), AF_INET6, "2001:db8::7");
	expect_source(mapped, strlen(mapped), AF_INET, "192.0.2.7");
	expect_source(longest, strlen(longest), AF_INET6,
		      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff7");
	expect_none("PROXY UNKNOWN\r\n", 15);
	expect_none("PROXY UNKNOWN ffff:: x y\r\n", 26);
}

static void test_v1_wrong(void **state)
{
	static const char *const wrong[] = {
		"G", "PROXY\r\n", "proxy TCP4", "PROXYTCP4", "\r\n\r\nQUIT",
		"PROXY \r\n", "PROXY TCP4\r\n", "PROXY UNKNOWNX\r\n", "PROXY UNKNOWN\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 7\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 7 \r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 7 8\r\n",
		"PROXY TCP4  192.0.2.7 192.0.2.1 4711 7\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 \r\n",
		"PROXY TCP4 192.0.2.07 192.0.2.1 4711 7\r\n",
		"PROXY TCP4 192.0.2 192.0.2.1 4711 7\r\n",
		"PROXY TCP4 192.0.2.256 192.0.2.1 4711 7\r\n",
		"PROXY TCP4 192.0.2.7 localhost 4711 7\r\n",
		"PROXY TCP4 2001:db8::7 2001:db8::1 4711 7\r\n",
		"PROXY TCP6 192.0.2.7 192.0.2.1 4711 7\r\n",
		"PROXY TCP6 fe80::1%lo fe80::2 4711 7\r\n",
		"PROXY TCP5 192.0.2.7 192.0.2.1 4711 7\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 04711 7\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 65536 7\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 4294967303 7\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 +4711 7\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 -1 7\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 7\r\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.1\t4711 7\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		expect_wrong(wrong[i], strlen(wrong[i]));
	expect_wrong("PROXY UNKNOWN\0\r\n", 16);
	expect_wrong("PROXY TCP4 192.0.2.7\0 192.0.2.1 4711 7\r\n", 40);
}

/* 107 bytes with CRLF may be, 108 may not; without CRLF the 107th says so. */
static void test_v1_length(void **state)
{
	char line[110];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "PROXY UNKNOWN ", 14);
	expect_unfinished(line, 106);
	expect_wrong(line, 107);
	memcpy(line + 105, "\r\n", 2);
	expect_none(line, 107);
	memset(line + 105, 'x', 2);
	memcpy(line + 106, "\r\n", 2);
	expect_wrong(line, 108);
}

static void test_v2(void **state)
{
	(void)state;
	expect_source(V2("\x21\x11\0\x0c" TCP4), AF_INET, "192.0.2.7");
	expect_source(V2("\x21\x21\0\x24" TCP6), AF_INET6, "2001:db8::7");
	expect_source(V2("\x21\x21\0\x24" MAPPED "\xc0\0\2\7" MAPPED "\xc0\0\2\1\x12\x67\0\7"),
		      AF_INET, "192.0.2.7");
	/* LOCAL: with nothing, an address, a family that nobody knows */
	expect_none(V2("\x20\0\0\0"));
	expect_none(V2("\x20\x11\0\x0c" TCP4));
	expect_none(V2("\x20\xff\0\3abc"));
	/* unspecified, datagrams, Unix */
	expect_none(V2("\x21\0\0\0"));
	expect_none(V2("\x21\x10\0\x0c" TCP4));
	expect_none(V2("\x21\x12\0\x0c" TCP4));
	expect_none(V2("\x21\x22\0\x24" TCP6));
	expect_none(V2("\x21\x31\0\4/a/b"));
}

static void test_v2_wrong(void **state)
{
	(void)state;
	expect_wrong(V2("\x11\x11\0\x0c" TCP4));
	expect_wrong(V2("\x31\x11\0\x0c" TCP4));
	expect_wrong(V2("\x22\x11\0\x0c" TCP4));
	expect_wrong(V2("\x21\x41\0\x0c" TCP4));
	expect_wrong(V2("\x21\x13\0\x0c" TCP4));
	/* shorter than its addresses */
	expect_wrong(V2("\x21\x11\0\0"));
	expect_wrong(V2("\x21\x11\0\x0b" TCP4));
	expect_wrong(V2("\x21\x21\0\x0c" TCP4));
	expect_wrong(V2("\x21\x21\0\x23" TCP6));
	/* longer than what is taken: said at once, not when it is there */
	expect_wrong(V2("\x20\0\x10\1"));
	expect_wrong(V2("\x21\x11\xff\xff"));
	expect_unfinished(V2("\x20\0\x10\0"));
	expect_wrong("\r\n\r\n\0\r\nQUIT\r", 12);
}

static void test_v2_longest(void **state)
{
	uint8_t header[PROXY_HEADER_MAX] = SIGNATURE "\x20\0\x10\0";

	(void)state;
	expect_none(header, sizeof(header));
}

static void test_tlvs(void **state)
{
	(void)state;
	expect_source(V2("\x21\x11\0\x0f" TCP4 "\4\0\0"), AF_INET, "192.0.2.7");
	expect_source(V2("\x21\x11\0\x1a" TCP4 "\5\0\4\0\r\n\x80\2\0\4host"), AF_INET, "192.0.2.7");
	/* cut in the head, a value beyond the end by one and by far */
	expect_wrong(V2("\x21\x11\0\x0d" TCP4 "\4"));
	expect_wrong(V2("\x21\x11\0\x0e" TCP4 "\4\0"));
	expect_wrong(V2("\x21\x11\0\x10" TCP4 "\4\0\2x"));
	expect_wrong(V2("\x21\x11\0\x0f" TCP4 "\4\xff\xff"));
	/* those of a family without known addresses are not looked at */
	expect_none(V2("\x21\0\0\1\4"));
}

static void expect_id(const void *bytes, size_t size, const void *id, uint32_t id_size)
{
	struct proxy_header header;

	assert_int_equal(read_all(bytes, size, &header), size);
	assert_int_equal(header.unique_id.size, id_size);
	assert_memory_equal(header.unique_id.bytes, id, id_size);
}

static void test_unique_id(void **state)
{
	uint8_t longest[28 + 3 + 129] = SIGNATURE "\x21\x11\0\x8f" TCP4 "\5\0\x80";

	(void)state;
	expect_id(V2("\x21\x11\0\x13" TCP4 "\5\0\4\0\r\n\x80"), "\0\r\n\x80", 4);
	expect_id(V2("\x21\x21\0\x28" TCP6 "\5\0\1a"), "a", 1);
	expect_id(V2("\x21\x11\0\x0c" TCP4), "", 0);
	expect_id(V2("\x21\x11\0\x0f" TCP4 "\5\0\0"), "", 0);
	/* the last one counts; that of a connection without a client is not looked at */
	expect_id(V2("\x21\x11\0\x16" TCP4 "\5\0\3one" "\5\0\1b"), "b", 1);
	expect_id(V2("\x20\x11\0\x10" TCP4 "\5\0\1a"), "", 0);
	expect_id(longest, sizeof(longest) - 1, longest + 31, 128);
	longest[15]++;
	longest[30]++;
	expect_wrong(longest, sizeof(longest));
}

/* The sum was made by another implementation, of tables. */
static void test_crc32c(void **state)
{
	(void)state;
	expect_source(V2("\x21\x11\0\x13" TCP4 "\3\0\4" CRC32C), AF_INET, "192.0.2.7");
	expect_wrong(V2("\x21\x11\0\x13" TCP4 "\3\0\4\0\0\0\0"));
	expect_wrong(V2("\x21\x11\0\x12" TCP4 "\3\0\3\0\0\0"));
	/* nor twice */
	expect_wrong(V2("\x21\x11\0\x1a" TCP4 "\3\0\4" CRC32C "\3\0\4" CRC32C));
	/* though both are right */
	expect_wrong(V2("\x21\x11\0\x1e" TCP4 "\3\0\4\x92\x8d\xde\xae"
			"\3\0\4\xf0\x97\x60\x14" "\4\0\1\4"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),	  cmocka_unit_test(test_v1_wrong),
		cmocka_unit_test(test_v1_length), cmocka_unit_test(test_v2),
		cmocka_unit_test(test_v2_wrong),  cmocka_unit_test(test_v2_longest),
		cmocka_unit_test(test_tlvs),	  cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_unique_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
