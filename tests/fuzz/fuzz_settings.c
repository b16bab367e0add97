/* SPDX-License-Identifier: MIT */
/* The settings block as the listener reads it: what passes the check lies inside the block. */
#include <string.h>

#include "fuzz.h"
#include "wire/settings.h"

static uint8_t sum;

/* Touches every byte, so that the sanitizers see one that is outside. */
static void touch(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum ^= ((const uint8_t *)bytes)[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint64_t *block = malloc(size + 8);
	struct settings *settings = (struct settings *)block;
	const char *why = NULL;

	memcpy(block, bytes, size);
	/* without these no random input gets further than the first check */
	if (size >= sizeof(*settings)) {
		settings->magic = SETTINGS_MAGIC;
		settings->version = WIRE_VERSION;
		settings->size_bytes = (uint32_t)size;
	}
	if (settings_check(block, size, &why) == 0) {
		touch(settings_sockets(settings),
		      settings->socket_count * sizeof(struct settings_socket));
		touch(settings_rules(settings),
		      settings->rule_count * sizeof(struct settings_rule));
		touch(settings_exempt(settings),
		      settings->exempt_count * sizeof(struct settings_rule));
		touch(settings_trust(settings),
		      settings->trust_count * sizeof(struct settings_rule));
		touch(settings_filter(settings), settings->filter_count * 8u);
		touch(settings_worker_filter(settings), settings->worker_filter_count * 8u);
		touch(settings_datagram_filter(settings), settings->datagram_filter_count * 8u);
		FUZZ_CHECK(settings->connections <= SETTINGS_MAX_CONNECTIONS);
	} else {
		FUZZ_CHECK(why);
	}
	free(block);
	return 0;
}
