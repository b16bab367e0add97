/* SPDX-License-Identifier: MIT */
/*
 * The text of a configuration file, and the faults in it that libConfuse does not report.
 *
 * libConfuse 3.3 accepts some faults in silence. A string without its closing quote goes on into
 * the next lines, or up to the end of the file; a comment or section without its end is accepted,
 * too. A NUL cuts a value. A character like * or + outside of quotes is dropped, and one like ; or
 * | becomes part of a word. All of these lose settings that somebody has written, so they are found
 * here, before libConfuse reads the text. Comments are blanked, since libConfuse counts their lines
 * twice.
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

int source_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* What a word may hold outside of quotes. */
static bool is_word(char c)
{
	return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 ||
	       (c != '\0' && strchr("-_.:/%@~[]", c));
}

/* Overwrites text up to end with spaces, but keeps ends of lines. Returns end. */
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

/* Steps over a quoted string. Returns its end, or the place of a fault, with the reason in why. */
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
	char *end = text;

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
	while (is_word(*end))
		end++;
	return end;
}

/* Looks for the first fault in the text, which ends there, and blanks comments. */
static void prepare(struct source *source, const char *text_end)
{
	static const char mark[] = "\xef\xbb\xbf";
	unsigned line = 1, depth = 0, brace_line = 0;
	char *text = source->text, *end = text, quoted[KEY_QUOTE_MAX];
	const char *why = NULL;

	/* it is invisible: "unknown key" would name a word that looks right */
	if (strncmp(text, mark, strlen(mark)) == 0)
		why = "byte order mark at the beginning";
	while (*text != '\0' && !why) {
		end = skip_token(text, &why);
		if (why || end == text)
			break;
		if (*text == '{' && depth++ == 0)
			brace_line = line;
		else if (*text == '}' && depth > 0)
			depth--;
		for (; text < end; text++)
			line += *text == '\n';
	}
	source->fault_line = line;
	if (*end == '\0' && end < text_end)
		why = "NUL byte";
	if (why) {
		snprintf(source->fault, sizeof(source->fault), "%s", why);
	} else if (*text != '\0') {
		text[1] = '\0';
		snprintf(source->fault, sizeof(source->fault), "unexpected %s outside of quotes",
			 key_quote(text, quoted));
	} else if (depth > 0) {
		source->fault_line = brace_line;
		snprintf(source->fault, sizeof(source->fault), "'}' missing");
	} else {
		source->fault_line = 0;
	}
	*text = '\0';
}

int source_read(int fd, struct source *ret_source)
{
	char *text = malloc(SOURCE_MAX_BYTES + 1);
	struct stat status;
	ssize_t n;

	assert(ret_source);
	if (!text)
		return -ENOMEM;
	n = fd_read_full(fd, text, SOURCE_MAX_BYTES + 1);
	if (n > SOURCE_MAX_BYTES)
		n = -EFBIG;
	else if (n == 0 && fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode))
		n = -ENODATA;
	if (n < 0) {
		free(text);
		return (int)n;
	}
	text[n] = '\0';
	ret_source->text = text;
	prepare(ret_source, text + n);
	return 0;
}
