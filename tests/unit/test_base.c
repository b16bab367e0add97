/* SPDX-License-Identifier: MIT */
/* src/base: texts to values and back, the token bucket, descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/address.h"
#include "base/bucket.h"
#include "base/cidr.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/number.h"
#include "base/size.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_number(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },		  { "100", 0, 100 },	   { "007", 0, 7 },
		{ "101", -ERANGE, 0 },	  { "", -EINVAL, 0 },	   { "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },	  { " 1", -EINVAL, 0 },	   { "1 ", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },	  { "1e2", -EINVAL, 0 },   { "1.0", -EINVAL, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999999999999", -ERANGE, 0 },
		{ "99999999999999999999999999999999x", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t value = 4711;

		assert_int_equal(number_parse(cases[i].text, 0, 100, &value), cases[i].result);
		assert_int_equal(value, cases[i].result == 0 ? cases[i].value : 4711);
	}
}

static void test_duration_parse(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t us;
	} cases[] = {
		{ "90", 0, 90000000 },
		{ "90s", 0, 90000000 },
		{ "1.5s", 0, 1500000 },
		{ "250ms", 0, 250000 },
		{ "7us", 0, 7 },
		{ "2m", 0, 120000000 },
		{ "10min", 0, 600000000 },
		{ "1h 30min", 0, 5400000000 },
		{ "1hr30m", 0, 5400000000 },
		{ " 2 sec ", 0, 2000000 },
		{ "0.5d", 0, 43200000000 },
		{ "36525d", 0, 3155760000000000 },
		{ "0", 0, 0 },
		{ "0ms", 0, 0 },
		{ "36525d 1us", -ERANGE, 0 },
		{ "99999999999999999999999d", -ERANGE, 0 },
		{ "0.1us", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ " ", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "5 parsecs", -EINVAL, 0 },
		{ "1h 30", -EINVAL, 0 },
		{ "30 1h", -EINVAL, 0 },
		{ "1.s", -EINVAL, 0 },
		{ ".5s", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "1d x", -EINVAL, 0 },
		{ "999999d 5 parsecs", -EINVAL, 0 },
		{ "1S", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t us = 4711;

		assert_int_equal(duration_parse(cases[i].text, &us), cases[i].result);
		assert_int_equal(us, cases[i].result == 0 ? cases[i].us : 4711);
	}
}

static void test_duration_format(void **state)
{
	static const struct {
		uint64_t us;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 1, "1us" },
		{ 250000, "250ms" },
		{ 90000000, "1min 30s" },
		{ 5400000000, "1h 30min" },
		{ 86400000000, "1d" },
		{ 3155759999999999, "36524d 23h 59min 59s 999ms 999us" },
	};
	char text[DURATION_TEXT_MAX];
	uint64_t us;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_string_equal(duration_format(cases[i].us, text), cases[i].text);
		assert_int_equal(duration_parse(text, &us), 0);
		assert_int_equal(us, cases[i].us);
	}
	assert_string_equal(duration_format(UINT64_MAX, text),
			    "213503982d 8h 1min 49s 551ms 615us");
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t bytes;
		const char *written;
	} cases[] = {
		{ "0", 0, 0, "0" },
		{ "1000", 0, 1000, "1000" },
		{ "64K", 0, 65536, "64K" },
		{ "64kB", 0, 65536, "64K" },
		{ "64KiB", 0, 65536, "64K" },
		{ "12B", 0, 12, "12" },
		{ "1.5G", 0, 1610612736, "1536M" },
		{ "2048T", 0, 1ull << 51, "2048T" },
		{ "16777216T", -ERANGE, 0, NULL },
		{ "18446744073709551616", -ERANGE, 0, NULL },
		{ "0.1", -ERANGE, 0, NULL },
		{ "", -EINVAL, 0, NULL },
		{ "K", -EINVAL, 0, NULL },
		{ "1X", -EINVAL, 0, NULL },
		{ "1 K", -EINVAL, 0, NULL },
		{ "1Ki", -EINVAL, 0, NULL },
		{ "1KK", -EINVAL, 0, NULL },
		{ "-1K", -EINVAL, 0, NULL },
	};
	char text[SIZE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t bytes = 4711;

		assert_int_equal(size_parse(cases[i].text, &bytes), cases[i].result);
		assert_int_equal(bytes, cases[i].result == 0 ? cases[i].bytes : 4711);
		if (cases[i].result == 0)
			assert_string_equal(size_format(bytes, text), cases[i].written);
	}
}

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
		{ "", -EINVAL, "host missing (* stands for every address)" },
		{ ":7", -EINVAL, "host missing (* stands for every address)" },
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
		{ "1:2:3", -EINVAL, "an IPv6 address with a port needs brackets" },
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
	assert_string_equal(address_format((void *)&in, 1, text), "unknown (family 2)");
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

static void test_bucket(void **state)
{
	struct bucket bucket;
	uint64_t now_ns = 5 * CLOCK_NS_PER_S;

	(void)state;
	bucket_init(&bucket, now_ns, 10, 3);
	for (int i = 0; i < 3; i++)
		assert_true(bucket_take(&bucket, now_ns, 10, 3));
	assert_false(bucket_take(&bucket, now_ns, 10, 3));
	assert_false(bucket_take(&bucket, now_ns + CLOCK_NS_PER_S / 10 - 1, 10, 3));
	assert_true(bucket_take(&bucket, now_ns + CLOCK_NS_PER_S / 10, 10, 3));
	assert_false(bucket_take(&bucket, 0, 10, 3));
	/* However long the pause, the burst is the most that is in store. */
	for (int i = 0; i < 3; i++)
		assert_true(bucket_take(&bucket, UINT64_MAX, 10, 3));
	assert_false(bucket_take(&bucket, UINT64_MAX, 10, 3));

	/* Over ten seconds no more than the rate and one burst pass, whatever the rhythm. */
	bucket_init(&bucket, now_ns, 7, 2);
	int passed = 0;
	for (int i = 0; i <= 10000; i++)
		passed += bucket_take(&bucket, now_ns + (uint64_t)i * 1000000, 7, 2);
	assert_in_range(passed, 71, 72);

	bucket_init(&bucket, 0, UINT32_MAX, UINT32_MAX);
	assert_true(bucket_take(&bucket, 0, UINT32_MAX, UINT32_MAX));
	bucket_init(&bucket, 0, 1, UINT32_MAX);
	assert_true(bucket_take(&bucket, UINT64_MAX, 1, UINT32_MAX));
}

static void test_descriptors(void **state)
{
	FD_CLEANUP int fd = -1;
	char bytes[8];

	(void)state;
	fd = fd_sealed_memory("test", "sealed", 6);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(io_read_full(fd, bytes, sizeof(bytes)), 6);
	assert_memory_equal(bytes, "sealed", 6);
	assert_int_equal(io_write_all(fd, "x", 1), -EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);

	assert_int_equal(fd_set_cloexec(fd, false), 0);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(fd_set_nonblocking(fd, true), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_set_nonblocking(-1, true), -EBADF);

	int stolen = fd_steal(&fd);
	assert_int_equal(fd, -1);
	errno = ENOENT;
	assert_int_equal(fd_close(stolen), -1);
	assert_int_equal(fd_close(-1), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(fcntl(stolen, F_GETFD), -1);
	assert_int_equal(io_read_full(stolen, bytes, 1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_duration_parse),
		cmocka_unit_test(test_duration_format),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_address_parse),
		cmocka_unit_test(test_address_errors),
		cmocka_unit_test(test_address_length),
		cmocka_unit_test(test_address_format),
		cmocka_unit_test(test_cidr_text),
		cmocka_unit_test(test_cidr_bits),
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_descriptors),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
