/* SPDX-License-Identifier: MIT */
/* A file of its own, so that a test can link another one in its place. */
#include "wire/settings.h"

const uint32_t wire_version = WIRE_VERSION;
