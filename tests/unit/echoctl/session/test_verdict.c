/* SPDX-License-Identifier: MIT */
/* From exchanges to verdicts and their words, and the patterns that they send. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/command_line/command.h"
#include "echoctl/session/halfclose.h"
#include "echoctl/probe/pattern.h"

static void test_each_end_has_its_verdict(void **state)
{
	static const struct {
		enum session_end end;
		const char *prompt;
		const char *held;
		int status;
	} rows[] = {
		{SESSION_OK, "ok", "ok", STATUS_OK},
		{SESSION_EARLY_EOF, "early-eof", "truncated", STATUS_FAILED},
		{SESSION_CORRUPT, "corrupt", "corrupt", STATUS_FAILED},
		{SESSION_EXCESS, "excess", "excess", STATUS_FAILED},
		{SESSION_RESET, "reset", "reset", STATUS_FAILED},
		{SESSION_STALL, "stall", "stall", STATUS_FAILED},
		{SESSION_NO_EOF, "fin-swallowed", "fin-swallowed", STATUS_FAILED},
		{SESSION_DEADLINE, "deadline", "deadline", STATUS_FAILED},
		{SESSION_INTERRUPTED, "interrupted", "interrupted", STATUS_FAILED},
		{SESSION_INPUT_FAILED, "local-error", "local-error", STATUS_LOCAL},
		{SESSION_OUTPUT_FAILED, "local-error", "local-error", STATUS_LOCAL},
		{SESSION_BROKEN, "local-error", "local-error", STATUS_LOCAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct session_result result = {.end = rows[i].end};

		assert_string_equal(verdict_name(&result, false), rows[i].prompt);
		assert_string_equal(verdict_name(&result, true), rows[i].held);
		assert_int_equal(session_status(&result), rows[i].status);
	}
}

static void check_culprit(const struct session_result *result, bool held,
			  const struct verdict_control *control, const char *words)
{
	char text[SESSION_TEXT_MAX];
	const char *culprit = verdict_culprit(result, held, control, text);

	assert_non_null(culprit);
	assert_non_null(strstr(culprit, words));
}

static void test_culprits(void **state)
{
	struct session_result result = {.end = SESSION_EARLY_EOF, .fin_ns = 1, .input_ended = true};
	const struct verdict_control good = {.bytes = 1024, .bytes_received = 1024};
	const struct verdict_control closed = {.error = -ENODATA, .bytes = 1024};
	const struct verdict_control silent = {.error = -ETIMEDOUT, .bytes = 1024};
	const struct verdict_control partly = {-ENODATA, 1024, 1000};
	char text[SESSION_TEXT_MAX];

	(void)state;
	check_culprit(&result, false, &good, "systemd-socket-proxyd");
	check_culprit(&result, true, &good, "socat");
	/* What fails without a FIN as well is not the FIN's fault. */
	check_culprit(&result, false, &closed, "an access list, a limit");
	check_culprit(&result, true, &silent, "nothing is echoed at all");
	check_culprit(&result, false, &partly, "1000 of 1024 bytes");
	result.end = SESSION_RESET;
	check_culprit(&result, false, &good, "sees a FIN");
	check_culprit(&result, true, &good, "half-closed");
	result.fin_ns = 0;
	check_culprit(&result, true, &good, "before the FIN");
	result.end = SESSION_EARLY_EOF;
	check_culprit(&result, false, &good, "before the FIN");
	result.end = SESSION_OK;
	assert_false(verdict_needs_control(&result));
	assert_null(verdict_culprit(&result, true, NULL, text));
}

static void check_words(const struct session_result *result, bool held, const char *words)
{
	char text[SESSION_TEXT_MAX];

	assert_string_equal(verdict_describe(result, held, text), words);
}

static void test_words(void **state)
{
	struct session_result result = {
		.end = SESSION_EARLY_EOF,
		.bytes_sent = 10,
		.bytes_received = 4,
	};

	(void)state;
	check_words(&result, false, "early EOF after 4 of 10 bytes");
	check_words(&result, true, "truncated at offset 4 of 10");
	result.end = SESSION_CORRUPT;
	result.difference = (struct inflight_difference){.offset = 3, .sent = 0x41, .got = 0x42};
	check_words(&result, false, "corrupt: differs at offset 3: sent 0x41, got 0x42");
	result.difference = (struct inflight_difference){.offset = 65536, .block_bytes = 65536};
	check_words(&result, true, "corrupt: differs within the 65536 bytes from offset 65536 on");
	result.end = SESSION_RESET;
	result.error = ECONNRESET;
	check_words(&result, false,
		    "reset: connection lost after 4 of 10 bytes: Connection reset by peer");
	result.end = SESSION_NO_EOF;
	result.bytes_received = 10;
	check_words(&result, false, "FIN swallowed: all 10 bytes came back, but no EOF");
}

static void test_patterns_do_not_depend_on_pieces(void **state)
{
	uint8_t whole[1000];
	uint8_t pieces[1000];

	(void)state;
	for (int pattern = 0; pattern < PATTERN_COUNT; pattern++) {
		pattern_fill((enum pattern)pattern, 5, whole, sizeof(whole));
		for (size_t at = 0; at < sizeof(pieces); at += 25)
			pattern_fill((enum pattern)pattern, 5 + at, pieces + at, 25);
		assert_memory_equal(whole, pieces, sizeof(whole));
		assert_int_equal(pattern_find(pattern_name((enum pattern)pattern)), pattern);
	}
	assert_int_equal(pattern_find("none"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_end_has_its_verdict),
		cmocka_unit_test(test_culprits),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_patterns_do_not_depend_on_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
