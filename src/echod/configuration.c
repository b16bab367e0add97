/* SPDX-License-Identifier: MIT */
/* The life of a configuration, and what the command line changes in it. */
#include "echod/configuration.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "echod/configuration_keys.h"

static_assert(sizeof(enum log_target) == sizeof(int) && sizeof(enum log_connections) == sizeof(int) &&
	      sizeof(enum at_limit) == sizeof(int) && sizeof(enum sandbox_mode) == sizeof(int),
	      "choices are stored as int");

int configuration_default(struct configuration **ret_configuration)
{
	__attribute__((cleanup(configuration_freep))) struct configuration *configuration =
		calloc(1, sizeof(*configuration));
	char why[KEY_WHY_MAX];

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

/* key_store() for an option: reports "OPTION: why", returns -EBADMSG for what is wrong. */
static int override(struct configuration *configuration, const char *name, const char *section,
		    const char *option, const char *text, configuration_report_fn report,
		    void *context)
{
	char why[KEY_WHY_MAX], line[KEY_WHY_MAX + 16];
	int r = key_store(key_find(section, name), text, configuration, why);

	if (r != -EINVAL)
		return r;
	snprintf(line, sizeof(line), "%s: %s", option, why);
	report(context, line);
	return -EBADMSG;
}

int configuration_override_listen(struct configuration *configuration, char *const *addresses,
				  size_t count, configuration_report_fn report, void *context)
{
	int result = 0;

	key_clear(key_find(NULL, "listen"), configuration);
	for (size_t i = 0; i < count; i++) {
		int r = override(configuration, "listen", NULL, "-l", addresses[i], report,
				 context);

		if (r < 0 && result != -ENOMEM)
			result = r;
	}
	configuration->listen_is_set = true;
	return result;
}

int configuration_override_level(struct configuration *configuration, const char *level,
				 configuration_report_fn report, void *context)
{
	return override(configuration, "level", "log", "-L", level, report, context);
}
