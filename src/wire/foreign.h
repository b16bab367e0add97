/* SPDX-License-Identifier: MIT */
/*
 * Where the connections of other generations come from, for a listener's limit of connections a
 * source: sorted by key, in two halves of which one is valid while the supervisor writes the
 * other. When there are more than it holds those with the fewest connections are left out.
 */
#ifndef ECHOD_WIRE_FOREIGN_H
#define ECHOD_WIRE_FOREIGN_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define FOREIGN_SOURCES 4096u

struct foreign_source {
	_Atomic uint64_t key[2];	/* foreign_key() of the masked address */
	_Atomic uint32_t live;
	uint32_t reserved;
};

struct foreign_half {
	_Atomic uint32_t count;
	uint32_t reserved;
	struct foreign_source sources[FOREIGN_SOURCES];
};

struct foreign {
	_Atomic uint32_t valid;		/* 0 or 1: the half to read */
	uint32_t reserved;
	struct foreign_half halves[2];
};

static_assert(sizeof(struct foreign_source) == 24, "crosses a process border");

/* 16 bytes as numbers that can be loaded and compared; their order is that of this machine. */
static inline void foreign_key(const uint8_t address[16], uint64_t ret_key[2])
{
	memcpy(ret_key, address, 16);
}

static inline int foreign_compare(const uint64_t a[2], const uint64_t b[2])
{
	if (a[0] != b[0])
		return a[0] < b[0] ? -1 : 1;
	return (a[1] > b[1]) - (a[1] < b[1]);
}

/*
 * Connections of the source with this masked address, 0 when it has none. A reader that slept
 * while both halves were written may get a wrong number, and nothing worse.
 */
uint32_t foreign_find(const struct foreign *foreign, const uint8_t address[16]);

#endif
