/* SPDX-License-Identifier: MIT */
/* The start of a listener: nothing is used before it was checked. */
#include "listener/start.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/sys.h"
#include "listener/accept.h"
#include "listener/memory.h"
#include "listener/reap.h"
#include "listener/sandbox.h"
#include "worker/echo.h"
#include "worker/worker.h"

#define SEALS_REQUIRED (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Maps all of a memory file of at least size bytes and closes it. NULL: errno is set. */
static void *map_file(struct lean *lean, int fd, uint64_t size, int protection, size_t *ret_size)
{
	struct stat status;
	void *memory;

	if (fstat(fd, &status) < 0)
		return NULL;
	if (!S_ISREG(status.st_mode) || status.st_size <= 0 || (uint64_t)status.st_size < size) {
		errno = EINVAL;
		return NULL;
	}
	memory = lean_map_shared(lean, fd, (size_t)status.st_size, protection);
	if (!memory)
		return NULL;
	(void)fd_close(fd);
	*ret_size = (size_t)status.st_size;
	return memory;
}

static int take_settings(struct listener *listener, const char **ret_what)
{
	int seals = fcntl(LISTENER_FD_SETTINGS, F_GET_SEALS);
	void *memory;
	size_t size = 0;
	int r;

	if (seals < 0)
		return -errno;
	if ((seals & SEALS_REQUIRED) != SEALS_REQUIRED)
		return -EPERM;
	memory = map_file(&listener->lean, LISTENER_FD_SETTINGS, sizeof(struct settings), PROT_READ,
			  &size);
	if (!memory)
		return -errno;
	r = settings_check(memory, size, ret_what);
	if (r < 0)
		return r;
	listener->settings = memory;
	return 0;
}

static int take_table(struct listener *listener)
{
	uint32_t slots = listener->settings->connections;
	size_t size = 0;
	struct table *table =
		map_file(&listener->lean, LISTENER_FD_TABLE, scoreboard_table_bytes(slots),
			 PROT_READ | PROT_WRITE, &size);

	if (!table || madvise(table, size, MADV_DONTFORK) < 0)
		return -errno;
	if (table->magic != TABLE_MAGIC || table->version != wire_version || table->slots != slots)
		return -EINVAL;
	listener->table = table;
	return 0;
}

static int take_slots(struct listener *listener)
{
	size_t size = 0;

	listener->shared = map_file(&listener->lean, LISTENER_FD_SLOTS,
				    scoreboard_slots_bytes(listener->settings->connections),
				    PROT_READ | PROT_WRITE, &size);
	return listener->shared ? 0 : -errno;
}

static int take_commands(struct listener *listener)
{
	size_t size = 0;

	listener->commands = map_file(&listener->lean, LISTENER_FD_COMMANDS,
				      scoreboard_commands_bytes(listener->settings->connections),
				      PROT_READ, &size);
	return listener->commands ? 0 : -errno;
}

static int take_socket(struct listener *listener, uint32_t index, int fd)
{
	bool is_connection = listener->settings->mode == MODE_SINGLE;
	int r = fd_set_nonblocking(fd, !is_connection);

	if (r < 0)
		return r;
	listener->sockets[index] = fd;
	listener->is_multipath[index] = accept_is_multipath(fd);
	return is_connection || listener->is_multipath[index] ? 0 : echo_keep_urgent(fd);
}

static int take_sockets(struct listener *listener)
{
	for (uint32_t i = 0; i < listener->settings->socket_count; i++) {
		int r = take_socket(listener, i, LISTENER_FD_SOCKETS + (int)i);

		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Accepted TCP connections inherit the ticks; Unix ones do not, their workers set them. A
 * listener of other settings still accepts from the same sockets, and goes on with it when this
 * one fails: nothing that can fail comes after this.
 */
static int set_ticks(const struct listener *listener, const char **ret_what)
{
	uint64_t tick_us = echo_tick_us(listener->settings);
	int r = 0;

	if (listener->settings->mode == MODE_SINGLE)
		return 0;
	*ret_what = "listening sockets";
	for (uint32_t i = 0; i < listener->settings->socket_count && r == 0; i++) {
		r = echo_set_timeout(listener->sockets[i], SO_RCVTIMEO, tick_us);
		if (r == 0)
			r = echo_set_timeout(listener->sockets[i], SO_SNDTIMEO, tick_us);
	}
	return r;
}

static int make_tables(struct listener *listener)
{
	uint64_t seed[2];
	int r = slots_init(&listener->slots, listener->settings->connections);
	ssize_t n;

	if (r < 0)
		return r;
	listener->holders = memory_get(listener->settings->connections * sizeof(struct holder));
	listener->random = memory_get(RANDOM_WORDS * sizeof(*listener->random));
	if (!listener->holders || !listener->random)
		return -ENOMEM;
	n = sys_random(seed, sizeof(seed));
	if (n != (ssize_t)sizeof(seed))
		return n < 0 ? (int)n : -EIO;
	return sources_init(&listener->sources, listener->settings, seed);
}

/*
 * SIGURG says look at your slot, SIGALRM look at your clock; workers inherit that. The supervisor
 * ignores SIGPIPE: that ends here, all that is sent has MSG_NOSIGNAL.
 */
static int set_signals(struct listener *listener)
{
	struct sigaction action = { .sa_handler = worker_interrupt };
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t set;

	sigemptyset(&set);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0 || sigaction(SIGURG, &action, NULL) < 0 ||
	    sigaction(SIGALRM, &action, NULL) < 0 || sigaction(SIGPIPE, &usual, NULL) < 0)
		return -errno;
	listener->signal_fd = reap_open();
	return listener->signal_fd < 0 ? listener->signal_fd : 0;
}

/* The block, the scoreboard and the sockets. */
static int take_descriptors(struct listener *listener, const char **ret_what)
{
	int r;

	*ret_what = "memory for workers";
	r = lean_open(&listener->lean);
	if (r < 0)
		return r;
	*ret_what = "settings";
	r = take_settings(listener, ret_what);
	if (r < 0)
		return r;
	*ret_what = "slots";
	r = take_slots(listener);
	if (r < 0)
		return r;
	*ret_what = "commands";
	r = take_commands(listener);
	if (r < 0)
		return r;
	*ret_what = "table";
	r = take_table(listener);
	if (r < 0)
		return r;
	*ret_what = "listening sockets";
	return take_sockets(listener);
}

/* What the listener needs for itself. */
static int make_state(struct listener *listener, const char **ret_what)
{
	int r;

	*ret_what = "tables";
	r = make_tables(listener);
	if (r < 0)
		return r;
	*ret_what = "signals";
	return set_signals(listener);
}

int start_listener(struct listener *listener, const char **ret_what)
{
	int r = take_descriptors(listener, ret_what);

	if (r == 0)
		r = make_state(listener, ret_what);
	if (r < 0)
		return r;
	listener->pending.fd = -1;
	listener->next_id = 1;
	/* not fatal: without it each fork costs more */
	(void)lean_trim(&listener->lean);
	r = sandbox_enter(listener->settings, &listener->missing_filter, ret_what);
	if (r < 0)
		return r;
	listener->worker_flags = worker_common_flags(listener->settings);
	if (listener->missing_filter != 0)
		listener->worker_flags &= ~(uint32_t)WORKER_FILTER;
	return set_ticks(listener, ret_what);
}
