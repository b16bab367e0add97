/* SPDX-License-Identifier: MIT */
/* Reference for the benchmark: recvmmsg and sendmmsg in a bare loop, no rules: the upper limit. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BATCH 32u
#define DATAGRAM_BYTES 65536u

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in peers[BATCH];
static unsigned char bytes[BATCH][DATAGRAM_BYTES];

static void serve(int fd)
{
	for (;;) {
		int n;

		for (unsigned i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){ bytes[i], DATAGRAM_BYTES };
			messages[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
							       .msg_namelen = sizeof(peers[i]),
							       .msg_iov = &parts[i],
							       .msg_iovlen = 1 };
		}
		n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			parts[i].iov_len = messages[i].msg_len;
		if (n > 0)
			(void)sendmmsg(fd, messages, (unsigned)n, MSG_DONTWAIT);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;

	if (argc != 2 || fd < 0) {
		fputs("usage: bench-datagram-server PORT\n", stderr);
		return 2;
	}
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror("bench-datagram-server: bind");
		return 1;
	}
	serve(fd);
}
