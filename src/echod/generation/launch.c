/* SPDX-License-Identifier: MIT */
/* How a generation comes to life: scoreboard, settings, channel, process. */
#include "config.h"

#include "echod/generation/launch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/log/log.h"

#define FIRST_FD LISTENER_FD_SETTINGS	/* of a listener */
#define FDS_MAX (LISTENER_FD_SOCKETS - FIRST_FD + SETTINGS_MAX_SOCKETS)

static_assert((int)AT_DEFER == (int)AT_LIMIT_DEFER && (int)AT_REFUSE == (int)AT_LIMIT_REFUSE,
	      "written as they are");

int program_find_listener(int held_fd, struct program *ret_program)
{
	const char *path = secure_getenv("ECHOD_LISTENER");

	if (!path || !*path)
		path = LISTENERDIR "/echod-listener";
	*ret_program = (struct program){ path, open(path, O_PATH | O_CLOEXEC) };
	if (ret_program->fd < 0 && errno == EACCES && held_fd >= 0)
		ret_program->fd = fcntl(held_fd, F_DUPFD_CLOEXEC, 0);
	return ret_program->fd < 0 ? -errno : 0;
}

void program_release(struct program *program)
{
	program->fd = fd_close(program->fd);
}

/* Entries that the scoreboard needs. */
static uint32_t slots_of(const struct generation_plan *plan)
{
	return plan->mode == MODE_SINGLE ? 1 : plan->configuration->limits.connections;
}

/* Those of proxy { trust } that are no Unix sockets. */
static size_t count_prefixes(const struct configuration *configuration)
{
	size_t count = 0;

	for (size_t i = 0; i < configuration->proxy.trust_count; i++)
		count += configuration->proxy.trust[i].bits != TRUST_UNIX;
	return count;
}

static uint32_t flags_of(const struct configuration *configuration,
			 const struct filter filters[FILTER_PLACES])
{
	uint32_t flags = 0;

	if (filters[FILTER_OF_LISTENER].count)
		flags |= SETTINGS_FILTER;
	if (filters[FILTER_OF_WORKER].count)
		flags |= SETTINGS_WORKER_FILTER;
	if (configuration->sandbox == SANDBOX_REQUIRE || configuration->sandbox == SANDBOX_STRICT)
		flags |= SETTINGS_FILTER_REQUIRED;
	if (configuration->log.connections == LOG_CONNECTIONS_ALL)
		flags |= SETTINGS_REPORT_OPEN;
	if (configuration->udp.tos == TOS_MIRROR)
		flags |= SETTINGS_TOS_MIRROR;
	if (count_prefixes(configuration) < configuration->proxy.trust_count)
		flags |= SETTINGS_TRUST_UNIX;
	return flags;
}

static int rule_compare(const void *left, const void *right)
{
	const struct settings_rule *a = left;
	const struct settings_rule *b = right;

	if (a->bits != b->bits)
		return a->bits > b->bits ? -1 : 1;
	return (a->allow > b->allow) - (a->allow < b->allow);
}

/* Returns where the next rule goes. */
static struct settings_rule *rules_add(struct settings_rule *rule, const struct cidr *prefixes,
				       size_t count, bool allow)
{
	for (size_t i = 0; i < count; i++) {
		if (prefixes[i].bits == TRUST_UNIX)
			continue;
		memcpy(rule->prefix, prefixes[i].prefix, sizeof(rule->prefix));
		rule->bits = prefixes[i].bits;
		rule->allow = allow;
		rule++;
	}
	return rule;
}

/* In listen such an address is an error of the file, but systemd may pass a socket of it. */
static bool is_closed(const struct configuration *configuration,
		      const struct listening_socket *socket)
{
	bool is_it = socket->wire.type == SETTINGS_DATAGRAM && !socket->is_local &&
		     configuration->access.allow_count == 0;

	if (is_it)
		log_warning("%s: every datagram is dropped: " CONFIGURATION_OPEN_WHY, socket->text);
	return is_it;
}

/* Writes the tables behind the header of a block that has room for them. */
static void tables_write(struct settings *settings, const struct generation_plan *plan,
			 const struct filter filters[FILTER_PLACES])
{
	const struct configuration *configuration = plan->configuration;
	struct settings_socket *sockets = (struct settings_socket *)(settings + 1);
	struct settings_rule *rules = (struct settings_rule *)(sockets + settings->socket_count);
	struct settings_rule *exempt = rules + settings->rule_count;
	struct settings_rule *trust = exempt + settings->exempt_count;
	struct sock_filter *filter = (struct sock_filter *)(trust + settings->trust_count);
	struct settings_rule *rule = rules;

	for (size_t i = 0; i < settings->socket_count; i++) {
		sockets[i] = plan->sockets->items[i].wire;
		sockets[i].closed = is_closed(configuration, &plan->sockets->items[i]);
	}
	rule = rules_add(rule, configuration->access.deny, configuration->access.deny_count, false);
	rules_add(rule, configuration->access.allow, configuration->access.allow_count, true);
	qsort(rules, settings->rule_count, sizeof(*rules), rule_compare);
	rules_add(exempt, configuration->limits.exempt, configuration->limits.exempt_count, true);
	rules_add(trust, configuration->proxy.trust, configuration->proxy.trust_count, true);
	for (size_t i = 0; i < FILTER_PLACES; filter += filters[i++].count)
		memcpy(filter, filters[i].instructions, filters[i].count * sizeof(*filter));
}

int settings_block_write(const struct generation_plan *plan,
			 const struct filter filters[FILTER_PLACES])
{
	const struct configuration *configuration = plan->configuration;
	size_t rules = configuration->access.allow_count + configuration->access.deny_count;
	struct settings *settings;
	struct settings head = {
		.magic = SETTINGS_MAGIC,
		.version = wire_version,
		.flags = flags_of(configuration, filters),
		.mode = plan->mode,
		.at_limit = configuration->limits.at_limit,
		.connections = slots_of(plan),
		.connections_per_source = configuration->limits.connections_per_source,
		.source_prefix_ipv4 = configuration->limits.source_prefix_ipv4,
		.source_prefix_ipv6 = configuration->limits.source_prefix_ipv6,
		.rate_per_source = configuration->limits.rate_per_source,
		.rate_burst = configuration->limits.rate_burst,
		.idle_us = configuration->timeouts.idle_us,
		.stall_us = configuration->timeouts.stall_us,
		.session_us = configuration->timeouts.session_us,
		.proxy_timeout_us = configuration->proxy.trust_count > 0 ?
			configuration->proxy.timeout_us : 0,
		/*
		 * With an allow list only its peers may connect, without one all that deny does not
		 * name.
		 */
		.access_default_allow = !configuration->access.allow_count,
		.socket_count = (uint32_t)plan->sockets->count,
		.rule_count = (uint32_t)rules,
		.exempt_count = (uint32_t)configuration->limits.exempt_count,
		.trust_count = (uint32_t)count_prefixes(configuration),
		.filter_count = (uint32_t)filters[FILTER_OF_LISTENER].count,
		.worker_filter_count = (uint32_t)filters[FILTER_OF_WORKER].count,
		.datagram_filter_count = (uint32_t)filters[FILTER_OF_DATAGRAM].count,
		.datagram_rate_per_source = configuration->udp.rate_per_source,
		.datagram_rate_burst = configuration->udp.rate_burst,
		.datagram_rate = configuration->udp.rate,
		.datagram_min_source_port = configuration->udp.min_source_port,
	};
	int fd;

	assert(plan->sockets->count <= SETTINGS_MAX_SOCKETS && rules <= SETTINGS_MAX_RULES);
	head.size_bytes = (uint32_t)settings_bytes(&head);
	settings = calloc(1, head.size_bytes);
	if (!settings)
		return -ENOMEM;
	*settings = head;
	tables_write(settings, plan, filters);
	fd = fd_sealed_memory("echod-settings", settings, head.size_bytes);
	free(settings);
	return fd;
}

/* Returns 0 also if there is no filter: sandbox = "off", or "auto" on a machine without seccomp. */
static int filters_compile(const struct generation_plan *plan,
			   struct filter ret_filters[FILTER_PLACES])
{
	const enum sandbox_mode mode = plan->configuration->sandbox;
	const bool has_datagrams = sockets_have_datagrams(plan->sockets);
	unsigned int kinds = mode == SANDBOX_STRICT ? FILTER_LISTENER_STRICT : FILTER_LISTENER;
	int r;

	if (mode == SANDBOX_OFF)
		return 0;
	if (has_datagrams)
		kinds |= FILTER_LISTENER_DATAGRAM;
	r = filter_compile(kinds, &ret_filters[FILTER_OF_LISTENER]);
	if (r == 0 && mode == SANDBOX_STRICT)
		r = filter_compile(FILTER_WORKER, &ret_filters[FILTER_OF_WORKER]);
	if (r == 0 && has_datagrams)
		r = filter_compile(FILTER_DATAGRAM, &ret_filters[FILTER_OF_DATAGRAM]);
	if (r == 0)
		return 0;
	if (mode != SANDBOX_AUTO)
		return log_errno(LOG_ERR, r, "sandbox: cannot compile the system call filter");
	log_errno(LOG_WARNING, r, FILTER_MISSING);
	return 0;
}

/* Returns the sealed block or -errno. */
static int settings_make(const struct generation_plan *plan)
{
	struct filter filters[FILTER_PLACES] = {0};
	int r = filters_compile(plan, filters);

	if (r < 0)
		return r;
	r = settings_block_write(plan, filters);
	return r < 0 ? log_errno(LOG_ERR, r, "settings for the listener") : r;
}

/* If it is, the program is executed by its path, so that ps(1) shows its name. */
static bool is_at_path(const struct program *program)
{
	struct stat held, found;

	return fstat(program->fd, &held) == 0 && stat(program->path, &found) == 0 &&
	       held.st_dev == found.st_dev && held.st_ino == found.st_ino;
}

static int attributes_init(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int r = -posix_spawnattr_init(attributes);

	if (r < 0)
		return r;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						     POSIX_SPAWN_SETSIGDEF);
	return 0;
}

/* lifted: copies above every target, so that no dup2() overwrites a source. */
static int actions_init(posix_spawn_file_actions_t *actions, const int *lifted, size_t count)
{
	int r = -posix_spawn_file_actions_init(actions);

	if (r < 0)
		return r;
#ifdef INSTRUMENTED
	/* Sanitizers write to them. */
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO && r == 0; fd++)
#else
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && r == 0; fd++)
#endif
		r = -posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
	for (size_t i = 0; i < count && r == 0; i++)
		r = -posix_spawn_file_actions_adddup2(actions, lifted[i], FIRST_FD + (int)i);
	if (r < 0)
		posix_spawn_file_actions_destroy(actions);
	return r;
}

/* Returns 0 or -errno, also of exec(3). */
static int spawn(const struct program *program, int held_fd, const int *lifted, size_t count,
		 pid_t *ret_pid)
{
	char *const environment[] = {
		/* otherwise each worker registers rseq, which costs 1 us a fork for nothing. */
		(char[]){ "GLIBC_TUNABLES=glibc.pthread.rseq=0" },
#ifdef INSTRUMENTED
		/*
		 * a sanitizer's finding must be a crash, not an exit code, which would name an end.
		 */
		(char[]){ "ASAN_OPTIONS=abort_on_error=1" },
		(char[]){ "UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1" },
#endif
		NULL
	};
	char *const arguments[] = { (char[]){ "echod-listener" }, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char held[32];
	int r = actions_init(&actions, lifted, count);

	if (r < 0)
		return r;
	r = attributes_init(&attributes);
	if (r == 0) {
		snprintf(held, sizeof(held), "/proc/self/fd/%d", held_fd);
		r = -posix_spawn(ret_pid, is_at_path(program) ? program->path : held, &actions,
				 &attributes, arguments, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* Starts program with these descriptors, from FIRST_FD on. Returns 0 or -errno. */
static int spawn_with(const struct program *program, const int *fds, size_t count, pid_t *ret_pid)
{
	FD_CLEANUP int held_fd = fcntl(program->fd, F_DUPFD_CLOEXEC, FIRST_FD + (int)count);
	int lifted[FDS_MAX];
	size_t lifted_count = 0;
	int r = 0;

	for (; lifted_count < count && r == 0; lifted_count++) {
		lifted[lifted_count] = fcntl(fds[lifted_count], F_DUPFD_CLOEXEC,
					     FIRST_FD + (int)count);
		if (lifted[lifted_count] < 0)
			r = -errno;
	}
	if (r == 0)
		r = spawn(program, held_fd, lifted, count, ret_pid);
	while (lifted_count-- > 0)
		fd_close(lifted[lifted_count]);
	return r;
}

/*
 * Returns a descriptor of the commands that can never write them, owned by the caller, or -errno.
 */
static int open_commands(const struct scoreboard *scoreboard)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", scoreboard->commands_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? log_errno(LOG_ERR, errno, "commands for the listener: %s", path) : fd;
}

static int listener_spawn(struct generation *generation, const struct generation_plan *plan,
			  int settings_fd, int channel_fd)
{
	FD_CLEANUP int commands_fd = open_commands(&generation->scoreboard);
	int fds[FDS_MAX] = {
		settings_fd, generation->scoreboard.table_fd, generation->scoreboard.slots_fd,
		commands_fd, channel_fd,
	};
	size_t count = LISTENER_FD_SOCKETS - FIRST_FD;
	pid_t pid;
	int r;

	if (commands_fd < 0)
		return commands_fd;
	for (size_t i = 0; i < plan->sockets->count; i++)
		fds[count++] = plan->sockets->items[i].fd;
	r = spawn_with(plan->listener, fds, count, &pid);
	if (r != 0)
		return log_errno(LOG_ERR, r, "%s", plan->listener->path);
	generation->group = generation->listener_pid = pid;
	return 0;
}

/* The log needs the paths of Unix sockets as long as the generation lives. */
static void paths_copy(struct table *table, const struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->items[i].unix_path)
			strncpy(table->unix_paths[i], sockets->items[i].unix_path,
				UNIX_PATH_BYTES - 1);
}

/* What the log calls the UDP sockets. */
static void locals_copy(struct datagrams *datagrams, const struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++) {
		const struct settings_socket *wire = &sockets->items[i].wire;

		if (wire->type == SETTINGS_DATAGRAM)
			datagrams->sockets[i].local = settings_local(wire);
	}
}

static int launch(struct generation *generation, const struct generation_plan *plan)
{
	FD_CLEANUP int settings_fd = -1;
	FD_CLEANUP int listener_end = -1;
	int ends[2];
	int r;

	r = scoreboard_create(&generation->scoreboard, slots_of(plan));
	if (r < 0)
		return log_errno(LOG_ERR, r, "memory of the scoreboard");
	paths_copy(generation->scoreboard.table, plan->sockets);
	locals_copy(generation->scoreboard.datagrams, plan->sockets);
	atomic_store(&generation->scoreboard.table->foreign_live, plan->foreign_live);
	atomic_store(&generation->scoreboard.table->asleep, 1);
	settings_fd = settings_make(plan);
	if (settings_fd < 0)
		return settings_fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return log_errno(LOG_ERR, errno, "socketpair");
	generation->channel_fd = ends[0];
	listener_end = ends[1];
	return listener_spawn(generation, plan, settings_fd, listener_end);
}

int generation_start(struct sd_event *loop, const struct generation_plan *plan,
		     const struct generation_hooks *hooks, struct generation **ret_generation)
{
	struct generation *generation = generation_new();
	int r;

	assert(plan->sockets->count > 0);
	if (!generation)
		return -ENOMEM;
	generation->number = plan->number;
	generation->state = GENERATION_STARTING;
	generation->started_ns = clock_now_ns();
	generation->stopped = plan->mode == MODE_SINGLE;	/* it accepts nothing */
	r = launch(generation, plan);
	if (r == 0)
		r = generation_watch(generation, loop, hooks);
	if (r < 0) {
		generation_kill_listener(generation);
		generation_free(generation);
		return r;
	}
	*ret_generation = generation;
	return 0;
}
