/* SPDX-License-Identifier: MIT */
/* From a file to a configuration: libConfuse reads it, and hands over each value as text. */
#include "echod/configuration/configuration.h"

#include <assert.h>
#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/configuration/keys.h"
#include "echod/configuration/source.h"
#include "wire/settings.h"

#define FILES_MAX 256		/* files may include several others */
#define DEPTH_MAX 10
#define OPTIONS_MAX 64
#define LINES_MAX (2l * SOURCE_MAX_BYTES)
/* A file that is no configuration at all must not fill the log. */
#define PROBLEMS_MAX 100

/*
 * A place is the line of a statement plus LINES_MAX times the number of its file, in the order of
 * reading. So it fits in a number of libConfuse, and errors can be sorted by it.
 */
struct problem {
	long place;
	char *text;
};

struct load {
	char *files[FILES_MAX];		/* their names, as in messages */
	cfg_opt_t *tables[FILES_MAX];	/* of the files around them: keep_table() */
	long file_count;
	long file;			/* the one that is read now */
	unsigned depth;			/* number of files around it */
	unsigned fault_line;		/* of source_read() */
	struct problem problems[PROBLEMS_MAX];
	size_t problem_count;
	size_t left_out;		/* above PROBLEMS_MAX */
	const struct key *full_list;	/* the list that was reported as full */
	bool is_over;			/* the reading has ended with an error that was reported */
	bool out_of_memory;
	cfg_t *parser;
	struct configuration *configuration;
};

/* libConfuse passes no context to its callbacks, and can read only one file at a time. */
static struct load *loading;

static const char *section_of(const cfg_t *cfg)
{
	return cfg == loading->parser ? "" : cfg->name;
}

static long place_of(const cfg_t *cfg)
{
	return loading->file * LINES_MAX + cfg->line;
}

/* Takes text over, and puts it in the order of places. */
static void add_problem(struct load *load, long place, char *text)
{
	size_t at = load->problem_count++;

	for (; at > 0 && load->problems[at - 1].place > place; at--)
		load->problems[at] = load->problems[at - 1];
	load->problems[at] = (struct problem){ place, text };
}

/* Notes "FILE:LINE: SECTION.NAME: ...", each once; without a line if that is 0. */
__attribute__((format(printf, 5, 6))) static void
complain(struct load *load, long place, const char *section, const char *name, const char *format,
	 ...)
{
	char number[16] = "", why[KEY_WHY_MAX + PATH_MAX], *text;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	if (place % LINES_MAX > 0)
		snprintf(number, sizeof(number), ":%ld", place % LINES_MAX);
	if (asprintf(&text, "%s%s: %s%s%.60s%s%s", load->files[place / LINES_MAX], number, section,
		     *section ? "." : "", name, *name ? ": " : "", why) < 0) {
		load->out_of_memory = true;
		return;
	}
	for (char *c = text; *c != '\0'; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	for (size_t i = 0; i < load->problem_count; i++) {
		if (strcmp(load->problems[i].text, text) == 0) {
			free(text);
			return;
		}
	}
	if (load->problem_count < PROBLEMS_MAX) {
		add_problem(load, place, text);
		return;
	}
	load->left_out++;
	free(text);
}

static void complain_unknown(struct load *load, const cfg_t *cfg, const char *name)
{
	complain(load, place_of(cfg), section_of(cfg), name, "unknown key");
}

/* libConfuse stores only the place of a value, negative if the value is refused. */
static int keep_value(cfg_t *cfg, cfg_opt_t *option, const char *text, void *ret_value)
{
	struct load *load = loading;
	const struct key *key = key_find(section_of(cfg), option->name);
	long place = place_of(cfg);
	char why[KEY_WHY_MAX];
	int r;

	*(long *)ret_value = -place;
	if (!key) {	/* "limits|connections", a path in libConfuse's syntax */
		complain_unknown(load, cfg, option->name);
		return 0;
	}
	if (option->nvalues == 1) {
		key_clear(key, load->configuration);
		load->full_list = NULL;
	}
	r = key_store(key, text, load->configuration, why);
	if (r == -ENOMEM)
		load->out_of_memory = true;
	/* a list that is too long is reported once, at the first element that is too many */
	else if (r == -EINVAL || (r == -E2BIG && load->full_list != key))
		complain(load, place, key->section, key->name, "%s", why);
	if (r == -E2BIG)
		load->full_list = key;
	else if (r == 0)
		*(long *)ret_value = place;
	return 0;
}

/* Takes a value of an unknown key, which was reported at its first value. */
static int drop_value(cfg_t *cfg, cfg_opt_t *option, const char *text, void *ret_value)
{
	if (option->nvalues == 1 && option->def.number++ > 0)
		complain_unknown(loading, cfg, option->name);
	cfg->flags &= ~CFGF_KEYSTRVAL;
	*(const char **)ret_value = text;
	return 0;
}

/*
 * libConfuse ends at the first name that is not in its tables, but all unknown names are to be
 * reported together. With CFGF_KEYSTRVAL it goes on: it writes the name into the empty element that
 * ends the table. It changes nothing else there, so the rest of that element makes the name a list
 * of arbitrary texts.
 */
static void meet_unknown(struct load *load, cfg_t *cfg, const char *name)
{
	cfg_opt_t *end = cfg->opts + cfg_num(cfg);

	complain_unknown(load, cfg, name);
	if (load->left_out > 0) {
		load->is_over = true;
		return;
	}
	cfg->flags |= CFGF_KEYSTRVAL;
	end->flags = CFGF_LIST;
	end->parsecb = drop_value;
}

/*
 * Takes an error of libConfuse: an unknown name, or the first mistake in the grammar, which ends
 * the reading.
 */
__attribute__((format(printf, 2, 0))) static void keep_error(cfg_t *cfg, const char *format,
							     va_list arguments)
{
	struct load *load = loading;
	const char *name = NULL;
	char why[KEY_WHY_MAX];
	va_list copy;

	va_copy(copy, arguments);
	if (strstr(format, "option '%s'"))
		name = va_arg(copy, const char *);
	va_end(copy);
	if (strcmp(format, "no such option '%s'") == 0) {
		meet_unknown(load, cfg, name);
		return;
	}
	load->is_over = true;
	/* only a consequence of a fault that was reported, or of an unknown section */
	if ((load->fault_line > 0 && cfg->line >= (int)load->fault_line) ||
	    (name && !key_find(section_of(cfg), name)))
		return;
	vsnprintf(why, sizeof(why), format, arguments);
	complain(load, place_of(cfg), "", "", "%s", why);
}

/* Lets libConfuse read what is in the current file. */
static void parse(struct load *load, const struct source *source)
{
	FILE *stream = fmemopen(source->text, strlen(source->text), "r");
	int r;

	if (!stream) {
		load->out_of_memory = true;
		return;
	}
	if (source->fault_line > 0)
		complain(load, load->file * LINES_MAX + source->fault_line, "", "", "%s",
			 source->fault);
	load->fault_line = source->fault_line;
	errno = 0;
	r = cfg_parse_fp(load->parser, stream);
	fclose(stream);
	/* it reports neither a lack of memory nor a name that is an empty string */
	if (r != CFG_SUCCESS && !load->is_over && errno == EINVAL)
		complain(load, place_of(load->parser), "", "", "empty name");
	else if (r != CFG_SUCCESS && !load->is_over)
		load->out_of_memory = true;
	load->is_over |= r != CFG_SUCCESS || source->fault_line > 0;
}

/*
 * Reads the next file, whose name is in files. fd: its descriptor, or -errno of opening it. Returns
 * 0 whatever is wrong with the text, or -errno if it cannot be read.
 */
static int read_file(struct load *load, int fd)
{
	long outer = load->file;
	unsigned outer_fault_line = load->fault_line;
	struct source source;
	int r;

	load->file = load->file_count++;
	load->depth++;
	r = fd < 0 ? fd : source_read(fd, &source);
	if (r == 0) {
		parse(load, &source);
		free(source.text);
	}
	load->depth--;
	load->fault_line = outer_fault_line;
	load->file = outer;
	return r;
}

/*
 * An unknown name in an included file moves the table of options, but libConfuse uses the old one
 * once more after include(). So the table of the outer file is kept.
 */
static bool keep_table(struct load *load, cfg_t *cfg)
{
	size_t size = (cfg_num(cfg) + 1) * sizeof(*cfg->opts);
	cfg_opt_t *copy = malloc(size);

	if (!copy)
		return false;
	memcpy(copy, cfg->opts, size);
	load->tables[load->file_count] = cfg->opts;
	cfg->opts = copy;
	return true;
}

/*
 * include("FILE"), relative to the folder of the file around it. If the file cannot be read that is
 * noted, and the outer file goes on. libConfuse's own include would wait for a pipe, read without
 * end, and treat a file with an error as still open.
 */
static int include_file(cfg_t *cfg, cfg_opt_t *option, int argc, const char **argv)
{
	struct load *load = loading;
	const char *outer = load->files[load->file], *slash = strrchr(outer, '/');
	char **name = &load->files[load->file_count];
	long place = place_of(cfg);
	FD_CLEANUP int fd = -1;
	int line = cfg->line, r;

	(void)option;
	if (argc != 1) {
		cfg_error(cfg, "expected include(\"FILE\")");
		return -1;
	}
	if (load->file_count == FILES_MAX || load->depth > DEPTH_MAX) {
		complain(load, place, "", "include",
			 load->file_count == FILES_MAX
				 ? "more than 256 files"
				 : "nested deeper than 10 files, or in a circle");
		return 0;
	}
	if (asprintf(name, "%.*s%s", slash && *argv[0] != '/' ? (int)(slash + 1 - outer) : 0,
		     outer, argv[0]) < 0)
		*name = NULL;
	if (!*name || !keep_table(load, cfg)) {
		load->out_of_memory = true;
		return -1;
	}
	fd = source_open(*name);
	r = read_file(load, fd);
	if (r < 0)
		complain(load, place, "", "include", "%s: %s", *name, strerror(-r));
	cfg->line = line;
	return load->is_over ? -1 : 0;
}

static cfg_t *new_parser(void)
{
	cfg_opt_t root[OPTIONS_MAX] = {0}, inner[OPTIONS_MAX] = {0};
	cfg_opt_t *top = root, *next = inner;
	const char *section = "";

	for (const struct key *key = configuration_keys; key->name; key++) {
		cfg_opt_t option = CFG_INT_CB(key->name, 0, CFGF_NODEFAULT, keep_value);

		if (key->kind == KEY_ADDRESSES || key->kind == KEY_PREFIXES)
			option.flags |= CFGF_LIST;
		if (strcmp(key->section, section) != 0) {
			section = key->section;
			next++;		/* end of the element before */
			*top++ = (cfg_opt_t)CFG_SEC(section, next, CFGF_NONE);
		}
		if (*section)
			*next++ = option;
		else
			*top++ = option;
	}
	*top = (cfg_opt_t)CFG_FUNC("include", include_file);
	return cfg_init(root, CFGF_NONE);
}

/* Returns the place of the key's value, or of one of its elements; 0 if there is none. */
static long find_place(const struct load *load, const struct key *key, unsigned index)
{
	cfg_t *section;

	assert(key);
	section = *key->section ? cfg_getsec(load->parser, key->section) : load->parser;
	return cfg_getnint(section, key->name, index);
}

/* No prefix may be in both lists, and together they must not be too long. */
static void check_access(struct load *load)
{
	const struct configuration *configuration = load->configuration;
	const struct key *key = key_find("access", "deny");
	const struct cidr *prefix = configuration->access.deny;
	size_t count = configuration->access.allow_count;
	long place;

	for (unsigned i = 0; (place = find_place(load, key, i)) != 0; i++) {
		if (place < 0)
			continue;
		if (count++ == SETTINGS_MAX_RULES)
			complain(load, place, key->section, key->name,
				 "more than 4096 prefixes in allow and deny");
		for (size_t j = 0; j < configuration->access.allow_count; j++) {
			if (memcmp(&configuration->access.allow[j], prefix, sizeof(*prefix)) == 0)
				complain(load, place, key->section, key->name,
					 "the same prefix is in allow");
		}
		prefix++;
	}
}

static void check_burst(struct load *load, const char *section, uint32_t rate, uint32_t burst)
{
	long place = find_place(load, key_find(section, "rate-burst"), 0);

	if (place > 0 && burst == 0 && rate > 0)
		complain(load, place, section, "rate-burst", "must not be 0 with rate-per-source");
}

/* Elements that were refused have a place, and no entry in listen. */
static void check_open(struct load *load)
{
	const struct configuration *configuration = load->configuration;
	const struct key *key = key_find("", "listen");
	char quoted[KEY_QUOTE_MAX];
	size_t entry = 0;
	long place;

	for (unsigned i = 0; (place = find_place(load, key, i)) != 0; i++) {
		if (place < 0)
			continue;
		if (configuration_find_open(configuration, entry) == entry)
			complain(load, place, "", key->name, "%s: " CONFIGURATION_OPEN_WHY,
				 key_quote(configuration->listen[entry].text, quoted));
		entry++;
	}
}

/* errno says why the host has no such name (getpwnam(3), getgrnam(3)). */
static void complain_missing(struct load *load, const struct key *key, const char *name,
			     const char *what)
{
	bool is_missing = errno == 0 || errno == ENOENT || errno == ESRCH;
	const char *why = is_missing ? what : strerror(errno);
	char quoted[KEY_QUOTE_MAX];

	complain(load, find_place(load, key, 0), key->section, key->name, "%s: %s",
		 key_quote(name, quoted), why);
}

/* The default user may be missing. */
static void check_user(struct load *load)
{
	const char *name = load->configuration->user;
	const struct key *key = key_find("", "user");
	long place = find_place(load, key, 0);
	char quoted[KEY_QUOTE_MAX];
	const struct passwd *entry;

	if (place <= 0 || !load->configuration->user_is_set)
		return;
	errno = 0;
	entry = getpwnam(name);
	if (!entry)
		complain_missing(load, key, name, "no such user");
	else if (entry->pw_uid == 0)
		complain(load, place, "", key->name, "%s is root: nothing would be given up",
			 key_quote(name, quoted));
}

/* Tries it with a memory file: groups, user namespace and system call filters decide. */
static int try_giving(gid_t group)
{
	FD_CLEANUP int fd = memfd_create("echod-group", MFD_CLOEXEC);

	return fd < 0 || fchown(fd, (uid_t)-1, group) == 0 ? 0 : -errno;
}

static void check_group(struct load *load, bool is_to_give)
{
	const char *name = load->configuration->control.group;
	const struct key *key = key_find("control", "group");
	long place = find_place(load, key, 0);
	char quoted[KEY_QUOTE_MAX];
	const struct group *group;
	int r;

	if (place <= 0 || !name)
		return;
	errno = 0;
	group = getgrnam(name);
	if (!group)
		complain_missing(load, key, name, "no such group");
	r = group && is_to_give ? try_giving(group->gr_gid) : 0;
	if (r < 0)
		complain(load, place, key->section, key->name, "%s: the socket cannot be given to "
			 "this group (%s), see echod.conf(5)", key_quote(name, quoted),
			 strerror(-r));
}

/* Checks that need several values. */
static void check_together(struct load *load, unsigned needs)
{
	struct configuration *configuration = load->configuration;
	const struct key *user = key_find("", "user"), *path = key_find("control", "path");
	const char *clash = configuration_find_clash(configuration);

	for (const struct key *key = configuration_keys; key->name; key++) {
		/* the last list of the key may have been empty */
		if (key->kind == KEY_PREFIXES && find_place(load, key, 0) == 0)
			key_clear(key, configuration);
	}
	configuration->listen_is_set = cfg_size(load->parser, "listen") > 0;
	/* libConfuse does not say where an empty list is */
	if (!configuration->listen_is_set && !load->is_over &&
	    (cfg_getopt(load->parser, "listen")->flags & CFGF_MODIFIED))
		complain(load, 0, "", "listen", "is empty");
	configuration->user_is_set = strcmp(configuration->user, user->fallback) != 0;
	configuration->control.path_is_set =
		!configuration->control.path ||
		strcmp(configuration->control.path, path->fallback) != 0;
	check_burst(load, "limits", configuration->limits.rate_per_source,
		    configuration->limits.rate_burst);
	check_burst(load, "udp", configuration->udp.rate_per_source,
		    configuration->udp.rate_burst);
	check_access(load);
	check_open(load);
	if (clash)
		complain(load, 0, "", "", "%s", clash);
	if (needs & CONFIGURATION_NEEDS_USER)
		check_user(load);
	if (needs & CONFIGURATION_NEEDS_GROUP)
		check_group(load, needs & CONFIGURATION_NEEDS_GIVING);
}

static void tell_problems(const struct load *load, configuration_report_fn report, void *context)
{
	char rest[64];

	for (size_t i = 0; i < load->problem_count; i++)
		report(context, load->problems[i].text);
	if (load->left_out > 0) {
		snprintf(rest, sizeof(rest), "%zu more %s not shown", load->left_out,
			 load->left_out == 1 ? "error is" : "errors are");
		report(context, rest);
	}
}

static void release(struct load *load)
{
	if (load->parser)
		cfg_free(load->parser);
	for (size_t i = 0; i < load->problem_count; i++)
		free(load->problems[i].text);
	for (size_t i = 0; i < FILES_MAX; i++) {
		free(load->files[i]);
		free(load->tables[i]);
	}
	configuration_free(load->configuration);
}

/* Returns 0, -EBADMSG if there are errors to report, or -ENOMEM. */
static int run(struct load *load, const char *path, int fd, unsigned needs)
{
	FD_CLEANUP int opened_fd = fd < 0 ? source_open(path) : -1;
	int r = configuration_default(&load->configuration);

	load->parser = new_parser();
	load->files[0] = strdup(path);
	if (!load->parser || !load->files[0] || r < 0)
		return -ENOMEM;
	cfg_set_error_function(load->parser, keep_error);
	r = read_file(load, fd < 0 ? opened_fd : fd);
	if (r < 0)
		complain(load, 0, "", "", "%s", strerror(-r));
	else
		check_together(load, needs);
	load->configuration->path = strdup(path);
	if (load->out_of_memory || !load->configuration->path)
		return -ENOMEM;
	return load->problem_count > 0 ? -EBADMSG : 0;
}

int configuration_load(const char *path, int fd, unsigned needs, configuration_report_fn report,
		       void *context, struct configuration **ret_configuration)
{
	struct load load = {0};
	int r;

	assert(path && report && ret_configuration && !loading);
	loading = &load;
	r = run(&load, path, fd, needs);
	loading = NULL;
	if (r == -EBADMSG)
		tell_problems(&load, report, context);
	if (r == 0) {
		*ret_configuration = load.configuration;
		load.configuration = NULL;
	}
	release(&load);
	return r;
}
