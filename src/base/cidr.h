/* SPDX-License-Identifier: MIT */
/* Network prefixes (RFC 4632); IPv4 is stored as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2). */
#ifndef ECHOD_BASE_CIDR_H
#define ECHOD_BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>

struct cidr {
	uint8_t prefix[16];	/* host bits are zero */
	uint8_t bits;		/* 0-128; 96 + n for an IPv4 /n */
};

/*
 * Parses "192.0.2.0/24", "2001:db8::/32" or a bare address (its full length). Returns 0 or
 * -EINVAL; *ret_why (may be NULL) is a static phrase. Host bits that are set are an error.
 */
int cidr_parse(const char *text, struct cidr *ret_cidr, const char **ret_why);

/* True for an address (16 bytes) that is IPv4 mapped. */
bool cidr_is_ipv4(const uint8_t address[16]);

/*
 * True if the first bits of address (16 bytes, IPv4 mapped) are those of the prefix. No IPv4
 * address is in an IPv6 prefix, though the mapped ones lie in ::/0: a user who writes that means
 * IPv6.
 */
bool cidr_contains(const uint8_t prefix[16], unsigned bits, const uint8_t address[16]);

/* Sets all but the first bits of address to zero. */
void cidr_mask(uint8_t address[16], unsigned bits);

/* Masks address to its source: with the number of bits of its family. */
void cidr_source(uint8_t address[16], unsigned ipv4_bits, unsigned ipv6_bits);

/*
 * Hashes a prefix, as two words. Without the random seed nobody can find some that collide.
 * Products carry bits upwards only: it takes a fold, a product and a fold until those at the upper
 * end of a word count in the low bits of the hash, and that is where IPv4 addresses differ.
 */
static inline uint64_t cidr_hash(const uint64_t prefix[2], const uint64_t seed[2])
{
	uint64_t hash = (prefix[0] ^ seed[0]) * 0x9e3779b97f4a7c15u;

	hash = (hash ^ hash >> 32 ^ prefix[1] ^ seed[1]) * 0xd6e8feb86659fd93u;
	hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 32;
}

#define CIDR_TEXT_MAX 64
/* Writes "192.0.2.0/24" or "2001:db8::/32"; returns text. */
const char *cidr_format(const struct cidr *cidr, char text[CIDR_TEXT_MAX]);

#endif
