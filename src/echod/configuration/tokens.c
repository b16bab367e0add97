/* SPDX-License-Identifier: MIT */
/* The tokens of libConfuse's syntax. */
#include "echod/configuration/tokens.h"

#include <ctype.h>
#include <string.h>

#include "echod/configuration/keys.h"

/* What a bare word may hold: less than libConfuse takes, which drops some bytes in silence. */
static bool is_word(char c)
{
	return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 ||
		(c != '\0' && strchr("-_.:/%@~[]", c));
}

/* The byte at an offset from where we are; NUL, which no text holds, behind its end. */
static char peek(const struct scanner *scanner, size_t offset)
{
	size_t at = scanner->position + offset;

	return at < scanner->length ? scanner->text[at] : '\0';
}

static void complain(struct scanner *scanner, unsigned line, const char *why)
{
	problems_add(scanner->problems, scanner->source, line, scanner->section, scanner->key,
		     "%s", why);
}

void scanner_blank(struct scanner *scanner, size_t start)
{
	for (size_t i = start; i < scanner->position; i++) {
		if (scanner->text[i] != '\n')
			scanner->text[i] = ' ';
	}
}

void scanner_unget(struct scanner *scanner, const struct token *token)
{
	scanner->position = token->start;
	scanner->line = token->line;
}

static void skip_line(struct scanner *scanner)
{
	while (scanner->position < scanner->length && peek(scanner, 0) != '\n')
		scanner->position++;
}

static void skip_block_comment(struct scanner *scanner)
{
	unsigned first_line = scanner->line;

	for (scanner->position += 2; scanner->position < scanner->length; scanner->position++) {
		if (peek(scanner, 0) == '*' && peek(scanner, 1) == '/') {
			scanner->position += 2;
			return;
		}
		if (peek(scanner, 0) == '\n')
			scanner->line++;
	}
	complain(scanner, first_line, "unterminated comment");
}

/* Skips white space and comments. */
static void skip_blanks(struct scanner *scanner)
{
	for (;;) {
		size_t start = scanner->position;
		char c = peek(scanner, 0);

		if (c == '\n')
			scanner->line++;
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			scanner->position++;
			continue;
		}
		if (c == '#' || (c == '/' && peek(scanner, 1) == '/'))
			skip_line(scanner);
		else if (c == '/' && peek(scanner, 1) == '*')
			skip_block_comment(scanner);
		else
			return;
		scanner_blank(scanner, start);
	}
}

/* Skips \012 or \x0a in a string; libConfuse stops at what is no byte, and a NUL would end it. */
static bool skip_escape(struct scanner *scanner)
{
	size_t digits = 0;
	unsigned value = 0;

	if (peek(scanner, 1) == 'x' && isxdigit((unsigned char)peek(scanner, 2))) {
		for (; digits < 2 && isxdigit((unsigned char)peek(scanner, 2 + digits)); digits++)
			value |= peek(scanner, 2 + digits) != '0';
		scanner->position += 2 + digits;
		return value != 0;
	}
	for (; isdigit((unsigned char)peek(scanner, 1 + digits)); digits++) {
		if (digits >= 3 || peek(scanner, 1 + digits) > '7')
			return false;
		value = value * 8 + (unsigned)(peek(scanner, 1 + digits) - '0');
	}
	scanner->position += digits > 0 ? 1 + digits : 2;
	return digits == 0 || (value > 0 && value <= 0xff);
}

/* Skips ${NAME} or ${NAME:-DEFAULT}, which libConfuse replaces from the environment. */
static bool skip_variable(struct scanner *scanner)
{
	size_t rest = strcspn(scanner->text + scanner->position, "}\"\n");

	scanner->position += rest + 1;
	return scanner->position <= scanner->length &&
		scanner->text[scanner->position - 1] == '}';
}

/* Reads a quoted string up to and with its end. Returns what is wrong with it, or NULL. */
static const char *read_string(struct scanner *scanner)
{
	char quote = scanner->text[scanner->position++];

	while (scanner->position < scanner->length && peek(scanner, 0) != '\n') {
		char c = peek(scanner, 0);

		if (c == quote) {
			scanner->position++;
			return NULL;
		}
		if (c == '\\' && peek(scanner, 1) == '\n')
			break;
		if (quote == '"' && c == '\\') {
			if (!skip_escape(scanner))
				return "bad escape sequence in a string";
		} else if (quote == '"' && c == '$' && peek(scanner, 1) == '{') {
			if (!skip_variable(scanner))
				return "'}' of a variable missing in a string";
		} else {
			scanner->position += c == '\\' ? 2 : 1;
		}
	}
	return "unterminated string";
}

/* The rest of the line goes with a string that does not end. */
static int read_bad_string(struct scanner *scanner, const char *why)
{
	if (scanner->position > scanner->length)
		scanner->position = scanner->length;
	complain(scanner, scanner->line, why);
	skip_line(scanner);
	return TOKEN_BAD;
}

static int read_bad_word(struct scanner *scanner)
{
	char quoted[KEY_QUOTE_MAX];
	char first[] = { peek(scanner, 0), '\0' };

	problems_add(scanner->problems, scanner->source, scanner->line, scanner->section,
		     scanner->key, "unexpected %s outside of quotes", key_quote(first, quoted));
	while (scanner->position < scanner->length &&
	       !strchr(" \t\r\n#\"'={}(),", peek(scanner, 0)))
		scanner->position++;
	return TOKEN_BAD;
}

struct token scanner_next(struct scanner *scanner)
{
	struct token token = { .type = TOKEN_END };
	const char *why;
	char c;

	skip_blanks(scanner);
	token.start = scanner->position;
	token.line = scanner->line;
	c = peek(scanner, 0);
	if (scanner->position == scanner->length)
		return token;
	if (c == '"' || c == '\'') {
		why = read_string(scanner);
		token.type = why ? read_bad_string(scanner, why) : TOKEN_STRING;
	} else if (strchr("={}(),", c)) {
		token.type = (unsigned char)c;
		scanner->position++;
	} else if (c == '+' && peek(scanner, 1) == '=') {
		token.type = (unsigned char)c;
		scanner->position += 2;
	} else if (is_word(c)) {
		token.type = TOKEN_WORD;
		while (is_word(peek(scanner, 0)))
			scanner->position++;
	} else {
		token.type = read_bad_word(scanner);
	}
	token.end = scanner->position;
	if (token.type == TOKEN_BAD) {
		scanner->broken_line = scanner->line;
		scanner_blank(scanner, token.start);
	}
	return token;
}
