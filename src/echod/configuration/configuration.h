/* SPDX-License-Identifier: MIT */
/* The settings of echod.conf(5), parsed and checked: a plain struct that is replaced as a whole. */
#ifndef ECHOD_CONFIGURATION_CONFIGURATION_H
#define ECHOD_CONFIGURATION_CONFIGURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/cidr.h"

enum log_target {
	LOG_TARGET_AUTO,
	LOG_TARGET_JOURNAL,
	LOG_TARGET_SYSLOG,
	LOG_TARGET_STDERR,
};

enum log_connections {
	LOG_CONNECTIONS_NONE,
	LOG_CONNECTIONS_CLOSE,
	LOG_CONNECTIONS_ALL,
};

enum at_limit {
	AT_DEFER,
	AT_REFUSE,
};

/* The type of service of an answer over UDP. */
enum tos_answer {
	TOS_MIRROR,
	TOS_ZERO,
};

enum sandbox_mode {
	SANDBOX_AUTO,
	SANDBOX_REQUIRE,
	SANDBOX_STRICT,
	SANDBOX_OFF,
};

/* One element of listen = {...}. */
struct configured_address {
	char *text;			/* as written */
	struct address_spec spec;
	struct address addresses[ADDRESS_EXPAND_MAX];	/* its socket addresses */
	int address_count;
};

#define TRUST_UNIX 255

/* Everything is owned by the struct; configuration_free() releases it. */
struct configuration {
	char *path;			/* the file it came from */

	struct configured_address *listen;
	size_t listen_count;
	bool listen_is_set;		/* the key is in the file (or came with -l) */

	char *user;
	bool user_is_set;		/* it is not the default */

	struct {
		uint32_t connections;
		uint32_t connections_per_source;
		uint32_t source_prefix_ipv4;
		uint32_t source_prefix_ipv6;
		uint32_t rate_per_source;
		uint32_t rate_burst;
		enum at_limit at_limit;
		struct cidr *exempt;	/* no limit of a source applies to these */
		size_t exempt_count;
	} limits;

	struct {
		uint32_t rate_per_source;	/* datagrams a second, 0 = off */
		uint32_t rate_burst;
		uint32_t rate;			/* all sources together, 0 = off */
		uint32_t min_source_port;
		enum tos_answer tos;
	} udp;

	struct {
		uint64_t idle_us;	/* 0 = off, here and below */
		uint64_t stall_us;
		uint64_t session_us;
		uint64_t drain_us;
	} timeouts;

	struct {
		struct cidr *allow;
		size_t allow_count;
		struct cidr *deny;
		size_t deny_count;
	} access;

	struct {
		struct cidr *trust;	/* bits TRUST_UNIX: Unix sockets */
		size_t trust_count;
		uint64_t timeout_us;
	} proxy;

	struct {
		int level;		/* LOG_EMERG .. LOG_DEBUG of syslog(3) */
		int facility;		/* LOG_DAEMON ... of syslog(3) */
		enum log_target target;
		enum log_connections connections;
		uint32_t max_per_second;	/* 0 = off */
	} log;

	struct {
		char *path;
		mode_t mode;
		char *group;		/* NULL = none */
		bool path_is_set;	/* it is not the default */
	} control;

	struct {
		char *file;		/* NULL = none: metrics for the node exporter */
	} metrics;

	enum sandbox_mode sandbox;
};

/* Where diagnostics go: text is one whole line, "FILE:LINE: key: why", without a newline. */
typedef void (*configuration_report_fn)(void *context, const char *text);

/* Every setting at its default, path NULL. Returns 0 or -ENOMEM. */
int configuration_default(struct configuration **ret_configuration);

/* What else must hold on this host. */
enum configuration_needs {
	CONFIGURATION_NEEDS_USER = 1u << 0,	/* user exists and is not root */
	CONFIGURATION_NEEDS_GROUP = 1u << 1,	/* control { group } exists */
	CONFIGURATION_NEEDS_GIVING = 1u << 2,	/* this process can give it the control socket */
};

/*
 * Reads and checks path, and checks needs (enum configuration_needs). Every error goes to report,
 * in the order of the file. Returns 0 and a new configuration that the caller frees; -EBADMSG if
 * something was reported (also if a file cannot be read: "FILE: strerror"); -ENOMEM. fd: read from
 * this descriptor, and use path as a name in messages only; -1: open path.
 */
int configuration_load(const char *path, int fd, unsigned needs, configuration_report_fn report,
		       void *context, struct configuration **ret_configuration);

/*
 * Replaces listen by these (option -l). Errors go to report as "-l: why".
 * Returns 0, -EBADMSG, -ENOMEM.
 */
int configuration_override_listen(struct configuration *configuration, char *const *addresses,
				  size_t count, configuration_report_fn report, void *context);

/*
 * The index in listen, from first on, of a UDP address that other hosts reach although access
 * { allow } is empty: sources are easily forged over UDP, so the file has to say that everybody
 * gets an answer. listen_count: there is none.
 */
size_t configuration_find_open(const struct configuration *configuration, size_t first);
#define CONFIGURATION_OPEN_WHY \
	"UDP beyond loopback needs access { allow }; {\"0.0.0.0/0\", \"::/0\"} is everybody"

/*
 * Which two keys name one file, as a phrase; NULL: none do. Sockets and the metrics would take it
 * from each other.
 */
const char *configuration_find_clash(const struct configuration *configuration);

/* LOG_EMERG .. LOG_DEBUG for a word of log.level (option -L), or -EINVAL. */
int configuration_level(const char *word);

/* Writes the settings in the file's own syntax; reading them back gives the same settings. */
void configuration_print(const struct configuration *configuration, FILE *stream);

void configuration_free(struct configuration *configuration);

static inline void configuration_freep(struct configuration **configuration)
{
	configuration_free(*configuration);
}

/* Frees the configuration when the variable goes out of scope. Start it with NULL. */
#define CONFIGURATION_CLEANUP __attribute__((cleanup(configuration_freep)))

#endif
