/* SPDX-License-Identifier: MIT */
/* Programs that are linked with this are of another version than those of the tree. */
#include "wire/settings.h"

const uint32_t wire_version = WIRE_VERSION + 1;
