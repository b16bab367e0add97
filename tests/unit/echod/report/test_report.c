/* SPDX-License-Identifier: MIT */
/* Each line of the report exactly, and its rate limit under a clock of the test's own. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/log/log.h"
#include "echod/report/report.h"
#include "unit/capture.h"

#define SECOND 1000000000ull
#define START (1000 * SECOND)

struct fixture {
	struct capture capture;
	struct configuration configuration;
	struct report report;
};

static int set_up(void **state)
{
	static struct fixture fixture;

	fixture.configuration = (struct configuration){
		.limits = {.connections = 1024},
		.log = {.connections = LOG_CONNECTIONS_CLOSE, .max_per_second = 3},
	};
	log_set_level(LOG_INFO);
	capture_start(&fixture.capture, LOG_TARGET_SYSLOG);
	fixture.report = (struct report){0};
	report_configure(&fixture.report, &fixture.configuration);
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	capture_end(&fixture->capture);
	return 0;
}

static struct event make_event(uint32_t type, uint16_t reason)
{
	return (struct event){
		.type = type,
		.reason = reason,
		.start_ns = 7 * SECOND,
		.end_ns = 8 * SECOND + SECOND / 4,
		.bytes_in = 1048576,
		.bytes_out = 1048576,
		.pid = 4711,
		.cpu_us = 10999,
		.rtt_us = 412,
		.peer = {.family = ENDPOINT_INET, .port = 51812, .address = {192, 0, 2, 7}},
		.local = {.family = ENDPOINT_INET, .port = 7, .address = {192, 0, 2, 1}},
	};
}

#define HEAD "peer=192.0.2.7:51812 local=192.0.2.1:7"
#define BODY " worker=4711 bytes-in=1048576 bytes-out=1048576 duration=1.250s cpu=0.010s"

/* Reports the event and compares the one line that comes of it; NULL: none. */
static void assert_line(struct fixture *fixture, const struct event *event, int priority,
			const char *expected)
{
	const char *line;
	int actual_priority;

	report_event(&fixture->report, event, NULL, START);
	line = capture_line(&fixture->capture, &actual_priority);
	if (!expected) {
		assert_null(line);
		return;
	}
	assert_non_null(line);
	assert_string_equal(line, expected);
	assert_int_equal(actual_priority, priority);
	assert_null(capture_raw(&fixture->capture));
}

static void set_max_per_second(struct fixture *fixture, uint32_t most)
{
	fixture->configuration.log.max_per_second = most;
	report_configure(&fixture->report, &fixture->configuration);
}

static void test_closed(void **state)
{
	struct event event = make_event(EVENT_CLOSED, END_FIN);

	assert_line(*state, &event, LOG_INFO,
		    "closed " HEAD BODY " end=fin rtt=0.412ms retransmits=0");
	event.reason = END_RESET;
	event.rtt_us = 0;
	event.retransmits = 3;
	assert_line(*state, &event, LOG_INFO, "closed " HEAD BODY " end=reset retransmits=3");
}

static void test_closed_faults(void **state)
{
	struct event event = make_event(EVENT_CLOSED, END_CRASHED);

	set_max_per_second(*state, 0);
	event.rtt_us = 0;
	event.status = SIGSEGV;
	assert_line(*state, &event, LOG_ERR,
		    "closed " HEAD BODY " end=crashed signal=SEGV retransmits=0");
	event.status = SIGSYS;
	assert_line(*state, &event, LOG_ERR,
		    "closed " HEAD BODY
		    " end=crashed signal=SYS cause=\"forbidden system call\" retransmits=0");
	event.reason = END_KILLED;
	event.status = SIGKILL;
	assert_line(*state, &event, LOG_WARNING,
		    "closed " HEAD BODY " end=killed signal=KILL retransmits=0");
	event.status = END_KILLED << 8;
	assert_line(*state, &event, LOG_INFO, "closed " HEAD BODY " end=killed retransmits=0");
	event.reason = END_ERROR;
	event.status = END_ERROR << 8;
	event.detail = EIO;
	assert_line(*state, &event, LOG_WARNING,
		    "closed " HEAD BODY
		    " end=error errno=EIO error=\"Input/output error\" retransmits=0");
}

static void test_empty_is_debug(void **state)
{
	struct event event = make_event(EVENT_CLOSED, END_FIN);

	event.bytes_in = event.bytes_out = 0;
	assert_line(*state, &event, 0, NULL);
	event.reason = END_RESET;
	assert_line(*state, &event, 0, NULL);
	event.reason = END_IDLE;
	event.rtt_us = 0;
	assert_line(*state, &event, LOG_INFO,
		    "closed " HEAD " worker=4711 bytes-in=0 bytes-out=0 duration=1.250s cpu=0.010s"
		    " end=idle retransmits=0");
	log_set_level(LOG_DEBUG);
	event.reason = END_FIN;
	assert_line(*state, &event, LOG_DEBUG,
		    "closed " HEAD " worker=4711 bytes-in=0 bytes-out=0 duration=1.250s cpu=0.010s"
		    " end=fin retransmits=0");
}

static void test_families(void **state)
{
	struct fixture *fixture = *state;
	struct event event = make_event(EVENT_REFUSED, REFUSE_PER_SOURCE);
	pid_t pid = 123;
	uid_t uid = 0;

	set_max_per_second(*state, 0);
	assert_line(*state, &event, LOG_INFO, "refused " HEAD " reason=connections-per-source");
	event.peer = (struct endpoint){.family = ENDPOINT_INET6, .port = 9, .scope = 0,
				       .address = {0x20, 1, 0xd, 0xb8, [15] = 1}};
	event.local = (struct endpoint){.family = ENDPOINT_NONE};
	assert_line(*state, &event, LOG_INFO,
		    "refused peer=[2001:db8::1]:9 local=unknown reason=connections-per-source");

	event.via = event.peer;
	event.peer = (struct endpoint){.family = ENDPOINT_INET, .address = {192, 0, 2, 7}};
	assert_line(*state, &event, LOG_INFO, "refused peer=192.0.2.7:0 via=[2001:db8::1]:9 "
		    "local=unknown reason=connections-per-source");

	event.is_multipath = 1;
	assert_line(*state, &event, LOG_INFO, "refused peer=192.0.2.7:0 via=[2001:db8::1]:9 "
		    "local=unknown mptcp=yes reason=connections-per-source");
	event.is_multipath = 0;
	event.unique_id = (struct unique_id){.size = 4, .bytes = "\0\"\n "};
	assert_line(*state, &event, LOG_INFO, "refused peer=192.0.2.7:0 via=[2001:db8::1]:9 "
		    "unique-id=\"\\x00\\x22\\x0a \" local=unknown "
		    "reason=connections-per-source");

	event = make_event(EVENT_CLOSED, END_FIN);
	event.peer = (struct endpoint){.family = ENDPOINT_UNIX};
	memcpy(event.peer.address, &pid, sizeof(pid));
	memcpy(event.peer.address + sizeof(pid), &uid, sizeof(uid));
	event.local = event.peer;
	report_event(&fixture->report, &event, "/run/echo socket", START);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "closed peer=unix:pid=123,uid=0 local=\"unix:/run/echo socket\"" BODY
			    " end=fin");
	event.via = event.peer;
	event.peer = (struct endpoint){.family = ENDPOINT_INET, .address = {192, 0, 2, 7}};
	report_event(&fixture->report, &event, "/run/echo", START);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "closed peer=192.0.2.7:0 via=unix:pid=123,uid=0 local=unix:/run/echo"
			    BODY " end=fin");
}

static void test_nonsense(void **state)
{
	struct event event;

	set_max_per_second(*state, 0);
	memset(&event, 0xff, sizeof(event));
	event.type = EVENT_CLOSED;
	event.start_ns = UINT64_MAX;
	event.end_ns = 0;
	event.status = 0;
	assert_line(*state, &event, LOG_WARNING,
		    "closed peer=unknown via=unknown local=unknown mptcp=yes worker=-1 "
		    "bytes-in=18446744073709551615 bytes-out=18446744073709551615 duration=0.000s cpu=4294.967s end=unknown "
		    "rtt=4294967.295ms retransmits=4294967295");
	event.type = EVENT_REFUSED;
	assert_line(*state, &event, LOG_INFO,
		    "refused peer=unknown via=unknown local=unknown mptcp=yes reason=unknown");
	event.type = 77;
	assert_line(*state, &event, 0, NULL);
}

static void test_connections_setting(void **state)
{
	struct fixture *fixture = *state;
	struct event event = make_event(EVENT_OPENED, 0);

	assert_line(fixture, &event, 0, NULL);
	fixture->configuration.log.connections = LOG_CONNECTIONS_ALL;
	report_configure(&fixture->report, &fixture->configuration);
	assert_line(fixture, &event, LOG_INFO, "opened " HEAD " worker=4711");
	fixture->configuration.log.connections = LOG_CONNECTIONS_NONE;
	report_configure(&fixture->report, &fixture->configuration);
	assert_line(fixture, &event, 0, NULL);
	event = make_event(EVENT_CLOSED, END_FIN);
	assert_line(fixture, &event, 0, NULL);
	event.reason = END_CRASHED;
	event.status = SIGABRT;
	assert_line(fixture, &event, LOG_ERR,
		    "closed " HEAD BODY " end=crashed signal=ABRT rtt=0.412ms retransmits=0");
}

static size_t count_lines(struct fixture *fixture, const char *beginning)
{
	size_t count = 0;
	const char *line;

	while ((line = capture_line(&fixture->capture, NULL))) {
		assert_int_equal(strncmp(line, beginning, strlen(beginning)), 0);
		count++;
	}
	return count;
}

static void test_rate_limit(void **state)
{
	struct fixture *fixture = *state;
	struct event closed = make_event(EVENT_CLOSED, END_FIN);
	struct event crashed = make_event(EVENT_CLOSED, END_CRASHED);

	assert_int_equal(report_flush(&fixture->report, START), UINT64_MAX);
	for (int i = 0; i < 10; i++)
		report_event(&fixture->report, &closed, NULL, START + (uint64_t)i);
	assert_int_equal(count_lines(fixture, "closed "), 3);
	assert_int_equal(fixture->report.suppressed, 7);

	crashed.status = SIGSEGV;	/* a crash is not hidden by the flood */
	report_event(&fixture->report, &crashed, NULL, START + 10);
	assert_int_equal(count_lines(fixture, "closed "), 1);

	assert_int_equal(report_flush(&fixture->report, START + 20), START + SECOND);
	report_flush(&fixture->report, START + SECOND - 1);
	assert_null(capture_raw(&fixture->capture));
	assert_int_equal(report_flush(&fixture->report, START + SECOND), UINT64_MAX);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "suppressed what=connections lines=7 duration=1.000s");
	assert_null(capture_raw(&fixture->capture));

	/* without a timer the next event sees that the window is over */
	for (int i = 0; i < 5; i++)
		report_event(&fixture->report, &closed, NULL, START + SECOND);
	assert_int_equal(count_lines(fixture, "closed "), 3);
	report_event(&fixture->report, &closed, NULL, START + 3 * SECOND);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "suppressed what=connections lines=2 duration=2.000s");
	assert_int_equal(count_lines(fixture, "closed "), 1);
}

static void test_crash_storm(void **state)
{
	struct fixture *fixture = *state;
	struct event crashed = make_event(EVENT_CLOSED, END_CRASHED);

	crashed.status = SIGSEGV;
	for (int i = 0; i < 1000; i++)
		report_event(&fixture->report, &crashed, NULL, START);
	assert_int_equal(count_lines(fixture, "closed "), 20);
	report_flush(&fixture->report, START + SECOND);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "suppressed what=crashes lines=980 duration=1.000s");
}

/* Lines below the level neither fill the window nor count as left out. */
static void test_level_before_rate(void **state)
{
	struct fixture *fixture = *state;
	struct event event = make_event(EVENT_CLOSED, END_FIN);

	event.bytes_in = event.bytes_out = 0;
	for (int i = 0; i < 100; i++)
		report_event(&fixture->report, &event, NULL, START);
	assert_int_equal(fixture->report.suppressed, 0);
	event.bytes_in = 1;
	report_event(&fixture->report, &event, NULL, START);
	assert_int_equal(count_lines(fixture, "closed "), 1);
}

static void test_starved(void **state)
{
	struct fixture *fixture = *state;
	struct event event = {.type = EVENT_STARVED, .detail = EMFILE, .count = 2};
	int priority;

	report_event(&fixture->report, &event, NULL, START);
	assert_string_equal(capture_line(&fixture->capture, &priority),
			    "starved errno=EMFILE error=\"Too many open files\" count=2");
	assert_int_equal(priority, LOG_WARNING);
	for (int i = 0; i < 100; i++)
		report_event(&fixture->report, &event, NULL, START + SECOND);
	assert_null(capture_raw(&fixture->capture));
	event.detail = ENFILE;	/* another cause has a window of its own */
	report_event(&fixture->report, &event, NULL, START + 5 * SECOND);
	assert_int_equal(count_lines(fixture, "starved errno=ENFILE "), 1);
	assert_int_equal(report_flush(&fixture->report, START + 9 * SECOND), START + 10 * SECOND);
	assert_int_equal(report_flush(&fixture->report, START + 10 * SECOND), UINT64_MAX);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "starved errno=EMFILE error=\"Too many open files\" count=200 "
			    "duration=10.000s");
	assert_null(capture_raw(&fixture->capture));
	assert_int_equal(report_flush(&fixture->report, START + 100 * SECOND), UINT64_MAX);
	assert_null(capture_raw(&fixture->capture));
}

/* More causes than places, nonsense among them: bounded, and each window still ends. */
static void test_starved_kinds(void **state)
{
	struct fixture *fixture = *state;
	struct event event = {.type = EVENT_STARVED, .count = 1};

	for (uint32_t i = 0; i < 1000; i++) {
		event.detail = i * 4294967;
		report_event(&fixture->report, &event, NULL, START);
	}
	assert_int_equal(count_lines(fixture, "starved "), 8);
	report_flush(&fixture->report, START + 10 * SECOND);
	assert_int_equal(count_lines(fixture, "starved "), 1);
}

static void test_limit(void **state)
{
	struct fixture *fixture = *state;
	struct event event = {.type = EVENT_LIMIT, .detail = 3, .count = 1};
	int priority;

	report_event(&fixture->report, &event, NULL, START);
	assert_string_equal(capture_line(&fixture->capture, &priority),
			    "limit connections=3 state=reached");
	assert_int_equal(priority, LOG_WARNING);
	for (int i = 0; i < 6; i++) {
		event.count = (uint32_t)i % 2;
		report_event(&fixture->report, &event, NULL, START + 1);
	}
	event.count = 0;
	report_event(&fixture->report, &event, NULL, START + 1);
	assert_null(capture_raw(&fixture->capture));
	report_flush(&fixture->report, START + 10 * SECOND);
	assert_string_equal(capture_line(&fixture->capture, &priority),
			    "limit connections=3 state=left count=7 duration=10.000s");
	assert_int_equal(priority, LOG_NOTICE);
}

static void assert_next(struct fixture *fixture, int priority, const char *expected)
{
	int found = -1;
	const char *line = expected ? capture_line(&fixture->capture, &found) :
				      capture_raw(&fixture->capture);

	if (!expected) {
		assert_null(line);
		return;
	}
	assert_non_null(line);
	assert_string_equal(line, expected);
	assert_int_equal(found, priority);
}

/* Counts are told once: traffic every minute, drops every ten seconds, the rest at the end. */
static void test_datagrams(void **state)
{
	static struct datagrams datagrams;
	struct report_datagrams said = {0};
	struct datagram_counters *socket = &datagrams.sockets[1];
	struct datagram_drop *last = &datagrams.last[DROP_PORT];

	datagrams = (struct datagrams){0};
	socket->local = make_event(0, 0).local;
	last->peer = make_event(0, 0).peer;
	socket->received = 5;
	socket->bytes_in = 50;
	socket->sent = 3;
	socket->bytes_out = 30;
	socket->dropped[DROP_PORT] = 2;
	report_datagrams(&said, &datagrams, false, START);
	assert_next(*state, LOG_NOTICE, "dropped peer=192.0.2.7:51812 reason=port protocol=udp "
		    "count=2");
	assert_next(*state, 0, NULL);
	socket->received = 6;
	socket->dropped[DROP_PORT] = 3;
	report_datagrams(&said, &datagrams, false, START + 9 * SECOND);
	assert_next(*state, 0, NULL);
	/* its writer has stopped in the middle */
	last->sequence = 1;
	report_datagrams(&said, &datagrams, false, START + 10 * SECOND);
	assert_next(*state, LOG_NOTICE, "dropped peer=unknown reason=port protocol=udp count=1");
	report_datagrams(&said, &datagrams, false, START + 60 * SECOND);
	assert_next(*state, LOG_INFO, "datagrams local=udp:192.0.2.1:7 in=6 out=3 bytes-in=50 "
		    "bytes-out=30 dropped=3");
	report_datagrams(&said, &datagrams, true, START + 61 * SECOND);
	assert_next(*state, 0, NULL);
	socket->received = 7;
	socket->dropped[DROP_PORT] = 4;
	report_datagrams(&said, &datagrams, true, START + 62 * SECOND);
	assert_next(*state, LOG_NOTICE, "dropped peer=unknown reason=port protocol=udp count=1");
	assert_next(*state, LOG_INFO, "datagrams local=udp:192.0.2.1:7 in=1 out=0 bytes-in=0 "
		    "bytes-out=0 dropped=1");
	/* the rest of ten seconds at the end, what another program has told not at all */
	socket->dropped[DROP_PORT] = 5;
	report_datagrams(&said, &datagrams, true, START + 63 * SECOND);
	assert_next(*state, LOG_NOTICE, "dropped peer=unknown reason=port protocol=udp count=1");
	assert_next(*state, 0, NULL);
	socket->received = 8;
	socket->dropped[DROP_PORT] = 6;
	report_datagrams_skip(&said, &datagrams);
	report_datagrams(&said, &datagrams, true, START + 64 * SECOND);
	assert_next(*state, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closed_faults, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_empty_is_debug, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_families, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nonsense, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_connections_setting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rate_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_crash_storm, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_level_before_rate, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_starved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_starved_kinds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_datagrams, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
