/* SPDX-License-Identifier: MIT */
/* Every key of echod.conf(5), and what is done to all of them: defaults, release, printing. */
#include "echod/configuration/keys.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>

#include "wire/settings.h"

#define MS 1000ull
#define SECOND (1000 * MS)
#define DAY (86400 * SECOND)

static_assert(sizeof(enum log_target) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum log_connections) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum at_limit) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum tos_answer) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum sandbox_mode) == sizeof(int), "choices are stored as int");

#define FIELD(field) .offset = offsetof(struct configuration, field)
#define LIST(field) FIELD(field), .count_offset = offsetof(struct configuration, field##_count)

static const struct key_choice at_limit_words[] = {
	{ "defer", AT_DEFER },
	{ "refuse", AT_REFUSE },
	{0},
};

static const struct key_choice tos_words[] = {
	{ "mirror", TOS_MIRROR },
	{ "zero", TOS_ZERO },
	{0},
};

static const struct key_choice level_words[] = {
	{ "emerg", LOG_EMERG },	    { "alert", LOG_ALERT },   { "crit", LOG_CRIT },
	{ "err", LOG_ERR },	    { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO },	    { "debug", LOG_DEBUG },   { "error", LOG_ERR },
	{ "warn", LOG_WARNING },    {0},
};

/* All of syslog(3) but kern, which a program cannot use. */
static const struct key_choice facility_words[] = {
	{ "daemon", LOG_DAEMON }, { "user", LOG_USER },	    { "mail", LOG_MAIL },
	{ "auth", LOG_AUTH },	  { "authpriv", LOG_AUTHPRIV }, { "syslog", LOG_SYSLOG },
	{ "lpr", LOG_LPR },	  { "news", LOG_NEWS },	    { "uucp", LOG_UUCP },
	{ "cron", LOG_CRON },	  { "ftp", LOG_FTP },	    { "local0", LOG_LOCAL0 },
	{ "local1", LOG_LOCAL1 }, { "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 },
	{ "local4", LOG_LOCAL4 }, { "local5", LOG_LOCAL5 }, { "local6", LOG_LOCAL6 },
	{ "local7", LOG_LOCAL7 }, {0},
};

static const struct key_choice target_words[] = {
	{ "auto", LOG_TARGET_AUTO },
	{ "journal", LOG_TARGET_JOURNAL },
	{ "syslog", LOG_TARGET_SYSLOG },
	{ "stderr", LOG_TARGET_STDERR },
	{0},
};

static const struct key_choice connections_words[] = {
	{ "none", LOG_CONNECTIONS_NONE },
	{ "close", LOG_CONNECTIONS_CLOSE },
	{ "all", LOG_CONNECTIONS_ALL },
	{0},
};

static const struct key_choice sandbox_words[] = {
	{ "auto", SANDBOX_AUTO },
	{ "require", SANDBOX_REQUIRE },
	{ "strict", SANDBOX_STRICT },
	{ "off", SANDBOX_OFF },
	{0},
};

static const struct key_choice trust_words[] = {
	{ "unix", TRUST_UNIX },
	{0},
};

const struct key configuration_keys[] = {
	{ "", "listen", KEY_ADDRESSES, LIST(listen), .fallback = "localhost:7",
	  .max = SETTINGS_MAX_SOCKETS },
	{ "", "user", KEY_NAME, FIELD(user), .fallback = "echod", .min = 1 },
	{ "", "sandbox", KEY_CHOICE, FIELD(sandbox), .fallback = "auto",
	  .choices = sandbox_words },

	{ "limits", "connections", KEY_NUMBER, FIELD(limits.connections), .fallback = "1024",
	  .min = 1, .max = SETTINGS_MAX_CONNECTIONS },
	{ "limits", "connections-per-source", KEY_NUMBER, FIELD(limits.connections_per_source),
	  .fallback = "256", .max = SETTINGS_MAX_CONNECTIONS },
	{ "limits", "source-prefix-ipv4", KEY_NUMBER, FIELD(limits.source_prefix_ipv4),
	  .fallback = "32", .min = 8, .max = 32 },
	{ "limits", "source-prefix-ipv6", KEY_NUMBER, FIELD(limits.source_prefix_ipv6),
	  .fallback = "64", .min = 16, .max = 128 },
	{ "limits", "rate-per-source", KEY_NUMBER, FIELD(limits.rate_per_source),
	  .fallback = "0", .max = 1000000 },
	{ "limits", "rate-burst", KEY_NUMBER, FIELD(limits.rate_burst), .fallback = "200",
	  .max = 1000000 },
	{ "limits", "exempt", KEY_PREFIXES, LIST(limits.exempt), .max = SETTINGS_MAX_RULES },
	{ "limits", "at-limit", KEY_CHOICE, FIELD(limits.at_limit), .fallback = "defer",
	  .choices = at_limit_words },
	{ "limits", "spare-workers", KEY_GONE, .advice =
	  "this key is gone, remove it: no processes are started ahead of their connections" },

	{ "udp", "rate-per-source", KEY_NUMBER, FIELD(udp.rate_per_source), .fallback = "10000",
	  .max = 10000000 },
	{ "udp", "rate-burst", KEY_NUMBER, FIELD(udp.rate_burst), .fallback = "10000",
	  .max = 10000000 },
	{ "udp", "rate", KEY_NUMBER, FIELD(udp.rate), .fallback = "0", .max = 100000000 },
	{ "udp", "min-source-port", KEY_NUMBER, FIELD(udp.min_source_port), .fallback = "1024",
	  .max = UINT16_MAX },
	{ "udp", "tos", KEY_CHOICE, FIELD(udp.tos), .fallback = "mirror", .choices = tos_words },

	{ "timeouts", "idle", KEY_DURATION, FIELD(timeouts.idle_us), .fallback = "10min",
	  .min = MS, .max = 365 * DAY },
	{ "timeouts", "stall", KEY_DURATION, FIELD(timeouts.stall_us), .fallback = "1min",
	  .min = MS, .max = 365 * DAY },
	{ "timeouts", "session", KEY_DURATION, FIELD(timeouts.session_us), .fallback = "0",
	  .min = MS, .max = 365 * DAY },
	{ "timeouts", "drain", KEY_DURATION, FIELD(timeouts.drain_us), .fallback = "10s",
	  .max = 600 * SECOND },

	{ "access", "allow", KEY_PREFIXES, LIST(access.allow), .max = SETTINGS_MAX_RULES },
	{ "access", "deny", KEY_PREFIXES, LIST(access.deny), .max = SETTINGS_MAX_RULES },

	{ "proxy", "trust", KEY_PREFIXES, LIST(proxy.trust), .max = SETTINGS_MAX_RULES,
	  .choices = trust_words },
	{ "proxy", "timeout", KEY_WAIT, FIELD(proxy.timeout_us), .fallback = "5s",
	  .min = MS, .max = 60 * SECOND },

	{ "log", "level", KEY_CHOICE, FIELD(log.level), .fallback = "info",
	  .choices = level_words },
	{ "log", "facility", KEY_CHOICE, FIELD(log.facility), .fallback = "daemon",
	  .choices = facility_words },
	{ "log", "target", KEY_CHOICE, FIELD(log.target), .fallback = "auto",
	  .choices = target_words },
	{ "log", "connections", KEY_CHOICE, FIELD(log.connections), .fallback = "close",
	  .choices = connections_words },
	{ "log", "max-per-second", KEY_NUMBER, FIELD(log.max_per_second), .fallback = "200",
	  .max = 1000000 },

	{ "control", "path", KEY_PATH, FIELD(control.path), .fallback = "/run/echod/control",
	  .max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 },
	{ "control", "mode", KEY_MODE, FIELD(control.mode), .fallback = "0660", .max = 0777 },
	{ "control", "group", KEY_NAME, FIELD(control.group), .fallback = "" },

	{ "metrics", "file", KEY_PATH, FIELD(metrics.file), .fallback = "",
	  .max = PATH_MAX - 1 },
	{0},
};

const struct key *key_find(const char *section, const char *name)
{
	for (const struct key *key = configuration_keys; key->name; key++) {
		if (strcmp(key->section, section) == 0 && strcmp(key->name, name) == 0)
			return key;
	}
	return NULL;
}

int configuration_default(struct configuration **ret_configuration)
{
	CONFIGURATION_CLEANUP struct configuration *configuration =
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
	free(configuration->limits.exempt);
	free(configuration->access.allow);
	free(configuration->access.deny);
	free(configuration->proxy.trust);
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
	const char *clash;

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
	clash = configuration_find_clash(configuration);
	if (clash) {
		snprintf(line, sizeof(line), "-l: %s", clash);
		report(context, line);
		is_good = false;
	}
	return is_good ? 0 : -EBADMSG;
}

size_t configuration_find_open(const struct configuration *configuration, size_t first)
{
	for (size_t i = first; i < configuration->listen_count; i++) {
		const struct configured_address *listen = &configuration->listen[i];

		/* localhost has two addresses and "*" has two: both of one kind */
		if (listen->spec.is_datagram && configuration->access.allow_count == 0 &&
		    !address_is_local(&listen->addresses[0].any))
			return i;
	}
	return configuration->listen_count;
}

int configuration_level(const char *word)
{
	assert(word);
	for (const struct key_choice *level = level_words; level->word; level++) {
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
		/*
		 * Setting listen to its default is not the same as not setting it: systemd's
		 * sockets are compared with a listen that is set.
		 */
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
