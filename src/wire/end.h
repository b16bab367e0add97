/* SPDX-License-Identifier: MIT */
/* Why a connection ended, and why one was refused: exit codes, log words, counters. */
#ifndef ECHOD_WIRE_END_H
#define ECHOD_WIRE_END_H

#include <stdbool.h>

/* A worker's exit code is its end reason; a signal becomes END_KILLED or END_CRASHED. */
enum end_reason {
	END_FIN = 0,		/* the peer's FIN, everything echoed */
	END_IDLE,		/* no byte in either direction */
	END_STALL,		/* the peer does not read what we echo */
	END_SESSION,		/* the connection's time is over */
	END_RESET,		/* RST from the peer, or it vanished */
	END_DRAIN,		/* the daemon stops */
	END_KILLED,		/* an operator ended it, or SIGKILL/SIGTERM came */
	END_CRASHED,		/* any other signal */
	END_ERROR,		/* an error that is none of the above */
	END_COUNT
};

enum refuse_reason {
	REFUSE_CONNECTIONS = 0,	/* limits { connections }, at-limit = refuse */
	REFUSE_PER_SOURCE,	/* limits { connections-per-source } */
	REFUSE_RATE,		/* limits { rate-per-source } */
	REFUSE_ACCESS,		/* access { } */
	REFUSE_COUNT
};

#define END_NAMES { "fin", "idle", "stall", "session", "reset", "drain", \
		    "killed", "crashed", "error" }
#define REFUSE_NAMES { "connections", "connections-per-source", "rate-per-source", "access" }

/*
 * Why a worker with this wait status (wait4(2)) ended. is_draining: it was told to end because
 * the daemon stops, so that being killed is only how.
 */
enum end_reason end_of_status(int status, bool is_draining);

#endif
