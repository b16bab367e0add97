/* SPDX-License-Identifier: MIT */
/*
 * Reference for the benchmark: recvmmsg and sendmmsg in a bare loop, no rules: the upper limit.
 * -1: one datagram a call. -g: what came merged (UDP_GRO) goes back merged (UDP_SEGMENT).
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 32u
#define DATAGRAM_BYTES 65536u

struct control {
	_Alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in peers[BATCH];
static struct control controls[BATCH];
static uint8_t bytes[BATCH][DATAGRAM_BYTES];

static void prepare(unsigned i, bool is_merged)
{
	parts[i] = (struct iovec){ bytes[i], DATAGRAM_BYTES };
	messages[i].msg_hdr = (struct msghdr){
		.msg_name = &peers[i],
		.msg_namelen = sizeof(peers[i]),
		.msg_iov = &parts[i],
		.msg_iovlen = 1,
		.msg_control = is_merged ? &controls[i] : NULL,
		.msg_controllen = is_merged ? sizeof(controls[i]) : 0,
	};
}

/* A received message becomes its answer: the size of the pieces is an int, and a uint16_t back. */
static void turn_round(unsigned i)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(&messages[i].msg_hdr);
	uint16_t segment;
	int received;

	parts[i].iov_len = messages[i].msg_len;
	if (!header)
		return;
	memcpy(&received, CMSG_DATA(header), sizeof(received));
	segment = (uint16_t)received;
	header->cmsg_type = UDP_SEGMENT;
	header->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(header), &segment, sizeof(segment));
}

static void serve(int fd, unsigned batch, bool is_merged)
{
	for (;;) {
		int n;

		for (unsigned i = 0; i < batch; i++)
			prepare(i, is_merged);
		n = recvmmsg(fd, messages, batch, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			turn_round((unsigned)i);
		if (n > 0)
			(void)sendmmsg(fd, messages, (unsigned)n, MSG_DONTWAIT);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20, on = 1, letter;
	unsigned batch = BATCH;
	bool is_merged = false;

	while ((letter = getopt(argc, argv, "1g")) != -1) {
		if (letter == '1')
			batch = 1;
		is_merged |= letter == 'g';
	}
	if (argc - optind != 1 || fd < 0) {
		fputs("usage: bench-datagram-server [-1] [-g] PORT\n", stderr);
		return 2;
	}
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(argv[optind]));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if ((is_merged && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) < 0) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror("bench-datagram-server");
		return 1;
	}
	serve(fd, batch, is_merged);
}
