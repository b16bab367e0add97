/* SPDX-License-Identifier: MIT */
/* Load modes over one connection: "ping" for latency, "stream" for throughput. */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CHUNK_BYTES (1024u * 1024u)	/* large ones cost us less: the server is measured */
#define PERIOD_BYTES 16381u	/* prime: what is lost or doubled shifts the pattern visibly */
#define MAX_SAMPLES 2000000u

static int dial(const struct load_options *options, int *ret_fd)
{
	struct timeval patience = {
		.tv_sec = (time_t)(options->stall_ns / 1000000000u),
		.tv_usec = (suseconds_t)(options->stall_ns % 1000000000u / 1000u),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1, r;

	if (fd < 0)
		return -errno;
	r = source_bind(fd, options, 0);
	if (r == 0 &&
	    (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	     setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	     setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	     connect(fd, (const struct sockaddr *)&options->target, sizeof(options->target)) < 0))
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* One message out and back: NULL, or what was wrong. */
static const char *ping_once(int fd, uint64_t serial)
{
	uint8_t message[MESSAGE_BYTES], reply[MESSAGE_BYTES];
	ssize_t n;

	message_fill(message, serial);
	if (send(fd, message, sizeof(message), MSG_NOSIGNAL) != (ssize_t)sizeof(message))
		return "send";
	n = recv(fd, reply, sizeof(reply), MSG_WAITALL);
	if (n != (ssize_t)sizeof(reply))
		return n < 0 ? "receive" : "early_fin";
	return memcmp(message, reply, sizeof(reply)) == 0 ? NULL : "corrupt";
}

/* Our FIN out, theirs back, nothing between: NULL, or what was wrong. */
static const char *finish(int fd)
{
	uint8_t byte;
	ssize_t n;

	if (shutdown(fd, SHUT_WR) < 0)
		return "shutdown";
	n = recv(fd, &byte, 1, 0);
	return n == 0 ? NULL : n < 0 ? "receive" : "excess";
}

static void print_fault(const char *fault)
{
	if (fault)
		printf(",\"failed\":1,\"fault\":\"%s\"}\n", fault);
	else
		printf(",\"failed\":0}\n");
	fflush(stdout);
}

int load_ping(const struct load_options *options)
{
	struct samples rtt;
	const char *fault = NULL;
	uint64_t start, now, sent = 0;
	int fd = -1, r = dial(options, &fd);

	if (r < 0)
		return r;
	r = samples_allocate(&rtt, options->count < MAX_SAMPLES ? options->count : MAX_SAMPLES);
	if (r < 0) {
		close(fd);
		return r;
	}
	start = now = now_ns();
	while (!fault && sent < options->count && now - start < options->duration_ns) {
		uint64_t before = now;

		fault = ping_once(fd, sent);
		now = now_ns();
		if (!fault) {
			samples_add(&rtt, now - before);
			sent++;
		}
	}
	if (!fault)
		fault = finish(fd);
	close(fd);
	printf("{\"mode\":\"ping\",\"messages\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,",
	       (unsigned long long)sent, (double)(now - start) / 1e9,
	       (double)sent * 1e9 / (double)(now - start + 1));
	samples_print(&rtt, "rtt_us");
	print_fault(fault);
	samples_free(&rtt);
	return fault != NULL;
}

/* What the sending thread and the receiving one share; `sent` belongs to the sender. */
struct stream {
	const struct load_options *options;
	const uint8_t *pattern;		/* PERIOD_BYTES + CHUNK_BYTES of it */
	int fd;
	uint64_t sent;
	const char *fault;
};

static void *stream_send(void *argument)
{
	struct stream *s = argument;
	uint64_t end_ns = now_ns() + s->options->duration_ns;

	while (s->sent < s->options->count && now_ns() < end_ns) {
		uint64_t left = s->options->count - s->sent;
		ssize_t n = send(s->fd, s->pattern + s->sent % PERIOD_BYTES,
				 left < CHUNK_BYTES ? left : CHUNK_BYTES, MSG_NOSIGNAL);

		if (n < 0) {
			s->fault = "send";
			break;
		}
		s->sent += (uint64_t)n;
	}
	if (shutdown(s->fd, SHUT_WR) < 0 && !s->fault)
		s->fault = "shutdown";
	return NULL;
}

static const char *stream_receive(const struct stream *s, uint8_t *buffer, uint64_t *received)
{
	for (;;) {
		ssize_t n = recv(s->fd, buffer, CHUNK_BYTES, 0);

		if (n == 0)
			return NULL;
		if (n < 0)
			return "receive";
		if (memcmp(buffer, s->pattern + *received % PERIOD_BYTES, (size_t)n) != 0)
			return "corrupt";
		*received += (uint64_t)n;
	}
}

static uint8_t *pattern_make(void)
{
	uint8_t *pattern = malloc(PERIOD_BYTES + CHUNK_BYTES);
	uint8_t message[MESSAGE_BYTES];

	if (!pattern)
		return NULL;
	for (size_t i = 0; i < PERIOD_BYTES; i++) {
		if (i % MESSAGE_BYTES == 0)
			message_fill(message, i);
		pattern[i] = message[i % MESSAGE_BYTES];
	}
	for (size_t i = PERIOD_BYTES; i < PERIOD_BYTES + CHUNK_BYTES; i++)
		pattern[i] = pattern[i - PERIOD_BYTES];
	return pattern;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int stream_run(struct stream *s, uint8_t *buffer)
{
	uint64_t start = now_ns(), received = 0;
	double seconds;
	pthread_t sender;
	const char *fault;
	int r = pthread_create(&sender, NULL, stream_send, s);

	if (r != 0)
		return -r;
	fault = stream_receive(s, buffer, &received);
	seconds = (double)(now_ns() - start) / 1e9;
	if (fault)
		shutdown(s->fd, SHUT_RDWR);	/* wakes a sender that nobody reads from */
	pthread_join(sender, NULL);
	if (!fault)
		fault = s->fault;
	if (!fault && received != s->sent)
		fault = "truncated";
	printf("{\"mode\":\"stream\",\"bytes\":%llu,\"seconds\":%.3f,\"mb_per_second\":%.1f,"
	       "\"client_cpu_seconds\":%.3f", (unsigned long long)received, seconds,
	       (double)received / 1e6 / seconds, cpu_seconds());
	print_fault(fault);
	return fault != NULL;
}

int load_stream(const struct load_options *options)
{
	struct stream stream = { .options = options, .fd = -1 };
	uint8_t *pattern = pattern_make(), *buffer = malloc(CHUNK_BYTES);
	int r = pattern && buffer ? dial(options, &stream.fd) : -ENOMEM;

	if (r == 0) {
		stream.pattern = pattern;
		r = stream_run(&stream, buffer);
		close(stream.fd);
	}
	free(pattern);
	free(buffer);
	return r;
}
