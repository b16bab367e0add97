/* SPDX-License-Identifier: MIT */
/*
 * From a file to a configuration: libConfuse reads it, and hands over each value as text.
 *
 * libConfuse ends at the first name that is not in its tables, but all of them are to be told at
 * once. So such a name is noted and added to the tables, as one that takes anything, and the
 * reading starts again; until a run meets no new one. The files are kept meanwhile, since a pipe
 * gives its text only once.
 */
#include "echod/configuration/configuration.h"

#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/configuration/keys.h"
#include "echod/configuration/problems.h"
#include "echod/configuration/source.h"
#include "wire/settings.h"

#define FILES_MAX 256u		/* include() may branch */
#define DEPTH_MAX 10u
#define UNKNOWN_MAX 100u	/* so many runs at most */
#define OPTIONS_MAX (64 + UNKNOWN_MAX)

/* Where a value stands: what libConfuse keeps for us. */
struct place {
	const struct source *source;
	unsigned line;
	bool is_refused;
};

/* A name of the file that is no key. */
struct unknown {
	char *section;		/* NULL: top level */
	char *name;
	bool is_section;
	unsigned count;		/* how often it came in this run */
};

struct load {
	struct problems problems;
	struct source *sources[FILES_MAX];
	size_t source_count;
	size_t used_count;	/* of sources, in this run */
	const struct source *current;
	struct unknown unknown[UNKNOWN_MAX];
	size_t unknown_count;
	const struct key *full_list;	/* of which that is said */
	bool is_over;		/* this run, by something that was noted */
	bool is_again;		/* and another one is to follow */
	cfg_t *parser;
	struct configuration *configuration;
};

/* libConfuse hands its callbacks no context, and can do one file at a time only. */
static struct load *loading;

/* NULL: top level. */
static const char *section_of(const cfg_t *cfg)
{
	return cfg == loading->parser ? NULL : cfg->name;
}

static void complain(struct load *load, const struct key *key, const struct place *place,
		     const char *why)
{
	problems_add(&load->problems, place->source, place->line, key->section, key->name, "%s",
		     why);
}

/* What stands in an unknown section goes with it. */
static void complain_unknown(struct load *load, const cfg_t *cfg, const char *name)
{
	const char *section = section_of(cfg);

	if (!section || key_is_section(section))
		problems_add(&load->problems, load->current, (unsigned)cfg->line, section, name,
			     "%s", key_explain_missing(section, name));
}

/* Stores a value. That a list is too long is said once, at the first element that is too many. */
static void store(struct load *load, const struct key *key, const char *text, unsigned count,
		  struct place *place)
{
	char why[KEY_WHY_MAX];
	int r;

	if (count == 1) {
		key_clear(key, load->configuration);
		load->full_list = NULL;
	}
	r = key_store(key, text, load->configuration, why);
	if (r == -ENOMEM)
		load->problems.out_of_memory = true;
	else if (r == -EINVAL || (r == -E2BIG && load->full_list != key))
		complain(load, key, place, why);
	if (r == -E2BIG)
		load->full_list = key;
	place->is_refused = r < 0;
}

static int keep_value(cfg_t *cfg, cfg_opt_t *option, const char *text, void *ret_value)
{
	const struct key *key = key_find(section_of(cfg), option->name);
	struct place *place = malloc(sizeof(*place));

	if (!place) {
		loading->problems.out_of_memory = true;
		return -1;
	}
	*place = (struct place){
		.source = loading->current, .line = (unsigned)cfg->line, .is_refused = true,
	};
	*(struct place **)ret_value = place;
	if (key)
		store(loading, key, text, option->nvalues, place);
	else
		complain_unknown(loading, cfg, option->name);	/* "limits|connections" */
	return 0;
}

static struct unknown *find_unknown(struct load *load, const char *section, const char *name)
{
	for (size_t i = 0; i < load->unknown_count; i++) {
		struct unknown *unknown = &load->unknown[i];

		if (key_is_same_section(unknown->section, section) &&
		    strcmp(unknown->name, name) == 0)
			return unknown;
	}
	return NULL;
}

/* A name comes that is not in the tables. */
static void meet_unknown(struct load *load, const cfg_t *cfg, const char *name)
{
	const char *section = section_of(cfg);
	struct unknown unknown = {0};

	load->is_over = true;
	complain_unknown(load, cfg, name);
	/* "limits=1|connections", a path in libConfuse's syntax, leads to a name that is known */
	if (key_find(section, name) || (!section && key_is_section(name)) ||
	    find_unknown(load, section, name))
		return;
	unknown.name = strdup(name);
	unknown.section = section ? strdup(section) : NULL;
	if (!unknown.name || (section && !unknown.section)) {
		load->problems.out_of_memory = true;
	} else if (load->unknown_count < UNKNOWN_MAX) {
		load->unknown[load->unknown_count++] = unknown;
		load->is_again = true;
		return;
	}
	free(unknown.name);
	free(unknown.section);
}

/* One that is in the tables since an earlier run. Nothing is kept. */
static int meet_again(cfg_t *cfg, cfg_opt_t *option, const char *text, void *ret_value)
{
	struct unknown *unknown = find_unknown(loading, section_of(cfg), option->name);

	(void)text;
	if (!unknown || (option->nvalues == 1 && unknown->count++ > 0))
		complain_unknown(loading, cfg, option->name);
	*(void **)ret_value = NULL;
	return 0;
}

/* An unknown name at top level is followed by no equal sign: it may be a section. */
static bool try_section(struct load *load, const cfg_t *cfg, const char *name)
{
	struct unknown *unknown = find_unknown(load, section_of(cfg), name);

	if (!unknown || unknown->section || unknown->count > 0)
		return false;
	unknown->is_section = true;
	load->is_over = load->is_again = true;
	return true;
}

/* Everything else that libConfuse finds: the first mistake in the grammar, which ends the run. */
__attribute__((format(printf, 2, 0))) static void keep_error(cfg_t *cfg, const char *format,
							     va_list arguments)
{
	struct load *load = loading;
	const struct source *source = load->current;
	char why[KEY_WHY_MAX];
	const char *name;
	va_list copy;

	va_copy(copy, arguments);
	name = strstr(format, "option '%s'") ? va_arg(copy, const char *) : "";
	va_end(copy);
	if (strcmp(format, "no such option '%s'") == 0) {
		meet_unknown(load, cfg, name);
		return;
	}
	if (strcmp(format, "missing equal sign after option '%s'") == 0 &&
	    try_section(load, cfg, name))
		return;
	load->is_over = true;
	/* what follows from a fault that was found before */
	if (source->fault_line > 0 && cfg->line >= (int)source->fault_line)
		return;
	vsnprintf(why, sizeof(why), format, arguments);
	problems_add(&load->problems, source, (unsigned)cfg->line, NULL, NULL, "%s", why);
}

/* It says nothing when it has no memory, nor of a name that is an empty string. */
static void note_silent_end(struct load *load, const struct source *source)
{
	if (errno != EINVAL)
		load->problems.out_of_memory = true;
	else
		problems_add(&load->problems, source, (unsigned)load->parser->line, NULL, NULL,
			     "empty name");
}

/* Lets libConfuse read the text of source. Returns true to go on with the file around it. */
static bool parse_text(struct load *load, const struct source *source)
{
	const struct source *outer = load->current;
	FILE *stream;
	int r;

	if (source->fault_line > 0)
		problems_add(&load->problems, source, source->fault_line, NULL, NULL, "%s",
			     source->fault);
	stream = fmemopen(source->text, strlen(source->text), "r");
	if (!stream) {
		load->problems.out_of_memory = true;
		return false;
	}
	load->current = source;
	errno = 0;
	r = cfg_parse_fp(load->parser, stream);
	load->current = outer;
	fclose(stream);
	if (r != CFG_SUCCESS && !load->is_over)
		note_silent_end(load, source);
	load->is_over |= source->fault_line > 0;
	return !load->is_over;
}

/* The next file of this run, which an earlier one may have read. Returns NULL without memory. */
static struct source *next_source(struct load *load, const char *name)
{
	struct source *source;

	if (load->used_count < load->source_count)
		return load->sources[load->used_count++];
	source = source_new(load->current, name, load->source_count);
	if (!source) {
		load->problems.out_of_memory = true;
		return NULL;
	}
	load->sources[load->source_count++] = source;
	load->used_count++;
	return source;
}

/* Returns 0 or -errno as source_open() and source_read() do. */
static int read_included(struct source *source)
{
	FD_CLEANUP int fd = -1;

	if (source->text)
		return 0;
	fd = source_open(source->name);
	return fd < 0 ? fd : source_read(source, fd);
}

/*
 * include("FILE"). If the file cannot be read that is noted, and the outer one goes on.
 * libConfuse's own include would wait for a pipe, read without end, and take a file with an error
 * for one that is still open.
 */
static int include_file(cfg_t *cfg, cfg_opt_t *option, int argc, const char **argv)
{
	struct load *load = loading;
	int line = cfg->line;
	struct source *source;
	bool is_good = true;
	int r;

	(void)option;
	if (argc != 1) {
		cfg_error(cfg, "expected include(\"FILE\")");
		return -1;
	}
	if (load->used_count == FILES_MAX || load->current->depth == DEPTH_MAX) {
		problems_add(&load->problems, load->current, (unsigned)line, NULL, "include",
			     load->used_count == FILES_MAX ? "more than %u files"
							   : "nested deeper than %u files",
			     load->used_count == FILES_MAX ? FILES_MAX : DEPTH_MAX);
		return 0;
	}
	source = next_source(load, argv[0]);
	if (!source)
		return -1;
	r = read_included(source);
	if (r < 0)
		problems_add(&load->problems, load->current, (unsigned)line, NULL, "include",
			     "%s: %s", source->name,
			     r == -EALREADY ? "the file includes itself" : strerror(-r));
	else
		is_good = parse_text(load, source);
	cfg->line = line;
	return is_good ? 0 : -1;
}

/* The options of one section, its own and unknown ones. Returns where they end. */
static cfg_opt_t *add_options(const struct load *load, const char *section, cfg_opt_t *option)
{
	for (const struct key *key = configuration_keys; key->name; key++) {
		if (key_is_same_section(key->section, section))
			*option++ = (cfg_opt_t)CFG_PTR_CB(
				key->name, 0, key_is_list(key) ? CFGF_LIST : CFGF_NONE, keep_value,
				free);
	}
	for (size_t i = 0; i < load->unknown_count; i++) {
		const struct unknown *unknown = &load->unknown[i];

		if (!unknown->is_section && key_is_same_section(unknown->section, section))
			*option++ = (cfg_opt_t)CFG_PTR_LIST_CB(unknown->name, 0, CFGF_NONE,
							       meet_again, NULL);
	}
	return option;
}

static cfg_t *new_parser(const struct load *load)
{
	/* each may be a section too, or end one */
	cfg_opt_t root[OPTIONS_MAX] = {0}, inner[2 * OPTIONS_MAX] = {0};
	cfg_opt_t *next = inner, *top = add_options(load, NULL, root);

	for (const char *const *section = configuration_sections; *section; section++) {
		*top++ = (cfg_opt_t)CFG_SEC(*section, next, CFGF_NONE);
		next = add_options(load, *section, next) + 1;
	}
	for (size_t i = 0; i < load->unknown_count; i++) {
		const struct unknown *unknown = &load->unknown[i];

		if (!unknown->is_section)
			continue;
		*top++ = (cfg_opt_t)CFG_SEC(unknown->name, next, CFGF_NONE);
		next = add_options(load, unknown->name, next) + 1;
	}
	*top = (cfg_opt_t)CFG_FUNC("include", include_file);
	return cfg_init(root, CFGF_NONE);
}

/* Reads the first file and all that it includes, once. */
static void run(struct load *load, const struct source *source)
{
	if (load->parser)
		cfg_free(load->parser);
	load->parser = new_parser(load);
	configuration_free(load->configuration);
	load->configuration = NULL;
	if (!load->parser || configuration_default(&load->configuration) < 0) {
		load->problems.out_of_memory = true;
		return;
	}
	cfg_set_error_function(load->parser, keep_error);
	load->is_over = load->is_again = false;
	load->problems.left_out = 0;
	load->used_count = 1;
	for (size_t i = 0; i < load->unknown_count; i++)
		load->unknown[i].count = 0;
	loading = load;
	parse_text(load, source);
	loading = NULL;
}

/* Reads all, as often as it takes. */
static void run_all(struct load *load, const char *path, int fd)
{
	FD_CLEANUP int opened_fd = fd < 0 ? source_open(path) : -1;
	struct source *source = next_source(load, path);
	int r;

	if (!source)
		return;
	if (fd < 0)
		fd = opened_fd;
	r = fd < 0 ? fd : source_read(source, fd);
	if (r < 0) {
		problems_add(&load->problems, source, 0, NULL, NULL, "%s", strerror(-r));
		return;
	}
	do
		run(load, source);
	while (load->is_again && !load->problems.out_of_memory);
}

static cfg_opt_t *find_option(const struct load *load, const struct key *key)
{
	return cfg_getopt(key->section ? cfg_getsec(load->parser, key->section) : load->parser,
			  key->name);
}

/* Where the key's first value stands, NULL: there is none. */
static const struct place *find_place(const struct load *load, const struct key *key)
{
	cfg_opt_t *option = find_option(load, key);

	return cfg_opt_size(option) > 0 ? cfg_opt_getnptr(option, 0) : NULL;
}

/* No prefix may be in both lists, nor both be too long. */
static void check_access(struct load *load)
{
	const struct configuration *configuration = load->configuration;
	const struct key *key = key_find("access", "deny");
	cfg_opt_t *deny = find_option(load, key);
	const struct cidr *prefix = configuration->access.deny;
	size_t count = configuration->access.allow_count;

	for (unsigned i = 0; i < cfg_opt_size(deny); i++) {
		const struct place *place = cfg_opt_getnptr(deny, i);

		if (place->is_refused)
			continue;
		if (count++ == SETTINGS_MAX_RULES)
			complain(load, key, place, "more than 4096 prefixes in allow and deny");
		for (size_t j = 0; j < configuration->access.allow_count; j++) {
			if (memcmp(&configuration->access.allow[j], prefix, sizeof(*prefix)) == 0)
				complain(load, key, place, "the same prefix stands in allow");
		}
		prefix++;
	}
}

/* errno says why the host has no such name (getpwnam(3), getgrnam(3)). */
static void complain_missing(struct load *load, const struct key *key, const struct place *place,
			     const char *name, const char *what)
{
	bool is_missing = errno == 0 || errno == ENOENT || errno == ESRCH;
	char quoted[KEY_QUOTE_MAX], why[KEY_WHY_MAX];

	snprintf(why, sizeof(why), "%s: %s", key_quote(name, quoted),
		 is_missing ? what : strerror(errno));
	complain(load, key, place, why);
}

/* The default user may be missing. */
static void check_user(struct load *load)
{
	const char *name = load->configuration->user;
	const struct key *key = key_find(NULL, "user");
	const struct place *place = find_place(load, key);
	char quoted[KEY_QUOTE_MAX], why[KEY_WHY_MAX];
	const struct passwd *entry;

	if (!place || !load->configuration->user_is_set)
		return;
	errno = 0;
	entry = getpwnam(name);
	if (!entry) {
		complain_missing(load, key, place, name, "no such user");
	} else if (entry->pw_uid == 0) {
		snprintf(why, sizeof(why), "%s is root: nothing would be given up",
			 key_quote(name, quoted));
		complain(load, key, place, why);
	}
}

/* A file in memory shows it: our groups, the user namespace and system call filters decide. */
static int try_giving(gid_t group)
{
	FD_CLEANUP int fd = memfd_create("echod-group", MFD_CLOEXEC);

	return fd < 0 || fchown(fd, (uid_t)-1, group) == 0 ? 0 : -errno;
}

static void check_group(struct load *load, bool is_to_give)
{
	const char *name = load->configuration->control.group;
	const struct key *key = key_find("control", "group");
	const struct place *place = find_place(load, key);
	char quoted[KEY_QUOTE_MAX], why[KEY_WHY_MAX];
	const struct group *group;
	int r;

	if (!place || !name)
		return;
	errno = 0;
	group = getgrnam(name);
	if (!group)
		complain_missing(load, key, place, name, "no such group");
	r = group && is_to_give ? try_giving(group->gr_gid) : 0;
	if (r == 0)
		return;
	snprintf(why, sizeof(why), "%s: the socket cannot be given to this group (%s), see "
		 "echod.conf(5)", key_quote(name, quoted), strerror(-r));
	complain(load, key, place, why);
}

/* libConfuse tells nobody of an empty list, so its place has to be found: the last "listen". */
static void refuse_empty_listen(struct load *load)
{
	static const char name[] = "listen";
	const struct source *source = load->sources[0];
	unsigned found_line = 0;

	for (size_t i = 0; i < load->used_count; i++) {
		const char *text = load->sources[i]->text;

		for (unsigned line = 1; text && *text != '\0'; text++) {
			line += *text == '\n';
			if (strncmp(text, name, strlen(name)) == 0) {
				source = load->sources[i];
				found_line = line;
			}
		}
	}
	problems_add(&load->problems, source, found_line, NULL, name, "is empty");
}

/* What no value says alone. */
static void check_together(struct load *load, unsigned needs)
{
	struct configuration *configuration = load->configuration;
	const cfg_opt_t *listen = find_option(load, key_find(NULL, "listen"));
	const struct key *burst_key = key_find("limits", "rate-burst");
	const struct place *burst = find_place(load, burst_key);

	for (const struct key *key = configuration_keys; key->name; key++) {
		const cfg_opt_t *option = find_option(load, key);

		/* the last one may have been empty */
		if (option->nvalues == 0 && option != listen)
			key_clear(key, configuration);
	}
	if (listen->nvalues == 0 && (listen->flags & CFGF_MODIFIED) && !load->is_over)
		refuse_empty_listen(load);
	configuration->listen_is_set = listen->nvalues > 0;
	configuration->user_is_set =
		strcmp(configuration->user, key_find(NULL, "user")->fallback) != 0;
	configuration->control.path_is_set =
		strcmp(configuration->control.path, key_find("control", "path")->fallback) != 0;
	if (burst && configuration->limits.rate_burst == 0 &&
	    configuration->limits.rate_per_source > 0)
		complain(load, burst_key, burst, "must not be 0 with rate-per-source");
	check_access(load);
	if (needs & CONFIGURATION_NEEDS_USER)
		check_user(load);
	if (needs & CONFIGURATION_NEEDS_GROUP)
		check_group(load, needs & CONFIGURATION_NEEDS_GIVING);
}

static void release(struct load *load)
{
	if (load->parser)
		cfg_free(load->parser);
	problems_release(&load->problems);
	for (size_t i = 0; i < load->source_count; i++)
		source_free(load->sources[i]);
	for (size_t i = 0; i < load->unknown_count; i++) {
		free(load->unknown[i].section);
		free(load->unknown[i].name);
	}
	configuration_free(load->configuration);
}

int configuration_load(const char *path, int fd, unsigned needs, configuration_report_fn report,
		       void *context, struct configuration **ret_configuration)
{
	struct load load = {0};
	int r = 0;

	assert(path && report && !loading);
	run_all(&load, path, fd);
	if (load.configuration) {
		check_together(&load, needs);
		load.configuration->path = strdup(path);
		load.problems.out_of_memory |= !load.configuration->path;
	}
	if (load.problems.out_of_memory) {
		r = -ENOMEM;
	} else if (load.problems.count > 0) {
		problems_tell(&load.problems, report, context);
		r = -EBADMSG;
	} else {
		*ret_configuration = load.configuration;
		load.configuration = NULL;
	}
	release(&load);
	return r;
}
