/* SPDX-License-Identifier: MIT */
/* Network prefixes as bits; their text is in address.c, which a listener does not link. */
#include "base/cidr.h"

#include <string.h>

bool cidr_is_ipv4(const uint8_t address[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(address, mapped, sizeof(mapped)) == 0;
}

bool cidr_contains(const uint8_t prefix[16], unsigned bits, const uint8_t address[16])
{
	unsigned whole = bits / 8;
	unsigned rest = bits % 8;

	if (bits < 96 && cidr_is_ipv4(address))
		return false;
	if (memcmp(prefix, address, whole) != 0)
		return false;
	return rest == 0 || (prefix[whole] ^ address[whole]) >> (8 - rest) == 0;
}

void cidr_mask(uint8_t address[16], unsigned bits)
{
	unsigned whole = bits / 8;
	unsigned rest = bits % 8;

	if (whole >= 16)
		return;
	address[whole] &= (uint8_t)(0xff00u >> rest);
	memset(address + whole + 1, 0, 15 - whole);
}

void cidr_source(uint8_t address[16], unsigned ipv4_bits, unsigned ipv6_bits)
{
	cidr_mask(address, cidr_is_ipv4(address) ? 96 + ipv4_bits : ipv6_bits);
}
