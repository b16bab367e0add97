/* SPDX-License-Identifier: MIT */
/* Options of the path: where connections begin, how their packets are marked. */
#include "echoctl/dial/path.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

enum {
	OPTION_SOURCE_PORT = OPTION_GROUP,
	OPTION_INTERFACE,
	OPTION_MARK,
	OPTION_TOS,
	OPTION_TTL,
	OPTION_MSS,		/* from here on of TCP only */
	OPTION_CONGESTION,
	OPTION_MPTCP,
	OPTION_PROXY,
};

static const struct option options[] = {
	{"source", required_argument, NULL, 'S'},
	{"source-port", required_argument, NULL, OPTION_SOURCE_PORT},
	{"interface", required_argument, NULL, OPTION_INTERFACE},
	{"mark", required_argument, NULL, OPTION_MARK},
	{"tos", required_argument, NULL, OPTION_TOS},
	{"ttl", required_argument, NULL, OPTION_TTL},
	{"mss", required_argument, NULL, OPTION_MSS},
	{"congestion", required_argument, NULL, OPTION_CONGESTION},
	{"mptcp", no_argument, NULL, OPTION_MPTCP},
	{"proxy", required_argument, NULL, OPTION_PROXY},
	{0},
};

static const char help[] =
	"Options of the path:\n"
	"  -S, --source ADDRESS        connect from this numeric address\n"
	"      --source-port PORT      and from this port\n"
	"      --interface NAME        through this network interface\n"
	"      --mark NUMBER           mark packets for routing and filters\n"
	"      --tos TOS               type of service: a byte, or EF, AF41, CS5, LE, VA\n"
	"      --ttl COUNT             hops that a packet may take\n"
	"      --mss SIZE              largest segment in bytes\n"
	"      --congestion NAME       congestion control, as cubic or bbr\n"
	"      --mptcp                 Multipath TCP, or TCP if the peer has none\n"
	"      --proxy VERSION         send a PROXY header first: v1, v2, or v2,SOURCE\n";

/* Options of sockets, each a number or a text, of IPv4 and of IPv6. */
static const struct knob {
	int option;		/* of the command line */
	bool is_text;
	struct {
		int level;
		int name;
	} inet, inet6;
} knobs[DIAL_KNOBS] = {
	{OPTION_INTERFACE, true, {SOL_SOCKET, SO_BINDTODEVICE}, {SOL_SOCKET, SO_BINDTODEVICE}},
	{OPTION_MARK, false, {SOL_SOCKET, SO_MARK}, {SOL_SOCKET, SO_MARK}},
	{OPTION_TOS, false, {IPPROTO_IP, IP_TOS}, {IPPROTO_IPV6, IPV6_TCLASS}},
	{OPTION_TTL, false, {IPPROTO_IP, IP_TTL}, {IPPROTO_IPV6, IPV6_UNICAST_HOPS}},
	{OPTION_MSS, false, {IPPROTO_TCP, TCP_MAXSEG}, {IPPROTO_TCP, TCP_MAXSEG}},
	{OPTION_CONGESTION, true, {IPPROTO_TCP, TCP_CONGESTION}, {IPPROTO_TCP, TCP_CONGESTION}},
};

static int apply_knob(int fd, int family, const struct knob *knob, const struct dial_knob *value)
{
	const void *bytes = knob->is_text ? (const void *)value->text : &value->number;
	socklen_t length = knob->is_text ? (socklen_t)strlen(value->text) : sizeof(value->number);
	bool inet6 = family == AF_INET6;

	return setsockopt(fd, inet6 ? knob->inet6.level : knob->inet.level,
			  inet6 ? knob->inet6.name : knob->inet.name, bytes, length) < 0 ?
		-errno : 0;
}

/* Binds to the source, which must be of the family of the target. Returns 0 or -errno. */
static int bind_source(int fd, int family, const struct dial_path *path)
{
	struct addrinfo hints = {
		.ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
	};
	struct addrinfo *list;
	char port[sizeof("65535")];
	int r = 0;

	snprintf(port, sizeof(port), "%u", path->source_port);
	if (getaddrinfo(path->source, port, &hints, &list) != 0)
		return -EAFNOSUPPORT;
	/* The port may be that of an earlier connection that has ended. */
	if (path->source_port != 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, list->ai_addr, list->ai_addrlen) < 0)
		r = -errno;
	freeaddrinfo(list);
	return r;
}

int dial_path_protocol(const struct dial_path *path, int family)
{
	return path && path->mptcp && family != AF_UNIX ? IPPROTO_MPTCP : 0;
}

int dial_path_apply(int fd, int family, const struct dial_path *path)
{
	int r = 0;

	if (!path || family == AF_UNIX)
		return 0;
	for (size_t i = 0; r == 0 && i < DIAL_KNOBS; i++) {
		if (path->knobs[i].given)
			r = apply_knob(fd, family, &knobs[i], &path->knobs[i]);
	}
	if (r == 0 && (path->source || path->source_port != 0))
		r = bind_source(fd, family, path);
	return r;
}

static bool is_source(const char *text)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST };
	struct addrinfo *list;

	if (getaddrinfo(text, NULL, &hints, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

static const char *take_integer(const char *value, int *ret_number)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(value, &end, 0);
	if (!isdigit((unsigned char)*value) || *end != '\0')
		return "not a number";
	if (errno != 0 || number > UINT32_MAX)
		return "out of range";
	*ret_number = (int)(uint32_t)number;
	return NULL;
}

/* The code points of RFC 2474, 2597, 3246, 5865 and 8622, or the whole byte as a number. */
static const char *take_tos(const char *value, int *ret_number)
{
	unsigned class;
	unsigned drop;
	char rest;
	int dscp;

	if (isdigit((unsigned char)*value)) {
		const char *why = take_integer(value, ret_number);

		/* the kernel would take the lower bits of a larger number */
		return !why && (unsigned)*ret_number > UINT8_MAX ? "out of range" : why;
	}
	if (strcasecmp(value, "EF") == 0)
		dscp = 46;
	else if (strcasecmp(value, "VA") == 0)
		dscp = 44;
	else if (strcasecmp(value, "LE") == 0)
		dscp = 1;
	else if (strncasecmp(value, "CS", 2) == 0 &&
		 sscanf(value + 2, "%1u%c", &class, &rest) == 1 && class <= 7)
		dscp = (int)class * 8;
	else if (strncasecmp(value, "AF", 2) == 0 &&
		 sscanf(value + 2, "%1u%1u%c", &class, &drop, &rest) == 2 &&
		 class >= 1 && class <= 4 && drop >= 1 && drop <= 3)
		dscp = (int)(class * 8 + drop * 2);
	else
		return "not a type of service (as 184, EF, AF41, CS5)";
	*ret_number = dscp << 2;
	return NULL;
}

/* The kernel's error for the value; none if it has no IPv4. */
static const char *try_knob(const struct knob *knob, const struct dial_knob *value)
{
	FD_CLEANUP int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = fd >= 0 ? apply_knob(fd, AF_INET, knob, value) : 0;

	if (r == -ENOENT)
		return "the kernel has none of that name";
	return r < 0 ? strerror(-r) : NULL;
}

static const char *take_knob(struct dial_path *path, int option, const char *value)
{
	struct dial_knob new = { .given = true, .text = value };
	const char *why = NULL;
	size_t i = 0;

	while (knobs[i].option != option)
		i++;
	if (option == OPTION_TOS)
		why = take_tos(value, &new.number);
	else if (!knobs[i].is_text)
		why = take_integer(value, &new.number);
	if (!why)
		why = try_knob(&knobs[i], &new);
	path->knobs[i] = new;
	return why;
}

static const char *take_mptcp(struct dial_path *path)
{
	FD_CLEANUP int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

	path->mptcp = true;
	return fd < 0 && errno != EAFNOSUPPORT ? strerror(errno) : NULL;
}

static const char *take(void *settings, int option, const char *value)
{
	struct dial_path *path = settings;
	uint64_t port = 0;
	const char *why;

	switch (option) {
	case 'S':
		path->source = value;
		return is_source(value) ? NULL : "not a numeric address without a port";
	case OPTION_SOURCE_PORT:
		why = command_take_number(value, 1, UINT16_MAX, &port);
		path->source_port = (uint16_t)port;
		return why;
	case OPTION_MPTCP:
		return take_mptcp(path);
	case OPTION_PROXY:
		return dial_announcement_parse(value, &path->announcement);
	default:
		return take_knob(path, option, value);
	}
}

struct dial_path dial_path;

const struct option_group dial_path_options = {
	.long_options = options,
	.help = help,
	.take = take,
	.settings = &dial_path,
	.first_of_tcp = OPTION_MSS,
};
