/* SPDX-License-Identifier: MIT */
/* echoctl status: what the daemon does, once or each second. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "echoctl/daemon/client.h"
#include "echoctl/daemon/status_screen.h"
#include "echoctl/probe/interrupt.h"

#define INTERVAL_NS CLOCK_NS_PER_S

/* xterm: another screen with no cursor and no wrapping, and back again. */
#define SCREEN_ENTER "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_LEAVE "\033[?7h\033[?25h\033[?1049l"

struct view {
	struct control_client client;
	bool watch;
	bool terminal;		/* each screen replaces the one before */
	bool entered;		/* the terminal's other screen is shown */
	struct status_history history;
};

static const char *take(void *data, int option, const char *value)
{
	bool *watch = data;

	(void)option;
	(void)value;
	*watch = true;
	return NULL;
}

/* To be called before output that must stay on the terminal. */
static void leave_screen(struct view *view)
{
	if (view->entered)
		report_raw(view->client.report, SCREEN_LEAVE);
	view->entered = false;
}

/*
 * Writes over the last screen line by line, so that nothing flickers; leaves out what does not fit.
 */
static void repaint(struct view *view, char *text)
{
	unsigned rows = terminal_size(STDOUT_FILENO).ws_row;
	char *rest = text;

	report_raw(view->client.report, view->entered ? "\033[H" : SCREEN_ENTER "\033[H");
	view->entered = true;
	for (unsigned row = 0; row < rows && *rest; row++) {
		char *end = strchrnul(rest, '\n');
		const char *next = row + 1 < rows ? "\r\n" : "";

		report_raw(view->client.report, "%.*s\033[K%s", (int)(end - rest), rest, next);
		rest = *end ? end + 1 : end;
	}
	report_raw(view->client.report, "\033[J");
}

static int show(struct view *view)
{
	const json_t *reply = view->client.reply;
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	if (!stream) {
		report_error(view->client.report, "%s", strerror(errno));
		return STATUS_LOCAL;
	}
	status_history_add(&view->history, reply);
	status_screen_draw(stream, reply, &view->history, terminal_has_blocks());
	fclose(stream);
	if (text && view->terminal)
		repaint(view, text);
	else if (text)
		report_text(view->client.report, "%s%s", text, view->watch ? "\n" : "");
	free(text);
	return COMMAND_PROCEED;
}

/* COMMAND_PROCEED, or an exit status. */
static int show_once(struct view *view)
{
	int r = control_ask(&view->client, "status", NULL, NULL);
	int status;

	if (interrupt_ended() < 0 && view->watch)
		return STATUS_OK;
	if (r < 0) {
		leave_screen(view);
		return control_failed(&view->client, r);
	}
	if (strcmp(control_text(view->client.reply, "event"), "error") == 0)
		leave_screen(view);
	status = control_judge(&view->client);
	if (status == COMMAND_PROCEED && !view->client.report->json)
		status = show(view);
	return status;
}

static int run(struct invocation *invocation)
{
	struct view view = { .client = control_client(&invocation->globals) };
	struct report *report = view.client.report;
	struct pollfd polled;
	int status = command_parse_alone(invocation, take, &view.watch);

	if (status != COMMAND_PROCEED)
		return status;
	view.client.follows = true;
	view.terminal = view.watch && terminal_obeys(STDOUT_FILENO) && !report->json;
	do {
		status = show_once(&view);
		if (status == COMMAND_PROCEED && !report_heard(report))
			status = STATUS_LOCAL;
	} while (view.watch && status == COMMAND_PROCEED &&
		 interrupt_poll(&polled, 0, clock_now_ns() + INTERVAL_NS) >= 0 &&
		 interrupt_ended() == 0);
	leave_screen(&view);
	control_close(&view.client);
	return status;
}

const struct command command_status = {
	.name = "status",
	.operands = "",
	.summary = "what the local daemon does, on one screen",
	.help =
	"Shows what the local echod does: its sockets, generations and settings, the\n"
	"connections and the limit, bytes, why connections ended or were refused,\n"
	"datagrams and why they were dropped, and what its log left out; with --watch\n"
	"also the rates of the last minute, as far as it has watched.\n"
	"\n"
	"  -w, --watch                 again each second, until interrupted\n"
	"\n"
	"Example:\n"
	"  echoctl status --watch\n",
	.long_options = (const struct option[]){
		{"watch", no_argument, NULL, 'w'},
		{0},
	},
	.run = run,
};
