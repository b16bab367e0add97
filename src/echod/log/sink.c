/* SPDX-License-Identifier: MIT */
/*
 * Why not sd_journal_send(3) and syslog(3): both write to a blocking socket. When journald or
 * syslogd is stopped its queue fills and the next line would stop the supervisor, and with it
 * the watchdog and every reload. Both protocols are one datagram a line.
 */
#include "echod/log/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

#define SEND_BUFFER_BYTES (1024 * 1024)

static int connect_datagram(const char *path)
{
	FD_CLEANUP int fd = -1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int wanted = SEND_BUFFER_BYTES;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* only a wish: the kernel caps it at net.core.wmem_max */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_steal(&fd);
}

bool log_sink_stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return text != NULL && sscanf(text, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
	       status.st_ino == inode;
}

static bool can_connect(const char *path)
{
	FD_CLEANUP int fd = connect_datagram(path);

	return fd >= 0;
}

enum log_target log_sink_choose(void)
{
	if (log_sink_stderr_is_journal() && can_connect(LOG_SINK_JOURNAL_PATH))
		return LOG_TARGET_JOURNAL;
	if (isatty(STDERR_FILENO) || !can_connect(LOG_SINK_SYSLOG_PATH))
		return LOG_TARGET_STDERR;
	return LOG_TARGET_SYSLOG;
}

/*
 * A terminal that is stopped by ^S would block the writer. O_NONBLOCK on the descriptor that
 * we share with the shell would be rude: the same terminal is opened once more. Where that is
 * not allowed the shared one has to do.
 */
static int open_stderr(void)
{
	int fd = -1;

	if (isatty(STDERR_FILENO))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd >= 0 ? fd : STDERR_FILENO;
}

int log_sink_open(enum log_target target, const char *path, struct log_sink *ret_sink)
{
	struct log_sink sink = {.target = target, .path = path};

	if (target == LOG_TARGET_STDERR) {
		sink.fd = open_stderr();
		sink.with_priority = log_sink_stderr_is_journal();
	} else {
		sink.fd = connect_datagram(path);
		if (sink.fd < 0)
			return sink.fd;
	}
	*ret_sink = sink;
	return 0;
}

static int send_datagram(int fd, const char *bytes, size_t size)
{
	ssize_t sent;

	do
		sent = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return 0;
	return errno == ENOBUFS || errno == ENOMEM ? -EAGAIN : -errno;
}

static bool is_reader_gone(int error)
{
	return error == -ECONNREFUSED || error == -ENOTCONN || error == -ECONNRESET ||
	       error == -EPIPE || error == -EBADF;
}

static int write_datagram(struct log_sink *sink, const char *bytes, size_t size)
{
	int r = send_datagram(sink->fd, bytes, size);

	if (!is_reader_gone(r))
		return r;
	fd_close(sink->fd);
	sink->fd = connect_datagram(sink->path);
	if (sink->fd < 0) {
		sink->fd = -1;
		return -EAGAIN;
	}
	r = send_datagram(sink->fd, bytes, size);
	return is_reader_gone(r) ? -EAGAIN : r;
}

/*
 * Standard error keeps the mode that it was given, so ask before writing: a pipe that poll(2)
 * calls writable takes PIPE_BUF bytes at once, a socket a quarter of its buffer.
 */
static int write_stderr(struct log_sink *sink, const char *bytes, size_t size)
{
	struct pollfd poll_fd = {.fd = sink->fd, .events = POLLOUT};
	ssize_t written;

	if (poll(&poll_fd, 1, 0) < 1)
		return -EAGAIN;
	if (poll_fd.revents & (POLLERR | POLLNVAL))
		return -EPIPE;	/* nobody reads: writing would only raise SIGPIPE */
	if (sink->is_torn && write(sink->fd, "\n", 1) == 1)
		sink->is_torn = false;
	do
		written = write(sink->fd, bytes, size);
	while (written < 0 && errno == EINTR);
	if (written < 0)
		return -errno;
	sink->is_torn = (size_t)written < size;
	return sink->is_torn ? -ENOSPC : 0;
}

int log_sink_write(struct log_sink *sink, const char *bytes, size_t size)
{
	if (sink->target == LOG_TARGET_STDERR)
		return write_stderr(sink, bytes, size);
	return write_datagram(sink, bytes, size);
}

void log_sink_wait(const struct log_sink *sink, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = sink->fd, .events = POLLOUT};

	if (sink->fd >= 0)
		poll(&poll_fd, 1, timeout_ms);
}

void log_sink_close(struct log_sink *sink)
{
	if (sink->fd != STDERR_FILENO)
		fd_close(sink->fd);
	sink->fd = -1;
}
