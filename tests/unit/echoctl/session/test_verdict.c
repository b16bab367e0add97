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
#include "echoctl/session/pattern.h"
#include "echoctl/session/verdict.h"

static void test_each_end_has_its_verdict(void **state)
{
	static const struct {
		enum session_end end;
		enum verdict prompt;
		enum verdict held;
		const char *word;
		int status;
	} rows[] = {
		{SESSION_OK, VERDICT_OK, VERDICT_OK, "ok", STATUS_OK},
		{SESSION_EARLY_EOF, VERDICT_EARLY_EOF, VERDICT_TRUNCATED, "early-eof",
		 STATUS_FAILED},
		{SESSION_CORRUPT, VERDICT_CORRUPT, VERDICT_CORRUPT, "corrupt", STATUS_FAILED},
		{SESSION_EXCESS, VERDICT_EXCESS, VERDICT_EXCESS, "excess", STATUS_FAILED},
		{SESSION_RESET, VERDICT_RESET, VERDICT_RESET, "reset", STATUS_FAILED},
		{SESSION_STALL, VERDICT_STALL, VERDICT_STALL, "stall", STATUS_FAILED},
		{SESSION_NO_EOF, VERDICT_FIN_SWALLOWED, VERDICT_FIN_SWALLOWED, "fin-swallowed",
		 STATUS_FAILED},
		{SESSION_INTERRUPTED, VERDICT_INTERRUPTED, VERDICT_INTERRUPTED, "interrupted",
		 STATUS_FAILED},
		{SESSION_INPUT_FAILED, VERDICT_LOCAL, VERDICT_LOCAL, "local-error", STATUS_LOCAL},
		{SESSION_OUTPUT_FAILED, VERDICT_LOCAL, VERDICT_LOCAL, "local-error", STATUS_LOCAL},
		{SESSION_BROKEN, VERDICT_LOCAL, VERDICT_LOCAL, "local-error", STATUS_LOCAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct session_result result = {.end = rows[i].end};

		assert_int_equal(verdict_judge(&result, false), rows[i].prompt);
		assert_int_equal(verdict_judge(&result, true), rows[i].held);
		assert_string_equal(verdict_name(rows[i].prompt), rows[i].word);
		assert_int_equal(session_status(&result), rows[i].status);
	}
}

static void test_culprits(void **state)
{
	struct session_result at_fin = {.end = SESSION_EARLY_EOF, .fin_ns = 1, .input_ended = true};
	struct session_result before_fin = {.end = SESSION_EARLY_EOF};

	(void)state;
	assert_non_null(strstr(verdict_culprit(VERDICT_EARLY_EOF, false, &at_fin),
			       "systemd-socket-proxyd"));
	assert_null(strstr(verdict_culprit(VERDICT_EARLY_EOF, false, &before_fin),
			   "systemd-socket-proxyd"));
	assert_non_null(strstr(verdict_culprit(VERDICT_RESET, false, &at_fin), "sees a FIN"));
	assert_non_null(strstr(verdict_culprit(VERDICT_RESET, true, &at_fin), "half-closed"));
	assert_non_null(strstr(verdict_culprit(VERDICT_RESET, true, &before_fin),
			       "before the FIN"));
	assert_non_null(strstr(verdict_culprit(VERDICT_TRUNCATED, true, &at_fin), "socat"));
	assert_null(verdict_culprit(VERDICT_OK, true, &at_fin));
}

static void check_words(enum verdict verdict, const struct session_result *result,
			const char *words)
{
	char text[SESSION_TEXT_MAX];

	assert_string_equal(verdict_describe(verdict, result, text), words);
}

static void test_words(void **state)
{
	struct session_result result = {
		.end = SESSION_EARLY_EOF,
		.bytes_sent = 10,
		.bytes_received = 4,
	};

	(void)state;
	check_words(VERDICT_EARLY_EOF, &result, "early EOF after 4 of 10 bytes");
	check_words(VERDICT_TRUNCATED, &result, "truncated at offset 4 of 10");
	result.end = SESSION_CORRUPT;
	result.difference = (struct inflight_difference){.offset = 3, .sent = 0x41, .got = 0x42};
	check_words(VERDICT_CORRUPT, &result,
		    "corrupt: differs at offset 3: sent 0x41, got 0x42");
	result.difference = (struct inflight_difference){.offset = 65536, .block_bytes = 65536};
	check_words(VERDICT_CORRUPT, &result,
		    "corrupt: differs within the 65536 bytes from offset 65536 on");
	result.end = SESSION_RESET;
	result.error = ECONNRESET;
	check_words(VERDICT_RESET, &result,
		    "reset: connection lost after 4 of 10 bytes: Connection reset by peer");
	result.end = SESSION_NO_EOF;
	result.bytes_received = 10;
	check_words(VERDICT_FIN_SWALLOWED, &result,
		    "FIN swallowed: all 10 bytes came back, but no EOF");
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
