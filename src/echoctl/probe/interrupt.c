/* SPDX-License-Identifier: MIT */
/* Signals as a descriptor. */
#include "echoctl/probe/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"

static struct {
	int fd;
	bool quit_asks;
	bool asked;
	int ended;
} interrupts = {.fd = -1};

int interrupt_open(const struct report *report, bool quit_asks)
{
	sigset_t set;

	interrupts.quit_asks = quit_asks;
	if (interrupts.fd >= 0)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
		interrupts.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (interrupts.fd >= 0)
		return 0;
	report_error(report, "signals: %s", strerror(errno));
	return -errno;
}

void interrupt_close(void)
{
	interrupts.fd = fd_close(interrupts.fd);
}

int interrupt_fd(void)
{
	return interrupts.fd;
}

int interrupt_ended(void)
{
	struct signalfd_siginfo info;

	while (interrupts.fd >= 0 && read(interrupts.fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGQUIT && interrupts.quit_asks)
			interrupts.asked = true;
		else
			interrupts.ended = -EINTR;
	}
	return interrupts.ended;
}

bool interrupt_asked(void)
{
	bool asked = interrupts.asked;

	interrupts.asked = false;
	return asked;
}
