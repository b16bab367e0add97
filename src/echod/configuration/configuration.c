/* SPDX-License-Identifier: MIT */
/* The life of a configuration, what the command line changes in it, and its text. */
#include "echod/configuration/configuration.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "echod/configuration/keys.h"

static_assert(sizeof(enum log_target) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum log_connections) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum at_limit) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum sandbox_mode) == sizeof(int), "choices are stored as int");

int configuration_default(struct configuration **ret_configuration)
{
	__attribute__((cleanup(configuration_freep))) struct configuration *configuration =
		calloc(1, sizeof(*configuration));
	char why[KEY_WHY_MAX];

	assert(ret_configuration);
	if (!configuration)
		return -ENOMEM;
	for (const struct key *key = configuration_keys; key->name; key++) {
		int r = key->fallback ? key_store(key, key->fallback, configuration, why) : 0;

		assert(r == 0 || r == -ENOMEM);
		if (r < 0)
			return r;
	}
	*ret_configuration = configuration;
	configuration = NULL;
	return 0;
}

void configuration_free(struct configuration *configuration)
{
	if (!configuration)
		return;
	for (size_t i = 0; i < configuration->listen_count; i++)
		free(configuration->listen[i].text);
	free(configuration->listen);
	free(configuration->path);
	free(configuration->user);
	free(configuration->access.allow);
	free(configuration->access.deny);
	free(configuration->control.path);
	free(configuration->control.group);
	free(configuration->metrics.file);
	free(configuration);
}

int configuration_override_listen(struct configuration *configuration, char *const *addresses,
				  size_t count, configuration_report_fn report, void *context)
{
	const struct key *key = key_find("", "listen");
	char why[KEY_WHY_MAX], line[KEY_WHY_MAX + 16];
	bool is_good = true;

	assert(configuration && report);
	key_clear(key, configuration);
	for (size_t i = 0; i < count; i++) {
		int r = key_store(key, addresses[i], configuration, why);

		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			snprintf(line, sizeof(line), "-l: %s", why);
			report(context, line);
			is_good = false;
		}
	}
	configuration->listen_is_set = true;
	return is_good ? 0 : -EBADMSG;
}

int configuration_level(const char *word)
{
	assert(word);
	for (const struct key_choice *level = key_find("log", "level")->choices; level->word;
	     level++) {
		if (strcmp(level->word, word) == 0)
			return level->value;
	}
	return -EINVAL;
}

void configuration_print(const struct configuration *configuration, FILE *stream)
{
	const char *section = "";

	assert(configuration && stream);
	for (const struct key *key = configuration_keys; key->name; key++) {
		/* The default of listen is not the same as setting it: systemd's sockets count. */
		bool is_comment = key->kind == KEY_ADDRESSES && !configuration->listen_is_set;

		if (key->kind == KEY_GONE)
			continue;
		if (strcmp(key->section, section) != 0) {
			fprintf(stream, "%s%s {\n", *section ? "}\n" : "", key->section);
			section = key->section;
		}
		fprintf(stream, "%s%s%s = ", *section ? "\t" : "", is_comment ? "# " : "",
			key->name);
		key_print(key, configuration, stream);
		putc('\n', stream);
	}
	fputs("}\n", stream);
}
