/* SPDX-License-Identifier: MIT */
/*
 * Configuration text: every file either loads silently or fails with a message; what loads is
 * printed in a form that reads back to the same; nothing is carried over to the next file.
 */
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "echod/configuration/configuration.h"
#include "fuzz.h"

static unsigned problems;

static void count_problem(void *context, const char *text)
{
	(void)context;
	problems++;
	for (; *text; text++)
		FUZZ_CHECK((unsigned char)*text >= ' ');
}

/* NULL when the text is refused. */
static struct configuration *load(const void *text, size_t size)
{
	FD_CLEANUP int fd = fd_sealed_memory("fuzz", text, size);
	struct configuration *configuration = NULL;
	int result;

	problems = 0;
	result = configuration_load("fuzz.conf", fd, 0, count_problem, NULL, &configuration);
	FUZZ_CHECK(result == 0 || result == -EBADMSG);
	FUZZ_CHECK((result == 0) == (problems == 0));
	return configuration;
}

static char *print(const struct configuration *configuration, size_t *ret_size)
{
	char *text = NULL;
	FILE *stream = open_memstream(&text, ret_size);

	configuration_print(configuration, stream);
	fclose(stream);
	return text;
}

static void check_round_trip(const struct configuration *configuration)
{
	size_t size, size_again;
	char *text = print(configuration, &size);
	struct configuration *again = load(text, size);
	char *text_again;

	FUZZ_CHECK(again);
	text_again = print(again, &size_again);
	FUZZ_CHECK(size == size_again && memcmp(text, text_again, size) == 0);
	free(text);
	free(text_again);
	configuration_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const char plain[] = "user = 'a'";
	struct configuration *configuration;

	/* files of the machine are no input */
	if (memmem(bytes, size, "include", 7))
		return 0;
	configuration = load(bytes, size);
	if (configuration)
		check_round_trip(configuration);
	configuration_free(configuration);
	configuration = load(plain, sizeof(plain) - 1);
	FUZZ_CHECK(configuration && strcmp(configuration->user, "a") == 0);
	configuration_free(configuration);
	return 0;
}
