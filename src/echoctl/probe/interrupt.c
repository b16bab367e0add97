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
	bool continued;
	int ended;
} interrupts = { .fd = -1 };

int interrupt_open(const struct report *report, uint64_t deadline_us, bool quit_asks)
{
	const struct itimerval timer = {
		.it_value.tv_sec = (time_t)(deadline_us / CLOCK_US_PER_S),
		.it_value.tv_usec = (suseconds_t)(deadline_us % CLOCK_US_PER_S),
	};
	sigset_t set;
	int error;

	if (interrupts.fd >= 0)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGCONT);
	interrupts.quit_asks = quit_asks;
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0 && setitimer(ITIMER_REAL, &timer, NULL) == 0)
		interrupts.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (interrupts.fd >= 0)
		return 0;
	error = errno;
	report_error(report, "signals: %s", strerror(error));
	return -error;
}

void interrupt_close(void)
{
	interrupts.fd = fd_close(interrupts.fd);
}

int interrupt_poll(struct pollfd *polls, nfds_t n, uint64_t wake_ns)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
	struct timespec timeout = {
		.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S),
		.tv_nsec = (long)(left_ns % CLOCK_NS_PER_S),
	};
	int ready;

	polls[n] = (struct pollfd){ .fd = interrupts.fd, .events = POLLIN };
	ready = ppoll(polls, n + 1, &timeout, NULL);
	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	return ready;
}

int interrupt_ended(void)
{
	struct signalfd_siginfo info;

	while (interrupts.fd >= 0 && read(interrupts.fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		if (info.ssi_signo == SIGCONT)
			interrupts.continued = true;
		else if (info.ssi_signo == SIGQUIT && interrupts.quit_asks)
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

bool interrupt_continued(void)
{
	bool continued = interrupts.continued;

	interrupts.continued = false;
	return continued;
}
