/* SPDX-License-Identifier: MIT */
/* The check of a settings block that came from another process, and its rules of access. */
#include "wire/settings.h"

#include <errno.h>

#include "base/cidr.h"
#include "wire/endpoint.h"

#define FILTER_RECORD_BYTES 8u
#define FLAGS_KNOWN (SETTINGS_FILTER | SETTINGS_FILTER_REQUIRED | SETTINGS_WORKER_FILTER | \
		     SETTINGS_REPORT_OPEN | SETTINGS_TOS_MIRROR | SETTINGS_TRUST_UNIX)

struct check {
	bool is_wrong;
	const char *why;
};

size_t settings_bytes(const struct settings *settings)
{
	return sizeof(*settings) + settings->socket_count * sizeof(struct settings_socket) +
	       ((size_t)settings->rule_count + settings->exempt_count + settings->trust_count) *
		       sizeof(struct settings_rule) +
	       (settings->filter_count + (size_t)settings->worker_filter_count +
		settings->datagram_filter_count) * FILTER_RECORD_BYTES;
}

static const char *check_header(const struct settings *settings, size_t size)
{
	const uint32_t flags = settings->flags;
	const struct check checks[] = {
		{ settings->magic != SETTINGS_MAGIC, "not a settings block" },
		{ settings->version != wire_version, "settings of another version" },
		{ settings->size_bytes != size, "size of the block" },
		{ (flags & ~FLAGS_KNOWN) != 0, "unknown flag" },
		{ settings->mode > MODE_SINGLE, "unknown mode" },
		{ settings->at_limit > AT_LIMIT_REFUSE, "unknown mode" },
		{ settings->connections == 0, "connections out of range" },
		{ settings->connections > SETTINGS_MAX_CONNECTIONS, "connections out of range" },
		{ settings->source_prefix_ipv4 > 32, "source prefix out of range" },
		{ settings->source_prefix_ipv6 > 128, "source prefix out of range" },
		{ settings->rate_per_source > 0 && settings->rate_burst == 0,
		  "rate without a burst" },
		{ settings->datagram_rate_per_source > 0 && settings->datagram_rate_burst == 0,
		  "rate without a burst" },
		{ settings->idle_us > SETTINGS_MAX_TIME_US, "timeout out of range" },
		{ settings->stall_us > SETTINGS_MAX_TIME_US, "timeout out of range" },
		{ settings->session_us > SETTINGS_MAX_TIME_US, "timeout out of range" },
		{ settings->proxy_timeout_us > SETTINGS_MAX_TIME_US, "timeout out of range" },
		{ settings->socket_count == 0, "number of sockets" },
		{ settings->socket_count > SETTINGS_MAX_SOCKETS, "number of sockets" },
		{ settings->mode == MODE_SINGLE && settings->socket_count != 1,
		  "number of sockets" },
		{ settings->rule_count > SETTINGS_MAX_RULES, "number of rules" },
		{ settings->exempt_count > SETTINGS_MAX_RULES, "number of rules" },
		{ settings->trust_count > SETTINGS_MAX_RULES, "number of rules" },
		{ settings->filter_count > SETTINGS_MAX_FILTER, "length of a filter" },
		{ settings->worker_filter_count > SETTINGS_MAX_FILTER, "length of a filter" },
		{ settings->datagram_filter_count > SETTINGS_MAX_FILTER, "length of a filter" },
		{ (flags & SETTINGS_FILTER) && settings->filter_count == 0, "empty filter" },
		{ (flags & SETTINGS_WORKER_FILTER) && settings->worker_filter_count == 0,
		  "empty filter" },
		{ settings_bytes(settings) != size, "size of the tables" },
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (checks[i].is_wrong)
			return checks[i].why;
	}
	return NULL;
}

static const char *check_tables(const struct settings *settings)
{
	const struct settings_socket *sockets = settings_sockets(settings);
	const struct settings_rule *rules = settings_rules(settings);
	const struct settings_rule *rules_end = settings_trust(settings) + settings->trust_count;

	for (uint32_t i = 0; i < settings->socket_count; i++) {
		bool is_known = sockets[i].family == ENDPOINT_INET ||
				sockets[i].family == ENDPOINT_INET6 ||
				sockets[i].family == ENDPOINT_UNIX;

		if (!is_known || sockets[i].wildcard > 1 || sockets[i].closed > 1 ||
		    sockets[i].type > SETTINGS_DATAGRAM)
			return "socket of an unknown kind";
	}
	for (uint32_t i = 0; &rules[i] < rules_end; i++) {
		if (rules[i].bits > 128 || rules[i].allow > 1)
			return "rule out of range";
		if (i > 0 && i < settings->rule_count && rules[i].bits > rules[i - 1].bits)
			return "rules are not sorted";
	}
	return NULL;
}

int settings_check(const void *block, size_t size, const char **ret_why)
{
	const char *why = "settings block too short";

	if (size >= sizeof(struct settings))
		why = check_header(block, size);
	if (!why)
		why = check_tables(block);
	if (!why)
		return 0;
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}

/* The first rule that contains address, or NULL. */
static const struct settings_rule *find_rule(const struct settings_rule *rules, uint32_t count,
					     const uint8_t address[16])
{
	for (uint32_t i = 0; i < count; i++) {
		if (cidr_contains(rules[i].prefix, rules[i].bits, address))
			return &rules[i];
	}
	return NULL;
}

bool settings_allow(const struct settings *settings, const uint8_t address[16])
{
	const struct settings_rule *rule =
		find_rule(settings_rules(settings), settings->rule_count, address);

	return rule ? rule->allow == 1 : settings->access_default_allow != 0;
}

bool settings_is_exempt(const struct settings *settings, const uint8_t address[16])
{
	return find_rule(settings_exempt(settings), settings->exempt_count, address);
}

bool settings_trusts(const struct settings *settings, const struct endpoint *peer)
{
	uint8_t address[16];

	if (!endpoint_address(peer, address))
		return peer->family == ENDPOINT_UNIX && (settings->flags & SETTINGS_TRUST_UNIX);
	return find_rule(settings_trust(settings), settings->trust_count, address);
}
