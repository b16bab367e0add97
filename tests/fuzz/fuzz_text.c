/* SPDX-License-Identifier: MIT */
/*
 * Addresses, prefixes, durations, sizes and numbers: what parses is written in a form that parses
 * to the same value.
 */
#include <string.h>

#include "base/address.h"
#include "base/cidr.h"
#include "base/number.h"
#include "fuzz.h"

#define TEXT_MAX 1024

static void check_address(const char *text)
{
	const char *why = NULL;
	struct address_spec spec;

	if (address_parse(text, 7, &spec, &why) == 0)
		FUZZ_CHECK(memchr(spec.host, '\0', sizeof(spec.host)));
	else
		FUZZ_CHECK(why);
}

static void check_cidr(const char *text)
{
	struct cidr cidr, again;
	const char *why = NULL;
	char written[CIDR_TEXT_MAX];

	if (cidr_parse(text, &cidr, &why) < 0) {
		FUZZ_CHECK(why);
		return;
	}
	FUZZ_CHECK(cidr.bits <= 128);
	FUZZ_CHECK(cidr_parse(cidr_format(&cidr, written), &again, NULL) == 0);
	FUZZ_CHECK(memcmp(cidr.prefix, again.prefix, 16) == 0 && cidr.bits == again.bits);
	FUZZ_CHECK(cidr_contains(cidr.prefix, cidr.bits, cidr.prefix));
}

static void check_duration(const char *text)
{
	uint64_t us, again;
	char written[DURATION_TEXT_MAX];

	if (duration_parse(text, &us) < 0)
		return;
	FUZZ_CHECK(duration_parse(duration_format(us, written), &again) == 0 && us == again);
}

static void check_size(const char *text)
{
	uint64_t size, again;
	char written[SIZE_TEXT_MAX];

	if (size_parse(text, &size) < 0)
		return;
	FUZZ_CHECK(size_parse(size_format(size, written), &again) == 0 && size == again);
}

static void check_number(const char *text)
{
	uint64_t value;

	if (number_parse(text, 3, 300, &value) == 0)
		FUZZ_CHECK(value >= 3 && value <= 300);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char text[TEXT_MAX + 1];

	if (size > TEXT_MAX)
		size = TEXT_MAX;
	memcpy(text, bytes, size);
	text[size] = '\0';
	check_address(text);
	check_cidr(text);
	check_duration(text);
	check_size(text);
	check_number(text);
	return 0;
}
