/* SPDX-License-Identifier: MIT */
/* Network prefixes as text. */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

static int fail(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}

int cidr_parse(const char *text, struct cidr *ret_cidr, const char **ret_why)
{
	const char *slash = strchrnul(text, '/');
	char host[INET6_ADDRSTRLEN];
	struct cidr cidr = { .bits = 128 };
	uint8_t masked[16];
	uint64_t bits;
	unsigned first = 0;

	if ((size_t)(slash - text) >= sizeof(host))
		return fail(ret_why, "not an IPv4 or IPv6 address");
	*(char *)mempcpy(host, text, (size_t)(slash - text)) = '\0';

	if (inet_pton(AF_INET, host, cidr.prefix + 12) == 1) {
		static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

		memcpy(cidr.prefix, mapped_prefix, sizeof(mapped_prefix));
		first = 96;
	} else if (inet_pton(AF_INET6, host, cidr.prefix) != 1) {
		return fail(ret_why, "not an IPv4 or IPv6 address");
	}
	if (*slash == '/') {
		if (number_parse(slash + 1, 0, 128 - first, &bits) < 0)
			return fail(ret_why, first ? "prefix length not in 0-32"
						   : "prefix length not in 0-128");
		cidr.bits = (uint8_t)(first + bits);
	}
	memcpy(masked, cidr.prefix, sizeof(masked));
	cidr_mask(masked, cidr.bits);
	if (memcmp(masked, cidr.prefix, sizeof(masked)) != 0)
		return fail(ret_why, "bits are set beyond the prefix length");
	*ret_cidr = cidr;
	return 0;
}

const char *cidr_format(const struct cidr *cidr, char text[CIDR_TEXT_MAX])
{
	bool is_ipv4 = cidr->bits >= 96 && cidr_is_ipv4(cidr->prefix);
	char host[INET6_ADDRSTRLEN];

	if (is_ipv4)
		inet_ntop(AF_INET, cidr->prefix + 12, host, sizeof(host));
	else
		inet_ntop(AF_INET6, cidr->prefix, host, sizeof(host));
	snprintf(text, CIDR_TEXT_MAX, "%s/%u", host, is_ipv4 ? cidr->bits - 96u : cidr->bits);
	return text;
}
