/* SPDX-License-Identifier: MIT */
/* What the kernel knows of a connection's path. */
#include "echoctl/dial/tcp_info.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

#define NS_PER_US 1000u

int path_info_get(int fd, struct path_info *ret_info)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return -errno;
	*ret_info = (struct path_info){
		.rtt_ns = (uint64_t)info.tcpi_rtt * NS_PER_US,
		.rtt_deviation_ns = (uint64_t)info.tcpi_rttvar * NS_PER_US,
		.retransmits = info.tcpi_total_retrans,
		.pmtu_bytes = info.tcpi_pmtu,
		.send_mss_bytes = info.tcpi_snd_mss,
		.receive_mss_bytes = info.tcpi_rcv_mss,
	};
	return 0;
}

void path_info_report(struct report *report, const struct path_info *info)
{
	report_text(report, "%-12s rtt %.3f ms (deviation %.3f ms), %u retransmits, "
		    "path MTU %u bytes, MSS %u bytes there, %u back\n", "tcp-info",
		    (double)info->rtt_ns / 1e6, (double)info->rtt_deviation_ns / 1e6,
		    info->retransmits, info->pmtu_bytes, info->send_mss_bytes,
		    info->receive_mss_bytes);
}

void path_info_record(struct record *record, const struct path_info *info)
{
	struct record *child;

	if (info == NULL) {
		record_text(record, "tcp_info", NULL);
		return;
	}
	child = record_new(NULL);
	record_integer(child, "rtt_ns", (int64_t)info->rtt_ns);
	record_integer(child, "rtt_deviation_ns", (int64_t)info->rtt_deviation_ns);
	record_integer(child, "retransmits", info->retransmits);
	record_integer(child, "pmtu_bytes", info->pmtu_bytes);
	record_integer(child, "send_mss_bytes", info->send_mss_bytes);
	record_integer(child, "receive_mss_bytes", info->receive_mss_bytes);
	record_attach(record, "tcp_info", child);
}
