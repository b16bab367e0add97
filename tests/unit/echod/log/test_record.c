/* SPDX-License-Identifier: MIT */
/* Escaping, quoting, cutting; the three forms of a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "echod/log/log.h"

static void begin(struct log_record *record, const char *word)
{
	log_record_begin(record, LOG_ERR, word);
	record->facility = LOG_DAEMON;
	record->pid = 4711;
	record->time = 1000000000;
}

static void assert_escaped(const char *value, const char *expected)
{
	struct log_record record;

	begin(&record, NULL);
	log_record_text(&record, value);
	assert_string_equal(record.text.bytes, expected);
	assert_int_equal(record.text.size, strlen(expected));
}

static void test_escape(void **state)
{
	(void)state;
	assert_escaped("", "");
	assert_escaped("plain text, 100%", "plain text, 100%");
	assert_escaped("a\nb\r\tc\x1b[31m\x7f", "a\\x0ab\\x0d\\x09c\\x1b[31m\\x7f");
	assert_escaped("\xc2\x9b" "2J", "\\xc2\\x9b2J");	/* C1 CSI */
	assert_escaped("back\\slash", "back\\x5cslash");
	assert_escaped("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		       "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
	assert_escaped("\xff\xfe", "\\xff\\xfe");
	assert_escaped("\xc0\xaf", "\\xc0\\xaf");		/* overlong */
	assert_escaped("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
	assert_escaped("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf");
	assert_escaped("\xed\xa0\x80", "\\xed\\xa0\\x80");	/* surrogate */
	assert_escaped("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");	/* above U+10FFFF */
	assert_escaped("\xe2\x82", "\\xe2\\x82");		/* ends in the middle */
	assert_escaped("\xf0\x9f\x98", "\\xf0\\x9f\\x98");
	assert_escaped("\xc3", "\\xc3");
}

static void test_fields(void **state)
{
	struct log_record record;

	(void)state;
	begin(&record, "closed");
	log_record_add(&record, "peer", "%s:%d", "192.0.2.7", 51812);
	log_record_add(&record, "text", "two words");
	log_record_add(&record, "quote", "a\"b");
	log_record_add(&record, "none", "%s", "");
	log_record_add(&record, "back", "a\\b");
	log_record_add(&record, "line", "a\nb");
	assert_string_equal(record.text.bytes,
			    "closed peer=192.0.2.7:51812 text=\"two words\" quote=\"a\\x22b\" "
			    "none=\"\" back=a\\x5cb line=a\\x0ab");
}

static void test_errno(void **state)
{
	struct log_record record;

	(void)state;
	begin(&record, "starved");
	log_record_add_errno(&record, 24);
	log_record_add_errno(&record, 4000000000u);
	assert_string_equal(record.text.bytes, "starved errno=EMFILE error=\"Too many open files\" "
					       "errno=4000000000");
}

static void test_cut(void **state)
{
	char *value = malloc(10001);
	struct log_record record;
	const struct log_text *text = &record.text;

	(void)state;
	memset(value, '\x01', 10000);
	value[10000] = '\0';
	begin(&record, NULL);
	log_record_text(&record, value);
	log_record_text(&record, "more");
	assert_true(text->size <= LOG_TEXT_MAX);
	assert_true(text->size > LOG_TEXT_MAX - 8);
	assert_int_equal((text->size - 3) % 4, 0);	/* no escape is cut in two */
	assert_string_equal(text->bytes + text->size - 7, "\\x01...");
	free(value);
}

static void test_stderr(void **state)
{
	struct log_record record;
	char line[LOG_FORM_MAX];

	(void)state;
	begin(&record, NULL);
	log_record_text(&record, "one line");
	log_record_to_stderr(&record, false, line);
	assert_string_equal(line, "echod: one line\n");
	log_record_to_stderr(&record, true, line);
	assert_string_equal(line, "<3>one line\n");
	while (!record.text.is_full)
		log_record_text(&record, "one line");
	log_record_to_stderr(&record, false, line);
	assert_true(strlen(line) <= 4096);	/* PIPE_BUF */
}

static void test_syslog(void **state)
{
	struct log_record record;
	char line[LOG_FORM_MAX];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	begin(&record, NULL);
	log_record_text(&record, "one line");
	log_record_to_syslog(&record, line);
	assert_string_equal(line, "<27>Sep  9 01:46:40 echod[4711]: one line");
}

static void test_journal(void **state)
{
	struct log_record record;
	char line[LOG_FORM_MAX];

	(void)state;
	begin(&record, "closed");
	log_record_add(&record, "peer", "unix:pid=1,uid=0");
	log_record_add(&record, "bytes-in", "17");
	log_record_add(&record, "text", "a\nPRIORITY=0");
	log_record_to_journal(&record, line);
	assert_string_equal(line,
			    "MESSAGE=closed peer=unix:pid=1,uid=0 bytes-in=17 "
			    "text=a\\x0aPRIORITY=0\n"
			    "PRIORITY=3\n"
			    "SYSLOG_FACILITY=3\n"
			    "SYSLOG_IDENTIFIER=echod\n"
			    "SYSLOG_PID=4711\n"
			    "ECHOD_EVENT=closed\n"
			    "MESSAGE_ID=81c8e1d48ff948ac97c07b5493a15e5c\n"
			    "ECHOD_PEER=unix:pid=1,uid=0\n"
			    "ECHOD_BYTES_IN=17\n"
			    "ECHOD_TEXT=a\\x0aPRIORITY=0\n");
}

static void test_journal_plain(void **state)
{
	struct log_record record;
	char line[LOG_FORM_MAX];

	(void)state;
	begin(&record, NULL);
	log_record_text(&record, "gone: No such file or directory");
	log_record_number(&record, 2);
	log_record_to_journal(&record, line);
	assert_string_equal(line, "MESSAGE=gone: No such file or directory\nPRIORITY=3\n"
				  "SYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=echod\n"
				  "SYSLOG_PID=4711\nERRNO=2\n");
}

/* Twenty values of the longest kind do not fit: whole fields are left out, the rest is sound. */
static void test_journal_overflow(void **state)
{
	static char value[LOG_TEXT_MAX];
	struct log_record record;
	char line[LOG_FORM_MAX];
	size_t size, length, fields = 0;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	begin(&record, "x");
	for (size_t i = 0; i < 20; i++)
		log_record_add(&record, "long", "%s", value);
	log_record_to_journal(&record, line);
	size = strlen(line);
	assert_true(size < LOG_FORM_MAX - 1);
	assert_int_equal(line[size - 1], '\n');
	for (size_t at = 0; at < size; at += length + 1) {
		length = (size_t)((char *)memchr(line + at, '\n', size - at) - line) - at;
		assert_non_null(memchr(line + at, '=', length));
		if (strncmp(line + at, "ECHOD_LONG=", 11) == 0) {
			assert_int_equal(length, 11 + 1023);
			fields++;
		}
	}
	assert_true(fields > 1 && fields < 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),	     cmocka_unit_test(test_fields),
		cmocka_unit_test(test_errno),	     cmocka_unit_test(test_cut),
		cmocka_unit_test(test_stderr),	     cmocka_unit_test(test_syslog),
		cmocka_unit_test(test_journal),	     cmocka_unit_test(test_journal_plain),
		cmocka_unit_test(test_journal_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
