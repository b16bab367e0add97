/* SPDX-License-Identifier: MIT */
/* Replies of the daemon: jansson behind a name of our own. */
#include "echoctl/daemon/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define KEY_MAX 64

static json_t *find(struct reply *reply, const char *path)
{
	json_t *at = (json_t *)reply;
	char key[KEY_MAX];

	while (at && path) {
		const char *dot = strchrnul(path, '.');
		size_t length = (size_t)(dot - path);

		if (length >= sizeof(key))
			return NULL;
		memcpy(key, path, length);
		key[length] = '\0';
		at = json_object_get(at, key);
		path = *dot ? dot + 1 : NULL;
	}
	return at;
}

/* Nothing that the daemon says may steer the terminal. */
static void disarm_text(json_t *value)
{
	char *text = json_is_string(value) ? strdup(json_string_value(value)) : NULL;

	for (char *c = text; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	if (text)
		json_string_set(value, text);
	free(text);
}

static void disarm(json_t *value)
{
	const char *key;
	json_t *inner;
	size_t index;

	disarm_text(value);
	json_array_foreach(value, index, inner) {
		disarm(inner);
	}
	json_object_foreach(value, key, inner) {
		disarm(inner);
	}
}

int reply_parse(const char *line, struct reply **ret_reply)
{
	json_t *object = json_loads(line, 0, NULL);

	if (!json_is_string(json_object_get(object, "event"))) {
		json_decref(object);
		return -EBADMSG;
	}
	/* A metrics page is a text of many lines. */
	if (!json_is_string(json_object_get(object, "text")))
		disarm(object);
	*ret_reply = (struct reply *)object;
	return 0;
}

void reply_free(struct reply *reply)
{
	json_decref((json_t *)reply);
}

int64_t reply_integer(struct reply *reply, const char *path)
{
	return json_integer_value(find(reply, path));
}

bool reply_flag(struct reply *reply, const char *path)
{
	return json_is_true(find(reply, path));
}

const char *reply_text(struct reply *reply, const char *path)
{
	const char *text = json_string_value(find(reply, path));

	return text ? text : "";
}

size_t reply_count(struct reply *reply, const char *path)
{
	return json_array_size(find(reply, path));
}

struct reply *reply_item(struct reply *reply, const char *path, size_t index)
{
	return (struct reply *)json_array_get(find(reply, path), index);
}

int64_t reply_item_integer(struct reply *reply, const char *path, size_t index)
{
	return json_integer_value(json_array_get(find(reply, path), index));
}

const char *reply_item_text(struct reply *reply, const char *path, size_t index)
{
	const char *text = json_string_value(json_array_get(find(reply, path), index));

	return text ? text : "";
}

void reply_each(struct reply *reply, const char *path,
		void (*show)(void *context, const char *key, int64_t value), void *context)
{
	const char *key;
	json_t *value;

	json_object_foreach(find(reply, path), key, value)
		if (json_is_integer(value))
			show(context, key, json_integer_value(value));
}
