/* SPDX-License-Identifier: MIT */
/* src/base: addresses and network prefixes, as text and as bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/address.h"
#include "base/cidr.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_address_parse(void **state)
{
	static const struct {
		const char *text;
		const char *host;
		uint16_t port;
	} cases[] = {
		{ "localhost", "localhost", 7 },
		{ "localhost:7007", "localhost", 7007 },
		{ "192.0.2.7:0", "192.0.2.7", 0 },
		{ "[2001:db8::1]:65535", "2001:db8::1", 65535 },
		{ "[::1]", "::1", 7 },
		{ "::1", "::1", 7 },
		{ "[fe80::1%eth0]:9", "fe80::1%eth0", 9 },
		{ "*:7", "*", 7 },
		{ "unix:/run/x y", NULL, 0 },
		{ "unix:/run/echo", "/run/echo", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct address_spec spec;
		int r = address_parse(cases[i].text, 7, &spec, NULL);

		if (!cases[i].host) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(spec.host, cases[i].host);
		assert_int_equal(spec.is_wildcard, strcmp(cases[i].host, "*") == 0);
		assert_int_equal(spec.is_unix, cases[i].host[0] == '/');
		if (!spec.is_unix)
			assert_int_equal(spec.port, cases[i].port);
	}
}

static void test_address_errors(void **state)
{
	static const struct {
		const char *text;
		int result;
		const char *why;
	} cases[] = {
		{ "", -EINVAL, "host missing (* means every address)" },
		{ ":7", -EINVAL, "host missing (* means every address)" },
		{ "localhost", -EINVAL, "port missing" },
		{ "::1", -EINVAL, "port missing" },
		{ "[::1]", -EINVAL, "port missing" },
		{ "a:", -EINVAL, "port is not a number" },
		{ "a:echo", -EINVAL, "port is not a number" },
		{ "a:-1", -EINVAL, "port is not a number" },
		{ "a:65536", -ERANGE, "port not in 0-65535" },
		{ "a:99999999999999999999999", -ERANGE, "port not in 0-65535" },
		{ "[::1", -EINVAL, "expected [ADDRESS] or [ADDRESS]:PORT" },
		{ "[::1]7", -EINVAL, "expected [ADDRESS] or [ADDRESS]:PORT" },
		{ "[localhost]:7", -EINVAL, "no IPv6 address between the brackets" },
		{ "[fe80::1%]:7", -EINVAL, "no IPv6 address between the brackets" },
		{ "[]:7", -EINVAL, "no IPv6 address between the brackets" },
		{ "1:2:3", -EINVAL,
		  "too many colons (an IPv6 address with a port needs brackets)" },
		{ "tcp:a:7", -EINVAL,
		  "too many colons (an IPv6 address with a port needs brackets)" },
		{ "http://a:7", -EINVAL, "an address has no scheme (as http://)" },
		{ "http://a", -EINVAL, "an address has no scheme (as http://)" },
		{ "http://[::1]:7/", -EINVAL, "an address has no scheme (as http://)" },
		{ "a b:7", -EINVAL, "space or control character in an address" },
		{ "a\n:7", -EINVAL, "space or control character in an address" },
		{ "unix:run", -EINVAL, "the path of a Unix socket must begin with /" },
		{ "unix:", -EINVAL, "the path of a Unix socket must begin with /" },
		{ "/run/echo", -EINVAL, "not a host name (a Unix socket is unix:/PATH)" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct address_spec spec = { .port = 4711 };
		const char *why = "";

		assert_int_equal(address_parse(cases[i].text, -1, &spec, &why), cases[i].result);
		assert_string_equal(why, cases[i].why);
		assert_int_equal(spec.port, 4711);
	}
}

static void test_address_length(void **state)
{
	struct sockaddr_un un;
	char text[1000] = "unix:/";
	struct address_spec spec;
	const char *why;

	(void)state;
	memset(text + 6, 'x', sizeof(un.sun_path) - 2);
	assert_int_equal(address_parse(text, -1, &spec, &why), 0);
	assert_int_equal(strlen(spec.host), sizeof(un.sun_path) - 1);
	strcat(text, "x");
	assert_int_equal(address_parse(text, -1, &spec, &why), -ENAMETOOLONG);
	assert_string_equal(why, "the path of a Unix socket has more than 107 bytes");

	memset(text, 'h', 255);
	strcpy(text + 255, ":65535");
	assert_int_equal(address_parse(text, -1, &spec, &why), 0);
	memset(text, 'h', 256);
	strcpy(text + 256, ":1");
	assert_int_equal(address_parse(text, -1, &spec, &why), -ENAMETOOLONG);
	memset(text, 'h', 998);
	assert_int_equal(address_parse(text, -1, &spec, &why), -ENAMETOOLONG);
}

static void test_address_expand(void **state)
{
	static const struct {
		const char *text;
		int result;
		const char *first, *second;
	} cases[] = {
		{ "*:7", 2, "[::]:7", "0.0.0.0:7" },
		{ "LocalHost:7", 2, "127.0.0.1:7", "[::1]:7" },
		{ "192.0.2.7:7", 1, "192.0.2.7:7", NULL },
		{ "[2001:db8::7]:7", 1, "[2001:db8::7]:7", NULL },
		{ "[fe80::1%lo]:7", 1, "[fe80::1]:7", NULL },
		{ "unix:/run/echo", 1, "unix:/run/echo", NULL },
		{ "echo.example:7", -ENODATA, NULL, NULL },
		{ "localhost.:7", -ENODATA, NULL, NULL },
		{ "127.1:7", -ENODATA, NULL, NULL },
		{ "127.0.0.1%lo:7", -ENODATA, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct address addresses[ADDRESS_EXPAND_MAX];
		char text[ADDRESS_TEXT_MAX];
		struct address_spec spec;

		assert_int_equal(address_parse(cases[i].text, -1, &spec, NULL), 0);
		assert_int_equal(address_expand(&spec, addresses), cases[i].result);
		if (cases[i].first)
			assert_string_equal(address_format(&addresses[0].any, addresses[0].length,
							   text), cases[i].first);
		if (cases[i].second)
			assert_string_equal(address_format(&addresses[1].any, addresses[1].length,
							   text), cases[i].second);
	}
}

static void test_address_scope(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint32_t scope;
	} cases[] = {
		{ "[fe80::1%lo]:7", 0, 1 },
		{ "[fe80::1%77]:7", 0, 77 },
		{ "[fe80::1]:7", 0, 0 },
		{ "unix:/run/%lo", 0, 0 },
		{ "[fe80::1%none]:7", -ENODEV, 4711 },
		{ "[fe80::1%0]:7", -ENODEV, 4711 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct address_spec spec;
		uint32_t scope = 4711;

		assert_int_equal(address_parse(cases[i].text, -1, &spec, NULL), 0);
		assert_int_equal(address_scope(&spec, &scope), cases[i].result);
		assert_int_equal(scope, cases[i].scope);
	}
}

static void test_address_format(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(7) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(7) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char text[ADDRESS_TEXT_MAX];

	(void)state;
	inet_pton(AF_INET, "192.0.2.7", &in.sin_addr);
	assert_string_equal(address_format((void *)&in, sizeof(in), text), "192.0.2.7:7");
	inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6.sin6_addr);
	assert_string_equal(address_format((void *)&in6, sizeof(in6), text), "192.0.2.7:7");
	inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
	in6.sin6_scope_id = 2;
	assert_string_equal(address_format((void *)&in6, sizeof(in6), text), "[fe80::1%2]:7");

	strcpy(un.sun_path, "/run/echo");
	assert_string_equal(address_format((void *)&un, sizeof(un), text), "unix:/run/echo");
	assert_string_equal(address_format((void *)&un, sizeof(sa_family_t), text), "unix:");
	memcpy(un.sun_path, "\0name", 5);
	assert_string_equal(address_format((void *)&un, sizeof(sa_family_t) + 5, text),
			    "unix:@name");
	memset(un.sun_path, 'x', sizeof(un.sun_path));
	assert_int_equal(strlen(address_format((void *)&un, sizeof(un), text)),
			 strlen("unix:") + sizeof(un.sun_path));
	assert_string_equal(address_format((void *)&in, sizeof(sa_family_t), text),
			    "unknown (family 2)");
}

static void test_cidr_text(void **state)
{
	static const struct {
		const char *text;
		const char *written, *why;
	} cases[] = {
		{ "192.0.2.0/24", "192.0.2.0/24", NULL },
		{ "192.0.2.7", "192.0.2.7/32", NULL },
		{ "0.0.0.0/0", "0.0.0.0/0", NULL },
		{ "2001:db8::/32", "2001:db8::/32", NULL },
		{ "2001:DB8::1", "2001:db8::1/128", NULL },
		{ "::/0", "::/0", NULL },
		{ "::ffff:192.0.2.0/120", "192.0.2.0/24", NULL },
		{ "192.0.2.7/24", NULL, "bits are set beyond the prefix length" },
		{ "2001:db8::1/64", NULL, "bits are set beyond the prefix length" },
		{ "192.0.2.0/33", NULL, "prefix length not in 0-32" },
		{ "192.0.2.0/", NULL, "prefix length not in 0-32" },
		{ "192.0.2.0/-1", NULL, "prefix length not in 0-32" },
		{ "192.0.2.0/24/24", NULL, "prefix length not in 0-32" },
		{ "::/129", NULL, "prefix length not in 0-128" },
		{ "", NULL, "not an IPv4 or IPv6 address" },
		{ "192.0.2/24", NULL, "not an IPv4 or IPv6 address" },
		{ "localhost", NULL, "not an IPv4 or IPv6 address" },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL,
		  "not an IPv4 or IPv6 address" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct cidr cidr = { .bits = 77 };
		char text[CIDR_TEXT_MAX];
		const char *why = NULL;
		int r = cidr_parse(cases[i].text, &cidr, &why);

		if (cases[i].why) {
			assert_int_equal(r, -EINVAL);
			assert_string_equal(why, cases[i].why);
			assert_int_equal(cidr.bits, 77);
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(cidr_format(&cidr, text), cases[i].written);
	}
}

static void test_cidr_bits(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits <= 128; bits++) {
		uint8_t ones[16], address[16];

		memset(ones, 0xff, sizeof(ones));
		cidr_mask(ones, bits);
		memset(address, 0xff, sizeof(address));
		assert_true(cidr_contains(ones, bits, address));
		for (unsigned i = 0; i < 128; i++) {
			bool is_set = ones[i / 8] >> (7 - i % 8) & 1;

			assert_int_equal(is_set, i < bits);
			address[i / 8] ^= (uint8_t)(0x80 >> i % 8);
			assert_int_equal(cidr_contains(ones, bits, address), i >= bits);
			address[i / 8] ^= (uint8_t)(0x80 >> i % 8);
		}
	}
}

/* IPv4 stands as ::ffff:0:0/96, and is in no prefix of IPv6 all the same. */
static void test_cidr_families(void **state)
{
	static const struct {
		const char *prefix;
		const char *address;
		bool contains;
	} cases[] = {
		{ "::/0", "2001:db8::1", true },
		{ "::/0", "192.0.2.1", false },
		{ "::/8", "192.0.2.1", false },
		{ "::/80", "192.0.2.1", false },
		{ "::ffff:0:0/96", "192.0.2.1", true },
		{ "0.0.0.0/0", "192.0.2.1", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cidr prefix, address;

		assert_int_equal(cidr_parse(cases[i].prefix, &prefix, NULL), 0);
		assert_int_equal(cidr_parse(cases[i].address, &address, NULL), 0);
		assert_int_equal(cidr_contains(prefix.prefix, prefix.bits, address.prefix),
				 cases[i].contains);
	}
}

#define HASHES 1024u

/* Whichever two bytes of an address differ, the low bits of the hash do. */
static void test_cidr_hash(void **state)
{
	static const uint64_t seed[2] = { 1, 2 };

	(void)state;
	for (unsigned at = 0; at < 15; at++) {
		bool is_used[HASHES] = { false };
		unsigned used = 0;

		for (unsigned i = 0; i < HASHES; i++) {
			uint8_t address[16] = { 0x20, 0x01, [10] = 0xff, 0xff };
			uint64_t words[2];
			bool *is_here;

			address[at] = (uint8_t)(i >> 8);
			address[at + 1] = (uint8_t)i;
			memcpy(words, address, sizeof(words));
			is_here = &is_used[cidr_hash(words, seed) % HASHES];
			used += !*is_here;
			*is_here = true;
		}
		/* by chance 1 - 1/e of them */
		assert_true(used > HASHES / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address_parse),
		cmocka_unit_test(test_address_errors),
		cmocka_unit_test(test_address_length),
		cmocka_unit_test(test_address_expand),
		cmocka_unit_test(test_address_scope),
		cmocka_unit_test(test_address_format),
		cmocka_unit_test(test_cidr_text),
		cmocka_unit_test(test_cidr_bits),
		cmocka_unit_test(test_cidr_families),
		cmocka_unit_test(test_cidr_hash),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
