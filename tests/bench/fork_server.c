/* SPDX-License-Identifier: MIT */
/* Reference for the benchmark: accept, fork, echo, in a process that maps a daemon's libraries. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES 65536u

static int echo(int fd)
{
	char buffer[BUFFER_BYTES];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(fd, buffer + done, (size_t)(n - done));
			if (w < 0 && errno == EINTR)
				w = 0;
			if (w < 0)
				return 1;
		}
		if (n < 0)
			return 1;
	}
	return 0;
}

static int open_listener(const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(port));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0) {
		perror("bench-fork-server: listen");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	int listener_fd;

	if (argc != 2) {
		fputs("usage: bench-fork-server PORT\n", stderr);
		return 2;
	}
	signal(SIGCHLD, SIG_IGN);	/* the kernel reaps */
	listener_fd = open_listener(argv[1]);
	for (;;) {
		int fd = accept(listener_fd, NULL, NULL);

		if (fd < 0)
			continue;
		switch (fork()) {
		case 0:
			close(listener_fd);
			_exit(echo(fd));
		case -1:
			perror("bench-fork-server: fork");
		}
		close(fd);
	}
}
