/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the inputs of a folder, without a fuzzer: a TAP program. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "fuzz.h"

/* The folder below tests/fuzz/corpus, from the command line of the compiler. */
#define replay_target REPLAY_TARGET

static void replay_file(const char *path)
{
	static uint8_t bytes[1 << 20];
	FILE *file = fopen(path, "rbe");
	size_t size;

	FUZZ_CHECK(file);
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	LLVMFuzzerTestOneInput(bytes, size);
}

int main(void)
{
	const char *top = getenv("ABS_SRCDIR");
	char folder[PATH_MAX], path[PATH_MAX * 2];
	unsigned count = 0;
	DIR *stream;

	snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", top ? top : ".",
		 replay_target);
	stream = opendir(folder);
	puts("1..1");
	if (!stream) {
		printf("not ok 1 - %s: %s\n", folder, strerror(errno));
		return EXIT_FAILURE;
	}
	for (struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		printf("# %s\n", entry->d_name);
		fflush(stdout);
		replay_file(path);
		count++;
	}
	closedir(stream);
	printf("%s 1 - %u inputs of %s\n", count ? "ok" : "not ok", count, replay_target);
	return count ? EXIT_SUCCESS : EXIT_FAILURE;
}
