/* SPDX-License-Identifier: MIT */
/*
 * Datagrams in a closed loop: each flow (a socket, so a source port) has a window in flight and
 * sends the next ones as answers come. What is 200 ms late is lost and sent anew. With -g a window
 * goes out as one merged message, which the kernel cuts (UDP_SEGMENT).
 */
#include "load.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOW_MAX 64u
#define BYTES_MAX 65507u
#define LATE_NS 200000000u
#define MERGED_MAX 65536u

struct flow {
	int fd;
	uint64_t sent, answered, lost, corrupt;
	uint64_t merged;	/* of answered: several in one, though each was sent alone */
	uint64_t in_flight;
	uint64_t last_ns;	/* last progress */
};

struct run {
	const struct load_options *options;
	struct flow *flows;
	struct pollfd *fds;
	uint8_t *pattern;	/* what each datagram has behind its number */
	uint8_t *buffer;
};

static int flow_open(const struct load_options *options, struct flow *ret_flow)
{
	int on = 1, size = 4 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	*ret_flow = (struct flow){ .fd = fd, .last_ns = now_ns() };
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (options->is_merged && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&options->target, sizeof(options->target)) < 0)
		return -errno;
	return 0;
}

static void number(uint8_t *datagram, uint64_t serial)
{
	memcpy(datagram, &serial, sizeof(serial));
}

/* One message of count datagrams that the kernel cuts. */
static unsigned send_merged(const struct run *run, struct flow *flow, unsigned count)
{
	const size_t bytes = run->options->bytes;
	const uint16_t segment = (uint16_t)bytes;
	struct iovec part = { run->buffer, count * bytes };
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(segment))] = { 0 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = IPPROTO_UDP;
	header->cmsg_type = UDP_SEGMENT;
	header->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(header), &segment, sizeof(segment));
	for (unsigned i = 0; i < count; i++) {
		memcpy(run->buffer + i * bytes, run->pattern, bytes);
		number(run->buffer + i * bytes, flow->sent + i);
	}
	return sendmsg(flow->fd, &message, 0) < 0 ? 0 : count;
}

static unsigned send_plain(const struct run *run, struct flow *flow, unsigned count)
{
	uint64_t serials[WINDOW_MAX];
	struct mmsghdr messages[WINDOW_MAX] = { 0 };
	struct iovec parts[WINDOW_MAX][2];
	int n;

	for (unsigned i = 0; i < count; i++) {
		serials[i] = flow->sent + i;
		parts[i][0] = (struct iovec){ &serials[i], sizeof(serials[i]) };
		parts[i][1] = (struct iovec){ run->pattern + sizeof(serials[i]),
					      run->options->bytes - sizeof(serials[i]) };
		messages[i].msg_hdr.msg_iov = parts[i];
		messages[i].msg_hdr.msg_iovlen = 2;
	}
	n = sendmmsg(flow->fd, messages, count, 0);
	return n < 0 ? 0 : (unsigned)n;
}

static void fill_window(const struct run *run, struct flow *flow)
{
	unsigned count = run->options->window - (unsigned)flow->in_flight, n;

	/* a merged message is worth its call only when it is long */
	if (count == 0 || (run->options->is_merged && flow->in_flight > 0))
		return;
	n = run->options->is_merged ? send_merged(run, flow, count) : send_plain(run, flow, count);
	flow->sent += n;
	flow->in_flight += n;
}

static void take_answer(const struct run *run, struct flow *flow, const uint8_t *answer)
{
	const size_t bytes = run->options->bytes;
	uint64_t serial;

	memcpy(&serial, answer, sizeof(serial));
	if (serial >= flow->sent || memcmp(answer + sizeof(serial), run->pattern + sizeof(serial),
					   bytes - sizeof(serial)) != 0) {
		flow->corrupt++;
		return;
	}
	flow->answered++;
	if (flow->in_flight > 0)
		flow->in_flight--;
}

static void receive(const struct run *run, struct flow *flow, uint64_t at_ns)
{
	const size_t bytes = run->options->bytes;

	for (;;) {
		ssize_t n = recv(flow->fd, run->buffer, MERGED_MAX, 0);

		if (n < 0)
			return;
		if ((size_t)n % bytes != 0)
			flow->corrupt++;
		if ((size_t)n > bytes && !run->options->is_merged)
			flow->merged += (size_t)n / bytes;
		for (size_t at = 0; at + bytes <= (size_t)n; at += bytes)
			take_answer(run, flow, run->buffer + at);
		flow->last_ns = at_ns;
	}
}

static void turn(struct run *run)
{
	uint64_t at_ns;

	for (unsigned i = 0; i < run->options->clients; i++)
		fill_window(run, &run->flows[i]);
	(void)poll(run->fds, run->options->clients, LATE_NS / 1000000);
	at_ns = now_ns();
	for (unsigned i = 0; i < run->options->clients; i++) {
		struct flow *flow = &run->flows[i];

		if (run->fds[i].revents)
			receive(run, flow, at_ns);
		if (flow->in_flight > 0 && at_ns - flow->last_ns > LATE_NS) {
			flow->lost += flow->in_flight;
			flow->in_flight = 0;
			flow->last_ns = at_ns;
		}
	}
}

static int report(const struct run *run, uint64_t elapsed_ns)
{
	struct flow sum = { 0 };

	for (unsigned i = 0; i < run->options->clients; i++) {
		sum.sent += run->flows[i].sent;
		sum.answered += run->flows[i].answered;
		sum.lost += run->flows[i].lost;
		sum.merged += run->flows[i].merged;
		sum.corrupt += run->flows[i].corrupt;
	}
	printf("{\"datagrams\":%llu,\"sent\":%llu,\"lost\":%llu,\"merged\":%llu,"
	       "\"failed\":%llu,\"per_second\":%.0f}\n",
	       (unsigned long long)sum.answered, (unsigned long long)sum.sent,
	       (unsigned long long)sum.lost, (unsigned long long)sum.merged,
	       (unsigned long long)sum.corrupt,
	       (double)sum.answered * 1e9 / (double)elapsed_ns);
	return sum.corrupt > 0 || sum.answered == 0;
}

static uint64_t came_back(const struct run *run)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < run->options->clients; i++)
		sum += run->flows[i].answered + run->flows[i].corrupt;
	return sum;
}

static int run_open(struct run *run)
{
	const struct load_options *options = run->options;

	run->flows = calloc(options->clients, sizeof(*run->flows));
	run->fds = calloc(options->clients, sizeof(*run->fds));
	run->pattern = malloc(options->bytes);
	run->buffer = malloc(MERGED_MAX);
	if (!run->flows || !run->fds || !run->pattern || !run->buffer)
		return -ENOMEM;
	for (size_t i = 0; i < options->bytes; i++)
		run->pattern[i] = (uint8_t)(i * 131 + i / 256);
	for (unsigned i = 0; i < options->clients; i++) {
		int r = flow_open(options, &run->flows[i]);

		if (r < 0)
			return r;
		run->fds[i] = (struct pollfd){ .fd = run->flows[i].fd, .events = POLLIN };
	}
	return 0;
}

/* The sockets end with the process. */
static void run_release(struct run *run)
{
	free(run->flows);
	free(run->fds);
	free(run->pattern);
	free(run->buffer);
}

int load_datagram(const struct load_options *options)
{
	struct run run = { .options = options };
	uint64_t begin_ns, end_ns;
	int r;

	if (options->bytes < 2 * sizeof(uint64_t) || options->bytes > BYTES_MAX ||
	    options->window > WINDOW_MAX ||
	    (options->is_merged && options->window * options->bytes > BYTES_MAX))
		return -EINVAL;
	r = run_open(&run);
	if (r == 0) {
		begin_ns = now_ns();
		end_ns = begin_ns + options->duration_ns;
		while (now_ns() < end_ns && came_back(&run) < options->count)
			turn(&run);
		r = report(&run, now_ns() - begin_ns);
	}
	run_release(&run);
	return r;
}
