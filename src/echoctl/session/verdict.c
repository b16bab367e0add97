/* SPDX-License-Identifier: MIT */
/* What exchanges say about how a path treats a half-close. */
#include "echoctl/session/verdict.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const names[] = {
	[VERDICT_OK] = "ok",
	[VERDICT_EARLY_EOF] = "early-eof",
	[VERDICT_TRUNCATED] = "truncated",
	[VERDICT_CORRUPT] = "corrupt",
	[VERDICT_EXCESS] = "excess",
	[VERDICT_RESET] = "reset",
	[VERDICT_FIN_SWALLOWED] = "fin-swallowed",
	[VERDICT_STALL] = "stall",
	[VERDICT_INTERRUPTED] = "interrupted",
	[VERDICT_LOCAL] = "local-error",
};

enum verdict verdict_judge(const struct session_result *result, bool held)
{
	switch (result->end) {
	case SESSION_OK:
		return VERDICT_OK;
	case SESSION_EARLY_EOF:
		return held ? VERDICT_TRUNCATED : VERDICT_EARLY_EOF;
	case SESSION_CORRUPT:
		return VERDICT_CORRUPT;
	case SESSION_EXCESS:
		return VERDICT_EXCESS;
	case SESSION_RESET:
		return VERDICT_RESET;
	case SESSION_NO_EOF:
		return VERDICT_FIN_SWALLOWED;
	case SESSION_STALL:
		return VERDICT_STALL;
	case SESSION_INTERRUPTED:
		return VERDICT_INTERRUPTED;
	case SESSION_INPUT_FAILED:
	case SESSION_OUTPUT_FAILED:
	case SESSION_BROKEN:
		break;
	}
	return VERDICT_LOCAL;
}

const char *verdict_name(enum verdict verdict)
{
	return names[verdict];
}

const char *verdict_culprit(enum verdict verdict, bool held, const struct session_result *result)
{
	bool fin_sent = result->fin_ns != 0 && result->input_ended;

	switch (verdict) {
	case VERDICT_EARLY_EOF:
		if (!fin_sent)
			return "a server that closes by itself, or a relay with a limit, before "
			       "the FIN";
		return "a server or relay that closes both directions when it sees a FIN "
		       "(as systemd-socket-proxyd does)";
	case VERDICT_TRUNCATED:
		return "a relay that gives up a half-closed connection after a short time "
		       "(as socat without -t does after 0.5 s)";
	case VERDICT_RESET:
		if (!fin_sent)
			return "a server that closes by itself with data unread, a relay with a "
			       "limit, or a firewall, before the FIN";
		if (held)
			return "a relay or firewall that tears down a half-closed connection "
			       "after a short time";
		return "a server or relay that closes with data unread when it sees a FIN, or a "
		       "firewall";
	case VERDICT_FIN_SWALLOWED:
		return "a relay that does not pass the FIN on, or a server that does not answer it";
	case VERDICT_STALL:
		return "a server that deadlocks when it cannot write, or a path that loses data";
	case VERDICT_CORRUPT:
	case VERDICT_EXCESS:
		return "no echo service, or something in the path that rewrites data";
	case VERDICT_OK:
	case VERDICT_INTERRUPTED:
	case VERDICT_LOCAL:
		break;
	}
	return NULL;
}

const char *verdict_describe(enum verdict verdict, const struct session_result *result,
			     char text[SESSION_TEXT_MAX])
{
	char detail[SESSION_TEXT_MAX];

	switch (verdict) {
	case VERDICT_TRUNCATED:
		snprintf(text, SESSION_TEXT_MAX, "truncated at offset %" PRIu64 " of %" PRIu64,
			 result->bytes_received, result->bytes_sent);
		return text;
	case VERDICT_CORRUPT:
		snprintf(text, SESSION_TEXT_MAX, "corrupt: %.150s",
			 session_describe(result, detail));
		return text;
	case VERDICT_RESET:
		snprintf(text, SESSION_TEXT_MAX, "reset: %.150s", session_describe(result, detail));
		return text;
	default:
		return session_describe(result, text);
	}
}
