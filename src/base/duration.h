/* SPDX-License-Identifier: MIT */
/* Durations as people write them: "90s", "10min", "1h 30min", "250ms"; a bare number is seconds. */
#ifndef ECHOD_BASE_DURATION_H
#define ECHOD_BASE_DURATION_H

#include <stdint.h>

#define DURATION_TEXT_MAX 48

/*
 * Parses units us, ms, s|sec, m|min, h|hr, d (as systemd.time(7)), decimals allowed
 * ("1.5s"), parts add up. Returns 0; -EINVAL malformed, -ERANGE above 100 years, -EDOM with a
 * part below 1 us that is not 0.
 */
int duration_parse(const char *text, uint64_t *ret_us);

/* Writes the shortest exact form, largest units first ("1h 30min", "250ms", "0"); reads back. */
const char *duration_format(uint64_t us, char text[DURATION_TEXT_MAX]);

#endif
