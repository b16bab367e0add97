/* SPDX-License-Identifier: MIT */
/* echoctl status: what the daemon does, once or each second. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echoctl/daemon/client.h"
#include "echoctl/daemon/status_screen.h"
#include "echoctl/output/terminal.h"
#include "echoctl/probe/interrupt.h"

#define INTERVAL_MS 1000

/* xterm: another screen with no cursor and no wrapping, and back again. */
#define SCREEN_ENTER "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_LEAVE "\033[?7h\033[?25h\033[?1049l"

static const char help[] =
	"Shows what the local echod does: its sockets, generations and settings, the\n"
	"connections and how near they are to the limit, bytes, why connections ended or\n"
	"were refused, and what its log left out; with --watch also the rates of the\n"
	"last minute, as far as it has watched.\n"
	"\n"
	"  -w, --watch                 again each second, until interrupted\n"
	"\n"
	"Example:\n"
	"  echoctl status --watch\n";

static const struct option options[] = {
	{"watch", no_argument, NULL, 'w'},
	{0},
};

struct view {
	struct control_client client;
	struct report *report;
	bool watch;
	bool terminal;		/* each screen in the place of the one before */
	bool entered;		/* the other screen of the terminal */
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

/* Before anything is said to be read afterwards. */
static void leave_screen(struct view *view)
{
	if (view->entered)
		report_raw(view->report, SCREEN_LEAVE);
	view->entered = false;
}

/* Over the screen before, line by line, so that nothing flickers; what does not fit is left out. */
static void repaint(struct view *view, char *text)
{
	unsigned rows = terminal_rows(STDOUT_FILENO);
	char *rest = text;

	report_raw(view->report, view->entered ? "\033[H" : SCREEN_ENTER "\033[H");
	view->entered = true;
	for (unsigned row = 0; row < rows && *rest; row++) {
		char *end = strchrnul(rest, '\n');
		const char *next = row + 1 < rows ? "\r\n" : "";

		report_raw(view->report, "%.*s\033[K%s", (int)(end - rest), rest, next);
		rest = *end ? end + 1 : end;
	}
	report_raw(view->report, "\033[J");
}

static int show(struct view *view, json_t *reply)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	if (!stream) {
		report_error(view->report, "%s", strerror(errno));
		return STATUS_LOCAL;
	}
	status_history_add(&view->history, reply);
	status_screen_draw(stream, reply, &view->history, terminal_has_blocks());
	fclose(stream);
	if (text && view->terminal)
		repaint(view, text);
	else if (text)
		report_text(view->report, "%s%s", text, view->watch ? "\n" : "");
	free(text);
	return COMMAND_PROCEED;
}

static int ask(struct view *view, json_t **ret_reply)
{
	return control_ask(&view->client, control_request("status"),
			   view->client.globals->connect_timeout_us, ret_reply);
}

/* COMMAND_PROCEED, or an exit status. */
static int show_once(struct view *view)
{
	json_t *reply = NULL;
	int error = ask(view, &reply);
	int result;

	/* A daemon that takes over from another program closes what is open: ask that one. */
	if (error == -ECONNRESET) {
		leave_screen(view);
		result = control_connect(&view->client);
		if (result != COMMAND_PROCEED)
			return result;
		error = ask(view, &reply);
	}
	if (interrupt_ended() < 0 && view->watch)
		return STATUS_OK;
	if (error < 0) {
		leave_screen(view);
		return control_failed(&view->client, error);
	}
	result = control_judge(&view->client, reply);
	if (result == COMMAND_PROCEED && !view->report->json)
		result = show(view, reply);
	json_decref(reply);
	return result;
}

static int watch(struct view *view)
{
	struct pollfd wait = { interrupt_fd(), POLLIN, 0 };
	int result;

	do {
		result = show_once(view);
		if (!report_heard(view->report))
			result = STATUS_LOCAL;
	} while (result == COMMAND_PROCEED && poll(&wait, 1, INTERVAL_MS) == 0);
	leave_screen(view);
	return result == COMMAND_PROCEED ? STATUS_OK : result;
}

static int run(struct invocation *invocation)
{
	struct view view = {
		.client = control_client(&invocation->globals),
		.report = &invocation->globals.report,
	};
	int result = command_parse_alone(invocation, take, &view.watch);

	if (result != COMMAND_PROCEED)
		return result;
	view.terminal = view.watch && terminal_obeys(STDOUT_FILENO) && !view.report->json;
	result = control_connect(&view.client);
	if (result == COMMAND_PROCEED)
		result = view.watch ? watch(&view) : show_once(&view);
	control_close(&view.client);
	return result == COMMAND_PROCEED ? STATUS_OK : result;
}

const struct command command_status = {
	.name = "status",
	.operands = "",
	.summary = "what the local daemon does, on one screen",
	.help = help,
	.short_options = "w",
	.long_options = options,
	.run = run,
};
