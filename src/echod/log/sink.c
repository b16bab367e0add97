/* SPDX-License-Identifier: MIT */
/*
 * Why not sd_journal_send(3) and syslog(3): both write to a blocking socket. If journald or syslogd
 * is stopped its queue fills, and the next line would block the supervisor, its watchdog and every
 * reload. Both protocols are simple: one datagram a line, or for a syslog daemon that listens on a
 * stream, lines that end with a NUL.
 *
 * Standard error is shared: its reader may stop, and poll(2) before write(2) helps neither against
 * a second writer nor with a terminal that has room for half a line. So every write must be one
 * that cannot wait: MSG_DONTWAIT on a socket, O_NONBLOCK on a file that log_sink_own_stderr() could
 * open again, and splice(2) into the pipe of another user.
 */
#include "echod/log/sink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fd.h"

#define SEND_BUFFER_BYTES (1024 * 1024)
#define OPEN_FLAGS (O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int connect_socket(const char *path, int type)
{
	FD_CLEANUP int fd = -1;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int wanted = SEND_BUFFER_BYTES;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* the kernel caps it at net.core.wmem_max */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* Connects a sink that is not connected. Returns 0 or -errno. */
static int connect_sink(struct log_sink *sink)
{
	sink->is_stream = false;
	sink->is_torn = false;
	sink->sent = 0;
	sink->fd = connect_socket(sink->path, SOCK_DGRAM);
	if (sink->fd == -EPROTOTYPE) {
		sink->fd = connect_socket(sink->path, SOCK_STREAM);
		sink->is_stream = true;
	}
	return sink->fd < 0 ? sink->fd : 0;
}

/* Everybody may open /dev/tty, but it must be the terminal of standard error. */
static int open_controlling_terminal(void)
{
	FD_CLEANUP int fd = open("/dev/tty", OPEN_FLAGS);
	unsigned wanted, found;

	if (fd < 0 || ioctl(STDERR_FILENO, TIOCGDEV, &wanted) < 0 ||
	    ioctl(fd, TIOCGDEV, &found) < 0 || wanted != found)
		return -1;
	return fd_steal(&fd);
}

void log_sink_own_stderr(void)
{
	FD_CLEANUP int fd = -1;
	bool is_terminal = isatty(STDERR_FILENO);
	struct stat status;

	if (!is_terminal && (fstat(STDERR_FILENO, &status) < 0 || !S_ISFIFO(status.st_mode)))
		return;
	fd = open("/proc/self/fd/2", OPEN_FLAGS);
	if (fd < 0 && is_terminal)
		fd = open_controlling_terminal();
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
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

static bool can_connect(const char *path)
{
	int fd = connect_socket(path, SOCK_DGRAM);

	fd_close(fd);
	return fd >= 0 || fd == -EPROTOTYPE;
}

static bool is_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_NONBLOCK);
}

enum log_target log_sink_choose(void)
{
	if (log_sink_stderr_is_journal() && can_connect(LOG_SINK_JOURNAL_PATH))
		return LOG_TARGET_JOURNAL;
	if (isatty(STDERR_FILENO) && is_nonblocking(STDERR_FILENO))
		return LOG_TARGET_STDERR;
	return can_connect(LOG_SINK_SYSLOG_PATH) ? LOG_TARGET_SYSLOG : LOG_TARGET_STDERR;
}

int log_sink_open(enum log_target target, const char *path, struct log_sink *ret_sink)
{
	struct log_sink sink = { .target = target, .path = path, .fd = STDERR_FILENO };
	int r = 0;

	assert(target != LOG_TARGET_AUTO);
	assert(target == LOG_TARGET_STDERR || path);
	if (target != LOG_TARGET_STDERR)
		r = connect_sink(&sink);
	if (r == 0)
		*ret_sink = sink;
	return r;
}

/* Goes through a pipe of our own: one buffer of a pipe is moved as a whole. */
static ssize_t splice_line(const char *line, size_t size)
{
	int fds[2];
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		errno = EAGAIN;
		return -1;
	}
	n = write(fds[1], line, size);
	if (n > 0)
		n = splice(fds[0], NULL, STDERR_FILENO, NULL, (size_t)n, SPLICE_F_NONBLOCK);
	fd_close(fds[0]);
	fd_close(fds[1]);
	return n;
}

static ssize_t write_stderr(const char *bytes, size_t size)
{
	struct pollfd reader = { .fd = STDERR_FILENO };
	struct stat status;

	/* no reader is left: writing would only raise SIGPIPE */
	if (poll(&reader, 1, 0) == 1) {
		errno = EPIPE;
		return -1;
	}
	if (is_nonblocking(STDERR_FILENO))
		return write(STDERR_FILENO, bytes, size);
	if (fstat(STDERR_FILENO, &status) < 0)
		return -1;
	if (S_ISSOCK(status.st_mode))
		return send(STDERR_FILENO, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (S_ISFIFO(status.st_mode))
		return splice_line(bytes, size);
	if (isatty(STDERR_FILENO)) {
		errno = EPERM;
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

/* Returns why a write failed; -EAGAIN if the same write may succeed later. */
static int write_error(void)
{
	bool is_passing = errno == EINTR || errno == ENOBUFS || errno == ENOMEM;

	return is_passing ? -EAGAIN : -errno;
}

/* Writes what is left of the line. Returns as log_sink_write(). */
static int write_rest(struct log_sink *sink, const char *line)
{
	size_t size = strlen(line) + (sink->is_stream ? 1 : 0);
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
	int r;

	assert(*line && sink->sent <= strlen(line));
	r = write_rest(sink, line);
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

void log_sink_close(struct log_sink *sink)
{
	if (sink->fd != STDERR_FILENO)
		fd_close(sink->fd);
	sink->fd = -1;
}
