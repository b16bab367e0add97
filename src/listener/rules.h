/* SPDX-License-Identifier: MIT */
/* access { allow, deny }: who may connect. */
#ifndef LISTENER_RULES_H
#define LISTENER_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/settings.h"

/* The first match decides (longest prefix first, deny first); no match: access_default_allow. */
bool rules_allow(const struct settings *settings, const uint8_t address[16]);

#endif
