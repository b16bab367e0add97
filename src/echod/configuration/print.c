/* SPDX-License-Identifier: MIT */
/* The effective settings in the syntax of echod.conf(5). */
#include "echod/configuration/configuration.h"

#include <string.h>

#include "base/duration.h"
#include "echod/configuration/keys.h"

/* A quoted string that libConfuse reads back as text. */
static void print_text(const char *text, FILE *stream)
{
	putc('"', stream);
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			fprintf(stream, "\\x%02x", (unsigned char)*text);
		else if (*text == '"' || *text == '\\' || *text == '$')
			fprintf(stream, "\\%c", *text);
		else
			putc(*text, stream);
	}
	putc('"', stream);
}

static void print_choice(const struct key *key, const void *field, FILE *stream)
{
	int value;

	memcpy(&value, field, sizeof(value));
	for (const struct key_choice *choice = key->choices; choice->word; choice++) {
		if (choice->value == value) {
			print_text(choice->word, stream);
			return;
		}
	}
}

static void print_addresses(const struct configuration *configuration, FILE *stream)
{
	putc('{', stream);
	for (size_t i = 0; i < configuration->listen_count; i++) {
		fputs(i > 0 ? ", " : "", stream);
		print_text(configuration->listen[i].text, stream);
	}
	putc('}', stream);
}

static void print_prefixes(const struct cidr *prefixes, size_t count, FILE *stream)
{
	char text[CIDR_TEXT_MAX];

	putc('{', stream);
	for (size_t i = 0; i < count; i++) {
		fputs(i > 0 ? ", " : "", stream);
		print_text(cidr_format(&prefixes[i], text), stream);
	}
	putc('}', stream);
}

void key_print(const struct key *key, const struct configuration *configuration, FILE *stream)
{
	const void *field = (const char *)configuration + key->offset;
	const void *count = (const char *)configuration + key->count_offset;
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
		print_addresses(configuration, stream);
		break;
	case KEY_PREFIXES:
		print_prefixes(*(struct cidr *const *)field, *(const size_t *)count, stream);
		break;
	}
}

void configuration_print(const struct configuration *configuration, FILE *stream)
{
	const char *section = NULL;

	for (const struct key *key = configuration_keys; key->name; key++) {
		/* The default of listen is not the same as setting it: systemd's sockets count. */
		bool is_comment = key->kind == KEY_ADDRESSES && !configuration->listen_is_set;

		if (key->section && (!section || strcmp(section, key->section) != 0)) {
			fprintf(stream, "%s%s {\n", section ? "}\n" : "", key->section);
			section = key->section;
		}
		fprintf(stream, "%s%s%s = ", section ? "\t" : "", is_comment ? "# " : "",
			key->name);
		key_print(key, configuration, stream);
		putc('\n', stream);
	}
	fputs("}\n", stream);
}
