/* SPDX-License-Identifier: MIT */
/* The control socket and its clients: accepting, reading lines, sending replies, deadlines. */
#include "echod/control/control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/control/client.h"
#include "echod/state/timer.h"

static void client_release(struct control_client *client)
{
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->timer);
	fd_close(client->fd);
	free(client->reply);
	json_decref(client->problems);
	free(client);
}

static void client_free(struct control_client *client)
{
	struct control_client **link = &client->control->clients;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	client_release(client);
}

/* False when the client is gone. */
static bool client_send(struct control_client *client)
{
	while (client->reply_sent < client->reply_size) {
		ssize_t n = send(client->fd, client->reply + client->reply_sent,
				 client->reply_size - client->reply_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		client->reply_sent += (size_t)n;
		timer_arm(client->timer, CONTROL_DEADLINE_US);
	}
	free(client->reply);
	client->reply = NULL;
	client->reply_size = client->reply_sent = 0;
	return true;
}

/* Hands over the first whole line, if there is one and the one before is answered. */
static bool client_take_line(struct control_client *client)
{
	char *end = memchr(client->request, '\n', client->request_size);
	size_t size;

	if (!end)
		return false;
	size = (size_t)(end - client->request);
	control_handle(client, client->request, size);
	client->request_size -= size + 1;
	memmove(client->request, end + 1, client->request_size);
	return true;
}

static bool client_is_busy(const struct control_client *client)
{
	return client->reply || client->is_listing || client->wait != WAIT_NONE ||
	       client->close_after_reply;
}

/* False when the client has closed its end or is gone. */
static bool client_receive(struct control_client *client)
{
	ssize_t n = recv(client->fd, client->request + client->request_size,
			 sizeof(client->request) - client->request_size, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	client->request_size += (size_t)n;
	return true;
}

/* Sends and answers as long as something can be done. False when the client is finished. */
static bool client_turn(struct control_client *client)
{
	for (unsigned turns = 0; turns < 2; turns++) {
		if (!client_send(client))
			return false;
		if (client->reply)
			return true;
		if (client->close_after_reply)
			return false;
		if (client->is_listing)
			control_list_more(client);
		else if (client->wait == WAIT_NONE && !client_take_line(client) &&
			 client->request_size == sizeof(client->request)) {
			control_reply_error(client, "the request is longer than %u bytes",
					    CONTROL_REQUEST_MAX);
			client->close_after_reply = true;
		}
	}
	return true;
}

static bool client_has_line(const struct control_client *client)
{
	return memchr(client->request, '\n', client->request_size);
}

/* What has to happen for the next turn. */
static void client_arm(struct control_client *client)
{
	uint32_t events = 0;

	if (!client_is_busy(client))
		events = client_has_line(client) ? EPOLLOUT : EPOLLIN;
	else if (client->wait == WAIT_NONE)
		events = EPOLLOUT;
	else
		timer_disarm(client->timer);
	sd_event_source_set_io_events(client->io, events);
}

/* A client that has closed its sending half still gets its answers; one that is gone does not. */
static int on_client(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct control_client *client = context;
	bool is_open = !(events & (EPOLLHUP | EPOLLERR));

	(void)source;
	(void)fd;
	if (is_open && (events & EPOLLIN))
		is_open = client_receive(client) || client_has_line(client);
	if (is_open)
		is_open = client_turn(client);
	if (is_open)
		client_arm(client);
	else
		client_free(client);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	client_free(context);
	return 0;
}

static int client_new(struct control *control, struct control_peer peer, int fd)
{
	struct sd_event *loop = control->supervisor->loop;
	struct control_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return -ENOMEM;
	client->control = control;
	client->peer = peer;
	client->fd = -1;
	client->next = control->clients;
	control->clients = client;
	r = sd_event_add_io(loop, &client->io, fd, EPOLLIN, on_client, client);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &client->timer, CLOCK_MONOTONIC,
					       CONTROL_DEADLINE_US, 0, on_deadline, client);
	/* Whatever is asked, events and timers of the listeners go first. */
	if (r >= 0)
		r = sd_event_source_set_priority(client->io, SD_EVENT_PRIORITY_NORMAL + 1);
	if (r >= 0 && peer.role == CONTROL_READER)
		r = sd_event_source_set_ratelimit(client->io, CONTROL_PACE_US,
						  CONTROL_PACE_READER);
	if (r < 0)
		client_free(client);
	else
		client->fd = fd;
	return r;
}

static bool has_room(const struct control *control, enum control_role role)
{
	unsigned clients = 0, readers = 0;

	for (const struct control_client *i = control->clients; i; i = i->next) {
		clients++;
		readers += i->peer.role == CONTROL_READER;
	}
	return clients < CONTROL_CLIENTS_MAX &&
	       (role == CONTROL_OPERATOR || readers < CONTROL_READERS_MAX);
}

static int on_connection(sd_event_source *source, int listening_fd, uint32_t events, void *context)
{
	static const char busy[] = "{\"event\":\"error\",\"version\":1,\"ok\":false,"
				   "\"error\":\"too many clients\"}\n";
	struct control *control = context;
	FD_CLEANUP int fd = accept4(listening_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct control_peer peer;
	char byte;

	(void)source;
	(void)events;
	/* one that has gone again takes nobody's place */
	if (fd < 0 || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		return 0;
	peer = control_peer_of(control, fd);
	if (!has_room(control, peer.role))
		(void)!send(fd, busy, sizeof(busy) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (client_new(control, peer, fd) >= 0)
		fd_steal(&fd);
	return 0;
}

int control_watch(struct control *control)
{
	int r;

	if (!control)
		return 0;
	r = sd_event_add_io(control->supervisor->loop, &control->io, control->fd, EPOLLIN,
			    on_connection, control);
	if (r >= 0)
		r = sd_event_source_set_ratelimit(control->io, CONTROL_PACE_US,
						  CONTROL_PACE_CLIENTS);
	return r;
}

int control_fd(const struct control *control)
{
	return control ? control->fd : -1;
}

gid_t control_group(const struct control *control)
{
	return control ? control->group : CONTROL_NO_GROUP;
}

struct unix_file control_file(const struct control *control)
{
	return control ? control->file : (struct unix_file){0};
}

/* A client that waited is served again. */
static void client_answer(struct control_client *client, json_t *reply)
{
	assert(client->wait != WAIT_NONE);
	client->wait = WAIT_NONE;
	control_reply(client, reply);
	timer_arm(client->timer, CONTROL_DEADLINE_US);
	client_arm(client);
}

void control_note_problem(struct control *control, const char *text)
{
	for (struct control_client *i = control ? control->clients : NULL; i; i = i->next)
		if (i->wait == WAIT_RELOAD_RUNNING &&
		    json_array_size(i->problems) < CONTROL_PROBLEMS_MAX)
			json_array_append_new(i->problems, control_text(text));
}

void control_note_reload(struct control *control)
{
	for (struct control_client *i = control ? control->clients : NULL; i; i = i->next)
		if (i->wait == WAIT_RELOAD)
			i->wait = WAIT_RELOAD_RUNNING;
}

void control_note_reloaded(struct control *control, bool succeeded)
{
	for (struct control_client *i = control ? control->clients : NULL; i; i = i->next)
		if (i->wait == WAIT_RELOAD_RUNNING)
			client_answer(i, json_pack("{s:s, s:i, s:b, s:O}", "event", "reload",
						   "version", CONTROL_VERSION, "ok", succeeded,
						   "problems", i->problems));
}

void control_note_stopping(struct control *control)
{
	for (struct control_client *i = control ? control->clients : NULL; i; i = i->next)
		if (i->wait == WAIT_RELOAD || i->wait == WAIT_RELOAD_RUNNING)
			client_answer(i, control_error("the daemon is stopping"));
}

void control_note_killed(struct control *control, uint64_t first_ns)
{
	for (struct control_client *i = control ? control->clients : NULL; i; i = i->next)
		if (i->wait == WAIT_KILL && i->kill_ns < first_ns)
			client_answer(i, json_pack("{s:s, s:i, s:b, s:I}", "event", "kill",
						   "version", CONTROL_VERSION, "ok", 1,
						   "count", (json_int_t)i->kill_count));
}

void control_note_drained(struct control *control)
{
	control_note_killed(control, UINT64_MAX);
	for (struct control_client *i = control ? control->clients : NULL; i; i = i->next)
		if (i->wait == WAIT_DRAIN)
			client_answer(i, json_pack("{s:s, s:i, s:b}", "event", "drain", "version",
						   CONTROL_VERSION, "ok", 1));
}

void control_free(struct control *control)
{
	if (!control)
		return;
	while (control->clients) {
		struct control_client *client = control->clients;

		control->clients = client->next;
		client_send(client);	/* what it is owed, if it takes that at once */
		client_release(client);
	}
	sd_event_source_disable_unref(control->io);
	unix_remove(control->path, control->file);
	fd_close(control->fd);
	free(control->path);
	free(control);
}
