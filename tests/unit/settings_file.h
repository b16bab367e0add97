/* SPDX-License-Identifier: MIT */
/* A folder of its own for a test that writes configuration files, and what loading them said. */
#ifndef ECHOD_TEST_SETTINGS_FILE_H
#define ECHOD_TEST_SETTINGS_FILE_H

#include <stddef.h>

#include "echod/configuration/configuration.h"

/* Makes a temporary folder and works in it; cmocka's setup and teardown of a group. */
int settings_enter(void **state);
int settings_leave(void **state);

void settings_write_bytes(const char *name, const void *bytes, size_t size);
void settings_write(const char *name, const char *text);

/* Loads the file; the caller frees what comes. It fails the test unless all is well. */
struct configuration *settings_load(const char *name);

/* Loads the file, which must fail with exactly these lines, each with its newline. */
void settings_expect(const char *name, const char *lines);

/* Writes text to "t", then as above. */
void settings_expect_text(const char *text, const char *lines);

/* What configuration_print() writes. The caller frees it. */
char *settings_print(const struct configuration *configuration);

/* Appends text and a newline to the lines that settings_expect() compares, for other reports. */
void settings_collect(void *context, const char *text);

/* What was collected since the last call; valid until the next line comes. */
const char *settings_collected(void);

#endif
