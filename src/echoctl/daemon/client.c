/* SPDX-License-Identifier: MIT */
/* The control socket from the client's end. */
#include "echoctl/daemon/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/probe/interrupt.h"

#define LINE_MAX_BYTES (4u << 20)	/* a status has a few thousand bytes */
#define READ_BYTES (64u << 10)

const struct option control_timeout_options[] = {
	{"timeout", required_argument, NULL, OPTION_OWN},
	{0},
};

const char *control_take_timeout(void *timeout_us, int option, const char *value)
{
	(void)option;
	return command_take_timeout(value, timeout_us);
}

struct control_client control_client(struct globals *globals)
{
	return (struct control_client){ .globals = globals, .fd = -1 };
}

/* Says why to people, and to programs as every command says what it has not reached. */
static int give_up(const struct control_client *client, int status, const char *phase, int error,
		   const char *why)
{
	struct report *report = &client->globals->report;
	const char *path = client->globals->control_path;

	report_error(report, "%s: %s", path, why);
	report_failure(report, path, NULL, phase, error, why);
	return status;
}

static int connect_error(const struct control_client *client, int error)
{
	const char *why = strerror(error);

	if (error == ENOENT || error == ECONNREFUSED)
		why = "no echod answers there: it does not run, or its control socket is "
		      "elsewhere (--control PATH)";
	else if (error == EACCES)
		why = "not permitted: only root, the service user and the group of the socket "
		      "may connect";
	else if (error == EAGAIN)
		why = "the daemon does not answer in time";
	return give_up(client, STATUS_UNREACHED, "connect", error, why);
}

static int local_error(const struct globals *globals, const char *what, int error)
{
	report_error(&globals->report, "%s: %s", what, strerror(error));
	return STATUS_LOCAL;
}

static void disconnect(struct control_client *client)
{
	client->fd = fd_close(client->fd);
	free(client->bytes);
	client->bytes = NULL;
	client->size = client->used = client->taken = 0;
}

int control_connect(struct control_client *client)
{
	const struct globals *globals = client->globals;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	FD_CLEANUP int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return local_error(globals, "socket", errno);
	if (strlen(globals->control_path) >= sizeof(address.sun_path))
		return connect_error(client, ENAMETOOLONG);
	strcpy(address.sun_path, globals->control_path);
	/* that is also how long the connect waits for room in the backlog */
	(void)fd_set_send_timeout(fd, globals->connect_timeout_us);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return connect_error(client, errno);
	/* Not before: a connect that waits is to end at a signal too. */
	if (interrupt_open(&globals->report, globals->deadline_us, false) < 0)
		return STATUS_LOCAL;
	disconnect(client);
	client->fd = fd_steal(&fd);
	return COMMAND_PROCEED;
}

void control_close(struct control_client *client)
{
	disconnect(client);
}

/* Sends a request as one line. Returns 0 or -errno. */
static int ask(struct control_client *client, json_t *request)
{
	char *line = json_dumps(request, JSON_COMPACT);
	size_t size = line ? strlen(line) + 1 : 0;
	int r = line ? 0 : -ENOMEM;

	json_decref(request);
	if (line)
		line[size - 1] = '\n';		/* in the place of its NUL */
	for (size_t sent = 0; sent < size && r == 0;) {
		ssize_t n = send(client->fd, line + sent, size - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR)
			r = errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
	free(line);
	return r;
}

/* Waits until something can be read. */
static int await(struct control_client *client, uint64_t deadline_ns)
{
	struct pollfd wait[] = { { client->fd, POLLIN, 0 }, { interrupt_fd(), POLLIN, 0 } };
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	struct timespec left = {
		.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S),
		.tv_nsec = (long)(left_ns % CLOCK_NS_PER_S),
	};
	int n = ppoll(wait, 2, &left, NULL);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ETIMEDOUT;
	return interrupt_ended();
}

static int make_room(struct control_client *client)
{
	char *more;

	if (client->used >= LINE_MAX_BYTES)
		return -EBADMSG;
	if (client->size - client->used >= READ_BYTES)
		return 0;
	more = realloc(client->bytes, client->size * 2 + READ_BYTES);
	if (!more)
		return -ENOMEM;
	client->bytes = more;
	client->size = client->size * 2 + READ_BYTES;
	return 0;
}

/* Returns how many bytes came, or -errno. */
static ssize_t receive(struct control_client *client, uint64_t deadline_ns)
{
	int error = make_room(client);
	ssize_t n;

	if (error == 0)
		error = await(client, deadline_ns);
	if (error < 0)
		return error;
	n = recv(client->fd, client->bytes + client->used, READ_BYTES, MSG_DONTWAIT);
	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	client->used += (size_t)n;
	return n;
}

int control_parse(const char *line, json_t **ret_reply)
{
	json_t *object = json_loads(line, 0, NULL);

	if (!json_is_string(json_object_get(object, "event"))) {
		json_decref(object);
		return -EBADMSG;
	}
	*ret_reply = object;
	return 0;
}

int control_read(struct control_client *client, uint64_t timeout_us, json_t **ret_reply)
{
	uint64_t deadline_ns = clock_now_ns() + timeout_us * 1000;
	size_t searched = 0;
	char *end = NULL;

	if (client->taken) {
		client->used -= client->taken;
		memmove(client->bytes, client->bytes + client->taken, client->used);
		client->taken = 0;
	}
	for (;;) {
		ssize_t n;

		if (client->used > searched)
			end = memchr(client->bytes + searched, '\n', client->used - searched);
		if (end)
			break;
		searched = client->used;
		n = receive(client, deadline_ns);
		if (n < 0)
			return (int)n;
	}
	*end = '\0';
	client->taken = (size_t)(end - client->bytes) + 1;
	return control_parse(client->bytes, ret_reply);
}

int control_ask(struct control_client *client, json_t *request, uint64_t timeout_us,
		json_t **ret_reply)
{
	int r = ask(client, request);

	/* It may have said why ("too many clients") before it closed. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return r;
	return control_read(client, timeout_us, ret_reply);
}

int control_failed(const struct control_client *client, int error)
{
	const char *why = strerror(-error);
	int status = STATUS_UNREACHED;

	switch (error) {
	case -EINTR:
		report_error(&client->globals->report, "interrupted");
		return STATUS_FAILED;
	case -ECONNRESET:
	case -EPIPE:
		why = "the daemon closed the connection without an answer";
		break;
	case -ETIMEDOUT:
		why = "the daemon does not answer in time";
		break;
	case -EBADMSG:
		why = "what answers there is no echod";
		break;
	default:
		status = STATUS_LOCAL;
	}
	return give_up(client, status, "answer", -error, why);
}

int control_judge(struct control_client *client, json_t *reply)
{
	struct report *report = &client->globals->report;

	report_line(report, client->bytes);
	if (strcmp(control_text(reply, "event"), "error") != 0)
		return COMMAND_PROCEED;
	report_error(report, "%s", control_text(reply, "error"));
	return STATUS_FAILED;
}

int control_exchange(struct globals *globals, json_t *request, json_t **ret_reply)
{
	struct control_client client = control_client(globals);
	json_t *reply = NULL;
	int status = control_connect(&client);
	int r;

	if (status != COMMAND_PROCEED) {
		json_decref(request);
		return status;
	}
	r = control_ask(&client, request, globals->connect_timeout_us, &reply);
	status = r < 0 ? control_failed(&client, r) : control_judge(&client, reply);
	control_close(&client);
	if (status == COMMAND_PROCEED)
		*ret_reply = reply;
	else
		json_decref(reply);
	return status;
}

json_t *control_request(const char *name)
{
	return json_pack("{s:s, s:i}", "command", name, "version", 1);
}

const char *control_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}
