/* SPDX-License-Identifier: MIT */
/* What the kernel knows of a connection's path (tcp(7), TCP_INFO). */
#ifndef ECHOCTL_DIAL_TCP_INFO_H
#define ECHOCTL_DIAL_TCP_INFO_H

#include <stdint.h>

#include "echoctl/output/report.h"

struct path_info {
	uint64_t rtt_ns;
	uint64_t rtt_deviation_ns;
	uint32_t retransmits;	/* segments sent again, over the whole connection */
	uint32_t pmtu_bytes;
	uint32_t send_mss_bytes;
	uint32_t receive_mss_bytes;
};

/* Returns 0 or -errno; -EOPNOTSUPP for what is no TCP connection. */
int path_info_get(int fd, struct path_info *ret_info);

/* As one line for people, as a member "tcp_info" for programs (info NULL: null). */
void path_info_report(struct report *report, const struct path_info *info);
void path_info_record(struct record *record, const struct path_info *info);

#endif
