/* SPDX-License-Identifier: MIT */
/*
 * Why not sd_journal_send(3) and syslog(3): both write to a blocking socket. If journald or
 * syslogd is stopped its queue fills, and the next line would stop the supervisor, and with it
 * the watchdog and every reload. Both protocols are one datagram a line.
 */
#include "echod/log/sink.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

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

/* Connects a sink that is not connected. Returns 0 or -errno. */
static int connect_sink(struct log_sink *sink)
{
	sink->is_torn = false;
	sink->sent = 0;
	sink->fd = connect_datagram(sink->path);
	return sink->fd < 0 ? sink->fd : 0;
}

bool log_sink_stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return text && sscanf(text, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
	       status.st_ino == inode;
}

static bool can_open(enum log_target target, const char *path)
{
	struct log_sink sink;

	if (log_sink_open(target, path, &sink) < 0)
		return false;
	log_sink_close(&sink);
	return true;
}

enum log_target log_sink_choose(void)
{
	if (log_sink_stderr_is_journal() && can_open(LOG_TARGET_JOURNAL, LOG_SINK_JOURNAL_PATH))
		return LOG_TARGET_JOURNAL;
	if (isatty(STDERR_FILENO) || !can_open(LOG_TARGET_SYSLOG, LOG_SINK_SYSLOG_PATH))
		return LOG_TARGET_STDERR;
	return LOG_TARGET_SYSLOG;
}

int log_sink_open(enum log_target target, const char *path, struct log_sink *ret_sink)
{
	struct log_sink sink = LOG_SINK_STDERR;
	int r;

	assert(target != LOG_TARGET_AUTO);
	if (target != LOG_TARGET_STDERR) {
		sink.target = target;
		sink.path = path;
		r = connect_sink(&sink);
		if (r < 0)
			return r;
	}
	*ret_sink = sink;
	return 0;
}

/*
 * Standard error keeps the mode that it was given, so ask before writing: a pipe that poll(2)
 * calls writable takes PIPE_BUF bytes at once, a socket a quarter of its buffer.
 */
static ssize_t write_stderr(const char *bytes, size_t size)
{
	struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (poll(&reader, 1, 0) < 1) {
		errno = EAGAIN;
		return -1;
	}
	if (reader.revents & (POLLERR | POLLNVAL)) {
		errno = EPIPE;	/* nobody reads: writing would only raise SIGPIPE */
		return -1;
	}
	return write(STDERR_FILENO, bytes, size);
}

static ssize_t write_some(const struct log_sink *sink, const char *bytes, size_t size)
{
	if (sink->target == LOG_TARGET_STDERR)
		return write_stderr(bytes, size);
	return send(sink->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Why a write failed. Returns -EAGAIN if the same write may go well later. */
static int write_error(void)
{
	bool is_passing = errno == EINTR || errno == ENOBUFS || errno == ENOMEM;

	return is_passing ? -EAGAIN : -errno;
}

/* Writes what is left of the line. Returns as log_sink_write(). */
static int write_rest(struct log_sink *sink, const char *line)
{
	size_t size = strlen(line);
	ssize_t n;

	if (sink->is_torn && write_some(sink, "\n", 1) < 0)
		return write_error();
	sink->is_torn = false;
	while (sink->sent < size) {
		n = write_some(sink, line + sink->sent, size - sink->sent);
		if (n < 0)
			return write_error();
		sink->sent += (size_t)n;
	}
	sink->sent = 0;
	return 0;
}

static bool is_reader_gone(int error)
{
	return error == -ECONNREFUSED || error == -ENOTCONN || error == -ECONNRESET ||
	       error == -EPIPE || error == -EBADF;
}

int log_sink_write(struct log_sink *sink, const char *line)
{
	int r = write_rest(sink, line);

	if (is_reader_gone(r) && sink->target != LOG_TARGET_STDERR) {
		fd_close(sink->fd);
		r = connect_sink(sink) < 0 ? -EAGAIN : write_rest(sink, line);
		return is_reader_gone(r) ? -EAGAIN : r;
	}
	if (r < 0 && r != -EAGAIN) {
		sink->is_torn |= sink->sent > 0;
		sink->sent = 0;
	}
	return r;
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
