/* SPDX-License-Identifier: MIT */
/* The tokens of libConfuse's syntax, with their places. */
#ifndef ECHOD_CONFIGURATION_TOKENS_H
#define ECHOD_CONFIGURATION_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include "echod/configuration/problems.h"

/* Other tokens have the character as their type: = { } ( ) , and + for "+=". */
enum token_type {
	TOKEN_END = 0,
	TOKEN_BAD,	/* already noted, and blanked */
	TOKEN_WORD,	/* not quoted */
	TOKEN_STRING,	/* quoted */
};

struct token {
	int type;
	size_t start, end;
	unsigned line;
};

struct scanner {
	char *text;
	size_t length;
	size_t position;
	unsigned line;
	const struct source *source;
	struct problems *problems;
	const char *section, *key;	/* that a bad token is noted for, or NULL */
	unsigned broken_line;		/* the last one with a mistake in its grammar, or 0 */
};

/* The next token; comments before it are blanked. */
struct token scanner_next(struct scanner *scanner);

/* Goes back to before the token that was read last. */
void scanner_unget(struct scanner *scanner, const struct token *token);

/* Overwrites what was read from start on with spaces; ends of lines stay. */
void scanner_blank(struct scanner *scanner, size_t start);

static inline bool token_is_value(const struct token *token)
{
	return token->type == TOKEN_WORD || token->type == TOKEN_STRING;
}

#endif
