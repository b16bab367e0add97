/* SPDX-License-Identifier: MIT */
/* What is wrong with a configuration. */
#include "echod/configuration/problems.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A file that is no configuration at all must not fill the log. */
#define PROBLEMS_MAX 100u

struct problem {
	size_t file;
	unsigned line;
	size_t serial;
	char *text;
};

static char *make_line(const struct source *source, unsigned line, const char *section,
		       const char *key, const char *why)
{
	char *text = NULL;
	char number[16] = "";
	int r;

	if (line > 0)
		snprintf(number, sizeof(number), ":%u", line);
	r = asprintf(&text, "%s%s: %s%s%.60s%s%s", source->name, number, section ? section : "",
		     section && key ? "." : "", key ? key : "", section || key ? ": " : "", why);
	return r < 0 ? NULL : text;
}

/* Takes text over. A file may be read again: what was noted then is no second problem. */
static void add_text(struct problems *problems, const struct source *source, unsigned line,
		     char *text)
{
	struct problem *items;

	for (char *c = text; *c != '\0'; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	for (size_t i = 0; i < problems->count; i++) {
		if (strcmp(problems->items[i].text, text) == 0) {
			free(text);
			return;
		}
	}
	if (problems->count == PROBLEMS_MAX) {
		problems->left_out++;
		free(text);
		return;
	}
	items = reallocarray(problems->items, problems->count + 1, sizeof(*items));
	if (!items) {
		problems->out_of_memory = true;
		free(text);
		return;
	}
	problems->items = items;
	items[problems->count] = (struct problem){
		.file = source->index, .line = line, .serial = problems->count, .text = text,
	};
	problems->count++;
}

void problems_add(struct problems *problems, const struct source *source, unsigned line,
		  const char *section, const char *key, const char *format, ...)
{
	char *why = NULL, *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&why, format, arguments) >= 0) {
		text = make_line(source, line, section, key, why);
		free(why);
	}
	va_end(arguments);
	if (text)
		add_text(problems, source, line, text);
	else
		problems->out_of_memory = true;
}

static int compare(const void *a, const void *b)
{
	const struct problem *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->serial < y->serial ? -1 : 1;
}

void problems_tell(struct problems *problems, configuration_report_fn report, void *context)
{
	char rest[64];

	if (problems->count > 0)
		qsort(problems->items, problems->count, sizeof(*problems->items), compare);
	for (size_t i = 0; i < problems->count; i++)
		report(context, problems->items[i].text);
	if (problems->left_out > 0) {
		snprintf(rest, sizeof(rest), "%zu more %s not shown", problems->left_out,
			 problems->left_out == 1 ? "error is" : "errors are");
		report(context, rest);
	}
}

void problems_release(struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		free(problems->items[i].text);
	free(problems->items);
	*problems = (struct problems){0};
}
