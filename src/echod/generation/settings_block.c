/* SPDX-License-Identifier: MIT */
/* The settings block: a header and four tables, one after the other. */
#include "echod/generation/settings_block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

static_assert((int)AT_DEFER == (int)AT_LIMIT_DEFER && (int)AT_REFUSE == (int)AT_LIMIT_REFUSE,
	      "written as they are");

uint32_t settings_block_slots(const struct configuration *configuration, enum settings_mode mode)
{
	return mode == MODE_SINGLE ? 1 : configuration->limits.connections;
}

static uint32_t flags_of(const struct configuration *configuration,
			 const struct filter *listener_filter, const struct filter *worker_filter)
{
	uint32_t flags = 0;

	if (listener_filter->count)
		flags |= SETTINGS_FILTER;
	if (worker_filter->count)
		flags |= SETTINGS_WORKER_FILTER;
	if (configuration->sandbox == SANDBOX_REQUIRE || configuration->sandbox == SANDBOX_STRICT)
		flags |= SETTINGS_FILTER_REQUIRED;
	if (configuration->log.connections == LOG_CONNECTIONS_ALL)
		flags |= SETTINGS_REPORT_OPEN;
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

static void rules_write(struct settings_rule *rules, const struct configuration *configuration)
{
	size_t count = 0;

	for (size_t i = 0; i < configuration->access.deny_count; i++, count++) {
		memcpy(rules[count].prefix, configuration->access.deny[i].prefix, 16);
		rules[count].bits = configuration->access.deny[i].bits;
		rules[count].allow = 0;
	}
	for (size_t i = 0; i < configuration->access.allow_count; i++, count++) {
		memcpy(rules[count].prefix, configuration->access.allow[i].prefix, 16);
		rules[count].bits = configuration->access.allow[i].bits;
		rules[count].allow = 1;
	}
	qsort(rules, count, sizeof(*rules), rule_compare);
}

static void header_write(struct settings *settings, const struct configuration *configuration,
			 enum settings_mode mode)
{
	settings->magic = SETTINGS_MAGIC;
	settings->version = wire_version;
	settings->mode = mode;
	settings->at_limit = configuration->limits.at_limit;
	settings->connections = settings_block_slots(configuration, mode);
	settings->connections_per_source = configuration->limits.connections_per_source;
	settings->source_prefix_ipv4 = configuration->limits.source_prefix_ipv4;
	settings->source_prefix_ipv6 = configuration->limits.source_prefix_ipv6;
	settings->rate_per_source = configuration->limits.rate_per_source;
	settings->rate_burst = configuration->limits.rate_burst;
	settings->idle_us = configuration->timeouts.idle_us;
	settings->stall_us = configuration->timeouts.stall_us;
	settings->session_us = configuration->timeouts.session_us;
	/* An allow list says who may; without one everybody may whom deny does not name. */
	settings->access_default_allow = !configuration->access.allow_count;
}

int settings_block_write(const struct configuration *configuration,
			 const struct sockets *sockets, enum settings_mode mode,
			 const struct filter *listener_filter, const struct filter *worker_filter)
{
	size_t rules = configuration->access.allow_count + configuration->access.deny_count;
	size_t instruction = sizeof(struct sock_filter);
	size_t size = sizeof(struct settings) + sockets->count * sizeof(struct settings_socket) +
		      rules * sizeof(struct settings_rule) +
		      (listener_filter->count + worker_filter->count) * instruction;
	struct settings *settings;
	unsigned char *cursor;
	int fd;

	if (sockets->count > SETTINGS_MAX_SOCKETS || rules > SETTINGS_MAX_RULES ||
	    listener_filter->count > SETTINGS_MAX_FILTER ||
	    worker_filter->count > SETTINGS_MAX_FILTER)
		return -E2BIG;
	settings = calloc(1, size);
	if (!settings)
		return -ENOMEM;
	header_write(settings, configuration, mode);
	settings->size_bytes = (uint32_t)size;
	settings->flags = flags_of(configuration, listener_filter, worker_filter);
	settings->socket_count = (uint32_t)sockets->count;
	settings->rule_count = (uint32_t)rules;
	settings->filter_count = (uint32_t)listener_filter->count;
	settings->worker_filter_count = (uint32_t)worker_filter->count;

	cursor = (unsigned char *)(settings + 1);
	for (size_t i = 0; i < sockets->count; i++, cursor += sizeof(struct settings_socket))
		memcpy(cursor, &sockets->items[i].wire, sizeof(struct settings_socket));
	rules_write((struct settings_rule *)cursor, configuration);
	cursor += rules * sizeof(struct settings_rule);
	if (listener_filter->count)
		memcpy(cursor, listener_filter->instructions, listener_filter->count * instruction);
	cursor += listener_filter->count * instruction;
	if (worker_filter->count)
		memcpy(cursor, worker_filter->instructions, worker_filter->count * instruction);

	fd = fd_sealed_memory("echod-settings", settings, size);
	free(settings);
	return fd;
}
