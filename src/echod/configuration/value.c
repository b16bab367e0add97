/* SPDX-License-Identifier: MIT */
/* The values of echod.conf(5): from text into their fields, and back. */
#include "echod/configuration/keys.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

const char *key_quote(const char *text, char quoted[KEY_QUOTE_MAX])
{
	static const size_t text_max = 60;
	size_t used = 0;

	quoted[used++] = '"';
	for (size_t i = 0; text[i] != '\0' && i < text_max; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c == 0x7f)
			used += (size_t)sprintf(quoted + used, "\\x%02x", c);
		else
			quoted[used++] = (char)c;
	}
	strcpy(quoted + used, strnlen(text, text_max + 1) > text_max ? "...\"" : "\"");
	return quoted;
}

/* Writes the reason: the text, if any, with what is wrong with it. Returns -EINVAL. */
__attribute__((format(printf, 3, 4))) static int refuse(char *why, const char *text,
							const char *format, ...)
{
	size_t used = text ? strlen(key_quote(text, why)) : 0;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why + used, KEY_WHY_MAX - used, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

static int store_number(const struct key *key, const char *text, void *field, char *why)
{
	uint64_t value;
	int r = number_parse(text, key->min, key->max, &value);

	if (r == -EINVAL)
		return refuse(why, text, " is not a whole number");
	if (r < 0)
		return refuse(why, text, " is not in %llu-%llu", (unsigned long long)key->min,
			      (unsigned long long)key->max);
	*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static int store_duration(const struct key *key, const char *text, void *field, char *why)
{
	char min[DURATION_TEXT_MAX], max[DURATION_TEXT_MAX];
	uint64_t value_us;
	bool needs_time = key->kind == KEY_WAIT;
	int r = duration_parse(text, &value_us);

	if (r == -EINVAL)
		return refuse(why, text, " is not a duration like 90s, 10min or 1h 30min");
	if (r == 0 && value_us == 0 && needs_time)
		return refuse(why, NULL, "must not be 0");
	if (r == 0 && (value_us == 0 || (value_us >= key->min && value_us <= key->max))) {
		*(uint64_t *)field = value_us;
		return 0;
	}
	return refuse(why, text, " is not %sin %s-%s", key->min > 0 && !needs_time ? "0 or " : "",
		      duration_format(key->min, min), duration_format(key->max, max));
}

static int store_choice(const struct key *key, const char *text, void *field, char *why)
{
	size_t used;

	for (const struct key_choice *choice = key->choices; choice->word; choice++) {
		if (strcmp(choice->word, text) == 0) {
			/* Each enum has the size of an int, but is a different type. */
			memcpy(field, &choice->value, sizeof(choice->value));
			return 0;
		}
	}
	refuse(why, text, " is none of");
	used = strlen(why);
	for (const struct key_choice *choice = key->choices; choice->word; choice++)
		used += (size_t)snprintf(why + used, KEY_WHY_MAX - used, "%s %s",
					 choice == key->choices ? "" : ",", choice->word);
	return -EINVAL;
}

static int store_mode(const struct key *key, const char *text, void *field, char *why)
{
	size_t digits = strspn(text, "01234567");
	unsigned long mode;

	if (digits == 0 || text[digits] != '\0')
		return refuse(why, text, " is not an octal mode like 0660");
	mode = strtoul(text, NULL, 8);
	if (mode > key->max)
		return refuse(why, text, " is not in 0000-0777");
	*(mode_t *)field = (mode_t)mode;
	return 0;
}

/* The empty text is stored as NULL. */
static int store_text(const char *text, void *field)
{
	char *copy = *text != '\0' ? strdup(text) : NULL;

	if (*text != '\0' && !copy)
		return -ENOMEM;
	free(*(char **)field);
	*(char **)field = copy;
	return 0;
}

static bool has_control_character(const char *text)
{
	while (*text != '\0' && !iscntrl((unsigned char)*text))
		text++;
	return *text != '\0';
}

static int store_name(const char *text, void *field, char *why)
{
	/* Refuses what passwd(5) and group(5) cannot hold; the name service judges the rest. */
	if (has_control_character(text) || strpbrk(text, ":,/ ") || *text == '-' ||
	    strlen(text) > 255)
		return refuse(why, text, " is not a user or group name");
	return store_text(text, field);
}

static int store_path(const struct key *key, const char *text, void *field, char *why)
{
	char quoted[KEY_QUOTE_MAX];

	if (*text != '\0' && *text != '/')
		return refuse(why, text, " does not begin with /");
	if (has_control_character(text))
		return refuse(why, NULL, "control character in %s", key_quote(text, quoted));
	if (strlen(text) > key->max)
		return refuse(why, text, " has more than %llu bytes",
			      (unsigned long long)key->max);
	return store_text(text, field);
}

/* "%eth0" of [fe80::1%eth0]:7, else "". */
static const char *find_scope(const struct address_spec *spec)
{
	return strchrnul(spec->host, '%');
}

static bool is_for_many(const struct address *address)
{
	const in_addr_t ipv4 = ntohl(address->in.sin_addr.s_addr);

	if (address->any.sa_family == AF_INET)
		return IN_MULTICAST(ipv4) || ipv4 == INADDR_BROADCAST;
	return address->any.sa_family == AF_INET6 &&
	       IN6_IS_ADDR_MULTICAST(&address->in6.sin6_addr);
}

/* Why echod cannot listen there, as a phrase; NULL if it can. */
static const char *find_address_fault(const struct configured_address *listen)
{
	const struct address *address = listen->addresses;
	bool is_link_local, has_scope = *find_scope(&listen->spec) != '\0';

	if (listen->spec.is_multipath && listen->spec.is_datagram)
		return "UDP has no MPTCP";
	if (listen->spec.is_unix && listen->spec.is_multipath)
		return "a Unix socket has no MPTCP";
	if (listen->spec.is_unix && listen->spec.is_datagram)
		return "a Unix socket is no UDP port";
	if (listen->address_count < 0)
		return "host names are not looked up, write the address";
	if (is_for_many(address))
		return "no peer is answered from a broadcast or multicast address";
	if (address->any.sa_family != AF_INET6)
		return NULL;
	/* our IPv6 sockets take IPv6 only: such an address cannot be bound */
	if (IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr))
		return "write an IPv4 address as such";
	is_link_local = IN6_IS_ADDR_LINKLOCAL(&address->in6.sin6_addr);
	if (is_link_local && !has_scope)
		return "a link-local address needs its interface, as in [fe80::1%eth0]:7";
	if (!is_link_local && has_scope)
		return "only a link-local address has an interface";
	return NULL;
}

static bool is_any(const struct address *address)
{
	return address->any.sa_family == AF_INET6 ?
		IN6_IS_ADDR_UNSPECIFIED(&address->in6.sin6_addr) :
		address->in.sin_addr.s_addr == htonl(INADDR_ANY);
}

/* Whether one is a wildcard that contains the other: the kernel binds only the first of them. */
static bool is_overlap(const struct configured_address *a, const struct configured_address *b)
{
	if (a->spec.is_unix || b->spec.is_unix || a->spec.is_datagram != b->spec.is_datagram ||
	    a->spec.port != b->spec.port || a->spec.port == 0)
		return false;
	for (int i = 0; i < a->address_count; i++) {
		for (int j = 0; j < b->address_count; j++) {
			const struct address *ours = &a->addresses[i], *theirs = &b->addresses[j];

			if (ours->any.sa_family == theirs->any.sa_family &&
			    is_any(ours) != is_any(theirs))
				return true;
		}
	}
	return false;
}

/* Skips slashes and "." that lead nowhere. */
static const char *skip_idle(const char *path)
{
	while (strncmp(path, "//", 2) == 0 || strncmp(path, "/./", 3) == 0)
		path += path[1] == '.' ? 2 : 1;
	return path;
}

static bool is_same_path(const char *a, const char *b)
{
	a = skip_idle(a);
	b = skip_idle(b);
	while (*a != '\0' && *a == *b) {
		a = skip_idle(a + 1);
		b = skip_idle(b + 1);
	}
	return *a == *b;
}

const char *configuration_find_clash(const struct configuration *configuration)
{
	const char *control = configuration->control.path;
	const char *metrics = configuration->metrics.file;

	if (control && metrics && is_same_path(control, metrics))
		return "metrics.file is control.path";
	for (size_t i = 0; i < configuration->listen_count; i++) {
		const struct address_spec *spec = &configuration->listen[i].spec;

		if (spec->is_unix && control && is_same_path(spec->host, control))
			return "control.path is an address of listen";
		if (spec->is_unix && metrics && is_same_path(spec->host, metrics))
			return "metrics.file is an address of listen";
	}
	return NULL;
}

/* Whether both are the same address, however written. Port 0 is a different port each time. */
static bool is_twice(const struct configured_address *a, const struct configured_address *b)
{
	if (a->spec.is_unix && b->spec.is_unix)
		return is_same_path(a->spec.host, b->spec.host);
	return a->address_count == b->address_count && a->spec.is_datagram == b->spec.is_datagram &&
	       a->addresses[0].length == b->addresses[0].length &&
	       memcmp(&a->addresses[0].any, &b->addresses[0].any, a->addresses[0].length) == 0 &&
	       a->spec.port != 0 && strcmp(find_scope(&a->spec), find_scope(&b->spec)) == 0;
}

/* How many sockets it needs: one for *, which takes both families. */
static size_t count_sockets(const struct configured_address *listen)
{
	return listen->spec.is_wildcard ? 1 : (size_t)listen->address_count;
}

/* Checks an address against the others. */
static int check_beside(const struct key *key, const struct configuration *configuration,
			const struct configured_address *new, const char *text, char *why)
{
	char other[KEY_QUOTE_MAX];
	size_t sockets = count_sockets(new);

	for (size_t i = 0; i < configuration->listen_count; i++) {
		const struct configured_address *listen = &configuration->listen[i];

		if (is_twice(new, listen))
			return refuse(why, text, " is listed twice");
		if (is_overlap(new, listen))
			return refuse(why, text, " overlaps with %s",
				      key_quote(listen->text, other));
		sockets += count_sockets(listen);
	}
	if (sockets <= key->max)
		return 0;
	refuse(why, NULL, "more than %llu addresses", (unsigned long long)key->max);
	return -E2BIG;
}

static bool skip_prefix(const char **text, const char *prefix)
{
	if (strncmp(*text, prefix, strlen(prefix)) != 0)
		return false;
	*text += strlen(prefix);
	return true;
}

static int store_address(const struct key *key, const char *text,
			 struct configuration *configuration, char *why)
{
	const char *address = text, *reason;
	bool is_multipath = skip_prefix(&address, "mptcp:");
	bool is_datagram = skip_prefix(&address, "udp:");
	struct configured_address *grown, new = {0};
	int r;

	is_multipath |= is_datagram && skip_prefix(&address, "mptcp:");
	r = address_parse(address, -1, &new.spec, &reason);
	if (r == 0) {
		new.spec.is_multipath = is_multipath;
		new.spec.is_datagram = is_datagram;
		new.address_count = address_expand(&new.spec, new.addresses);
		reason = find_address_fault(&new);
	}
	if (reason)
		return refuse(why, text, ": %s", reason);
	r = check_beside(key, configuration, &new, text, why);
	if (r < 0)
		return r;
	grown = reallocarray(configuration->listen, configuration->listen_count + 1, sizeof(new));
	if (!grown)
		return -ENOMEM;
	configuration->listen = grown;
	new.text = strdup(text);
	if (!new.text)
		return -ENOMEM;
	grown[configuration->listen_count++] = new;
	return 0;
}

static int store_prefix(const struct key *key, const char *text, struct cidr **list,
			size_t *count, char *why)
{
	struct cidr *grown, prefix;
	const char *reason;

	if (key->choices && strcmp(text, key->choices->word) == 0)
		prefix = (struct cidr){ .bits = (uint8_t)key->choices->value };
	else if (cidr_parse(text, &prefix, &reason) < 0)
		return refuse(why, text, ": %s", reason);
	if (*count >= key->max) {
		refuse(why, NULL, "more than %llu prefixes", (unsigned long long)key->max);
		return -E2BIG;
	}
	grown = reallocarray(*list, *count + 1, sizeof(prefix));
	if (!grown)
		return -ENOMEM;
	*list = grown;
	grown[(*count)++] = prefix;
	return 0;
}

int key_store(const struct key *key, const char *text, struct configuration *configuration,
	      char why[KEY_WHY_MAX])
{
	void *field = (char *)configuration + key->offset;
	size_t *count = (size_t *)(void *)((char *)configuration + key->count_offset);

	assert(text && why);
	if (*text == '\0' && key->min > 0)
		return refuse(why, NULL, "is empty");
	switch (key->kind) {
	case KEY_NUMBER:
		return store_number(key, text, field, why);
	case KEY_DURATION:
	case KEY_WAIT:
		return store_duration(key, text, field, why);
	case KEY_CHOICE:
		return store_choice(key, text, field, why);
	case KEY_MODE:
		return store_mode(key, text, field, why);
	case KEY_NAME:
		return store_name(text, field, why);
	case KEY_PATH:
		return store_path(key, text, field, why);
	case KEY_ADDRESSES:
		return store_address(key, text, configuration, why);
	case KEY_PREFIXES:
		return store_prefix(key, text, field, count, why);
	case KEY_GONE:
		return refuse(why, NULL, "%s", key->advice);
	}
	return -EINVAL;
}

void key_clear(const struct key *key, struct configuration *configuration)
{
	if (key->kind == KEY_ADDRESSES) {
		while (configuration->listen_count > 0)
			free(configuration->listen[--configuration->listen_count].text);
	} else if (key->kind == KEY_PREFIXES) {
		*(size_t *)(void *)((char *)configuration + key->count_offset) = 0;
	}
}

/* Writes a quoted string that libConfuse reads back as text. */
static void print_text(const char *text, FILE *stream)
{
	putc('"', stream);
	for (; *text != '\0'; text++) {
		if (iscntrl((unsigned char)*text))
			fprintf(stream, "\\x%02x", (unsigned char)*text);
		else
			fprintf(stream, strchr("\"\\$", *text) ? "\\%c" : "%c", *text);
	}
	putc('"', stream);
}

static void print_choice(const struct key *key, const void *field, FILE *stream)
{
	const struct key_choice *choice = key->choices;
	int value;

	memcpy(&value, field, sizeof(value));
	for (; choice->value != value; choice++)
		assert(choice->word);
	print_text(choice->word, stream);
}

static void print_list(const struct key *key, const struct configuration *configuration,
		       FILE *stream)
{
	const void *field = (const char *)configuration + key->offset;
	const void *count = (const char *)configuration + key->count_offset;
	char text[CIDR_TEXT_MAX];

	putc('{', stream);
	for (size_t i = 0; i < *(const size_t *)count; i++) {
		const struct cidr *prefix = &(*(struct cidr *const *)field)[i];

		fputs(i > 0 ? ", " : "", stream);
		if (key->kind == KEY_ADDRESSES)
			print_text(configuration->listen[i].text, stream);
		else if (key->choices && prefix->bits == key->choices->value)
			print_text(key->choices->word, stream);
		else
			print_text(cidr_format(prefix, text), stream);
	}
	putc('}', stream);
}

void key_print(const struct key *key, const struct configuration *configuration, FILE *stream)
{
	const void *field = (const char *)configuration + key->offset;
	char duration[DURATION_TEXT_MAX];
	const char *text;

	switch (key->kind) {
	case KEY_NUMBER:
		fprintf(stream, "%u", *(const uint32_t *)field);
		break;
	case KEY_DURATION:
	case KEY_WAIT:
		print_text(duration_format(*(const uint64_t *)field, duration), stream);
		break;
	case KEY_CHOICE:
		print_choice(key, field, stream);
		break;
	case KEY_MODE:
		fprintf(stream, "%04o", (unsigned)*(const mode_t *)field);
		break;
	case KEY_NAME:
	case KEY_PATH:
		text = *(char *const *)field;
		print_text(text ? text : "", stream);
		break;
	case KEY_ADDRESSES:
	case KEY_PREFIXES:
		print_list(key, configuration, stream);
		break;
	case KEY_GONE:
		break;
	}
}
