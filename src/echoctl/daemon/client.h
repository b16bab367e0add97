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
	struct globals *globals;
	int fd;			/* owned; -1: not connected */
	char *bytes;		/* owned: what has come; starts with the line last read */
	size_t size;		/* allocated */
	size_t used;
	size_t taken;		/* length of that line, its NUL included */
};

/* Not connected yet. */
struct control_client control_client(struct globals *globals);

/*
 * Connects to globals->control_path; may be used again after an end of the connection. From then
 * on SIGINT, SIGTERM and SIGQUIT end what waits for an answer, and nothing else. Returns
 * COMMAND_PROCEED, or the exit status after saying why.
 */
int control_connect(struct control_client *client);

/*
 * Sends a request (freed in any case), "command" has to stand in it, and waits for the first line
 * of the answer, as control_read().
 */
int control_ask(struct control_client *client, json_t *request, uint64_t timeout_us,
		json_t **ret_reply);

/*
 * Waits for the next line. Returns 0: the caller frees the reply; the line itself stands in
 * client->bytes until the next call. -ECONNRESET: the daemon has closed the connection,
 * -ETIMEDOUT, -EINTR: a signal has come, -EBADMSG: not our protocol, or -errno.
 */
int control_read(struct control_client *client, uint64_t timeout_us, json_t **ret_reply);

/* Says what an error of the two above means, in JSON mode too; returns the exit status. */
int control_failed(const struct control_client *client, int error);

/*
 * An answer that says no: prints why. Returns STATUS_FAILED, or COMMAND_PROCEED for one that
 * says yes. In JSON mode every answer is printed.
 */
int control_judge(struct control_client *client, json_t *reply);

void control_close(struct control_client *client);

/*
 * All of it for a command that asks once. Returns COMMAND_PROCEED (the caller frees the reply) or
 * the exit status.
 */
int control_exchange(struct globals *globals, json_t *request, json_t **ret_reply);

/* The option --timeout of commands that wait longer; its settings are a uint64_t, in us. */
extern const struct option control_timeout_options[];
const char *control_take_timeout(void *timeout_us, int option, const char *value);

/* A request {"command": name}. */
json_t *control_request(const char *name);

/*
 * Reads a line of the daemon: 0 (the caller frees the reply), or -EBADMSG for what is no object
 * with an "event".
 */
int control_parse(const char *line, json_t **ret_reply);

/* The text of that key, "" if there is none; it lives as long as the object. */
const char *control_text(const json_t *object, const char *key);

#endif
