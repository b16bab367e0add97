/* SPDX-License-Identifier: MIT */
/*
 * One verified exchange over one connection, with input and output split between two processes, and
 * what the commands send, halfclose, trace and sweep share around it.
 *
 * The calling process receives, compares, writes the output and judges; a child takes the input,
 * sends it and ends it with shutdown(SHUT_WR). They share the connection, the bytes in flight
 * (inflight.h) and a page of counters. Neither waits for the other: the sender blocks only on its
 * input or the connection, the receiver only on the connection or its output. A socket pair between
 * them carries no data; each sees its end when the other one is gone, in the same poll(2) in which
 * it waits for anything else, so that no signal is needed. The sender gets SIGKILL only if it
 * ignores that for five seconds (stuck in a read), by a process id that is not reaped yet.
 */
#ifndef ECHOCTL_SESSION_SESSION_H
#define ECHOCTL_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/command_line/command.h"
#include "echoctl/dial/dial.h"
#include "echoctl/output/report.h"
#include "echoctl/session/inflight.h"
#include "echoctl/probe/pattern.h"

#define SESSION_INPUT_PATTERN (-1)
#define SESSION_OUTPUT_NONE (-1)
#define SESSION_HOLD_BYTES (4u * 1024u * 1024u)	/* how much a path is expected to hold */
#define SESSION_SIZE_MAX_BYTES (1024u * 1024u * 1024u)

enum session_end {
	SESSION_OK,		/* all came back, then the server's FIN */
	SESSION_EARLY_EOF,	/* the server's FIN came before that */
	SESSION_CORRUPT,	/* other bytes came back */
	SESSION_EXCESS,		/* more bytes came back than were sent */
	SESSION_RESET,		/* the connection failed; error is its errno */
	SESSION_STALL,		/* bytes outstanding, and no progress before the deadline */
	SESSION_NO_EOF,		/* all came back, but no FIN of the server before the deadline */
	SESSION_DEADLINE,	/* that of the command */
	SESSION_INTERRUPTED,	/* SIGINT or SIGTERM */
	SESSION_INPUT_FAILED,	/* the input could not be read; error */
	SESSION_OUTPUT_FAILED,	/* the output could not be written; error */
	SESSION_BROKEN,		/* no process, no memory, or the sender died; error */
};

struct session_options {
	int input_fd;			/* or SESSION_INPUT_PATTERN */
	bool input_is_terminal;		/* a line "q" or "Q" ends it */
	enum pattern pattern;
	uint64_t pattern_bytes;
	int output_fd;			/* or SESSION_OUTPUT_NONE */
	const char *output_name;	/* a file's, borrowed; NULL: it is standard output */
	bool verify;			/* compare; if not, missing bytes at a FIN are no error */
	bool fin;			/* shutdown(SHUT_WR) at the end of input */
	uint64_t drain_timeout_us;	/* longest time without progress, while there is input */
	uint64_t hold_us;	/* read nothing until so long after the FIN; 0: read at once */
	bool progress;			/* a line on the terminal tells how far it is */
	uint64_t total_bytes;		/* of the input, for that line; 0: unknown */
};

/* The options of an exchange that sends a pattern and its FIN and verifies what comes back. */
#define SESSION_PROBE(size_bytes)						\
	{									\
		.input_fd = SESSION_INPUT_PATTERN,				\
		.pattern_bytes = (size_bytes),					\
		.output_fd = SESSION_OUTPUT_NONE,				\
		.verify = true,							\
		.fin = true,							\
		.drain_timeout_us = 10u * 1000000u,				\
	}

struct session_result {
	enum session_end end;
	int error;
	const char *output_name;	/* that of the options */
	const char *message;		/* UDP: what session_describe() says; borrowed; else NULL */
	bool verified;			/* all that was sent came back, compared */
	bool input_ended;		/* all the input was sent */
	bool eof;			/* the server's FIN was seen */
	uint64_t bytes_sent;
	uint64_t bytes_received;
	uint64_t bytes_before_fin;	/* received when the FIN was sent */
	struct inflight_difference difference;	/* SESSION_CORRUPT and SESSION_EXCESS */
	/* CLOCK_MONOTONIC, 0: it has not happened */
	uint64_t started_ns;
	uint64_t first_sent_ns;
	uint64_t first_received_ns;
	uint64_t last_received_ns;
	uint64_t fin_ns;
	uint64_t eof_ns;
	uint64_t ended_ns;
};

/*
 * Runs an exchange over a connected, non-blocking socket that stays the caller's.
 * ret_result is always filled.
 */
void session_run(int socket_fd, const struct session_options *options,
		 struct session_result *ret_result);

/* The end of a session for an error of interrupt_ended(). */
enum session_end session_end_of(int error);

/* STATUS_OK, STATUS_FAILED or STATUS_LOCAL. */
int session_status(const struct session_result *result);

/* payload_note_end() for a session that the server has ended early. */
void session_note_end(const struct session_result *result);

/* The word for programs: "ok", "early-eof", ... */
const char *session_end_name(enum session_end end);

#define SESSION_TEXT_MAX 512
/* The sentence for people: "early EOF after 5 of 10 bytes"; returns text. */
const char *session_describe(const struct session_result *result, char text[SESSION_TEXT_MAX]);

/* For programs: adds end, message, bytes, times and the rest to the event; returns it. */
json_t *session_json(json_t *event, const struct session_result *result);

/* The command line of every command that runs sessions. */
struct session_command {
	const char *operand;		/* ADDRESS as it was given, for people */
	struct address_spec target;
	struct dial_options dialling;
	struct session_options options;
};

enum {
	OPTION_DRAIN_TIMEOUT = OPTION_OWN,
	OPTION_SESSION_OWN,		/* the first value of a command's own long options */
};

/* Rows for long_options; session_take() takes them. */
#define SESSION_OPTION_DRAIN_TIMEOUT						\
	{"drain-timeout", required_argument, NULL, OPTION_DRAIN_TIMEOUT}
#define SESSION_OPTION_SIZE {"size", required_argument, NULL, 's'}

/* A command_take for the options above alone; settings is a struct session_command. */
const char *session_take(void *settings, int option, const char *value);

/*
 * Parses by take(settings, ...) and fills target and dialling. Returns COMMAND_PROCEED or the
 * exit status.
 */
int session_parse(struct invocation *invocation, command_take take, void *settings,
		  struct session_command *command);

/* The same; from then on signals end the command in an orderly way. */
int session_parse_and_guard(struct invocation *invocation, command_take take, void *settings,
			    struct session_command *command);

#endif
