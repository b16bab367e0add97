/* SPDX-License-Identifier: MIT */
/* What became of reaching a target, said to people and programs. */
#include "echoctl/dial/dial.h"

#include <errno.h>
#include <string.h>

static const char *const phase_names[] = {
	[DIAL_RESOLVE] = "resolve",
	[DIAL_SOCKET] = "socket",
	[DIAL_CONNECT] = "connect",
	[DIAL_DONE] = "connected",
};

const char *dial_phase_name(enum dial_phase phase)
{
	return phase_names[phase];
}

static const char *format(const struct dial_address *address, char text[ADDRESS_TEXT_MAX])
{
	return address_format((const struct sockaddr *)&address->address, address->length, text);
}

const char *dial_peer(const struct dial *dial, char text[ADDRESS_TEXT_MAX])
{
	if (dial->phase == DIAL_DONE)
		return format(&dial->attempts[dial->winner].target, text);
	text[0] = '\0';
	return text;
}

static void report_one(struct report *report, const struct address_spec *target,
		       const char *address, const char *phase, int error, const char *why)
{
	if (address != NULL && strcmp(address, target->host) != 0 && !target->is_unix)
		report_error(report, "%s (%s): %s: %s", target->host, address, phase, why);
	else
		report_error(report, "%s: %s: %s", target->host, phase, why);
	report_failure(report, target->host, address, phase, error, why);
}

void dial_report_failure(struct report *report, const struct address_spec *target,
			 const struct dial *dial)
{
	char text[ADDRESS_TEXT_MAX];

	if (dial->n_attempts == 0)
		report_one(report, target, NULL, dial_phase_name(dial->phase), dial->error,
			   dial->why);
	for (size_t i = 0; i < dial->n_attempts; i++) {
		const struct dial_attempt *attempt = &dial->attempts[i];

		report_one(report, target, format(&attempt->target, text),
			   dial_phase_name(attempt->phase), attempt->error,
			   strerror(attempt->error));
	}
}

int dial_status(const struct dial *dial)
{
	if (dial->error == EINTR)
		return STATUS_FAILED;
	for (size_t i = 0; i < dial->n_attempts; i++) {
		const struct dial_attempt *attempt = &dial->attempts[i];

		if (attempt->phase == DIAL_CONNECT && attempt->error != ENOMEM)
			return STATUS_UNREACHED;
	}
	return dial->local || dial->n_attempts > 0 ? STATUS_LOCAL : STATUS_UNREACHED;
}

int dial_target(struct report *report, const struct address_spec *target,
		const struct dial_options *options, struct dial *ret_dial)
{
	if (dial_resolve(target, options, ret_dial) < 0 || dial_connect(options, ret_dial) < 0) {
		dial_report_failure(report, target, ret_dial);
		return dial_status(ret_dial);
	}
	return COMMAND_PROCEED;
}
