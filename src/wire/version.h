/* SPDX-License-Identifier: MIT */
/* The version of everything that crosses a process border. */
#ifndef ECHOD_WIRE_VERSION_H
#define ECHOD_WIRE_VERSION_H

#include <stdint.h>

/*
 * Raised whenever the layout or the meaning of settings, scoreboard, event or
 * message changes. A listener refuses a block of another version; a supervisor
 * lets a generation of another version drain and reads nothing from it but
 * what is the same in every version.
 */
#define WIRE_VERSION 6u

/* The same, for the programs: an object, so that a test can link programs of another version. */
extern const uint32_t wire_version;

#endif
