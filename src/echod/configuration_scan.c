/* SPDX-License-Identifier: MIT */
/* A first reading of a configuration file: statements. */
#include "echod/configuration_scan.h"

#include <stdbool.h>
#include <string.h>

#include "echod/configuration_keys.h"
#include "echod/configuration_tokens.h"

#define NAME_MAX_BYTES 64

/* One statement: NAME = VALUE, NAME += VALUE, NAME { ... } or NAME(...). */
struct statement {
	struct token first;
	const char *section;		/* that it stands in, NULL: top level */
	char name[NAME_MAX_BYTES];	/* cut off when longer: no key is */
	const struct key *key;		/* NULL: unknown */
};

static void complain(struct scanner *scanner, const struct statement *statement, const char *why)
{
	problems_add(scanner->problems, scanner->source, statement->first.line,
		     statement->section, *statement->name ? statement->name : NULL, "%s", why);
}

/* Drops the statement, up to and with the token that does not fit unless that may begin or end
 * something else. */
static void drop(struct scanner *scanner, const struct statement *statement,
		 const struct token *misfit)
{
	if (misfit->type == '}' || misfit->type == TOKEN_END ||
	    misfit->line > statement->first.line)
		scanner_unget(scanner, misfit);
	scanner_blank(scanner, statement->first.start);
}

/* Reads to the brace that closes the last one of depth that are open. */
static void skip_braces(struct scanner *scanner, const struct statement *statement, size_t depth)
{
	while (depth > 0) {
		struct token token = scanner_next(scanner);

		if (token.type == TOKEN_END) {
			complain(scanner, statement, "'}' missing");
			return;
		}
		if (token.type == '{')
			depth++;
		else if (token.type == '}')
			depth--;
	}
}

/* The rest of a list. Returns false when it is malformed, and has then dropped the statement. */
static bool scan_list(struct scanner *scanner, const struct statement *statement)
{
	bool is_empty = true;

	for (;;) {
		struct token token = scanner_next(scanner);

		if (token_is_value(&token)) {
			is_empty = false;
			token = scanner_next(scanner);
			if (token.type == ',')
				continue;
		}
		if (token.type == '}')
			break;
		if (token.type != TOKEN_BAD)
			complain(scanner, statement, token.type == TOKEN_END
				? "'}' missing" : "',' or '}' missing in the list");
		if (token.type != TOKEN_END)
			skip_braces(scanner, statement, token.type == '{' ? 2 : 1);
		scanner_blank(scanner, statement->first.start);
		return false;
	}
	if (is_empty && statement->key->kind == KEY_ADDRESSES) {
		complain(scanner, statement, "is empty");
		scanner_blank(scanner, statement->first.start);
		return false;
	}
	return true;
}

/* What follows = or +=. */
static void scan_assignment(struct scanner *scanner, const struct statement *statement,
			    const struct token *operator)
{
	struct token token = scanner_next(scanner);
	bool is_list = statement->key && key_is_list(statement->key);

	if (token.type == '{' && is_list) {
		scan_list(scanner, statement);
		return;
	}
	if (!statement->key && !statement->section && key_is_section(statement->name))
		complain(scanner, statement, "is a section, it takes { ... } and no =");
	else if (!statement->key)
		complain(scanner, statement, "unknown key");
	else if (token.type == TOKEN_BAD)
		;
	else if (operator->type == '+' && !is_list)
		complain(scanner, statement, "is no list, it takes = and not +=");
	else if (token.type == '{')
		complain(scanner, statement, "is no list, it takes one value");
	else if (!token_is_value(&token) || token.line != operator->line)
		complain(scanner, statement, "value missing");
	else
		return;

	if (token.type == '{')
		skip_braces(scanner, statement, 1);
	else if (!token_is_value(&token) || token.line != operator->line) {
		drop(scanner, statement, &token);
		return;
	}
	scanner_blank(scanner, statement->first.start);
}

/* What follows the parenthesis. Only include() is one, and stands outside of sections. */
static void scan_call(struct scanner *scanner, const struct statement *statement)
{
	bool is_include = !statement->section && strcmp(statement->name, "include") == 0;
	struct token token = scanner_next(scanner);
	bool is_valid = token_is_value(&token);

	if (is_valid)
		token = scanner_next(scanner);
	if (is_include && is_valid && token.type == ')')
		return;
	if (!is_include)
		complain(scanner, statement, "unknown key");
	else if (token.type != TOKEN_BAD)
		complain(scanner, statement, "expected include(\"FILE\")");
	while (token.type != ')' && token.type != '}' && token.type != TOKEN_END &&
	       token.line == statement->first.line)
		token = scanner_next(scanner);
	drop(scanner, statement, &token);
}

/* Reads one statement; returns true when that opens the section of its name. */
static bool scan_statement(struct scanner *scanner, struct statement *statement)
{
	struct token token = scanner_next(scanner);
	bool is_include = !statement->section && strcmp(statement->name, "include") == 0;

	if (token.type == '(') {
		scan_call(scanner, statement);
		return false;
	}
	if (!is_include && (token.type == '=' || token.type == '+')) {
		scan_assignment(scanner, statement, &token);
		return false;
	}
	if (!is_include && token.type == '{') {
		if (!statement->section && key_is_section(statement->name))
			return true;
		complain(scanner, statement, statement->key ? "is no section, it takes ="
							    : "unknown key");
		skip_braces(scanner, statement, 1);
		scanner_blank(scanner, statement->first.start);
		return false;
	}
	if (token.type != TOKEN_BAD)
		complain(scanner, statement,
			 is_include ? "expected include(\"FILE\")"
			 : !statement->section && key_is_section(statement->name) ? "'{' missing"
			 : statement->key ? "'=' missing" : "unknown key");
	drop(scanner, statement, &token);
	return false;
}

static void begin_statement(struct scanner *scanner, struct statement *statement,
			    const struct token *token, const char *section)
{
	size_t length = token->end - token->start;

	if (length >= sizeof(statement->name))
		length = sizeof(statement->name) - 1;
	*(char *)mempcpy(statement->name, scanner->text + token->start, length) = '\0';
	statement->first = *token;
	statement->section = section;
	statement->key = key_find(section, statement->name);
	scanner->section = section;
	scanner->key = statement->name;
}

/* A token that no statement begins with. */
static void scan_stray(struct scanner *scanner, const struct token *token)
{
	struct statement stray = { .first = *token };

	if (token->type == TOKEN_BAD)
		return;
	problems_add(scanner->problems, scanner->source, token->line, NULL, NULL,
		     "unexpected %.*s", token->end - token->start > 60 ? 60
		     : (int)(token->end - token->start), scanner->text + token->start);
	if (token->type == '{')
		skip_braces(scanner, &stray, 1);
	scanner_blank(scanner, token->start);
}

size_t scan_configuration(char *text, size_t length, const struct source *source,
			  struct problems *problems)
{
	struct scanner scanner = {
		.text = text, .length = length, .line = 1, .source = source, .problems = problems,
	};
	struct statement open, statement;
	bool is_open = false;

	for (;;) {
		struct token token;

		scanner.section = is_open ? open.name : NULL;
		scanner.key = NULL;
		token = scanner_next(&scanner);
		if (token.type == TOKEN_END)
			break;
		if (token.type == TOKEN_WORD) {
			begin_statement(&scanner, &statement, &token, is_open ? open.name : NULL);
			if (scan_statement(&scanner, &statement)) {
				open = statement;
				is_open = true;
			}
		} else if (token.type == '}' && is_open) {
			is_open = false;
		} else {
			scan_stray(&scanner, &token);
		}
	}
	if (is_open) {
		complain(&scanner, &open, "'}' missing");
		text[length++] = '}';
	}
	return length;
}
