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
	bool follows;		/* if a new program takes over, ask that one */
	bool taken_over;	/* a new program took over */
	int fd;			/* owned; -1: not connected */
	json_t *reply;		/* owned: the line last read */
	char *bytes;		/* owned: received bytes, that line first */
	size_t used;
	size_t taken;		/* length of that line, its newline included */
};

/* Closes the connection at the end of the block. */
#define CONTROL_CLEANUP __attribute__((cleanup(control_close)))

/* Not connected yet. */
struct control_client control_client(struct globals *globals);

/*
 * Connects to globals->control_path unless that is done, sends the command, with one argument if
 * key is not NULL, and waits for the first line of the answer, as control_read() does. From then on
 * SIGINT, SIGTERM and SIGQUIT only end a wait for an answer.
 */
int control_ask(struct control_client *client, const char *command, const char *key,
		const char *value);

/*
 * Waits until client->deadline_ns for the next line, which is then client->reply. Returns 0;
 * -ECONNRESET: the daemon has closed the connection, -ETIMEDOUT, -EINTR: a signal has come,
 * -EBADMSG: not our protocol, or -errno.
 */
int control_read(struct control_client *client);

/* Reports an error of the two functions above, in JSON mode too; returns the exit status. */
int control_failed(const struct control_client *client, int error);

/*
 * If the answer is an error, prints it and returns STATUS_FAILED, otherwise returns
 * COMMAND_PROCEED. In JSON mode prints every answer.
 */
int control_judge(const struct control_client *client);

/* All three in one: returns COMMAND_PROCEED if client->reply is no error, else the exit status. */
int control_exchange(struct control_client *client, const char *command, const char *key,
		     const char *value);

void control_close(struct control_client *client);

/* The text of that key, "" if there is none; it lives as long as the object. */
const char *control_text(const json_t *object, const char *key);

/* The number of that key, 0 if there is none. */
json_int_t control_integer(const json_t *object, const char *key);

#endif
