/* SPDX-License-Identifier: MIT */
/*
 * The files of a configuration: opening, reading, and how they include each other.
 *
 * libConfuse 3.3 passes over some faults in silence. A string without its quote goes on into the
 * next lines; if there is no quote at all it ends with the file, and so do a comment and a section.
 * A NUL cuts a value. A character like * or + outside of quotes is dropped, and one like ; or |
 * becomes part of a word. All of these lose settings that somebody has written, so they are found
 * here, before libConfuse reads the text. Comments are blanked, since it counts their lines twice.
 */
#include "echod/configuration/source.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "echod/configuration/keys.h"

#define SOURCE_MAX_BYTES (1u << 20)

int source_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

struct source *source_new(const struct source *parent, const char *name, size_t index)
{
	struct source *source = calloc(1, sizeof(*source));
	const char *slash = parent ? strrchr(parent->name, '/') : NULL;
	int folder = slash && *name != '/' ? (int)(slash + 1 - parent->name) : 0;

	if (!source)
		return NULL;
	if (asprintf(&source->name, "%.*s%s", folder, folder ? parent->name : "", name) < 0) {
		free(source);
		return NULL;
	}
	source->parent = parent;
	source->depth = parent ? parent->depth + 1 : 0;
	source->index = index;
	return source;
}

void source_free(struct source *source)
{
	if (!source)
		return;
	free(source->name);
	free(source->text);
	free(source);
}

/* What a word may hold outside of quotes. */
static bool is_word(char c)
{
	return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 ||
	       (c != '\0' && strchr("-_.:/%@~[]", c));
}

/* Overwrites text up to its end with spaces; ends of lines stay. Returns the end. */
static char *blank(char *text, char *end)
{
	for (; text < end; text++) {
		if (*text != '\n')
			*text = ' ';
	}
	return end;
}

/* Whether an escape, from behind its backslash, stands for a NUL: \0, \00, \000, \x0 or \x00. */
static bool is_nul(const char *escape)
{
	const char *digits = escape + (*escape == 'x');
	size_t zeros = strspn(digits, "0");
	char next = digits[zeros];

	if (*escape == 'x')
		return zeros >= 2 || (zeros == 1 && !isxdigit((unsigned char)next));
	return zeros >= 3 || (zeros >= 1 && (next < '0' || next > '7'));
}

/* Steps over a quoted string. Returns its end; or where it breaks off, with the reason in why. */
static char *skip_string(char *text, const char **why)
{
	char quote = *text++;

	for (; *text != quote; text++) {
		if (quote == '"' && text[0] == '$' && text[1] == '{') {
			text += strcspn(text, "}\"\n");
			*why = *text == '}' ? NULL : "'}' of a variable missing in a string";
		} else if (quote == '"' && *text == '\\' && is_nul(text + 1)) {
			*why = "NUL in a string";
		} else if (*text == '\\' && text[1] != '\n' && text[1] != '\0') {
			text++;
		} else if (strchr("\\\n", *text)) {
			*why = "unterminated string";
		}
		if (*why)
			return text;
	}
	return text + 1;
}

/*
 * Steps over a string, a comment, a word or one other character, as skip_string() does. Does not
 * move if the character has no place outside of quotes.
 */
static char *skip_token(char *text, const char **why)
{
	char *end;

	if (*text == '"' || *text == '\'')
		return skip_string(text, why);
	if (*text == '#' || strncmp(text, "//", 2) == 0)
		return blank(text, strchrnul(text, '\n'));
	if (strncmp(text, "/*", 2) == 0) {
		end = strstr(text + 2, "*/");
		*why = end ? NULL : "unterminated comment";
		return end ? blank(text, end + 2) : text;
	}
	if (strchr(" \t\r\n={}(),", *text))
		return text + 1;
	if (strncmp(text, "+=", 2) == 0)
		return text + 2;
	for (end = text; is_word(*end); end++)
		;
	return end;
}

/* why NULL: it is the character that comes first. */
static void note_fault(struct source *source, unsigned line, const char *why, char first)
{
	char quoted[KEY_QUOTE_MAX], text[] = { first, '\0' };

	source->fault_line = line;
	if (why)
		snprintf(source->fault, sizeof(source->fault), "%s", why);
	else
		snprintf(source->fault, sizeof(source->fault), "unexpected %s outside of quotes",
			 key_quote(text, quoted));
}

/* Looks for the first fault in the text, whose file has so many bytes, and blanks comments. */
static void prepare(struct source *source, size_t length)
{
	static const char mark[] = "\xef\xbb\xbf";
	unsigned line = 1, depth = 0, brace_line = 0;
	char *text = source->text, *nul = strchr(text, '\0');
	const char *why = NULL;

	/* nobody sees it: "unknown key" would name a word that looks right */
	if (strncmp(text, mark, strlen(mark)) == 0)
		why = "byte order mark at the beginning";
	while (*text != '\0' && !why) {
		char *end = skip_token(text, &why);

		if (why || end == text)
			break;
		if (*text == '{' && depth++ == 0)
			brace_line = line;
		else if (*text == '}' && depth > 0)
			depth--;
		for (; text < end; text++)
			line += *text == '\n';
	}
	if (nul < source->text + length && !memchr(text, '\n', (size_t)(nul - text)))
		note_fault(source, line, "NUL byte", '\0');
	else if (*text != '\0')
		note_fault(source, line, why, *text);
	else if (depth > 0)
		note_fault(source, brace_line, "'}' missing", '\0');
	*text = '\0';
}

static bool is_around(const struct source *source)
{
	for (const struct source *outer = source->parent; outer; outer = outer->parent) {
		if (outer->device == source->device && outer->inode == source->inode)
			return true;
	}
	return false;
}

int source_read(struct source *source, int fd)
{
	struct stat status;
	char *text;
	ssize_t n;

	assert(!source->text);
	if (fstat(fd, &status) < 0)
		return -errno;
	source->device = status.st_dev;
	source->inode = status.st_ino;
	if (is_around(source))
		return -EALREADY;
	text = malloc(SOURCE_MAX_BYTES + 1);
	if (!text)
		return -ENOMEM;
	n = fd_read_full(fd, text, SOURCE_MAX_BYTES + 1);
	if (n > (ssize_t)SOURCE_MAX_BYTES)
		n = -EFBIG;
	else if (n == 0 && S_ISFIFO(status.st_mode))
		n = -ENODATA;
	if (n < 0) {
		free(text);
		return (int)n;
	}
	text[n] = '\0';
	source->text = text;
	prepare(source, (size_t)n);
	return 0;
}
