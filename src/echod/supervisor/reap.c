/* SPDX-License-Identifier: MIT */
/* Children of the supervisor: listeners, and the workers that dead listeners left behind. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "echod/log/log.h"
#include "echod/supervisor/parts.h"

static void log_listener_end(const struct generation *generation, pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_error("listener %d was killed by signal %d (%s)%s", pid, WTERMSIG(status),
			  strsignal(WTERMSIG(status)),
			  WTERMSIG(status) == SIGSYS ? ": a forbidden system call" : "");
	else if (WEXITSTATUS(status) || !generation->stopped)
		log_error("listener %d exited with status %d", pid, WEXITSTATUS(status));
	else
		log_debug("listener %d of generation %llu has finished", pid,
			  (unsigned long long)generation->number);
	if (generation_live(generation))
		log_notice("listener %d left its connections behind, they go on: %u", pid,
			   generation_live(generation));
}

static void listener_gone(struct supervisor *supervisor, struct generation *generation, int status)
{
	pid_t pid = generation->listener_pid;

	/* Its last words (that it failed, events) come before the news of its end. */
	generation_listener_gone(generation, status);
	log_listener_end(generation, pid, status);
	if (supervisor->starting == generation)
		turnover_abandon(supervisor);
	if (supervisor->current == generation) {
		supervisor->current = NULL;
		supervisor->listener_restarts++;
		start_schedule_replacement(
			supervisor, (clock_now_ns() - generation->started_ns) / 1000000);
	}
}

static bool account_listener(struct supervisor *supervisor, pid_t pid, int status)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (i->listener_pid == pid) {
			listener_gone(supervisor, i, status);
			return true;
		}
	return false;
}

static bool account_orphan(struct supervisor *supervisor, pid_t pid, int status,
			   const struct rusage *usage)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (generation_reap(i, pid, status, usage))
			return true;
	return false;
}

static bool account_stranger(struct supervisor *supervisor, int status)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (generation_reap_stranger(i, status))
			return true;
	return false;
}

/* An unknown child may be the orphan of a listener whose own end we have not fetched yet. */
static void look_for_dead_listeners(struct supervisor *supervisor)
{
	for (struct generation *i = supervisor->generations; i; i = i->next) {
		int status;

		if (i->listener_pid && waitpid(i->listener_pid, &status, WNOHANG) > 0)
			listener_gone(supervisor, i, status);
	}
}

void reap_children(struct supervisor *supervisor)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
		if (account_listener(supervisor, pid, status) ||
		    account_orphan(supervisor, pid, status, &usage))
			continue;
		look_for_dead_listeners(supervisor);
		if (!account_orphan(supervisor, pid, status, &usage) &&
		    !account_stranger(supervisor, status))
			log_debug("child %d ended that no generation knows", pid);
	}
}
