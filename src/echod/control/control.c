/* SPDX-License-Identifier: MIT */
/* The control socket and its clients: accepting, reading lines, sending replies, deadlines. */
#include "echod/control/control.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/control/client.h"
#include "echod/log/log.h"
#include "echod/sockets/unix.h"

#define GROUPS_MAX 1024

/*
 * An id that is not mapped into our user namespace reads as this one (user_namespaces(7)), so it is
 * no operator.
 */
#define UNMAPPED_ID 65534

static bool has_group(int fd, const struct ucred *peer, gid_t group)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (group == UNMAPPED_ID || group == CONTROL_NO_GROUP)
		return false;
	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool may_act(const struct control *control, const struct ucred *peer, int fd)
{
	return peer->uid == 0 || (peer->uid == geteuid() && peer->uid != UNMAPPED_ID) ||
	       has_group(fd, peer, control->group);
}

static void client_free(struct control_client *client)
{
	struct control_client **link = &client->control->clients;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->timer);
	fd_close(client->fd);
	free(client->reply);
	json_decref(client->problems);
	free(client);
}

/* Returns false if the client is gone. */
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

/* The end of the first whole line, or NULL. */
static char *line_end(struct control_client *client)
{
	return memchr(client->request, '\n', client->request_size);
}

/* Handles the first whole line, if there is one. */
static bool client_take_line(struct control_client *client)
{
	char *end = line_end(client);
	size_t size;

	if (!end)
		return false;
	size = (size_t)(end - client->request);
	control_handle(client, client->request, size);
	client->request_size -= size + 1;
	memmove(client->request, end + 1, client->request_size);
	return true;
}

/* Returns false if the client has closed its end or is gone. */
static bool client_receive(struct control_client *client)
{
	ssize_t n = recv(client->fd, client->request + client->request_size,
			 sizeof(client->request) - client->request_size, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	client->request_size += (size_t)n;
	return true;
}

/*
 * Sends and answers as long as possible without waiting. Returns false if the client is finished.
 */
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

/* Sets the events that begin the next turn. */
static void client_arm(struct control_client *client)
{
	bool is_busy = client->reply || client->is_listing || client->close_after_reply;
	uint32_t events = 0;

	if (client->wait != WAIT_NONE)
		timer_disarm(client->timer);
	else
		events = is_busy || line_end(client) ? EPOLLOUT : EPOLLIN;
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
		is_open = client_receive(client) || line_end(client);
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

/* Owns fd from now on; a client that cannot be served is closed. */
static void client_new(struct control *control, const struct ucred *peer, bool is_operator, int fd)
{
	struct sd_event *loop = control->supervisor->loop;
	struct control_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client) {
		fd_close(fd);
		return;
	}
	client->control = control;
	client->uid = peer->uid;
	client->pid = peer->pid;
	client->is_operator = is_operator;
	client->fd = fd;
	client->next = control->clients;
	control->clients = client;
	r = sd_event_add_io(loop, &client->io, fd, EPOLLIN, on_client, client);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &client->timer, CLOCK_MONOTONIC,
					       CONTROL_DEADLINE_US, 0, on_deadline, client);
	/* Events and timers of the listeners go before all requests. */
	if (r >= 0)
		r = sd_event_source_set_priority(client->io, SD_EVENT_PRIORITY_NORMAL + 1);
	if (r >= 0 && !is_operator)
		r = sd_event_source_set_ratelimit(client->io, CONTROL_PACE_US,
						  CONTROL_PACE_READER);
	if (r < 0)
		client_free(client);
}

static bool has_room(const struct control *control, bool is_operator)
{
	unsigned clients = 0, readers = 0;

	for (const struct control_client *i = control->clients; i; i = i->next) {
		clients++;
		readers += !i->is_operator;
	}
	return clients < CONTROL_CLIENTS_MAX &&
	       (is_operator || readers < CONTROL_READERS_MAX);
}

static int on_connection(sd_event_source *source, int listening_fd, uint32_t events, void *context)
{
	static const char busy[] = "{\"event\":\"error\",\"version\":1,\"ok\":false,"
				   "\"error\":\"too many clients\"}\n";
	struct control *control = context;
	FD_CLEANUP int fd = accept4(listening_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct ucred peer = { .pid = 0, .uid = UNMAPPED_ID, .gid = UNMAPPED_ID };
	socklen_t size = sizeof(peer);
	bool is_operator;
	char byte;

	(void)source;
	(void)events;
	/* a client that has gone again takes no place */
	if (fd < 0 || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		return 0;
	is_operator = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
		      may_act(control, &peer, fd);
	if (!has_room(control, is_operator))
		(void)!send(fd, busy, sizeof(busy) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		client_new(control, &peer, is_operator, fd_steal(&fd));
	return 0;
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

void control_save(const struct control *control, int *ret_fd, gid_t *ret_group,
		  struct unix_file *ret_file)
{
	*ret_fd = control ? control->fd : -1;
	*ret_group = control ? control->group : CONTROL_NO_GROUP;
	*ret_file = control ? control->file : (struct unix_file){0};
}

int control_adopt(struct supervisor *supervisor, int fd, gid_t group, struct unix_file file,
		  struct control **ret_control)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(address);
	struct control *made;

	assert(fd >= 0);
	/* a reload may have brought another path for the next start */
	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->supervisor = supervisor;
	made->address = address;
	made->file = file.inode ? file : unix_find(address.sun_path);
	made->group = group;
	made->fd = fd;
	*ret_control = made;
	return 0;
}

/* Logs why there is no socket. Returns error, or 0 if a socket is optional. */
static int tell_failure(const struct configuration *configuration, int error, const char *call)
{
	const char *path = configuration->control.path;

	if (configuration->control.group && strcmp(call, "chown") == 0)
		return log_errno(LOG_ERR, error, "control.group: %s", configuration->control.group);
	if (configuration->control.path_is_set)
		return log_errno(LOG_ERR, error, "control.path: %s", path);
	log_errno(LOG_NOTICE, error, "no control socket: %s", path);
	return 0;
}

int control_open(struct supervisor *supervisor, struct control **ret_control)
{
	const struct configuration *configuration = supervisor->configuration;
	const char *path = configuration->control.path, *name = configuration->control.group;
	const struct group *found = name ? getgrnam(name) : NULL;
	gid_t group = found ? found->gr_gid : CONTROL_NO_GROUP;
	FD_CLEANUP int fd = -1;
	const char *call;
	int r;

	*ret_control = NULL;
	if (name && !found) {
		log_error("control.group: %s: no such group", name);
		return -ENOENT;
	}
	if (!path)
		return 0;
	/* started by root: make the folder in /run, as RuntimeDirectory= does under systemd */
	r = geteuid() == 0 ? unix_make_folder(path) : 0;
	if (r < 0)
		log_errno(LOG_WARNING, r, "control.path: the folder of %s", path);
	fd = unix_listen(path, configuration->control.mode, group, &call);
	if (fd < 0)
		return tell_failure(configuration, fd, call);
	r = control_adopt(supervisor, fd, group, unix_find(path), ret_control);
	if (r < 0)
		unix_remove(path, unix_find(path));
	else
		fd_steal(&fd);
	return r;
}

int control_restore(struct control *control)
{
	struct control *fresh = NULL;
	struct control old;
	int r;

	if (!control || unix_is_same(unix_find(control->address.sun_path), control->file))
		return 0;
	r = control_open(control->supervisor, &fresh);
	if (r < 0 || !fresh)
		return r;
	/* the clients stay */
	fresh->clients = control->clients;
	control->clients = NULL;
	old = *control;
	*control = *fresh;
	*fresh = old;
	control_free(fresh);
	log_info("control: %s is there again", control->address.sun_path);
	return control_watch(control);
}

static bool differ(const char *a, const char *b)
{
	return !a != !b || (a && strcmp(a, b) != 0);
}

bool control_has_changed(const struct configuration *old, const struct configuration *new)
{
	return differ(old->control.path, new->control.path) ||
	       differ(old->control.group, new->control.group) ||
	       old->control.mode != new->control.mode;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	for (struct control_client *client = control->clients, *next; client; client = next) {
		next = client->next;
		client_send(client);	/* the rest of its answer, if it takes that */
		client_free(client);
	}
	sd_event_source_disable_unref(control->io);
	unix_remove(control->address.sun_path, control->file);
	fd_close(control->fd);
	free(control);
}
