/* SPDX-License-Identifier: MIT */
/* The outcome of a session in words, as a status and as JSON. */
#include "echoctl/session/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "echoctl/command_line/command.h"

static const char *const end_names[] = {
	[SESSION_OK] = "ok",
	[SESSION_EARLY_EOF] = "early-eof",
	[SESSION_CORRUPT] = "corrupt",
	[SESSION_EXCESS] = "excess",
	[SESSION_RESET] = "reset",
	[SESSION_STALL] = "stall",
	[SESSION_NO_EOF] = "no-eof",
	[SESSION_DEADLINE] = "deadline",
	[SESSION_INTERRUPTED] = "interrupted",
	[SESSION_INPUT_FAILED] = "input-error",
	[SESSION_OUTPUT_FAILED] = "output-error",
	[SESSION_BROKEN] = "local-error",
};

const char *session_end_name(enum session_end end)
{
	return end_names[end];
}

enum session_end session_end_of(int error)
{
	return error == -ETIMEDOUT ? SESSION_DEADLINE : SESSION_INTERRUPTED;
}

bool session_passed(const struct session_result *result)
{
	return result->end == SESSION_OK;
}

int session_status(const struct session_result *result)
{
	if (result->end == SESSION_OK)
		return STATUS_OK;
	return result->end >= SESSION_INPUT_FAILED ? STATUS_LOCAL : STATUS_FAILED;
}

static void describe_difference(const struct inflight_difference *difference,
				char text[SESSION_TEXT_MAX])
{
	if (difference->block_bytes > 0)
		snprintf(text, SESSION_TEXT_MAX, "differs within the %" PRIu64
			 " bytes from offset %" PRIu64 " on", difference->block_bytes,
			 difference->offset);
	else
		snprintf(text, SESSION_TEXT_MAX, "differs at offset %" PRIu64
			 ": sent 0x%02x, got 0x%02x", difference->offset, difference->sent,
			 difference->got);
}

/* The ends that count bytes. */
static void describe_counts(const struct session_result *result, const char *format,
			    char text[SESSION_TEXT_MAX])
{
	int n = snprintf(text, SESSION_TEXT_MAX, "%s after %" PRIu64 " of %" PRIu64 " bytes",
			 format, result->bytes_received, result->bytes_sent);

	if (result->error != 0 && n > 0 && n < SESSION_TEXT_MAX)
		snprintf(text + n, SESSION_TEXT_MAX - (size_t)n, ": %s", strerror(result->error));
}

const char *session_describe(const struct session_result *result, char text[SESSION_TEXT_MAX])
{
	switch (result->end) {
	case SESSION_OK:
		snprintf(text, SESSION_TEXT_MAX, "ok");
		break;
	case SESSION_EARLY_EOF:
		describe_counts(result, "early EOF", text);
		break;
	case SESSION_CORRUPT:
		describe_difference(&result->difference, text);
		break;
	case SESSION_EXCESS:
		snprintf(text, SESSION_TEXT_MAX,
			 "more bytes than sent: got 0x%02x at offset %" PRIu64
			 ", the end of what was sent",
			 result->difference.got, result->difference.offset);
		break;
	case SESSION_RESET:
		describe_counts(result, "connection lost", text);
		break;
	case SESSION_STALL:
		describe_counts(result, "no progress", text);
		break;
	case SESSION_NO_EOF:
		snprintf(text, SESSION_TEXT_MAX, "FIN swallowed: all %" PRIu64
			 " bytes came back, but no EOF", result->bytes_received);
		break;
	case SESSION_DEADLINE:
		describe_counts(result, "not done at the deadline,", text);
		break;
	case SESSION_INTERRUPTED:
		describe_counts(result, "interrupted", text);
		break;
	case SESSION_INPUT_FAILED:
		snprintf(text, SESSION_TEXT_MAX, "standard input: %s", strerror(result->error));
		break;
	case SESSION_OUTPUT_FAILED:
		/* The reason stays, however long the path is. */
		snprintf(text, SESSION_TEXT_MAX, "%.400s: %s", result->output_name != NULL ?
			 result->output_name : "standard output", strerror(result->error));
		break;
	case SESSION_BROKEN:
		snprintf(text, SESSION_TEXT_MAX, "local error: %s", result->error != ECHILD ?
			 strerror(result->error) : "the sending process was ended");
		break;
	}
	return text;
}

/* Time from the start of the session; null: it has not happened. */
static json_t *since_start(const struct session_result *result, uint64_t when_ns)
{
	return when_ns ? json_integer((json_int_t)(when_ns - result->started_ns)) : json_null();
}

json_t *session_json(const struct session_result *result)
{
	char text[SESSION_TEXT_MAX];
	json_t *object = json_pack(
		"{s:s, s:o, s:I, s:I, s:b, s:b, s:I, s:o, s:o, s:o, s:o, s:o}",
		"end", session_end_name(result->end),
		"message", report_string(session_describe(result, text)),
		"bytes_sent", (json_int_t)result->bytes_sent,
		"bytes_received", (json_int_t)result->bytes_received,
		"verified", result->verified,
		"eof", result->eof,
		"duration_ns", (json_int_t)(result->ended_ns - result->started_ns),
		"first_byte_sent_ns", since_start(result, result->first_sent_ns),
		"first_byte_received_ns", since_start(result, result->first_received_ns),
		"last_byte_received_ns", since_start(result, result->last_received_ns),
		"fin_sent_ns", since_start(result, result->fin_ns),
		"eof_received_ns", since_start(result, result->eof_ns));

	if (result->end == SESSION_CORRUPT || result->end == SESSION_EXCESS)
		json_object_update_new(object, json_pack(
			"{s:I, s:I}",
			"difference_offset_bytes", (json_int_t)result->difference.offset,
			"difference_block_bytes", (json_int_t)result->difference.block_bytes));
	return object;
}
