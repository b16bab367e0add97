/* SPDX-License-Identifier: MIT */
/* End reasons from wait statuses. */
#include "wire/end.h"

#include <signal.h>
#include <sys/wait.h>

enum end_reason end_of_status(int status, bool is_draining)
{
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (WIFEXITED(status) && WEXITSTATUS(status) < END_COUNT)
		return (enum end_reason)WEXITSTATUS(status);
	if (number == SIGKILL || number == SIGTERM)
		return is_draining ? END_DRAIN : END_KILLED;
	return number != 0 ? END_CRASHED : END_ERROR;
}
