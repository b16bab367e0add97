/* SPDX-License-Identifier: MIT */
/* Sizes in bytes as people write them. */
#include "base/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

static const char suffixes[] = "KMGT";

int size_parse(const char *text, uint64_t *ret_bytes)
{
	struct decimal decimal;
	const char *next = number_scan_decimal(text, &decimal);
	const char *suffix;
	uint64_t unit = 1;

	if (!next)
		return -EINVAL;
	suffix = *next ? strchr(suffixes, toupper((unsigned char)*next)) : NULL;
	if (suffix) {
		unit <<= 10 * (suffix - suffixes + 1);
		next++;
		if (next[0] == 'i' && next[1] == 'B')
			next++;
	}
	if (*next == 'B')
		next++;
	if (*next != '\0')
		return -EINVAL;
	return number_scale(&decimal, unit, ret_bytes);
}

const char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
	size_t i = 0;

	while (bytes > 0 && bytes % 1024 == 0 && suffixes[i] != '\0') {
		bytes /= 1024;
		i++;
	}
	snprintf(text, SIZE_TEXT_MAX, "%llu%.*s", (unsigned long long)bytes, i > 0 ? 1 : 0,
		 i > 0 ? &suffixes[i - 1] : "");
	return text;
}
