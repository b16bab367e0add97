/* SPDX-License-Identifier: MIT */
/* Signals as a descriptor. */
#include "echoctl/probe/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

static struct {
	int fd;
	bool quit_asks;
	bool asked;
	int ended;
} interrupts = {.fd = -1};

int interrupt_open(const struct report *report, uint64_t deadline_us, bool quit_asks)
{
	const struct itimerval timer = {
		.it_value.tv_sec = (time_t)(deadline_us / CLOCK_US_PER_S),
		.it_value.tv_usec = (suseconds_t)(deadline_us % CLOCK_US_PER_S),
	};
	sigset_t set;

	if (interrupts.fd >= 0)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGALRM);
	interrupts.quit_asks = quit_asks;
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0 && setitimer(ITIMER_REAL, &timer, NULL) == 0)
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
		else if (interrupts.ended == 0)
			interrupts.ended = info.ssi_signo == SIGALRM ? -ETIMEDOUT : -EINTR;
	}
	return interrupts.ended;
}

bool interrupt_asked(void)
{
	bool asked = interrupts.asked;

	interrupts.asked = false;
	return asked;
}
