/* SPDX-License-Identifier: MIT */
/* echod.conf: the value of every key, good and bad, and what is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "echod/configuration/configuration.h"
#include "unit/settings_file.h"

#define CONFIGURATION __attribute__((cleanup(configuration_freep))) struct configuration

static void test_default(void **state)
{
	CONFIGURATION *c = NULL;

	(void)state;
	assert_int_equal(configuration_default(&c), 0);
	assert_null(c->path);
	assert_int_equal(c->listen_count, 1);
	assert_string_equal(c->listen[0].text, "localhost:7");
	assert_int_equal(c->listen[0].spec.port, 7);
	assert_false(c->listen_is_set);
	assert_string_equal(c->user, "echod");
	assert_false(c->user_is_set);
	assert_int_equal(c->sandbox, SANDBOX_AUTO);
	assert_int_equal(c->limits.connections, 1024);
	assert_int_equal(c->limits.connections_per_source, 256);
	assert_int_equal(c->limits.source_prefix_ipv4, 32);
	assert_int_equal(c->limits.source_prefix_ipv6, 64);
	assert_int_equal(c->limits.rate_per_source, 0);
	assert_int_equal(c->limits.rate_burst, 200);
	assert_int_equal(c->limits.at_limit, AT_DEFER);
	assert_int_equal(c->timeouts.idle_us, 600000000);
	assert_int_equal(c->timeouts.stall_us, 60000000);
	assert_int_equal(c->timeouts.session_us, 0);
	assert_int_equal(c->timeouts.drain_us, 10000000);
	assert_int_equal(c->access.allow_count + c->access.deny_count, 0);
	assert_int_equal(c->proxy.trust_count, 0);
	assert_int_equal(c->proxy.timeout_us, 5000000);
	assert_int_equal(c->log.level, LOG_INFO);
	assert_int_equal(c->log.facility, LOG_DAEMON);
	assert_int_equal(c->log.target, LOG_TARGET_AUTO);
	assert_int_equal(c->log.connections, LOG_CONNECTIONS_CLOSE);
	assert_int_equal(c->log.max_per_second, 200);
	assert_string_equal(c->control.path, "/run/echod/control");
	assert_false(c->control.path_is_set);
	assert_int_equal(c->control.mode, 0660);
	assert_null(c->control.group);
	assert_null(c->metrics.file);
}

/* Every key at another value than its default, in the form that is printed. */
static const char every_key[] =
	"listen = {\"*:7\", \"udp:*:7\", \"[::1]:7007\", \"unix:/run/x\", \"127.0.0.1:0\", \"127.0.0.1:0\"}\n"
	"user = \"nobody\"\n"
	"sandbox = \"strict\"\n"
	"limits {\n"
	"\tconnections = 100000\n"
	"\tconnections-per-source = 0\n"
	"\tsource-prefix-ipv4 = 8\n"
	"\tsource-prefix-ipv6 = 128\n"
	"\trate-per-source = 1000000\n"
	"\trate-burst = 1\n"
	"\texempt = {\"192.0.2.9/32\", \"2001:db8::/32\"}\n"
	"\tat-limit = \"refuse\"\n"
	"}\n"
	"udp {\n"
	"\trate-per-source = 1\n"
	"\trate-burst = 10000000\n"
	"\trate = 100000000\n"
	"\tmin-source-port = 0\n"
	"\ttos = \"zero\"\n"
	"}\n"
	"timeouts {\n"
	"\tidle = \"365d\"\n"
	"\tstall = \"1ms\"\n"
	"\tsession = \"1h 30min\"\n"
	"\tdrain = \"10min\"\n"
	"}\n"
	"access {\n"
	"\tallow = {\"192.0.2.0/24\", \"2001:db8::/32\"}\n"
	"\tdeny = {\"192.0.2.66/32\"}\n"
	"}\n"
	"proxy {\n"
	"\ttrust = {\"192.0.2.10/32\", \"unix\"}\n"
	"\ttimeout = \"1min\"\n"
	"}\n"
	"log {\n"
	"\tlevel = \"debug\"\n"
	"\tfacility = \"local7\"\n"
	"\ttarget = \"syslog\"\n"
	"\tconnections = \"all\"\n"
	"\tmax-per-second = 0\n"
	"}\n"
	"control {\n"
	"\tpath = \"/run/a \\\"b\\\\ \\${HOME}'\"\n"
	"\tmode = 0007\n"
	"\tgroup = \"adm\"\n"
	"}\n"
	"metrics {\n"
	"\tfile = \"/var/lib/x.prom\"\n"
	"}\n";

static void test_every_key(void **state)
{
	CONFIGURATION *c = NULL;
	char *printed;

	(void)state;
	settings_write("echod.conf", every_key);
	c = settings_load("echod.conf");
	assert_string_equal(c->path, "echod.conf");
	assert_true(c->listen_is_set);
	assert_int_equal(c->listen_count, 6);
	assert_true(c->listen[0].spec.is_wildcard && !c->listen[0].spec.is_datagram);
	assert_true(c->listen[1].spec.is_datagram && c->listen[1].addresses[1].is_datagram);
	assert_int_equal(c->udp.rate, 100000000);
	assert_int_equal(c->udp.tos, TOS_ZERO);
	assert_string_equal(c->listen[3].spec.host, "/run/x");
	assert_true(c->user_is_set);
	assert_int_equal(c->limits.connections, 100000);
	assert_int_equal(c->limits.exempt_count, 2);
	assert_int_equal(c->limits.at_limit, AT_REFUSE);
	assert_int_equal(c->timeouts.stall_us, 1000);
	assert_int_equal(c->access.allow_count, 2);
	assert_int_equal(c->access.deny[0].bits, 128);
	assert_int_equal(c->proxy.trust_count, 2);
	assert_int_equal(c->proxy.trust[0].bits, 128);
	assert_int_equal(c->proxy.trust[1].bits, TRUST_UNIX);
	assert_int_equal(c->proxy.timeout_us, 60000000);
	assert_int_equal(c->log.facility, LOG_LOCAL7);
	assert_int_equal(c->control.mode, 07);
	assert_true(c->control.path_is_set);
	assert_string_equal(c->control.path, "/run/a \"b\\ ${HOME}'");
	assert_string_equal(c->control.group, "adm");
	assert_string_equal(c->metrics.file, "/var/lib/x.prom");

	printed = settings_print(c);
	assert_string_equal(printed, every_key);
	free(printed);
}

static void test_print_default(void **state)
{
	CONFIGURATION *c = NULL, *again = NULL;
	char *first, *second;

	(void)state;
	assert_int_equal(configuration_default(&c), 0);
	first = settings_print(c);
	assert_memory_equal(first, "# listen = {\"localhost:7\"}\n", 27);
	settings_write("t", first);
	again = settings_load("t");
	assert_false(again->listen_is_set);
	second = settings_print(again);
	assert_string_equal(first, second);
	free(first);
	free(second);
}

static void test_shipped_file(void **state)
{
	char path[4096];
	CONFIGURATION *shipped = NULL, *c = NULL;
	char *expected, *printed;

	(void)state;
	assert_non_null(getenv("ABS_SRCDIR"));
	snprintf(path, sizeof(path), "%s/etc/echod.conf", getenv("ABS_SRCDIR"));
	shipped = settings_load(path);
	assert_int_equal(configuration_default(&c), 0);
	printed = settings_print(shipped);
	expected = settings_print(c);
	assert_string_equal(printed, expected);
	free(printed);
	free(expected);
}

static void test_forms(void **state)
{
	CONFIGURATION *c = NULL;

	(void)state;
	setenv("ECHOD_TEST", "3min", 1);
	settings_write("t", "listen = {} listen =\nlocalhost:7007 listen += {'[::1]:9',}\n"
			    "limits { connections = 5 } limits { connections = 6 rate-burst = 9 }\n"
			    "timeouts { idle = 90 stall = \"${ECHOD_TEST}\" drain = '0'\n"
			    "session = \"${ECHOD_UNSET:-7s}\" }\n"
			    "access { allow = {10.0.0.0/8} allow = {} deny = {10.0.0.0/8}}\n"
			    "control { mode = 640 } log { level = warn }\r\n"
			    "user = 'a$b'");
	c = settings_load("t");
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listen[0].text, "localhost:7007");
	assert_int_equal(c->limits.connections, 6);
	assert_int_equal(c->limits.rate_burst, 9);
	assert_int_equal(c->timeouts.idle_us, 90000000);
	assert_int_equal(c->timeouts.stall_us, 180000000);
	assert_int_equal(c->timeouts.session_us, 7000000);
	assert_int_equal(c->timeouts.drain_us, 0);
	assert_int_equal(c->access.allow_count, 0);
	assert_int_equal(c->access.deny_count, 1);
	assert_int_equal(c->control.mode, 0640);
	assert_int_equal(c->log.level, LOG_WARNING);
	assert_string_equal(c->user, "a$b");
}

static void test_bad_numbers(void **state)
{
	(void)state;
	settings_expect_text(
		"limits {\n"
		"connections = 0\n"
		"connections-per-source = 100001\n"
		"source-prefix-ipv4 = 7\n"
		"source-prefix-ipv6 = 129\n"
		"rate-per-source = -1\n"
		"rate-burst = 1e3\n"
		"at-limit = Defer\n"
		"}\n"
		"log { max-per-second = \"\" }\n"
		"log { max-per-second = 18446744073709551616 }\n",
		"t:2: limits.connections: \"0\" is not in 1-100000\n"
		"t:3: limits.connections-per-source: \"100001\" is not in 0-100000\n"
		"t:4: limits.source-prefix-ipv4: \"7\" is not in 8-32\n"
		"t:5: limits.source-prefix-ipv6: \"129\" is not in 16-128\n"
		"t:6: limits.rate-per-source: \"-1\" is not a whole number\n"
		"t:7: limits.rate-burst: \"1e3\" is not a whole number\n"
		"t:8: limits.at-limit: \"Defer\" is none of defer, refuse\n"
		"t:10: log.max-per-second: \"\" is not a whole number\n"
		"t:11: log.max-per-second: \"18446744073709551616\" is not in 0-1000000\n");
	settings_expect_text("proxy { trust = {unix, Unix, 192.0.2.1/24}\ntimeout = 0 }\n"
			     "access { allow = unix }",
			     "t:1: proxy.trust: \"Unix\": not an IPv4 or IPv6 address\n"
			     "t:1: proxy.trust: \"192.0.2.1/24\": bits are set beyond the prefix "
			     "length\n"
			     "t:2: proxy.timeout: must not be 0\n"
			     "t:3: access.allow: \"unix\": not an IPv4 or IPv6 address\n");
	settings_expect_text("limits { rate-per-source = 1\nrate-burst = 0 }",
			     "t:2: limits.rate-burst: must not be 0 with rate-per-source\n");
}

static void test_bad_durations(void **state)
{
	(void)state;
	settings_expect_text(
		"timeouts {\n"
		"idle = \"10 parsecs\"\n"
		"stall = '999us'\n"
		"session = 366d\n"
		"drain = '10min 1s' }\n"
		"proxy { timeout = 61s }\n"
		"proxy { timeout = 0\n"
		"timeout = 5s }\n",
		"t:2: timeouts.idle: \"10 parsecs\" is not a duration like 90s, 10min or 1h 30min\n"
		"t:3: timeouts.stall: \"999us\" is not 0 or in 1ms-365d\n"
		"t:4: timeouts.session: \"366d\" is not 0 or in 1ms-365d\n"
		"t:5: timeouts.drain: \"10min 1s\" is not in 0-10min\n"
		"t:6: proxy.timeout: \"61s\" is not in 1ms-1min\n"
		"t:7: proxy.timeout: must not be 0\n");
}

static void test_bad_words(void **state)
{
	(void)state;
	settings_expect_text(
		"sandbox = on\n"
		"log {\n"
		"level = loud\n"
		"facility = kern\n"
		"target = file\n"
		"connections = yes }\n"
		"control { mode = 0888 path = run\n"
		"group = 'a:b' }\n"
		"control { mode = 01777 }\n"
		"user = ''\n"
		"metrics { file = 'x.prom' }\n",
		"t:1: sandbox: \"on\" is none of auto, require, strict, off\n"
		"t:3: log.level: \"loud\" is none of emerg, alert, crit, err, warning, notice, "
		"info, debug, error, warn\n"
		"t:4: log.facility: \"kern\" is none of daemon, user, mail, auth, authpriv, "
		"syslog, lpr, news, uucp, cron, ftp, local0, local1, local2, local3, local4, "
		"local5, local6, local7\n"
		"t:5: log.target: \"file\" is none of auto, journal, syslog, stderr\n"
		"t:6: log.connections: \"yes\" is none of none, close, all\n"
		"t:7: control.mode: \"0888\" is not an octal mode like 0660\n"
		"t:7: control.path: \"run\" does not begin with /\n"
		"t:8: control.group: \"a:b\" is not a user or group name\n"
		"t:9: control.mode: \"01777\" is not in 0000-0777\n"
		"t:10: user: is empty\n"
		"t:11: metrics.file: \"x.prom\" does not begin with /\n");
	settings_expect_text("control { mode = 0888 }\nmetrics { file = \"/\\x01\" }",
			     "t:1: control.mode: \"0888\" is not an octal mode like 0660\n"
			     "t:2: metrics.file: control character in \"/\\x01\"\n");
}

static void test_bad_multipath(void **state)
{
	(void)state;
	settings_expect_text(
		"listen = {\"mptcp:*:7\", \"*:7\", \"mptcp:unix:/x\", \"mptcp:\", \"mptcp:a:7\",\n"
		"\"mptcp:udp:*:8\", \"udp:mptcp:*:8\", \"mptcp:mptcp:*:9\"}",
		"t:1: listen: \"*:7\" is listed twice\n"
		"t:1: listen: \"mptcp:unix:/x\": a Unix socket has no MPTCP\n"
		"t:1: listen: \"mptcp:\": host missing (* means every address)\n"
		"t:1: listen: \"mptcp:a:7\": host names are not looked up, write the address\n"
		"t:2: listen: \"mptcp:udp:*:8\": UDP has no MPTCP\n"
		"t:2: listen: \"udp:mptcp:*:8\": UDP has no MPTCP\n"
		"t:2: listen: \"mptcp:mptcp:*:9\": too many colons (an IPv6 address with a port "
		"needs brackets)\n");
}

static void test_bad_lists(void **state)
{
	(void)state;
	settings_write("empty", "# listen\nlisten =\n\t{}\n");
	settings_expect_text(
		"listen = {\"localhost:7\", \"localhost\",\n"
		"\"localhost:7\", '::1',\n"
		"unix:relative, \"echo.example:7\", \"127.1:7\"}\n"
		"access { allow = {10.0.0.1/8, 10.0.0.0/8}\n"
		"deny = {\"x\\n\"} }\n",
		"t:1: listen: \"localhost\": port missing\n"
		"t:2: listen: \"localhost:7\" is listed twice\n"
		"t:2: listen: \"::1\": port missing\n"
		"t:3: listen: \"unix:relative\": the path of a Unix socket must begin with /\n"
		"t:3: listen: \"echo.example:7\": host names are not looked up, write the address\n"
		"t:3: listen: \"127.1:7\": host names are not looked up, write the address\n"
		"t:4: access.allow: \"10.0.0.1/8\": bits are set beyond the prefix length\n"
		"t:5: access.deny: \"x\\x0a\": not an IPv4 or IPv6 address\n");
	settings_expect_text("\nlisten = {}\n# listen = {}", "t: listen: is empty\n");
	settings_expect_text("listen = {\"localhost:1\"}\ninclude('empty')\nfoo = 1",
			     "t: listen: is empty\nt:3: foo: unknown key\n");
	settings_expect_text("listen = {\"[::ffff:127.0.0.1]:7\"}", "t:1: listen: "
			     "\"[::ffff:127.0.0.1]:7\": write an IPv4 address as such\n");
	settings_expect_text(
		"listen = {\"*:7\", \"localhost:7\", \"0.0.0.0:7\", \"[::]:7\",\n"
		"\"[::1]:8\", \"*:8\", \"localhost:8\",\n"
		"\"0.0.0.0:9\", \"[::1]:9\", \"localhost:9\",\n"
		"\"*:0\", \"localhost:0\", \"unix:/x\", \"127.0.0.1:7\",\n"
		"\"[0:0::1]:8\", \"unix:/x\", \"*:0\", \"[::1]:7\"}",
		"t:1: listen: \"localhost:7\" overlaps with \"*:7\"\n"
		"t:2: listen: \"*:8\" overlaps with \"[::1]:8\"\n"
		"t:3: listen: \"localhost:9\" overlaps with \"0.0.0.0:9\"\n"
		"t:4: listen: \"127.0.0.1:7\" overlaps with \"*:7\"\n"
		"t:5: listen: \"[0:0::1]:8\" is listed twice\n"
		"t:5: listen: \"unix:/x\" is listed twice\n"
		"t:5: listen: \"[::1]:7\" overlaps with \"*:7\"\n");
	settings_expect_text(
		"listen = {\"[fe80::1]:7\", \"[fe80::1%lo]:7\", \"[fe80::1%none]:7\",\n"
		"\"[::1%lo]:7\"}",
		"t:1: listen: \"[fe80::1]:7\": a link-local address needs its interface, as in "
		"[fe80::1%eth0]:7\n"
		"t:2: listen: \"[::1%lo]:7\": only a link-local address has an interface\n");
	settings_expect_text("access { allow = {10.0.0.0/8, ::/0}\ndeny = {192.0.2.7,\n::/0} }",
			     "t:3: access.deny: the same prefix is in allow\n");
	/* whatever else is wrong */
	settings_expect_text("access { allow = {x, 10.0.0.0/8, ::/0} "
			     "deny = {y, 10.0.0.0/8,\n::/0}\n"
			     "alow = {} }",
			     "t:1: access.allow: \"x\": not an IPv4 or IPv6 address\n"
			     "t:1: access.deny: \"y\": not an IPv4 or IPv6 address\n"
			     "t:1: access.deny: the same prefix is in allow\n"
			     "t:2: access.deny: the same prefix is in allow\n"
			     "t:3: access.alow: unknown key\n");
}

static void test_bad_udp(void **state)
{
	(void)state;
	settings_expect_text(
		"listen = {\"udp:[::1]:7\", \"[::1]:7\", \"udp:unix:/x\", \"udp:127.0.0.9:7\",\n"
		"\"udp:localhost:7\", \"udp:127.0.0.9:7\", \"udp:*:8\", \"udp:192.0.2.1:7\"}\n"
		"udp { rate-burst = 0\ntos = \"max\" }",
		"t:1: listen: \"udp:unix:/x\": a Unix socket is no UDP port\n"
		"t:2: listen: \"udp:127.0.0.9:7\" is listed twice\n"
		"t:2: listen: \"udp:*:8\": UDP beyond loopback needs access { allow }; "
		"{\"0.0.0.0/0\", \"::/0\"} is everybody\n"
		"t:2: listen: \"udp:192.0.2.1:7\": UDP beyond loopback needs access { allow }; "
		"{\"0.0.0.0/0\", \"::/0\"} is everybody\n"
		"t:3: udp.rate-burst: must not be 0 with rate-per-source\n"
		"t:4: udp.tos: \"max\" is none of mirror, zero\n");
}

static void test_too_many(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	(void)state;
	fputs("listen = {", stream);
	for (int i = 0; i < 66; i++)
		fprintf(stream, "127.0.0.1:%d,\n", i + 1);
	fputs("}\naccess { allow = {", stream);
	for (int i = 0; i < 4097; i++)
		fprintf(stream, "10.0.%d.%d,\n", i / 256, i % 256);
	fputs("} }", stream);
	fclose(stream);
	settings_expect_text(text, "t:65: listen: more than 64 addresses\n"
				   "t:4164: access.allow: more than 4096 prefixes\n");
	free(text);
}

/* localhost is two of them, * is one. */
static void test_too_many_sockets(void **state)
{
	char text[2000] = "listen = {\"*:0\"";

	(void)state;
	for (int i = 0; i < 31; i++)
		strcat(text, ", \"localhost:0\"");
	strcat(text, ", \"*:0\"");
	settings_expect_text(strcat(text, "\n,\"localhost:0\", \"localhost:0\"}"),
			     "t:2: listen: more than 64 addresses\n");
}

static void test_override(void **state)
{
	char words[][16] = { "127.0.0.1:0", "unix:/x", "a", "*:7", "*:7" };
	char *good[] = { words[0], words[1] };
	char *bad[] = { words[2], words[3], words[4] };
	CONFIGURATION *c = NULL;

	(void)state;
	assert_int_equal(configuration_default(&c), 0);
	assert_int_equal(configuration_override_listen(c, good, 2, settings_collect, NULL), 0);
	assert_int_equal(c->listen_count, 2);
	assert_true(c->listen_is_set);
	assert_string_equal(c->listen[1].spec.host, "/x");
	assert_int_equal(configuration_override_listen(c, bad, 3, settings_collect, NULL),
			 -EBADMSG);
	assert_string_equal(settings_collected(), "-l: \"a\": port missing\n"
						  "-l: \"*:7\" is listed twice\n");
	assert_int_equal(configuration_level("err"), LOG_ERR);
	assert_int_equal(configuration_level("loud"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_print_default),
		cmocka_unit_test(test_shipped_file),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_bad_numbers),
		cmocka_unit_test(test_bad_durations),
		cmocka_unit_test(test_bad_words),
		cmocka_unit_test(test_bad_multipath),
		cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_bad_udp),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_too_many_sockets),
		cmocka_unit_test(test_override),
	};

	return cmocka_run_group_tests_name("configuration", tests, settings_enter, settings_leave);
}
