/* SPDX-License-Identifier: MIT */
/* Looking for a source among those of other generations. */
#include "wire/foreign.h"

uint32_t foreign_find(const struct foreign *foreign, const uint8_t address[16])
{
	uint32_t valid = atomic_load_explicit(&foreign->valid, memory_order_acquire);
	const struct foreign_half *half = &foreign->halves[valid & 1];
	uint32_t count = atomic_load_explicit(&half->count, memory_order_relaxed);
	uint32_t first = 0, end = count < FOREIGN_SOURCES ? count : FOREIGN_SOURCES;
	uint64_t wanted[2];

	foreign_key(address, wanted);
	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		const struct foreign_source *source = &half->sources[middle];
		const uint64_t key[2] = {
			atomic_load_explicit(&source->key[0], memory_order_relaxed),
			atomic_load_explicit(&source->key[1], memory_order_relaxed),
		};
		int order = foreign_compare(wanted, key);

		if (order == 0)
			return atomic_load_explicit(&source->live, memory_order_relaxed);
		if (order < 0)
			end = middle;
		else
			first = middle + 1;
	}
	return 0;
}
