/* SPDX-License-Identifier: MIT */
/* From a target to its socket addresses, in the order in which to try them, before a deadline. */
#include "echoctl/dial/dial.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/probe/interrupt.h"

#define SLICE_NS 200000000	/* between looks for an interrupt, which ends no resolver */

/* One look-up that may outlive the wait for it: the resolver's thread then still owns it. */
struct lookup {
	struct gaicb request;
	struct addrinfo hints;
	char host[ADDRESS_HOST_MAX];
	char service[8];
};

void dial_interleave(struct dial_address *addresses, size_t n_addresses)
{
	for (size_t n = 1; n < n_addresses; n++) {
		sa_family_t last = addresses[n - 1].address.ss_family;
		struct dial_address next;
		size_t i = n;

		while (i < n_addresses && addresses[i].address.ss_family == last)
			i++;
		/* No address of this family is left: the rest of the other one follows. */
		if (i == n_addresses)
			break;
		next = addresses[i];
		memmove(&addresses[n + 1], &addresses[n], (i - n) * sizeof(next));
		addresses[n] = next;
	}
}

static int fail(struct dial *dial, int error, const char *why)
{
	dial->error = error;
	dial->why = why;
	return error != 0 ? -error : -EHOSTUNREACH;
}

static int fail_here(struct dial *dial, int error, const char *why)
{
	dial->local = true;
	return fail(dial, error, why);
}

static void take_unix(const struct address_spec *target, struct dial *dial)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&dial->addresses[0].address;

	/* address_parse() refuses longer ones. */
	assert(strlen(target->host) < sizeof(un->sun_path));
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, target->host);
	dial->addresses[0].length = sizeof(*un);
	dial->n_addresses = 1;
}

/* hosts(5) may have an address twice: with -4, glibc reads ::1 as 127.0.0.1. */
static bool is_known(const struct dial *dial, const struct addrinfo *info)
{
	size_t i = 0;

	while (i < dial->n_addresses &&
	       (dial->addresses[i].length != info->ai_addrlen ||
		memcmp(&dial->addresses[i].address, info->ai_addr, info->ai_addrlen) != 0))
		i++;
	return i < dial->n_addresses;
}

static void take_list(const struct addrinfo *list, struct dial *dial)
{
	for (; list && dial->n_addresses < DIAL_ADDRESSES_MAX; list = list->ai_next) {
		struct dial_address *address = &dial->addresses[dial->n_addresses];

		if (list->ai_addrlen > sizeof(address->address) || is_known(dial, list))
			continue;
		memcpy(&address->address, list->ai_addr, list->ai_addrlen);
		address->length = list->ai_addrlen;
		dial->n_addresses++;
	}
	dial_interleave(dial->addresses, dial->n_addresses);
}

static struct lookup *lookup_new(const struct address_spec *target,
				 const struct dial_options *options)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		return NULL;
	snprintf(lookup->host, sizeof(lookup->host), "%s", target->host);
	snprintf(lookup->service, sizeof(lookup->service), "%u", target->port);
	lookup->hints.ai_family = options->family;
	lookup->hints.ai_socktype = options->udp ? SOCK_DGRAM : SOCK_STREAM;
	/* Without a name: the loopback addresses, which localhost is everywhere (RFC 6761, 6.3). */
	lookup->request.ar_name = strcasecmp(lookup->host, "localhost") == 0 ? NULL : lookup->host;
	lookup->request.ar_service = lookup->service;
	lookup->request.ar_request = &lookup->hints;
	return lookup;
}

/*
 * A literal and localhost need neither a resolver nor the thread that getaddrinfo_a(3) starts for
 * a name. Returns an EAI_ code; EAI_INPROGRESS: late.
 */
static int look_up(struct lookup *lookup, const struct dial_options *options)
{
	struct gaicb *requests[] = {&lookup->request};
	const struct gaicb *waited[] = {&lookup->request};
	uint64_t deadline_ns = clock_now_ns() + options->timeout_us * 1000;
	int r;

	lookup->hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (getaddrinfo(lookup->request.ar_name, lookup->service, &lookup->hints,
			&lookup->request.ar_result) == 0)
		return 0;
	lookup->hints.ai_flags = AI_NUMERICSERV | AI_IDN;
	r = getaddrinfo_a(GAI_NOWAIT, requests, 1, NULL) == 0 ? EAI_INPROGRESS : EAI_SYSTEM;
	while (r == EAI_INPROGRESS) {
		uint64_t now_ns = clock_now_ns();
		uint64_t left_ns = now_ns < deadline_ns ? deadline_ns - now_ns : 0;
		struct timespec slice = {
			.tv_nsec = (long)(left_ns < SLICE_NS ? left_ns : SLICE_NS),
		};

		if (left_ns == 0 || interrupt_ended() < 0)
			return EAI_INPROGRESS;
		gai_suspend(waited, 1, &slice);
		r = gai_error(&lookup->request);
	}
	return r;
}

/* A resolver that gets no descriptor only reports that the host is unknown. */
static int descriptor_error(void)
{
	FD_CLEANUP int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? errno : 0;
}

/* Takes the code of a look-up that is over. Returns 0 or -errno. */
static int judge_lookup(struct dial *dial, int code)
{
	int error = code != 0 ? descriptor_error() : 0;

	if (code == EAI_MEMORY)
		error = ENOMEM;
	if (error != 0)
		return fail_here(dial, error, report_why(error));
	/* The errno that belongs to it is that of the resolver's thread. */
	if (code == EAI_SYSTEM)
		return fail_here(dial, 0, "the resolver failed on this side");
	return code != 0 ? fail(dial, 0, gai_strerror(code)) : 0;
}

static int resolve_host(const struct address_spec *target, const struct dial_options *options,
			struct dial *dial)
{
	struct lookup *lookup = lookup_new(target, options);
	int r;

	if (!lookup)
		return fail_here(dial, ENOMEM, strerror(ENOMEM));
	r = look_up(lookup, options);
	if (r == EAI_INPROGRESS) {
		if (gai_cancel(&lookup->request) == EAI_CANCELED)
			free(lookup);
		if (interrupt_ended() < 0)
			return fail(dial, -interrupt_ended(), strerror(-interrupt_ended()));
		return fail(dial, ETIMEDOUT, "no answer from the resolver in time");
	}
	if (r == 0)
		take_list(lookup->request.ar_result, dial);
	if (lookup->request.ar_result)
		freeaddrinfo(lookup->request.ar_result);
	free(lookup);
	return judge_lookup(dial, r);
}

int dial_resolve(const struct address_spec *target, const struct dial_options *options,
		 struct dial *ret_dial)
{
	int r = 0;

	*ret_dial = (struct dial){ .fd = -1, .phase = DIAL_RESOLVE, .started_ns = clock_now_ns() };
	if (target->is_unix)
		take_unix(target, ret_dial);
	else
		r = resolve_host(target, options, ret_dial);
	ret_dial->resolved_ns = clock_now_ns();
	if (r == 0)
		ret_dial->phase = DIAL_CONNECT;
	return r;
}
