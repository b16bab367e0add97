/* SPDX-License-Identifier: MIT */
/* The control socket from the client's end. */
#include "echoctl/daemon/client.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/probe/interrupt.h"

#define LINE_MAX_BYTES (4u << 20)	/* a status has a few thousand bytes */
#define READ_BYTES (64u << 10)

struct control_client control_client(struct globals *globals)
{
	return (struct control_client){
		.globals = globals,
		.report = &globals->report,
		.fd = -1,
	};
}

static int open_connection(struct control_client *client)
{
	const struct globals *globals = client->globals;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	FD_CLEANUP int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (strlen(globals->control_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, globals->control_path);
	/* also limits how long the connect waits for room in the backlog */
	(void)fd_set_send_timeout(fd, globals->connect_timeout_us);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	/* Not before: a signal must also end a connect that waits. */
	r = interrupt_open(client->report, globals->deadline_us, false);
	if (r < 0)
		return r;
	client->bytes = malloc(LINE_MAX_BYTES);		/* only used pages become memory */
	if (!client->bytes)
		return -ENOMEM;
	client->fd = fd_steal(&fd);
	return 0;
}

void control_close(struct control_client *client)
{
	client->fd = fd_close(client->fd);
	free(client->bytes);
	client->bytes = NULL;
	client->used = client->taken = 0;
	json_decref(client->reply);
	client->reply = NULL;
}

static int send_request(const struct control_client *client, const char *command, const char *key,
			const char *value)
{
	json_auto_t *request = json_pack("{s:s, s:i}", "command", command, "version", 1);
	char *line;
	int r = 0;

	if (key)
		json_object_set_new(request, key, report_string(value));
	line = json_dumps(request, JSON_COMPACT);
	if (!line)
		return -ENOMEM;
	if (dprintf(client->fd, "%s\n", line) < 0)
		r = errno == EAGAIN ? -ETIMEDOUT : -errno;
	free(line);
	return r;
}

/* Waits until something can be read, or has been interrupted. */
static int await(const struct control_client *client)
{
	struct pollfd polled[2] = { { client->fd, POLLIN, 0 } };
	int ready = interrupt_poll(polled, 1, client->deadline_ns);

	if (ready == 0 && clock_now_ns() >= client->deadline_ns)
		return -ETIMEDOUT;
	return ready < 0 ? ready : interrupt_ended();
}

static int receive(struct control_client *client)
{
	size_t room = LINE_MAX_BYTES - client->used;
	int r = room > 0 ? await(client) : -EBADMSG;
	ssize_t n;

	if (r < 0)
		return r;
	n = recv(client->fd, client->bytes + client->used, room < READ_BYTES ? room : READ_BYTES,
		 MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	client->used += (size_t)n;
	return n == 0 ? -ECONNRESET : 0;
}

int control_read(struct control_client *client)
{
	char *end;

	assert(client->fd >= 0);
	client->used -= client->taken;
	memmove(client->bytes, client->bytes + client->taken, client->used);
	client->taken = 0;
	json_decref(client->reply);
	client->reply = NULL;
	while (!(end = memchr(client->bytes, '\n', client->used))) {
		int r = receive(client);

		if (r < 0)
			return r;
	}
	client->taken = (size_t)(end - client->bytes) + 1;
	client->reply = json_loadb(client->bytes, client->taken, 0, NULL);
	return *control_text(client->reply, "event") ? 0 : -EBADMSG;
}

static int ask_once(struct control_client *client, const char *command, const char *key,
		    const char *value)
{
	uint64_t timeout_us = client->timeout_us;
	int r = client->fd < 0 ? open_connection(client) : 0;

	if (r < 0)
		return r;
	if (timeout_us == 0)
		timeout_us = client->globals->connect_timeout_us;
	client->deadline_ns = clock_now_ns() + timeout_us * 1000;
	r = send_request(client, command, key, value);
	/* The daemon may have sent a reason ("too many clients") before it closed. */
	return r < 0 && r != -EPIPE && r != -ECONNRESET ? r : control_read(client);
}

int control_ask(struct control_client *client, const char *command, const char *key,
		const char *value)
{
	int r = ask_once(client, command, key, value);

	if (r == -ECONNRESET && client->follows) {
		client->taken_over = true;
		control_close(client);
		r = ask_once(client, command, key, value);
	}
	return r;
}

int control_failed(const struct control_client *client, int error)
{
	const char *path = client->globals->control_path;
	const char *why = report_why(-error);
	int status = STATUS_UNREACHED;

	assert(error < 0);
	switch (error) {
	case -EINTR:
		report_error(client->report, "interrupted");
		return STATUS_FAILED;
	case -ENOENT:
	case -ECONNREFUSED:
		why = "no echod answers there: it does not run, or its control socket is "
		      "elsewhere (--control PATH)";
		break;
	case -EACCES:
		why = "not permitted: only root, the service user and the group of the socket "
		      "may connect";
		break;
	case -EAGAIN:
	case -ETIMEDOUT:
		why = "the daemon does not answer in time";
		break;
	case -ECONNRESET:
	case -EPIPE:
		why = "the daemon closed the connection without an answer";
		break;
	case -EBADMSG:
		why = "what answers there is no echod";
		break;
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
		status = STATUS_LOCAL;
		break;
	}
	report_error(client->report, "%s: %s", path, why);
	report_failure(client->report, path, NULL, client->fd < 0 ? "connect" : "answer", -error,
		       why);
	return status;
}

int control_judge(const struct control_client *client)
{
	assert(client->reply);
	report_json(client->report, json_incref(client->reply));
	if (strcmp(control_text(client->reply, "event"), "error") != 0)
		return COMMAND_PROCEED;
	report_error(client->report, "%s", control_text(client->reply, "error"));
	return STATUS_FAILED;
}

int control_exchange(struct control_client *client, const char *command, const char *key,
		     const char *value)
{
	int r = control_ask(client, command, key, value);

	return r < 0 ? control_failed(client, r) : control_judge(client);
}

const char *control_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

json_int_t control_integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}
