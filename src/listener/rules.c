/* SPDX-License-Identifier: MIT */
/* access { allow, deny }: a walk along the sorted rules. */
#include "listener/rules.h"

#include "base/cidr.h"

bool rules_allow(const struct settings *settings, const uint8_t address[16])
{
	const struct settings_rule *rules = settings_rules(settings);

	for (uint32_t i = 0; i < settings->rule_count; i++) {
		if (cidr_contains(rules[i].prefix, rules[i].bits, address))
			return rules[i].allow == 1;
	}
	return settings->access_default_allow != 0;
}
