/* SPDX-License-Identifier: MIT */
/* What both sides of a handover share. */
#ifndef ECHOD_HANDOVER_STATE_H
#define ECHOD_HANDOVER_STATE_H

/* The descriptor of the state; taken out of the environment as soon as it is read. */
#define HANDOVER_VARIABLE "ECHOD_HANDOVER"

#endif
