/* SPDX-License-Identifier: MIT */
/* The version of everything that crosses a process border. */
#ifndef ECHOD_WIRE_VERSION_H
#define ECHOD_WIRE_VERSION_H

/*
 * Raised whenever the layout or the meaning of settings, scoreboard, event or
 * message changes. A listener refuses a block of another version; a supervisor
 * lets a generation of another version drain and reads nothing from it.
 */
#define WIRE_VERSION 5u

#endif
