/* SPDX-License-Identifier: MIT */
/* Escaping, quoting, cutting; the three forms of a line; the queue before a sink. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echod/log/encode.h"
#include "echod/log/queue.h"
#include "echod/log/text.h"

static void assert_escaped(const char *value, const char *expected)
{
	struct log_text text = {};

	log_text_append(&text, value);
	assert_string_equal(text.bytes, expected);
	assert_int_equal(text.size, strlen(expected));
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
	struct log_field fields[] = {
		{"peer", "192.0.2.7:51812"}, {"text", "two words"}, {"quote", "a\"b"},
		{"none", ""},		     {"back", "a\\b"},	    {"line", "a\nb"},
	};
	struct log_text text = {};

	(void)state;
	log_text_append_fields(&text, "closed", fields, 6);
	assert_string_equal(text.bytes, "closed peer=192.0.2.7:51812 text=\"two words\" "
					"quote=\"a\\x22b\" none=\"\" back=a\\x5cb line=a\\x0ab");
}

static void test_cut(void **state)
{
	char *value = malloc(10001);
	struct log_text text = {};

	(void)state;
	memset(value, '\x01', 10000);
	value[10000] = '\0';
	log_text_append(&text, value);
	log_text_append(&text, "more");
	assert_true(text.size <= LOG_TEXT_MAX);
	assert_true(text.size > LOG_TEXT_MAX - 8);
	assert_int_equal((text.size - 3) % 4, 0);	/* no escape is cut in two */
	assert_string_equal(text.bytes + text.size - 7, "\\x01...");
	free(value);
}

static struct log_record make_record(struct log_text *text)
{
	return (struct log_record){.priority = LOG_ERR, .facility = LOG_DAEMON, .pid = 4711,
				   .time = 1000000000, .text = text};
}

static void test_stderr(void **state)
{
	char bytes[LOG_DATAGRAM_MAX];
	struct log_text text = {};
	struct log_record record = make_record(&text);

	(void)state;
	log_text_append(&text, "one line");
	assert_int_equal(log_encode_stderr(&record, false, bytes), strlen("echod: one line\n"));
	assert_string_equal(bytes, "echod: one line\n");
	log_encode_stderr(&record, true, bytes);
	assert_string_equal(bytes, "<3>one line\n");
	while (!text.is_full)
		log_text_append(&text, "one line");
	assert_true(log_encode_stderr(&record, false, bytes) <= 4096);	/* PIPE_BUF */
}

static void test_syslog(void **state)
{
	char bytes[LOG_DATAGRAM_MAX];
	struct log_text text = {};
	struct log_record record = make_record(&text);

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	log_text_append(&text, "one line");
	log_encode_syslog(&record, bytes);
	assert_string_equal(bytes, "<27>Sep  9 01:46:40 echod[4711]: one line");
}

static void test_journal(void **state)
{
	char bytes[LOG_DATAGRAM_MAX];
	struct log_field fields[] = {{"peer", "unix:pid=1,uid=0"}, {"bytes-in", "17"},
				     {"text", "a\nPRIORITY=0"}};
	struct log_text text = {};
	struct log_record record = make_record(&text);
	size_t size;

	(void)state;
	record.word = "closed";
	record.fields = fields;
	record.field_count = 3;
	log_text_append_fields(&text, record.word, fields, 3);
	size = log_encode_journal(&record, bytes);
	assert_string_equal(bytes,
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
	assert_int_equal(size, strlen(bytes));
}

static void test_journal_plain(void **state)
{
	char bytes[LOG_DATAGRAM_MAX];
	struct log_text text = {};
	struct log_record record = make_record(&text);

	(void)state;
	record.error = 2;
	log_text_append(&text, "gone");
	log_encode_journal(&record, bytes);
	assert_string_equal(bytes, "MESSAGE=gone\nPRIORITY=3\nSYSLOG_FACILITY=3\n"
				   "SYSLOG_IDENTIFIER=echod\nSYSLOG_PID=4711\nERRNO=2\n");
}

/* Twenty values of the longest kind do not fit: whole fields are left out, the rest is sound. */
static void test_journal_overflow(void **state)
{
	static char value[LOG_TEXT_MAX];
	char bytes[LOG_DATAGRAM_MAX];
	struct log_field fields[20];
	struct log_text text = {};
	struct log_record record = make_record(&text);
	size_t size, at = 0;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	for (size_t i = 0; i < 20; i++)
		fields[i] = (struct log_field){"long", value};
	record.word = "x";
	record.fields = fields;
	record.field_count = 20;
	log_text_append_fields(&text, "x", fields, 20);
	size = log_encode_journal(&record, bytes);
	assert_true(size < LOG_DATAGRAM_MAX);
	assert_int_equal(bytes[size - 1], '\n');
	while (at < size) {
		size_t length = (size_t)((char *)memchr(bytes + at, '\n', size - at) - bytes) - at;

		assert_non_null(memchr(bytes + at, '=', length));
		at += length + 1;
	}
}

static void test_queue(void **state)
{
	static struct log_queue queue;
	static char line[1000];
	const char *first;
	size_t size, put = 0, taken = 0;

	(void)state;
	assert_null(log_queue_first(&queue, &size));
	log_queue_drop(&queue);
	while (put < 10000) {
		memset(line, (int)(put % 251), sizeof(line));
		if (log_queue_put(&queue, line, 1 + put % sizeof(line))) {
			put++;
			continue;
		}
		first = log_queue_first(&queue, &size);
		assert_non_null(first);
		assert_int_equal(size, 1 + taken % sizeof(line));
		assert_int_equal((unsigned char)first[size - 1], taken % 251);
		log_queue_drop(&queue);
		taken++;
	}
	assert_true(taken > 0);
	assert_int_equal(queue.count, put - taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),	     cmocka_unit_test(test_fields),
		cmocka_unit_test(test_cut),	     cmocka_unit_test(test_stderr),
		cmocka_unit_test(test_syslog),	     cmocka_unit_test(test_journal),
		cmocka_unit_test(test_journal_plain), cmocka_unit_test(test_journal_overflow),
		cmocka_unit_test(test_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
