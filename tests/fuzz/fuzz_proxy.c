/* SPDX-License-Identifier: MIT */
/*
 * A PROXY header that comes in pieces, as the listener reads it: no byte beyond the pieces is
 * looked at, and what was said of the beginning holds for the whole.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "listener/proxy.h"

/* In memory of its own, so that the sanitizers see a look beyond its end. */
static ssize_t parse(const uint8_t *bytes, size_t size, struct proxy_header *ret_header)
{
	uint8_t *copy = malloc(size);
	ssize_t r;

	FUZZ_CHECK(copy || size == 0);
	if (size > 0)
		memcpy(copy, bytes, size);
	r = proxy_parse(copy, size, ret_header);
	free(copy);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct proxy_header header, again;
	size_t step = size > 600 ? 61 : 1;
	ssize_t r = 0;

	for (size_t i = 0; i < size + step && r == 0; i += step) {
		size_t piece = i < size ? i : size;

		r = parse(bytes, piece, &header);
		FUZZ_CHECK(r == -EPROTO || (r >= 0 && (size_t)r <= piece));
		FUZZ_CHECK(r <= (ssize_t)PROXY_HEADER_MAX);
	}
	FUZZ_CHECK(parse(bytes, size, &again) == r);
	FUZZ_CHECK(r != 0 || size < PROXY_HEADER_MAX);
	if (r <= 0)
		return 0;
	FUZZ_CHECK(memcmp(&header, &again, sizeof(header)) == 0);
	FUZZ_CHECK(header.source.family == ENDPOINT_NONE || header.source.family == ENDPOINT_INET ||
		   header.source.family == ENDPOINT_INET6);
	FUZZ_CHECK(header.unique_id.size <= UNIQUE_ID_MAX);
	return 0;
}
