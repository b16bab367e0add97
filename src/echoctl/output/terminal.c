/* SPDX-License-Identifier: MIT */
/* What the terminal can, and the line of progress. */
#include "echoctl/output/terminal.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_DEFAULT 80
#define ROWS_DEFAULT 24
#define LIVE_MAX 256

static bool shown;

bool terminal_obeys(int fd)
{
	const char *name = getenv("TERM");

	return isatty(fd) && name && strcmp(name, "dumb") != 0;
}

unsigned terminal_columns(int fd)
{
	struct winsize size;

	return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
}

unsigned terminal_rows(int fd)
{
	struct winsize size;

	return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : ROWS_DEFAULT;
}

bool terminal_has_blocks(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void terminal_show(const char *format, ...)
{
	unsigned columns = terminal_columns(STDERR_FILENO);
	char text[LIVE_MAX];
	va_list arguments;

	/* One column stays free: some terminals wrap when the last one is written. */
	va_start(arguments, format);
	vsnprintf(text, columns < sizeof(text) ? columns : sizeof(text), format, arguments);
	va_end(arguments);
	/* Carriage return, text, erase to the end of the line (ECMA-48 EL). */
	fprintf(stderr, "\r%s\033[K", text);
	shown = true;
}

void terminal_clear(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}

void terminal_keep(void)
{
	if (shown)
		fputc('\n', stderr);
	shown = false;
}
