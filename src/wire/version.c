/* SPDX-License-Identifier: MIT */
/* In a file of its own, which the linker can replace. */
#include "wire/settings.h"

const uint32_t wire_version = WIRE_VERSION;
