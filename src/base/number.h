/* SPDX-License-Identifier: MIT */
/* Numbers, sizes and durations as people write them. */
#ifndef ECHOD_BASE_NUMBER_H
#define ECHOD_BASE_NUMBER_H

#include <stdint.h>

#define SIZE_TEXT_MAX 32
#define DURATION_TEXT_MAX 48

/*
 * Decimal digits only, all of text. Returns 0, -EINVAL (not a number), -ERANGE (outside
 * min..max; UINT64_MAX always is).
 */
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

/*
 * Parses "64K", "1M", "1.5G" (powers of 1024): suffixes K M G T, either case, optional "iB" or
 * "B". Returns 0, -EINVAL, -ERANGE, or -EDOM below 1 that is not 0.
 */
int size_parse(const char *text, uint64_t *ret_bytes);

/* Writes an exact form that reads back ("64K", "1000"); returns text. */
const char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX]);

/*
 * Parses "90s", "10min", "1h 30min", "1.5s": units us, ms, s|sec, m|min, h|hr, d (as
 * systemd.time(7)), whose parts add up; a bare number is seconds. Returns 0; -EINVAL malformed,
 * -ERANGE above 100 years, -EDOM with a part below 1 us that is not 0.
 */
int duration_parse(const char *text, uint64_t *ret_us);

/* Writes the shortest exact form, largest units first ("1h 30min", "250ms", "0"); reads back. */
const char *duration_format(uint64_t us, char text[DURATION_TEXT_MAX]);

#endif
