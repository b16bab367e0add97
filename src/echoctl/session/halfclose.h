/* SPDX-License-Identifier: MIT */
/*
 * What the exchanges of halfclose reveal about how a path treats a half-close.
 *
 * The prompt reader reads at once, first one segment, then a burst. The held reader reads nothing
 * until some time after the path has our FIN, so that the echo waits inside the path meanwhile. A
 * server or relay that ends both directions at the FIN fails with the prompt reader. One that only
 * gives up a half-closed connection too soon passes there and fails with the held reader.
 *
 * A FIN is only to blame if the same bytes come back without one. So a failed exchange is repeated
 * without a FIN, as a control.
 */
#ifndef ECHOCTL_SESSION_HALFCLOSE_H
#define ECHOCTL_SESSION_HALFCLOSE_H

#include <stdbool.h>

#include "echoctl/session/session.h"

/* The exchange without a FIN. */
struct verdict_control {
	int error;		/* 0: all came back; -errno, as exchange_run() says it */
	uint64_t bytes;
	uint64_t bytes_received;
};

/* The word for programs: "ok", "early-eof", "truncated", "fin-swallowed", ... */
const char *verdict_name(const struct session_result *result, bool held);

/* Whether the FIN may be to blame, so that a control has to tell. */
bool verdict_needs_control(const struct session_result *result);

/*
 * Which kind of server or relay behaves so; NULL if nothing is known. control is NULL if none was
 * needed. Returns a static text or text.
 */
const char *verdict_culprit(const struct session_result *result, bool held,
			    const struct verdict_control *control, char text[SESSION_TEXT_MAX]);

/* The sentence for people: "truncated at offset 65536 of 524288"; returns text. */
const char *verdict_describe(const struct session_result *result, bool held,
			     char text[SESSION_TEXT_MAX]);

#endif
