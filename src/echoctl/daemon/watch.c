/* SPDX-License-Identifier: MIT */
/* Screens of status and list. */
#include "echoctl/daemon/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "echoctl/probe/interrupt.h"

/* xterm: another screen with no cursor and no wrapping, and back again. */
#define SCREEN_ENTER "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_LEAVE "\033[?7h\033[?25h\033[?1049l"

/* To be called before output that must stay on the terminal. */
static void leave_screen(struct watch *watch)
{
	if (watch->entered)
		report_raw(watch->client.report, SCREEN_LEAVE);
	watch->entered = false;
}

/*
 * Writes over the last screen line by line, so that nothing flickers; leaves out what does not fit.
 */
static void repaint(struct watch *watch, const char *rest)
{
	unsigned rows = terminal_size(STDOUT_FILENO).ws_row;

	report_raw(watch->client.report, watch->entered ? "\033[H" : SCREEN_ENTER "\033[H");
	watch->entered = true;
	for (unsigned row = 0; row < rows && *rest; row++) {
		const char *end = strchrnul(rest, '\n');
		const char *next = row + 1 < rows ? "\r\n" : "";

		/* Erased before: behind a full line the cursor still stands on its last column. */
		report_raw(watch->client.report, "\033[K%.*s%s", (int)(end - rest), rest, next);
		rest = *end ? end + 1 : end;
	}
	report_raw(watch->client.report, "\033[J");
}

int watch_show(struct watch *watch, char *text)
{
	char *escaped = text && watch->terminal ? report_escape(text, true) : NULL;
	unsigned column = 0;
	char *folded = escaped ? report_fold(escaped, terminal_size(STDOUT_FILENO).ws_col,
					     &column) : NULL;
	int status = COMMAND_PROCEED;

	if (folded) {
		repaint(watch, folded);
	} else if (text && !watch->terminal) {
		report_text(watch->client.report, "%s%s", text, watch->interval_us ? "\n" : "");
	} else {
		leave_screen(watch);
		report_error(watch->client.report, "%s", strerror(ENOMEM));
		status = STATUS_LOCAL;
	}
	free(folded);
	free(escaped);
	free(text);
	return status;
}

int watch_failed(struct watch *watch, int error)
{
	if (interrupt_ended() < 0 && watch->interval_us > 0)
		return STATUS_OK;
	leave_screen(watch);
	return control_failed(&watch->client, error);
}

int watch_refused(struct watch *watch)
{
	leave_screen(watch);
	return control_judge(&watch->client);
}

/* COMMAND_PROCEED, or an exit status. */
static int show_once(struct watch *watch, const char *command,
		     int (*show)(struct watch *, void *), void *data)
{
	int r = control_ask(&watch->client, command, NULL, NULL);

	if (r < 0)
		return watch_failed(watch, r);
	if (strcmp(control_text(watch->client.reply, "event"), "error") == 0)
		return watch_refused(watch);
	return show(watch, data);
}

int watch_run(struct watch *watch, const char *command, int (*show)(struct watch *, void *),
	      void *data)
{
	struct report *report = watch->client.report;
	struct pollfd polled;
	int status;

	watch->client.follows = true;
	watch->terminal = watch->interval_us > 0 && terminal_obeys(STDOUT_FILENO) && !report->json;
	do {
		status = show_once(watch, command, show, data);
		if (status == COMMAND_PROCEED && !report_heard(report))
			status = STATUS_LOCAL;
	} while (watch->interval_us > 0 && status == COMMAND_PROCEED &&
		 interrupt_poll(&polled, 0, clock_now_ns() + watch->interval_us * 1000) >= 0 &&
		 interrupt_ended() == 0);
	leave_screen(watch);
	control_close(&watch->client);
	return status;
}
