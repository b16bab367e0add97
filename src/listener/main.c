/* SPDX-License-Identifier: MIT */
/*
 * echod-listener: accepts, judges, forks, reaps. Started by echod only, with the descriptors of
 * wire/settings.h.
 *
 * Exit status: 0 drained (told to stop and the last worker reaped), 1 could not start
 * (MESSAGE_FAILED says why), 2 not started by echod.
 */
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "listener/listener.h"

enum listener_exit { EXIT_DRAINED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* If the channel is not there, somebody has started the program by hand. */
static bool is_started_by_echod(void)
{
	int type = 0;
	socklen_t length = sizeof(type);

	return getsockopt(LISTENER_FD_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
	       type == SOCK_SEQPACKET;
}

int main(void)
{
	struct listener *listener;
	int r;

	(void)prctl(PR_SET_NAME, "echod-listener", 0, 0, 0);
	if (!is_started_by_echod()) {
		fputs("echod-listener: started by echod only, see echod(8)\n", stderr);
		return EXIT_USAGE;
	}
	/* Ctrl-C on a terminal is for echod, which then drains us */
	(void)setsid();
	listener = tables_memory(sizeof(*listener));
	if (!listener)
		return EXIT_FAILED;
	listener->channel_fd = LISTENER_FD_CHANNEL;
	listener->pending.fd = -1;
	listener->next_id = 1;
	r = start_listener(listener);
	if (r < 0) {
		(void)channel_send(listener, MESSAGE_FAILED, (uint32_t)-r);
		sys_exit(EXIT_FAILED);
	}
	/*
	 * so that the connection becomes descriptor 0: a worker then closes all others with one
	 * call
	 */
	(void)close(STDIN_FILENO);
	datagrams_tend(listener, clock_now_ns());
	(void)channel_send(listener, MESSAGE_READY, (uint32_t)listener->missing_filter);
	if (listener->settings->mode == MODE_SINGLE)
		accept_single(listener);
	loop_run(listener);
	sys_exit(EXIT_DRAINED);
}
