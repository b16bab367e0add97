/* SPDX-License-Identifier: MIT */
/* Several targets. */
#include "echoctl/command_line/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPACE " \t\r\n"

static int no_memory(struct invocation *invocation)
{
	report_error(&invocation->globals.report, "%s", strerror(ENOMEM));
	return STATUS_LOCAL;
}

static int add(struct invocation *invocation, const char *text, int default_port,
	       struct targets *targets)
{
	struct target *list = reallocarray(targets->list, targets->count + 1, sizeof(*list));
	struct target *target;

	if (!list)
		return no_memory(invocation);
	targets->list = list;
	target = &list[targets->count];
	target->text = strdup(text);
	if (!target->text)
		return no_memory(invocation);
	targets->count++;
	return command_take_target(invocation, text, default_port, &target->spec);
}

static int read_lines(struct invocation *invocation, FILE *file, int default_port,
		      struct targets *targets)
{
	int status = COMMAND_PROCEED;
	char *line = NULL;
	size_t size = 0;

	while (status == COMMAND_PROCEED && getline(&line, &size, file) > 0) {
		char *start = line + strspn(line, SPACE);
		size_t end = strlen(start);

		while (end > 0 && strchr(SPACE, start[end - 1]))
			start[--end] = '\0';
		if (*start != '\0' && *start != '#')
			status = add(invocation, start, default_port, targets);
	}
	free(line);
	return status;
}

static int read_file(struct invocation *invocation, int default_port, struct targets *targets)
{
	bool is_stdin = strcmp(targets->file, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(targets->file, "re");
	int status = COMMAND_PROCEED;

	if (file)
		status = read_lines(invocation, file, default_port, targets);
	if (!file || (status == COMMAND_PROCEED && ferror(file))) {
		report_error(&invocation->globals.report, "%s: %s", targets->file, strerror(errno));
		status = STATUS_LOCAL;
	}
	if (file && !is_stdin)
		fclose(file);
	return status;
}

int targets_read(struct invocation *invocation, int default_port, struct targets *targets)
{
	int status = COMMAND_PROCEED;

	for (int i = 0; status == COMMAND_PROCEED && i < invocation->argc; i++)
		status = add(invocation, invocation->argv[i], default_port, targets);
	if (status == COMMAND_PROCEED && targets->file)
		status = read_file(invocation, default_port, targets);
	if (status == COMMAND_PROCEED && targets->count == 0)
		status = command_usage_error(invocation, "an ADDRESS is missing");
	return status;
}

void targets_free(struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++)
		free(targets->list[i].text);
	free(targets->list);
	*targets = (struct targets){0};
}
