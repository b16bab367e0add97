/* SPDX-License-Identifier: MIT */
/* What a client is told, and what the log is told about it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echod/control/client.h"
#include "echod/log/log.h"

void control_reply(struct control_client *client, json_t *reply)
{
	char *line = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	size_t size = line ? strlen(line) : 0;
	char *more = line ? realloc(client->reply, client->reply_size + size + 1) : NULL;

	if (more) {
		memcpy(more + client->reply_size, line, size + 1);
		more[client->reply_size + size] = '\n';
		client->reply = more;
		client->reply_size += size + 1;
	} else {
		client->close_after_reply = true;
	}
	free(line);
	json_decref(reply);
}

void control_reply_error(struct control_client *client, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	control_reply(client, control_error(text));
}

json_t *control_error(const char *text)
{
	return json_pack("{s:s, s:i, s:b, s:o}", "event", "error", "version", CONTROL_VERSION,
			 "ok", 0, "error", control_text(text));
}

json_t *control_text(const char *text)
{
	json_t *made = json_string(text);
	char *copy = made ? NULL : strdup(text);

	for (char *c = copy; c && *c; c++)
		if ((unsigned char)*c > 0x7f)
			*c = '?';
	if (copy)
		made = json_string(copy);
	free(copy);
	return made;
}

void control_log(const struct control_client *client, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_notice("control: %s (uid %u, pid %d)", text, (unsigned)client->peer.uid,
		   (int)client->peer.pid);
}
