/* SPDX-License-Identifier: MIT */
/* access { allow, deny }: who may connect. */
#ifndef LISTENER_RULES_H
#define LISTENER_RULES_H

#include <stdbool.h>

#include "wire/endpoint.h"
#include "wire/settings.h"

/* False for a peer without an address: no rule and no limit for sources applies to it. */
static inline bool rules_address(const struct endpoint *peer, uint8_t ret_address[16])
{
	return endpoint_address(peer, ret_address);
}

/* The first match decides (longest prefix first, deny first); no match: access_default_allow. */
bool rules_allow(const struct settings *settings, const uint8_t address[16]);

#endif
