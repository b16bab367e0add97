/* SPDX-License-Identifier: MIT */
/* One line from the daemon's control socket, taken apart. */
#ifndef ECHOCTL_DAEMON_REPLY_H
#define ECHOCTL_DAEMON_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reply;

/* Returns 0 (the caller frees the reply), or -EBADMSG for what is no object with an "event". */
int reply_parse(const char *line, struct reply **ret_reply);
void reply_free(struct reply *reply);

static inline void reply_freep(struct reply **reply)
{
	reply_free(*reply);
}

/*
 * What stands at a path of keys, as in "connections.live". A number, flag or text that is not
 * there is 0, false or "". Texts live as long as the reply; a control character in one is '?'.
 */
int64_t reply_integer(struct reply *reply, const char *path);
bool reply_flag(struct reply *reply, const char *path);
const char *reply_text(struct reply *reply, const char *path);

/* Elements of the array there, 0 when it is none; the index-th is borrowed, NULL beyond the end. */
size_t reply_count(struct reply *reply, const char *path);
struct reply *reply_item(struct reply *reply, const char *path, size_t index);
int64_t reply_item_integer(struct reply *reply, const char *path, size_t index);

const char *reply_item_text(struct reply *reply, const char *path, size_t index);

/* Calls show for each number of the object there, in the daemon's order. */
void reply_each(struct reply *reply, const char *path,
		void (*show)(void *context, const char *key, int64_t value), void *context);

#endif
