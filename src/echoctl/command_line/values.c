/* SPDX-License-Identifier: MIT */
/* Values of options: durations, sizes, numbers, targets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "echoctl/command_line/command.h"

const char *command_take_duration(const char *value, uint64_t min_us, uint64_t max_us,
				  uint64_t *ret_us)
{
	uint64_t us;

	switch (duration_parse(value, &us)) {
	case 0:
		break;
	case -ERANGE:
		return "too long";
	case -EDOM:
		return "too short";
	default:
		return "not a duration (as 90s, 250ms, 1min 30s)";
	}
	if (us < min_us)
		return "too short";
	if (us > max_us)
		return "too long";
	*ret_us = us;
	return NULL;
}

const char *command_take_timeout(const char *value, uint64_t *ret_us)
{
	return command_take_duration(value, 1, UINT64_MAX, ret_us);
}

const char *command_take_size(const char *value, uint64_t min, uint64_t max, uint64_t *ret_bytes)
{
	uint64_t bytes;

	switch (size_parse(value, &bytes)) {
	case 0:
		break;
	case -ERANGE:
		return "too large";
	case -EDOM:
		return "too small";
	default:
		return "not a size (as 1000, 64K, 1M)";
	}
	if (bytes < min)
		return "too small";
	if (bytes > max)
		return "too large";
	*ret_bytes = bytes;
	return NULL;
}

const char *command_take_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret_number)
{
	switch (number_parse(value, min, max, ret_number)) {
	case 0:
		return NULL;
	case -ERANGE:
		return "out of range";
	default:
		return "not a number";
	}
}

const char *command_take_list(const char *value,
			      const char *(*take_one)(void *settings, const char *word),
			      void *settings)
{
	const char *why = NULL;
	char word[64];

	while (!why && value) {
		const char *comma = strchr(value, ',');
		size_t length = comma ? (size_t)(comma - value) : strlen(value);

		if (length >= sizeof(word))
			return "too long";
		snprintf(word, sizeof(word), "%.*s", (int)length, value);
		why = take_one(settings, word);
		value = comma ? comma + 1 : NULL;
	}
	return why;
}

const char *command_take_target(const char *value, int default_port,
				struct address_spec *ret_target)
{
	const char *why = NULL;

	if (address_parse(value, default_port, ret_target, &why) < 0)
		return why;
	if (ret_target->is_wildcard)
		return "an address to listen on, not to reach";
	if (!ret_target->is_unix && ret_target->port == 0)
		return "nothing can be reached at port 0";
	return NULL;
}
