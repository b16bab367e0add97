/* SPDX-License-Identifier: MIT */
/* A folder of its own for a test that writes configuration files. */
#include "unit/settings_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

static char folder[] = "/tmp/echod-test-XXXXXX";
static char collected[64 * 1024];
static size_t collected_bytes;
static bool collected_was_read;

int settings_enter(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

int settings_leave(void **state)
{
	(void)state;
	return chdir("/") == 0 ? nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS) : -1;
}

void settings_write_bytes(const char *name, const void *bytes, size_t size)
{
	FD_CLEANUP int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, bytes, size), 0);
}

void settings_write(const char *name, const char *text)
{
	settings_write_bytes(name, text, strlen(text));
}

void settings_collect(void *context, const char *text)
{
	size_t length = strlen(text);

	(void)context;
	if (collected_was_read)
		collected_bytes = 0;
	collected_was_read = false;
	assert_true(collected_bytes + length + 2 <= sizeof(collected));
	memcpy(collected + collected_bytes, text, length);
	collected_bytes += length;
	strcpy(collected + collected_bytes++, "\n");
}

const char *settings_collected(void)
{
	if (collected_was_read || collected_bytes == 0)
		*collected = '\0';
	collected_was_read = true;
	return collected;
}

struct configuration *settings_load(const char *name)
{
	struct configuration *configuration = NULL;
	int r = configuration_load(name, -1, 0, settings_collect, NULL, &configuration);

	assert_string_equal(settings_collected(), "");
	assert_int_equal(r, 0);
	return configuration;
}

void settings_expect(const char *name, const char *lines)
{
	struct configuration *configuration = NULL;
	int r = configuration_load(name, -1, 0, settings_collect, NULL, &configuration);

	assert_string_equal(settings_collected(), lines);
	assert_int_equal(r, -EBADMSG);
	assert_null(configuration);
}

void settings_expect_text(const char *text, const char *lines)
{
	settings_write("t", text);
	settings_expect("t", lines);
}

char *settings_print(const struct configuration *configuration)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(stream);
	configuration_print(configuration, stream);
	assert_int_equal(fclose(stream), 0);
	return text;
}
