/* SPDX-License-Identifier: MIT */
/* echod.conf as a file: its grammar, include(), and what is no such file at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/configuration/configuration.h"
#include "unit/settings_file.h"

#define CONFIGURATION __attribute__((cleanup(configuration_freep))) struct configuration
#define MIB (1u << 20)
#define LEVELS "is none of emerg, alert, crit, err, warning, notice, info, debug, error, warn\n"

/* Lines keep their numbers behind every kind of comment, string and end of line. */
static void test_lines(void **state)
{
	(void)state;
	settings_expect_text(
		"# one\n"
		"// two\n"
		"/* three\n"
		"four */ /* four */ user = ''# four\n"
		"user = '# no comment' user = \"/* none */\"\r\n"
		"limits { # six\n"
		"// seven { = '\n"
		"connections = 0 // \"\n"
		"} /**/ /***/ /* \" ' **/\n"
		"log{level=loud}",
		"t:4: user: is empty\n"
		"t:5: user: \"# no comment\" is not a user or group name\n"
		"t:5: user: \"/* none */\" is not a user or group name\n"
		"t:8: limits.connections: \"0\" is not in 1-100000\n"
		"t:10: log.level: \"loud\" " LEVELS);
}

static void test_unknown_keys(void **state)
{
	(void)state;
	settings_expect_text(
		"usr = x\n"
		"usr = {'}', \"{\"}\n"
		"usr = {}\n"
		"lissten = {\n"
		"\"localhost:1\",\n"
		"}\n"
		"limits { connection += 5\n"
		"include = 'x'\n"
		"user = x }\n"
		"connections = 5\n"
		"\"limits|connections\" = 5\n"
		"\"limits|connection\" = 5\n"
		"\"us\ter\" = x\n"
		"limits { connections = 0 connection = 1 }\n"
		"lissten =\n"
		"x\n",
		"t:1: usr: unknown key\n"
		"t:2: usr: unknown key\n"
		"t:4: lissten: unknown key\n"
		"t:7: limits.connection: unknown key\n"
		"t:8: limits.include: unknown key\n"
		"t:9: limits.user: unknown key\n"
		"t:10: connections: unknown key\n"
		"t:11: connections: unknown key\n"
		"t:12: connection: unknown key\n"
		"t:13: us?er: unknown key\n"
		"t:14: limits.connections: \"0\" is not in 1-100000\n"
		"t:14: limits.connection: unknown key\n"
		"t:16: lissten: unknown key\n");
}

/* What is written to a key by way of libConfuse's paths is refused, and has no place. */
static void test_paths(void **state)
{
	(void)state;
	settings_expect_text("\"access|deny\" = {10.0.0.0/8, ::/0}\n"
			     "access { allow = {10.0.0.0/8} }\n"
			     "limits { rate-per-source = 1 rate-burst = 0 }\n"
			     "\"limits|rate-burst\" = 1",
			     "t:1: deny: unknown key\nt:4: rate-burst: unknown key\n");
}

/* It ends the reading, as a mistake in the grammar does. */
static void test_unknown_section(void **state)
{
	(void)state;
	settings_write("more", "limt\n{ connections = 0 }\nuser = ''\n");
	settings_expect_text("usr = 1\ninclude('more')\nlgo { }\n",
			     "t:1: usr: unknown key\nmore:1: limt: unknown key\n");
}

/* Each of them, and it says what to do. */
static void test_gone_keys(void **state)
{
	(void)state;
	settings_write("more", "limits {\n\tspare-workers = 0\n}\n");
	settings_expect_text("limits {\n\tconnections = 0\n\tspare-workers = 8\n}\n"
			     "include('more')\nspare-workers = 1\n",
			     "t:2: limits.connections: \"0\" is not in 1-100000\n"
			     "t:3: limits.spare-workers: this key is gone, remove it: no processes "
			     "are started ahead of their connections\n"
			     "t:6: spare-workers: unknown key\n"
			     "more:2: limits.spare-workers: this key is gone, remove it: no processes "
			     "are started ahead of their connections\n");
}

/* The first mistake in the grammar ends the reading; what comes before it is told as well. */
static void test_grammar(void **state)
{
	static const struct {
		const char *text, *lines;
	} cases[] = {
		{ "user nobody\n", "t:2: missing equal sign after option 'user'\n" },
		{ "user = x; \n", "t:2: unexpected \";\" outside of quotes\n" },
		{ "user =\n}", "t:3: unexpected token '}'\n" },
		{ "user =\nsandbox = auto", "t:3: unexpected token '='\n" },
		{ "sandbox = = auto\n", "t:2: unexpected token '='\n" },
		{ "user += x\n", "t:2: attempt to append to non-list option 'user'\n" },
		{ "user = {x}\n", "t:2: unexpected token '{'\n" },
		{ "}\n", "t:2: unexpected closing brace\n" },
		{ "{ x = 1 }\n", "t:2: unexpected token '{'\n" },
		{ "limits connections = 5\n", "t:2: missing opening brace for section 'limits'\n" },
		{ "limits = 5\n", "t:2: missing opening brace for section 'limits'\n" },
		{ "user { }\n", "t:2: missing equal sign after option 'user'\n" },
		{ "usr x\n", "t:2: usr: unknown key\n" },
		{ "usr = 1 usr { }\n", "t:2: usr: unknown key\n" },
		{ "limits { limits { } }\n", "t:2: limits.limits: unknown key\n" },
		{ "listen = {localhost:1 localhost:2}\n", "t:2: unexpected token 'localhost:2'\n" },
		{ "listen = {{localhost:1}}\n", "t:2: unexpected token '{'\n" },
		{ "listen = *:7\n", "t:2: unexpected \"*\" outside of quotes\n" },
		{ "access { deny = {*} }\n", "t:2: unexpected \"*\" outside of quotes\n" },
		{ "access { deny = {+} }\n", "t:2: unexpected \"+\" outside of quotes\n" },
		{ "limits|connections = 5\n", "t:2: unexpected \"|\" outside of quotes\n" },
		{ "limits {\nconnections = 5\n", "t:2: '}' missing\n"
						  "t:4: limits.user: unknown key\n" },
		{ "limits {\nconection = x\n\nlog { level = info }\n",
		  "t:2: '}' missing\nt:3: limits.conection: unknown key\n"
		  "t:5: limits.log: unknown key\n" },
		{ "listen = {\n\"localhost:1\"\n", "t:2: '}' missing\n" },
		{ "log { level }\n", "t:2: missing equal sign after option 'level'\n" },
		{ "\"\" = x\n", "t:2: empty name\n" },
		{ "include 'x'\n", "t:2: missing parenthesis for function 'include'\n" },
		{ "include = 'x'\n", "t:2: missing parenthesis for function 'include'\n" },
		{ "include()\n", "t:2: expected include(\"FILE\")\n" },
		{ "include('a', 'b')\n", "t:2: expected include(\"FILE\")\n" },
		{ "include('a\n", "t:2: unterminated string\n" },
		{ "exec('rm')\n", "t:2: exec: unknown key\n" },
		{ "usr = 1 \"\" = x\n", "t:2: usr: unknown key\nt:2: empty name\n" },
	};
	char text[128], lines[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), "limits { rate-burst = x }\n%s user = ''",
			 cases[i].text);
		snprintf(lines, sizeof(lines),
			 "t:1: limits.rate-burst: \"x\" is not a whole number\n%s", cases[i].lines);
		settings_expect_text(text, lines);
	}
}

/* What libConfuse's scanner would stay stuck in: the next file must not notice. */
static void test_strings(void **state)
{
	static const struct {
		const char *text, *lines;
	} cases[] = {
		{ "user = \"x\nsandbox = 'off", "t:1: unterminated string\n" },
		{ "user = \"x\nsandbox = \"off\"", "t:1: unterminated string\n" },
		{ "user = 'x\nsandbox = 'off'", "t:1: unterminated string\n" },
		{ "user = \"x\\", "t:1: unterminated string\n" },
		{ "user = 'x\\", "t:1: unterminated string\n" },
		{ "user = \"x\\\ny\"", "t:1: unterminated string\n" },
		{ "user = 'x\\\ny'", "t:1: unterminated string\n" },
		{ "user = \"\\400\"", "t:1: invalid octal number '\\400'\n" },
		{ "user = \"\\1234\"", "t:1: bad escape sequence '\\1234'\n" },
		{ "user = \"\\9\"", "t:1: bad escape sequence '\\9'\n" },
		{ "user = \"a\\0b\"", "t:1: NUL in a string\n" },
		{ "user = \"a\\000\"", "t:1: NUL in a string\n" },
		{ "user = \"a\\x00b\"", "t:1: NUL in a string\n" },
		{ "user = \"a\\x0 b\"", "t:1: NUL in a string\n" },
		{ "user = \"${HOME\"\n}", "t:1: '}' of a variable missing in a string\n" },
		{ "user = \"${HOME\n}\"", "t:1: '}' of a variable missing in a string\n" },
		{ "user = \"${", "t:1: '}' of a variable missing in a string\n" },
		{ "user = ${HOME}", "t:1: unexpected \"$\" outside of quotes\n" },
		{ "user = x /* no end\n}", "t:1: unterminated comment\n" },
		{ "\"x", "t:1: unterminated string\n" },
		{ "user = x\n\"\nsandbox = off\n\"", "t:2: unterminated string\n" },
		{ "listen = {\"localhost:1, \"localhost:2\"}\nlog { level = 5 }",
		  "t:1: unterminated string\n"
		  "t:1: listen: \"localhost:1, \": space or control character in an address\n" },
		{ "listen = {\n\"localhost:1\",\n\"localhost:2,\n\"localhost:3\"\n}\nuser = ''",
		  "t:3: unterminated string\n" },
		{ "listen = {\"localhost:1\",\nuser = ''", "t:1: '}' missing\n"
						   "t:2: listen: \"user\": port missing\n" },
		{ "listen = {\"localhost:1\"\nuser = ''", "t:1: '}' missing\n" },
	};
	CONFIGURATION *c = NULL;

	(void)state;
	settings_write("good", "user = \"\\x61\\142\\c\\\\'\" sandbox = \"off\"");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		settings_expect_text(cases[i].text, cases[i].lines);
		c = settings_load("good");
		assert_string_equal(c->user, "abc\\'");
		configuration_free(c);
		c = NULL;
	}
}

static void test_unreadable(void **state)
{
	struct configuration *c = NULL;
	int fd;

	(void)state;
	settings_expect("missing", "missing: No such file or directory\n");
	settings_expect("/etc", "/etc: Is a directory\n");
	settings_expect("/etc/passwd/x", "/etc/passwd/x: Not a directory\n");
	settings_expect("/dev/zero", "/dev/zero: File too large\n");
	assert_int_equal(symlink("loop", "loop"), 0);
	settings_expect("loop", "loop: Too many levels of symbolic links\n");
	/* A FIFO must not hold the daemon, and one without a writer is no file of defaults. */
	assert_int_equal(mkfifo("fifo", 0600), 0);
	settings_expect("fifo", "fifo: No data available\n");
	settings_expect_text("include(fifo)", "t:1: include: fifo: No data available\n");
	fd = open("fifo", O_RDWR);
	assert_true(fd >= 0);
	settings_write("outer", "include(fifo)");
	alarm(30);
	settings_expect("outer", "outer:1: include: fifo: Resource temporarily unavailable\n");
	alarm(0);
	close(fd);
	configuration_free(settings_load("/dev/null"));
	assert_int_equal(configuration_load("name", 4711, 0, settings_collect, NULL, &c), -EBADMSG);
	assert_string_equal(settings_collected(), "name: Bad file descriptor\n");
}

static void test_descriptor(void **state)
{
	FD_CLEANUP int fd = fd_sealed_memory("settings", "user = x\nuser = ''", 18);
	struct configuration *c = NULL;

	(void)state;
	assert_int_equal(configuration_load("/etc/name", fd, 0, settings_collect, NULL, &c),
			 -EBADMSG);
	assert_string_equal(settings_collected(), "/etc/name:2: user: is empty\n");
	assert_null(c);
	assert_true(fcntl(fd, F_GETFD) >= 0);
}

static void test_bytes(void **state)
{
	(void)state;
	settings_write_bytes("t", "user = x\nuser = \"a\0b\"\n", 22);
	settings_expect("t", "t:2: NUL byte\n");
	settings_write_bytes("t", "\0", 1);
	settings_expect("t", "t:1: NUL byte\n");
	settings_expect_text("\xef\xbb\xbf# x\nuser = x",
			     "t:1: byte order mark at the beginning\n");
	settings_expect_text("user = \x01\n", "t:1: unexpected \"\\x01\" outside of quotes\n");
	settings_expect_text("\n\x1b[31m", "t:2: unexpected \"\\x1b\" outside of quotes\n");
	configuration_free((settings_write("t", ""), settings_load("t")));
	configuration_free((settings_write("t", "\n\n"), settings_load("t")));
	configuration_free((settings_write("t", "# only"), settings_load("t")));
}

static void test_huge(void **state)
{
	char *bytes = malloc(MIB + 1);
	int used;

	(void)state;
	assert_non_null(bytes);
	memset(bytes, '9', MIB + 1);
	settings_write_bytes("t", bytes, MIB + 1);
	settings_expect("t", "t: File too large\n");

	used = sprintf(bytes, "limits { connections = ");
	bytes[used] = '9';
	memcpy(bytes + MIB - 2, " }", 2);
	settings_write_bytes("t", bytes, MIB);
	settings_expect("t", "t:1: limits.connections: \"999999999999999999999999999999"
			     "999999999999999999999999999999...\" is not in 1-100000\n");

	memset(bytes, '{', MIB);
	settings_write_bytes("t", bytes, MIB);
	settings_expect("t", "t:1: '}' missing\n");
	memset(bytes, 'n', MIB);
	memcpy(bytes + MIB - 2, "=1", 2);
	settings_write_bytes("t", bytes, MIB);
	settings_expect("t", "t:1: nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
			     "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn: unknown key\n");
	free(bytes);
}

/* A value that a later one replaces has to be right as well. */
static void test_replaced(void **state)
{
	(void)state;
	settings_expect_text("limits { connections = 0 }\n"
			     "limits { connections = 2 }\n"
			     "listen = {\"[::1]:1\", \"b\"}\n"
			     "listen = {\"[::1]:1\"}\n",
			     "t:1: limits.connections: \"0\" is not in 1-100000\n"
			     "t:3: listen: \"b\": port missing\n");
}

static void test_many_errors(void **state)
{
	char text[16000], expected[8000];
	size_t used = 0, expected_used = 0;

	(void)state;
	for (int i = 1; i <= 1000; i++)
		used += (size_t)sprintf(text + used, "user = ''\n");
	for (int i = 1; i <= 100; i++)
		expected_used += (size_t)sprintf(expected + expected_used,
						 "t:%d: user: is empty\n", i);
	strcpy(expected + expected_used, "900 more errors are not shown\n");
	settings_expect_text(text, expected);

	used = expected_used = 0;
	for (int i = 1; i <= 1000; i++)
		used += (size_t)sprintf(text + used, "key%d = 1\n", i);
	for (int i = 1; i <= 100; i++)
		expected_used += (size_t)sprintf(expected + expected_used,
						 "t:%d: key%d: unknown key\n", i, i);
	strcpy(expected + expected_used, "1 more error is not shown\n");
	settings_expect_text(text, expected);
}

static void test_include(void **state)
{
	CONFIGURATION *c = NULL;

	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	settings_write("sub/a.conf", "# a\nlimits { connections = 5 rate-burst = 1 }\n"
				     "include(\"b.conf\")");
	settings_write("sub/b.conf", "user = \"b\"\nlisten += {\"*:2\"}");
	settings_write("t", "listen = {\"[::1]:1\"}\nlimits { connections = 4 }\n"
			    "include(\"sub/a.conf\")\nlimits { rate-burst = 3 }");
	c = settings_load("t");
	assert_int_equal(c->limits.connections, 5);
	assert_int_equal(c->limits.rate_burst, 3);
	assert_string_equal(c->user, "b");
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listen[1].text, "*:2");
}

/* Each error names its own file and line, and the outer file goes on where it was. */
static void test_include_errors(void **state)
{
	(void)state;
	settings_write("sub/a.conf", "# a\nlimits { connections = 0 }\ninclude('b.conf')\n"
				     "include(\"/nowhere/x\") user = ''\n");
	settings_write("sub/b.conf", "\n\nfoo = 1\nuser = \"\"");
	settings_expect_text("# t\ninclude(\"sub/a.conf\")\nlimits { rate-burst = x }\n"
			     "include(\"sub\")\ninclude(\"\")\nfoo = 2\n",
			     "t:3: limits.rate-burst: \"x\" is not a whole number\n"
			     "t:4: include: sub: Is a directory\n"
			     "t:5: include: : No such file or directory\n"
			     "t:6: foo: unknown key\n"
			     "sub/a.conf:2: limits.connections: \"0\" is not in 1-100000\n"
			     "sub/a.conf:4: include: /nowhere/x: No such file or directory\n"
			     "sub/a.conf:4: user: is empty\n"
			     "sub/b.conf:3: foo: unknown key\n"
			     "sub/b.conf:4: user: is empty\n");
}

/* A mistake in the grammar of any file ends the reading of all. */
static void test_include_grammar(void **state)
{
	static const char *const faults[][2] = {
		{ "user = \"", "sub/b.conf:2: unterminated string\n" },
		{ "log {", "sub/b.conf:2: '}' missing\n" },
		{ "user x", "sub/b.conf:2: missing equal sign after option 'user'\n" },
		{ "user = \"\\9\"", "sub/b.conf:2: bad escape sequence '\\9'\n" },
	};
	char text[64], lines[256];

	(void)state;
	settings_write("sub/a.conf", "user = ''\ninclude('b.conf')\nuser = ''\n");
	settings_write("t", "user = ''\ninclude('sub/a.conf')\nuser = ''\n");
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		snprintf(text, sizeof(text), "user = ''\n%s", faults[i][0]);
		settings_write("sub/b.conf", text);
		snprintf(lines, sizeof(lines), "t:1: user: is empty\nsub/a.conf:1: user: is empty\n"
			 "sub/b.conf:1: user: is empty\n%s", faults[i][1]);
		settings_expect("t", lines);
	}
	settings_write("sub/b.conf", "");
	settings_expect("t", "t:1: user: is empty\nt:3: user: is empty\n"
			     "sub/a.conf:1: user: is empty\nsub/a.conf:3: user: is empty\n");
}

static void test_include_loops(void **state)
{
	char name[16], text[64];

	(void)state;
	settings_write("one", "\ninclude(two)");
	settings_write("two", "include(one)");
	settings_expect("one", "one:2: include: nested deeper than 10 files, or in a circle\n");

	for (int i = 0; i < 12; i++) {
		sprintf(name, "deep%d", i);
		sprintf(text, "include(\"deep%d\")", i + 1);
		settings_write(name, text);
	}
	settings_expect("deep0",
			"deep10:1: include: nested deeper than 10 files, or in a circle\n");
}

/* Each file includes the next one twenty times: that must end, and soon. */
static void test_include_flood(void **state)
{
	char name[16], text[512];
	struct configuration *c = NULL;

	(void)state;
	for (int i = 0; i < 9; i++) {
		size_t used = 0;

		for (int j = 0; j < 20; j++)
			used += (size_t)sprintf(text + used, "include(\"wide%d\")\n", i + 1);
		sprintf(name, "wide%d", i);
		settings_write(name, text);
	}
	settings_write("wide9", "");
	assert_int_equal(configuration_load("wide0", -1, 0, settings_collect, NULL, &c),
			 -EBADMSG);
	assert_non_null(strstr(settings_collected(), ": include: more than 256 files\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_unknown_keys),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_unknown_section),
		cmocka_unit_test(test_gone_keys),
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_include_errors),
		cmocka_unit_test(test_include_grammar),
		cmocka_unit_test(test_include_loops),
		cmocka_unit_test(test_include_flood),
	};

	return cmocka_run_group_tests_name("configuration files", tests, settings_enter,
					   settings_leave);
}
