/* SPDX-License-Identifier: MIT */
/*
 * A connection to the daemon's control socket: one JSON object a line each way (DESIGN.md).
 * Every wait has a deadline and ends at an interrupt.
 */
#ifndef ECHOCTL_DAEMON_CLIENT_H
#define ECHOCTL_DAEMON_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "echoctl/command_line/command.h"

struct control_client {
	const struct globals *globals;
	struct report *report;
	uint64_t timeout_us;	/* for an answer; 0: as for connecting */
	uint64_t deadline_ns;	/* of the answer that is awaited */
	bool follows;		/* a program that takes over is asked in place of the old one */
	bool taken_over;	/* one did */
	int fd;			/* owned; -1: not connected */
	json_t *reply;		/* owned: the line last read */
	char *bytes;		/* owned: what has come, that line first */
	size_t used;
	size_t taken;		/* length of that line, its newline included */
};

/* Closes the connection at the end of the block. */
#define CONTROL_CLEANUP __attribute__((cleanup(control_close)))

/* Not connected yet. */
struct control_client control_client(struct globals *globals);

/*
 * Connects to globals->control_path unless that is done, sends the command, with one argument if
 * key is not NULL, and waits for the first line of the answer, as control_read(). From then on
 * SIGINT, SIGTERM and SIGQUIT end what waits for an answer, and nothing else.
 */
int control_ask(struct control_client *client, const char *command, const char *key,
		const char *value);

/*
 * Waits until client->deadline_ns for the next line, which is then client->reply. Returns 0;
 * -ECONNRESET: the daemon has closed the connection, -ETIMEDOUT, -EINTR: a signal has come,
 * -EBADMSG: not our protocol, or -errno.
 */
int control_read(struct control_client *client);

/* Says what an error of the two above means, in JSON mode too; returns the exit status. */
int control_failed(const struct control_client *client, int error);

/*
 * An answer that says no: prints why. Returns STATUS_FAILED, or COMMAND_PROCEED for one that
 * says yes. In JSON mode every answer is printed.
 */
int control_judge(const struct control_client *client);

/* All three: returns COMMAND_PROCEED if client->reply says yes, else the exit status. */
int control_exchange(struct control_client *client, const char *command, const char *key,
		     const char *value);

void control_close(struct control_client *client);

/* The text of that key, "" if there is none; it lives as long as the object. */
const char *control_text(const json_t *object, const char *key);

/* The number of that key, 0 if there is none. */
json_int_t control_integer(const json_t *object, const char *key);

#endif
