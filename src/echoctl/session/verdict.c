/* SPDX-License-Identifier: MIT */
/* What exchanges say about how a path treats a half-close. */
#include "echoctl/session/verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

const char *verdict_name(const struct session_result *result, bool held)
{
	if (result->end == SESSION_EARLY_EOF && held)
		return "truncated";
	if (result->end == SESSION_NO_EOF)
		return "fin-swallowed";
	return session_end_name(result->end >= SESSION_INPUT_FAILED ? SESSION_BROKEN : result->end);
}

bool verdict_needs_control(const struct session_result *result)
{
	return result->end == SESSION_EARLY_EOF || result->end == SESSION_RESET ||
	       result->end == SESSION_STALL;
}

/* What fails without a FIN as well. */
static const char *other_culprit(const struct verdict_control *control,
				 char text[SESSION_TEXT_MAX])
{
	if (control->bytes_received > 0) {
		snprintf(text, SESSION_TEXT_MAX, "not the FIN: without one no more than %" PRIu64
			 " of %" PRIu64 " bytes come back either", control->bytes_received,
			 control->bytes);
		return text;
	}
	if (control->error == -ETIMEDOUT)
		return "not the FIN: nothing is echoed at all, without one either (no echo "
		       "service?)";
	return "not the FIN: nothing is echoed at all, and without one the connection is closed "
	       "at once as well (an access list, a limit, no echo service?)";
}

const char *verdict_culprit(const struct session_result *result, bool held,
			    const struct verdict_control *control, char text[SESSION_TEXT_MAX])
{
	bool fin_sent = result->fin_ns != 0 && result->input_ended;

	if (control && control->error < 0)
		return other_culprit(control, text);
	switch (result->end) {
	case SESSION_EARLY_EOF:
		if (held)
			return "a relay that gives up a half-closed connection after a short time "
			       "(as socat without -t does after 0.5 s)";
		if (!fin_sent)
			return "a server that closes by itself, or a relay with a limit, before "
			       "the FIN";
		return "a server or relay that closes both directions when it sees a FIN "
		       "(as systemd-socket-proxyd does)";
	case SESSION_RESET:
		if (!fin_sent)
			return "a server that closes by itself with data unread, a relay with a "
			       "limit, or a firewall, before the FIN";
		if (held)
			return "a relay or firewall that tears down a half-closed connection "
			       "after a short time";
		return "a server or relay that closes with data unread when it sees a FIN, or a "
		       "firewall";
	case SESSION_NO_EOF:
		return "a relay that does not pass the FIN on, or a server that does not answer it";
	case SESSION_STALL:
		return "a server that deadlocks when it cannot write, or a path that loses data";
	case SESSION_CORRUPT:
	case SESSION_EXCESS:
		return "no echo service, or something in the path that rewrites data";
	default:
		return NULL;
	}
}

const char *verdict_describe(const struct session_result *result, bool held,
			     char text[SESSION_TEXT_MAX])
{
	char detail[SESSION_TEXT_MAX];

	session_describe(result, detail);
	if (result->end == SESSION_EARLY_EOF && held)
		snprintf(text, SESSION_TEXT_MAX, "truncated at offset %" PRIu64 " of %" PRIu64,
			 result->bytes_received, result->bytes_sent);
	else if (result->end == SESSION_CORRUPT || result->end == SESSION_RESET)
		snprintf(text, SESSION_TEXT_MAX, "%s: %.150s", verdict_name(result, held), detail);
	else
		snprintf(text, SESSION_TEXT_MAX, "%s", detail);
	return text;
}
