/* SPDX-License-Identifier: MIT */
/*
 * The rules that keep an echo service from being a weapon. Two services that answer each other
 * would go on for ever (CVE-1999-0103, CVE-2024-2169): so our ports, low ports and broadcasts get
 * no answer, and a source that sends without end runs out of tokens. No answer is longer than its
 * request, so nothing is amplified.
 *
 * Sources are kept in a table of fixed size: rows of four, found by a hash. A new source has a full
 * bucket and replaces the one in its row whose bucket is fullest: so a flood of new sources makes
 * nobody forget who is loud.
 */
#include "datagram/datagram.h"

#include <string.h>

#include "base/cidr.h"

void judge_init(struct judge *judge, const struct settings *settings, uint64_t seed,
		uint64_t now_ns)
{
	judge->settings = settings;
	judge->seed = seed;
	if (settings->datagram_rate > 0)
		bucket_init(&judge->all, now_ns, settings->datagram_rate, settings->datagram_rate);
}

static bool is_own_port(const struct settings *settings, uint16_t port)
{
	for (uint32_t i = 0; i < settings->socket_count; i++) {
		if (settings_is_datagram(settings, i) && settings_sockets(settings)[i].port == port)
			return true;
	}
	return false;
}

static struct judge_source *find_row(struct judge *judge, const uint64_t key[2])
{
	const uint64_t seed[2] = { judge->seed };

	return judge->sources[cidr_hash(key, seed) % JUDGE_ROWS];
}

/* When it would have been empty: the earlier, the fuller it is now. */
static int64_t empty_at_ns(const struct bucket *bucket)
{
	return bucket->last_ns == 0 ? INT64_MIN : (int64_t)(bucket->last_ns - bucket->tokens_ns);
}

static struct bucket *find_bucket(struct judge *judge, const uint64_t key[2], uint64_t now_ns)
{
	struct judge_source *row = find_row(judge, key), *fullest = row;

	for (uint32_t i = 0; i < JUDGE_WAYS; i++) {
		if (row[i].bucket.last_ns != 0 && row[i].key[0] == key[0] &&
		    row[i].key[1] == key[1])
			return &row[i].bucket;
		if (empty_at_ns(&row[i].bucket) < empty_at_ns(&fullest->bucket))
			fullest = &row[i];
	}
	memcpy(fullest->key, key, sizeof(fullest->key));
	bucket_init(&fullest->bucket, now_ns, judge->settings->datagram_rate_per_source,
		    judge->settings->datagram_rate_burst);
	return &fullest->bucket;
}

static uint32_t take_of_source(struct judge *judge, const uint8_t address[16], uint64_t now_ns,
			       uint32_t wanted)
{
	const struct settings *settings = judge->settings;
	uint8_t prefix[16];
	uint64_t key[2];

	if (settings->datagram_rate_per_source == 0)
		return wanted;
	memcpy(prefix, address, sizeof(prefix));
	cidr_source(prefix, settings->source_prefix_ipv4, settings->source_prefix_ipv6);
	memcpy(key, prefix, sizeof(key));
	return bucket_take(find_bucket(judge, key, now_ns), now_ns,
			   settings->datagram_rate_per_source, settings->datagram_rate_burst,
			   wanted);
}

uint32_t judge_datagrams(struct judge *judge, const struct settings_socket *socket,
			 const struct reception *reception, uint32_t count, uint64_t now_ns,
			 enum drop_reason *ret_reason)
{
	const struct settings *settings = judge->settings;
	const uint16_t port = reception->peer.port;
	uint32_t allowed;
	uint32_t passed;

	*ret_reason = DROP_PORT;
	if (port == 0 || port < settings->datagram_min_source_port || is_own_port(settings, port))
		return 0;
	*ret_reason = DROP_BROADCAST;
	if (!reception->is_unicast)
		return 0;
	*ret_reason = DROP_ACCESS;
	if (socket->closed == 1 || !settings_allow(settings, reception->address))
		return 0;
	*ret_reason = DROP_PER_SOURCE;
	allowed = take_of_source(judge, reception->address, now_ns, count);
	if (settings->datagram_rate == 0)
		return allowed;
	passed = bucket_take(&judge->all, now_ns, settings->datagram_rate, settings->datagram_rate,
			     allowed);
	if (passed < allowed)
		*ret_reason = DROP_RATE;
	return passed;
}
