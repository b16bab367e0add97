/* SPDX-License-Identifier: MIT */
/* Reference for the benchmark: one process, one epoll loop, no isolation: the upper limit. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES 65536u
#define EVENTS 256

/* The tail of a short write; while it lasts the connection is not read from. */
struct tail {
	uint8_t *bytes;
	size_t offset, size;
};

static struct tail *tails;	/* by descriptor */
static size_t tails_size;
static uint8_t buffer[BUFFER_BYTES];
static int epoll_fd;

static void watch(int operation, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) {
		perror("bench-epoll-server: epoll_ctl");
		exit(1);
	}
}

static void drop(int fd)
{
	free(tails[fd].bytes);
	tails[fd] = (struct tail){ 0 };
	close(fd);
}

static bool keep_tail(int fd, const uint8_t *bytes, size_t size)
{
	struct tail *tail = &tails[fd];

	tail->bytes = malloc(size);
	if (!tail->bytes)
		return false;
	memcpy(tail->bytes, bytes, size);
	tail->size = size;
	watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
	return true;
}

static void echo(int fd)
{
	ssize_t n = read(fd, buffer, sizeof(buffer)), written;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(fd);
		return;
	}
	written = write(fd, buffer, (size_t)n);
	if (written < 0 && errno == EAGAIN)
		written = 0;
	if (written < 0 || (written < n && !keep_tail(fd, buffer + written, (size_t)(n - written))))
		drop(fd);
}

static void flush(int fd)
{
	struct tail *tail = &tails[fd];
	ssize_t n = write(fd, tail->bytes + tail->offset, tail->size - tail->offset);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(fd);
		return;
	}
	if (n > 0)
		tail->offset += (size_t)n;
	if (tail->offset == tail->size) {
		free(tail->bytes);
		*tail = (struct tail){ 0 };
		watch(EPOLL_CTL_MOD, fd, EPOLLIN);
	}
}

static void accept_one(int listener_fd)
{
	int fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if ((size_t)fd >= tails_size) {
		close(fd);
		return;
	}
	watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static int open_listener(const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(port));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0) {
		perror("bench-epoll-server: listen");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	struct rlimit files;
	int listener_fd;

	if (argc != 2) {
		fputs("usage: bench-epoll-server PORT\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	tails_size = files.rlim_cur;
	tails = calloc(tails_size, sizeof(*tails));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!tails || epoll_fd < 0)
		return 1;
	listener_fd = open_listener(argv[1]);
	watch(EPOLL_CTL_ADD, listener_fd, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener_fd)
				accept_one(fd);
			else if (tails[fd].size)
				flush(fd);
			else
				echo(fd);
		}
	}
}
