/* SPDX-License-Identifier: MIT */
/* Lines about datagrams, never one for each, from counters that another process writes. */
#include "echod/report/report.h"

#include <inttypes.h>

#include "base/clock.h"

#define DROPS_NS (10 * (uint64_t)CLOCK_NS_PER_S)
#define TRAFFIC_NS (60 * (uint64_t)CLOCK_NS_PER_S)
#define READ_TRIES 100	/* do not wait for a process that stopped while it wrote */

static const char *const drop_names[] = DROP_NAMES;

/* Returns the whole peer, or one of family ENDPOINT_NONE. */
static struct endpoint read_peer(const struct datagram_drop *drop)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t before = atomic_load_explicit(&drop->sequence, memory_order_acquire);
		struct endpoint peer = drop->peer;

		atomic_thread_fence(memory_order_acquire);
		if (before % 2 == 0 &&
		    before == atomic_load_explicit(&drop->sequence, memory_order_relaxed))
			return peer;
	}
	return (struct endpoint){0};
}

static uint64_t count_drops(const struct datagrams *datagrams, enum drop_reason reason)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < SETTINGS_MAX_SOCKETS; i++)
		sum += datagrams->sockets[i].dropped[reason];
	return sum;
}

static void say_drops(const struct datagrams *datagrams, enum drop_reason reason, uint64_t count)
{
	const struct endpoint peer = read_peer(&datagrams->last[reason]);
	char text[ADDRESS_TEXT_MAX];
	struct log_record record;

	log_record_begin(&record, LOG_NOTICE, "dropped");
	log_record_add(&record, "peer", "%s", report_peer(&peer, text));
	log_record_add(&record, "reason", "%s", drop_names[reason]);
	log_record_add(&record, "protocol", "udp");
	log_record_add(&record, "count", "%" PRIu64, count);
	log_record(&record);
}

static void say_traffic(const struct datagram_counters *said, const struct datagram_counters *now)
{
	uint64_t dropped = 0;
	char text[ADDRESS_TEXT_MAX];
	struct log_record record;

	for (size_t i = 0; i < DROP_COUNT; i++)
		dropped += now->dropped[i] - said->dropped[i];
	log_record_begin(&record, LOG_INFO, "datagrams");
	log_record_add(&record, "local", "udp:%s", report_peer(&now->local, text));
	log_record_add(&record, "in", "%" PRIu64, now->received - said->received);
	log_record_add(&record, "out", "%" PRIu64, now->sent - said->sent);
	log_record_add(&record, "bytes-in", "%" PRIu64, now->bytes_in - said->bytes_in);
	log_record_add(&record, "bytes-out", "%" PRIu64, now->bytes_out - said->bytes_out);
	log_record_add(&record, "dropped", "%" PRIu64, dropped);
	log_record(&record);
}

void report_datagrams_skip(struct report_datagrams *said, const struct datagrams *datagrams)
{
	for (size_t i = 0; i < SETTINGS_MAX_SOCKETS; i++)
		said->sockets[i] = datagrams->sockets[i];
	for (unsigned i = 0; i < DROP_COUNT; i++)
		said->drops[i] = count_drops(datagrams, i);
}

void report_datagrams(struct report_datagrams *said, const struct datagrams *datagrams,
		      bool is_last, uint64_t now_ns)
{
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		uint64_t count = count_drops(datagrams, i);

		if (count == said->drops[i] || (!is_last && now_ns < said->drops_due_ns[i]))
			continue;
		say_drops(datagrams, i, count - said->drops[i]);
		said->drops[i] = count;
		said->drops_due_ns[i] = now_ns + DROPS_NS;
	}
	if (said->traffic_due_ns == 0)
		said->traffic_due_ns = now_ns + TRAFFIC_NS;
	if (!is_last && now_ns < said->traffic_due_ns)
		return;
	said->traffic_due_ns = now_ns + TRAFFIC_NS;
	for (size_t i = 0; i < SETTINGS_MAX_SOCKETS; i++) {
		const struct datagram_counters now = datagrams->sockets[i];

		if (now.received != said->sockets[i].received)
			say_traffic(&said->sockets[i], &now);
		said->sockets[i] = now;
	}
}
