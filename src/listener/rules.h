/* SPDX-License-Identifier: MIT */
/* access { allow, deny }: who may connect. */
#ifndef LISTENER_RULES_H
#define LISTENER_RULES_H

#include <stdbool.h>

#include "wire/endpoint.h"
#include "wire/settings.h"

/*
 * Writes the address of peer as 16 bytes, IPv4 mapped (RFC 4291, 2.5.5.2). False for a Unix
 * peer, which has none: no rule and no limit for sources applies to it.
 */
bool rules_address(const struct endpoint *peer, uint8_t ret_address[16]);

/* The first match decides (longest prefix first, deny first); no match: access_default_allow. */
bool rules_allow(const struct settings *settings, const uint8_t address[16]);

#endif
