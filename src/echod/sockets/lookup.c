/* SPDX-License-Identifier: MIT */
/* A child asks the resolver and writes what it says into memory that both share. */
#include "echod/sockets/lookup.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/configuration/names.h"
#include "echod/sockets/item.h"
#include "echod/sockets/resolve.h"

struct answer {
	bool is_asked;
	bool is_given;			/* stored last */
	int result;			/* as sockets_resolve() or names_check_group() */
	char why[KEY_WHY_MAX];
	struct resolved resolved;
};

struct lookup {
	const struct configuration *configuration;
	struct answer *answers;		/* for each element of listen, then for the group; shared */
	size_t count;			/* elements of listen */
	int child_fd;			/* pidfd, owned */
	bool is_over;
	struct sd_event_source *child_source;
	struct sd_event_source *timer;
};

static bool is_bound(const struct sockets *sockets, const char *text)
{
	for (size_t i = 0; i < sockets->count; i++)
		if (sockets_is_for(&sockets->items[i], text))
			return true;
	return false;
}

/* Marks what only a resolver or the name service can tell; returns how many there are. */
static size_t mark_asked(struct lookup *lookup, const struct lookup_known *known)
{
	const char *group = lookup->configuration->control.group;
	struct resolved resolved;
	const char *why;
	size_t asked = 0;

	if (group && (!known->group || strcmp(group, known->group) != 0)) {
		lookup->answers[lookup->count].is_asked = true;
		asked++;
	}
	for (size_t i = 0; known->sockets && i < lookup->count; i++) {
		const struct configured_address *wanted = &lookup->configuration->listen[i];

		if (is_bound(known->sockets, wanted->text) ||
		    sockets_resolve(&wanted->spec, false, &resolved, &why) != -ENODATA)
			continue;
		lookup->answers[i].is_asked = true;
		asked++;
	}
	return asked;
}

static _Noreturn void run_child(const struct lookup *lookup, pid_t parent)
{
	struct answer *group = &lookup->answers[lookup->count];

	/* A descriptor that stays open here would hide the end of the supervisor from others. */
	close_range(STDERR_FILENO + 1, UINT_MAX, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE);
	for (size_t i = 0; i < lookup->count; i++) {
		struct answer *answer = &lookup->answers[i];
		const char *why = "";

		if (!answer->is_asked)
			continue;
		answer->result = sockets_resolve(&lookup->configuration->listen[i].spec, true,
						 &answer->resolved, &why);
		snprintf(answer->why, sizeof(answer->why), "%s", why);
		answer->is_given = true;
	}
	if (group->is_asked) {
		group->result = names_check_group(lookup->configuration->control.group, group->why);
		group->is_given = true;
	}
	_exit(EXIT_SUCCESS);
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct lookup *lookup = context;

	(void)fd;
	(void)events;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	lookup->is_over = true;
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t now_us, void *context)
{
	struct lookup *lookup = context;

	(void)source;
	(void)now_us;
	/* its end is what is waited for */
	pidfd_send_signal(lookup->child_fd, SIGKILL, NULL, 0);
	return 0;
}

static int start_child(struct lookup *lookup, struct sd_event *loop)
{
	pid_t parent = getpid(), child = fork();
	int result;

	if (child < 0)
		return -errno;
	if (child == 0)
		run_child(lookup, parent);
	/* Nobody reaps it before we are back in the loop. */
	lookup->child_fd = pidfd_open(child, 0);
	if (lookup->child_fd < 0) {
		result = -errno;
		kill(child, SIGKILL);
		return result;
	}
	result = sd_event_add_io(loop, &lookup->child_source, lookup->child_fd, EPOLLIN, on_end,
				 lookup);
	if (result >= 0)
		result = sd_event_add_time_relative(loop, &lookup->timer, CLOCK_MONOTONIC,
						    LOOKUP_DEADLINE_S * CLOCK_US_PER_S, 0,
						    on_deadline, lookup);
	return result < 0 ? result : 0;
}

int lookup_start(struct sd_event *loop, const struct configuration *configuration,
		 const struct lookup_known *known, struct lookup **ret_lookup)
{
	struct lookup *made = calloc(1, sizeof(*made));
	int result = 0;

	*ret_lookup = NULL;
	if (!made)
		return -ENOMEM;
	made->configuration = configuration;
	made->count = configuration->listen_count;
	made->child_fd = -1;
	made->answers = mmap(NULL, (made->count + 1) * sizeof(*made->answers),
			     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (made->answers == MAP_FAILED) {
		free(made);
		return -ENOMEM;
	}
	if (mark_asked(made, known))
		result = start_child(made, loop);
	if (result < 0 || made->child_fd < 0)
		lookup_free(made);
	else
		*ret_lookup = made;
	return result;
}

bool lookup_is_over(const struct lookup *lookup)
{
	return lookup->is_over;
}

static int take_answer(const struct answer *answer, const char **ret_why)
{
	*ret_why = answer->is_given ? answer->why : "the name service gave no answer";
	return answer->is_given ? answer->result : -ETIMEDOUT;
}

int lookup_answer(const struct lookup *lookup, size_t index, struct resolved *ret_resolved,
		  const char **ret_why)
{
	const struct answer *answer = &lookup->answers[index];
	int result;

	if (!answer->is_asked)
		return sockets_resolve(&lookup->configuration->listen[index].spec, false,
				       ret_resolved, ret_why);
	result = take_answer(answer, ret_why);
	if (result == 0)
		*ret_resolved = answer->resolved;
	return result;
}

int lookup_group(const struct lookup *lookup, const char **ret_why)
{
	const struct answer *answer = &lookup->answers[lookup->count];

	return answer->is_asked ? take_answer(answer, ret_why) : 0;
}

struct lookup *lookup_free(struct lookup *lookup)
{
	if (!lookup)
		return NULL;
	if (lookup->child_fd >= 0 && !lookup->is_over)
		pidfd_send_signal(lookup->child_fd, SIGKILL, NULL, 0);
	sd_event_source_unref(lookup->child_source);
	sd_event_source_unref(lookup->timer);
	fd_close(lookup->child_fd);
	munmap(lookup->answers, (lookup->count + 1) * sizeof(*lookup->answers));
	free(lookup);
	return NULL;
}
