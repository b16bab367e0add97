/* SPDX-License-Identifier: MIT */
/* What the tests of listening sockets share. */
#include "unit/listening.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echod/log/log.h"

int listening_set_up(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){};
	fixture.configuration.listen = fixture.listen;
	fixture.configuration.listen_is_set = true;
	log_set_level(LOG_INFO);
	capture_start(&fixture.capture, LOG_TARGET_SYSLOG);
	*state = &fixture;
	return 0;
}

void listening_forget(struct fixture *fixture)
{
	while (fixture->configuration.listen_count > 0)
		free(fixture->listen[--fixture->configuration.listen_count].text);
}

int listening_tear_down(void **state)
{
	struct fixture *fixture = *state;

	sockets_release(&fixture->sockets, NULL);
	listening_forget(fixture);
	capture_end(&fixture->capture);
	return 0;
}

void listening_add(struct fixture *fixture, const char *text)
{
	size_t index = fixture->configuration.listen_count++;
	struct configured_address *element = &fixture->listen[index];

	element->text = strdup(text);
	assert_int_equal(address_parse(text, -1, &element->spec, NULL), 0);
	element->address_count = address_expand(&element->spec, element->addresses);
}

int listening_bind(struct fixture *fixture)
{
	return sockets_bind(&fixture->configuration, NULL, &fixture->sockets);
}
