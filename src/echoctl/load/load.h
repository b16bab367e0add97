/* SPDX-License-Identifier: MIT */
/*
 * Many connections at once: the settings, what the processes share, and the state of one of them.
 */
#ifndef ECHOCTL_LOAD_LOAD_H
#define ECHOCTL_LOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/datagram/probe.h"
#include "echoctl/datagram/socket.h"
#include "echoctl/dial/dial.h"
#include "echoctl/output/histogram.h"
#include "echoctl/output/report.h"
#include "echoctl/output/series.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/require.h"
#include "echoctl/probe/schedule.h"

#define LOAD_PROCESSES_MAX 16
#define LOAD_WINDOW_BITS 10	/* of a datagram's number, for its place in the window */
#define LOAD_WINDOW_MAX (1u << LOAD_WINDOW_BITS)

/* Where an echo failed. */
enum load_phase {
	LOAD_CONNECT,
	LOAD_SEND,
	LOAD_ECHO,	/* nothing came back, or not in time, or the peer closed */
	LOAD_VERIFY,	/* other bytes came back */
	LOAD_EOF,	/* with a connection for each message: the peer's FIN did not follow */
	LOAD_PHASES,
};

/* Set before the first fork, then only read. */
struct load {
	struct dial_address target;
	struct dial_options dial;	/* its timeout is the one for each attempt to connect */
	uint64_t processes;
	uint64_t connections;		/* with udp: flows */
	bool udp;
	uint64_t window;		/* messages on their way over each; 1 without udp */
	uint64_t messages;		/* 0: as many as there is time for */
	uint64_t rate;			/* messages a second; 0: closed loop */
	uint64_t size_bytes;
	uint64_t duration_us;
	uint64_t timeout_us;		/* for one message */
	bool reconnect;			/* a connection for each message */
	const uint8_t *table;		/* payload_table_new() */
	struct load_shared *shared;
	struct load_flow_tally *flows;	/* in that memory; each processes-th is of one process */
	/* Used by the parent only: where it reports. */
	struct report *report;
	struct require require;
	struct series series;
	const char *named;		/* the target as the user did */
	char peer[ADDRESS_TEXT_MAX];
	bool progress;			/* the live line is wanted */
	bool terminal;			/* and may be rewritten in place */
};

/* What one process counts; the parent reads it while it runs. */
struct load_tally {
	uint64_t bytes;			/* verified */
	uint64_t connections;		/* made */
	uint64_t open;			/* now */
	uint64_t begun;			/* messages, with those that failed to connect */
	uint64_t last_ns;		/* when a message has last begun, failed to, or passed */
	uint64_t stopped_ns;		/* how long the process was stopped */
	uint64_t not_begun;		/* due before the end, with no connection free for it */
	uint64_t errors[LOAD_PHASES];	/* messages that failed: none of them is in raw */
	int reasons[LOAD_PHASES];	/* the latest -errno of each */
	uint64_t stamped;		/* UDP: verified, with times of the kernel */
	uint64_t unstamped;		/* and without */
	bool ready;			/* each connection was tried once */
	struct histogram raw;		/* from sending to the echo, of what was verified */
	struct histogram corrected;	/* from when the message was due; with a rate only */
	struct histogram connect;
	uint64_t retransmits;		/* as the kernel counts them, tcp(7) */
	struct histogram tcp_rtt;	/* the smoothed one of each connection at its end */
};

/* The same of one flow: a source port of UDP. */
struct load_flow_tally {
	uint64_t port;			/* 0: it has no socket yet */
	uint64_t sent;
	uint64_t lost;			/* nothing came back, or an ICMP error */
};

/* Shared memory of all processes; behind the tallies those of all flows. */
struct load_shared {
	uint64_t start_ns;		/* 0: not yet */
	bool stop;			/* leave at once */
	struct load_tally tallies[];
};

/* The whole life of process number index of load->processes. Returns 0 or -errno. */
int load_work(const struct load *load, uint64_t index);

enum load_state {
	CLOSED,		/* to be opened at the next sweep */
	CONNECTING,
	IDLE,
	ECHOING,
	CLOSING,	/* our FIN is out, the peer's is awaited */
};

/* A UDP socket; its messages are connections, window of them for each flow. */
struct load_flow {
	struct datagram_socket socket;
	struct datagram_probe probe;	/* the latest */
	struct load_flow_tally *tally;
	struct load_connection *connections;
};

/* With UDP one message at a time: fd is -1 then, and state IDLE, ECHOING or CLOSED. */
struct load_connection {
	enum load_state state;
	struct load_flow *flow;		/* UDP, else NULL */
	uint32_t sequence;		/* UDP: of the latest message */
	int fd;
	bool tried;			/* it was open once, or its first attempt has failed */
	bool queued;			/* is in the idle queue, even if closed since */
	bool active;			/* carries a message */
	bool writes;			/* EPOLLOUT is asked for */
	uint64_t message;		/* how many it has begun */
	uint32_t retransmits;		/* those in the tally */
	struct exchange exchange;	/* of the latest message */
	uint64_t began_ns;		/* of connecting or of the message */
	uint64_t due_ns;
	uint64_t echoed_ns;		/* when the whole echo had come */
	uint64_t stopped_ns;		/* how long since began_ns this process was stopped */
	struct load_connection *next;	/* in the idle queue */
};

struct load_worker {
	const struct load *load;
	struct load_tally *tally;
	uint64_t index;
	struct load_connection *connections;
	size_t n_connections;
	struct load_flow *flows;	/* UDP */
	size_t n_flows;
	uint8_t *datagram;		/* the one that is sent */
	struct load_connection *idle_first;
	struct load_connection *idle_last;
	size_t connecting;
	size_t active;			/* messages under way */
	uint64_t quota;
	uint64_t dealt;			/* messages of the schedule that have begun */
	struct schedule schedule;	/* events of all processes; ours are every n-th */
	uint64_t end_ns;		/* nothing begins after it; 0: before the start */
	uint64_t sweep_ns;
	uint64_t awake_ns;		/* last seen awake, or when it is to wake up; 0: not yet */
	int epoll_fd;
	int error;			/* -errno: this side cannot go on */
};

/* Takes events of epoll(7). */
void load_worker_take(struct load_worker *worker, struct load_connection *connection,
		      uint32_t events);

#endif
