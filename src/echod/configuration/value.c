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

__attribute__((format(printf, 2, 3))) static int refuse(char *why, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, KEY_WHY_MAX, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

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

static int store_number(const struct key *key, const char *text, void *field, char *why)
{
	char quoted[KEY_QUOTE_MAX];
	uint64_t value;
	int r = number_parse(text, key->min, key->max, &value);

	if (r == -EINVAL)
		return refuse(why, "%s is not a whole number", key_quote(text, quoted));
	if (r < 0)
		return refuse(why, "%s is not in %llu-%llu", key_quote(text, quoted),
			      (unsigned long long)key->min, (unsigned long long)key->max);
	*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static int store_duration(const struct key *key, const char *text, void *field, char *why)
{
	char quoted[KEY_QUOTE_MAX], min[DURATION_TEXT_MAX], max[DURATION_TEXT_MAX];
	uint64_t value_us;
	int r = duration_parse(text, &value_us);

	if (r == -EINVAL)
		return refuse(why, "%s is not a duration like 90s, 10min or 1h 30min",
			      key_quote(text, quoted));
	if (r == 0 && (value_us == 0 || (value_us >= key->min && value_us <= key->max))) {
		*(uint64_t *)field = value_us;
		return 0;
	}
	return refuse(why, "%s is not %sin %s-%s", key_quote(text, quoted),
		      key->min > 0 ? "0 or " : "", duration_format(key->min, min),
		      duration_format(key->max, max));
}

static int store_choice(const struct key *key, const char *text, void *field, char *why)
{
	char quoted[KEY_QUOTE_MAX];
	size_t used;

	for (const struct key_choice *choice = key->choices; choice->word; choice++) {
		if (strcmp(choice->word, text) == 0) {
			/* Each enum has the size of an int, but is another type. */
			memcpy(field, &choice->value, sizeof(choice->value));
			return 0;
		}
	}
	used = (size_t)snprintf(why, KEY_WHY_MAX, "%s is none of", key_quote(text, quoted));
	for (const struct key_choice *choice = key->choices; choice->word; choice++)
		used += (size_t)snprintf(why + used, KEY_WHY_MAX - used, "%s %s",
					 choice == key->choices ? "" : ",", choice->word);
	return -EINVAL;
}

static int store_mode(const struct key *key, const char *text, void *field, char *why)
{
	char quoted[KEY_QUOTE_MAX];
	size_t digits = strspn(text, "01234567");
	unsigned long mode;

	if (digits == 0 || text[digits] != '\0')
		return refuse(why, "%s is not an octal mode like 0660", key_quote(text, quoted));
	mode = strtoul(text, NULL, 8);
	if (mode > key->max)
		return refuse(why, "%s is not in 0000-0777", key_quote(text, quoted));
	*(mode_t *)field = (mode_t)mode;
	return 0;
}

/* The empty text is stored as NULL. */
static int store_text(const char *text, void *field)
{
	char *copy = NULL;

	if (*text != '\0') {
		copy = strdup(text);
		if (!copy)
			return -ENOMEM;
	}
	free(*(char **)field);
	*(char **)field = copy;
	return 0;
}

static bool has_control_character(const char *text)
{
	for (; *text != '\0'; text++) {
		if (iscntrl((unsigned char)*text))
			return true;
	}
	return false;
}

static int store_name(const struct key *key, const char *text, void *field, char *why)
{
	char quoted[KEY_QUOTE_MAX];

	if (key->min > 0 && *text == '\0')
		return refuse(why, "is empty");
	/* What passwd(5) and group(5) cannot hold; the rest is the name service's business. */
	if (has_control_character(text) || strpbrk(text, ":,/ ") || *text == '-' ||
	    strlen(text) > 255)
		return refuse(why, "%s is not a user or group name", key_quote(text, quoted));
	return store_text(text, field);
}

static int store_path(const struct key *key, const char *text, void *field, char *why)
{
	char quoted[KEY_QUOTE_MAX];

	if (key->min > 0 && *text == '\0')
		return refuse(why, "is empty");
	if (*text != '\0' && *text != '/')
		return refuse(why, "%s does not begin with /", key_quote(text, quoted));
	if (has_control_character(text))
		return refuse(why, "control character in %s", key_quote(text, quoted));
	if (strlen(text) > key->max)
		return refuse(why, "%s has more than %llu bytes", key_quote(text, quoted),
			      (unsigned long long)key->max);
	return store_text(text, field);
}

/* "%eth0" of [fe80::1%eth0]:7, else "". */
static const char *find_scope(const struct address_spec *spec)
{
	return strchrnul(spec->host, '%');
}

/* Why echod cannot listen there, as a phrase; NULL if it can. */
static const char *find_address_fault(const struct address_spec *spec)
{
	struct address addresses[ADDRESS_EXPAND_MAX];
	bool is_link_local, has_scope = *find_scope(spec) != '\0';

	if (spec->is_unix && spec->is_multipath)
		return "a Unix socket has no MPTCP";
	if (address_expand(spec, addresses) < 0)
		return "host names are not looked up, write the address";
	if (addresses[0].any.sa_family != AF_INET6)
		return NULL;
	/* our IPv6 sockets take IPv6 alone: such a one cannot be bound */
	if (IN6_IS_ADDR_V4MAPPED(&addresses[0].in6.sin6_addr))
		return "write an IPv4 address as such";
	is_link_local = IN6_IS_ADDR_LINKLOCAL(&addresses[0].in6.sin6_addr);
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

/* Whether one is every address, the other one of them: the kernel binds only the first. */
static bool is_overlap(const struct address *a, const struct address *b)
{
	return a->any.sa_family == b->any.sa_family && a->any.sa_family != AF_UNIX &&
	       a->in.sin_port == b->in.sin_port && a->in.sin_port != 0 && is_any(a) != is_any(b);
}

static bool specs_overlap(const struct address_spec *a, const struct address_spec *b)
{
	struct address ours[ADDRESS_EXPAND_MAX], theirs[ADDRESS_EXPAND_MAX];
	int count = address_expand(a, ours), others = address_expand(b, theirs);

	for (int i = 0; i < count; i++) {
		for (int j = 0; j < others; j++) {
			if (is_overlap(&ours[i], &theirs[j]))
				return true;
		}
	}
	return false;
}

/* However it is written. Port 0 stands for another port each time. */
static bool is_twice(const struct address_spec *a, const struct address_spec *b)
{
	struct address ours[ADDRESS_EXPAND_MAX], theirs[ADDRESS_EXPAND_MAX];

	return address_expand(a, ours) == address_expand(b, theirs) &&
	       ours[0].length == theirs[0].length &&
	       memcmp(&ours[0].any, &theirs[0].any, ours[0].length) == 0 &&
	       (a->is_unix || (a->port != 0 && strcmp(find_scope(a), find_scope(b)) == 0));
}

/* How many sockets there are for it: one of * takes both families. */
static size_t count_sockets(const struct address_spec *spec)
{
	struct address addresses[ADDRESS_EXPAND_MAX];

	return spec->is_wildcard ? 1 : (size_t)address_expand(spec, addresses);
}

/* What an address may not be beside the others. */
static int check_beside(const struct key *key, const struct configuration *configuration,
			const struct address_spec *spec, const char *text, char *why)
{
	char quoted[KEY_QUOTE_MAX], other[KEY_QUOTE_MAX];
	size_t sockets = count_sockets(spec);

	key_quote(text, quoted);
	for (size_t i = 0; i < configuration->listen_count; i++) {
		const struct configured_address *listen = &configuration->listen[i];

		if (is_twice(spec, &listen->spec))
			return refuse(why, "%s stands twice", quoted);
		if (specs_overlap(spec, &listen->spec))
			return refuse(why, "%s overlaps with %s", quoted,
				      key_quote(listen->text, other));
		sockets += count_sockets(&listen->spec);
	}
	if (sockets <= key->max)
		return 0;
	refuse(why, "more than %llu addresses", (unsigned long long)key->max);
	return -E2BIG;
}

static int store_address(const struct key *key, const char *text,
			 struct configuration *configuration, char *why)
{
	static const char multipath[] = "mptcp:";
	bool is_multipath = strncmp(text, multipath, strlen(multipath)) == 0;
	char quoted[KEY_QUOTE_MAX];
	struct configured_address *listen = configuration->listen;
	size_t count = configuration->listen_count;
	struct address_spec spec;
	const char *reason;
	char *copy;
	int r;

	r = address_parse(text + (is_multipath ? strlen(multipath) : 0), -1, &spec, &reason);
	spec.is_multipath = is_multipath;
	if (r == 0)
		reason = find_address_fault(&spec);
	if (reason)
		return refuse(why, "%s: %s", key_quote(text, quoted), reason);
	r = check_beside(key, configuration, &spec, text, why);
	if (r < 0)
		return r;

	listen = reallocarray(listen, count + 1, sizeof(*listen));
	if (!listen)
		return -ENOMEM;
	configuration->listen = listen;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	listen[count] = (struct configured_address){ .text = copy, .spec = spec };
	configuration->listen_count = count + 1;
	return 0;
}

static int store_prefix(const struct key *key, const char *text, void *field, size_t *count,
			char *why)
{
	char quoted[KEY_QUOTE_MAX];
	struct cidr **list = field;
	struct cidr *grown;
	const char *reason;
	struct cidr prefix;

	if (cidr_parse(text, &prefix, &reason) < 0)
		return refuse(why, "%s: %s", key_quote(text, quoted), reason);
	if (*count >= key->max) {
		refuse(why, "more than %llu prefixes", (unsigned long long)key->max);
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
	switch (key->kind) {
	case KEY_NUMBER:
		return store_number(key, text, field, why);
	case KEY_DURATION:
		return store_duration(key, text, field, why);
	case KEY_CHOICE:
		return store_choice(key, text, field, why);
	case KEY_MODE:
		return store_mode(key, text, field, why);
	case KEY_NAME:
		return store_name(key, text, field, why);
	case KEY_PATH:
		return store_path(key, text, field, why);
	case KEY_ADDRESSES:
		return store_address(key, text, configuration, why);
	case KEY_PREFIXES:
		return store_prefix(key, text, field, count, why);
	case KEY_GONE:
		return refuse(why, "%s", key->advice);
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

/* A quoted string that libConfuse reads back as text. */
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
		fputs(i > 0 ? ", " : "", stream);
		print_text(key->kind == KEY_ADDRESSES
				   ? configuration->listen[i].text
				   : cidr_format(&(*(struct cidr *const *)field)[i], text), stream);
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
