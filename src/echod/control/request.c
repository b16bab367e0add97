/* SPDX-License-Identifier: MIT */
/* What a request asks for, and whether this client may ask for it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echod/control/client.h"
#include "echod/log/log.h"
#include "echod/metrics/metrics.h"

static void handle_status(struct control_client *client, json_t *request)
{
	(void)request;
	control_reply(client, control_status(client->control->supervisor));
}

static void handle_metrics(struct control_client *client, json_t *request)
{
	char *text = metrics_text(client->control->supervisor, METRICS_OPENMETRICS);

	(void)request;
	control_reply(client, json_pack("{s:s, s:i, s:b, s:s}", "event", "metrics",
					"version", CONTROL_VERSION, "ok", 1, "text", text));
	free(text);
}

static void handle_list(struct control_client *client, json_t *request)
{
	(void)request;
	client->is_listing = true;
	client->list_generation = UINT64_MAX;
	client->list_slot = 0;
	client->list_count = 0;
}

static void handle_reload(struct control_client *client, json_t *request)
{
	struct supervisor *supervisor = client->control->supervisor;

	(void)request;
	if (supervisor->ending.phase != ENDING_NONE) {
		control_reply_error(client, "the daemon is stopping");
		return;
	}
	json_decref(client->problems);
	client->problems = json_array();
	client->wait = WAIT_RELOAD;
	control_log(client, "reload");
	supervisor->reload_wanted = true;
}

static void handle_drain(struct control_client *client, json_t *request)
{
	(void)request;
	client->wait = WAIT_DRAIN;
	if (client->control->supervisor->ending.phase != ENDING_NONE)
		return;
	control_log(client, "drain");
	client->control->supervisor->drain_wanted = true;
}

static void handle_log_level(struct control_client *client, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "level"));
	int level = name ? configuration_level(name) : -EINVAL;

	if (level < 0) {
		control_reply_error(client, "level: one of emerg alert crit err warning notice "
				    "info debug");
		return;
	}
	log_set_level(level);
	control_log(client, "log level is %s until the next reload", name);
	control_reply(client, json_pack("{s:s, s:i, s:b, s:s}", "event", "log-level", "version",
					CONTROL_VERSION, "ok", 1, "level", name));
}

static const struct {
	const char *name;
	enum control_role role;
	void (*handle)(struct control_client *client, json_t *request);
} commands[] = {
	{ "status", CONTROL_READER, handle_status },
	{ "metrics", CONTROL_READER, handle_metrics },
	{ "list", CONTROL_OPERATOR, handle_list },
	{ "kill", CONTROL_OPERATOR, control_kill },
	{ "reload", CONTROL_OPERATOR, handle_reload },
	{ "drain", CONTROL_OPERATOR, handle_drain },
	{ "log-level", CONTROL_OPERATOR, handle_log_level },
};

static void handle_request(struct control_client *client, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "command"));
	json_t *version = json_object_get(request, "version");

	if (!name) {
		control_reply_error(client, "a request is an object with a \"command\"");
		return;
	}
	if (version && json_integer_value(version) != CONTROL_VERSION) {
		control_reply_error(client, "version: this daemon speaks %d", CONTROL_VERSION);
		return;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (client->peer.role < commands[i].role)
			control_reply_error(client, "%s: not permitted", commands[i].name);
		else
			commands[i].handle(client, request);
		return;
	}
	control_reply_error(client, "unknown command");
}

void control_handle(struct control_client *client, const char *line, size_t size)
{
	json_error_t error;
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);

	assert(client->wait == WAIT_NONE && !client->is_listing);
	if (request)
		handle_request(client, request);
	else
		control_reply_error(client, "not JSON: column %d: %s", error.column, error.text);
	json_decref(request);
}
