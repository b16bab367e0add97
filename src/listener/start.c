/* SPDX-License-Identifier: MIT */
/*
 * From the descriptors that the supervisor passed to a listener that is ready to fork: checks
 * everything before it is used, then gives up all rights that listener and workers do not need.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/oom.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "listener/lean.h"
#include "listener/listener.h"
#include "worker/worker.h"

#define SEALS_REQUIRED (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/*
 * systemd/echod.service lowers the supervisor's score by as much: workers then have an ordinary
 * one.
 */
#define OOM_SCORE_STEP 300

/* The counters of a coverage build go to files at the end. */
#ifdef COVERAGE
#define IS_COVERED true
#else
#define IS_COVERED false
#endif

/* Maps size bytes of a memory file and closes it. Returns NULL and sets errno if it cannot. */
static void *map_file(int fd, uint64_t size, int protection)
{
	void *memory;

	if (fd_file_bytes(fd) < size) {
		errno = EINVAL;
		return NULL;
	}
	memory = lean_map_shared(fd, (size_t)size, protection);
	if (memory)
		(void)fd_close(fd);
	return memory;
}

static int take_settings(struct listener *listener)
{
	uint64_t size = fd_file_bytes(LISTENER_FD_SETTINGS);
	int seals = fcntl(LISTENER_FD_SETTINGS, F_GET_SEALS);

	if (seals < 0)
		return -errno;
	if ((seals & SEALS_REQUIRED) != SEALS_REQUIRED)
		return -EPERM;
	if (size < sizeof(struct settings))
		return -EINVAL;
	listener->settings = map_file(LISTENER_FD_SETTINGS, size, PROT_READ);
	if (!listener->settings)
		return -errno;
	return settings_check(listener->settings, (size_t)size, &listener->step);
}

static int take_slots(struct listener *listener)
{
	listener->shared = map_file(LISTENER_FD_SLOTS,
				    scoreboard_slots_bytes(listener->settings->connections),
				    PROT_READ | PROT_WRITE);
	return listener->shared ? 0 : -errno;
}

static int take_commands(struct listener *listener)
{
	listener->commands = map_file(LISTENER_FD_COMMANDS,
				      scoreboard_commands_bytes(listener->settings->connections),
				      PROT_READ);
	return listener->commands ? 0 : -errno;
}

static int take_table(struct listener *listener)
{
	const uint32_t slots = listener->settings->connections;
	const uint64_t size = scoreboard_table_bytes(slots);
	struct table *table = map_file(LISTENER_FD_TABLE, size, PROT_READ | PROT_WRITE);

	if (!table || madvise(table, (size_t)size, MADV_DONTFORK) < 0)
		return -errno;
	if (table->magic != TABLE_MAGIC || table->version != wire_version || table->slots != slots)
		return -EINVAL;
	listener->table = table;
	return 0;
}

/* The counters, and the pipe that tells the datagram process to end; nothing without UDP. */
static int take_datagrams(struct listener *listener)
{
	struct datagram_process *datagrams = &listener->datagrams;
	const uint32_t slots = listener->settings->connections;
	const size_t size = sizeof(*datagrams->counters);
	void *memory;

	for (uint32_t i = 0; i < listener->settings->socket_count; i++)
		datagrams->is_wanted |= settings_is_datagram(listener->settings, i);
	if (!datagrams->is_wanted)
		return 0;
	if (fd_file_bytes(LISTENER_FD_TABLE) < scoreboard_table_file_bytes(slots))
		return -EINVAL;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, LISTENER_FD_TABLE,
		      (off_t)scoreboard_datagrams_offset(slots));
	if (memory == MAP_FAILED || madvise(memory, size, MADV_DONTFORK) < 0 ||
	    pipe2(datagrams->life, O_CLOEXEC) < 0)
		return -errno;
	datagrams->counters = memory;
	return 0;
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
		int r;

		listener->sockets[i] = -1;
		if (settings_is_datagram(listener->settings, i))
			continue;
		r = take_socket(listener, i, LISTENER_FD_SOCKETS + (int)i);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_tables(struct listener *listener)
{
	int r = slots_init(&listener->slots, listener->settings->connections);

	if (r == 0)
		r = sources_init(&listener->sources, listener->settings);
	if (r == 0)
		r = waiting_init(listener);
	/* all memory is mapped now, and /proc is closed soon */
	lean_trim();
	return r;
}

/*
 * Workers inherit the handlers: at SIGURG they look at their slot, at SIGALRM at the clock.
 * SIGPIPE, which the supervisor ignores, gets its default back: every send has MSG_NOSIGNAL.
 */
static int set_signals(struct listener *listener)
{
	const struct sigaction action = { .sa_handler = worker_interrupt };
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, REAP_SIGNAL);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0 || sigaction(SIGURG, &action, NULL) < 0 ||
	    sigaction(SIGALRM, &action, NULL) < 0 || sigaction(SIGPIPE, &usual, NULL) < 0)
		return -errno;
	listener->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return listener->signal_fd < 0 ? -errno : 0;
}

/*
 * If memory is short the kernel ends the process with the highest score. That must be a worker,
 * which costs one connection, and not the supervisor, which would cost all. Every process may raise
 * its score; a failure is harmless.
 */
static int raise_oom_score(struct listener *listener)
{
	FD_CLEANUP int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[16] = "";
	long score;
	int length;

	(void)listener;
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	score = strtol(text, NULL, 10) + OOM_SCORE_STEP;
	length = snprintf(text, sizeof(text), "%ld",
			  score < OOM_SCORE_ADJ_MAX ? score : OOM_SCORE_ADJ_MAX);
	(void)!pwrite(fd, text, (size_t)length, 0);
	return 0;
}

/*
 * The supervisor has given up what it could. Calls capset(2) only if something is left, because the
 * system call filter of the unit forbids it.
 */
static int drop_privileges(struct listener *listener)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct held[2], none[2] = {0};
	unsigned long capability = 0;

	(void)listener;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	while (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
		capability++;
	if (syscall(SYS_capget, &header, held) == 0 && memcmp(held, none, sizeof(none)) == 0)
		return 0;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* Gives up every right over files that this kernel's version of Landlock knows. */
static int deny_files(struct listener *listener)
{
	static const uint64_t rights_of_version[] = { 0, (1u << 13) - 1, (1u << 14) - 1,
						      (1u << 15) - 1, (1u << 15) - 1,
						      (1u << 16) - 1 };
	const size_t known = sizeof(rights_of_version) / sizeof(rights_of_version[0]) - 1;
	struct landlock_ruleset_attr rules = { .handled_access_fs = 0 };
	FD_CLEANUP int fd = -1;
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);

	(void)listener;
	if (version <= 0 || IS_COVERED)
		return 0;
	rules.handled_access_fs =
		rights_of_version[(size_t)version < known ? (size_t)version : known];
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules.handled_access_fs), 0);
	if (fd < 0)
		return -errno;
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}

/* No core dumps, only empty files, few descriptors beside the listening sockets. */
static int set_limits(struct listener *listener)
{
	int r = sys_set_limit(RLIMIT_CORE, 0);

	if (r == 0 && !IS_COVERED)
		r = sys_set_limit(RLIMIT_FSIZE, 0);
	if (r == 0)
		r = sys_set_limit(RLIMIT_NOFILE, settings_descriptors(listener->settings));
	return r;
}

/* A filter that cannot be installed is a failure only with SETTINGS_FILTER_REQUIRED. */
static int install_filter(struct listener *listener)
{
	const struct settings *settings = listener->settings;
	int r;

	/* a worker that ends soon then need not read the settings, which saves a page fault */
	if (settings->session_us > 0)
		listener->worker_flags |= WORKER_SESSION;
	if (settings->flags & SETTINGS_WORKER_FILTER)
		listener->worker_flags |= WORKER_FILTER;
	if ((settings->flags & SETTINGS_FILTER) == 0)
		return 0;
	r = sys_install_filter(settings_filter(settings), settings->filter_count);
	if (r == 0 || (settings->flags & SETTINGS_FILTER_REQUIRED))
		return r;
	listener->missing_filter = -r;
	return 0;
}

/*
 * Accepted TCP connections inherit the ticks; Unix ones do not, their workers set them. An older
 * listener with other settings still accepts from the same sockets and needs its own ticks if this
 * one fails: so this is the last step that can fail.
 */
static int set_ticks(struct listener *listener)
{
	int r = 0;

	if (listener->settings->mode == MODE_SINGLE)
		return 0;
	for (uint32_t i = 0; i < listener->settings->socket_count && r == 0; i++) {
		if (!settings_is_datagram(listener->settings, i))
			r = echo_set_ticks(listener->sockets[i], listener->settings);
	}
	return r;
}

static const struct {
	const char *name;
	int (*run)(struct listener *listener);
} steps[] = {
	{ "settings", take_settings },
	{ "slots", take_slots },
	{ "commands", take_commands },
	{ "datagram counters", take_datagrams },
	{ "table", take_table },
	{ "listening sockets", take_sockets },
	{ "tables", make_tables },
	{ "signals", set_signals },
	{ "OOM score", raise_oom_score },
	{ "privileges", drop_privileges },
	{ "resource limits", set_limits },
	{ "Landlock", deny_files },
	{ "seccomp filter", install_filter },
	{ "listening sockets", set_ticks },
};

int start_listener(struct listener *listener)
{
	int r = lean_open();

	listener->step = "memory for workers";
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && r == 0; i++) {
		listener->step = steps[i].name;
		r = steps[i].run(listener);
	}
	return r;
}
