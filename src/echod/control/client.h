/* SPDX-License-Identifier: MIT */
/* One client of the control socket; the parts of control share this. */
#ifndef ECHOD_CONTROL_CLIENT_H
#define ECHOD_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>
#include <jansson.h>

#include "echod/control/control.h"

#define CONTROL_VERSION 1
#define CONTROL_REQUEST_MAX 4096u	/* bytes of one request line */
#define CONTROL_CLIENTS_MAX 32u
#define CONTROL_READERS_MAX 16u		/* of these may be strangers, which only read totals */
#define CONTROL_DEADLINE_US (10 * UINT64_C(1000000))	/* for a request, and for taking a reply */
#define CONTROL_PROBLEMS_MAX 100u	/* lines about a bad file that one client gets */
#define CONTROL_PACE_US 100000u		/* in this time there are at most */
#define CONTROL_PACE_CLIENTS 50u	/* tries to accept, failed ones included */
#define CONTROL_PACE_READER 20u		/* turns of one stranger */
#define CONTROL_ROWS 128u		/* made at a time; the loop serves others in between */

enum control_wait {
	WAIT_NONE,
	WAIT_RELOAD,		/* asked before the reload that will answer began */
	WAIT_RELOAD_RUNNING,
	WAIT_KILL,
	WAIT_DRAIN,
};

struct control_client {
	struct control_client *next;
	struct control *control;
	int fd;
	struct sd_event_source *io;
	struct sd_event_source *timer;
	uid_t uid;
	pid_t pid;
	bool is_operator;		/* root, the service user, a member of control { group } */
	char request[CONTROL_REQUEST_MAX];
	size_t request_size;
	char *reply;			/* owned; what is not sent yet starts at reply_sent */
	size_t reply_size;
	size_t reply_sent;
	enum control_wait wait;
	bool close_after_reply;
	json_t *problems;		/* of the reload it waits for; owned, or NULL */
	unsigned kill_count;		/* connections that it told to end */
	uint64_t kill_ns;		/* told no later than this, CLOCK_MONOTONIC */
	/* a list that is being sent: the next row to look at */
	bool is_listing;
	uint64_t list_generation;
	uint32_t list_slot;
	uint64_t list_count;
};

struct control {
	struct supervisor *supervisor;
	int fd;
	struct sockaddr_un address;	/* it is bound to */
	struct unix_file file;		/* the file that was made there */
	struct sd_event_source *io;
	struct control_client *clients;
	gid_t group;			/* whose members may act, or CONTROL_NO_GROUP */
};

/* Answers one line of a client, without its newline. */
void control_handle(struct control_client *client, const char *line, size_t size);

/* Appends the next rows of a list, and at its end the line with their number. */
void control_list_more(struct control_client *client);

/* Appends one line; takes reply over, NULL (no memory) closes the client. */
void control_reply(struct control_client *client, json_t *reply);
void control_reply_error(struct control_client *client, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
json_t *control_error(const char *text);

/* Text as JSON, which is UTF-8: other bytes become '?'. NULL: no memory. */
json_t *control_text(const char *text);

#endif
