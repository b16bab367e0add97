/* SPDX-License-Identifier: MIT */
/* The check of a settings block that came from another process. */
#include "wire/settings.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "wire/endpoint.h"
#include "wire/version.h"

#define FILTER_RECORD_BYTES 8u
#define FLAGS_KNOWN (SETTINGS_FILTER | SETTINGS_FILTER_REQUIRED | SETTINGS_WORKER_FILTER | \
		     SETTINGS_REPORT_OPEN)

static const char *check_header(const struct settings *settings, size_t size)
{
	if (settings->magic != SETTINGS_MAGIC)
		return "not a settings block";
	if (settings->version != wire_version)
		return "settings of another version";
	if (settings->size_bytes != size)
		return "size of the block";
	if ((settings->flags & ~FLAGS_KNOWN) != 0 || settings->reserved != 0)
		return "unknown flag";
	if (settings->mode > MODE_SINGLE || settings->at_limit > AT_LIMIT_REFUSE)
		return "unknown mode";
	return NULL;
}

static const char *check_limits(const struct settings *settings)
{
	if (settings->connections == 0 || settings->connections > SETTINGS_MAX_CONNECTIONS)
		return "connections out of range";
	if (settings->source_prefix_ipv4 > 32 || settings->source_prefix_ipv6 > 128)
		return "source prefix out of range";
	if (settings->rate_per_source > 0 && settings->rate_burst == 0)
		return "rate without a burst";
	if (settings->idle_us > SETTINGS_MAX_TIME_US ||
	    settings->stall_us > SETTINGS_MAX_TIME_US ||
	    settings->session_us > SETTINGS_MAX_TIME_US)
		return "timeout out of range";
	return NULL;
}

static const char *check_counts(const struct settings *settings)
{
	size_t size = sizeof(*settings);

	if (settings->socket_count == 0 || settings->socket_count > SETTINGS_MAX_SOCKETS ||
	    (settings->mode == MODE_SINGLE && settings->socket_count != 1))
		return "number of sockets";
	if (settings->rule_count > SETTINGS_MAX_RULES)
		return "number of rules";
	if (settings->filter_count > SETTINGS_MAX_FILTER ||
	    settings->worker_filter_count > SETTINGS_MAX_FILTER)
		return "length of a filter";
	if (((settings->flags & SETTINGS_FILTER) && settings->filter_count == 0) ||
	    ((settings->flags & SETTINGS_WORKER_FILTER) && settings->worker_filter_count == 0))
		return "empty filter";
	size += settings->socket_count * sizeof(struct settings_socket);
	size += settings->rule_count * sizeof(struct settings_rule);
	size += (settings->filter_count + (size_t)settings->worker_filter_count) *
		FILTER_RECORD_BYTES;
	return size == settings->size_bytes ? NULL : "size of the tables";
}

static const char *check_tables(const struct settings *settings)
{
	const struct settings_socket *sockets = settings_sockets(settings);
	const struct settings_rule *rules = settings_rules(settings);

	for (uint32_t i = 0; i < settings->socket_count; i++) {
		bool is_known = sockets[i].family == ENDPOINT_INET ||
				sockets[i].family == ENDPOINT_INET6 ||
				sockets[i].family == ENDPOINT_UNIX;

		if (!is_known || sockets[i].wildcard > 1)
			return "socket of an unknown kind";
	}
	for (uint32_t i = 0; i < settings->rule_count; i++) {
		if (rules[i].bits > 128 || rules[i].allow > 1)
			return "rule out of range";
		if (i > 0 && rules[i].bits > rules[i - 1].bits)
			return "rules are not sorted";
	}
	return NULL;
}

int settings_check(const void *block, size_t size, const char **ret_why)
{
	const char *why = NULL;

	if (size < sizeof(struct settings))
		why = "settings block too short";
	if (!why)
		why = check_header(block, size);
	if (!why)
		why = check_limits(block);
	if (!why)
		why = check_counts(block);
	if (!why)
		why = check_tables(block);
	if (!why)
		return 0;
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}
