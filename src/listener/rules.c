/* SPDX-License-Identifier: MIT */
/* access { allow, deny }: a walk along the sorted rules. */
#include "listener/rules.h"

#include <string.h>

#include "base/cidr.h"

bool rules_address(const struct endpoint *peer, uint8_t ret_address[16])
{
	switch (peer->family) {
	case ENDPOINT_INET:
		memset(ret_address, 0, 10);
		memset(ret_address + 10, 0xff, 2);
		memcpy(ret_address + 12, peer->address, 4);
		return true;
	case ENDPOINT_INET6:
		memcpy(ret_address, peer->address, 16);
		return true;
	default:
		return false;
	}
}

bool rules_allow(const struct settings *settings, const uint8_t address[16])
{
	const struct settings_rule *rules = settings_rules(settings);

	for (uint32_t i = 0; i < settings->rule_count; i++) {
		if (cidr_contains(rules[i].prefix, rules[i].bits, address))
			return rules[i].allow == 1;
	}
	return settings->access_default_allow != 0;
}
