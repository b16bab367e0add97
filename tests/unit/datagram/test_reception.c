/* SPDX-License-Identifier: MIT */
/* Control data of datagrams: what is read of it, and what an answer gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/udp.h>

#include "datagram/datagram.h"

struct arrived {
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	} peer;
	_Alignas(struct cmsghdr) uint8_t control[512];
	struct msghdr message;
};

static void arrive(struct arrived *arrived, int family, const char *peer)
{
	void *address = family == AF_INET6 ? (void *)&arrived->peer.in6.sin6_addr :
					     (void *)&arrived->peer.in.sin_addr;

	*arrived = (struct arrived){ .message = { .msg_name = &arrived->peer,
						  .msg_control = arrived->control } };
	arrived->peer.storage.ss_family = (sa_family_t)family;
	arrived->peer.in.sin_port = htons(4000);
	assert_int_equal(inet_pton(family, peer, address), 1);
}

static void add(struct arrived *arrived, int level, int type, const void *data, size_t size)
{
	struct cmsghdr *header =
		(void *)(arrived->control + arrived->message.msg_controllen);

	*header = (struct cmsghdr){ .cmsg_level = level, .cmsg_type = type };
	header->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(header), data, size);
	arrived->message.msg_controllen += CMSG_SPACE(size);
}

static void add_pktinfo(struct arrived *arrived, const char *addr, const char *spec_dst)
{
	struct in_pktinfo info = { .ipi_ifindex = 7 };

	assert_int_equal(inet_pton(AF_INET, addr, &info.ipi_addr), 1);
	assert_int_equal(inet_pton(AF_INET, spec_dst, &info.ipi_spec_dst), 1);
	add(arrived, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

static void add_pktinfo6(struct arrived *arrived, const char *addr)
{
	struct in6_pktinfo info = { .ipi6_ifindex = 7 };

	assert_int_equal(inet_pton(AF_INET6, addr, &info.ipi6_addr), 1);
	add(arrived, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

static void test_ipv4(void **state)
{
	const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
	const uint8_t tos = 0xb9;
	const int segment = 1400;
	struct reception reception;
	struct arrived arrived;

	(void)state;
	arrive(&arrived, AF_INET, "192.0.2.1");
	add_pktinfo(&arrived, "127.0.0.2", "127.0.0.2");
	add(&arrived, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	add(&arrived, IPPROTO_UDP, UDP_GRO, &segment, sizeof(segment));
	assert_true(reception_read(&arrived.message, &reception));
	assert_memory_equal(reception.address, mapped, 16);
	assert_int_equal(reception.peer.port, 4000);
	assert_int_equal(reception.peer.family, ENDPOINT_INET);
	assert_true(reception.has_local && reception.is_unicast);
	assert_int_equal(reception.local.ipv4.s_addr, inet_addr("127.0.0.2"));
	assert_int_equal(reception.tos, 0xb9);
	assert_int_equal(reception.segment, 1400);
}

static void test_broadcast(void **state)
{
	struct reception reception;
	struct arrived arrived;

	(void)state;
	arrive(&arrived, AF_INET, "192.0.2.1");
	add_pktinfo(&arrived, "192.0.2.255", "192.0.2.9");
	assert_true(reception_read(&arrived.message, &reception));
	assert_false(reception.is_unicast);
	/* before the socket had the option */
	arrive(&arrived, AF_INET, "192.0.2.1");
	add_pktinfo(&arrived, "192.0.2.9", "0.0.0.0");
	assert_true(reception_read(&arrived.message, &reception));
	assert_true(reception.is_unicast);
	assert_int_equal(reception.local.ipv4.s_addr, inet_addr("192.0.2.9"));
	arrive(&arrived, AF_INET, "192.0.2.1");
	add_pktinfo(&arrived, "224.0.0.1", "0.0.0.0");
	assert_true(reception_read(&arrived.message, &reception));
	assert_false(reception.is_unicast);
	arrive(&arrived, AF_INET, "192.0.2.1");
	add_pktinfo(&arrived, "255.255.255.255", "0.0.0.0");
	assert_true(reception_read(&arrived.message, &reception));
	assert_false(reception.is_unicast);
	arrive(&arrived, AF_INET6, "2001:db8::1");
	add_pktinfo6(&arrived, "ff02::1");
	assert_true(reception_read(&arrived.message, &reception));
	assert_false(reception.is_unicast);
}

static void test_interface(void **state)
{
	struct reception reception;
	struct arrived arrived;

	(void)state;
	arrive(&arrived, AF_INET6, "2001:db8::1");
	add_pktinfo6(&arrived, "2001:db8::2");
	assert_true(reception_read(&arrived.message, &reception));
	assert_int_equal(reception.interface, 0);	/* the route decides */
	arrive(&arrived, AF_INET6, "fe80::1");
	add_pktinfo6(&arrived, "fe80::2");
	assert_true(reception_read(&arrived.message, &reception));
	assert_int_equal(reception.interface, 7);
}

/* An IPv4 datagram on an IPv6 socket has the data of both; the answer gets those of IPv4. */
static void test_mapped(void **state)
{
	_Alignas(struct cmsghdr) uint8_t control[RECEPTION_CONTROL_BYTES] = { 0 };
	const struct cmsghdr *header = (const void *)control;
	struct reception reception;
	struct arrived arrived;

	(void)state;
	arrive(&arrived, AF_INET6, "::ffff:192.0.2.1");
	add_pktinfo6(&arrived, "::ffff:192.0.2.9");
	add_pktinfo(&arrived, "192.0.2.9", "192.0.2.9");
	assert_true(reception_read(&arrived.message, &reception));
	assert_int_equal(reception.peer.family, ENDPOINT_INET);
	assert_int_equal(reception_answer(&reception, control),
			 CMSG_SPACE(sizeof(struct in_pktinfo)));
	assert_int_equal(header->cmsg_level, IPPROTO_IP);
	assert_int_equal(header->cmsg_type, IP_PKTINFO);
}

static void test_answer(void **state)
{
	_Alignas(struct cmsghdr) uint8_t control[RECEPTION_CONTROL_BYTES] = { 0 };
	struct reception again, reception = { .peer.family = ENDPOINT_INET6, .has_local = true,
					      .tos = 0x28, .segment = 1200 };
	struct arrived arrived;
	const size_t segment_bytes = RECEPTION_SEGMENT_BYTES;
	size_t size;

	(void)state;
	reception.local.ipv6.s6_addr[15] = 1;
	size = reception_answer(&reception, control);
	assert_int_equal(size, segment_bytes + CMSG_SPACE(sizeof(int)) +
				       CMSG_SPACE(sizeof(struct in6_pktinfo)));
	/* what was written is what would be read */
	arrive(&arrived, AF_INET6, "2001:db8::1");
	memcpy(arrived.control, control, size - segment_bytes);
	arrived.message.msg_controllen = size - segment_bytes;
	assert_true(reception_read(&arrived.message, &again));
	assert_int_equal(again.tos, 0x28);
	assert_memory_equal(&again.local, &reception.local, sizeof(again.local));
}

static void test_broken(void **state)
{
	const size_t lengths[] = { 3, sizeof(struct cmsghdr) - 1, CMSG_LEN(1) + 20, SIZE_MAX };
	const uint8_t byte = 1;
	struct reception reception;
	struct arrived arrived;
	struct cmsghdr *header = (void *)arrived.control;

	(void)state;
	arrive(&arrived, AF_INET, "192.0.2.1");
	add(&arrived, IPPROTO_IP, IP_PKTINFO, &byte, sizeof(byte));
	assert_true(reception_read(&arrived.message, &reception));
	assert_false(reception.has_local);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		header->cmsg_len = lengths[i];
		assert_true(reception_read(&arrived.message, &reception));
		assert_false(reception.has_local);
	}
	arrive(&arrived, AF_INET6, "2001:db8::1");
	add(&arrived, IPPROTO_IPV6, IPV6_PKTINFO, &byte, sizeof(byte));
	add(&arrived, IPPROTO_IPV6, IPV6_TCLASS, &byte, sizeof(byte));
	add(&arrived, IPPROTO_UDP, UDP_GRO, &byte, sizeof(byte));
	assert_true(reception_read(&arrived.message, &reception));
	assert_false(reception.has_local);
	assert_int_equal(reception.tos, 0);
	assert_int_equal(reception.segment, 0);
	arrived.message.msg_controllen = 7;
	assert_true(reception_read(&arrived.message, &reception));
	arrived.peer.storage.ss_family = AF_UNIX;
	assert_false(reception_read(&arrived.message, &reception));
}

/* The size of pieces is a number of the kernel that has to fit into 16 bits. */
static void test_segment(void **state)
{
	const struct { int told; uint16_t read; } cases[] = {
		{ 0, 0 }, { -1, 0 }, { 1, 1 }, { 65535, 65535 }, { 65536, 0 }, { 66936, 0 },
	};
	struct reception reception;
	struct arrived arrived;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		arrive(&arrived, AF_INET, "192.0.2.1");
		add(&arrived, IPPROTO_UDP, UDP_GRO, &cases[i].told, sizeof(cases[i].told));
		assert_true(reception_read(&arrived.message, &reception));
		assert_int_equal(reception.segment, cases[i].read);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4),	  cmocka_unit_test(test_broadcast),
		cmocka_unit_test(test_interface), cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_answer),	  cmocka_unit_test(test_broken),
		cmocka_unit_test(test_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
