/* SPDX-License-Identifier: MIT */
/*
 * What the exchanges of halfclose say about how a path treats a half-close.
 *
 * The prompt reader takes what comes at once, of one segment and of a burst; the held one reads
 * nothing until some time after the path has our FIN, so that the echo waits inside the path
 * meanwhile. A server or relay that ends both directions at the FIN fails the first, one that
 * merely grows impatient with a half-closed connection passes it and fails the second.
 */
#ifndef ECHOCTL_SESSION_VERDICT_H
#define ECHOCTL_SESSION_VERDICT_H

#include <stdbool.h>

#include "echoctl/session/session.h"

enum verdict {
	VERDICT_OK,
	VERDICT_EARLY_EOF,	/* short even to a reader that takes it at once */
	VERDICT_TRUNCATED,	/* short to a reader that takes its time */
	VERDICT_CORRUPT,
	VERDICT_EXCESS,
	VERDICT_RESET,
	VERDICT_FIN_SWALLOWED,	/* all came back, but no FIN of the other side */
	VERDICT_STALL,		/* bytes neither came back nor were given up in time */
	VERDICT_INTERRUPTED,
	VERDICT_LOCAL,		/* this side failed */
};

/* The verdict of one exchange. */
enum verdict verdict_judge(const struct session_result *result, bool held);

/* The word for programs: "ok", "early-eof", "truncated", "fin-swallowed", ... */
const char *verdict_name(enum verdict verdict);

/* Which kind of thing in the path does so; NULL when there is nothing to say. */
const char *verdict_culprit(enum verdict verdict, bool held, const struct session_result *result);

/* The sentence for people: "truncated at offset 65536 of 524288"; returns text. */
const char *verdict_describe(enum verdict verdict, const struct session_result *result,
			     char text[SESSION_TEXT_MAX]);

#endif
