/* SPDX-License-Identifier: MIT */
/* Control data of datagrams: ip(7), ipv6(7), udp(7), RFC 3542. */
#include "datagram/datagram.h"

#include <assert.h>
#include <endian.h>
#include <netinet/udp.h>
#include <string.h>

static_assert(CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(struct in6_pktinfo)) +
	      3 * CMSG_SPACE(sizeof(int)) <= RECEPTION_CONTROL_BYTES, "all at once");

/*
 * The address in the header is the one to answer from, or else a broadcast or multicast one. What
 * came before the socket had IP_PKTINFO, as the datagram that inetd(8) starts us for, does not have
 * the one to answer from. Then the kernel refuses to send from a broadcast address of a network.
 */
static void read_local_ipv4(struct reception *reception, const uint8_t *data)
{
	struct in_pktinfo info;

	memcpy(&info, data, sizeof(info));
	reception->has_local = true;
	reception->local.ipv4 = info.ipi_addr;
	reception->is_unicast = info.ipi_spec_dst.s_addr == INADDR_ANY ?
		!IN_MULTICAST(be32toh(info.ipi_addr.s_addr)) &&
			info.ipi_addr.s_addr != INADDR_BROADCAST :
		info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
}

/* An answer keeps the interface only if its address is meaningless without it. */
static void read_local_ipv6(struct reception *reception, const uint8_t *data)
{
	struct in6_pktinfo info;

	memcpy(&info, data, sizeof(info));
	reception->local.ipv6 = info.ipi6_addr;
	reception->has_local = true;
	reception->is_unicast = !IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
	if (reception->address[0] == 0xfe && (reception->address[1] & 0xc0) == 0x80)
		reception->interface = info.ipi6_ifindex;
}

static void read_ipv4(struct reception *reception, int type, const uint8_t *data, size_t size)
{
	if (type == IP_PKTINFO && size >= sizeof(struct in_pktinfo))
		read_local_ipv4(reception, data);
	else if (type == IP_TOS && size >= 1)
		reception->tos = data[0];
}

static void read_ipv6(struct reception *reception, int type, const uint8_t *data, size_t size)
{
	int class;

	/* an IPv4 datagram on an IPv6 socket has IP_PKTINFO too, which says more */
	if (reception->peer.family == ENDPOINT_INET)
		return;
	if (type == IPV6_PKTINFO && size >= sizeof(struct in6_pktinfo))
		read_local_ipv6(reception, data);
	if (type == IPV6_TCLASS && size >= sizeof(class)) {
		memcpy(&class, data, sizeof(class));
		reception->tos = (uint8_t)class;
	}
}

static void read_udp(struct reception *reception, int type, const uint8_t *data, size_t size)
{
	int segment;

	if (type != UDP_GRO || size < sizeof(segment))
		return;
	memcpy(&segment, data, sizeof(segment));
	reception->segment = segment > 0 && segment <= (int)UINT16_MAX ? (uint16_t)segment : 0;
}

static void read_control(struct reception *reception, const struct cmsghdr *header)
{
	const uint8_t *data = CMSG_DATA(header);
	size_t size = header->cmsg_len - CMSG_LEN(0);

	if (header->cmsg_level == IPPROTO_IP)
		read_ipv4(reception, header->cmsg_type, data, size);
	else if (header->cmsg_level == IPPROTO_IPV6)
		read_ipv6(reception, header->cmsg_type, data, size);
	else if (header->cmsg_level == IPPROTO_UDP)
		read_udp(reception, header->cmsg_type, data, size);
}

bool reception_read(const struct msghdr *message, struct reception *ret_reception)
{
	const uint8_t *control = message->msg_control;
	size_t left = message->msg_controllen;

	*ret_reception = (struct reception){ .is_unicast = true };
	endpoint_set(&ret_reception->peer, message->msg_name);
	if (!endpoint_address(&ret_reception->peer, ret_reception->address))
		return false;
	while (left >= sizeof(struct cmsghdr)) {
		const struct cmsghdr *header = (const void *)control;
		size_t space;

		if (header->cmsg_len < sizeof(*header) || header->cmsg_len > left)
			break;
		read_control(ret_reception, header);
		space = CMSG_ALIGN(header->cmsg_len);
		if (space > left)
			break;
		control += space;
		left -= space;
	}
	return true;
}

/* Appends one; returns the bytes that it takes. Inline, so that the compiler knows the size. */
static inline __attribute__((always_inline)) size_t put(void *control, int level, int type,
							 const void *data, size_t size)
{
	struct cmsghdr *header = control;

	*header = (struct cmsghdr){ .cmsg_level = level, .cmsg_type = type };
	header->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(header), data, size);
	return CMSG_SPACE(size);
}

size_t reception_answer(const struct reception *reception, void *control)
{
	const struct in_pktinfo info = { .ipi_spec_dst = reception->local.ipv4 };
	const struct in6_pktinfo info6 = { .ipi6_addr = reception->local.ipv6,
					   .ipi6_ifindex = reception->interface };
	const bool is_ipv4 = reception->peer.family == ENDPOINT_INET;
	const int level = is_ipv4 ? IPPROTO_IP : IPPROTO_IPV6, class = reception->tos;
	uint8_t *end = control;

	if (reception->has_local && is_ipv4)
		end += put(end, level, IP_PKTINFO, &info, sizeof(info));
	else if (reception->has_local)
		end += put(end, level, IPV6_PKTINFO, &info6, sizeof(info6));
	if (class != 0)
		end += put(end, level, is_ipv4 ? IP_TOS : IPV6_TCLASS, &class, sizeof(class));
	if (reception->segment != 0)
		end += put(end, IPPROTO_UDP, UDP_SEGMENT, &reception->segment,
			   sizeof(reception->segment));
	return (size_t)(end - (uint8_t *)control);
}
