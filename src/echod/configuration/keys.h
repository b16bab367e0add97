/* SPDX-License-Identifier: MIT */
/* Every key of echod.conf(5) in one table: its type, range and default. */
#ifndef ECHOD_CONFIGURATION_KEYS_H
#define ECHOD_CONFIGURATION_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "echod/configuration/configuration.h"

enum key_kind {
	KEY_NUMBER,	/* uint32_t, min to max */
	KEY_DURATION,	/* uint64_t microseconds, min to max; 0 is always allowed */
	KEY_WAIT,	/* the same, but 0 is not allowed */
	KEY_CHOICE,	/* an enum or int, by the words of choices */
	KEY_MODE,	/* mode_t, written in octal */
	KEY_NAME,	/* char *, a user or group name */
	KEY_PATH,	/* char *, absolute, max bytes at most */
	KEY_ADDRESSES,	/* struct configured_address list, max elements at most */
	KEY_PREFIXES,	/* struct cidr list, max elements at most; a word of choices is bits */
	KEY_GONE,	/* no longer a key: advice says what to do instead */
};

struct key_choice {
	const char *word;
	int value;	/* if several words have one value, the first is printed */
};

struct key {
	const char *section;	/* "": top level */
	const char *name;
	enum key_kind kind;
	size_t offset;		/* of the field in struct configuration */
	size_t count_offset;	/* lists: of the field (size_t) that counts the elements */
	const char *fallback;	/* the default as text; NULL: an empty list */
	const char *advice;	/* KEY_GONE: what to do instead */
	uint64_t min;		/* KEY_NAME, KEY_PATH: 0 = may be empty, stored as NULL */
	uint64_t max;
	const struct key_choice *choices;
};

/* Ends with an element whose name is NULL. Keys of a section are together. */
extern const struct key configuration_keys[];

/* NULL when there is no such key. */
const struct key *key_find(const char *section, const char *name);

#define KEY_WHY_MAX 512

/*
 * Checks text and stores it in its field; appends it if that is a list. Returns 0, -ENOMEM, or with
 * the reason in why -EINVAL, -E2BIG (the list is full). The field is untouched on failure.
 */
int key_store(const struct key *key, const char *text, struct configuration *configuration,
	      char why[KEY_WHY_MAX]);

/* Empties a list. Does nothing to other keys. */
void key_clear(const struct key *key, struct configuration *configuration);

/* Writes the value in the file's syntax. */
void key_print(const struct key *key, const struct configuration *configuration, FILE *stream);

#define KEY_QUOTE_MAX 256
/* text in quotes, for a message: control characters become \xNN, a long text is cut. */
const char *key_quote(const char *text, char quoted[KEY_QUOTE_MAX]);

#endif
