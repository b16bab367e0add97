/* SPDX-License-Identifier: MIT */
/*
 * The path of a datagram: whatever stands in its address and control data, what is made of it
 * stays in its bounds, and the judge never lets more pass than came.
 */
#include <string.h>

#include "datagram/datagram.h"
#include "fuzz.h"

struct block {
	struct settings settings;
	struct settings_socket socket;
};

static struct block block = {
	.settings = { .socket_count = 1, .access_default_allow = 1, .source_prefix_ipv4 = 32,
		      .source_prefix_ipv6 = 64, .datagram_min_source_port = 1024,
		      .datagram_rate_per_source = 10, .datagram_rate_burst = 10,
		      .datagram_rate = 100 },
	.socket = { .type = SETTINGS_DATAGRAM, .port = 7 },
};

static void check_judge(const struct reception *reception, uint32_t count, uint64_t now_ns)
{
	static struct judge judge;
	enum drop_reason reason = DROP_COUNT;
	uint32_t passed;

	if (!judge.settings)
		judge_init(&judge, &block.settings, 1, 1);
	passed = judge_datagrams(&judge, &block.socket, reception, count, now_ns, &reason);
	FUZZ_CHECK(passed <= count);
	FUZZ_CHECK(passed == count || reason < DROP_UNSENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_Alignas(struct cmsghdr) uint8_t control[512];
	_Alignas(struct cmsghdr) uint8_t answer[RECEPTION_CONTROL_BYTES];
	struct sockaddr_storage peer = {0};
	struct reception reception;
	struct msghdr message = { .msg_name = &peer, .msg_control = control };
	size_t answer_bytes;

	if (size < 1 + sizeof(struct sockaddr_in6))
		return 0;
	message.msg_namelen = bytes[0];
	memcpy(&peer, bytes + 1, sizeof(struct sockaddr_in6));
	bytes += 1 + sizeof(struct sockaddr_in6);
	size -= 1 + sizeof(struct sockaddr_in6);
	message.msg_controllen = size < sizeof(control) ? size : sizeof(control);
	memcpy(control, bytes, message.msg_controllen);
	if (!reception_read(&message, &reception))
		return 0;
	answer_bytes = reception_answer(&reception, answer);
	FUZZ_CHECK(answer_bytes <= sizeof(answer));
	check_judge(&reception, (uint32_t)size, size * 1000000ull);
	return 0;
}
