/* SPDX-License-Identifier: MIT */
/* Load modes that open many connections: "rate" closes each at once, "hold" keeps them. */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define TICK_MS 100
#define NS_PER_MS 1000000u
#define MAX_SAMPLES 2000000u
#define HOLD_WINDOW 64u		/* connections opened at a time: less than any backlog */

enum phase {
	PHASE_FREE,
	PHASE_ECHO,	/* the message is under way, or waits for the connection */
	PHASE_HELD,
	PHASE_FIN,	/* our half is closed */
};

struct client {
	int fd;
	enum phase phase;
	uint8_t sent, received;
	uint64_t serial;
	uint64_t started_ns;
	uint64_t progress_ns;
	struct client *next_free;
};

struct failures {
	uint64_t connect, reset, early_fin, corrupt, excess, stalled;
};

struct load {
	const struct load_options *options;
	struct client *clients;
	struct client *free;
	struct samples first_echo;
	struct failures failures;
	int epoll_fd;
	unsigned active;	/* clients that are not free */
	unsigned held;
	uint64_t opened;
	uint64_t completed;
	uint64_t stop_ns;	/* completions after it do not count */
	bool hold;
};

static uint64_t failures_sum(const struct failures *f)
{
	return f->connect + f->reset + f->early_fin + f->corrupt + f->excess + f->stalled;
}

static void client_finish(struct load *load, struct client *c, uint64_t *failure)
{
	close(c->fd);
	if (c->phase == PHASE_HELD)
		load->held--;
	c->phase = PHASE_FREE;
	c->next_free = load->free;
	load->free = c;
	load->active--;
	if (failure)
		(*failure)++;
}

/* Sends what is left of the message. The connection may still be coming up: then it waits. */
static void client_send(struct load *load, struct client *c)
{
	uint8_t message[MESSAGE_BYTES];
	ssize_t n;

	message_fill(message, c->serial);
	n = send(c->fd, message + c->sent, MESSAGE_BYTES - c->sent, MSG_NOSIGNAL);
	if (n >= 0)
		c->sent = (uint8_t)(c->sent + n);
	else if (errno != EAGAIN && errno != EINTR)
		client_finish(load, c, &load->failures.connect);
}

static int client_open(struct load *load)
{
	const struct load_options *options = load->options;
	struct client *c = load->free;
	struct epoll_event event = { .data.ptr = c };
	int r;

	c->started_ns = c->progress_ns = now_ns();
	c->serial = load->opened++;
	c->sent = c->received = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	r = source_bind(c->fd, options, c->serial);
	if (r < 0) {
		close(c->fd);
		return r;
	}
	c->phase = PHASE_ECHO;
	load->free = c->next_free;
	load->active++;
	r = connect(c->fd, (const struct sockaddr *)&options->target, sizeof(options->target));
	if (r < 0 && errno != EINPROGRESS) {
		client_finish(load, c, &load->failures.connect);
		return 0;
	}
	/* On loopback the handshake is mostly over by now: one wake-up saved. */
	client_send(load, c);
	if (c->phase == PHASE_FREE)
		return 0;
	event.events = c->sent < MESSAGE_BYTES ? EPOLLIN | EPOLLOUT : EPOLLIN;
	if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) {
		r = -errno;
		client_finish(load, c, NULL);
		return r;
	}
	return 0;
}

static void client_half_close(struct load *load, struct client *c)
{
	if (c->phase == PHASE_HELD)
		load->held--;
	c->phase = PHASE_FIN;
	c->progress_ns = now_ns();
	if (shutdown(c->fd, SHUT_WR) < 0)
		client_finish(load, c, &load->failures.reset);
}

static void client_echoed(struct load *load, struct client *c)
{
	samples_add(&load->first_echo, c->progress_ns - c->started_ns);
	if (load->hold) {
		c->phase = PHASE_HELD;
		load->held++;
	} else {
		client_half_close(load, c);
	}
}

static void client_receive(struct load *load, struct client *c)
{
	uint8_t message[MESSAGE_BYTES], reply[MESSAGE_BYTES + 1];
	size_t missing = MESSAGE_BYTES - (size_t)c->received;
	/* one byte more than is due: an excess byte must not hide in the kernel */
	ssize_t n = recv(c->fd, reply, missing + 1, 0);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_finish(load, c, &load->failures.reset);
		return;
	}
	c->progress_ns = now_ns();
	if (n == 0) {
		if (c->phase == PHASE_FIN && c->progress_ns <= load->stop_ns)
			load->completed++;
		client_finish(load, c, c->phase == PHASE_FIN ? NULL : &load->failures.early_fin);
		return;
	}
	if ((size_t)n > missing) {
		client_finish(load, c, &load->failures.excess);
		return;
	}
	message_fill(message, c->serial);
	if (memcmp(reply, message + c->received, (size_t)n) != 0) {
		client_finish(load, c, &load->failures.corrupt);
		return;
	}
	c->received = (uint8_t)(c->received + n);
	if (c->received == MESSAGE_BYTES)
		client_echoed(load, c);
}

static void client_event(struct load *load, struct client *c, uint32_t events)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

	if ((events & EPOLLOUT) && c->sent < MESSAGE_BYTES) {
		client_send(load, c);
		if (c->phase == PHASE_FREE)
			return;
		if (c->sent == MESSAGE_BYTES)
			epoll_ctl(load->epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		client_receive(load, c);
}

static int load_wait(struct load *load)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(load->epoll_fd, events, EVENTS, TICK_MS);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		client_event(load, events[i].data.ptr, events[i].events);
	return 0;
}

static void load_expire(struct load *load)
{
	uint64_t now = now_ns();

	for (unsigned i = 0; i < load->options->clients; i++) {
		struct client *c = &load->clients[i];

		if (c->phase != PHASE_FREE && c->phase != PHASE_HELD &&
		    now - c->progress_ns > load->options->stall_ns)
			client_finish(load, c, &load->failures.stalled);
	}
}

/* Opens connections until `window` of them are under way or all are opened. */
static int load_fill(struct load *load, unsigned window)
{
	int r = 0;

	while (r == 0 && load->free && load->active - load->held < window &&
	       load->opened < load->options->count)
		r = client_open(load);
	return r;
}

static int load_allocate(struct load *load, const struct load_options *options)
{
	size_t capacity = options->count < MAX_SAMPLES ? options->count : MAX_SAMPLES;

	load->options = options;
	load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (load->epoll_fd < 0)
		return -errno;
	load->clients = malloc(options->clients * sizeof(*load->clients));
	if (!load->clients || samples_allocate(&load->first_echo, capacity) < 0) {
		free(load->clients);
		close(load->epoll_fd);
		return -ENOMEM;
	}
	for (unsigned i = options->clients; i-- > 0;) {
		load->clients[i] = (struct client){ .next_free = load->free };
		load->free = &load->clients[i];
	}
	return 0;
}

static void load_free(struct load *load)
{
	for (unsigned i = 0; i < load->options->clients; i++)
		if (load->clients[i].phase != PHASE_FREE)
			close(load->clients[i].fd);
	samples_free(&load->first_echo);
	free(load->clients);
	close(load->epoll_fd);
}

static void load_print(struct load *load, const char *mode, double seconds)
{
	const struct failures *f = &load->failures;

	printf("{\"mode\":\"%s\",\"clients\":%u,\"completed\":%llu,\"seconds\":%.3f,"
	       "\"per_second\":%.1f,", mode, load->options->clients,
	       (unsigned long long)load->completed, seconds, (double)load->completed / seconds);
	samples_print(&load->first_echo, "first_echo_us");
	printf(",\"failed\":%llu,\"failures\":{\"connect\":%llu,\"reset\":%llu,\"early_fin\":%llu,"
	       "\"corrupt\":%llu,\"excess\":%llu,\"stalled\":%llu}}\n",
	       (unsigned long long)failures_sum(f), (unsigned long long)f->connect,
	       (unsigned long long)f->reset, (unsigned long long)f->early_fin,
	       (unsigned long long)f->corrupt, (unsigned long long)f->excess,
	       (unsigned long long)f->stalled);
	fflush(stdout);
}

int load_rate(const struct load_options *options)
{
	struct load load = { .hold = false };
	uint64_t start, end, expire_ns;
	int r = load_allocate(&load, options);

	if (r < 0)
		return r;
	start = now_ns();
	load.stop_ns = start + options->duration_ns;
	expire_ns = start + TICK_MS * NS_PER_MS;
	for (end = start; r == 0; end = now_ns()) {
		bool open = end < load.stop_ns && load.opened < options->count;

		if (open)
			r = load_fill(&load, options->clients);
		else if (load.active == 0)
			break;
		if (r == 0 && load.active)
			r = load_wait(&load);
		if (end > expire_ns) {
			load_expire(&load);
			expire_ns = end + TICK_MS * NS_PER_MS;
		}
	}
	if (end > load.stop_ns)
		end = load.stop_ns;
	if (r == 0) {
		load_print(&load, "rate", (double)(end - start) / 1e9);
		r = failures_sum(&load.failures) > 0;
	}
	load_free(&load);
	return r;
}

/* True when somebody wrote to standard input, closed it, or patience ran out. */
static bool hold_released(uint64_t deadline_ns)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char line[64];

	if (now_ns() >= deadline_ns)
		return true;
	return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, line, sizeof(line)) >= 0;
}

static int hold_open(struct load *load)
{
	int r = 0;

	while (r == 0 && load->held < load->options->clients &&
	       failures_sum(&load->failures) == 0 && now_ns() < load->stop_ns) {
		r = load_fill(load, HOLD_WINDOW);
		if (r == 0)
			r = load_wait(load);
		load_expire(load);
	}
	return r;
}

/* Half-closes all, a window at a time, and waits for every FIN. */
static int hold_close(struct load *load)
{
	unsigned next = 0;
	int r = 0;

	load->stop_ns = UINT64_MAX;
	while (r == 0 && load->active > 0) {
		for (; next < load->options->clients &&
		     load->active - load->held < HOLD_WINDOW; next++)
			if (load->clients[next].phase == PHASE_HELD)
				client_half_close(load, &load->clients[next]);
		if (load->active > 0)
			r = load_wait(load);
		load_expire(load);
	}
	return r;
}

/*
 * Speaks on standard output: "ready" (memory allocated, nothing opened), then,
 * after a line on standard input, "held" and, after another one, the result.
 */
int load_hold(const struct load_options *options)
{
	struct load load = { .hold = true };
	uint64_t deadline_ns = now_ns() + options->duration_ns, start;
	int r = load_allocate(&load, options);

	if (r < 0)
		return r;
	puts("{\"event\":\"ready\"}");
	fflush(stdout);
	while (!hold_released(deadline_ns))
		poll(&(struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN }, 1, TICK_MS);
	start = now_ns();
	load.stop_ns = deadline_ns;
	r = hold_open(&load);
	if (r == 0) {
		printf("{\"event\":\"held\",\"held\":%u}\n", load.held);
		fflush(stdout);
	}
	while (r == 0 && !hold_released(deadline_ns))
		r = load_wait(&load);
	if (r == 0)
		r = hold_close(&load);
	if (r == 0) {
		load_print(&load, "hold", (double)(now_ns() - start) / 1e9);
		r = load.completed < options->clients || failures_sum(&load.failures) > 0;
	}
	load_free(&load);
	return r;
}
