/* SPDX-License-Identifier: MIT */
/*
 * The formats of src/wire as JSON, for tests that play one of the processes: where the fields of
 * each struct lie ("" is the struct itself), and the numbers that stand for something.
 */
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "wire/endpoint.h"
#include "wire/event.h"
#include "wire/scoreboard.h"
#include "wire/settings.h"

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))
#define WHOLE(type) { #type, "", 0, sizeof(struct type) }
#define FIELD(type, name) \
	{ #type, #name, offsetof(struct type, name), sizeof(((struct type *)NULL)->name) }
#define NUMBER(name) { #name, name }

static const struct {
	const char *type;
	const char *name;
	size_t offset;
	size_t size;
} fields[] = {
	WHOLE(settings),
	FIELD(settings, magic),
	FIELD(settings, version),
	FIELD(settings, size_bytes),
	FIELD(settings, flags),
	FIELD(settings, mode),
	FIELD(settings, at_limit),
	FIELD(settings, connections),
	FIELD(settings, connections_per_source),
	FIELD(settings, source_prefix_ipv4),
	FIELD(settings, source_prefix_ipv6),
	FIELD(settings, rate_per_source),
	FIELD(settings, rate_burst),
	FIELD(settings, idle_us),
	FIELD(settings, stall_us),
	FIELD(settings, session_us),
	FIELD(settings, access_default_allow),
	FIELD(settings, socket_count),
	FIELD(settings, rule_count),
	FIELD(settings, filter_count),
	FIELD(settings, worker_filter_count),
	FIELD(settings, exempt_count),
	FIELD(settings, trust_count),
	FIELD(settings, proxy_timeout_us),
	WHOLE(settings_socket),
	FIELD(settings_socket, family),
	FIELD(settings_socket, wildcard),
	FIELD(settings_socket, type),
	FIELD(settings_socket, port),
	FIELD(settings_socket, address),
	WHOLE(settings_rule),
	FIELD(settings_rule, prefix),
	FIELD(settings_rule, bits),
	FIELD(settings_rule, allow),
	WHOLE(table),
	FIELD(table, magic),
	FIELD(table, version),
	FIELD(table, slots),
	FIELD(table, live),
	FIELD(table, foreign_live),
	FIELD(table, asleep),
	FIELD(table, ring_head),
	FIELD(table, ring_tail),
	FIELD(table, totals),
	FIELD(table, ring),
	FIELD(totals, accepted),
	FIELD(totals, closed),
	FIELD(totals, refused),
	FIELD(totals, bytes_in),
	FIELD(totals, bytes_out),
	FIELD(totals, empty),
	FIELD(totals, events_dropped),
	FIELD(totals, starved),
	WHOLE(entry),
	FIELD(entry, state),
	FIELD(entry, pid),
	FIELD(entry, id),
	WHOLE(slot),
	FIELD(slot, bytes_in),
	FIELD(slot, bytes_out),
	FIELD(slot, proof),
	WHOLE(event),
	FIELD(event, type),
	FIELD(event, slot),
	FIELD(event, id),
	FIELD(event, bytes_in),
	FIELD(event, bytes_out),
	FIELD(event, pid),
	FIELD(event, status),
	FIELD(event, rtt_us),
	FIELD(event, reason),
	FIELD(event, socket),
	FIELD(event, detail),
	FIELD(event, count),
	FIELD(event, peer),
	FIELD(event, via),
	FIELD(event, local),
	WHOLE(endpoint),
	FIELD(endpoint, family),
	FIELD(endpoint, port),
	FIELD(endpoint, address),
	WHOLE(message),
	FIELD(message, type),
	FIELD(message, value),
	FIELD(message, text),
};

static const struct {
	const char *name;
	unsigned long value;
} numbers[] = {
	NUMBER(WIRE_VERSION),
	NUMBER(SETTINGS_MAGIC),
	NUMBER(SETTINGS_FILTER),
	NUMBER(SETTINGS_FILTER_REQUIRED),
	NUMBER(SETTINGS_WORKER_FILTER),
	NUMBER(SETTINGS_REPORT_OPEN),
	NUMBER(SETTINGS_DATAGRAM),
	NUMBER(MODE_SINGLE),
	NUMBER(AT_LIMIT_REFUSE),
	NUMBER(TABLE_MAGIC),
	NUMBER(RING_EVENTS),
	NUMBER(ENTRY_LIVE),
	NUMBER(SLOT_END_DRAIN),
	NUMBER(SLOT_END_KILLED),
	NUMBER(EVENT_OPENED),
	NUMBER(EVENT_CLOSED),
	NUMBER(EVENT_REFUSED),
	NUMBER(EVENT_STARVED),
	NUMBER(EVENT_LIMIT),
	NUMBER(MESSAGE_READY),
	NUMBER(MESSAGE_FAILED),
	NUMBER(MESSAGE_WAKE),
	NUMBER(MESSAGE_STOPPED),
	NUMBER(MESSAGE_PONG),
	NUMBER(MESSAGE_STOP),
	NUMBER(MESSAGE_PING),
	NUMBER(STOP_REPLACED),
	NUMBER(STOP_END),
	NUMBER(ENDPOINT_INET),
	NUMBER(ENDPOINT_INET6),
	NUMBER(ENDPOINT_UNIX),
	/* for which libseccomp may know socketcall(2) only */
	NUMBER(SYS_socket),
	NUMBER(SYS_socketpair),
	NUMBER(SYS_bind),
	NUMBER(SYS_connect),
	NUMBER(SYS_listen),
	NUMBER(SYS_accept4),
	NUMBER(SYS_getsockopt),
	NUMBER(SYS_setsockopt),
	NUMBER(SYS_getsockname),
	NUMBER(SYS_getpeername),
	NUMBER(SYS_sendto),
	NUMBER(SYS_sendmsg),
	NUMBER(SYS_sendmmsg),
	NUMBER(SYS_recvfrom),
	NUMBER(SYS_recvmsg),
	NUMBER(SYS_shutdown),
#ifdef SYS_recvmmsg	/* not on a new processor of 32 bits */
	NUMBER(SYS_recvmmsg),
#endif
};

static void put_words(const char *name, const char *const *words, size_t count)
{
	printf(",\n\"%s\": [", name);
	for (size_t i = 0; i < count; i++)
		printf("%s\"%s\"", i > 0 ? ", " : "", words[i]);
	printf("]");
}

int main(void)
{
	static const char *const ends[] = END_NAMES;
	static const char *const refusals[] = REFUSE_NAMES;

	printf("{\"fields\": [");
	for (size_t i = 0; i < LENGTH(fields); i++)
		printf("%s\n[\"%s\", \"%s\", %zu, %zu]", i > 0 ? "," : "", fields[i].type,
		       fields[i].name, fields[i].offset, fields[i].size);
	printf("],\n\"numbers\": {");
	for (size_t i = 0; i < LENGTH(numbers); i++)
		printf("%s\n\"%s\": %lu", i > 0 ? "," : "", numbers[i].name, numbers[i].value);
	printf("}");
	put_words("ends", ends, LENGTH(ends));
	put_words("refusals", refusals, LENGTH(refusals));
	printf("}\n");
	return 0;
}
