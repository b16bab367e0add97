/* SPDX-License-Identifier: MIT */
/* Load generator for echo servers on loopback: bounded in count and time, checks every byte. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000u
#define MAX_CLIENTS 100000u
#define MAX_SECONDS 600
#define MAX_COUNT (UINT64_C(1) << 40)
#define MAX_SOURCES 4096u

int samples_allocate(struct samples *s, size_t capacity)
{
	uint32_t *ns = malloc(capacity * sizeof(*ns));

	if (!ns)
		return -ENOMEM;
	memset(ns, 1, capacity * sizeof(*ns));
	*s = (struct samples){ .ns = ns, .capacity = capacity };
	return 0;
}

void samples_add(struct samples *s, uint64_t ns)
{
	if (s->count < s->capacity)
		s->ns[s->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

void samples_free(struct samples *s)
{
	free(s->ns);
	*s = (struct samples){ 0 };
}

static int compare_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(const struct samples *s, double part)
{
	return s->ns[(size_t)(part * (double)(s->count - 1))] / 1e3;
}

void samples_print(struct samples *s, const char *name)
{
	if (s->count == 0) {
		printf("\"%s\":null", name);
		return;
	}
	qsort(s->ns, s->count, sizeof(*s->ns), compare_ns);
	printf("\"%s\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name,
	       percentile_us(s, 0.5), percentile_us(s, 0.9), percentile_us(s, 0.99),
	       percentile_us(s, 1.0));
}

/* splitmix64: cheap, and neighbouring serials share no bytes that a mix-up could hide behind. */
void message_fill(uint8_t message[MESSAGE_BYTES], uint64_t serial)
{
	for (size_t i = 0; i < MESSAGE_BYTES; i += sizeof(uint64_t)) {
		uint64_t x = (serial * (MESSAGE_BYTES / 8) + i / 8 + 1) * 0x9e3779b97f4a7c15u;

		x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
		x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
		x ^= x >> 31;
		memcpy(message + i, &x, sizeof(x));
	}
}

int source_bind(int fd, const struct load_options *options, uint64_t serial)
{
	struct sockaddr_in source = { .sin_family = AF_INET };
	int on = 1;

	if (options->sources == 0)
		return 0;
	/* 127.1.0.1 onwards: each address has a whole range of ports of its own */
	source.sin_addr.s_addr = htonl(0x7f010001u + (uint32_t)(serial % options->sources));
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0)
		return -errno;
	return 0;
}

static int raise_file_limit(unsigned clients)
{
	struct rlimit limit;
	rlim_t wanted = clients + 64u;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur >= wanted)
		return 0;
	limit.rlim_cur = wanted;
	if (limit.rlim_max < wanted)
		limit.rlim_max = wanted;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *ret_number)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || number < low || number > high)
		return false;
	*ret_number = number;
	return true;
}

static bool parse_seconds(const char *text, uint64_t *ret_ns)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0 && seconds <= MAX_SECONDS))
		return false;
	*ret_ns = (uint64_t)(seconds * NS_PER_SECOND);
	return true;
}

/* Only loopback: this program must never be turned against somebody else's machine. */
static bool parse_target(const char *text, struct sockaddr_in *ret_target)
{
	struct sockaddr_in target = { .sin_family = AF_INET };
	char host[INET_ADDRSTRLEN];
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (!colon || (size_t)(colon - text) >= sizeof(host) ||
	    !parse_number(colon + 1, 1, 65535, &port))
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	if (inet_pton(AF_INET, host, &target.sin_addr) != 1 ||
	    (ntohl(target.sin_addr.s_addr) >> 24) != IN_LOOPBACKNET)
		return false;
	target.sin_port = htons((uint16_t)port);
	*ret_target = target;
	return true;
}

static bool parse_option(int letter, const char *text, struct load_options *options)
{
	uint64_t number = 0;
	bool ok;

	switch (letter) {
	case 'c':
		ok = parse_number(text, 1, MAX_CLIENTS, &number);
		options->clients = (unsigned)number;
		return ok;
	case 'w':
		ok = parse_number(text, 1, 64, &number);
		options->window = (unsigned)number;
		return ok;
	case 'b':
		ok = parse_number(text, 16, 65507, &number);
		options->bytes = (unsigned)number;
		return ok;
	case 'g':
		options->is_merged = true;
		return true;
	case 'n':
		return parse_number(text, 1, MAX_COUNT, &options->count);
	case 's':
		return parse_seconds(text, &options->duration_ns);
	case 'S':
		ok = parse_number(text, 0, MAX_SOURCES, &number);
		options->sources = (unsigned)number;
		return ok;
	case 't':
		return parse_seconds(text, &options->stall_ns);
	default:
		return false;
	}
}

static const struct mode {
	const char *name;
	int (*run)(const struct load_options *options);
} modes[] = {
	{ "datagram", load_datagram },
	{ "rate", load_rate },
	{ "hold", load_hold },
	{ "ping", load_ping },
	{ "stream", load_stream },
};

static int usage(void)
{
	fputs("usage: bench-load MODE [-c CLIENTS] [-n COUNT] [-s SECONDS] [-S SOURCES]\n"
	      "                  [-t STALL-SECONDS] [-w WINDOW] [-b BYTES] [-g] 127.x.y.z:PORT\n"
	      "modes: datagram  -c flows of datagrams, -w of -b bytes of each in flight (-n)\n"
	      "       rate    connect, 64 bytes out and back, half-close, FIN, close; again\n"
	      "       hold    -c connections that stay open until standard input says so\n"
	      "       ping    64 bytes to and fro over one connection (-n messages)\n"
	      "       stream  one connection as fast as it goes (-n bytes)\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct load_options options = {
		.clients = 1, .window = 8, .bytes = MESSAGE_BYTES, .count = MAX_COUNT,
		.duration_ns = 5ull * NS_PER_SECOND, .stall_ns = 10ull * NS_PER_SECOND,
	};
	const struct mode *mode = NULL;
	int letter, r;

	while ((letter = getopt(argc, argv, "b:c:gn:s:S:t:w:")) != -1)
		if (!parse_option(letter, optarg, &options))
			return usage();
	if (argc - optind != 2 || !parse_target(argv[optind + 1], &options.target))
		return usage();
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(argv[optind], modes[i].name) == 0)
			mode = &modes[i];
	if (!mode)
		return usage();

	signal(SIGPIPE, SIG_IGN);
	r = raise_file_limit(options.clients);
	if (r == 0)
		r = mode->run(&options);
	if (r < 0)
		fprintf(stderr, "bench-load: %s: %s\n", mode->name, strerror(-r));
	return r == 0 ? 0 : r > 0 ? 1 : 3;
}
