/* SPDX-License-Identifier: MIT */
/* A first reading of a configuration file: statements. */
#include "echod/configuration/scan.h"

#include <stdbool.h>
#include <string.h>

#include "echod/configuration/keys.h"
#include "echod/configuration/tokens.h"

#define NAME_MAX_BYTES 64

/* One statement: NAME = VALUE, NAME += VALUE, NAME { ... } or NAME(...). */
struct statement {
	struct token first;
	const char *section;		/* that it stands in, NULL: top level */
	char name[NAME_MAX_BYTES];	/* cut off when longer: no key is */
	const struct key *key;		/* NULL: unknown */
};

static void complain_at(struct scanner *scanner, const struct statement *statement, unsigned line,
			const char *why)
{
	problems_add(scanner->problems, scanner->source, line, statement->section,
		     *statement->name ? statement->name : NULL, "%s", why);
}

static void complain(struct scanner *scanner, const struct statement *statement, const char *why)
{
	complain_at(scanner, statement, statement->first.line, why);
}

/*
 * Drops the statement, up to the token that does not fit; with that one unless it may begin or
 * end something else.
 */
static void drop(struct scanner *scanner, const struct statement *statement,
		 const struct token *misfit)
{
	if (misfit->type == '}' || misfit->type == TOKEN_END ||
	    misfit->line > statement->first.line)
		scanner_unget(scanner, misfit);
	scanner_blank(scanner, statement->first.start);
	scanner->broken_line = statement->first.line;
}

/* Reads to the brace that closes the one just read. */
static void skip_braces(struct scanner *scanner, const struct statement *statement)
{
	unsigned depth = 1;

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

/*
 * Drops a list that is broken at misfit, behind the line given. Its end is the brace, or what
 * looks like the next statement: a word at the beginning of a line.
 */
static void drop_list(struct scanner *scanner, const struct statement *statement,
		      unsigned line, struct token misfit)
{
	while (misfit.type != '}' && misfit.type != TOKEN_END &&
	       !(misfit.type == TOKEN_WORD && misfit.line != line)) {
		if (misfit.type == '{')
			skip_braces(scanner, statement);
		line = misfit.line;
		misfit = scanner_next(scanner);
	}
	if (misfit.type != '}')
		scanner_unget(scanner, &misfit);
	scanner_blank(scanner, statement->first.start);
}

/* The rest of a list. */
static void scan_list(struct scanner *scanner, const struct statement *statement)
{
	unsigned line = statement->first.line;
	bool is_empty = true;

	for (;;) {
		struct token token = scanner_next(scanner);

		if (token_is_value(&token)) {
			is_empty = false;
			line = token.line;
			token = scanner_next(scanner);
			if (token.type == ',')
				continue;
		}
		if (token.type == '}')
			break;
		if (token.type != TOKEN_BAD)
			complain_at(scanner, statement, line, token.type == TOKEN_END
				? "'}' missing" : "',' or '}' missing in the list");
		drop_list(scanner, statement, line, token);
		return;
	}
	if (is_empty && statement->key->kind == KEY_ADDRESSES) {
		complain(scanner, statement, "is empty");
		scanner_blank(scanner, statement->first.start);
	}
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
		skip_braces(scanner, statement);
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
		skip_braces(scanner, statement);
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

/* Copies text, cut off when it is too long. */
static void copy_text(const struct scanner *scanner, size_t start, size_t end,
		      char copy[NAME_MAX_BYTES])
{
	size_t length = end - start < NAME_MAX_BYTES ? end - start : NAME_MAX_BYTES - 1;

	*(char *)mempcpy(copy, scanner->text + start, length) = '\0';
}

static void begin_statement(struct scanner *scanner, struct statement *statement,
			    const struct token *token, const char *section)
{
	copy_text(scanner, token->start, token->end, statement->name);
	statement->first = *token;
	statement->section = section;
	statement->key = key_find(section, statement->name);
	scanner->section = section;
	scanner->key = statement->name;
}

/* A token that no statement begins with, or what remains of a broken one. */
static void scan_stray(struct scanner *scanner, const struct token *token)
{
	struct statement stray = { .first = *token };
	size_t inset = token->type == TOKEN_STRING ? 1 : 0;
	char copy[NAME_MAX_BYTES], quoted[KEY_QUOTE_MAX];

	if (token->type == TOKEN_BAD)
		return;
	copy_text(scanner, token->start + inset, token->end - inset, copy);
	if (token->line != scanner->broken_line)
		problems_add(scanner->problems, scanner->source, token->line, NULL, NULL,
			     "unexpected %s", key_quote(copy, quoted));
	scanner->broken_line = token->line;
	if (token->type == '{')
		skip_braces(scanner, &stray);
	scanner_blank(scanner, token->start);
}

/* Whether a word begins a statement. One mistake in a line is enough, but what is known counts. */
static bool is_statement(const struct scanner *scanner, const struct statement *statement)
{
	return scanner->broken_line != statement->first.line || statement->key ||
		(!statement->section && key_is_section(statement->name));
}

/* Some editors write one. It is not seen: "unknown key" would name a word that looks right. */
static void refuse_byte_order_mark(char *text, size_t length, const struct source *source,
				   struct problems *problems)
{
	static const char mark[] = { '\xef', '\xbb', '\xbf' };

	if (length < sizeof(mark) || memcmp(text, mark, sizeof(mark)) != 0)
		return;
	problems_add(problems, source, 1, NULL, NULL, "byte order mark at the beginning");
	memset(text, ' ', sizeof(mark));
}

size_t scan_configuration(char *text, size_t length, const struct source *source,
			  struct problems *problems)
{
	struct scanner scanner = {
		.text = text, .length = length, .line = 1, .source = source, .problems = problems,
	};
	struct statement open, statement;
	bool is_open = false;

	refuse_byte_order_mark(text, length, source, problems);
	for (;;) {
		struct token token;

		scanner.section = is_open ? open.name : NULL;
		scanner.key = NULL;
		token = scanner_next(&scanner);
		if (token.type == TOKEN_END)
			break;
		if (token.type == TOKEN_WORD)
			begin_statement(&scanner, &statement, &token, scanner.section);
		if (token.type == '}' && is_open) {
			is_open = false;
		} else if (token.type != TOKEN_WORD || !is_statement(&scanner, &statement)) {
			scan_stray(&scanner, &token);
		} else if (scan_statement(&scanner, &statement)) {
			open = statement;
			is_open = true;
		}
	}
	if (is_open) {
		complain(&scanner, &open, "'}' missing");
		text[length++] = '}';
	}
	return length;
}
