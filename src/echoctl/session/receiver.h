/* SPDX-License-Identifier: MIT */
/* The receiving half of a session, in the process that judges it. */
#ifndef ECHOCTL_SESSION_RECEIVER_H
#define ECHOCTL_SESSION_RECEIVER_H

#include "echoctl/session/sender.h"

/*
 * Receives, compares and writes until the connection, the peer's time or the user ends it.
 * Fills what it knows of result; end is SESSION_OK for the server's FIN, whatever came before.
 * sender_fd ends when the sender does.
 */
void receiver_run(const struct sender *sender, int sender_fd, struct session_result *result);

#endif
