/* SPDX-License-Identifier: MIT */
/* From a file to a configuration, by way of libConfuse. */
#include "echod/configuration/configuration.h"

#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "echod/configuration/keys.h"
#include "echod/configuration/names.h"
#include "echod/configuration/problems.h"
#include "echod/configuration/scan.h"
#include "echod/configuration/source.h"
#include "wire/settings.h"

#define FILES_MAX 256u		/* include() may branch */
#define DEPTH_MAX 10u

/* One value and where it stands: what libConfuse keeps for us. */
struct value {
	const struct source *source;
	unsigned line;
	bool is_refused;	/* and that is said: at once, since a later value may replace it */
	char text[];
};

struct load {
	struct problems problems;
	struct source *sources[FILES_MAX];
	size_t source_count;
	const struct source *current;
	struct configuration *scratch;	/* for values that are only looked at */
};

/* libConfuse hands its callbacks no context, and can do one file at a time only. */
static struct load *loading;

static void complain(struct load *load, const struct key *key, const struct value *value,
		     const char *why)
{
	problems_add(&load->problems, value->source, value->line, key->section, key->name, "%s",
		     why);
}

/* Looks at a value alone; what a list as a whole may hold is for apply_key(). */
static void check_value(struct load *load, const struct key *key, struct value *value)
{
	char why[KEY_WHY_MAX];
	int r;

	key_clear(key, load->scratch);
	r = key_store(key, value->text, load->scratch, why);
	if (r == -EINVAL)
		complain(load, key, value, why);
	else if (r < 0)
		load->problems.out_of_memory = true;
	value->is_refused = r < 0;
}

static int keep_value(cfg_t *cfg, cfg_opt_t *option, const char *text, void *ret_value)
{
	size_t size = strlen(text) + 1;
	struct value *value = malloc(sizeof(*value) + size);

	if (!value) {
		loading->problems.out_of_memory = true;
		return -1;
	}
	value->source = loading->current;
	value->line = (unsigned)cfg->line;
	memcpy(value->text, text, size);
	check_value(loading, key_find(key_is_section(cfg->name) ? cfg->name : NULL, option->name),
		    value);
	*(struct value **)ret_value = value;
	return 0;
}

/* What scan_configuration() has let through and libConfuse does not take. */
__attribute__((format(printf, 2, 0))) static void keep_error(cfg_t *cfg, const char *format,
							     va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0) {
		loading->problems.out_of_memory = true;
		return;
	}
	problems_add(&loading->problems, loading->current, (unsigned)cfg->line, NULL, NULL, "%s",
		     text);
	free(text);
}

/* Takes note of a file, and owns its name from now on. Returns NULL without memory. */
static struct source *add_source(struct load *load, char *name)
{
	struct source *source = name ? malloc(sizeof(*source)) : NULL;

	if (!source) {
		free(name);
		load->problems.out_of_memory = true;
		return NULL;
	}
	*source = (struct source){
		.name = name, .index = load->source_count, .parent = load->current,
	};
	load->sources[load->source_count++] = source;
	return source;
}

/* Lets libConfuse parse the text, which is changed on the way, as the current source. */
static void parse_text(struct load *load, cfg_t *cfg, char *text, size_t length)
{
	unsigned line = 1;
	size_t count;
	FILE *stream;

	if (memchr(text, '\0', length)) {
		for (const char *c = text; *c != '\0'; c++)
			line += *c == '\n';
		problems_add(&load->problems, load->current, line, NULL, NULL, "NUL byte");
		return;
	}
	length = scan_configuration(text, length, load->current, &load->problems);
	if (length == 0)
		return;
	count = load->problems.count + load->problems.left_out;
	stream = fmemopen(text, length, "r");
	if (!stream) {
		load->problems.out_of_memory = true;
		return;
	}
	if (cfg_parse_fp(cfg, stream) != CFG_SUCCESS &&
	    load->problems.count + load->problems.left_out == count)
		load->problems.out_of_memory = true;
	fclose(stream);
}

static int parse_file(struct load *load, cfg_t *cfg, int fd, const struct source *source)
{
	const struct source *outer = load->current;
	char *text;
	ssize_t length = source_read(fd, &text);

	if (length < 0)
		return (int)length;
	load->current = source;
	parse_text(load, cfg, text, (size_t)length);
	load->current = outer;
	free(text);
	return 0;
}

/* include("FILE"). What is wrong with the file is noted; the rest of the outer one still counts. */
static int include_file(cfg_t *cfg, cfg_opt_t *option, int argc, const char **argv)
{
	struct load *load = loading;
	unsigned line = (unsigned)cfg->line;
	FD_CLEANUP int fd = -1;
	struct source *source;
	const char *why = NULL;
	int r;

	(void)option;
	if (argc != 1)
		return -1;
	if (load->source_count == FILES_MAX || source_depth(load->current) == DEPTH_MAX) {
		problems_add(&load->problems, load->current, line, NULL, "include",
			     load->source_count == FILES_MAX ? "more than %u files"
							     : "nested deeper than %u files",
			     load->source_count == FILES_MAX ? FILES_MAX : DEPTH_MAX);
		return 0;
	}
	source = add_source(load, source_name_included(load->current, argv[0]));
	if (!source)
		return -1;
	fd = source_open(source->name);
	if (fd < 0) {
		why = strerror(-fd);
	} else if (source_identify(source, fd)) {
		why = "the file includes itself";
	} else {
		r = parse_file(load, cfg, fd, source);
		cfg->line = (int)line;
		why = r < 0 ? strerror(-r) : NULL;
	}
	if (why)
		problems_add(&load->problems, load->current, line, NULL, "include", "%s: %s",
			     source->name, why);
	return 0;
}

/* libConfuse's tables, made from ours: every value is kept as text with its place. */
static cfg_t *new_parser(void)
{
	enum { OPTIONS_MAX = 64 };
	cfg_opt_t root[OPTIONS_MAX] = { 0 }, inner[OPTIONS_MAX] = { 0 };
	size_t root_count = 0, inner_count = 0;
	const char *section = NULL;

	for (const struct key *key = configuration_keys; key->name; key++) {
		cfg_flag_t flags = key_is_list(key) ? CFGF_LIST : CFGF_NONE;
		cfg_opt_t option = CFG_PTR_CB(key->name, 0, flags, keep_value, free);

		if (!key->section) {
			root[root_count++] = option;
			continue;
		}
		if (!section || strcmp(section, key->section) != 0) {
			section = key->section;
			inner_count++;	/* leaves the end of the section before it */
			root[root_count++] = (cfg_opt_t)CFG_SEC(section, &inner[inner_count],
								CFGF_NONE);
		}
		inner[inner_count++] = option;
	}
	root[root_count] = (cfg_opt_t)CFG_FUNC("include", include_file);
	return cfg_init(root, CFGF_NONE);
}

static cfg_opt_t *find_option(cfg_t *cfg, const char *section, const char *name)
{
	return cfg_getopt(section ? cfg_getsec(cfg, section) : cfg, name);
}

/* Takes the values of one key over. */
static void apply_key(struct load *load, const struct key *key, cfg_opt_t *option,
		      struct configuration *configuration)
{
	unsigned count = cfg_opt_size(option);
	char why[KEY_WHY_MAX];

	if (count > 0)
		key_clear(key, configuration);
	for (unsigned i = 0; i < count; i++) {
		const struct value *value = cfg_opt_getnptr(option, i);
		int r;

		if (value->is_refused)
			continue;
		r = key_store(key, value->text, configuration, why);
		if (r == -EINVAL)
			complain(load, key, value, why);
		else if (r < 0)
			load->problems.out_of_memory = true;
		/* That a list is too long is said once. */
		if (r < 0 && key_is_list(key) && i >= key->max)
			break;
	}
}

/* What no key says alone. */
static void check_together(struct load *load, cfg_t *cfg,
			   const struct configuration *configuration)
{
	cfg_opt_t *deny = find_option(cfg, "access", "deny");
	cfg_opt_t *burst = find_option(cfg, "limits", "rate-burst");

	if (configuration->limits.rate_per_source > 0 && configuration->limits.rate_burst == 0 &&
	    cfg_opt_size(burst) > 0)
		complain(load, key_find("limits", "rate-burst"), cfg_opt_getnptr(burst, 0),
			 "must not be 0 with rate-per-source");
	/* Only when each element was taken the indices of both are the same. */
	if (load->problems.count > 0)
		return;
	for (size_t i = 0; i < configuration->access.deny_count; i++) {
		const struct value *value = cfg_opt_getnptr(deny, (unsigned)i);

		if (configuration->access.allow_count + i >= SETTINGS_MAX_RULES) {
			complain(load, key_find("access", "deny"), value,
				 "more than 4096 prefixes in allow and deny");
			break;
		}
		for (size_t j = 0; j < configuration->access.allow_count; j++) {
			if (memcmp(&configuration->access.allow[j], &configuration->access.deny[i],
				   sizeof(struct cidr)) == 0)
				complain(load, key_find("access", "deny"), value,
					 "the same prefix stands in allow");
		}
	}
}

/* What the host knows of the names. The default user is one that may be missing. */
static void check_names(struct load *load, cfg_t *cfg, const struct configuration *configuration,
			unsigned needs)
{
	const char *group = configuration->control.group;
	char why[KEY_WHY_MAX];

	if ((needs & CONFIGURATION_NEEDS_USER) && configuration->user_is_set &&
	    names_check_user(configuration->user, why) < 0)
		complain(load, key_find(NULL, "user"),
			 cfg_opt_getnptr(find_option(cfg, NULL, "user"), 0), why);
	if ((needs & CONFIGURATION_NEEDS_GROUP) && group && names_check_group(group, why) < 0)
		complain(load, key_find("control", "group"),
			 cfg_opt_getnptr(find_option(cfg, "control", "group"), 0), why);
}

static void apply(struct load *load, cfg_t *cfg, struct configuration *configuration)
{
	for (const struct key *key = configuration_keys; key->name; key++)
		apply_key(load, key, find_option(cfg, key->section, key->name), configuration);
	configuration->listen_is_set = cfg_size(cfg, "listen") > 0;
	configuration->user_is_set =
		strcmp(configuration->user, key_find(NULL, "user")->fallback) != 0;
	configuration->control.path_is_set =
		strcmp(configuration->control.path, key_find("control", "path")->fallback) != 0;
	check_together(load, cfg, configuration);
}

/* Reads the first file and all that it includes. */
static void parse_all(struct load *load, cfg_t *cfg, const char *path, int fd)
{
	FD_CLEANUP int opened_fd = fd < 0 ? source_open(path) : -1;
	struct source *source = add_source(load, strdup(path));
	int r;

	if (!source)
		return;
	if (fd < 0)
		fd = opened_fd;
	/* the output of a program, at a start or a test: that may take its time */
	if (opened_fd >= 0)
		fd_set_nonblocking(opened_fd, false);
	if (fd >= 0)
		source_identify(source, fd);
	r = fd < 0 ? fd : parse_file(load, cfg, fd, source);
	if (r < 0)
		problems_add(&load->problems, source, 0, NULL, NULL, "%s", strerror(-r));
	/* load->sources owns it: NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
}

int configuration_load_here(const char *path, int fd, unsigned needs,
			    configuration_report_fn report, void *context,
			    struct configuration **ret_configuration)
{
	__attribute__((cleanup(configuration_freep))) struct configuration *configuration = NULL;
	struct load load = { 0 };
	cfg_t *cfg;
	int r = configuration_default(&configuration);

	if (r == 0)
		r = configuration_default(&load.scratch);
	if (r < 0)
		return r;
	configuration->path = strdup(path);
	cfg = new_parser();
	if (!cfg || !configuration->path) {
		load.problems.out_of_memory = true;
	} else {
		cfg_set_error_function(cfg, keep_error);
		loading = &load;
		parse_all(&load, cfg, path, fd);
		loading = NULL;
		apply(&load, cfg, configuration);
		check_names(&load, cfg, configuration, needs);
	}

	r = load.problems.out_of_memory ? -ENOMEM : load.problems.count > 0 ? -EBADMSG : 0;
	problems_tell(&load.problems, report, context);
	problems_release(&load.problems);
	configuration_free(load.scratch);
	if (cfg)
		cfg_free(cfg);
	for (size_t i = 0; i < load.source_count; i++) {
		free(load.sources[i]->name);
		free(load.sources[i]);
	}
	if (r < 0)
		return r;
	*ret_configuration = configuration;
	configuration = NULL;
	return 0;
}

int configuration_load(const char *path, int fd, configuration_report_fn report, void *context,
		       struct configuration **ret_configuration)
{
	return configuration_load_here(path, fd, 0, report, context, ret_configuration);
}
