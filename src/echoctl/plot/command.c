/* SPDX-License-Identifier: MIT */
/* echoctl plot: pictures of what ping and load have written with --series, drawn by gnuplot. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "echoctl/command_line/command.h"
#include "echoctl/plot/curves.h"
#include "echoctl/plot/script.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"

#define FILES_MAX 16
#define NOT_FOUND 127

struct plot {
	const char *output;		/* NULL: text on standard output */
	const char *terminal;		/* of gnuplot, for that */
	struct curves files[FILES_MAX];
	struct report *report;
};

static const char help[] =
	"Draws what ping and load have written with --series: latency over time, and\n"
	"which percentile of the answers came within which time. Several files are drawn\n"
	"side by side with the same scale. It runs gnuplot (package gnuplot-nox).\n"
	"FILE - is standard input.\n"
	"\n"
	"  -o, --output FILE           a picture, .svg or .png (text on standard output)\n"
	"\n"
	"Example:\n"
	"  echoctl load -d 10s --series load.csv echo.example.net\n"
	"  echoctl plot -o load.svg load.csv\n";

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	struct plot *plot = data;
	size_t length = strlen(value);
	const char *suffix = value + (length > 4 ? length - 4 : length);

	(void)option;
	plot->output = value;
	plot->terminal = strcmp(suffix, ".svg") == 0 ? "svg" :
			 strcmp(suffix, ".png") == 0 ? "pngcairo" : NULL;
	return plot->terminal ? NULL : "neither .svg nor .png";
}

/* Returns COMMAND_PROCEED, or STATUS_LOCAL after saying why. */
static int read_file(const struct plot *plot, const char *path, struct curves *curves)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(path, "re");
	size_t line = 0;
	const char *why = file ? curves_read(file, curves, &line) : strerror(errno);

	if (line > 0 && why)
		report_error(plot->report, "%s:%zu: %s", path, line, why);
	else if (why)
		report_error(plot->report, "%s: %s", path, why);
	if (file && !is_stdin)
		fclose(file);
	return why ? STATUS_LOCAL : COMMAND_PROCEED;
}

/* Runs gnuplot with the script; it draws to output_fd. Returns 0 or -errno. */
static int run_gnuplot(int script_fd, int output_fd)
{
	struct pollfd polls[1];
	int status = 0;
	int r = 0;
	pid_t pid;
	sigset_t none;

	/* If our parent left it ignored, the child could not be reaped. */
	signal(SIGCHLD, SIG_DFL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		dup2(script_fd, STDIN_FILENO);
		dup2(output_fd, STDOUT_FILENO);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		/* -d: the settings of the user stay out of it. */
		execlp("gnuplot", "gnuplot", "-d", NULL);
		_exit(NOT_FOUND);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		interrupt_poll(polls, 0, UINT64_MAX);
		r = interrupt_ended();
		if (r < 0)
			kill(pid, SIGKILL);
	}
	if (r < 0 || status == 0)
		return r;
	return WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND ? -ENOENT : -EIO;
}

/* Returns an exit status after saying why. */
static int refuse(const struct plot *plot, int r)
{
	if (r == -ENOENT)
		report_error(plot->report, "gnuplot is not installed (package gnuplot-nox)");
	else
		report_error(plot->report, "gnuplot: %s",
			     r == -EIO ? "it failed" : exchange_why(r));
	return r == -EINTR || r == -ETIMEDOUT ? STATUS_FAILED : STATUS_LOCAL;
}

static int deliver(const struct plot *plot, const char *picture, size_t size)
{
	int r;

	if (!plot->output) {
		report_raw(plot->report, "%.*s\n", (int)size, picture);
		return STATUS_OK;
	}
	r = fd_replace_file(plot->output, picture, size, 0644);
	if (r == 0)
		return STATUS_OK;
	report_error(plot->report, "%s: %s", plot->output, strerror(-r));
	return STATUS_LOCAL;
}

static int draw(const struct plot *plot, char *const *paths, size_t n)
{
	FD_CLEANUP int script_fd = memfd_create("script", MFD_CLOEXEC);
	FD_CLEANUP int picture_fd = memfd_create("picture", MFD_CLOEXEC);
	FILE *script = script_fd >= 0 && picture_fd >= 0 ? fdopen(dup(script_fd), "w") : NULL;
	void *picture = MAP_FAILED;
	size_t size = 0;
	int status;
	int r = -ENOMEM;

	if (script) {
		script_write(script, plot->files, paths, n, plot->terminal,
			     terminal_size(STDOUT_FILENO).ws_col);
		r = fclose(script) == 0 && lseek(script_fd, 0, SEEK_SET) == 0 ?
			run_gnuplot(script_fd, picture_fd) : -errno;
	}
	if (r == 0) {
		size = fd_file_bytes(picture_fd);
		picture = mmap(NULL, size, PROT_READ, MAP_PRIVATE, picture_fd, 0);
		r = picture == MAP_FAILED ? -EIO : 0;
	}
	if (r < 0)
		return refuse(plot, r);
	status = deliver(plot, picture, size);
	munmap(picture, size);
	return status;
}

static int run(struct invocation *invocation)
{
	static struct plot plot;
	int status = command_parse(invocation, take, &plot);
	size_t n = (size_t)invocation->argc;

	plot.report = &invocation->globals.report;
	if (status != COMMAND_PROCEED)
		return status;
	if (n == 0)
		return command_usage_error(invocation, "a FILE is missing");
	if (n > FILES_MAX)
		return command_usage_error(invocation, "too many FILEs");
	if (plot.report->json && !plot.output)
		return command_usage_error(invocation, "--json: a picture has no such form");
	for (size_t i = 0; status == COMMAND_PROCEED && i < n; i++)
		status = read_file(&plot, invocation->argv[i], &plot.files[i]);
	/* Not before: it would keep a signal from ending the wait for standard input. */
	if (status == COMMAND_PROCEED &&
	    interrupt_open(plot.report, invocation->globals.deadline_us, false) < 0)
		status = STATUS_LOCAL;
	if (status == COMMAND_PROCEED)
		status = draw(&plot, invocation->argv, n);
	for (size_t i = 0; i < n; i++)
		curves_free(&plot.files[i]);
	return status;
}

const struct command command_plot = {
	.name = "plot",
	.operands = "FILE...",
	.summary = "draws what ping and load have written with --series",
	.help = help,
	.long_options = options,
	.run = run,
};
