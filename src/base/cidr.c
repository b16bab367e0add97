/* SPDX-License-Identifier: MIT */
/* Network prefixes as bits; their text is in address.c, which a listener does not link. */
#include "base/cidr.h"

#include <endian.h>
#include <string.h>

/* The mask for word 0 or 1 of an address, in the order of its bytes. */
static uint64_t mask_of(unsigned bits, unsigned word)
{
	bits = bits > 64 * word ? bits - 64 * word : 0;
	return htobe64(bits < 64 ? ~(UINT64_MAX >> bits) : UINT64_MAX);
}

bool cidr_is_ipv4(const uint8_t address[16])
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff };

	return cidr_contains(mapped, 96, address);
}

bool cidr_contains(const uint8_t prefix[16], unsigned bits, const uint8_t address[16])
{
	uint64_t one[2], other[2];

	if (bits < 96 && cidr_is_ipv4(address))
		return false;
	memcpy(one, prefix, sizeof(one));
	memcpy(other, address, sizeof(other));
	return ((one[0] ^ other[0]) & mask_of(bits, 0)) == 0 &&
	       ((one[1] ^ other[1]) & mask_of(bits, 1)) == 0;
}

void cidr_mask(uint8_t address[16], unsigned bits)
{
	uint64_t words[2];

	memcpy(words, address, sizeof(words));
	words[0] &= mask_of(bits, 0);
	words[1] &= mask_of(bits, 1);
	memcpy(address, words, sizeof(words));
}

void cidr_source(uint8_t address[16], unsigned ipv4_bits, unsigned ipv6_bits)
{
	cidr_mask(address, cidr_is_ipv4(address) ? 96 + ipv4_bits : ipv6_bits);
}
