/* SPDX-License-Identifier: MIT */
/* A configuration with a few listen addresses, and the sockets that come of it. */
#ifndef ECHOD_TESTS_LISTENING_H
#define ECHOD_TESTS_LISTENING_H

#include "echod/sockets/sockets.h"
#include "unit/capture.h"

#define LISTEN_MAX 4

struct fixture {
	struct capture capture;
	struct configuration configuration;
	struct configured_address listen[LISTEN_MAX];
	struct sockets sockets;
};

/* Fit for cmocka; *state is a struct fixture. */
int listening_set_up(void **state);
int listening_tear_down(void **state);

/* Adds an element to listen, and takes all away. */
void listening_add(struct fixture *fixture, const char *text);
void listening_forget(struct fixture *fixture);

/* sockets_bind() without previous sockets into fixture->sockets. */
int listening_bind(struct fixture *fixture);

#endif
