/* SPDX-License-Identifier: MIT */
/* UDP sockets with their error queue (ip(7), IP_RECVERR) and times of the kernel. */
#include "echoctl/datagram/socket.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "echoctl/datagram/probe.h"

#define ATTEMPTS 8		/* a pending error belongs to an earlier datagram */

/* Not in the headers of every C library (linux/in.h, linux/in6.h). */
#ifndef IP_RECVFRAGSIZE
#define IP_RECVFRAGSIZE 25
#endif
#ifndef IPV6_RECVFRAGSIZE
#define IPV6_RECVFRAGSIZE 77
#endif

struct datagram_stamps {
	uint32_t next;			/* number that the kernel gives the next datagram */
	uint32_t count;			/* of slots */
	struct {
		uint32_t numbered;	/* sequence of the datagram with that number */
		uint32_t sequence;
		uint64_t sent_ns;	/* of the datagram with that sequence */
	} slots[];			/* a number or a sequence has the one that it falls on */
};

static void set(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* From now on the kernel counts datagrams from 0. */
static void start_stamps(struct datagram_socket *socket)
{
	const int flags = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE |
		SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
		SOF_TIMESTAMPING_OPT_TSONLY | SOF_TIMESTAMPING_OPT_CMSG;

	socket->stamps->next = 0;
	set(socket->fd, SOL_SOCKET, SO_TIMESTAMPING, 0);
	set(socket->fd, SOL_SOCKET, SO_TIMESTAMPING, flags);
}

static void ask_all(int fd, int family, bool whole)
{
	if (family == AF_INET) {
		set(fd, IPPROTO_IP, IP_RECVERR, 1);
		set(fd, IPPROTO_IP, IP_RECVTOS, 1);
		set(fd, IPPROTO_IP, IP_RECVTTL, 1);
		set(fd, IPPROTO_IP, IP_RECVFRAGSIZE, 1);
		if (whole)
			set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	} else {
		set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
		set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
		set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
		set(fd, IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 1);
		if (whole)
			set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
	}
}

int datagram_open(int fd, const struct dial_address *peer, unsigned flags, uint32_t stamps,
		  struct datagram_socket *ret_socket)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	struct datagram_socket socket = {
		.fd = fd, .peer = *peer, .connected = !(flags & DATAGRAM_UNCONNECTED),
	};

	ask_all(fd, peer->address.ss_family, flags & DATAGRAM_WHOLE);
	if (!socket.connected && connect(fd, &nobody, sizeof(nobody)) < 0)
		return -errno;
	if (stamps > 0) {
		socket.stamps = calloc(1, sizeof(*socket.stamps) +
				       stamps * sizeof(*socket.stamps->slots));
		if (!socket.stamps)
			return -ENOMEM;
		socket.stamps->count = stamps;
		start_stamps(&socket);
	}
	*ret_socket = socket;
	return 0;
}

void datagram_close(struct datagram_socket *socket)
{
	free(socket->stamps);
	socket->stamps = NULL;
}

int datagram_send(struct datagram_socket *socket, uint32_t sequence, const uint8_t *bytes,
		  size_t size)
{
	const struct sockaddr *to = socket->connected ? NULL :
		(const struct sockaddr *)&socket->peer.address;
	struct datagram_stamps *stamps = socket->stamps;
	ssize_t sent = -1;
	int error = 0;

	/* The next call reports an earlier ICMP error, which stays in the queue. */
	for (int i = 0; i < ATTEMPTS && sent < 0; i++) {
		sent = sendto(socket->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL, to,
			      to ? socket->peer.length : 0);
		error = errno;
		if (sent < 0 && (error == EMSGSIZE || error == EAGAIN || error == ENOBUFS))
			break;
	}
	if (sent >= 0 && stamps)
		stamps->slots[stamps->next++ % stamps->count].numbered = sequence;
	/* Some kernels count a datagram that failed, others do not. */
	else if (stamps)
		start_stamps(socket);
	return sent < 0 ? -error : 0;
}

/* Contents of the control data of an event. */
struct told {
	const struct sock_extended_err *error;
	const struct scm_timestamping *stamp;
};

static int number_of(struct cmsghdr *control)
{
	int number = 0;
	size_t length = control->cmsg_len - CMSG_LEN(0);

	/* IP_TOS is one byte. */
	if (length == 1)
		return *CMSG_DATA(control);
	memcpy(&number, CMSG_DATA(control), length < sizeof(number) ? length : sizeof(number));
	return number;
}

static void take_control(struct cmsghdr *control, struct datagram_event *event, struct told *told)
{
	bool ip = control->cmsg_level == IPPROTO_IP;
	int type = control->cmsg_type;

	if (control->cmsg_level == SOL_SOCKET) {
		if (type == SCM_TIMESTAMPING)
			told->stamp = (const void *)CMSG_DATA(control);
	} else if (type == (ip ? IP_RECVERR : IPV6_RECVERR)) {
		told->error = (const void *)CMSG_DATA(control);
	} else if (type == (ip ? IP_TOS : IPV6_TCLASS)) {
		event->tos = number_of(control);
	} else if (type == (ip ? IP_TTL : IPV6_HOPLIMIT)) {
		event->ttl = number_of(control);
	} else if (type == (ip ? IP_RECVFRAGSIZE : IPV6_RECVFRAGSIZE)) {
		event->fragment_bytes = (uint32_t)number_of(control);
	}
}

static ssize_t receive(int fd, int flags, struct datagram_event *event, struct told *told)
{
	static uint8_t buffer[65536];
	static _Alignas(struct cmsghdr) char control[512];
	struct iovec iov = {.iov_base = buffer, .iov_len = sizeof(buffer)};
	struct msghdr message = {
		.msg_name = &event->from.address, .msg_namelen = sizeof(event->from.address),
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t size = recvmsg(fd, &message, flags | MSG_DONTWAIT);

	if (size < 0)
		return -errno;
	event->from.length = message.msg_namelen;
	event->bytes = buffer;
	event->size_bytes = (size_t)size;
	for (struct cmsghdr *i = CMSG_FIRSTHDR(&message); i; i = CMSG_NXTHDR(&message, i))
		take_control(i, event, told);
	return size;
}

static uint64_t stamp_ns(const struct scm_timestamping *stamp)
{
	if (!stamp)
		return 0;
	return (uint64_t)stamp->ts[0].tv_sec * CLOCK_NS_PER_S + (uint64_t)stamp->ts[0].tv_nsec;
}

static void keep_stamp(struct datagram_stamps *stamps, uint32_t number, uint64_t ns)
{
	uint32_t sequence = stamps->slots[number % stamps->count].numbered;

	/* One from before the last start_stamps(), or from too long ago, cannot be identified. */
	if (stamps->next - number - 1 >= stamps->count)
		return;
	stamps->slots[sequence % stamps->count].sequence = sequence;
	stamps->slots[sequence % stamps->count].sent_ns = ns;
}

/* An ICMP error from the queue, all times of sending before it. As datagram_receive(). */
static int receive_error(struct datagram_socket *socket, struct datagram_event *event)
{
	for (;;) {
		struct told told = {0};
		const struct sockaddr *offender;
		ssize_t r = receive(socket->fd, MSG_ERRQUEUE, event, &told);

		if (r < 0)
			return r == -EAGAIN || r == -EINTR ? 0 : (int)r;
		if (!told.error)
			continue;
		if (told.error->ee_origin == SO_EE_ORIGIN_TIMESTAMPING && socket->stamps)
			keep_stamp(socket->stamps, told.error->ee_data, stamp_ns(told.stamp));
		if (told.error->ee_origin != SO_EE_ORIGIN_ICMP &&
		    told.error->ee_origin != SO_EE_ORIGIN_ICMP6)
			continue;
		/* SO_EE_OFFENDER() */
		offender = (const struct sockaddr *)(told.error + 1);
		event->from.length = offender->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
			sizeof(struct sockaddr_in6);
		memcpy(&event->from.address, offender, event->from.length);
		event->is_error = true;
		event->error = (int)told.error->ee_errno;
		event->type = told.error->ee_type;
		event->code = told.error->ee_code;
		event->mtu_bytes = told.error->ee_info;
		return 1;
	}
}

int datagram_receive(struct datagram_socket *socket, struct datagram_event *ret_event)
{
	int r;

	for (int i = 0; i < ATTEMPTS; i++) {
		struct datagram_event event = {.tos = -1, .ttl = -1};
		struct told told = {0};
		ssize_t size;

		r = receive_error(socket, &event);
		if (r == 0) {
			size = receive(socket->fd, 0, &event, &told);
			r = size < 0 ? (int)size : 1;
			event.received_ns = clock_now_ns();
			event.stamp_ns = stamp_ns(told.stamp);
		}
		if (r > 0)
			*ret_event = event;
		if (r > 0 || r == -EAGAIN)
			return r > 0;
		/* An error that has come between the two calls is in the queue. */
	}
	return r;
}

uint64_t datagram_choose_time(uint64_t user_ns, uint64_t sent_stamp_ns, uint64_t received_stamp_ns,
			      bool *ret_kernel)
{
	uint64_t kernel_ns = received_stamp_ns - sent_stamp_ns;

	/* The kernel's times lie between the user's, unless the time of day was set. */
	*ret_kernel = sent_stamp_ns > 0 && received_stamp_ns >= sent_stamp_ns &&
		kernel_ns <= user_ns;
	return *ret_kernel ? kernel_ns : user_ns;
}

uint64_t datagram_time_ns(const struct datagram_socket *socket, uint32_t sequence,
			  uint64_t sent_ns, const struct datagram_event *event, bool *ret_kernel)
{
	const struct datagram_stamps *stamps = socket->stamps;
	uint64_t sent_stamp_ns = 0;

	if (stamps && stamps->slots[sequence % stamps->count].sequence == sequence)
		sent_stamp_ns = stamps->slots[sequence % stamps->count].sent_ns;
	return datagram_choose_time(event->received_ns - sent_ns, sent_stamp_ns, event->stamp_ns,
				    ret_kernel);
}

const char *datagram_describe_error(const struct datagram_event *event,
				    char text[DATAGRAM_TEXT_MAX])
{
	char from[ADDRESS_HOST_MAX] = "an unknown host";
	char mtu[32] = "";

	if (event->error == EMSGSIZE)
		snprintf(mtu, sizeof(mtu), ", MTU %u bytes", event->mtu_bytes);
	getnameinfo((const struct sockaddr *)&event->from.address, event->from.length, from,
		    sizeof(from), NULL, 0, NI_NUMERICHOST);
	snprintf(text, DATAGRAM_TEXT_MAX, "%s (ICMP%s type %u, code %u from %.80s%s)",
		 strerror(event->error),
		 event->from.address.ss_family == AF_INET6 ? "v6" : "", event->type, event->code,
		 from, mtu);
	return text;
}

bool datagram_is_same(const struct dial_address *one, const struct dial_address *two)
{
	char texts[2][ADDRESS_TEXT_MAX];

	dial_address_format(one, texts[0]);
	dial_address_format(two, texts[1]);
	return strcmp(texts[0], texts[1]) == 0;
}
