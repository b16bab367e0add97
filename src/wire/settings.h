/* SPDX-License-Identifier: MIT */
/* The settings block: what a listener is told at its start, in a sealed memfd. */
#ifndef ECHOD_WIRE_SETTINGS_H
#define ECHOD_WIRE_SETTINGS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/endpoint.h"

/*
 * The version of everything that crosses a process border. Raise it whenever the layout or the
 * meaning of settings, scoreboard, event or message changes. A listener refuses a block of another
 * version. A supervisor lets a generation of another version drain and reads only those parts of it
 * that are the same in every version.
 */
#define WIRE_VERSION 9u

/* The same as an object, so that a test can link programs of another version. */
extern const uint32_t wire_version;

#define SETTINGS_MAGIC 0x65636864u	/* "echd" */

/* Bounds that a reader checks before it trusts any count in the block. */
#define SETTINGS_MAX_SOCKETS 64u
#define SETTINGS_MAX_WAITING 256u	/* connections without their PROXY header */
#define SETTINGS_MAX_RULES 4096u	/* of each kind */
#define SETTINGS_MAX_FILTER 4096u
#define SETTINGS_MAX_CONNECTIONS 100000u
#define SETTINGS_MAX_TIME_US 4000000000000000u	/* more than a century */

/* The descriptors that are open when a listener starts; there are no others. */
enum listener_fd {
	LISTENER_FD_SETTINGS = 3, /* sealed memfd: struct settings and its tables */
	LISTENER_FD_TABLE = 4,	  /* memfd: struct table, no worker ever maps it */
	LISTENER_FD_SLOTS = 5,	  /* memfd: struct slot array, workers write theirs */
	LISTENER_FD_COMMANDS = 6, /* memfd, open for reading only: one word a slot */
	LISTENER_FD_CHANNEL = 7,  /* SOCK_SEQPACKET pair: struct message */
	LISTENER_FD_SOCKETS = 8,  /* first listening socket (or, MODE_SINGLE, the connection) */
};

enum settings_mode {
	MODE_LISTEN = 0,	/* accept on every socket */
	MODE_SINGLE = 1,	/* serve the one connection on the first socket, then exit */
};

enum settings_at_limit {
	AT_LIMIT_DEFER = 0,
	AT_LIMIT_REFUSE = 1,
};

enum settings_flag {
	SETTINGS_FILTER = 1u << 0,		/* install filter[] before the first fork */
	SETTINGS_FILTER_REQUIRED = 1u << 1,	/* fail if that is impossible */
	SETTINGS_WORKER_FILTER = 1u << 2,	/* install worker_filter[] in each worker */
	SETTINGS_REPORT_OPEN = 1u << 3,		/* send EVENT_OPENED too */
	SETTINGS_TOS_MIRROR = 1u << 4,	/* a datagram goes back with the TOS it came with */
	SETTINGS_TRUST_UNIX = 1u << 5,	/* Unix peers begin with a PROXY header */
};

enum settings_socket_type {
	SETTINGS_STREAM = 0,
	SETTINGS_DATAGRAM = 1,	/* UDP: the datagram process reads it; there is no accept */
};

#define SETTINGS_USER_TIMEOUT_GRACE_MS 30000u
#define SETTINGS_FREE_FDS 16u	/* of a listener, beside those that it is started with */

/* What the listener has to know of a listening socket. */
struct settings_socket {
	uint8_t family;		/* enum endpoint_family */
	uint8_t wildcard;	/* 1: ask getsockname() for each connection */
	uint16_t port;		/* host byte order */
	uint32_t scope;
	uint8_t address[16];	/* as in struct endpoint */
	uint8_t type;		/* enum settings_socket_type */
	uint8_t closed;		/* 1: every datagram is dropped (DROP_ACCESS) */
	uint8_t reserved[6];
};

/*
 * One CIDR rule; IPv4 stands as IPv4-mapped IPv6. Those of access are sorted: longest prefix first,
 * deny first.
 */
struct settings_rule {
	uint8_t prefix[16];
	uint8_t bits;		/* 0-128 */
	uint8_t allow;		/* 1 allow, 0 deny */
	uint8_t reserved[6];
};

/*
 * Followed, in this order and without gaps, by sockets[], rules[], exempt[] and trust[] (rules
 * too), filter[], worker_filter[] and datagram_filter[] (8-byte struct sock_filter records). Never
 * changes once it is sealed: new settings are a new generation.
 */
struct settings {
	uint32_t magic;
	uint32_t version;		/* WIRE_VERSION */
	uint32_t size_bytes;		/* this struct and all tables */
	uint32_t flags;			/* enum settings_flag */
	uint32_t mode;			/* enum settings_mode */
	uint32_t at_limit;		/* enum settings_at_limit */
	uint32_t connections;		/* and entries of table, slots and commands */
	uint32_t connections_per_source;	/* 0 = off */
	uint32_t source_prefix_ipv4;
	uint32_t source_prefix_ipv6;
	uint32_t rate_per_source;	/* connections a second, 0 = off */
	uint32_t rate_burst;
	uint64_t idle_us;		/* 0 = off, here and below */
	uint64_t stall_us;
	uint64_t session_us;
	uint64_t proxy_timeout_us;	/* 0: no peer is trusted to send a PROXY header */
	uint32_t access_default_allow;	/* 1: what no rule matches may connect */
	uint32_t socket_count;
	uint32_t rule_count;
	uint32_t filter_count;
	uint32_t worker_filter_count;
	uint32_t exempt_count;
	uint32_t datagram_filter_count;
	uint32_t datagram_rate_per_source;	/* datagrams a second, 0 = off */
	uint32_t datagram_rate_burst;
	uint32_t datagram_rate;		/* of all sources together, 0 = off */
	uint32_t datagram_min_source_port;
	uint32_t trust_count;
};

static_assert(sizeof(struct settings_socket) == 32, "crosses a process border");
static_assert(sizeof(struct settings_rule) == 24, "crosses a process border");
static_assert(sizeof(struct settings) == 128, "crosses a process border");

/* Where the tables of a block that was checked begin. */
static inline const struct settings_socket *settings_sockets(const struct settings *settings)
{
	return (const void *)(settings + 1);
}

static inline const struct settings_rule *settings_rules(const struct settings *settings)
{
	return (const void *)(settings_sockets(settings) + settings->socket_count);
}

static inline const struct settings_rule *settings_exempt(const struct settings *settings)
{
	return settings_rules(settings) + settings->rule_count;
}

static inline const struct settings_rule *settings_trust(const struct settings *settings)
{
	return settings_exempt(settings) + settings->exempt_count;
}

static inline bool settings_is_datagram(const struct settings *settings, uint32_t socket)
{
	return settings_sockets(settings)[socket].type == SETTINGS_DATAGRAM;
}

/* The address that a socket is bound to. */
static inline struct endpoint settings_local(const struct settings_socket *socket)
{
	struct endpoint local = { .family = socket->family, .port = socket->port,
				  .scope = socket->scope };

	memcpy(local.address, socket->address, sizeof(local.address));
	return local;
}

/* struct sock_filter records, 8 bytes each. */
static inline const uint64_t *settings_filter(const struct settings *settings)
{
	return (const void *)(settings_trust(settings) + settings->trust_count);
}

static inline const uint64_t *settings_worker_filter(const struct settings *settings)
{
	return settings_filter(settings) + settings->filter_count;
}

static inline const uint64_t *settings_datagram_filter(const struct settings *settings)
{
	return settings_worker_filter(settings) + settings->worker_filter_count;
}

/* The limit that a listener gives itself: all descriptors of it and its workers are below. */
static inline uint32_t settings_descriptors(const struct settings *settings)
{
	return LISTENER_FD_SOCKETS + settings->socket_count + SETTINGS_FREE_FDS +
	       (settings->proxy_timeout_us > 0 ? SETTINGS_MAX_WAITING : 0);
}

/*
 * TCP_USER_TIMEOUT (tcp(7)): the kernel gives up a peer that takes nothing. This comes later than
 * the stall timer, which ends the connection in an orderly way. stall = 0 waits for ever at a
 * closed window, so the kernel has to wait, too.
 */
static inline uint32_t settings_user_timeout_ms(uint64_t stall_us)
{
	uint64_t ms = stall_us / 1000 + SETTINGS_USER_TIMEOUT_GRACE_MS;

	if (stall_us == 0)
		return 0;
	return ms > INT32_MAX ? INT32_MAX : (uint32_t)ms;
}

/* The size of a block with the tables that its header counts. */
size_t settings_bytes(const struct settings *settings);

/*
 * Checks every count, bound and size of a block (8-byte aligned) before anything in it is
 * used. Returns 0 or -EINVAL; *ret_why (may be NULL) is then a static phrase.
 */
int settings_check(const void *block, size_t size, const char **ret_why);

/*
 * access { allow, deny }: whether a peer with this address (IPv4 mapped) may connect. The first
 * rule that contains it decides; if there is none, access_default_allow does.
 */
bool settings_allow(const struct settings *settings, const uint8_t address[16]);

/* limits { exempt }: whether no limit of a source applies to a peer with this address. */
bool settings_is_exempt(const struct settings *settings, const uint8_t address[16]);

/* proxy { trust }: whether connections of this peer begin with a PROXY header. */
bool settings_trusts(const struct settings *settings, const struct endpoint *peer);

#endif
