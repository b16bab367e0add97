/* SPDX-License-Identifier: MIT */
/* Ends of connections as the log and the control socket show them. */
#ifndef ECHOD_REPORT_ENDPOINT_TEXT_H
#define ECHOD_REPORT_ENDPOINT_TEXT_H

#include "base/address.h"
#include "wire/endpoint.h"

/* "192.0.2.7:51812", "[2001:db8::7]:51812", "unix:pid=1,uid=0" or "unknown"; returns text. */
const char *endpoint_text_peer(const struct endpoint *peer, char text[ADDRESS_TEXT_MAX]);

/* The same for our end; unix_path: of the listening socket, NULL unless a Unix one. */
const char *endpoint_text_local(const struct endpoint *local, const struct endpoint *peer,
				const char *unix_path, char text[ADDRESS_TEXT_MAX]);

#endif
