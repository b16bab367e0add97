/* SPDX-License-Identifier: MIT */
/* Sizes in bytes as people write them: "64K", "1M", "1.5G" (powers of 1024). */
#ifndef ECHOD_BASE_SIZE_H
#define ECHOD_BASE_SIZE_H

#include <stdint.h>

#define SIZE_TEXT_MAX 32

/*
 * Suffixes K M G T, either case, optional "iB" or "B". Returns 0, -EINVAL, -ERANGE, or -EDOM below
 * 1 that is not 0.
 */
int size_parse(const char *text, uint64_t *ret_bytes);

/* Writes an exact form that reads back ("64K", "1000"); returns text. */
const char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX]);

#endif
