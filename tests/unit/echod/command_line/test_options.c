/* SPDX-License-Identifier: MIT */
/* The command line of echod. What it prints is tested with the built program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <syslog.h>

#include "echod/command_line/options.h"
#include "unit/settings_file.h"

/* Parses words between blanks, at most 15. */
static int parse(const char *line, struct options *options)
{
	static char copy[256];
	char *argv[16] = { 0 };
	int argc = 0;

	strcpy(copy, line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	optind = 0;	/* glibc: begin anew, getopt(3) */
	opterr = 0;
	return options_parse(argc, argv, options);
}

static void test_none(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(parse("echod", &options), 0);
	assert_non_null(strstr(options.configuration_path, "/echod.conf"));
	assert_int_equal(options.listen_count, 0);
	assert_int_equal(options.log_level, -1);
	assert_int_equal(options.mode, OPTIONS_RUN);
	assert_false(options.inetd);
	options_release(&options);
}

static void test_all(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(parse("echod -c x -l [::1]:1 --listen=*:2 -L debug -t --test",
			       &options), 0);
	assert_string_equal(options.configuration_path, "x");
	assert_int_equal(options.listen_count, 2);
	assert_string_equal(options.listen[1], "*:2");
	assert_int_equal(options.log_level, LOG_DEBUG);
	assert_int_equal(options.mode, OPTIONS_TEST);
	options_release(&options);

	assert_int_equal(parse("echod --print-config --config y --log-level err -i", &options), 0);
	assert_int_equal(options.mode, OPTIONS_PRINT);
	assert_true(options.inetd);
	options_release(&options);
}

static void test_usage_errors(void **state)
{
	static const char *const lines[] = {
		"echod -x", "echod -c", "echod operand", "echod -t -T", "echod -L loud",
		"echod -i -l a:1", "echod --lis", "echod -l a:1 --test=yes",
		"echod -l b", "echod -l a:1 -l a:1", "echod -l ''",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct options options = { .log_level = 4711 };
		int r = parse(lines[i], &options);

		/* "--lis" is short for --listen, which lacks its argument. */
		assert_int_equal(r, -EINVAL);
		assert_int_equal(options.log_level, 4711);
	}
}

static void test_load(void **state)
{
	struct configuration *c = NULL;
	struct options options;

	(void)state;
	settings_write("good", "listen = {\"127.0.0.1:1\"}\nlog { level = err }");
	settings_write("bad", "limits { connections = 0 }");
	assert_int_equal(parse("echod -c good -l *:2 -l [::1]:3 -L debug", &options), 0);
	assert_int_equal(options_load(&options, -1, NULL, settings_collect, NULL, &c, NULL), 0);
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listen[0].text, "*:2");
	assert_int_equal(c->log.level, LOG_DEBUG);
	configuration_free(c);
	options_release(&options);

	c = NULL;
	assert_int_equal(parse("echod -c bad -l *:2", &options), 0);
	assert_int_equal(options_load(&options, -1, NULL, settings_collect, NULL, &c, NULL),
			 -EBADMSG);
	assert_null(c);
	assert_string_equal(settings_collected(),
			    "bad:1: limits.connections: \"0\" is not in 1-100000\n");
	options_release(&options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_usage_errors),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests_name("options", tests, settings_enter, settings_leave);
}
