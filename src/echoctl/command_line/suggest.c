/* SPDX-License-Identifier: MIT */
/* Nearness of words, as slips of the keys between them. */
#include "echoctl/command_line/suggest.h"

#include <stddef.h>
#include <string.h>

#include "echoctl/command_line/command.h"

#define WORD_MAX 16		/* longer than any name and its slips */
#define BEGINNING_MIN 3		/* fewer letters begin too much */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/*
 * Letters to insert, leave out, replace or swap with their neighbour to make b of a (the
 * "optimal string alignment" distance). Neither is longer than WORD_MAX.
 */
static unsigned slips_between(const char *a, const char *b)
{
	unsigned rows[WORD_MAX + 1][WORD_MAX + 1];
	size_t length_a = strlen(a);
	size_t length_b = strlen(b);

	for (size_t i = 0; i <= length_a; i++) {
		for (size_t j = 0; j <= length_b; j++) {
			unsigned slips = (unsigned)(i + j);

			if (i > 0 && j > 0) {
				slips = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
				slips = least(slips, least(rows[i - 1][j], rows[i][j - 1]) + 1);
			}
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				slips = least(slips, rows[i - 2][j - 2] + 1);
			rows[i][j] = slips;
		}
	}
	return rows[length_a][length_b];
}

/* A short word has few letters that could still be right. */
static unsigned slips_allowed(const char *name)
{
	return strlen(name) <= 4 ? 1 : 2;
}

const char *suggest_command(const struct command *const *commands, const char *word)
{
	size_t length = strlen(word);
	const char *nearest = NULL;
	unsigned fewest = WORD_MAX;

	if (length > WORD_MAX)
		return NULL;
	for (; *commands; commands++) {
		const char *name = (*commands)->name;
		unsigned slips = slips_between(word, name);

		if (length >= BEGINNING_MIN && strncmp(word, name, length) == 0)
			slips = 1;
		if (slips <= slips_allowed(name) && slips < fewest) {
			nearest = name;
			fewest = slips;
		}
	}
	return nearest;
}
