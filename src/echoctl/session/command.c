/* SPDX-License-Identifier: MIT */
/*
 * Shared by the commands of this room: their options, and the outcome of a session as text and
 * JSON.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"
#include "echoctl/session/session.h"

const char *session_take(void *settings, int option, const char *value)
{
	struct session_command *command = settings;

	switch (option) {
	case OPTION_DRAIN_TIMEOUT:
		return command_take_timeout(value, &command->options.drain_timeout_us);
	default:
		return command_take_size(value, 1, SESSION_SIZE_MAX_BYTES,
					 &command->options.pattern_bytes);
	}
}

int session_parse(struct invocation *invocation, command_take take, void *settings,
		  struct session_command *command)
{
	int status = command_parse_target(invocation, take, settings, &command->target);

	command->operand = invocation->argv[0];
	command->dialling = dial_options(&invocation->globals);
	return status;
}

int session_parse_and_guard(struct invocation *invocation, command_take take, void *settings,
			    struct session_command *command)
{
	const struct globals *globals = &invocation->globals;
	int status = session_parse(invocation, take, settings, command);

	if (status == COMMAND_PROCEED &&
	    interrupt_open(&globals->report, globals->deadline_us, false) < 0)
		status = STATUS_LOCAL;
	return status;
}

static const struct {
	const char *name;
	const char *counted;		/* the sentence begins so, and continues with the bytes */
} ends[] = {
	[SESSION_OK] = {"ok", NULL},
	[SESSION_EARLY_EOF] = {"early-eof", "early EOF"},
	[SESSION_CORRUPT] = {"corrupt", NULL},
	[SESSION_EXCESS] = {"excess", NULL},
	[SESSION_RESET] = {"reset", "connection lost"},
	[SESSION_STALL] = {"stall", "no progress"},
	[SESSION_NO_EOF] = {"no-eof", NULL},
	[SESSION_DEADLINE] = {"deadline", "not done at the deadline,"},
	[SESSION_INTERRUPTED] = {"interrupted", "interrupted"},
	[SESSION_INPUT_FAILED] = {"input-error", NULL},
	[SESSION_OUTPUT_FAILED] = {"output-error", NULL},
	[SESSION_BROKEN] = {"local-error", NULL},
};

const char *session_end_name(enum session_end end)
{
	return ends[end].name;
}

enum session_end session_end_of(int error)
{
	assert(error < 0);
	return error == -ETIMEDOUT ? SESSION_DEADLINE : SESSION_INTERRUPTED;
}

int session_status(const struct session_result *result)
{
	if (result->end == SESSION_OK)
		return STATUS_OK;
	return result->end >= SESSION_INPUT_FAILED ? STATUS_LOCAL : STATUS_FAILED;
}

void session_note_end(const struct session_result *result)
{
	if (result->end == SESSION_EARLY_EOF)
		payload_note_end(-ENODATA, result->bytes_received);
	if (result->end == SESSION_RESET)
		payload_note_end(-result->error, result->bytes_received);
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

const char *session_describe(const struct session_result *result, char text[SESSION_TEXT_MAX])
{
	const char *output = result->output_name ? result->output_name : "standard output";
	const char *why = strerror(result->error);

	if (result->message) {
		snprintf(text, SESSION_TEXT_MAX, "%s", result->message);
		return text;
	}
	switch (result->end) {
	case SESSION_OK:
		snprintf(text, SESSION_TEXT_MAX, "ok");
		break;
	case SESSION_CORRUPT:
		describe_difference(&result->difference, text);
		break;
	case SESSION_EXCESS:
		snprintf(text, SESSION_TEXT_MAX, "more bytes than sent: got 0x%02x at offset %"
			 PRIu64 ", the end of what was sent", result->difference.got,
			 result->difference.offset);
		break;
	case SESSION_NO_EOF:
		snprintf(text, SESSION_TEXT_MAX, "FIN swallowed: all %" PRIu64
			 " bytes came back, but no EOF", result->bytes_received);
		break;
	case SESSION_INPUT_FAILED:
		snprintf(text, SESSION_TEXT_MAX, "standard input: %s", why);
		break;
	case SESSION_OUTPUT_FAILED:
		/* Cuts a long path, never the reason. */
		snprintf(text, SESSION_TEXT_MAX, "%.400s: %s", output, why);
		break;
	case SESSION_BROKEN:
		snprintf(text, SESSION_TEXT_MAX, "local error: %s", result->error != ECHILD ?
			 why : "the sending process was ended");
		break;
	default:
		snprintf(text, SESSION_TEXT_MAX, "%s after %" PRIu64 " of %" PRIu64 " bytes%s%s",
			 ends[result->end].counted, result->bytes_received, result->bytes_sent,
			 result->error ? ": " : "", result->error ? why : "");
		break;
	}
	return text;
}

/* Time from the start of the session; null: it has not happened. */
static json_t *since_start(const struct session_result *result, uint64_t when_ns)
{
	return when_ns ? json_integer((json_int_t)(when_ns - result->started_ns)) : json_null();
}

json_t *session_json(json_t *event, const struct session_result *result)
{
	char text[SESSION_TEXT_MAX];

	json_object_update_new(event, json_pack(
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
		"eof_received_ns", since_start(result, result->eof_ns)));
	if (result->end == SESSION_CORRUPT || result->end == SESSION_EXCESS)
		json_object_update_new(event, json_pack(
			"{s:I, s:I}",
			"difference_offset_bytes", (json_int_t)result->difference.offset,
			"difference_block_bytes", (json_int_t)result->difference.block_bytes));
	return event;
}
