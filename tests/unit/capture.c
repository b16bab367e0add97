/* SPDX-License-Identifier: MIT */
/* A syslog daemon of a few lines. */
#include "unit/capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/log/log.h"

void capture_start_reader(struct capture *capture)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", capture->path);
	unlink(capture->path);
	capture->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(capture->fd >= 0);
	assert_return_code(bind(capture->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void capture_stop_reader(struct capture *capture)
{
	close(capture->fd);
	capture->fd = -1;
}

void capture_start(struct capture *capture, enum log_target target)
{
	strcpy(capture->folder, "/tmp/echod-test-XXXXXX");
	assert_non_null(mkdtemp(capture->folder));
	snprintf(capture->path, sizeof(capture->path), "%s/log", capture->folder);
	capture_start_reader(capture);
	log_close();
	assert_int_equal(log_open_at(target, LOG_DAEMON, capture->path), 0);
}

const char *capture_raw(struct capture *capture)
{
	static char line[CAPTURE_LINE_MAX];
	ssize_t size = recv(capture->fd, line, sizeof(line) - 1, 0);

	if (size < 0) {
		/* what waited for room in the socket may come now */
		log_flush();
		size = recv(capture->fd, line, sizeof(line) - 1, 0);
	}
	if (size < 0)
		return NULL;
	line[size] = '\0';
	return line;
}

const char *capture_line(struct capture *capture, int *ret_priority)
{
	const char *line = capture_raw(capture);
	const char *text;

	if (!line)
		return NULL;
	text = strstr(line, "]: ");
	assert_non_null(text);
	if (ret_priority)
		*ret_priority = LOG_PRI(atoi(line + 1));
	return text + strlen("]: ");
}

void capture_end(struct capture *capture)
{
	log_close();
	close(capture->fd);
	unlink(capture->path);
	rmdir(capture->folder);
}
