/* SPDX-License-Identifier: MIT */
/* Options of the path: where connections begin, how their packets are marked. */
#ifndef ECHOCTL_DIAL_PATH_H
#define ECHOCTL_DIAL_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "echoctl/command_line/command.h"
#include "echoctl/dial/announce.h"

#define DIAL_KNOBS 6

struct dial_path {
	const char *source;		/* numeric address to connect from, or NULL */
	uint16_t source_port;		/* host byte order; 0: the kernel's choice */
	bool mptcp;
	struct dial_announcement announcement;
	struct dial_knob {
		bool given;
		int number;
		const char *text;
	} knobs[DIAL_KNOBS];		/* path.c knows which */
};

/* The options of all commands that dial, and their values. */
extern const struct option_group dial_path_options;
extern struct dial_path dial_path;

/* The protocol for socket(2). path may be NULL. */
int dial_path_protocol(const struct dial_path *path, int family);

/* Prepares a socket before it connects. path may be NULL. Returns 0 or -errno. */
int dial_path_apply(int fd, int family, const struct dial_path *path);

#endif
