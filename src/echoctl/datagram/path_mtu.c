/* SPDX-License-Identifier: MIT */
/* Path MTU discovery by probes of the application (RFC 8899). */
#include "echoctl/datagram/path_mtu.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "echoctl/datagram/trial.h"
#include "echoctl/probe/interrupt.h"

#define BASE_BYTES 1200		/* RFC 8899, 5.1.2: BASE_PLPMTU */
#define PACKET_MAX_BYTES 65535
#define IPV4_BYTES (20 + 8)	/* headers of IP and UDP */
#define IPV6_BYTES (40 + 8)
#define TIMEOUT_MIN_NS UINT64_C(200000000)
#define TIMES_RTT 4

struct search {
	struct datagram_probe probe;
	uint32_t headers_bytes;
	uint64_t timeout_ns;
	uint32_t passes;		/* the largest packet known to pass; 0: none */
	uint32_t fails;			/* the smallest known not to */
	bool black_hole;		/* nothing is said of what fails */
	struct path_mtu mtu;
};

static void take_pass(struct search *search, uint32_t bytes, const struct datagram_trial *trial)
{
	uint64_t patience_ns = TIMES_RTT * trial->time_ns;

	if (patience_ns < TIMEOUT_MIN_NS)
		patience_ns = TIMEOUT_MIN_NS;
	if (patience_ns < search->timeout_ns)
		search->timeout_ns = patience_ns;
	search->passes = bytes;
	search->mtu.return_fragment_bytes = trial->event.fragment_bytes;
}

/* Notes that packets of this size are too big. Returns the size that a router names, or 0. */
static uint32_t take_failure(struct search *search, uint32_t bytes,
			     const struct datagram_trial *trial)
{
	char from[ADDRESS_HOST_MAX] = "an unknown host";
	uint32_t hint = trial->came ? trial->event.mtu_bytes : 0;

	search->fails = bytes;
	search->black_hole = trial->error == -ETIMEDOUT;
	if (search->black_hole)
		return 0;
	if (!trial->came) {
		snprintf(search->mtu.forward_why, sizeof(search->mtu.forward_why),
			 "this machine's interface");
		return 0;
	}
	getnameinfo((const struct sockaddr *)&trial->event.from.address, trial->event.from.length,
		    from, sizeof(from), NULL, 0, NI_NUMERICHOST);
	snprintf(search->mtu.forward_why, sizeof(search->mtu.forward_why),
		 "fragmentation needed from %.80s", from);
	if (hint <= search->passes || hint >= bytes)
		return 0;
	search->fails = hint + 1;
	return hint;
}

int path_mtu_find(struct datagram_socket *socket, uint64_t timeout_us, struct path_mtu *ret_mtu)
{
	struct search search = {
		.probe.run = datagram_run(),
		.headers_bytes = socket->peer.address.ss_family == AF_INET ? IPV4_BYTES :
			IPV6_BYTES,
		.timeout_ns = timeout_us * 1000,
		.fails = PACKET_MAX_BYTES + 1,
		.mtu.forward_why = "the largest packet that there is",
	};
	uint32_t next = BASE_BYTES;
	int r = 0;

	/* A smaller packet has no room for the header that tells a probe from others. */
	search.passes = search.headers_bytes + DATAGRAM_HEADER_BYTES - 1;
	while (r == 0 && search.passes + 1 < search.fails) {
		struct datagram_trial trial;
		uint32_t hint = 0;

		search.probe.size_bytes = next - search.headers_bytes;
		r = datagram_try_thrice(socket, &search.probe, search.timeout_ns, &trial);
		if (r == 0) {
			take_pass(&search, next, &trial);
		} else if ((r == -EMSGSIZE || r == -ETIMEDOUT) && interrupt_ended() == 0) {
			hint = take_failure(&search, next, &trial);
			r = 0;
		}
		next = hint > 0 ? hint : search.passes + (search.fails - search.passes) / 2;
	}
	search.mtu.forward_bytes = search.passes;
	if (search.passes < search.headers_bytes + DATAGRAM_HEADER_BYTES)
		search.mtu.forward_bytes = 0;
	if (search.black_hole)
		snprintf(search.mtu.forward_why, sizeof(search.mtu.forward_why),
			 "black hole above %u", search.mtu.forward_bytes);
	*ret_mtu = search.mtu;
	return r;
}
