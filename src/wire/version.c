/* SPDX-License-Identifier: MIT */
/* The number, where the linker can replace it. */
#include "wire/version.h"

const uint32_t wire_version = WIRE_VERSION;
