/* SPDX-License-Identifier: MIT */
/* Network prefixes as bits; their text is in address.c, which a listener does not link. */
#include "base/cidr.h"

/* Of byte number i those bits that are among the first ones. Loops, since not all have libc. */
static uint8_t mask_of(unsigned bits, unsigned i)
{
	if (bits >= 8 * (i + 1))
		return 0xff;
	return bits <= 8 * i ? 0 : (uint8_t)(0xff00u >> bits % 8);
}

bool cidr_is_ipv4(const uint8_t address[16])
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff };

	return cidr_contains(mapped, 96, address);
}

bool cidr_contains(const uint8_t prefix[16], unsigned bits, const uint8_t address[16])
{
	if (bits < 96 && cidr_is_ipv4(address))
		return false;
	for (unsigned i = 0; i < 16; i++) {
		if (((prefix[i] ^ address[i]) & mask_of(bits, i)) != 0)
			return false;
	}
	return true;
}

void cidr_mask(uint8_t address[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++)
		address[i] &= mask_of(bits, i);
}

void cidr_source(uint8_t address[16], unsigned ipv4_bits, unsigned ipv6_bits)
{
	cidr_mask(address, cidr_is_ipv4(address) ? 96 + ipv4_bits : ipv6_bits);
}
